"""Jobs: what a person or a schedule starts."""

from dagster import JobDefinition
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from geo_etl.jobs.cleanup import cleanup
from geo_etl.jobs.hello_world import hello_world_sequential
from geo_etl.jobs.ingest import ingest_vector

default_jobs: list[JobDefinition | UnresolvedAssetJobDefinition] = [
    ingest_vector,
    hello_world_sequential,
    cleanup,
]

__all__ = ["default_jobs"]
