"""Publishing: one transaction after which readers see the new version of a layer.

Its files lie in silver already, each proven. What becomes visible, at once, is the STAC items that
name them, the collection of a set, and its tiles in `geo.tiles`. The last versions stay
restorable: their files are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from geo_etl.errors import PublishError
from geo_etl.ingest.lock import lock, lock_collections
from geo_etl.raster import ledger
from geo_etl.raster.layers import (
    Version,
    collection_around,
    current_version,
    version_made_by,
    versions_of,
)
from geo_etl.raster.loads import Load, check_whole, drop_loads, hold
from geo_etl.raster.outputs import discard_unkept, keep_only
from geo_etl.raster.ownership import check_layer

LOCK_TIMEOUT = "60s"
"""How long a publish waits for another one before it gives way and is retried."""


@dataclass(frozen=True)
class Candidate:
    """One finished load, and the version of a layer that it is to become.

    Attributes:
        version: as it will be recorded; its number and time are set by the publish.
        items: its STAC items; of a collection none, they are its members'.
        blobs: all that it consists of in silver: files, previews, a mosaic.
    """

    load: Load
    version: Version
    items: tuple[dict[str, Any], ...]
    blobs: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """What the STAC catalogue has to follow, in the transaction of a publish.

    Attributes:
        items: to be there as they are.
        removed_items: ids of those of `collection_id` that go.
        collection: to be there; None: it is not needed any more.
        owns_collection: whether it is this layer's own: to be as it is, or to be removed.
    """

    collection_id: str
    items: tuple[dict[str, Any], ...]
    removed_items: tuple[str, ...]
    collection: dict[str, Any] | None
    owns_collection: bool


Catalogue = Callable[[sa.Connection, Sequence[Change]], None]
"""Writes changes to the STAC catalogue on the connection it is given; the last one counts."""


def publish(
    engine: sa.Engine,
    candidates: Sequence[Candidate],
    catalogue: Catalogue,
    keep: int,
    removed: Sequence[str] = (),
) -> list[Version]:
    """Let readers see finished loads, all of a job in one transaction with their STAC items.

    Blobs of versions that are no longer kept are noted to be removed.

    Args:
        keep: how many versions of each layer stay restorable, the current one among them.
        removed: layers that go at the same time: members that are no more.

    Returns:
        The versions that the loads were published as; those of an earlier attempt as they are.

    Raises:
        ConservationError: a piece is not converted.
        PublishError: a layer, collection or item belongs to somebody else, or a newer run of the
            source took this one's place.
        sqlalchemy.exc.OperationalError: another publish took longer than `LOCK_TIMEOUT`; to be
            retried.
    """
    made: dict[str, Version] = {}
    # A collection comes after its members.
    ordered = sorted(candidates, key=lambda one: (one.version.form == "collection", one.load.layer))
    with engine.begin() as connection:
        begin(connection, *(candidate.version.layer for candidate in ordered), *removed)
        sets = {one.version.layer for one in ordered if one.version.form == "collection"}
        for one in ordered:
            before = version_made_by(connection, one.load.id)
            if before is not None:
                made[one.load.layer] = before  # and it stays as it is, also where it was replaced
                discard_unkept(connection, one.load)
                continue
            hold(connection, one.load)
            check_whole(connection, one.load)
            new = one.version
            check_layer(
                connection,
                new.layer,
                new.form,
                new.item_ids,
                new.source,
                with_collection=new.collection_id in sets,
            )
        changes: list[Change] = []
        for layer in removed:
            if (gone := current_version(connection, layer)) is not None:
                changes += remove(connection, gone)
        for one in ordered:
            if one.load.layer not in made:
                made[one.load.layer], changed = _publish_one(connection, one, keep)
                changes.append(changed)
        # All at once: one by one, 300 members take three times as long.
        catalogue(connection, changes)
    return [made[candidate.load.layer] for candidate in candidates]


def begin(connection: sa.Connection, *layers: str, ends: bool = False) -> None:
    """Take the locks of layers: those of one collection take turns.

    Args:
        ends: whether a layer may be removed with its collection.
    """
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    collections = sorted({layer.partition("/")[0] for layer in layers})
    for collection in collections:
        lock(connection, f"publish rasters {collection}")
    lock_collections(connection, collections, ends=ends)


def _publish_one(
    connection: sa.Connection, candidate: Candidate, keep: int
) -> tuple[Version, Change]:
    load, layer = candidate.load, candidate.version.layer
    current = current_version(connection, layer)
    known = versions_of(connection, layer)
    version = replace(
        candidate.version,
        number=max((version.number for version in known), default=0) + 1,
        current=True,
        load_id=load.id,
        published_at=datetime.now(UTC),
    )
    keep_only(connection, load, candidate.blobs)
    connection.execute(
        sa.update(ledger.load).where(ledger.load.c.id == load.id).values(state="published")
    )
    make_current(connection, layer, None)
    connection.execute(sa.insert(ledger.publication).values(**version.row()))
    if candidate.items:
        key = {"layer": layer, "version": version.number}
        rows = [{**key, "item_id": item["id"], "item": item} for item in candidate.items]
        connection.execute(sa.insert(ledger.item), rows)
    # What a collection was cannot be shown again: its members go their own ways. But who read the
    # catalogue a moment ago finds its mosaic until the next publish; members that are removed go.
    prune(connection, layer, 2 if version.form == "collection" else keep)
    return version, change(version, candidate.items, current)


def change(version: Version, items: Sequence[dict[str, Any]], before: Version | None) -> Change:
    """What the catalogue has to do so that readers see a version instead of the one before."""
    old = before.item_ids if before is not None and before.form != "collection" else ()
    return Change(
        collection_id=version.collection_id,
        items=tuple(items),
        removed_items=tuple(sorted(set(old) - set(version.item_ids))),
        collection=version.collection,
        owns_collection=version.is_set,
    )


def make_current(connection: sa.Connection, layer: str, number: int | None) -> None:
    """Note which version readers see; None for one that is yet to be noted."""
    table = ledger.publication
    here = table.c.layer == layer
    connection.execute(sa.update(table).where(here, table.c.current).values(current=sa.false()))
    if number is not None:
        connection.execute(
            sa.update(table).where(here, table.c.version == number).values(current=sa.true())
        )


def prune(connection: sa.Connection, layer: str, keep: int) -> None:
    """Drop the files of versions that are no longer to be restored; what they were stays known."""
    others = [
        version
        for version in versions_of(connection, layer)
        if version.load_id is not None and not version.current
    ]
    for version in others[: max(0, len(others) - (keep - 1))]:
        assert version.load_id is not None
        drop_loads(connection, [version.load_id])
        table = ledger.item
        connection.execute(
            sa.delete(table).where(table.c.layer == layer, table.c.version == version.number)
        )


def remove(connection: sa.Connection, version: Version) -> list[Change]:
    """Take a layer away with all of its versions; of a collection, its members too.

    Returns:
        What the catalogue has to follow.
    """
    changes: list[Change] = []
    if version.form == "collection":
        for item_id in version.item_ids:
            member = current_version(connection, f"{version.layer}/{item_id}")
            if member is not None:
                changes += remove(connection, member)
    ids = version.item_ids if version.form != "collection" else ()
    changes.append(Change(version.collection_id, (), ids, None, version.is_set))
    loads = [one.load_id for one in versions_of(connection, version.layer)]
    drop_loads(connection, [load_id for load_id in loads if load_id is not None])
    table = ledger.publication
    connection.execute(sa.delete(table).where(table.c.layer == version.layer))
    return changes


def check_alone(connection: sa.Connection, version: Version, verb: str) -> None:
    """Refuse to change a member without its collection.

    Raises:
        PublishError: names the collection.
    """
    around = collection_around(connection, version)
    if around is not None:
        raise PublishError(
            f"raster layer {version.layer}",
            f"it is a member of collection {around.layer}, and can't be {verb} without it",
            f"Change its file below {around.source}, then 'geo-etl ingest {around.source}/'.",
        )


def store_result(connection: sa.Connection, version: Version, result: dict[str, Any]) -> None:
    """Keep the result document of a publish that was verified."""
    table = ledger.publication
    connection.execute(
        sa.update(table)
        .where(table.c.layer == version.layer, table.c.version == version.number)
        .values(result=result)
    )
