"""pgSTAC: collections and items, written and read back."""

import json
from typing import Any

import sqlalchemy as sa

from geo_etl.errors import CatalogueError
from geo_etl.ingest.lock import lock


def ensure_collection(connection: sa.Connection, collection: dict[str, Any]) -> None:
    """Create a collection if it is not there."""
    lock(connection, f"collection {collection['id']}")
    exists = connection.execute(
        sa.text("SELECT 1 FROM pgstac.collections WHERE id = :id"), {"id": collection["id"]}
    ).first()
    if exists is None:
        connection.execute(
            sa.text("SELECT pgstac.create_collection(CAST(:content AS jsonb))"),
            {"content": json.dumps(collection)},
        )


def upsert_item(connection: sa.Connection, item: dict[str, Any]) -> None:
    """Write an item in the caller's transaction, and read it back there.

    Writers of one collection take turns: under concurrency pgSTAC can drop rows without an
    error. An item that is unchanged is not written.

    Raises:
        CatalogueError: the item does not read back as it was written.
    """
    lock(connection, f"collection {item['collection']}")
    if _same(get_item(connection, item["collection"], item["id"]), item):
        return
    connection.execute(
        sa.text("SELECT pgstac.upsert_item(CAST(:content AS jsonb))"),
        {"content": json.dumps(item)},
    )
    if not _same(get_item(connection, item["collection"], item["id"]), item):
        raise CatalogueError(
            f"STAC item {item['collection']}/{item['id']}",
            "pgSTAC gives back something else than was written",
            "Check the pgSTAC version with 'geo-etl health'.",
        )


def get_item(connection: sa.Connection, collection_id: str, item_id: str) -> dict[str, Any] | None:
    """An item as pgSTAC holds it; None when there is none."""
    return connection.execute(
        sa.text("SELECT pgstac.get_item(:item, :collection)"),
        {"item": item_id, "collection": collection_id},
    ).scalar_one_or_none()


def delete_item(connection: sa.Connection, collection_id: str, item_id: str) -> None:
    """Remove an item; none there is fine."""
    if get_item(connection, collection_id, item_id) is not None:
        # pgSTAC's function finds its tables only by the search path.
        connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
        connection.execute(
            sa.text("SELECT pgstac.delete_item(:item, :collection)"),
            {"item": item_id, "collection": collection_id},
        )
        connection.execute(sa.text("RESET search_path"))


def _same(found: dict[str, Any] | None, item: dict[str, Any]) -> bool:
    """Whether pgSTAC holds an item; empty lists and what pgSTAC adds do not count."""
    if found is None:
        return False
    return all(found.get(key) == value for key, value in item.items() if value not in ([], None))
