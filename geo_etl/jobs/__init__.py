"""Jobs: what a person or a schedule starts."""

from dagster import JobDefinition
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from geo_etl.jobs.catalog_file import catalog_file
from geo_etl.jobs.cleanup import cleanup
from geo_etl.jobs.hello_world import hello_world_sequential
from geo_etl.jobs.ingest import (
    ingest_vector,
    process_raster,
    process_raster_collection,
    tile_raster,
)
from geo_etl.jobs.list_container import list_container
from geo_etl.jobs.stac_search import stac_search
from geo_etl.jobs.stac_setup import stac_setup
from geo_etl.jobs.summarize_container import summarize_container
from geo_etl.jobs.sync_container import sync_container

default_jobs: list[JobDefinition | UnresolvedAssetJobDefinition] = [
    ingest_vector,
    process_raster,
    tile_raster,
    process_raster_collection,
    hello_world_sequential,
    list_container,
    summarize_container,
    stac_setup,
    stac_search,
    catalog_file,
    sync_container,
    cleanup,
]

__all__ = ["default_jobs"]
