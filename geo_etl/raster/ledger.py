"""What geo_etl remembers of rasters in the database: loads, their pieces, blobs, and layers.

A load is one attempt to make a version of a layer: its pieces are the tasks, each done once. Every
blob of a load is noted before it is written, and noted again when it is to be removed: so whatever
dies, nothing in silver is unknown. Loads of versions that can be restored are kept.

`geo.tiles`, a view that is served, shows the tiles of large rasters: those that readers see, and
those of jobs on their way.
"""

from datetime import datetime

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from geo_etl.errors import StackError
from geo_etl.ingest.tables import check_tables

TILES = "geo.tiles"

metadata = sa.MetaData(schema="geo_etl")


def _now(name: str = "created_at") -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


load = sa.Table(
    "raster_load",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("job_id", sa.Text, nullable=False, index=True),
    sa.Column("run_job_id", sa.Text, nullable=False, comment="Of a member: job of its collection"),
    sa.Column("source", sa.Text, nullable=False, index=True),
    sa.Column("layer", sa.Text, nullable=False),
    sa.Column("layout", sa.Text, nullable=False, comment="Digest of the pieces and their profiles"),
    sa.Column("is_set", sa.Boolean, nullable=False, comment="Whether its pieces are tiles"),
    sa.Column("state", sa.Text, nullable=False, comment="making | published"),
    sa.Column("folder", sa.Text, nullable=False, comment="Of its blobs: container/path"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    _now(),
    comment="One version of a raster layer, or what may become one",
)

piece = sa.Table(
    "raster_piece",
    metadata,
    sa.Column("load_id", sa.ForeignKey(load.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("gid", sa.BigInteger, sa.Identity(), nullable=False, unique=True),
    sa.Column("tiers", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("tile_row", sa.Integer, nullable=False),
    sa.Column("tile_col", sa.Integer, nullable=False),
    sa.Column("crs", sa.Text, nullable=False, comment="Of the tile grid"),
    sa.Column("window_col", sa.BigInteger, nullable=False, comment="Pixels from the left"),
    sa.Column("window_row", sa.BigInteger, nullable=False, comment="Pixels from the top"),
    sa.Column("width", sa.Integer, nullable=False, comment="Pixels"),
    sa.Column("height", sa.Integer, nullable=False, comment="Pixels"),
    sa.Column("geom", Geometry("MULTIPOLYGON", srid=4326), comment="NULL: not on Earth"),
    sa.Column(
        "report",
        pg.JSONB(none_as_null=True),
        comment="What the task made, without its preview; NULL until it is done",
    ),
    sa.Column("blobs", pg.JSONB(none_as_null=True), comment="Blob by tier; {} for an empty tile"),
    sa.Column("preview", sa.LargeBinary, comment="PNG"),
    comment="Tasks of loads: a whole raster, or a tile of a large one",
)

output = sa.Table(
    "raster_output",
    metadata,
    sa.Column("path", sa.Text, primary_key=True, comment="container/path, in silver"),
    sa.Column("load_id", sa.ForeignKey(load.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("index", sa.Integer, comment="Of the piece; NULL for a blob of the whole layer"),
    sa.Column(
        "kept",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="Whether a published version consists of it",
    ),
    _now(),
    comment="Blobs of loads, noted before they are written",
)

discard = sa.Table(
    "raster_discard",
    metadata,
    sa.Column("path", sa.Text, primary_key=True, comment="container/path"),
    _now(),
    comment="Blobs that nothing needs any more, until they are removed",
)

publication = sa.Table(
    "raster_publication",
    metadata,
    sa.Column("layer", sa.Text, primary_key=True, comment="collection/item, or a collection"),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("current", sa.Boolean, nullable=False, comment="Whether readers see this version"),
    sa.Column("form", sa.Text, nullable=False, comment="single | tiled | collection"),
    sa.Column("source", sa.Text, nullable=False, index=True),
    sa.Column("sources", pg.ARRAY(sa.Text), nullable=False, comment="Of a collection: its members"),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False, index=True),
    sa.Column(
        "load_id",
        sa.ForeignKey(load.c.id, ondelete="SET NULL"),
        index=True,
        comment="NULL: it can't be restored any more",
    ),
    sa.Column("collection_id", sa.Text, nullable=False, index=True),
    sa.Column("item_ids", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("collection", pg.JSONB, nullable=False, comment="STAC"),
    sa.Column("mosaic", pg.JSONB(none_as_null=True), comment="Of a set: what serves it as one"),
    sa.Column("facts", pg.JSONB(none_as_null=True), comment="What the inspection found"),
    sa.Column("pixels", sa.BigInteger, nullable=False, comment="Of one band of the source's grid"),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="Of all its files in silver"),
    sa.Column(
        "result",
        pg.JSONB(none_as_null=True),
        comment="Result document; NULL until the publish is verified",
    ),
    _now("published_at"),
    comment="Every version of every raster layer, and the job that it came from",
)
sa.Index(
    "one_current_raster_version",
    publication.c.layer,
    unique=True,
    postgresql_where=publication.c.current,
)

item = sa.Table(
    "raster_item",
    metadata,
    sa.Column("layer", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("item", pg.JSONB, nullable=False),
    sa.ForeignKeyConstraint(
        ["layer", "version"],
        [publication.c.layer, publication.c.version],
        ondelete="CASCADE",
    ),
    comment="STAC items of versions that can be restored, the current one among them",
)

_TILES_VIEW = """
CREATE OR REPLACE VIEW geo.tiles AS
SELECT
    piece.gid, load.layer, load.job_id, piece.index AS tile, piece.tiers,
    piece.tile_row, piece.tile_col,
    piece.crs, piece.window_col, piece.window_row, piece.width, piece.height,
    CASE
        WHEN load.state <> 'published' THEN 'planned'
        WHEN piece.blobs = '{}'::jsonb THEN 'empty'
        ELSE 'published'
    END AS state,
    CASE WHEN load.state = 'published' THEN piece.blobs END AS blobs,
    piece.geom
FROM geo_etl.raster_piece AS piece
JOIN geo_etl.raster_load AS load ON load.id = piece.load_id
LEFT JOIN geo_etl.raster_publication AS shown ON shown.load_id = load.id AND shown.current
WHERE load.is_set AND (load.state <> 'published' OR shown.current)
"""


def check(connection: sa.Connection) -> None:
    """Refuse tables that another geo_etl made otherwise, and the lack of them.

    Raises:
        StackError: says what is missing and what to do.
    """
    check_tables(connection, metadata)
    if not sa.inspect(connection).has_table(publication.name, schema=publication.schema):
        raise StackError(
            f"table {publication.fullname}",
            "it is missing: the database was made by an older geo_etl, or by none",
            "Run 'geo-etl up', which adds what is missing.",
        )


def create(connection: sa.Connection) -> None:
    """Create tables and the view where they are missing. The schemas are there.

    Raises:
        StackError: an older geo_etl made them otherwise, or something else is called geo.tiles.
    """
    check_tables(connection, metadata)
    kind = connection.execute(
        sa.text("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:name)"),
        {"name": TILES},
    ).scalar()
    if kind not in (None, "v"):
        raise StackError(
            f"table {TILES}",
            "it has the name that geo_etl needs for the tiles of large rasters",
            "Rename it, or 'geo-etl unpublish' it with the geo_etl that published it.",
        )
    metadata.create_all(connection)
    connection.execute(sa.text(_TILES_VIEW))
    connection.execute(sa.text(f"COMMENT ON VIEW {TILES} IS 'Tiles of large rasters'"))
