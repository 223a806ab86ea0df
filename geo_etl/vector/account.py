"""The account of a load: every feature is loaded, quarantined or dropped, and nothing twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from geo_etl.errors import ConservationError
from geo_etl.vector import ledger
from geo_etl.vector.chunk import Chunk
from geo_etl.vector.load import Load

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Totals:
    """The account of a whole load, or of all loads of a job.

    Attributes:
        bounds: xmin, ymin, xmax, ymax in the target CRS; None when nothing was loaded.
    """

    read: int
    loaded: int
    dropped: int
    quarantined: int
    repaired: int
    had_z: int
    without_nul: int
    bounds: Bounds | None

    @classmethod
    def sum(cls, several: Sequence["Totals"]) -> "Totals":
        """Of a job that loads into several tables."""
        return cls(
            read=sum(one.read for one in several),
            loaded=sum(one.loaded for one in several),
            dropped=sum(one.dropped for one in several),
            quarantined=sum(one.quarantined for one in several),
            repaired=sum(one.repaired for one in several),
            had_z=sum(one.had_z for one in several),
            without_nul=sum(one.without_nul for one in several),
            bounds=union([one.bounds for one in several]),
        )


def union(boxes: Sequence[Bounds | None]) -> Bounds | None:
    """The box around boxes; None where there is none."""
    present = [box for box in boxes if box is not None]
    if not present:
        return None
    return (
        min(box[0] for box in present),
        min(box[1] for box in present),
        max(box[2] for box in present),
        max(box[3] for box in present),
    )


def totals(connection: sa.Connection, load: Load, chunks: Sequence[Chunk]) -> Totals:
    """Add up the ledger of a load and prove that nothing is missing.

    Args:
        chunks: those that go into this load.

    Raises:
        ConservationError: a chunk was never loaded, or the sums do not agree.
    """
    account = recorded_totals(connection, load, chunks)
    table = sa.table(load.table, schema=ledger.LOADS_SCHEMA)
    stored = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    if account.loaded != stored:
        raise _unequal(
            load, account.read, account.loaded, account.dropped, account.quarantined, stored
        )
    return account


def recorded_totals(connection: sa.Connection, load: Load, chunks: Sequence[Chunk]) -> Totals:
    """The same by the ledger alone: the rows of a published load may be merged with others.

    Raises:
        ConservationError: as `totals`.
    """
    rows = connection.execute(
        sa.select(ledger.chunk).where(ledger.chunk.c.load_id == load.id)
    ).all()
    missing = sorted({chunk.index for chunk in chunks} - {row.index for row in rows})
    if missing:
        raise ConservationError(
            f"load {load.table}",
            f"chunks {_listed(missing)} of {len(chunks)} were never loaded",
            "Re-execute the run with all steps; chunks that are loaded are not loaded again.",
        )
    read = sum(chunk.rows for chunk in chunks)
    loaded, dropped, quarantined = (
        sum(getattr(row, name) for row in rows) for name in ("loaded", "dropped", "quarantined")
    )
    if read != loaded + dropped + quarantined:
        raise _unequal(load, read, loaded, dropped, quarantined, loaded)
    boxes = [row.bounds for row in rows if row.bounds is not None and row.bounds[0] is not None]
    return Totals(
        read=read,
        loaded=loaded,
        dropped=dropped,
        quarantined=quarantined,
        repaired=sum(row.repaired for row in rows),
        had_z=sum(row.had_z for row in rows),
        without_nul=sum(row.without_nul for row in rows),
        bounds=union([tuple(box) for box in boxes]),
    )


def _unequal(
    load: Load, read: int, loaded: int, dropped: int, quarantined: int, stored: int
) -> ConservationError:
    return ConservationError(
        f"load {load.table}",
        f"{read} features read are not {loaded} loaded + {dropped} dropped + "
        f"{quarantined} quarantined, or the table's {stored} rows are not those loaded",
        "Run the ingest again with force; if the sums differ again, report it.",
    )


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return shown + (f" and {len(numbers) - 10} more" if len(numbers) > 10 else "")
