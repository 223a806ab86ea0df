"""The `geo-etl` command. Here: words for people, and exit codes. The work is elsewhere.

Exit codes: 0 done, 1 the job failed (or something is not healthy), 2 bad use.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
import psycopg
import sqlalchemy as sa
import yaml
from rich.console import Console
from rich.table import Table

from geo_etl import __version__
from geo_etl.errors import GeoEtlError, StackError
from geo_etl.preload import start_forkserver
from geo_etl.settings import Settings, export_home, get_settings

WIDE = 200
"""Columns of tables that go into a pipe or a file."""

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def _complain(error: GeoEtlError) -> None:
    err.print(f"[red]Error:[/red] {_plain(error.thing)}: {_plain(error.problem)}.")
    err.print(f"       {_plain(error.remedy)}")


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command's body: errors become words and exit code 2."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            export_home(get_settings().home)
            function(*args, **kwargs)
        except GeoEtlError as error:
            _complain(error)
            sys.exit(2)
        except (sa.exc.DBAPIError, psycopg.Error) as error:
            _complain(_database_error(error))
            sys.exit(2)

    return wrapped


def _database_error(error: sa.exc.DBAPIError | psycopg.Error) -> StackError:
    said = str(getattr(error, "orig", error)).strip().splitlines()[0]
    remedy = (
        "Start it with 'geo-etl up'."
        if get_settings().is_private_database
        else "Check GEO_ETL_DATABASE_URL and the server."
    )
    return StackError("database", said.rstrip("."), remedy)


def _require_database(settings: Settings) -> None:
    """Connect once: Dagster itself would try for long, and say it at length."""
    from geo_etl.resources.postgis import engine_for

    engine_for(settings.database()).connect().close()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geo-etl")
def main() -> None:
    """From a bronze container of geospatial files to proven, served and catalogued data."""


@main.command()
@command
def up() -> None:
    """Start the private PostgreSQL, bring the database up to date, make the containers."""
    settings = get_settings()
    start_stack(settings)
    err.print(f"State folder: {settings.home}")


def start_stack(settings: Settings) -> None:
    """Start and migrate what is missing, saying so on stderr."""
    from geo_etl.resources.blob_storage import open_storage
    from geo_etl.stack.cluster import Cluster
    from geo_etl.stack.dagster_instance import open_instance
    from geo_etl.stack.migrate import migrate

    if settings.is_private_database:
        cluster = Cluster(settings.home)
        if not cluster.exists():
            err.print("Making a private PostgreSQL cluster …")
            cluster.create(settings.pg_port)
        if cluster.is_running():
            err.print(f"PostgreSQL runs already on port {cluster.port()}.")
        else:
            for remark in cluster.start(settings.pg_port):
                err.print(remark)
            err.print(f"PostgreSQL runs on port {cluster.port()}.")
    migrate(settings.database())
    storage = open_storage(settings.storage_url)
    for container in (settings.bronze_container, settings.work_container):
        storage.create_container(container)
    open_instance().dispose()
    err.print("Database, pgSTAC, containers and Dagster's storage are ready.")


@main.command()
@command
def down() -> None:
    """Stop what 'up' and 'serve' started. Data stays."""
    from geo_etl.stack import serve as server
    from geo_etl.stack.cluster import Cluster

    settings = get_settings()
    err.print("Servers stopped." if server.stop(settings.home) else "No server was running.")
    if settings.is_private_database:
        stopped = Cluster(settings.home).stop()
        err.print("PostgreSQL stopped." if stopped else "PostgreSQL was not running.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@command
def health(as_json: bool) -> None:
    """Check storage, database, extensions, servers and disk, and say what to do."""
    from geo_etl.stack.health import check

    parts = check(get_settings())
    if as_json:
        click.echo(json.dumps({name: part.as_json() for name, part in parts.items()}, indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("", "part", "found", "to do"):
            table.add_column(heading)
        for name, part in parts.items():
            mark = "[green]✓[/green]" if part.ok else "[red]✗[/red]"
            table.add_row(mark, name, _plain(part.found), _plain(part.remedy))
        out.print(table)
    sys.exit(0 if all(part.ok for part in parts.values()) else 1)


@main.command()
@command
def demo() -> None:
    """Set up everything, ingest a small real dataset, and show where it is served."""
    from geo_etl.stack import serve as server
    from geo_etl.stack.demo import DEMO_FILE, demo_result

    settings = get_settings()
    start_stack(settings)
    url = server.serve_detached(settings, None)
    result = demo_result(settings)
    if result is not None:
        out.print("The demo is done already; this is what it published:")
    else:
        err.print(f"Ingesting {DEMO_FILE.name} (countries of the world, Natural Earth) …")
        start_forkserver()
        try:
            result = _ingest(str(DEMO_FILE), {}, force=False)
        except _JobFailedError as failed:
            _complain(failed.error)
            sys.exit(1)
    out.print(_result_table(result))
    out.print(f"\nStart page: {url}/")
    out.print("Dagster UI: .venv/bin/dagster dev, then http://127.0.0.1:3000")
    out.print("Stop everything: .venv/bin/geo-etl down")


@main.command()
@click.option("--yes", "confirmed", is_flag=True, help="Confirm.")
@command
def reset(confirmed: bool) -> None:
    """Drop everything that geo_etl published and remembers; blobs stay."""
    from geo_etl.stack.migrate import reset as reset_database

    if not confirmed:
        raise StackError(
            "reset",
            "it drops all published tables, their STAC items and the run history",
            "Nothing was done. Say 'geo-etl reset --yes' if that is what you want.",
        )
    reset_database(get_settings().database())
    err.print("geo_etl's schemas are empty again.")


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Default: the first free from 8765.")
@click.option("--detach", is_flag=True, help="In the background; 'geo-etl down' stops it.")
@command
def serve(port: int | None, detach: bool) -> None:
    """Serve the published data: / start page, /features OGC API Features."""
    from geo_etl.stack import serve as server

    settings = get_settings()
    if detach:
        err.print(f"Serving at {server.serve_detached(settings, port)}/")
    else:
        err.print("Serving; Ctrl+C stops. 'geo-etl health' tells the address.")
        server.serve(settings, port)


@main.command()
@click.option("--schema", is_flag=True, help="JSON Schema of a spec.")
@click.argument("source", required=False)
@command
def spec(schema: bool, source: str | None) -> None:
    """Show the spec that a source has, everything filled in; or the JSON Schema of specs."""
    from geo_etl.resources.blob_storage import open_storage
    from geo_etl.resources.sources import resolve_spec
    from geo_etl.spec import SourceRef, VectorSpec

    if schema:
        click.echo(json.dumps(VectorSpec.model_json_schema(by_alias=True), indent=2))
    elif source:
        storage = open_storage(get_settings().storage_url)
        resolved = resolve_spec(storage, SourceRef.parse(source))
        click.echo(
            yaml.safe_dump(resolved.canonical(), sort_keys=False, allow_unicode=True), nl=False
        )
    else:
        raise click.UsageError("Give a source, or --schema.")


@main.command()
@click.argument("source")
@click.option(
    "--set",
    "settings_",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the spec, for instance converter_params.layer_name=roads. Repeatable.",
)
@click.option("--force", is_flag=True, help="Run again even if this very job is done.")
@click.option("--json", "as_json", is_flag=True, help="Only the result document on stdout.")
@command
def ingest(source: str, settings_: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Ingest a local FILE (put into bronze first) or a blob CONTAINER/PATH, start to end."""
    overrides = _overrides(settings_)
    start_forkserver()
    try:
        result = _ingest(source, overrides, force)
    except _JobFailedError as failed:
        _complain(failed.error)
        if as_json:
            error = failed.error
            click.echo(
                json.dumps(
                    {
                        "status": "failed",
                        "source": failed.source,
                        "error": {
                            "what": error.thing,
                            "problem": error.problem,
                            "remedy": error.remedy,
                        },
                    },
                    indent=2,
                )
            )
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        out.print(_result_table(result))
        for warning in result["warnings"]:
            out.print(f"[yellow]Note:[/yellow] {_plain(warning)}")


