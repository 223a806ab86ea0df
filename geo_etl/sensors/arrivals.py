"""New and changed blobs in bronze start runs.

The sensor lists the container and looks at what was written since its cursor, with a window
of overlap. It asks for a bounded number of runs a tick; what is left waits for the
next. A sidecar file that is new or changed stands for all the sources it has settings for.

Nothing is run twice: a source that a run was started for since it arrived (by a person, say) is
left alone, and so is one that arrives again with the very content that is published.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import PurePosixPath
from typing import NamedTuple

from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from geo_etl.errors import GeoEtlError, StorageError
from geo_etl.jobs.ingest import ingest_vector
from geo_etl.partitions import vector_sources
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.postgis import PostGISResource, Published
from geo_etl.resources.sources import content_hash, identify
from geo_etl.settings import get_settings
from geo_etl.spec.resolve import FOLDER_DEFAULTS, SIDECAR_SUFFIX
from geo_etl.vector.source import is_vector_source

OVERLAP = timedelta(seconds=60)
"""Blobs may become visible a little after the time they carry."""
HASH_BYTES = 1_000_000_000
"""How much content a tick reads at most to tell that a source is unchanged."""


class Due(NamedTuple):
    """Why a source is due: the ETag and time of the blob that makes it so.

    `spec` tells that this is a sidecar file, not the source itself.
    """

    etag: str
    since: float
    spec: bool


@dataclass
class Cursor:
    """Where the sensor is.

    Attributes:
        watermark: time of the last blob that was dealt with (seconds since the epoch).
        seen: ETags of blobs that were dealt with and lie within the window of overlap.
        pending: sources by path that wait to be asked for.
    """

    watermark: float = 0.0
    seen: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Due] = field(default_factory=dict)

    @classmethod
    def load(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; none is the beginning."""
        if not text:
            return cls()
        state = json.loads(text)
        pending = {path: Due(*due) for path, due in state["pending"].items()}
        return cls(state["watermark"], state["seen"], pending)

    def dump(self) -> str:
        """As text, to be stored."""
        return json.dumps(vars(self), separators=(",", ":"))


@dataclass(frozen=True)
class Listing:
    """What a container holds: its sources by path, and what was written since the cursor."""

    sources: dict[str, Blob]
    fresh: list[Blob]


def list_fresh(
    pages: Iterable[list[Blob]],
    cursor: Cursor,
    settled_before: datetime,
    known: Collection[str] | None = None,
) -> Listing:
    """Go through a container once; fresh blobs come oldest first.

    Args:
        known: keys of sources that were dealt with at some time. Any other is fresh, however old:
            a folder that is moved in keeps the times of its files.
    """
    since = datetime.fromtimestamp(cursor.watermark, UTC) - OVERLAP if cursor.watermark else None
    sources: dict[str, Blob] = {}
    fresh: list[Blob] = []
    for page in pages:
        for blob in page:
            path = blob.ref.path
            if is_vector_source(path):
                sources[path] = blob
            elif not _is_sidecar(path):
                continue
            due = since is None or blob.modified >= since
            if known is not None and path in sources and str(blob.ref) not in known:
                due = path not in cursor.pending
            if due and blob.modified <= settled_before and cursor.seen.get(path) != blob.etag:
                fresh.append(blob)
    return Listing(sources, sorted(fresh, key=lambda blob: (blob.modified, blob.ref.path)))


def advance(cursor: Cursor, listing: Listing, limit: int) -> Cursor:
    """Take in fresh blobs, oldest first, until at least `limit` sources are pending."""
    pending, seen, watermark = dict(cursor.pending), dict(cursor.seen), cursor.watermark
    times: dict[str, float] = {}
    for blob in listing.fresh:
        if len(pending) >= limit:
            break
        path = blob.ref.path
        times[path] = blob.modified.timestamp()
        for source in _stands_for(path, listing.sources):
            spec = source != path or (source in pending and pending[source].spec)
            pending[source] = Due(blob.etag, times[path], spec)
        seen[path] = blob.etag
        watermark = max(watermark, times[path])
    edge = watermark - OVERLAP.total_seconds()
    known = {**{path: blob.modified.timestamp() for path, blob in listing.sources.items()}, **times}
    kept = {path: etag for path, etag in seen.items() if known.get(path, watermark) >= edge}
    return Cursor(watermark, kept, pending)


