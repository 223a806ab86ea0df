"""Runs whose process died.

Dagster's own monitoring asks the run launcher, and that knows only the runs it launched in this
life: a run of `geo-etl ingest` that was killed, or one that a reboot ended, would count as
started for ever, and fill a place in the queue. So every run says on which host it runs, and a
run of this host whose process is gone is reported as failed. Run retries take it from there.
"""

import socket
from pathlib import Path

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.dagster_run import RunRecord

HOST_TAG = "geo_etl/host"
HOST = socket.gethostname()


def end_dead_runs(instance: DagsterInstance) -> list[str]:
    """Report the runs of this host as failed whose process is gone; their ids."""
    running = RunsFilter(
        statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING], tags={HOST_TAG: HOST}
    )
    dead = [r.dagster_run for r in instance.get_run_records(running) if not _is_alive(instance, r)]
    for run in dead:
        instance.report_run_failed(run, "The process of this run died.")
    return [run.run_id for run in dead]


def _is_alive(instance: DagsterInstance, record: RunRecord) -> bool:
    pid = _pid(instance, record.dagster_run)
    if pid is None or record.start_time is None:
        return True  # nothing says that it is not
    born = _born(pid)
    # A process that is younger than the run has only inherited the number.
    return born is not None and born <= record.start_time + 1


def _pid(instance: DagsterInstance, run: DagsterRun) -> int | None:
    """The process that executes a run, as its start event says."""
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_START):
        if entry.dagster_event is not None:
            return entry.dagster_event.pid
    return None


def _born(pid: int) -> float | None:
    """When a living process began, in seconds since the epoch; None for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    if fields[0] == "Z":
        return None
    boot = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime")
    )
    return boot + int(fields[19]) / 100  # clock ticks: 100 a second on every Linux
