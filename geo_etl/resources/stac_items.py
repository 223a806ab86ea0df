"""pgSTAC's items: many written at once, each read back, each there once and right.

COPY writes into pgSTAC's own table, in partitions that its `check_partition` has made ready. Its
triggers note the statistics of partitions, as after any write.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Never

import psycopg
import sqlalchemy as sa

from geo_etl.catalog.stored import Document, Row, Shared, item_of, row_of
from geo_etl.errors import CatalogueError, TransientError
from geo_etl.ingest.lock import lock_collections

BATCH = 2000
"""Items in work at a time: some 30 MB."""

# What pgSTAC's trigger does before it inserts: a partition for each span of time.
_PARTITIONS = """
    SELECT pgstac.check_partition(:collection, first, last) FROM (
        SELECT tstzrange(min(starts), max(starts), '[]') AS first,
            tstzrange(min(ends), max(ends), '[]') AS last
        FROM pgstac.collections c,
            unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) t(starts, ends)
        WHERE c.id = :collection
        GROUP BY coalesce(date_trunc(c.partition_trunc, starts, 'UTC'), '-infinity')
        ORDER BY 1
    ) AS parts
"""
# pgSTAC leaves to PostgreSQL how a large value is compressed. The default is a third of what an
# item costs the server; not every build knows the other way.
_COMPRESSION = """
    SELECT set_config(name, 'lz4', true) FROM pg_settings
    WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)
"""
_COPY = """
    COPY pgstac.items (id, collection, datetime, end_datetime, geometry, content) FROM STDIN
"""
# Cast to a geometry, GeoJSON has no SRID of its own, and no search would find it.
_WGS84 = ',"crs":{"type":"name","properties":{"name":"EPSG:4326"}}'
# As many digits as pgSTAC gives.
_HELD = """
    SELECT id, ST_AsGeoJSON(geometry, 20) AS geometry, CAST(content AS text) AS content,
        datetime, end_datetime, ST_SRID(geometry) AS srid
    FROM pgstac.items WHERE collection = :collection AND id = ANY(:ids)
"""


@dataclass(frozen=True)
class Written:
    """How many items were not there before, were there otherwise, or were there as given."""

    added: int
    updated: int
    unchanged: int


def write_items(
    connection: sa.Connection, collection_id: str, items: Sequence[Mapping[str, Any]]
) -> Written:
    """Let a collection hold items as they are given, in the caller's transaction; read them back.

    Writers of one collection take turns. An item that is there as it is given is not written. One
    whose time changed is afterwards in the partition of its new time, and in no other. A null is
    the same as nothing: pgSTAC gives back none.

    Raises:
        CatalogueError: the collection does not exist; an item is given twice, is of another
            collection, has no geometry or time, is not JSON, or does not read back as given.
        TransientError: another program wrote the same items at the same moment.
    """
    if not items:
        return Written(0, 0, 0)
    lock_collections(connection, [collection_id])
    shared = _shared(connection, collection_id)
    if shared is None:
        raise CatalogueError(
            f"STAC collection {collection_id}",
            "it does not exist, so nothing can be in it",
            "Create the collection first.",
        )
    seen: set[str] = set()
    added = updated = 0
    for first in range(0, len(items), BATCH):
        rows = [row_of(collection_id, item) for item in items[first : first + BATCH]]
        for row in rows:
            if row.id in seen:
                _refuse(collection_id, row.id, "is given twice", "Give each an id of its own.")
            seen.add(row.id)
        found = _compare(connection, collection_id, shared, rows)
        new = [row for row in rows if not found.get(row.id)]
        there = [row.id for row in new if row.id in found]
        if new:
            _delete(connection, collection_id, there)
            _insert(connection, collection_id, shared, new)
            _check(connection, collection_id, shared, new)
        added, updated = added + len(new) - len(there), updated + len(there)
    return Written(added, updated, len(items) - added - updated)


def delete_items(connection: sa.Connection, collection_id: str, ids: Sequence[str]) -> int:
    """Remove items in the caller's transaction; how many were there. None there is fine."""
    lock_collections(connection, [collection_id])
    return _delete(connection, collection_id, ids)


