"""What needs no run: what was run since it became due, and what is published as it is now."""

from collections.abc import Mapping
from functools import cached_property

from dagster import DagsterInstance, RunsFilter
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from geo_etl.errors import GeoEtlError
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.sources import content_hash, identify, identify_raster
from geo_etl.sensors.cursor import Due, Listing
from geo_etl.sensors.units import Request

HASH_BYTES = 1_000_000_000
"""How much content a tick reads at most to tell that a source is unchanged."""


class Settled:
    """What Dagster and the database know of the sources of a listing, at one tick."""

    def __init__(
        self,
        instance: DagsterInstance,
        storage: BlobStorage,
        postgis: PostGISResource,
        listing: Listing,
    ) -> None:
        self._instance, self._storage = instance, storage
        self._postgis, self._listing = postgis, listing
        self._budget = HASH_BYTES

    def is_running(self, key: str) -> bool:
        """Whether a run of a partition goes on, or waits to be started."""
        filters = RunsFilter(tags={"dagster/partition": key}, statuses=NOT_FINISHED_STATUSES)
        return bool(self._instance.get_run_records(filters, limit=1))

    def without(self, requests: list[Request]) -> list[Request]:
        """Leave out what needs no run."""
        return [request for request in requests if self._is_needed(request)]

    def _is_needed(self, request: Request) -> bool:
        if request.members is not None and not self._has_members(request.key, request.members):
            return True
        started = self._last_start(request.key)
        return any(
            not self._is_as_published(request, blob, due)
            for blob, due in request.due
            if due.since > started
        )

    def _last_start(self, key: str) -> float:
        """When the last run of a partition was asked for; 0 for never."""
        records = self._instance.get_run_records(
            RunsFilter(tags={"dagster/partition": key}), limit=1
        )
        return max((record.create_timestamp.timestamp() for record in records), default=0.0)

    def _has_members(self, key: str, members: frozenset[str]) -> bool:
        """Whether a published collection consists of just these sources."""
        published = Rasters(self._postgis.engine).published(source=key, form="collection")
        return any(set(version.sources) == members for version in published)

    def _is_as_published(self, request: Request, blob: Blob, due: Due) -> bool:
        published = (self._vectors if request.work == "vector" else self._rasters).get(
            str(blob.ref), []
        )
        if not published or blob.size > self._budget:
            return False
        if due.spec and request.work == "collection":
            return False  # its folder's settings make the job: its own run finds out
        self._budget -= blob.size
        try:
            if not due.spec:
                found = content_hash(self._storage, self._parts(blob))
                return any(fingerprint == found for fingerprint, _ in published)
            identified = identify if request.work == "vector" else identify_raster
            found = identified(self._storage, blob.ref).job_id
            return any(job_id == found for _, job_id in published)
        except GeoEtlError:
            return False  # the run will fail with this very error, where a person sees it

    def _parts(self, blob: Blob) -> Mapping[str, Blob]:
        return self._listing.parts[blob.ref.path]

    @cached_property
    def _vectors(self) -> dict[str, list[tuple[str, str]]]:
        """Fingerprint and job id of what is published, by source."""
        found: dict[str, list[tuple[str, str]]] = {}
        for version in self._postgis.published():
            found.setdefault(version.source, []).append((version.fingerprint, version.job_id))
        return found

    @cached_property
    def _rasters(self) -> dict[str, list[tuple[str, str]]]:
        return Rasters(self._postgis.engine).published_jobs()
