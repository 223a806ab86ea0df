"""What every ingesting run has: settings, tags, and a partition that it was started for."""

from typing import Any

from dagster import Config, DynamicPartitionsDefinition, OpExecutionContext
from pydantic import Field

from geo_etl.assets.liveness import HOST, HOST_TAG
from geo_etl.errors import SpecError

JOB_ID_TAG = "geo_etl/job_id"
# A retry of a failed run runs all steps: Dagster's retry from failure loses mapped steps.
# What is done already is skipped, so it costs little.
RETRY_ALL_STEPS = {"dagster/retry_strategy": "ALL_STEPS"}


class IngestConfig(Config):
    """Settings of one run, on top of what the source's sidecar files say."""

    spec: dict[str, Any] = Field({}, description="Overrides of the spec")
    force: bool = Field(False, description="Run again even if this very job is done")


def begin_run(context: OpExecutionContext, asset: str, partition: str) -> str:
    """Tag a run with where it runs; the key that it was started for.

    Args:
        partition: how a key is written, for the error.

    Raises:
        SpecError: it was started for none.
    """
    if not context.has_partition_key:
        raise SpecError(
            f"run of {asset}",
            "it names no source",
            f"Choose a partition ({partition}), or use 'geo-etl ingest'.",
        )
    context.instance.add_run_tags(context.run_id, {HOST_TAG: HOST, **RETRY_ALL_STEPS})
    return context.partition_key


def register(
    context: OpExecutionContext, partitions: DynamicPartitionsDefinition, key: object
) -> None:
    """Add a partition: a run that was started with a tag alone may name one that is not there."""
    context.instance.add_dynamic_partitions(str(partitions.name), [str(key)])
