"""The published table itself: a parent that loads are attached to. Its columns, indexes, comments.

The parent is `PARTITION BY RANGE (gid)`; each load is an ordinary table with the same columns,
indexes and a CHECK on its range of gids. Grants, comments and dependent views belong to the parent
and stay when loads come and go.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from geo_etl.errors import PublishError, TransientError
from geo_etl.vector import ledger
from geo_etl.vector.attributes import Column
from geo_etl.vector.load import table_columns
from geo_etl.vector.rows import GID
from geo_etl.vector.versions import Index, Piece, Target

OWN_INDEX = "made by geo_etl"
"""Comment on the indexes that come and go with the spec; others are somebody's own."""


def quoted(connection: sa.Connection, name: str) -> str:
    """An identifier as SQL takes it."""
    return connection.dialect.identifier_preparer.quote_identifier(name)


def table_name(connection: sa.Connection, target: Target) -> str:
    """A published table as SQL takes it."""
    return f"{quoted(connection, target.schema)}.{quoted(connection, target.table)}"


def exists(connection: sa.Connection, target: Target) -> bool:
    """Whether the parent is there: somebody may have dropped it by hand."""
    found = connection.execute(
        sa.text("SELECT to_regclass(:t) IS NOT NULL"), {"t": table_name(connection, target)}
    )
    return bool(found.scalar())


