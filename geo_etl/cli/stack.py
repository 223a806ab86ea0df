"""Commands for the stack: PostgreSQL, servers, their health."""

import json
import sys

import click
from rich.text import Text

from geo_etl.cli.ingest import JobFailedError, ingest_source, show_result
from geo_etl.cli.words import command, complain, err, out, show_table
from geo_etl.errors import StackError
from geo_etl.preload import start_forkserver
from geo_etl.settings import Settings, get_settings


@click.command()
@command
def up() -> None:
    """Start the private PostgreSQL and prepare what geo_etl needs.

    Brings the database up to date and makes the containers. Can be repeated.
    """
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
    for container in (
        settings.bronze_container,
        settings.work_container,
        settings.silver_container,
    ):
        storage.create_container(container)
    open_instance().dispose()
    err.print("Database, pgSTAC, containers and Dagster's storage are ready.")


@click.command()
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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@command
def health(as_json: bool) -> None:
    """Check every part of the stack, and say what to do.

    Storage, database, extensions, servers, disk. Exit code 1 when something is not well.
    """
    from geo_etl.stack.health import check

    parts = check(get_settings())
    if as_json:
        click.echo(json.dumps({name: part.as_json() for name, part in parts.items()}, indent=2))
    else:
        rows: list[tuple[str | Text, ...]] = [("", "part", "found", "to do")]
        for name, part in parts.items():
            mark = Text("✓", "green") if part.ok else Text("✗", "red")
            rows.append((mark, name, part.found, part.remedy))
        show_table(rows)
    sys.exit(0 if all(part.ok for part in parts.values()) else 1)


@click.command()
@command
def demo() -> None:
    """Set up everything and ingest two small real datasets.

    Then shows where they are served.
    """
    from geo_etl.stack import serve as server
    from geo_etl.stack.demo import EXAMPLE_DATA, stored_result

    settings = get_settings()
    start_stack(settings)
    url = server.serve_detached(settings, None)
    for example in EXAMPLE_DATA:
        result = stored_result(settings, example)
        if result is not None:
            out.print(f"{example.path.name} is done already; this is what it became:")
        else:
            err.print(f"Ingesting {example.path.name} ({example.about}) …")
            start_forkserver()
            try:
                result = ingest_source(str(example.path), {}, force=False)
            except JobFailedError as failed:
                complain(failed.error)
                sys.exit(1)
        show_result(result)
        out.print("")
    out.print(f"Start page: {url}/")
    out.print("Dagster UI: .venv/bin/dagster dev, then http://127.0.0.1:3000")
    out.print("Stop everything: .venv/bin/geo-etl down")


@click.command()
@click.option("--yes", "confirmed", is_flag=True, help="Confirm.")
@command
def reset(confirmed: bool) -> None:
    """Drop all that geo_etl published and remembers.

    Blobs stay, and what others made in the database.
    """
    from geo_etl.stack.migrate import reset as reset_database

    if not confirmed:
        raise StackError(
            "reset",
            "it drops all published tables, their STAC items and the run history",
            "Nothing was done. Say 'geo-etl reset --yes' if that is what you want.",
        )
    reset_database(get_settings().database())
    err.print("geo_etl's schemas are empty again.")


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Default: the first free from 8765.")
@click.option("--detach", is_flag=True, help="In the background; 'geo-etl down' stops it.")
@command
def serve(port: int | None, detach: bool) -> None:
    """Serve the published data.

    / is the start page, /features OGC API Features, /stac the catalogue, /tiles raster tiles,
    /files what is stored.
    """
    from geo_etl.stack import serve as server

    settings = get_settings()
    if detach:
        err.print(f"Serving at {server.serve_detached(settings, port)}/")
    else:
        err.print("Serving; Ctrl+C stops. 'geo-etl health' tells the address.")
        server.serve(settings, port)
