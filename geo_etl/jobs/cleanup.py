"""Housekeeping: what failed jobs left behind. Nothing published is ever touched."""

from datetime import UTC, datetime, timedelta

from dagster import Config, DagsterInstance, OpExecutionContext, Out, Output, RunsFilter, job, op
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from pydantic import Field

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.assets.liveness import end_dead_runs
from geo_etl.assets.runs import JOB_ID_TAG
from geo_etl.ingest.scratch import remove_dead_scratch
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.settings import get_settings


class CleanupConfig(Config):
    """What counts as left behind."""

    older_than_hours: float | None = Field(
        None, ge=0, description="Default: GEO_ETL_WORK_HOURS (24)"
    )


@op(
    out=Out(dict),
    retry_policy=TRANSIENT_RETRIES,
    description="Remove load tables and files of jobs that will not be continued.",
)
def remove_leftovers(
    context: OpExecutionContext,
    config: CleanupConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Output[dict[str, int]]:
    with op_faults():
        hours = config.older_than_hours
        age = timedelta(hours=get_settings().work_hours if hours is None else hours)
        end_dead_runs(context.instance)
        before, running = datetime.now(UTC) - age, _running_jobs(context.instance)
        tables = postgis.drop_unfinished_loads(before, running)
        rasters = Rasters(postgis.engine)
        loads = rasters.drop_unfinished_loads(before, running)
        raster_files = rasters.remove_discarded(blobs.storage)
        raster_files += rasters.remove_orphans(blobs.storage, blobs.silver_container)
        scratch = remove_dead_scratch(before)
        files = _remove_work(blobs.storage, blobs.work_container, before, running)
        for container in {blobs.bronze_container, blobs.work_container, blobs.silver_container}:
            if container in blobs.storage.containers():
                files += blobs.storage.discard_partial(container, before)
    removed = {
        "load_tables": len(tables),
        "raster_loads": loads,
        "raster_files": raster_files,
        "work_files": files,
        "temporary_folders": scratch,
    }
    return Output(removed, metadata=removed)


def _running_jobs(instance: DagsterInstance) -> set[str]:
    runs = instance.get_run_records(RunsFilter(statuses=NOT_FINISHED_STATUSES))
    return {run.dagster_run.tags.get(JOB_ID_TAG, "") for run in runs}


def _remove_work(storage: BlobStorage, container: str, before: datetime, running: set[str]) -> int:
    if container not in storage.containers():
        return 0
    stale = [
        blob.ref
        for page in storage.pages(container)
        for blob in page
        if blob.modified < before and blob.ref.path.split("/")[0] not in running
    ]
    for ref in stale:
        storage.delete(ref)
    return len(stale)


@job(description=__doc__)
def cleanup() -> None:
    remove_leftovers()
