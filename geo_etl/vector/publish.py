"""Publishing: one transaction after which readers see the new data.

To replace is to detach the loads of the current version from the published table and to attach the
new one; to append is to attach one more. A reader sees the old rows or the new, never neither. The
last versions stay restorable: their loads are kept, unattached.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo_etl.errors import TransientError
from geo_etl.ingest.lock import lock
from geo_etl.vector import ledger, parent
from geo_etl.vector.load import Load, drop_loads, hold
from geo_etl.vector.merge import settle_merge
from geo_etl.vector.names import MAX_BYTES
from geo_etl.vector.target import check_target, own_pieces
from geo_etl.vector.versions import (
    Piece,
    Target,
    Version,
    current_version,
    version_made_by,
    versions_of,
)

LOCK_TIMEOUT = "10s"
"""How long a publish waits for readers before it gives way and is retried."""


@dataclass(frozen=True)
class Candidate:
    """One finished load, and the version of a table that it is to become.

    Attributes:
        piece: what is attached: the load's own table, or the merged one of an upsert.
        version: as it will be recorded; its number and its loads are set by the publish.
        base: loads of the version that it was made on top of; none for a new table, None for any.
            A number would not do: an unpublished table's next versions begin at 1 again.
    """

    load: Load
    piece: Piece
    version: Version
    base: tuple[int, ...] | None


def publish(
    engine: sa.Engine,
    candidates: Sequence[Candidate],
    catalogue: Callable[[sa.Connection, Version, Version | None], None],
    keep: int,
) -> list[Version]:
    """Let readers see finished loads, all of a job in one transaction with their STAC items.

    Args:
        catalogue: writes the STAC item of a version on the connection it is given, and removes that
            of the version before where it has another name.
        keep: how many versions of each table stay restorable, the current one among them.

    Returns:
        The versions that the loads were published as; those of an earlier attempt as they are.

    Raises:
        PublishError: a table belongs to somebody else, or something depends on a column
            that the new data does not have.
        TransientError: a table has another version since the load was made on top of it.
        sqlalchemy.exc.OperationalError: readers held a table for longer than
            `LOCK_TIMEOUT`; to be retried.
    """
    with engine.begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        lock(connection, f"load {candidates[0].version.source}")
        ordered = sorted(candidates, key=lambda candidate: candidate.version.target)
        for candidate in ordered:
            lock(connection, f"publish {candidate.version.target}")
        published = {c.version.target: _publish_one(connection, c, catalogue) for c in ordered}
        for target in published:
            prune(connection, target, keep)
    return [published[candidate.version.target] for candidate in candidates]


def _publish_one(
    connection: sa.Connection,
    candidate: Candidate,
    catalogue: Callable[[sa.Connection, Version, Version | None], None],
) -> Version:
    new, target, load = candidate.version, candidate.version.target, candidate.load
    if (made := version_made_by(connection, target, load.id)) is not None:
        return made  # and it stays as it is, also where another version is shown since
    hold(connection, load)
    current = current_version(connection, target)
    check_target(connection, target, new.source, new.load_method, new.job_id)
    if candidate.base is not None and candidate.base != (current.loads if current else ()):
        raise TransientError(f"table {target} was published by another job meanwhile")
    adds = new.load_method == "append" and current is not None
    own = own_pieces(connection, current, new.job_id) if adds else []
    kept = set(current.loads if adds and current else ()) - {piece.load_id for piece in own}
    known = versions_of(connection, target)
    version = replace(
        new,
        number=max((version.number for version in known), default=0) + 1,
        current=True,
        loads=(*sorted(kept), load.id),
        published_at=datetime.now(UTC),
    )
    # The catalogue's lock is shared by all tables: it is taken before any reader is kept out.
    catalogue(connection, version, current)
    if candidate.piece.table != load.table:
        settle_merge(connection, load, candidate.piece, current)
    if own:
        parent.detach(connection, target, own)
    show(connection, version, [candidate.piece], keeps=adds)
    connection.execute(
        sa.update(ledger.load).where(ledger.load.c.id == load.id).values(state="published")
    )
    make_current(connection, target, None)
    connection.execute(sa.insert(ledger.publication).values(**version.row()))
    return version


def show(
    connection: sa.Connection, version: Version, attached: Sequence[Piece], *, keeps: bool
) -> None:
    """Let readers of a table see a version.

    Args:
        attached: loads to attach.
        keeps: whether those that are attached now stay.

    Raises:
        PublishError: PostgreSQL refuses, for instance because a view depends on a column.
    """
    target = version.target
    columns = (version.columns, version.geometry_type, version.srid)
    with parent.refusals(target):
        if not parent.exists(connection, target):
            parent.create(connection, target, *columns)
        else:
            if not keeps:
                parent.detach_all(connection, target)
            parent.shape(connection, parent.table_name(connection, target), *columns)
        parent.index(connection, target, version.indexes)
        parent.attach(connection, target, attached)
    parent.comment(connection, target, version.columns, version.source)
    fill_quarantine(connection, version)


def make_current(connection: sa.Connection, target: Target, number: int | None) -> None:
    """Note which version readers see; None for one that is yet to be noted."""
    table = ledger.publication
    here = sa.and_(table.c.schema_name == target.schema, table.c.table_name == target.table)
    connection.execute(sa.update(table).where(here, table.c.current).values(current=sa.false()))
    if number is not None:
        connection.execute(
            sa.update(table).where(here, table.c.version == number).values(current=sa.true())
        )


def prune(connection: sa.Connection, target: Target, keep: int) -> None:
    """Drop the loads of versions that are no longer to be restored; what they were stays known."""
    restorable = [version for version in versions_of(connection, target) if version.loads]
    others = [version for version in restorable if not version.current]
    gone = others[: max(0, len(others) - (keep - 1))]
    if not gone:
        return
    kept = {load for version in restorable if version not in gone for load in version.loads}
    drop_loads(connection, {load for version in gone for load in version.loads} - kept)
    table = ledger.publication
    connection.execute(
        sa.update(table)
        .where(
            table.c.schema_name == target.schema,
            table.c.table_name == target.table,
            table.c.version.in_([version.number for version in gone]),
        )
        .values(loads=[])
    )


def fill_quarantine(connection: sa.Connection, version: Version) -> None:
    """Let `geo_quarantine.<table>` hold the quarantined features of a version."""
    here, there = ledger.quarantine, quarantine_table(version.target)
    features = (
        sa.select(
            here.c.source_fid,
            here.c.reason,
            here.c.geometry,
            here.c.attributes,
            ledger.load.c.job_id,
        )
        .join(ledger.load, ledger.load.c.id == here.c.load_id)
        .where(here.c.load_id.in_(version.loads), ~_was_corrected(version.loads))
    )
    is_there = sa.inspect(connection).has_table(there.name, schema=there.schema)
    if is_there:
        connection.execute(sa.delete(there))
    if connection.execute(features.limit(1)).first() is None:
        return
    if not is_there:
        there.create(connection)
    connection.execute(sa.insert(there).from_select([c.name for c in there.columns], features))


def _was_corrected(loads: Sequence[int]) -> sa.Exists:
    """Whether a quarantined feature came again with a later load."""
    again = ledger.corrected.c
    return sa.exists().where(
        again.load_id.in_(loads),
        again.load_id > ledger.quarantine.c.load_id,
        again.source_fid == ledger.quarantine.c.source_fid,
        again.job_id == ledger.load.c.job_id,
    )


def quarantine_table(target: Target) -> sa.Table:
    """The table with the features of a published table that were quarantined."""
    # No schema's name has a dot: names of two tables are never the same.
    name = target.table if target.schema == "geo" else f"{target.schema}.{target.table}"
    if len(name.encode()) > MAX_BYTES:
        name = f"{name[:12]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return sa.Table(
        name,
        sa.MetaData(schema=ledger.QUARANTINE_SCHEMA),
        sa.Column("source_fid", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("geometry", sa.LargeBinary, comment="WKB in the source's CRS"),
        sa.Column("attributes", pg.JSONB, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        comment=f"Features of {target} that could not be published",
    )


def store_result(connection: sa.Connection, version: Version, result: dict[str, Any]) -> None:
    """Keep the result document of a publish that was verified."""
    table = ledger.publication
    connection.execute(
        sa.update(table)
        .where(
            table.c.schema_name == version.target.schema,
            table.c.table_name == version.target.table,
            table.c.version == version.number,
        )
        .values(result=result)
    )
