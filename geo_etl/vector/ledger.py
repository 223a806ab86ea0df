"""What geo_etl remembers in the database: loads, their chunks, and what is published.

The chunk ledger makes loads exactly-once: a chunk's row is written in the transaction of the
chunk's COPY. Schemas: `geo_etl` holds these tables, `geo_loads` the tables that loads go into
(not served), `geo_quarantine` the features that could not be published.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

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
    sa.Column("load_table", sa.Text, nullable=False, unique=True),
    sa.Column("layout", sa.Text, nullable=False, comment="Digest of the chunks and the columns"),
    sa.Column("state", sa.Text, nullable=False, comment="loading | published"),
    _now(),
    comment="One table in geo_loads: a version of a published table, in the making or attached",
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
    comment="Features of loads in the making that could not be loaded",
)

publication = sa.Table(
    "publication",
    metadata,
    sa.Column("schema_name", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False, index=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False, index=True),
    sa.Column("load_id", sa.ForeignKey(load.c.id), nullable=False),
    sa.Column("collection_id", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("columns", pg.JSONB, nullable=False, comment="Published columns: name to type"),
    sa.Column("features", sa.BigInteger, nullable=False),
    sa.Column(
        "result",
        pg.JSONB(none_as_null=True),
        comment="Result document; NULL until the publish is verified",
    ),
    sa.Column(
        "published_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
    ),
    comment="Every table that geo_etl publishes, and the source and job it came from",
)


def create(connection: sa.Connection) -> None:
    """Create schemas and ledger tables where they are missing."""
    for schema in SCHEMAS:
        connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    metadata.create_all(connection)
