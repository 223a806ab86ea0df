"""The extent of a collection in pgSTAC: where and when its items are.

For collections that items come into one by one. That of a set is made with its items.
"""

import json
from datetime import UTC
from typing import Any

import sqlalchemy as sa

from geo_etl.catalog.footprints import DECIMALS, union_of_boxes
from geo_etl.catalog.lineage import moment
from geo_etl.ingest.lock import lock_collections

WORLD = [-180.0, -90.0, 180.0, 90.0]

# A geometry over more than half of the Earth may be two, on both sides of the antimeridian: its
# item's own box says so. Without OFFSET its corners would be computed again for each use.
_BOXES = """
    WITH here AS NOT MATERIALIZED (
        SELECT geometry, datetime, end_datetime, content->'bbox' AS box,
            ST_XMax(geometry) - ST_XMin(geometry) > 180 AS wide
        FROM pgstac.items WHERE collection = :collection OFFSET 0
    ), boxes AS (
        SELECT ST_XMin(geometry) AS west, ST_YMin(geometry) AS south,
            ST_XMax(geometry) AS east, ST_YMax(geometry) AS north, datetime, end_datetime
        FROM here WHERE wide IS NOT TRUE
        UNION ALL
        SELECT CAST(box->>0 AS float), CAST(box->>1 AS float),
            CAST(box->>(jsonb_array_length(box) / 2) AS float),
            CAST(box->>(jsonb_array_length(box) / 2 + 1) AS float), datetime, end_datetime
        FROM here WHERE wide AND box IS NOT NULL
        UNION ALL
        SELECT ST_XMin(part.geom), ST_YMin(part.geom), ST_XMax(part.geom), ST_YMax(part.geom),
            datetime, end_datetime
        FROM here, ST_Dump(geometry) AS part WHERE wide AND box IS NULL
    )
    SELECT min(west) AS west, min(south) AS south, max(east) AS east, max(north) AS north,
        min(datetime) AS first, max(end_datetime) AS last
    FROM boxes GROUP BY floor(west), floor(east), west > east
"""


def refresh_extent(connection: sa.Connection, collection_id: str) -> None:
    """Set a collection's extent to that of its items, in the caller's transaction.

    The box is the smallest round the Earth that holds the items' own, but for gaps of less than a
    degree; west > east where it crosses the antimeridian. Of a collection without items it is the
    whole world, at any time. An extent that is right is not written; no such collection is fine.
    """
    lock_collections(connection, [collection_id])
    held = connection.execute(
        sa.text("SELECT content->'extent' FROM pgstac.collections WHERE id = :id"),
        {"id": collection_id},
    ).one_or_none()
    if held is None:
        return
    extent = held[0] or {}
    true = _extent(connection, collection_id)
    merged = {**extent, **{key: {**extent.get(key, {}), **true[key]} for key in true}}
    if merged != extent:
        connection.execute(
            sa.text(
                "UPDATE pgstac.collections SET content = content || CAST(:extent AS jsonb)"
                " WHERE id = :id"
            ),
            {"id": collection_id, "extent": json.dumps({"extent": merged})},
        )


def _extent(connection: sa.Connection, collection_id: str) -> dict[str, dict[str, Any]]:
    rows = connection.execute(sa.text(_BOXES), {"collection": collection_id}).all()
    placed = [(row.west, row.south, row.east, row.north) for row in rows if row.west is not None]
    box = union_of_boxes(placed)
    interval: list[str | None] = [None, None]
    if rows:
        span = min(row.first for row in rows), max(row.last for row in rows)
        interval = [moment(one.astimezone(UTC)) for one in span]
    bbox = [round(float(side), DECIMALS) for side in box] if box else WORLD
    return {"spatial": {"bbox": [bbox]}, "temporal": {"interval": [interval]}}
