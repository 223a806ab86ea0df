"""New and changed blobs in bronze start runs.

The sensor lists the container and looks at what was written since its cursor, with a window
of overlap. It asks for a bounded number of runs a tick; what is left waits for the
next. A sidecar file that is new or changed stands for all the sources it has settings for. A
shapefile is one source with its siblings: it is as new as the newest of them, and while it has
no `.dbf` it waits, in case that is still on its way.

Nothing is run twice: a source that a run was started for since it arrived (by a person, say) is
left alone, and so is one that arrives again with the very content that is published.
"""

import itertools
import json
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
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
from geo_etl.ingest.siblings import MAIN, is_shapefile, split_name
from geo_etl.jobs.ingest import ingest_vector
from geo_etl.partitions import vector_sources
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.sources import content_hash, identify, whole
from geo_etl.settings import get_settings
from geo_etl.spec.resolve import FOLDER_DEFAULTS, SIDECAR_SUFFIX
from geo_etl.vector.source import is_vector_source
from geo_etl.vector.versions import Version

OVERLAP = timedelta(seconds=60)
"""Blobs may become visible a little after the time they carry."""
INCOMPLETE = timedelta(minutes=10)
"""How long a `.shp` waits for its `.dbf`. Then a run is started, whose error says what lacks."""
_AT_ONCE = timedelta()
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
        waiting: sources that were still being written; others may have moved the watermark past
            them before their parts are complete.
    """

    watermark: float = 0.0
    seen: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Due] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; none is the beginning."""
        if not text:
            return cls()
        state = json.loads(text)
        pending = {path: Due(*due) for path, due in state["pending"].items()}
        return cls(state["watermark"], state["seen"], pending, state.get("waiting", []))

    def dump(self) -> str:
        """As text, to be stored."""
        return json.dumps(vars(self), separators=(",", ":"))


@dataclass(frozen=True)
class Listing:
    """What a container holds.

    Attributes:
        sources: by path; of a source with several parts, the blob that stands for it.
        parts: what sources are made of, by path and role.
        sidecars: files with settings, by path.
        fresh: what was written since the cursor, the oldest first.
        waiting: sources that are due, but are still being written.
        unsettled: all sources that are still being written.
    """

    sources: dict[str, Blob]
    parts: dict[str, Mapping[str, Blob]]
    sidecars: dict[str, Blob]
    fresh: list[Blob]
    waiting: list[str]
    unsettled: set[str]


def list_fresh(
    pages: Iterable[list[Blob]],
    cursor: Cursor,
    settled_before: datetime,
    known: Collection[str] | None = None,
) -> Listing:
    """Go through a container once.

    Args:
        known: keys of sources that were dealt with at some time. Any other is fresh, however old:
            a folder that is moved in keeps the times of its files.
    """
    since = datetime.fromtimestamp(cursor.watermark, UTC) - OVERLAP if cursor.watermark else None
    parts, sidecars = _sort_out(pages)
    sources = {path: whole(found) for path, found in parts.items()}
    waited, fresh = set(cursor.waiting), []
    unsettled = {
        path
        for path, blob in sources.items()
        if blob.modified > settled_before - (INCOMPLETE if _lacks_table(parts[path]) else _AT_ONCE)
    }
    waiting = []
    for path, blob in [*sources.items(), *sidecars.items()]:
        due = since is None or blob.modified >= since or path in waited
        if known is not None and path in sources and str(blob.ref) not in known:
            due = path not in cursor.pending
        if not due or cursor.seen.get(path) == blob.etag:
            continue
        if path in unsettled:
            waiting.append(path)
        elif blob.modified <= settled_before:
            fresh.append(blob)
    fresh.sort(key=lambda blob: (blob.modified, blob.ref.path))
    return Listing(sources, parts, sidecars, fresh, waiting, unsettled)


def _lacks_table(parts: Mapping[str, Blob]) -> bool:
    return is_shapefile(parts[MAIN].ref.path) and "dbf" not in parts


