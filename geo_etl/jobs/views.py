"""Jobs and their tasks, read from Dagster's run storage."""

from dataclasses import dataclass
from datetime import datetime
from statistics import mean

from dagster import DagsterInstance, DagsterRun, RunsFilter
from dagster._core.storage.dagster_run import RunRecord

from geo_etl.assets.raster import LAYER_TAG
from geo_etl.assets.runs import JOB_ID_TAG
from geo_etl.assets.vector import TABLE_TAG
from geo_etl.errors import SpecError


@dataclass(frozen=True)
class JobView:
    """One run.

    Attributes:
        job: its name; of a run that was started from an asset, the asset's.
        table: that a vector source goes to.
        layer: that a raster source becomes.
        seconds: duration; None while it runs or waits.
    """

    run_id: str
    job: str
    job_id: str | None
    source: str | None
    table: str | None
    layer: str | None
    status: str
    created: datetime
    seconds: float | None


@dataclass(frozen=True)
class TaskView:
    """One step of a run. `name` is the task id for chunk tasks."""

    name: str
    stage: str
    status: str
    attempts: int
    seconds: float | None
    error: str | None


def list_jobs(instance: DagsterInstance, limit: int, status: str | None = None) -> list[JobView]:
    """The newest runs first."""
    records = instance.get_run_records(limit=limit if status is None else None)
    views = [_job_view(record) for record in records]
    return [view for view in views if status in (None, view.status)][:limit]


def find_job(instance: DagsterInstance, given: str) -> JobView:
    """A run by its id, its job id, or the beginning of either; the newest when several match.

    Raises:
        SpecError: there is none.
    """
    exact = instance.get_run_records(RunsFilter(run_ids=[given]), limit=1)
    for record in exact or instance.get_run_records():
        view = _job_view(record)
        if view.run_id.startswith(given) or (view.job_id or "").startswith(given):
            return view
    raise SpecError(f"job '{given}'", "there is no such job", "List them with 'geo-etl jobs'.")


def list_tasks(instance: DagsterInstance, run_id: str) -> list[TaskView]:
    """The steps of a run, in the order they started."""
    errors = {
        record.step_key: _error(record)
        for record in instance.all_logs(run_id)
        if record.is_dagster_event and record.get_dagster_event().is_step_failure
    }
    stats = sorted(
        instance.get_run_step_stats(run_id), key=lambda stat: stat.start_time or float("inf")
    )
    return [
        TaskView(
            name=_name(stat.step_key),
            stage=stat.step_key.split("[")[0].rsplit(".", 1)[-1],
            status=stat.status.value.lower() if stat.status else "running",
            attempts=max(1, stat.attempts or 1),
            seconds=stat.end_time - stat.start_time if stat.end_time and stat.start_time else None,
            error=errors.get(stat.step_key),
        )
        for stat in stats
    ]


def average_by_stage(tasks: list[TaskView]) -> dict[str, tuple[int, float]]:
    """Stage → number of finished tasks, mean seconds."""
    stages: dict[str, list[float]] = {}
    for task in tasks:
        if task.seconds is not None:
            stages.setdefault(task.stage, []).append(task.seconds)
    return {stage: (len(seconds), mean(seconds)) for stage, seconds in stages.items()}


def _job_view(record: RunRecord) -> JobView:
    run = record.dagster_run
    ended = record.end_time is not None and record.start_time is not None
    return JobView(
        run_id=run.run_id,
        job=_started(run),
        job_id=run.tags.get(JOB_ID_TAG),
        source=run.tags.get("dagster/partition"),
        table=run.tags.get(TABLE_TAG),
        layer=run.tags.get(LAYER_TAG),
        status=run.status.value.lower(),
        created=record.create_timestamp,
        seconds=(record.end_time or 0) - (record.start_time or 0) if ended else None,
    )


def _started(run: DagsterRun) -> str:
    """Dagster's own name for runs of assets says nothing."""
    if run.job_name.startswith("__ASSET") and run.asset_selection:
        return ", ".join(sorted(key.to_user_string() for key in run.asset_selection))
    return run.job_name


def _name(step_key: str) -> str:
    return step_key.partition("[")[2].rstrip("]") or step_key.rsplit(".", 1)[-1]


def _error(record: object) -> str | None:
    data = record.get_dagster_event().step_failure_data  # type: ignore[attr-defined]
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    return data.error.message.strip() if data.error is not None else None
