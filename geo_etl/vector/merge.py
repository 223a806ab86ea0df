"""Upsert: a new load that holds the table's other features and, by their keys, the delivered ones.

The merged load takes the place of the table's rows at publish, like a replace: readers see the old
features or the new, and the version before can be restored. A feature whose key was there keeps
its gid.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from geo_etl.errors import SourceError
from geo_etl.vector import ledger
from geo_etl.vector.attributes import Column
from geo_etl.vector.load import Load, merged_name
from geo_etl.vector.parent import quoted, table_name
from geo_etl.vector.rows import GEOM, GID
from geo_etl.vector.target import changed_meanwhile
from geo_etl.vector.versions import Piece, Version, gids_taken, pieces


def check_keys(columns: Sequence[Column], keys: Sequence[str], name: str) -> None:
    """Refuse key columns that are not there.

    Raises:
        SourceError: lists the columns.
    """
    names = [column.name for column in columns]
    if missing := [key for key in keys if key not in names]:
        raise SourceError(
            name,
            f"it has no column '{missing[0]}' to tell features by",
            f"Set key_columns to some of: {', '.join(names)}.",
        )


def merge(
    connection: sa.Connection,
    load: Load,
    current: Version | None,
    delivered: Sequence[Column],
    columns: Sequence[Column],
    keys: Sequence[str],
    name: str,
) -> Piece:
    """Make the merged load, or make it anew when the table has another version since.

    Args:
        current: the version that readers see; None for a new table.
        delivered: columns of this delivery; the others keep the values they have.
        columns: of the table.
        keys: published names.
        name: the source, for messages.

    Returns:
        The merged load and its range of gids.

    Raises:
        SourceError: a key is null, or there twice.
    """
    _check_key_values(connection, load, keys, name)
    check_free(connection, load, current)
    known = pieces(connection, current) if current is not None else []
    highest = max([load.gid_to, *(piece.gid_to for piece in known)])
    piece = Piece(load.id, merged_name(load.table), 1, highest)
    loads = list(current.loads) if current is not None else []
    merged_with = connection.execute(
        sa.select(ledger.load.c.merged_with).where(ledger.load.c.id == load.id)
    ).scalar_one()
    if merged_with == loads:
        return piece
    new, merged = (f"{ledger.LOADS_SCHEMA}.{table}" for table in (load.table, piece.table))
    connection.execute(sa.text(f"DROP TABLE IF EXISTS {merged}"))
    connection.execute(sa.text(f"CREATE TABLE {merged} (LIKE {new})"))
    if current is None:
        connection.execute(sa.text(f"INSERT INTO {merged} SELECT * FROM {new}"))
    else:
        _combine(connection, load, current, merged, delivered, columns, keys)
    connection.execute(
        sa.update(ledger.load).where(ledger.load.c.id == load.id).values(merged_with=loads)
    )
    return piece


def _combine(
    connection: sa.Connection,
    load: Load,
    current: Version,
    merged: str,
    delivered: Sequence[Column],
    columns: Sequence[Column],
    keys: Sequence[str],
) -> None:
    new = f"{ledger.LOADS_SCHEMA}.{load.table}"
    old = table_name(connection, current.target)
    there = {column.name for column in current.columns}
    came = {column.name for column in delivered}
    names = {column.name: quoted(connection, column.name) for column in columns}
    listed = ", ".join([GID, *names.values(), GEOM])
    kept = [f"o.{names[name]}" if name in there else "NULL" for name in names]
    taken = [f"{'n' if name in came or name not in there else 'o'}.{names[name]}" for name in names]
    key_names = [quoted(connection, key) for key in keys]
    same = " AND ".join(f"o.{key} = n.{key}" for key in key_names)
    # Keys need not be unique in what was loaded before: the first of them gives the gid.
    first = ", ".join(f"o.{key}" for key in key_names)
    matched = f"SELECT DISTINCT ON ({first}) o.* FROM {old} o ORDER BY {first}, o.{GID}"
    connection.execute(
        sa.text(
            f"INSERT INTO {merged} ({listed}) SELECT o.{GID}, {', '.join([*kept, f'o.{GEOM}'])}"
            f" FROM {old} o WHERE NOT EXISTS (SELECT FROM {new} n WHERE {same})"
        )
    )
    connection.execute(
        sa.text(
            f"INSERT INTO {merged} ({listed}) SELECT coalesce(o.{GID}, n.{GID}),"
            f" {', '.join([*taken, f'n.{GEOM}'])} FROM {new} n LEFT JOIN ({matched}) o ON {same}"
        )
    )
    connection.execute(
        sa.text(
            f"UPDATE geo_etl.repair r SET gid = o.{GID} FROM {new} n JOIN ({matched}) o ON {same}"
            f" WHERE r.load_id = :load AND r.gid = n.{GID}"
        ),
        {"load": load.id},
    )


def _check_key_values(
    connection: sa.Connection, load: Load, keys: Sequence[str], name: str
) -> None:
    table = f"{ledger.LOADS_SCHEMA}.{load.table}"
    listed = ", ".join(quoted(connection, key) for key in keys)
    nothing = " OR ".join(f"{quoted(connection, key)} IS NULL" for key in keys)
    nulls = connection.execute(
        sa.text(f"SELECT count(*) FROM {table} WHERE {nothing}")
    ).scalar_one()
    if nulls:
        raise SourceError(
            name,
            f"{nulls} features have no value in key_columns ({', '.join(keys)})",
            "Give every feature a key, or quarantine them by a rule (required).",
        )
    twice = connection.execute(
        sa.text(f"SELECT {listed} FROM {table} GROUP BY {listed} HAVING count(*) > 1 LIMIT 1")
    ).one_or_none()
    if twice is not None:
        raise SourceError(
            name,
            f"several features have the same key ({', '.join(map(str, twice))})",
            "Deliver each feature once, or quarantine the others by a rule (unique).",
        )


def settle_merge(
    connection: sa.Connection, load: Load, piece: Piece, current: Version | None
) -> None:
    """With the publish: the merged table becomes the load, for all that the table holds."""
    connection.execute(sa.text(f"DROP TABLE {ledger.LOADS_SCHEMA}.{load.table}"))
    connection.execute(
        sa.update(ledger.load)
        .where(ledger.load.c.id == load.id)
        .values(load_table=piece.table, gid_from=piece.gid_from, gid_to=piece.gid_to)
    )
    if current is None:
        return
    for table in (ledger.repair, ledger.quarantine):
        kept: sa.ColumnElement[bool] = table.c.load_id.in_(current.loads)
        if table is ledger.quarantine:
            again = ledger.corrected.c
            kept = kept & ~sa.exists().where(
                again.load_id == load.id, again.source_fid == table.c.source_fid
            )
        others = [column for column in table.columns if column.name != "load_id"]
        connection.execute(
            sa.insert(table).from_select(
                ["load_id", *(column.name for column in others)],
                sa.select(sa.literal(load.id), *others).where(kept),
            )
        )


def check_free(connection: sa.Connection, load: Load, current: Version | None) -> None:
    """Refuse gids that a replace of the table has taken meanwhile.

    Raises:
        PublishError: says to run the ingest again.
    """
    if gids_taken(connection, current, load.gid_from, load.gid_to):
        assert current is not None
        raise changed_meanwhile(current.target)
