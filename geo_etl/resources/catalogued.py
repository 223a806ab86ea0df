"""What the catalogue holds of rasters that are described where they lie, and whose it is.

Here: the rules for writing beside published layers, in the caller's transaction. Not here: reading
rasters (`headers`), nor deciding what a container needs (`container_sync`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from geo_etl.catalog.existing import (
    BLOB,
    DESCRIBED,
    ETAG,
    SYNCED_FROM,
    ExistingFacts,
    existing_collection,
    existing_item,
    item_id_of,
    summarized,
)
from geo_etl.catalog.lineage import moment
from geo_etl.catalog.raster_collections import common_render
from geo_etl.catalog.validate import validate
from geo_etl.errors import CatalogueError, SpecError
from geo_etl.ingest.lock import lock_collections
from geo_etl.raster.layers import current_version
from geo_etl.resources import pgstac
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.headers import describe, told
from geo_etl.resources.sources import parts_of
from geo_etl.resources.stac_extents import refresh_extent
from geo_etl.resources.stac_items import write_items
from geo_etl.spec import SourceRef

STAC_ID = re.compile(r"[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True)
class Held:
    """An item that the catalogue holds.

    Attributes:
        etag, synced_from, blob: as the item says; None for one that was not made here.
    """

    etag: str | None
    synced_from: str | None
    blob: str | None


@dataclass(frozen=True)
class FileOrder:
    """One raster to catalogue.

    Attributes:
        collection_id: default: the name of its container.
        item_id: default: from its path.
        given_datetime: timezone-aware; default: what its tags say, else when it was written.
        properties: of the item, beside what is found out.
    """

    source: SourceRef
    collection_id: str | None = None
    item_id: str | None = None
    given_datetime: datetime | None = None
    properties: Mapping[str, Any] | None = None


def catalogue_file(storage: BlobStorage, engine: sa.Engine, order: FileOrder) -> dict[str, Any]:
    """Make or renew the item of one raster that lies in a container; the item.

    An item that a sync keeps stays one that it keeps.

    Raises:
        SourceError: it can't be read where it lies, or nothing says where it is.
        StorageError: there is no such container or blob.
        SpecError: an id is not legal.
        CatalogueError: the collection or the item belongs to something else.
    """
    source = order.source
    collection_id = legal_id(order.collection_id or source.container, "collection_id")
    item_id = legal_id(order.item_id or item_id_of(source.path), "item_id")
    described = describe(storage, parts_of(storage, source))
    with engine.begin() as connection:
        collection = existing_collection(collection_id, str(source), synced=False)
        open_for(connection, collection)
        there = held(connection, collection_id, [item_id]).get(item_id)
        if there is not None and there.blob != str(source):
            raise CatalogueError(
                f"STAC item {collection_id}/{item_id}",
                "it belongs to a published layer"
                if there.blob is None
                else f"it is that of {there.blob}",
                "Set item_id or collection_id to another.",
            )
        with told(str(source)):
            item = existing_item(
                ExistingFacts(
                    item_id=item_id,
                    collection_id=collection_id,
                    blob=str(source),
                    href=storage.url(source),
                    size=described.blob.size,
                    etag=described.etag,
                    modified=described.blob.modified,
                    header=described.header,
                    is_alone=described.is_alone,
                    synced_from=there.synced_from if there is not None else None,
                    given_datetime=order.given_datetime,
                    given_properties=order.properties or {},
                )
            )
            validate(item)
        if not write_items(connection, collection_id, [item]).unchanged:
            touch(connection, collection_id)
    refresh(engine, collection_id)
    return item


def legal_id(value: str, called: str) -> str:
    """An id that every STAC API takes.

    Raises:
        SpecError: it has other characters, or too many.
    """
    if not STAC_ID.fullmatch(value):
        raise SpecError(
            f"{called} '{value}'",
            "it is no legal id",
            "Use 1 to 200 letters and digits of ASCII, '_', '.' and '-'.",
        )
    return value


def open_for(connection: sa.Connection, collection: dict[str, Any]) -> None:
    """Create a collection if it is not there; nobody else writes to it until the transaction ends.

    Raises:
        CatalogueError: it belongs to a published set, with which it comes and goes.
    """
    collection_id = collection["id"]
    lock_collections(connection, [collection_id])
    owner = current_version(connection, collection_id)
    if owner is not None:
        raise CatalogueError(
            f"STAC collection {collection_id}",
            f"it belongs to the rasters that are published from {owner.source}, and holds nothing "
            "else",
            "Set collection_id to another.",
        )
    pgstac.ensure_collection(connection, collection)


def held(
    connection: sa.Connection, collection_id: str, item_ids: Sequence[str] | None = None
) -> dict[str, Held]:
    """Items of a collection by their ids: all, or those of a list that are there."""
    query = (
        "SELECT id, content #>> ARRAY['properties', :etag] AS etag,"
        " content #>> ARRAY['properties', :synced] AS synced_from,"
        " content #>> ARRAY['properties', :blob] AS blob"
        " FROM pgstac.items WHERE collection = :collection"
    )
    values: dict[str, Any] = {
        "collection": collection_id,
        "etag": ETAG,
        "synced": SYNCED_FROM,
        "blob": BLOB,
    }
    if item_ids is not None:
        query += " AND id = ANY(:ids)"
        values["ids"] = list(item_ids)
    rows = connection.execute(sa.text(query), values)
    return {row.id: Held(row.etag, row.synced_from, row.blob) for row in rows}


def touch(connection: sa.Connection, collection_id: str) -> None:
    """Note that items of a collection were written or removed in this transaction."""
    collection = pgstac.get_collection(connection, collection_id)
    assert collection is not None
    if collection.get(DESCRIBED):
        now = moment(datetime.now(UTC))
        pgstac.upsert_collection(connection, {**collection, "updated": now})


def refresh(engine: sa.Engine, collection_id: str) -> dict[str, Any]:
    """Make a collection say what its items are now; the collection.

    Its extent always; summaries, and a mosaic where all items can be shown alike, of collections
    that were made for rasters where they lie.
    """
    with engine.begin() as connection:
        lock_collections(connection, [collection_id])
        refresh_extent(connection, collection_id)
        collection = pgstac.get_collection(connection, collection_id)
        assert collection is not None
        if not collection.get(DESCRIBED):
            return collection
        groups = _groups(connection, collection_id)
        collection = summarized(collection, groups)
        validate(collection)
        pgstac.upsert_collection(connection, collection)
        if common_render(groups) is not None:
            pgstac.register_search(connection, collection_id)
        else:
            pgstac.forget_searches(connection, collection_id)
    return collection


def _groups(connection: sa.Connection, collection_id: str) -> list[dict[str, Any]]:
    """What the items of a collection say, but each thing once, and of sizes the ends."""
    rows = connection.execute(
        sa.text(
            "SELECT told, bands, min(gsd) AS least, max(gsd) AS most FROM ("
            " SELECT jsonb_strip_nulls(jsonb_build_object("
            "   'proj:code', p->'proj:code', 'geo_etl:data_kind', p->'geo_etl:data_kind',"
            "   'ssys:targets', p->'ssys:targets', 'renders', p->'renders')) AS told,"
            "  (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object("
            "    'name', b->'name', 'data_type', b->'data_type', 'nodata', b->'nodata',"
            "    'unit', b->'unit')) ORDER BY place)"
            "   FROM jsonb_array_elements(content#>'{assets,data,bands}')"
            "   WITH ORDINALITY AS bands (b, place)) AS bands,"
            "  CAST(p->>'gsd' AS double precision) AS gsd"
            " FROM (SELECT content, content->'properties' AS p FROM pgstac.items"
            "  WHERE collection = :collection) AS one) AS items"
            " GROUP BY told, bands ORDER BY told, bands"
        ),
        {"collection": collection_id},
    )
    return [
        {
            "properties": {**row.told, "gsd": gsd},
            "assets": {"data": {"bands": row.bands or []}},
        }
        for row in rows
        for gsd in {row.least, row.most}
        if gsd is not None
    ]