def _is_sidecar(path: str) -> bool:
    name = PurePosixPath(path).name
    return name == FOLDER_DEFAULTS or name.endswith(SIDECAR_SUFFIX)


def _stands_for(path: str, sources: Iterable[str]) -> list[str]:
    """The sources that a fresh blob makes due: itself, or those that a sidecar is for."""
    name = PurePosixPath(path).name
    if name == FOLDER_DEFAULTS:
        folder = path.removesuffix(name)
        return [source for source in sources if source.startswith(folder)]
    if name.endswith(SIDECAR_SUFFIX):
        stem = path.removesuffix(SIDECAR_SUFFIX)
        return [s for s in sources if s == stem or str(PurePosixPath(s).with_suffix("")) == stem]
    return [path]


@sensor(
    job=ingest_vector,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Starts an ingest for each new or changed vector source in bronze.",
)
def bronze_arrivals(
    context: SensorEvaluationContext, blobs: BlobStorageResource, postgis: PostGISResource
) -> SensorResult | SkipReason:
    settings = get_settings()
    container, storage = blobs.bronze_container, blobs.storage
    settled_before = datetime.now(UTC) - timedelta(seconds=settings.sensor_settle_seconds)
    cursor = Cursor.load(context.cursor)
    try:
        known = set(context.instance.get_dynamic_partitions(str(vector_sources.name)))
        listing = list_fresh(storage.pages(container), cursor, settled_before, known)
    except StorageError as error:
        return SkipReason(str(error))
    cursor = advance(cursor, listing, settings.sensor_runs_per_tick)
    due = _take(cursor, listing, settings.sensor_runs_per_tick)
    changed = _without_settled(due, context.instance, storage, postgis)
    requests = [
        RunRequest(run_key=_run_key(blob, reason), partition_key=str(blob.ref))
        for blob, reason in changed
    ]
    if not requests:
        context.update_cursor(cursor.dump())
        settled = f"; {len(due)} arrived, and are dealt with" if due else ""
        return SkipReason(f"{len(listing.sources)} sources in {container}, nothing to do{settled}")
    keys = [str(blob.ref) for blob, _ in changed]
    return SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[vector_sources.build_add_request(keys)],
        cursor=cursor.dump(),
    )


def _run_key(blob: Blob, due: Due) -> str:
    return sha256(f"{blob.ref}\n{blob.etag}\n{due.etag}".encode()).hexdigest()


def _take(cursor: Cursor, listing: Listing, limit: int) -> list[tuple[Blob, Due]]:
    """Take sources out of the queue; those that are gone from bronze meanwhile are dropped."""
    paths = list(cursor.pending)[:limit]
    taken = [(path, cursor.pending.pop(path)) for path in paths]
    return [(listing.sources[path], due) for path, due in taken if path in listing.sources]


def _without_settled(
    due: list[tuple[Blob, Due]],
    instance: DagsterInstance,
    storage: BlobStorage,
    postgis: PostGISResource,
) -> list[tuple[Blob, Due]]:
    """Leave out what was run since it became due, and what is published as it is now."""
    if not due:
        return []
    published = {entry.source: entry for entry in postgis.published()}
    budget = HASH_BYTES
    changed = []
    for blob, reason in due:
        if _was_run(instance, str(blob.ref), reason.since):
            continue
        entry = published.get(str(blob.ref))
        if entry is not None and blob.size <= budget:
            budget -= blob.size
            if _is_as_published(storage, blob, reason, entry):
                continue
        changed.append((blob, reason))
    return changed


def _was_run(instance: DagsterInstance, source: str, since: float) -> bool:
    """Whether a run was started for a source after a time (or waits to be started)."""
    records = instance.get_run_records(RunsFilter(tags={"dagster/partition": source}), limit=1)
    return any(record.create_timestamp.timestamp() >= since for record in records)


def _is_as_published(storage: BlobStorage, blob: Blob, due: Due, entry: Published) -> bool:
    if not due.spec:
        return content_hash(storage, blob) == entry.fingerprint
    try:
        return identify(storage, blob.ref).job_id == entry.job_id
    except GeoEtlError:
        return False  # the run will fail with this very error, where a person sees it
