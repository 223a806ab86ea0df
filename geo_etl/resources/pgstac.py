"""pgSTAC: collections and items, written and read back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from geo_etl.errors import CatalogueError
from geo_etl.ingest.lock import lock_collections
from geo_etl.resources.stac_items import delete_items, write_items


def ensure_collection(connection: sa.Connection, collection: dict[str, Any]) -> None:
    """Create a collection if it is not there."""
    lock_collections(connection, [collection["id"]])
    exists = connection.execute(
        sa.text("SELECT 1 FROM pgstac.collections WHERE id = :id"), {"id": collection["id"]}
    ).first()
    if exists is None:
        connection.execute(
            sa.text("SELECT pgstac.create_collection(CAST(:content AS jsonb))"),
            {"content": json.dumps(collection)},
        )


def upsert_collection(connection: sa.Connection, collection: dict[str, Any]) -> None:
    """Write a collection in the caller's transaction, and read it back; unchanged, it is left.

    Raises:
        CatalogueError: the collection does not read back as it was written.
    """
    lock_collections(connection, [collection["id"]])
    if _same(get_collection(connection, collection["id"]), collection):
        return
    connection.execute(
        sa.text("SELECT pgstac.upsert_collection(CAST(:content AS jsonb))"),
        {"content": json.dumps(collection)},
    )
    if not _same(get_collection(connection, collection["id"]), collection):
        raise CatalogueError(
            f"STAC collection {collection['id']}",
            "pgSTAC gives back something else than was written",
            "Check the pgSTAC version with 'geo-etl health'.",
        )


def get_collection(connection: sa.Connection, collection_id: str) -> dict[str, Any] | None:
    """A collection as pgSTAC holds it; None when there is none."""
    return connection.execute(
        sa.text("SELECT pgstac.get_collection(:id)"), {"id": collection_id}
    ).scalar_one_or_none()


def delete_collection(connection: sa.Connection, collection_id: str) -> None:
    """Remove a collection that has no items; none there, or one with somebody's items, is left."""
    lock_collections(connection, [collection_id], ends=True)
    empty = sa.text(
        "SELECT 1 FROM pgstac.collections c WHERE c.id = :id"
        " AND NOT EXISTS (SELECT 1 FROM pgstac.items i WHERE i.collection = c.id)"
    )
    if connection.execute(empty, {"id": collection_id}).first() is not None:
        connection.execute(sa.text("SELECT pgstac.delete_collection(:id)"), {"id": collection_id})


def upsert_item(connection: sa.Connection, item: dict[str, Any]) -> None:
    """Write one item: see `geo_etl.resources.stac_items.write_items`."""
    write_items(connection, item["collection"], [item])


def get_item(connection: sa.Connection, collection_id: str, item_id: str) -> dict[str, Any] | None:
    """An item as pgSTAC holds it; None when there is none."""
    return connection.execute(
        sa.text("SELECT pgstac.get_item(:item, :collection)"),
        {"item": item_id, "collection": collection_id},
    ).scalar_one_or_none()


def delete_item(connection: sa.Connection, collection_id: str, item_id: str) -> None:
    """Remove an item; none there is fine."""
    delete_items(connection, collection_id, [item_id])


def register_search(connection: sa.Connection, collection_id: str) -> str:
    """Register the search for all items of a collection, in the caller's transaction; its hash.

    The hash is made of the search and its metadata, so both hold nothing that may change: a
    collection has one and the same hash for as long as it lives. An item that comes, changes or
    goes needs no new registration.

    Raises:
        CatalogueError: pgSTAC is read-only.
    """
    lock_collections(connection, [collection_id])
    statement = sa.text("SELECT hash FROM pgstac.search_query(:search, _metadata => :metadata)")
    with _search_path(connection):
        found = connection.execute(
            statement.bindparams(
                sa.bindparam("search", type_=JSONB), sa.bindparam("metadata", type_=JSONB)
            ),
            {
                "search": {"collections": [collection_id]},
                "metadata": {"type": "mosaic", "name": collection_id},
            },
        ).scalar_one()
    kept = sa.text("SELECT 1 FROM pgstac.searches WHERE hash = :hash")
    if connection.execute(kept, {"hash": found}).first() is None:
        raise CatalogueError(
            f"search for the items of collection {collection_id}",
            "pgSTAC did not register it",
            "Set pgSTAC's 'readonly' to false.",
        )
    return str(found)


def forget_searches(connection: sa.Connection, collection_id: str) -> None:
    """Remove the registered searches for all items of a collection; none there is fine.

    Those too that titiler registers for its `/collections/…` addresses.
    """
    connection.execute(
        sa.text("DELETE FROM pgstac.searches WHERE search->'collections' = :ids").bindparams(
            sa.bindparam("ids", type_=JSONB)
        ),
        {"ids": [collection_id]},
    )


@contextmanager
def _search_path(connection: sa.Connection) -> Iterator[None]:
    """Some of pgSTAC's functions find its tables only by the search path."""
    connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
    yield
    connection.execute(sa.text("RESET search_path"))


def _same(found: dict[str, Any] | None, collection: dict[str, Any]) -> bool:
    """Whether pgSTAC holds a collection; empty lists and what pgSTAC adds do not count."""
    if found is None:
        return False
    return all(
        found.get(key) == value for key, value in collection.items() if value not in ([], None)
    )
