"""Blobs that nothing needs any more: noted in the transaction that gives them up, removed after."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo_etl.raster import ledger


def discard_outputs(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    """Give up blobs of loads: of which rows of `geo_etl.raster_output`."""
    gone = sa.delete(ledger.output).where(which).returning(ledger.output.c.path)
    discard_paths(connection, connection.execute(gone).scalars().all())


def discard_paths(connection: sa.Connection, paths: Iterable[str]) -> None:
    """Note blobs to be removed."""
    if rows := [{"path": path} for path in paths]:
        statement = pg.insert(ledger.discard).on_conflict_do_nothing()
        connection.execute(statement, rows)


def discarded(connection: sa.Connection) -> list[str]:
    """Blobs that are to be removed."""
    return list(connection.execute(sa.select(ledger.discard.c.path)).scalars())


def forget_discarded(connection: sa.Connection, paths: Iterable[str]) -> None:
    """Note that blobs are removed."""
    table = ledger.discard
    connection.execute(sa.delete(table).where(table.c.path == sa.func.any(list(paths))))


def orphans(connection: sa.Connection, listed: Iterable[str]) -> list[str]:
    """Which of the blobs below `RASTERS` belong to nothing that is published or on its way.

    A blob is noted before it is written: what was listed before this looks, and is not noted by
    now, is not needed.

    Args:
        listed: `container/path` of blobs.
    """
    there = list(listed)
    known = sa.select(ledger.output.c.path).where(ledger.output.c.path == sa.func.any(there))
    noted = set(connection.execute(known).scalars())
    return [path for path in there if path not in noted]
