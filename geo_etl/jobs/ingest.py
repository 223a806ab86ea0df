"""The jobs that ingest sources."""

from dagster import define_asset_job

from geo_etl.assets.raster import TILE_TAG, raster_cog
from geo_etl.assets.raster_collection import raster_collection
from geo_etl.assets.runs import RETRY_ALL_STEPS
from geo_etl.assets.vector import vector_table
from geo_etl.jobs.executor import forkserver_executor

ingest_vector = define_asset_job(
    "ingest_vector",
    selection=[vector_table],
    executor_def=forkserver_executor,
    description="Ingest one vector source: bronze blob to published PostGIS table.",
    tags={"geo_etl/kind": "vector", **RETRY_ALL_STEPS},
)

process_raster = define_asset_job(
    "process_raster",
    selection=[raster_cog],
    executor_def=forkserver_executor,
    description="Ingest one raster source: bronze blob to proven Cloud-Optimized GeoTIFFs.",
    tags={"geo_etl/kind": "raster", **RETRY_ALL_STEPS},
)

tile_raster = define_asset_job(
    "tile_raster",
    selection=[raster_cog],
    executor_def=forkserver_executor,
    description="As process_raster, always cut into tiles (of target_tile_size_gb).",
    tags={"geo_etl/kind": "raster", TILE_TAG: "true", **RETRY_ALL_STEPS},
)

process_raster_collection = define_asset_job(
    "process_raster_collection",
    selection=[raster_collection],
    executor_def=forkserver_executor,
    description="Ingest a folder of rasters as one collection with a mosaic.",
    tags={"geo_etl/kind": "raster", **RETRY_ALL_STEPS},
)