class _JobFailedError(Exception):
    def __init__(self, source: str, error: GeoEtlError) -> None:
        super().__init__(str(error))
        self.source = source
        self.error = error


def _ingest(given: str, overrides: dict[str, Any], force: bool) -> dict[str, Any]:
    from geo_etl.jobs.launch import RunFailedError, find_source, run_ingest
    from geo_etl.resources.blob_storage import open_storage
    from geo_etl.resources.local_blobs import LocalBlobs
    from geo_etl.resources.sources import resolve_spec
    from geo_etl.stack.dagster_instance import open_instance

    settings = get_settings()
    _require_database(settings)  # before anything is copied
    storage = open_storage(settings.storage_url)
    root = storage.root if isinstance(storage, LocalBlobs) else None
    source = find_source(storage, given, settings.bronze_container, root)
    resolve_spec(storage, source, overrides)
    with open_instance() as instance:
        try:
            return run_ingest(instance, source, overrides, force, _Progress())
        except RunFailedError as error:
            raise _JobFailedError(str(source), error) from None


class _Progress:
    """One line a step, on stderr."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    def __call__(self, step: str, what: str) -> None:
        if step.startswith("check "):
            err.print(f"[red]Failed:[/red] {_plain(step)}")
            return
        if what == "start":
            self._started[step] = time.monotonic()
            return
        seconds = time.monotonic() - self._started.get(step, time.monotonic())
        stage, _, task = step.partition("[")
        label = f"{stage} {task.rstrip(']')}" if task else stage
        err.print(f"  {label:<42} {what:<7} {seconds:7.2f} s", style="dim")


def _overrides(settings_: tuple[str, ...]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for setting in settings_:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise click.UsageError(f"--set {setting}: write it as KEY=VALUE.")
        place = merged
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise click.UsageError(f"--set {setting}: '{parent}' has a value of its own.")
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            place[last] = text
    return merged


def _result_table(result: dict[str, Any]) -> Table:
    summary = result["summary"]
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = {
        "source": result["source"],
        "table": result["table"],
        "read": f"{summary['features_read']:,}",
        "loaded": f"{summary['features_loaded']:,}",
        "repaired": f"{summary['features_repaired']:,}",
        "quarantined": f"{summary['features_quarantined']:,}",
        "dropped": f"{summary['features_dropped']:,} (no geometry)",
        "geometry": f"{result['geometry_type']}, from {result['original_crs']}",
        "took": f"{result['processing_time_seconds']:.1f} s, {result['tasks_executed']} tasks",
        "job": result["job_id"][:8],
        "features": result["ogc_features_url"] or "not served: run 'geo-etl serve'",
        "map": result["viewer_url"] or "",
        "catalogue": f"{result['stac']['collection_id']}/{result['stac']['item_id']}",
    }
    for name, value in rows.items():
        if value:
            table.add_row(f"[bold]{name}[/bold]", _plain(str(value)))
    return table


@main.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1))
@click.option(
    "--status",
    type=click.Choice(["queued", "started", "success", "failure", "canceling", "canceled"]),
)
@click.option("--json", "as_json", is_flag=True)
@command
def jobs(limit: int, status: str | None, as_json: bool) -> None:
    """List jobs, the newest first."""
    from geo_etl.jobs.views import list_jobs
    from geo_etl.stack.dagster_instance import open_instance

    _require_database(get_settings())
    with open_instance() as instance:
        views = list_jobs(instance, limit, status)
    if as_json:
        click.echo(json.dumps([vars(view) for view in views], default=str, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "job", "job id", "source", "table", "status", "created", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for view in views:
        table.add_row(
            view.run_id[:8],
            view.job,
            (view.job_id or "")[:8],
            _plain(view.source or ""),
            view.table or "",
            view.status,
            f"{view.created:%Y-%m-%d %H:%M:%S}",
            f"{view.seconds:.1f}" if view.seconds is not None else "",
        )
    out.print(table)


@main.command()
@click.argument("job")
@click.option("--json", "as_json", is_flag=True)
@command
def tasks(job: str, as_json: bool) -> None:
    """List the tasks of JOB (a run id or job id, or its beginning), with times and errors."""
    from geo_etl.jobs.views import average_by_stage, find_job, list_tasks
    from geo_etl.stack.dagster_instance import open_instance

    _require_database(get_settings())
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
    out.print(f"{view.job} {_plain(view.source or '')} {view.status} (run {view.run_id})")
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "task", "status", "attempts", "seconds", "error"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for task in found:
        table.add_row(
            task.stage,
            task.name,
            task.status,
            str(task.attempts),
            f"{task.seconds:.2f}" if task.seconds is not None else "",
            _plain(task.error or ""),
        )
    out.print(table)
    for stage, (count, seconds) in average_by_stage(found).items():
        out.print(f"{stage}: {count} tasks, {seconds:.2f} s on average")


if __name__ == "__main__":
    main()
