"""The `geo-etl` command. Here: words for people, and exit codes. The work is elsewhere."""

from geo_etl import startup  # noqa: F401  # isort: skip  (before what it makes quicker)
import click

from geo_etl import __version__
from geo_etl.cli import ingest, results, search, stack, tables, views

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geo-etl")
def main() -> None:
    """From a bronze container of geospatial files to proven, served and catalogued data."""


for command in (
    stack.up,
    stack.down,
    stack.health,
    stack.reset,
    stack.serve,
    stack.demo,
    ingest.ingest,
    ingest.spec,
    results.result,
    views.jobs,
    views.tasks,
    search.search,
    tables.versions,
    tables.rollback,
    tables.unpublish,
    tables.quarantine,
):
    main.add_command(command)
