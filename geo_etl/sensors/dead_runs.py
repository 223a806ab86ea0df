"""Every minute: runs whose process died are reported as failed."""

from dagster import DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor

from geo_etl.assets.liveness import end_dead_runs
from geo_etl.jobs.ingest import ingest_vector


@sensor(
    job=ingest_vector,
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
    description="Reports runs as failed whose process died, so that they are retried.",
)
def dead_runs(context: SensorEvaluationContext) -> SkipReason:
    """Starts no run itself: Dagster's run retries do."""
    ended = end_dead_runs(context.instance)
    return SkipReason(f"{len(ended)} dead runs: {', '.join(ended)}" if ended else "no dead runs")
