"""A collection that matches a container: batches of items, and what is gone.

The state of a sync is the items themselves: each says the ETag of the blob that it was made from,
and which sync made it (`geo_etl:etag`, `geo_etl:synced_from`). So a sync that was killed goes on
where it was, and two at a time do each other no harm: a batch writes, in its own transaction and
under the collection's lock, only items that are still as they were when their blobs were read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from geo_etl.catalog.existing import ExistingFacts, existing_collection, existing_item
from geo_etl.catalog.validate import validate
from geo_etl.errors import GeoEtlError, StorageError
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.catalogued import Held, held, open_for, refresh, touch
from geo_etl.resources.headers import describe, told
from geo_etl.resources.stac_items import delete_items, write_items
from geo_etl.resources.sync_plan import (
    Problem,
    Slice,
    SyncOrder,
    SyncPlan,
    Todo,
    check_free,
    reason_of,
)

Progress = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class SliceReport:
    """What one task did. An item that an earlier attempt wrote counts here too."""

    index: int
    added: int = 0
    updated: int = 0
    removed: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class SyncResult:
    """What became of a collection.

    Attributes:
        failed: rasters that could not be catalogued; they are tried again by the next sync.
        removed: items whose blob is gone, or can't be read any more.
    """

    collection: dict[str, Any]
    files: int
    added: int
    updated: int
    unchanged: int
    removed: int
    published: int
    failed: tuple[Problem, ...]


def sync_slice(
    storage: BlobStorage, engine: sa.Engine, order: SyncOrder, part: Slice, say: Progress
) -> SliceReport:
    """Catalogue the rasters of one task, batch after batch, each committed on its own."""
    report, done = SliceReport(part.index), 0
    for batch in _batches(part.todo, order.batch_size):
        report = _sync_batch(storage, engine, order, batch, report)
        done += len(batch)
        say(
            f"Task {part.index + 1}: {done:,} of {len(part.todo):,} files; {report.added:,} added, "
            f"{report.updated:,} updated, {len(report.problems):,} failed."
        )
    return report


def finish_sync(
    engine: sa.Engine, plan: SyncPlan, reports: Sequence[SliceReport], say: Progress
) -> SyncResult:
    """Remove items whose blobs are gone, and make the collection say what it holds now."""
    order, removed = plan.order, 0
    for batch in _batches(plan.gone, order.batch_size) if order.remove else ():
        with engine.begin() as connection:
            open_for(connection, existing_collection(order.collection_id, order.synced_from))
            now = held(connection, order.collection_id, [item_id for item_id, _ in batch])
            # Back meanwhile, by another sync: another ETag. Gone: an earlier attempt was here.
            lost = [item_id for item_id, etag in batch if _etag(now, item_id) == etag]
            delete_items(connection, order.collection_id, lost)
            if lost:
                touch(connection, order.collection_id)
            removed += sum(one in lost or one not in now for one, _ in batch)
        say(f"{removed:,} of {len(plan.gone):,} items removed.")
    collection = refresh(engine, order.collection_id)
    failed = [*plan.problems, *(one for report in reports for one in report.problems)]
    return SyncResult(
        collection=collection,
        files=plan.files,
        added=sum(report.added for report in reports),
        updated=sum(report.updated for report in reports),
        unchanged=plan.unchanged,
        removed=removed + sum(report.removed for report in reports),
        published=plan.published,
        failed=tuple(sorted(failed, key=lambda one: one.name)),
    )


def _batches(every: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(every), size):
        yield every[start : start + size]


def _sync_batch(
    storage: BlobStorage,
    engine: sa.Engine,
    order: SyncOrder,
    batch: Sequence[Todo],
    report: SliceReport,
) -> SliceReport:
    ids = [one.item_id for one in batch]
    with engine.connect() as connection:
        before = held(connection, order.collection_id, ids)
    items: dict[str, dict[str, Any]] = {}
    problems: dict[str, Problem] = {}
    unreadable: set[str] = set()
    for one in batch:
        item = before.get(one.item_id)
        try:
            check_free(item, one.name, order)
            if item is None or item.etag == one.seen:
                items[one.item_id] = _item(storage, order, one)
            # Else an earlier attempt has done it, or a sync that began later.
        except GeoEtlError as error:
            problems[one.item_id] = Problem(one.name, reason_of(error))
            is_mine = item is None or item.synced_from == order.synced_from
            is_content = not isinstance(error, StorageError)
            if order.remove and one.seen is not None and is_mine and is_content:
                unreadable.add(one.item_id)
    with engine.begin() as connection:
        open_for(connection, existing_collection(order.collection_id, order.synced_from))
        now = held(connection, order.collection_id, ids)
        same = {item_id for item_id in ids if now.get(item_id) == before.get(item_id)}
        new = [item for item_id, item in items.items() if item_id in same]
        written = write_items(connection, order.collection_id, new)
        lost = sorted(unreadable & same)
        delete_items(connection, order.collection_id, lost)
        if written.added or written.updated or lost:
            touch(connection, order.collection_id)
    good = [one for one in batch if one.item_id not in problems]
    added = sum(one.seen is None for one in good)
    return SliceReport(
        report.index,
        report.added + added,
        report.updated + len(good) - added,
        report.removed + len(unreadable),
        (*report.problems, *problems.values()),
    )


def _etag(items: Mapping[str, Held], item_id: str) -> str | None:
    item = items.get(item_id)
    return None if item is None else item.etag


def _item(storage: BlobStorage, order: SyncOrder, one: Todo) -> dict[str, Any]:
    described = describe(storage, one.parts)
    with told(one.name):
        item = existing_item(
            ExistingFacts(
                item_id=one.item_id,
                collection_id=order.collection_id,
                blob=one.name,
                href=storage.url(described.blob.ref),
                size=described.blob.size,
                etag=described.etag,
                modified=described.blob.modified,
                header=described.header,
                is_alone=described.is_alone,
                synced_from=order.synced_from,
            )
        )
        validate(item)
    return item