def _sort_out(
    pages: Iterable[list[Blob]],
) -> tuple[dict[str, Mapping[str, Blob]], dict[str, Blob]]:
    """Parts of sources by path and role, and sidecars by path."""
    parts: dict[str, Mapping[str, Blob]] = {}
    sidecars: dict[str, Blob] = {}
    beside: dict[str, dict[str, Blob]] = {}
    for page in pages:
        for blob in page:
            path = blob.ref.path
            if is_vector_source(path):
                parts[path] = {MAIN: blob}
            elif _is_sidecar(path):
                sidecars[path] = blob
            elif (named := split_name(path)) is not None:
                stem, role = named
                beside.setdefault(stem, {})[role] = blob
    for path, main in parts.items():
        if is_shapefile(path):
            # Two files for one thing: the run's error will tell. Here either will do.
            parts[path] = {**beside.get(path[:-4], {}), **main}
    return parts, sidecars


def advance(cursor: Cursor, listing: Listing, limit: int) -> Cursor:
    """Take in fresh blobs, oldest first, until at least `limit` sources are pending."""
    pending, seen, watermark = dict(cursor.pending), dict(cursor.seen), cursor.watermark
    named = _Names(listing.sources)
    left, waited = list(listing.waiting), set(cursor.waiting)
    ready = {path for path in pending if path not in listing.unsettled}
    for position, blob in enumerate(listing.fresh):
        if len(ready) >= limit:
            left += [b.ref.path for b in listing.fresh[position:] if b.ref.path in waited]
            break
        path, since = blob.ref.path, blob.modified.timestamp()
        for source in named.meant_by(path):
            spec = source != path or (source in pending and pending[source].spec)
            pending[source] = Due(blob.etag, since, spec)
            if source not in listing.unsettled:
                ready.add(source)
        seen[path] = blob.etag
        watermark = max(watermark, since)
    edge = watermark - OVERLAP.total_seconds()
    present = {**listing.sources, **listing.sidecars}
    kept = {
        path: etag
        for path, etag in seen.items()
        if path in present and present[path].modified.timestamp() >= edge
    }
    return Cursor(watermark, kept, pending, left)


def _is_sidecar(path: str) -> bool:
    return path.rpartition("/")[2] == FOLDER_DEFAULTS or path.endswith(SIDECAR_SUFFIX)


class _Names:
    """The sources of a container by what a sidecar calls them."""

    def __init__(self, sources: Iterable[str]) -> None:
        self._sorted = sorted(sources)
        self._by_stem: dict[str, list[str]] = {}
        for path in self._sorted:
            self._by_stem.setdefault(path, []).append(path)
            self._by_stem.setdefault(str(PurePosixPath(path).with_suffix("")), []).append(path)

    def meant_by(self, path: str) -> list[str]:
        """The sources that a fresh blob makes due: itself, or those that a sidecar is for."""
        folder, _, name = path.rpartition("/")
        if name == FOLDER_DEFAULTS:
            prefix = f"{folder}/" if folder else ""
            first = bisect_left(self._sorted, prefix)
            below = itertools.takewhile(
                lambda source: source.startswith(prefix), self._sorted[first:]
            )
            return list(below)
        if name.endswith(SIDECAR_SUFFIX):
            return self._by_stem.get(path.removesuffix(SIDECAR_SUFFIX), [])
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
    changed = _without_settled(due, listing, context.instance, storage, postgis)
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
    """Take sources out of the queue, but those that are still being written.

    Those that are gone from bronze meanwhile are dropped.
    """
    ready = (path for path in cursor.pending if path not in listing.unsettled)
    paths = list(itertools.islice(ready, limit))
    taken = [(path, cursor.pending.pop(path)) for path in paths]
    return [(listing.sources[path], due) for path, due in taken if path in listing.sources]


def _without_settled(
    due: list[tuple[Blob, Due]],
    listing: Listing,
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
            parts = listing.parts[blob.ref.path]
            if _is_as_published(storage, parts, reason, entry):
                continue
        changed.append((blob, reason))
    return changed


def _was_run(instance: DagsterInstance, source: str, since: float) -> bool:
    """Whether a run was started for a source after a time (or waits to be started)."""
    records = instance.get_run_records(RunsFilter(tags={"dagster/partition": source}), limit=1)
    return any(record.create_timestamp.timestamp() >= since for record in records)


def _is_as_published(
    storage: BlobStorage, parts: Mapping[str, Blob], due: Due, entry: Version
) -> bool:
    try:
        if not due.spec:
            return content_hash(storage, parts) == entry.fingerprint
        return identify(storage, parts[MAIN].ref).job_id == entry.job_id
    except GeoEtlError:
        return False  # the run will fail with this very error, where a person sees it
