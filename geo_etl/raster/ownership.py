"""Whose a raster layer is, its STAC collection and its items: what may be published where."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from geo_etl.errors import PublishError
from geo_etl.raster.layers import Version, current_version, find_versions
from geo_etl.raster.manifest import Form


def check_layer(
    connection: sa.Connection,
    layer: str,
    form: Form,
    item_ids: Collection[str],
    source: str,
    *,
    with_collection: bool = False,
) -> Version | None:
    """Refuse a layer that this source may not publish.

    Args:
        item_ids: of its STAC items, as far as they are known.
        with_collection: whether the collection that it is a member of is published with it.

    Returns:
        The version that readers see now; None for a new layer.

    Raises:
        PublishError: names the owner and the ways out.
    """
    collection_id = layer.partition("/")[0]
    current = current_version(connection, layer)
    if current is not None and current.source != source:
        raise _belongs(layer, current.source)
    if form == "single":
        if not with_collection:
            _check_around(connection, layer, collection_id, source)
    elif current is None:
        _check_own_collection(connection, layer, form, source)
    if form != "collection":
        owned = current.item_ids if current is not None else ()
        _check_items(connection, collection_id, sorted(set(item_ids) - set(owned)))
    return current


def _belongs(layer: str, owner: str) -> PublishError:
    return PublishError(
        f"raster layer {layer}",
        f"it is published from another source, {owner}",
        "Set item_id or collection_id in this source's spec to publish beside it, or "
        f"'geo-etl unpublish {layer}' first.",
    )


def _check_around(connection: sa.Connection, layer: str, collection_id: str, source: str) -> None:
    """A single raster in the collection of a set: only as a member, together with it."""
    around = current_version(connection, collection_id)
    if around is None:
        return
    if around.form == "collection" and source.startswith(f"{around.source}/"):
        raise PublishError(
            f"raster layer {layer}",
            f"it is a member of collection {collection_id}, which has to stay one with its members",
            f"Ingest the collection instead: 'geo-etl ingest {around.source}/'.",
        )
    what = "the tiles of" if around.form == "tiled" else "the rasters below"
    raise PublishError(
        f"raster layer {layer}",
        f"collection {collection_id} holds {what} {around.source}, and nothing else",
        "Set collection_id in this source's spec to another.",
    )


def _check_own_collection(connection: sa.Connection, layer: str, form: Form, source: str) -> None:
    """The collection of a new set: nobody else's, nor one with layers of other sources."""
    exists = connection.execute(
        sa.text("SELECT 1 FROM pgstac.collections WHERE id = :id"), {"id": layer}
    ).first()
    if exists is None:
        return
    remedy = "Set collection_id in the spec to another."
    shown = find_versions(connection, collection_id=layer, current=True)
    strangers = [one for one in shown if form == "tiled" or not one.source.startswith(f"{source}/")]
    if strangers:
        raise PublishError(
            f"STAC collection {layer}",
            f"it holds a layer of another source, {strangers[0].source}",
            remedy,
        )
    if not shown:
        raise PublishError(
            f"STAC collection {layer}",
            "it is there already, and no raster layer of geo_etl is in it",
            f"{remedy.removesuffix('.')}, or remove that collection yourself.",
        )
    known = {item_id for one in shown for item_id in one.item_ids}
    items = connection.execute(
        sa.text("SELECT id FROM pgstac.items WHERE collection = :collection ORDER BY id"),
        {"collection": layer},
    ).scalars()
    if foreign := [item_id for item_id in items if item_id not in known]:
        raise _foreign_item(layer, foreign[0])


def _check_items(connection: sa.Connection, collection_id: str, item_ids: Sequence[str]) -> None:
    """STAC items that a layer does not have yet: nobody else's.

    Those of other raster layers are told by the names of layers: a single one has the name of its
    item, and the collection of a set holds nothing else.
    """
    there = connection.execute(
        sa.text(
            "SELECT i.id, p.schema_name || '.' || p.table_name AS table_name FROM pgstac.items i"
            " LEFT JOIN geo_etl.publication p ON p.current AND p.item_id = i.id"
            " AND p.collection_id = i.collection"
            " WHERE i.collection = :collection AND i.id = ANY(:ids) ORDER BY i.id LIMIT 1"
        ),
        {"collection": collection_id, "ids": list(item_ids)},
    ).one_or_none()
    if there is not None and there.table_name is not None:
        raise PublishError(
            f"STAC item {collection_id}/{there.id}",
            f"it belongs to table {there.table_name}",
            "Set item_id or collection_id in this source's spec to another.",
        )
    if there is not None:
        raise _foreign_item(collection_id, there.id)


def _foreign_item(collection_id: str, item_id: str) -> PublishError:
    return PublishError(
        f"STAC item {collection_id}/{item_id}",
        "it was not made by geo_etl",
        "Set item_id or collection_id in the spec to another, or remove that item yourself.",
    )
