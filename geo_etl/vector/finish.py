"""Finishing a load that is full: unique values, key, range check, indexes, statistics.

Nothing here is seen by readers. Everything may be done again: what is there is left alone.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from geo_etl.errors import PublishError, SourceError
from geo_etl.ingest.lock import lock
from geo_etl.spec import VectorSpec
from geo_etl.vector import ledger
from geo_etl.vector.attributes import Column
from geo_etl.vector.load import Load
from geo_etl.vector.parent import quoted, table_name
from geo_etl.vector.rows import GEOM, GID
from geo_etl.vector.rules import UniqueRule
from geo_etl.vector.versions import Index, Piece, Target, Version

UNIQUE_CHUNK = -1
"""Ledger row of the features that the first unique rule takes out of a load; then downwards."""
EXAMPLES = 5


def wanted_indexes(spec: VectorSpec, columns: Sequence[Column], target: Target) -> list[Index]:
    """The indexes that a spec asks for.

    Raises:
        PublishError: there is no such column; lists those that there are.
    """
    wanted = [*spec.indexes.attributes, *spec.indexes.temporal]
    names = {column.name for column in columns}
    for name in wanted:
        if name not in names:
            raise PublishError(
                f"table {target}",
                f"there is no column '{name}' to index",
                f"Its columns are: {', '.join(sorted(names))}.",
            )
    spatial = [Index(GEOM, "gist")] if spec.indexes.spatial else []
    return spatial + [Index(name, "btree") for name in dict.fromkeys(wanted)]


def enforce_unique(
    connection: sa.Connection,
    load: Load,
    rules: Sequence[UniqueRule],
    current: Version | None,
    own: Sequence[Piece],
    name: str,
) -> None:
    """Keep the first feature of each value of a unique column; quarantine the others, or stop.

    Args:
        current: the version that the features are added to; None when they replace all.
        own: loads of it whose place this one takes.
        name: the source, for messages.

    Raises:
        SourceError: a value is there twice, and the rule says stop.
    """
    table = f"{ledger.LOADS_SCHEMA}.{load.table}"
    others = "".join(
        f" AND NOT (o.{GID} >= {piece.gid_from} AND o.{GID} < {piece.gid_to})" for piece in own
    )
    for number, rule in enumerate(rules):
        column = quoted(connection, rule.column)
        there = "false"
        if current is not None:
            there = (
                f"EXISTS (SELECT FROM {table_name(connection, current.target)} o"
                f" WHERE o.{column} = t.{column}{others})"
            )
        repeated = (
            f"SELECT gid, {column} AS value FROM (SELECT t.{GID} AS gid, t.{column},"
            f" row_number() OVER (PARTITION BY t.{column} ORDER BY t.{GID}) > 1 OR {there} AS again"
            f" FROM {table} t WHERE t.{column} IS NOT NULL) x WHERE again"
        )
        if rule.on_violation == "stop":
            _stop_at_repeated(connection, repeated, rule, name)
        else:
            _quarantine_repeated(connection, load, repeated, rule, UNIQUE_CHUNK - number)


def _stop_at_repeated(
    connection: sa.Connection, repeated: str, rule: UniqueRule, name: str
) -> None:
    found = connection.execute(
        sa.text(
            f"SELECT count(*) AS n, (array_agg(DISTINCT value::text))[1:{EXAMPLES}] AS some"
            f" FROM ({repeated}) r"
        )
    ).one()
    if found.n:
        raise SourceError(
            name,
            f"column '{rule.column}' is to be unique, and {found.n} features repeat a value "
            f"(for instance {', '.join(found.some)})",
            "Correct the delivery, or set the rule's on_violation to quarantine.",
        )


def _quarantine_repeated(
    connection: sa.Connection, load: Load, repeated: str, rule: UniqueRule, index: int
) -> None:
    """Move repeated features out of a load, in one statement with the ledger's row about it."""
    table = f"{ledger.LOADS_SCHEMA}.{load.table}"
    connection.execute(
        sa.text(
            f"WITH repeated AS ({repeated}), gone AS (DELETE FROM {table} t USING repeated r"
            f" WHERE t.{GID} = r.gid RETURNING t.*, r.value::text AS repeated_value),"
            " kept AS (INSERT INTO geo_etl.quarantine"
            " (load_id, source_fid, reason, geometry, attributes)"
            f" SELECT :load, {GID} - :offset, :column || ': the value '''"
            " || left(repeated_value, 100) || ''' is there already',"
            f" ST_AsEWKB({GEOM}), to_jsonb(gone) - '{GID}' - '{GEOM}' - 'repeated_value' FROM gone"
            " RETURNING 1),"
            " moved AS (SELECT count(*) AS n FROM kept)"
            " INSERT INTO geo_etl.chunk (load_id, index, loaded, dropped, quarantined, repaired,"
            " had_z, without_nul) SELECT :load, :index, -n, 0, n, 0, 0, 0 FROM moved WHERE n > 0"
            # Another job published, and the load is settled again: more may repeat a value now.
            " ON CONFLICT (load_id, index) DO UPDATE SET loaded = chunk.loaded + excluded.loaded,"
            " quarantined = chunk.quarantined + excluded.quarantined"
        ),
        {
            "load": load.id,
            "offset": load.gid_from - 1,
            "column": rule.column,
            "index": index,
        },
    )


@contextmanager
def _short_enough(index: Index) -> Iterator[None]:
    """An index takes values up to about 2,700 bytes (SQLSTATE 54000)."""
    try:
        yield
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != "54000":
            raise
        raise PublishError(
            f"column '{index.column}'",
            "some of its values are too long for an index",
            "Take it out of indexes in the spec.",
        ) from None


def finish_table(
    connection: sa.Connection, table: str, gid_from: int, gid_to: int, indexes: Sequence[Index]
) -> None:
    """Key, range check, indexes and statistics of a table in `geo_loads`."""
    lock(connection, f"finish {table}")
    name = f"{ledger.LOADS_SCHEMA}.{table}"
    keyed = connection.execute(
        sa.text("SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(:t) AND contype = 'p'"),
        {"t": name},
    ).one_or_none()
    if keyed is None:
        connection.execute(
            sa.text(
                f"ALTER TABLE {name} ADD PRIMARY KEY ({GID}),"
                f" ADD CONSTRAINT gid_range CHECK ({GID} >= {gid_from} AND {GID} < {gid_to})"
            )
        )
    for index in indexes:
        digest = hashlib.sha256(index.column.encode()).hexdigest()[:8]
        index_name = quoted(connection, f"{table}_{digest}")
        with _short_enough(index):
            connection.execute(
                sa.text(
                    f"CREATE INDEX IF NOT EXISTS {index_name} ON {name}"
                    f" USING {index.method} ({quoted(connection, index.column)})"
                )
            )
    connection.execute(sa.text(f"ANALYZE {name}"))
