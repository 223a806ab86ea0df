"""The job that ingests vector sources."""

from dagster import define_asset_job

from geo_etl.assets.vector import vector_table
from geo_etl.jobs.executor import forkserver_executor

# A retry of a failed run runs all steps: Dagster's retry from failure loses mapped steps.
# Chunks that are loaded already are skipped, so it costs little.
ingest_vector = define_asset_job(
    "ingest_vector",
    selection=[vector_table],
    executor_def=forkserver_executor,
    description="Ingest one vector source: bronze blob to published PostGIS table.",
    tags={"dagster/retry_strategy": "ALL_STEPS", "geo_etl/kind": "vector"},
)
