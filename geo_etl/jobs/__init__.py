"""Jobs: what a person or a schedule starts."""

from dagster import JobDefinition
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from geo_etl.jobs.cleanup import cleanup
from geo_etl.jobs.hello_world import hello_world_sequential
from geo_etl.jobs.ingest import (
    ingest_vector,
    process_raster,
    process_raster_collection,
    tile_raster,
)

default_jobs: list[JobDefinition | UnresolvedAssetJobDefinition] = [
    ingest_vector,
    process_raster,
    tile_raster,
    process_raster_collection,
    hello_world_sequential,
    cleanup,
]

__all__ = ["default_jobs"]
