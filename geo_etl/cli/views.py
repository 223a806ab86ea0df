"""Commands that show jobs and their tasks, from Dagster's run storage."""

import json
from datetime import UTC

import click

from geo_etl.cli.words import command, err, out, plain, require_database, show_table
from geo_etl.settings import get_settings


@click.command()
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many at most."
)
@click.option(
    "--status",
    type=click.Choice(["queued", "started", "success", "failure", "canceling", "canceled"]),
    help="Only jobs with this status.",
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@command
def jobs(limit: int, status: str | None, as_json: bool) -> None:
    """List jobs, the newest first."""
    from geo_etl.jobs.views import list_jobs
    from geo_etl.stack.dagster_instance import open_instance

    require_database(get_settings())
    with open_instance() as instance:
        views = list_jobs(instance, limit, status)
    if as_json:
        click.echo(json.dumps([vars(view) for view in views], default=str, indent=2))
        return
    if not views:
        err.print(
            "There are no jobs yet." if status is None else f"No job has the status {status}."
        )
        return
    rows = [
        ("run", "job id", "status", "seconds", "created (UTC)", "job", "published as", "source")
    ]
    rows += [
        (
            view.run_id[:8],
            (view.job_id or "")[:8],
            view.status,
            f"{view.seconds:.1f}" if view.seconds is not None else "",
            f"{view.created.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            view.job,
            view.table or view.layer or "",
            view.source or "",
        )
        for view in views
    ]
    show_table(rows, right={3})


@click.command()
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@command
def tasks(job: str, as_json: bool) -> None:
    """List the tasks of a job, with times and errors.

    JOB is a run id or a job id, or the beginning of one.
    """
    from geo_etl.jobs.views import average_by_stage, find_job, list_tasks
    from geo_etl.stack.dagster_instance import open_instance

    require_database(get_settings())
    with open_instance() as instance:
        view = find_job(instance, job)
        found = list_tasks(instance, view.run_id)
    if as_json:
        click.echo(
            json.dumps(
                {"job": vars(view), "tasks": [vars(task) for task in found]}, default=str, indent=2
            )
        )
        return
    out.print(f"{view.job} {plain(view.source or '')} {view.status} (run {view.run_id})")
    rows = [("stage", "task", "status", "attempts", "seconds")]
    rows += [
        (
            task.stage,
            task.name,
            task.status,
            str(task.attempts),
            f"{task.seconds:.2f}" if task.seconds is not None else "",
        )
        for task in found
    ]
    show_table(rows, right={3, 4})
    for stage, (count, seconds) in average_by_stage(found).items():
        if count > 1:
            out.print(f"{stage}: {count} tasks, {seconds:.2f} s on average")
    for task in found:
        if task.error:
            out.print(f"[red]{plain(task.name)}:[/red] {plain(task.error)}")
