"""The files of a load: noted before they are written, and each piece done exactly once.

Every attempt at a piece writes blobs of names that no other attempt has: one that was thought dead
can't write into what another has proven. The first to record its report has done the piece; what
the others wrote is noted to be removed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from geo_etl.errors import PublishError
from geo_etl.raster import ledger
from geo_etl.raster.discards import discard_outputs, discard_paths
from geo_etl.raster.loads import Load, hold
from geo_etl.raster.manifest import PieceReport
from geo_etl.raster.records import from_record, to_record


@dataclass(frozen=True)
class Attempt:
    """One attempt at a piece, or at the blobs of a whole layer.

    Attributes:
        index: of the piece; None for blobs of the whole layer.
        paths: `container/path` to write each blob to, by the name that was asked for.
    """

    load: Load
    index: int | None
    paths: Mapping[str, str]


def begin_piece(
    engine: sa.Engine, load: Load, index: int | None, names: Iterable[str]
) -> Attempt | PieceReport:
    """Note the blobs that an attempt at a piece will write.

    Args:
        index: of the piece; None for blobs of the whole layer, as its mosaic.
        names: of the files, each once in the layer: `dem_analysis.tif`.

    Returns:
        Where to write them; or what was done, for a piece that is done.

    Raises:
        PublishError: the load is gone: another run of the source took its place.
    """
    with engine.begin() as connection:
        hold(connection, load)
        done = None if index is None else recorded_report(connection, load, index)
        if done is not None:
            return done
        number = connection.execute(
            sa.update(ledger.load)
            .where(ledger.load.c.id == load.id)
            .values(attempts=ledger.load.c.attempts + 1)
            .returning(ledger.load.c.attempts)
        ).scalar_one()
        paths = {name: f"{load.folder}/{number:05d}/{name}" for name in names}
        if paths:
            rows = [{"path": path, "load_id": load.id, "index": index} for path in paths.values()]
            connection.execute(sa.insert(ledger.output), rows)
    return Attempt(load, index, paths)


def recorded_report(connection: sa.Connection, load: Load, index: int) -> PieceReport | None:
    """What was done with a piece; None for one that is not done."""
    table = ledger.piece
    row = connection.execute(
        sa.select(table.c.report, table.c.preview).where(
            table.c.load_id == load.id, table.c.index == index, table.c.report.is_not(None)
        )
    ).one_or_none()
    return None if row is None else _report(row.report, row.preview)


def _report(record: dict[str, Any], preview: bytes | None) -> PieceReport:
    return replace(from_record(PieceReport, record), preview=preview)


def finish_piece(engine: sa.Engine, attempt: Attempt, report: PieceReport) -> PieceReport:
    """Record a piece as done, in one transaction with its files.

    Args:
        report: its files under the paths of the attempt.

    Returns:
        The report that counts: that of another attempt, when that was faster.

    Raises:
        PublishError: the load is gone: another run of the source took its place.
    """
    made = {one.tier: one.path for one in report.made}
    assert set(made.values()) <= set(attempt.paths.values()), made
    assert report.index == attempt.index, report.index
    table = ledger.piece
    here = sa.and_(table.c.load_id == attempt.load.id, table.c.index == report.index)
    with engine.begin() as connection:
        hold(connection, attempt.load)
        won = connection.execute(
            sa.update(table)
            .where(here, table.c.report.is_(None))
            .values(
                report=to_record(replace(report, preview=None)),
                blobs=made,
                preview=report.preview,
            )
        ).rowcount
        if won:
            noted = ledger.output.c
            others = sa.and_(noted.load_id == attempt.load.id, noted.index == report.index)
            discard_outputs(connection, sa.and_(others, noted.path.not_in(attempt.paths.values())))
            return report
        discard_paths(connection, attempt.paths.values())
        recorded = recorded_report(connection, attempt.load, report.index)
        assert recorded is not None
        return recorded


def abandon(engine: sa.Engine, attempt: Attempt) -> None:
    """Note the blobs of an attempt to be removed: it failed for good, or came too late."""
    with engine.begin() as connection:
        discard_outputs(connection, ledger.output.c.path.in_(attempt.paths.values()))
        discard_paths(connection, attempt.paths.values())


def reports_of(connection: sa.Connection, load_id: int) -> list[PieceReport]:
    """What was done with the pieces of a load, in their order."""
    table = ledger.piece
    rows = connection.execute(
        sa.select(table.c.report, table.c.preview)
        .where(table.c.load_id == load_id, table.c.report.is_not(None))
        .order_by(table.c.index)
    )
    return [_report(row.report, row.preview) for row in rows]


def blobs_of(connection: sa.Connection, load_id: int) -> list[str]:
    """The blobs of a load, sorted; those of a published load are all there is of its version."""
    table = ledger.output
    paths = sa.select(table.c.path).where(table.c.load_id == load_id).order_by(table.c.path)
    return list(connection.execute(paths).scalars())


def keep_only(connection: sa.Connection, load: Load, blobs: Iterable[str]) -> None:
    """Settle which blobs a load consists of; others that were noted are to be removed.

    Raises:
        PublishError: a blob was never noted.
    """
    wanted = set(blobs)
    if unknown := sorted(wanted - set(blobs_of(connection, load.id))):
        raise PublishError(
            f"layer {load.layer}",
            f"blob {unknown[0]} is none of those that the job noted to write",
            "Run the ingest again with force.",
        )
    table = ledger.output
    mine = sa.and_(table.c.load_id == load.id, table.c.path.in_(wanted))
    connection.execute(sa.update(table).where(mine).values(kept=sa.true()))
    discard_unkept(connection, load)


def discard_unkept(connection: sa.Connection, load: Load) -> None:
    """Give up what was noted for a load, and is none of what it was published with."""
    table = ledger.output
    discard_outputs(connection, sa.and_(table.c.load_id == load.id, ~table.c.kept))