def read_items(
    connection: sa.Connection, collection_id: str, ids: Sequence[str]
) -> dict[str, Document]:
    """Items of a collection as pgSTAC gives them, by id; those that are there."""
    found: dict[str, Document] = {}
    shared = _shared(connection, collection_id)
    if shared is None:
        return found
    for first in range(0, len(ids), BATCH):
        for row in _read(connection, collection_id, ids[first : first + BATCH]):
            found[row.id] = item_of(collection_id, row.id, row.geometry, row.content, shared)
    return found


def _shared(connection: sa.Connection, collection_id: str) -> Shared | None:
    """What the items of a collection share; None without the collection."""
    now = connection.execute(
        sa.text("SELECT base_item_id, base_item FROM pgstac.current_base_item(:id)"),
        {"id": collection_id},
    ).one()
    if now.base_item is None:
        return None
    known = connection.execute(
        sa.text("SELECT id, base_item FROM pgstac.base_items WHERE collection = :id ORDER BY id"),
        {"id": collection_id},
    ).all()
    tagged: dict[int | None, Document] = {row.id: row.base_item for row in known}
    tagged[None] = known[0].base_item if known else now.base_item
    return Shared(now.base_item, now.base_item_id, tagged)


def _read(
    connection: sa.Connection, collection_id: str, ids: Sequence[str]
) -> sa.CursorResult[Any]:
    names = {"collection": collection_id, "ids": list(ids)}
    return connection.execute(sa.text(_HELD), names)


def _compare(
    connection: sa.Connection, collection_id: str, shared: Shared, rows: Sequence[Row]
) -> dict[str, bool]:
    """Of the items that are there: whether each is as it is to be, and there once."""
    wanted, found = {row.id: row for row in rows}, dict[str, bool]()
    # One by one: all at once they would be too many objects for Python's collector of garbage.
    for held in _read(connection, collection_id, list(wanted)):
        row = wanted[held.id]
        placed = (held.datetime, held.end_datetime, held.srid) == (row.start, row.end, 4326)
        as_given = row.equals(held.geometry, held.content, shared)
        found[held.id] = held.id not in found and placed and as_given
    return found


def _delete(connection: sa.Connection, collection_id: str, ids: Sequence[str]) -> int:
    if not ids:
        return 0
    return connection.execute(
        sa.text("DELETE FROM pgstac.items WHERE collection = :collection AND id = ANY(:ids)"),
        {"collection": collection_id, "ids": list(ids)},
    ).rowcount


def _insert(
    connection: sa.Connection, collection_id: str, shared: Shared, rows: Sequence[Row]
) -> None:
    starts, ends = [row.start for row in rows], [row.end for row in rows]
    names = {"collection": collection_id, "starts": starts, "ends": ends}
    connection.execute(sa.text(_PARTITIONS), names)
    connection.execute(sa.text(_COMPRESSION))
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                content = row.content(shared)
                place = f"{row.geometry[:-1]}{_WGS84}}}"
                copy.write_row((row.id, collection_id, row.start, row.end, place, content))
    except psycopg.Error as error:
        _explain(error, collection_id, rows)


def _check(
    connection: sa.Connection, collection_id: str, shared: Shared, rows: Sequence[Row]
) -> None:
    """Read items back."""
    found = _compare(connection, collection_id, shared, rows)
    for row in rows:
        if not found.get(row.id):
            what = "does not read back from pgSTAC as it was written"
            remedy = "Look for what pgSTAC does not keep in it, or at 'geo-etl health'."
            _refuse(collection_id, row.id, what, remedy)


def _explain(error: psycopg.Error, collection_id: str, rows: Sequence[Row]) -> Never:
    """Say which item PostgreSQL did not take, where it is the item's fault."""
    state, line = error.sqlstate or "", re.search(r"line (\d+)", error.diag.context or "")
    if state in ("23505", "23514"):  # there already, or its partition has other bounds
        raise TransientError(f"STAC collection {collection_id} changed meanwhile: {error}")
    if line is None or not (state.startswith(("22", "23", "54")) or state == "XX000"):
        raise error
    what = f"is refused: {error.diag.message_primary}"
    _refuse(collection_id, rows[int(line[1]) - 1].id, what, "Correct it.")


def _refuse(collection_id: str, item_id: str, problem: str, remedy: str) -> Never:
    raise CatalogueError(f"STAC item {collection_id}/{item_id}", f"it {problem}", remedy)
