"""New and changed blobs in bronze start runs: of vector sources, rasters, and their collections.

The sensor lists the container and looks at what was written since its cursor, with a window
of overlap. It asks for a bounded number of runs a tick; what is left waits for the
next. A sidecar file that is new or changed stands for all the sources it has settings for. A
source is as new as the newest of its siblings, and while a `.shp` has no `.dbf` or a picture no
world file it waits, in case that is still on its way.

The members of a collection start one run together, also when one of them is gone. It waits
while members are being written, and while a run of the collection goes on.

Nothing is run twice: a source that a run was started for since it arrived (by a person, say) is
left alone, and so is one that arrives again with the very content that is published.
"""

from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from geo_etl.errors import StorageError
from geo_etl.jobs.entries import ENTRIES
from geo_etl.jobs.ingest import ingest_vector, process_raster, process_raster_collection
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.postgis import PostGISResource
from geo_etl.sensors.cursor import Cursor, advance, list_fresh
from geo_etl.sensors.settled import Settled
from geo_etl.sensors.units import Units, merged, renamed, take
from geo_etl.settings import get_settings


@sensor(
    jobs=[ingest_vector, process_raster, process_raster_collection],
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Starts an ingest for each new or changed source in bronze.",
)
def bronze_arrivals(
    context: SensorEvaluationContext, blobs: BlobStorageResource, postgis: PostGISResource
) -> SensorResult | SkipReason:
    settings = get_settings()
    container, storage = blobs.bronze_container, blobs.storage
    now = datetime.now(UTC)
    settled_before = now - timedelta(seconds=settings.sensor_settle_seconds)
    cursor = Cursor.load(context.cursor)
    known, folders = _known(context.instance, container)
    try:
        pages = storage.pages(container)
        listing = list_fresh(pages, cursor, settled_before, known, folders)
    except StorageError as error:
        return SkipReason(str(error))
    units = Units(storage, container, listing, folders)
    limit = settings.sensor_runs_per_tick
    cursor = advance(cursor, listing, limit, units.likely)
    settled = Settled(context.instance, storage, postgis, listing)
    due = merged(
        take(cursor, listing, limit, units, settled.is_running, now),
        renamed(cursor, listing, units, settled.is_running),
    )
    changed = settled.without(due)
    if not changed:
        context.update_cursor(cursor.dump())
        dealt_with = f"; {len(due)} arrived, and are dealt with" if due else ""
        return SkipReason(
            f"{len(listing.sources)} sources in {container}, nothing to do{dealt_with}"
        )
    return SensorResult(
        run_requests=[
            RunRequest(
                run_key=request.run_key,
                job_name=ENTRIES[request.work].job,
                partition_key=request.key,
            )
            for request in changed
        ],
        dynamic_partitions_requests=[
            entry.partitions.build_add_request(keys)
            for work, entry in ENTRIES.items()
            if (keys := [request.key for request in changed if request.work == work])
        ],
        cursor=cursor.dump(),
    )


def _known(instance: DagsterInstance, container: str) -> tuple[set[str], set[str]]:
    """Keys of sources that were dealt with at some time; folders that are collections."""
    keys = {
        work: instance.get_dynamic_partitions(str(entry.partitions.name))
        for work, entry in ENTRIES.items()
    }
    folders = {
        key.partition("/")[2] for key in keys["collection"] if key.partition("/")[0] == container
    }
    return {*keys["vector"], *keys["raster"]}, folders
