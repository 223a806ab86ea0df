"""Words for people: what goes to stdout and stderr, and exit codes.

Exit codes: 0 done, 1 the job failed (or something is not healthy), 2 bad use.
"""

import sys
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Any

import psycopg
import sqlalchemy as sa
from rich.console import Console
from rich.text import Text

from geo_etl.errors import GeoEtlError, StackError
from geo_etl.settings import Settings, export_home, get_settings

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(error: GeoEtlError) -> None:
    """Say on stderr what is wrong, and the way out."""
    err.print(f"[red]Error:[/red] {plain(error.thing)}: {plain(error.problem)}.")
    err.print(f"       {plain(error.remedy)}")


def plain(text: str) -> str:
    """Text that rich prints as it is."""
    return text.replace("[", "\\[")


def show_table(rows: Sequence[Sequence[str | Text]], right: Collection[int] = ()) -> None:
    """Print rows in columns on stdout, nothing cut off: names and addresses are to be copied.

    Args:
        rows: the headings first; all of one length.
        right: columns that are aligned to the right.
    """
    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        line = Text("  ").join(
            Text(" " * (width - cell.cell_len)) + cell
            if position in right
            else cell + Text(" " * (width - cell.cell_len))
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        line.rstrip()
        if number == 0:
            line.stylize("bold")
        out.print(line)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command's body: errors become words and exit code 2."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            export_home(get_settings().home)
            function(*args, **kwargs)
        except GeoEtlError as error:
            complain(error)
            sys.exit(2)
        except (sa.exc.DBAPIError, psycopg.Error) as error:
            complain(_database_error(error))
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


def require_database(settings: Settings) -> None:
    """Connect once: Dagster itself would try for long, and say it at length."""
    from geo_etl.raster import ledger as raster_ledger
    from geo_etl.resources.postgis import engine_for
    from geo_etl.vector import ledger

    with engine_for(settings.database()).connect() as connection:
        ledger.check(connection)
        raster_ledger.check(connection)
