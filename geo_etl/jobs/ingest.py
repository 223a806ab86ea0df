"""The job that ingests vector sources."""

from dagster import define_asset_job

from geo_etl.assets.vector import RETRY_ALL_STEPS, vector_table
from geo_etl.jobs.executor import forkserver_executor

ingest_vector = define_asset_job(
    "ingest_vector",
    selection=[vector_table],
    executor_def=forkserver_executor,
    description="Ingest one vector source: bronze blob to published PostGIS table.",
    tags={"geo_etl/kind": "vector", **RETRY_ALL_STEPS},
)
