"""What is published, as the start page lists it: tables, rasters, and collections of others.

Here: which datasets there are, a page of them, and their STAC documents. Not here: how they look.

A page is found in two steps, so that thousands of datasets stay fast: first names and times of
all, without a document; then the documents of those on the page.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asyncpg import Connection, Record

PAGE = 50
"""Datasets on a page."""

_FOUND = """
WITH whole AS (
    SELECT collection_id FROM geo_etl.raster_publication WHERE current AND form = 'collection'
), own AS (
    SELECT collection_id, sum(items) AS own_items FROM (
        SELECT collection_id, count(*) AS items
        FROM geo_etl.publication WHERE current GROUP BY collection_id
        UNION ALL
        SELECT collection_id, sum(cardinality(item_ids))
        FROM geo_etl.raster_publication WHERE current AND form <> 'collection'
        GROUP BY collection_id
    ) AS counted GROUP BY collection_id
), catalogued AS (
    SELECT id, content,
        (SELECT count(*) FROM pgstac.items WHERE items.collection = known.id) AS items,
        (SELECT max(datetime) FROM pgstac.items WHERE items.collection = known.id) AS newest
    FROM pgstac.collections AS known
), shown AS (
    SELECT 'table' AS kind, schema_name || '.' || table_name AS name, source, sources,
        published_at AS changed, item->'properties'->>'title' AS title, 0::bigint AS items
    FROM geo_etl.publication WHERE current
    UNION ALL
    SELECT form, layer, source, sources, published_at, collection->>'title', 0
    FROM geo_etl.raster_publication AS layers WHERE current
        AND (form <> 'single' OR collection_id NOT IN (SELECT collection_id FROM whole))
    UNION ALL
    SELECT 'catalogued', id, '', '{}', coalesce((content->>'updated')::timestamptz, newest),
        content->>'title', items
    FROM catalogued LEFT JOIN own ON collection_id = id
    WHERE items > coalesce(own_items, 0)
), found AS (
    SELECT * FROM shown
    WHERE $1 = '' OR strpos(
        lower(concat_ws(' ', name, title, source, array_to_string(sources, ' '))), lower($1)
    ) > 0
)
"""
_COUNTS = "SELECT kind, count(*) AS datasets FROM found GROUP BY kind"
_ONE_PAGE = """
SELECT kind, name, source, changed, items FROM found
ORDER BY changed DESC NULLS LAST, name LIMIT $2 OFFSET $3
"""


@dataclass(frozen=True)
class Dataset:
    """One dataset.

    Attributes:
        kind: `table`, `single`, `tiled`, `collection` (rasters that geo_etl published) or
            `catalogued` (a collection with items that others wrote, or a sync).
        name: of the table, layer or collection.
        source: what it was made of; empty when that is unknown.
        changed: when it was published; of a catalogued collection, the time that it says itself,
            or that of its newest item.
        count: features, pixels or items.
        document: its STAC item or collection, as it is stored.
        facts: what else is known of it: `geometry_type`, `srid`, `data_kind`, `bands`, `dtype`,
            `report`, `synced_from`.
    """

    kind: str
    name: str
    source: str
    changed: datetime | None
    count: int
    document: dict[str, Any]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Page:
    """Some of the datasets, latest first.

    Attributes:
        number: of the page, from 1.
        found: how many there are of each kind on all pages.
    """

    number: int
    datasets: list[Dataset]
    found: dict[str, int]

    @property
    def total(self) -> int:
        """How many datasets there are on all pages."""
        return sum(self.found.values())

    @property
    def last(self) -> int:
        """Number of the last page."""
        return max(1, -(-self.total // PAGE))


async def read_page(connection: Connection, words: str, number: int) -> Page:
    """A page of the datasets that have some words in their name, title or source.

    Args:
        number: from 1; one after the last gives the last.
    """
    counts = await connection.fetch(f"{_FOUND} {_COUNTS}", words)
    page = Page(number, [], {row["kind"]: row["datasets"] for row in counts})
    number = min(number, page.last)
    rows = await connection.fetch(f"{_FOUND} {_ONE_PAGE}", words, PAGE, (number - 1) * PAGE)
    known = {
        **await _tables(connection, _names(rows, "table")),
        **await _layers(connection, _names(rows, "single", "tiled", "collection")),
        **await _catalogued(connection, _names(rows, "catalogued")),
    }
    datasets = []
    for row in rows:
        about = known.get((row["kind"], row["name"]))
        if about is not None:  # else it went between two queries
            count, document, facts = about
            datasets.append(
                Dataset(
                    row["kind"],
                    row["name"],
                    row["source"],
                    row["changed"],
                    row["items"] if count is None else count,
                    document,
                    facts,
                )
            )
    return Page(number, datasets, page.found)


_About = dict[tuple[str, str], tuple[int | None, dict[str, Any], dict[str, Any]]]
"""Count, document and facts by kind and name."""


def _names(rows: Iterable[Record], *kinds: str) -> list[str]:
    return [row["name"] for row in rows if row["kind"] in kinds]


async def _tables(connection: Connection, names: list[str]) -> _About:
    rows = await connection.fetch(
        "SELECT schema_name || '.' || table_name AS name, features, item, geometry_type, srid"
        " FROM geo_etl.publication WHERE current AND schema_name || '.' || table_name = ANY($1)",
        names,
    )
    return {
        ("table", row["name"]): (
            row["features"],
            row["item"],
            {"geometry_type": row["geometry_type"], "srid": row["srid"]},
        )
        for row in rows
    }


async def _layers(connection: Connection, names: list[str]) -> _About:
    rows = await connection.fetch(
        "SELECT layer, form, pixels, coalesce(item.item, collection) AS document,"
        " result->>'data_kind' AS data_kind, result->'assets'->0->'bands' AS bands,"
        " result->'assets'->0->>'dtype' AS dtype, result->>'quality_report_url' AS report,"
        " cardinality(item_ids) AS items"
        " FROM geo_etl.raster_publication LEFT JOIN geo_etl.raster_item AS item"
        " USING (layer, version)"
        " WHERE current AND layer = ANY($1) AND (form <> 'single' OR item_id = item_ids[1])",
        names,
    )
    rows = {row["layer"]: row for row in rows}.values()
    return {
        (row["form"], row["layer"]): (
            row["pixels"],
            row["document"],
            {key: row[key] for key in ("data_kind", "bands", "dtype", "report", "items")},
        )
        for row in rows
    }


async def _catalogued(connection: Connection, names: list[str]) -> _About:
    rows = await connection.fetch(
        "SELECT id, content, (SELECT items.content->'properties'->>'geo_etl:synced_from'"
        " FROM pgstac.items WHERE items.collection = known.id"
        " AND items.content->'properties' ? 'geo_etl:synced_from' LIMIT 1) AS synced_from"
        " FROM pgstac.collections AS known WHERE id = ANY($1)",
        names,
    )
    return {
        ("catalogued", row["id"]): (None, row["content"], {"synced_from": row["synced_from"]})
        for row in rows
    }
