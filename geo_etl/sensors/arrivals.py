"""New and changed blobs in bronze start runs.

The sensor lists the container and looks at what was written since its cursor, with a window
of overlap. It asks for a bounded number of runs a tick; what is left is found again by the next
tick. A sidecar file that is new or changed stands for all the sources it has settings for. A
source that arrives again as it is published, content and spec, starts nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import PurePosixPath

from dagster import (
    DefaultSensorStatus,
    RunRequest,
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
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.sources import identify
from geo_etl.settings import get_settings
from geo_etl.spec.resolve import FOLDER_DEFAULTS, SIDECAR_SUFFIX
from geo_etl.vector.source import is_vector_source

OVERLAP = timedelta(seconds=60)
"""Blobs may become visible a little after the time they carry."""
HASH_BYTES = 1_000_000_000
"""How much content a tick reads at most to tell that a source is unchanged."""


@dataclass
class Cursor:
    """Where the sensor is.

    Attributes:
        watermark: time of the last blob that was dealt with (seconds since the epoch).
        seen: ETags of blobs that were dealt with and lie within the window of overlap.
        pending: sources (path → ETag of what makes them due) that wait for a coming tick.
    """

    watermark: float = 0.0
    seen: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; none is the beginning."""
        return cls(**json.loads(text)) if text else cls()

    def dump(self) -> str:
        """As text, to be stored."""
        return json.dumps(vars(self), separators=(",", ":"))


@dataclass(frozen=True)
class Listing:
    """What a container holds: its sources by path, and what was written since the cursor."""

    sources: dict[str, Blob]
    fresh: list[Blob]


def list_fresh(pages: Iterable[list[Blob]], cursor: Cursor, settled_before: datetime) -> Listing:
    """Go through a container once; fresh blobs come oldest first."""
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
        for source in _stands_for(path, listing.sources):
            pending[source] = blob.etag
        seen[path] = blob.etag
        times[path] = blob.modified.timestamp()
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
        listing = list_fresh(storage.pages(container), cursor, settled_before)
    except StorageError as error:
        return SkipReason(str(error))
    cursor = advance(cursor, listing, settings.sensor_runs_per_tick)
    due = _take(cursor, settings.sensor_runs_per_tick)
    existing = {path: etag for path, etag in due.items() if path in listing.sources}
    changed = _without_unchanged(existing, listing, storage, postgis)
    requests = []
    for path, etag in changed.items():
        blob = listing.sources[path]
        key = sha256(f"{blob.ref}\n{blob.etag}\n{etag}".encode()).hexdigest()
        requests.append(RunRequest(run_key=key, partition_key=str(blob.ref)))
    if not requests:
        skipped = f"; {len(due)} arrived unchanged" if due else ""
        context.update_cursor(cursor.dump())
        return SkipReason(f"{len(listing.sources)} sources in {container}, nothing new{skipped}")
    keys = [str(listing.sources[path].ref) for path in changed]
    return SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[vector_sources.build_add_request(keys)],
        cursor=cursor.dump(),
    )


def _take(cursor: Cursor, limit: int) -> dict[str, str]:
    taken = dict(list(cursor.pending.items())[:limit])
    for path in taken:
        del cursor.pending[path]
    return taken


def _without_unchanged(
    due: dict[str, str], listing: Listing, storage: BlobStorage, postgis: PostGISResource
) -> dict[str, str]:
    """Leave out what is published already, exactly as it would be ingested now."""
    if not due:
        return {}
    published = {entry.source: entry.job_id for entry in postgis.published()}
    budget = HASH_BYTES
    changed = {}
    for path, etag in due.items():
        blob = listing.sources[path]
        job_id = published.get(str(blob.ref))
        if job_id is not None and blob.size <= budget:
            budget -= blob.size
            try:
                if identify(storage, blob.ref).job_id == job_id:
                    continue
            except GeoEtlError as error:
                # The run will fail with this very error, where a person sees it.
                del error
        changed[path] = etag
    return changed
