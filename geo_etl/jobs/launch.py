"""Running an ingest from this process, as `geo-etl ingest` does: the same job as everywhere."""

from collections.abc import Callable, Iterator
from typing import Any

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run_iterator

from geo_etl.assets.liveness import HOST, HOST_TAG, end_dead_runs
from geo_etl.errors import GeoEtlError
from geo_etl.jobs.entries import ENTRIES, Entry, Work


class RunFailedError(GeoEtlError):
    """A run that failed, with the error that failed it."""


def run_ingest(
    instance: DagsterInstance,
    work: Work,
    key: str,
    overrides: dict[str, Any],
    force: bool,
    on_step: Callable[[str, str], None],
) -> dict[str, Any]:
    """Ingest one source or collection and wait.

    Args:
        key: of its partition.
        on_step: called with a step's key and `start`, `done`, `retry` or `failed`; with what
            failed for an asset check.

    Returns:
        The result document.

    Raises:
        RunFailedError: the run failed; what failed it.
    """
    repository = ReconstructableRepository.for_module("geo_etl.definitions", "defs")
    entry = ENTRIES[work]
    job = repository.get_reconstructable_job(entry.job)
    end_dead_runs(instance)
    instance.add_dynamic_partitions(str(entry.partitions.name), [key])
    run = instance.create_run_for_job(
        job_def=job.get_definition(),
        run_config={
            "ops": {entry.asset: {"config": {"spec": overrides, "force": force}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        tags={"dagster/partition": key, HOST_TAG: HOST},
        job_code_origin=job.get_python_origin(),
        status=DagsterRunStatus.NOT_STARTED,
    )
    result, failure = _follow(execute_run_iterator(job, run, instance), entry, on_step)
    finished = instance.get_run_by_id(run.run_id)
    if result is None or finished is None or finished.status != DagsterRunStatus.SUCCESS:
        raise failure or RunFailedError(
            f"run {run.run_id[:8]}",
            "it ended without a result",
            f"See 'geo-etl tasks {run.run_id[:8]}' or the Dagster UI.",
        )
    return result


def _follow(
    events: Iterator[DagsterEvent], entry: Entry, on_step: Callable[[str, str], None]
) -> tuple[dict[str, Any] | None, RunFailedError | None]:
    """The result document of a run, and what failed first."""
    result: dict[str, Any] | None = None
    failure: RunFailedError | None = None
    for event in events:
        step = (event.step_key or "").removeprefix(f"{entry.asset}.")
        if event.event_type == DagsterEventType.STEP_START:
            on_step(step, "start")
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            on_step(step, "done")
        elif event.event_type == DagsterEventType.STEP_UP_FOR_RETRY:
            on_step(step, "retry")
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            on_step(step, "failed")
            failure = failure or _failure(step, event.step_failure_data)
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                on_step(f"check {check.check_name}: {check.description}", "failed")
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            if made.asset_key.path == [entry.asset]:
                result = made.metadata["result"].value  # type: ignore[assignment]
    return result, failure


def _failure(step: str, data: Any) -> RunFailedError:
    user = data.user_failure_data
    if user is not None and "remedy" in user.metadata:
        what, problem, remedy = (
            str(user.metadata[key].value) for key in ("what", "problem", "remedy")
        )
        return RunFailedError(what, problem, remedy)
    said = user.description if user is not None else None
    said = said or (data.error.message.strip() if data.error is not None else "it died")
    return RunFailedError(f"step {step}", said.rstrip("."), "See the run's log in the Dagster UI.")
