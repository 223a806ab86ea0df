"""What geo_etl remembers in the database: loads, their chunks, and what was published.

The chunk ledger makes loads exactly-once: a chunk's row is written in the transaction of the
chunk's COPY. A published table has versions; one is current, and the last few can be restored, for
their loads are kept. Schemas: `geo_etl` holds these tables, `geo_loads` those that loads go into
(not served), `geo_quarantine` the features that were not published.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo_etl.ingest.tables import check_tables

LOADS_SCHEMA = "geo_loads"
QUARANTINE_SCHEMA = "geo_quarantine"
SCHEMAS = ("geo_etl", LOADS_SCHEMA, QUARANTINE_SCHEMA, "geo")

metadata = sa.MetaData(schema="geo_etl")


def _now() -> sa.Column[datetime]:
    return sa.Column(
        "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
    )


load = sa.Table(
    "load",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("job_id", sa.Text, nullable=False, index=True),
    sa.Column("source", sa.Text, nullable=False, index=True),
    sa.Column("schema_name", sa.Text, nullable=False, comment="Of the table it is meant for"),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("load_table", sa.Text, nullable=False, unique=True),
    sa.Column("layout", sa.Text, nullable=False, comment="Digest of the chunks and the columns"),
    sa.Column("state", sa.Text, nullable=False, comment="loading | published"),
    sa.Column("gid_from", sa.BigInteger, nullable=False, comment="Smallest gid it may hold"),
    sa.Column("gid_to", sa.BigInteger, nullable=False, comment="Gids it may hold end before this"),
    sa.Column(
        "merged_with",
        pg.ARRAY(sa.BigInteger),
        comment="Upsert: loads whose other rows it took over",
    ),
    _now(),
    comment="One table in geo_loads: a version of a published table, or a part of one",
)

chunk = sa.Table(
    "chunk",
    metadata,
    sa.Column("load_id", sa.ForeignKey(load.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("loaded", sa.BigInteger, nullable=False),
    sa.Column("dropped", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("repaired", sa.BigInteger, nullable=False),
    sa.Column("had_z", sa.BigInteger, nullable=False),
    sa.Column("without_nul", sa.BigInteger, nullable=False, comment="Cells that lost a NUL"),
    sa.Column("bounds", pg.ARRAY(sa.Double), comment="xmin, ymin, xmax, ymax, target CRS"),
    comment="Chunks that are loaded: written in the transaction of the chunk's COPY",
)

repair = sa.Table(
    "repair",
    metadata,
    sa.Column("load_id", sa.ForeignKey(load.c.id, ondelete="CASCADE"), index=True),
    sa.Column("gid", sa.BigInteger, nullable=False),
    sa.Column("source_fid", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("measure_before", sa.Double, nullable=False),
    sa.Column("measure_after", sa.Double, nullable=False),
    sa.Column("type_before", sa.Text, nullable=False),
    sa.Column("type_after", sa.Text, nullable=False),
    comment="Repaired geometries: area (polygons) or length (lines) in units of the source CRS",
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("load_id", sa.ForeignKey(load.c.id, ondelete="CASCADE"), index=True),
    sa.Column("source_fid", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("geometry", sa.LargeBinary, comment="WKB as the source has it"),
    sa.Column("attributes", pg.JSONB, nullable=False),
    comment="Features that could not be loaded",
)

corrected = sa.Table(
    "corrected",
    metadata,
    sa.Column("load_id", sa.ForeignKey(load.c.id, ondelete="CASCADE"), index=True),
    sa.Column("job_id", sa.Text, nullable=False, comment="Job that quarantined the feature"),
    sa.Column("source_fid", sa.BigInteger, nullable=False),
    comment="Quarantined features that a load has brought again, corrected",
)

publication = sa.Table(
    "publication",
    metadata,
    sa.Column("schema_name", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("current", sa.Boolean, nullable=False, comment="Whether readers see this version"),
    sa.Column("source", sa.Text, nullable=False, index=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False, index=True),
    sa.Column("load_method", sa.Text, nullable=False),
    sa.Column("loads", pg.ARRAY(sa.BigInteger), nullable=False, comment="Its rows, in geo_loads"),
    sa.Column("sources", pg.ARRAY(sa.Text), nullable=False, comment="Whose features it holds"),
    sa.Column("jobs", pg.ARRAY(sa.Text), nullable=False, comment="Jobs whose features it holds"),
    sa.Column("collection_id", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("item", pg.JSONB, nullable=False, comment="Its STAC item"),
    sa.Column("columns", pg.JSONB, nullable=False, comment="[name, type, name in the source] each"),
    sa.Column("geometry_type", sa.Text, nullable=False),
    sa.Column("srid", sa.Integer, nullable=False),
    sa.Column("indexes", pg.JSONB, nullable=False, comment="[column, method] each"),
    sa.Column("features", sa.BigInteger, nullable=False),
    sa.Column("bounds", pg.ARRAY(sa.Double), comment="xmin, ymin, xmax, ymax in the table's CRS"),
    sa.Column(
        "result",
        pg.JSONB(none_as_null=True),
        comment="Result document; NULL until the publish is verified",
    ),
    sa.Column(
        "published_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
    ),
    comment="Every version of every table that geo_etl publishes, and the job that it came from",
)
sa.Index(
    "one_current_version",
    publication.c.schema_name,
    publication.c.table_name,
    unique=True,
    postgresql_where=publication.c.current,
)


def check(connection: sa.Connection) -> None:
    """Refuse ledger tables that another geo_etl made otherwise; none at all is fine.

    Raises:
        StackError: says what is missing and how to begin anew.
    """
    check_tables(connection, metadata)


def create(connection: sa.Connection) -> None:
    """Create schemas and ledger tables where they are missing.

    Raises:
        StackError: an older geo_etl made them, otherwise.
    """
    for schema in SCHEMAS:
        connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    check(connection)
    metadata.create_all(connection)