def hold(connection: sa.Connection, target: Target) -> None:
    """Keep a parent's loads as they are until the transaction ends; readers go on.

    Raises:
        TransientError: it was unpublished at this very moment.
    """
    if not exists(connection, target):
        return
    name = table_name(connection, target)
    try:
        connection.execute(sa.text(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE"))
    except sa.exc.ProgrammingError as error:
        raise TransientError(f"table {target} was unpublished meanwhile") from error


@contextmanager
def refusals(target: Target) -> Iterator[None]:
    """Say what PostgreSQL refuses to do with a table in words."""
    try:
        yield
    except (
        sa.exc.InternalError,
        sa.exc.NotSupportedError,
        sa.exc.ProgrammingError,
        sa.exc.IntegrityError,
        sa.exc.DataError,
    ) as error:
        raise PublishError(
            f"table {target}",
            f"PostgreSQL refuses the new data: {str(error.orig).splitlines()[0].rstrip('.')}",
            "Drop or change what depends on the table first (a view, a constraint).",
        ) from None


def detach_all(connection: sa.Connection, target: Target) -> None:
    """Detach every load of a parent."""
    parent = table_name(connection, target)
    attached = connection.execute(
        sa.text(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
            " WHERE inhparent = to_regclass(:t)"
        ),
        {"t": parent},
    ).scalars()
    for name in attached.all():
        connection.execute(sa.text(f"ALTER TABLE {parent} DETACH PARTITION {name}"))


def detach(connection: sa.Connection, target: Target, pieces: Sequence[Piece]) -> None:
    """Detach some loads of a parent."""
    parent = table_name(connection, target)
    for piece in pieces:
        connection.execute(
            sa.text(f"ALTER TABLE {parent} DETACH PARTITION {ledger.LOADS_SCHEMA}.{piece.table}")
        )


def attach(connection: sa.Connection, target: Target, pieces: Sequence[Piece]) -> None:
    """Attach loads, each with its range of gids."""
    parent = table_name(connection, target)
    for piece in pieces:
        connection.execute(
            sa.text(
                f"ALTER TABLE {parent} ATTACH PARTITION {ledger.LOADS_SCHEMA}.{piece.table}"
                f" FOR VALUES FROM ({piece.gid_from}) TO ({piece.gid_to})"
            )
        )


def create(
    connection: sa.Connection,
    target: Target,
    columns: Sequence[Column],
    geometry_type: str,
    srid: int,
) -> None:
    """Create a parent without loads."""
    connection.execute(sa.schema.CreateSchema(target.schema, if_not_exists=True))
    table = sa.Table(
        target.table,
        sa.MetaData(schema=target.schema),
        *table_columns(columns, geometry_type, srid),
        sa.PrimaryKeyConstraint(GID),
        postgresql_partition_by=f"RANGE ({GID})",
    )
    table.create(connection)


def shape(
    connection: sa.Connection,
    table: str,
    columns: Sequence[Column],
    geometry_type: str,
    srid: int,
) -> None:
    """Give a parent, or a load, the columns of a version.

    Args:
        table: as SQL takes it. It has no rows in columns that change their type.
    """
    have = _column_types(connection, table)
    for column in table_columns(columns, geometry_type, srid):
        type_ = column.type.compile(dialect=connection.dialect)
        name = quoted(connection, column.name)
        if column.name not in have:
            connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN {name} {type_}"))
        elif have.pop(column.name).lower() != _canonical(connection, type_).lower():
            # No rows are in it: USING NULL converts nothing, between any two types.
            connection.execute(
                sa.text(f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {type_} USING NULL")
            )
    for name in have:
        connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {quoted(connection, name)}"))


def _column_types(connection: sa.Connection, table: str) -> dict[str, str]:
    rows = connection.execute(
        sa.text(
            "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
            " WHERE attrelid = to_regclass(:t) AND attnum > 0 AND NOT attisdropped"
        ),
        {"t": table},
    )
    return {row.attname: row.type for row in rows}


def _canonical(connection: sa.Connection, type_: str) -> str:
    """PostgreSQL's own spelling of a type: `FLOAT` is `double precision`."""
    connection.execute(sa.text(f"CREATE TEMP TABLE canonical_type (t {type_}) ON COMMIT DROP"))
    spelling: str = connection.execute(
        sa.text(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'pg_temp.canonical_type'::regclass AND attname = 't'"
        )
    ).scalar_one()
    connection.execute(sa.text("DROP TABLE pg_temp.canonical_type"))
    return spelling


def index(connection: sa.Connection, target: Target, wanted: Sequence[Index]) -> None:
    """Give the parent the indexes of a version; those that somebody else made stay."""
    rows = connection.execute(
        sa.text(
            "SELECT i.relname AS name, am.amname AS method, a.attname AS column,"
            " obj_description(i.oid, 'pg_class') = :own AS own FROM pg_index x"
            " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am am ON am.oid = i.relam"
            " JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]"
            " WHERE x.indrelid = to_regclass(:t) AND NOT x.indisprimary AND x.indnatts = 1"
        ),
        {"t": table_name(connection, target), "own": OWN_INDEX},
    ).all()
    schema = quoted(connection, target.schema)
    have = {Index(row.column, row.method) for row in rows}
    for row in rows:
        if row.own and Index(row.column, row.method) not in wanted:
            connection.execute(sa.text(f"DROP INDEX {schema}.{quoted(connection, row.name)}"))
    for new in wanted:
        if new not in have:
            digest = hashlib.sha256(f"{target} {new}".encode()).hexdigest()[:16]
            name = quoted(connection, f"geo_etl_{digest}")
            connection.execute(
                sa.text(
                    f"CREATE INDEX {name} ON {table_name(connection, target)}"
                    f" USING {new.method} ({quoted(connection, new.column)})"
                )
            )
            connection.execute(sa.text(f"COMMENT ON INDEX {schema}.{name} IS '{OWN_INDEX}'"))


def comment(
    connection: sa.Connection, target: Target, columns: Sequence[Column], source: str
) -> None:
    """Each column's comment is its name in the source; a comment that somebody wrote is kept."""
    written = connection.execute(
        sa.text(
            "SELECT a.attname, col_description(a.attrelid, a.attnum) AS comment FROM pg_attribute a"
            " WHERE a.attrelid = to_regclass(:t) AND a.attnum > 0"
            " UNION ALL SELECT '', obj_description(to_regclass(:t), 'pg_class')"
        ),
        {"t": table_name(connection, target)},
    )
    comments = {row.attname: row.comment for row in written}
    for column in columns:
        if comments.get(column.name) is None:
            described: sa.Column[Any] = sa.Column(column.name, comment=column.original)
            sa.Table(target.table, sa.MetaData(schema=target.schema), described)
            connection.execute(sa.schema.SetColumnComment(described))
    if comments[""] is None:
        table = sa.Table(target.table, sa.MetaData(schema=target.schema))
        table.comment = f"Published by geo_etl from {source}"
        connection.execute(sa.schema.SetTableComment(table))
