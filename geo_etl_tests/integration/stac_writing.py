"""Items and collections to write into pgSTAC, and what its own functions say of them afterwards."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from geo_etl.catalog.raster_collections import open_raster_collection
from geo_etl.resources import pgstac

START = datetime(2020, 1, 15, tzinfo=UTC)

Document = dict[str, Any]


def item(collection_id: str, number: int, *, month: int = 0, **properties: Any) -> Document:
    """An item near 5° east, one beside the other; `month` months after `START`."""
    west, south = 5 + number % 100 / 1000, 50 + number // 100 / 1000
    east, north = west + 0.001, south + 0.001
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    when = START + timedelta(days=30.5 * month)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": f"item-{number}",
        "collection": collection_id,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {"datetime": when.isoformat().replace("+00:00", "Z"), **properties},
        "links": [],
        "assets": {"data": {"href": f"file:///silver/{number}.tif", "roles": ["data"]}},
    }


def open_collection(
    engine: sa.Engine, name: str, *, parts: str | None = None, **fields: Any
) -> None:
    """A collection without items.

    Args:
        parts: `month` or `year`: pgSTAC keeps a partition for each.
    """
    with engine.begin() as connection:
        pgstac.upsert_collection(connection, {**open_raster_collection(name), **fields})
        connection.execute(
            sa.text("UPDATE pgstac.collections SET partition_trunc = :parts WHERE id = :id"),
            {"parts": parts, "id": name},
        )


def stored(engine: sa.Engine, name: str) -> dict[str, Document]:
    """All items of a collection as pgSTAC's SQL gives them, each there once."""
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
        found = connection.execute(
            sa.text(
                "SELECT id, pgstac.content_hydrate(i) AS item FROM pgstac.items i"
                " WHERE collection = :name"
            ),
            {"name": name},
        ).all()
    times = Counter(row.id for row in found)
    assert {item_id for item_id, count in times.items() if count > 1} == set()
    return {row.id: row.item for row in found}


def by_id(items: Iterable[Document]) -> dict[str, Document]:
    return {one["id"]: one for one in items}


def rows(engine: sa.Engine, name: str) -> dict[str, tuple[str, int]]:
    """Partition of each item, and the transaction that wrote it."""
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT id, CAST(CAST(tableoid AS regclass) AS text) AS part,"
                " CAST(CAST(xmin AS text) AS bigint) AS writer"
                " FROM pgstac.items WHERE collection = :name"
            ),
            {"name": name},
        )
        return {row.id: (row.part, row.writer) for row in found}


def search(engine: sa.Engine, **query: Any) -> set[str]:
    """Ids that pgSTAC's search finds."""
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
        statement = sa.text("SELECT pgstac.search(CAST(:query AS jsonb))")
        found = connection.execute(statement, {"query": json.dumps(query)}).scalar_one()
    return {feature["id"] for feature in found["features"]}
