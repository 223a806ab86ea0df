"""Publishing: one transaction after which readers see the new data.

The published table is a parent, `PARTITION BY RANGE (gid)`; each load is an ordinary table
with the same columns, indexes and a CHECK on its range of gids. To replace is to detach the
old load and attach the new one: grants, comments and dependent views stay with the parent, and
a reader sees the old rows or the new, never neither.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo_etl.errors import ConservationError, PublishError
from geo_etl.spec import VectorSpec
from geo_etl.vector import ledger
from geo_etl.vector.attributes import Column
from geo_etl.vector.chunk import Chunk
from geo_etl.vector.geometry import GeometryPlan
from geo_etl.vector.load import GEOM, GID, Load, drop_loads, lock, table_columns
from geo_etl.vector.names import MAX_BYTES

LOCK_TIMEOUT = "10s"
"""How long a publish waits for readers before it gives way and is retried."""


@dataclass(frozen=True)
class Target:
    """The published table: schema and name."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True)
class Totals:
    """The account of a whole load.

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
    bounds: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Publication:
    """What a publish writes down about itself."""

    target: Target
    source: str
    fingerprint: str
    job_id: str
    collection_id: str
    item_id: str


def check_target(
    connection: sa.Connection, target: Target, source: str, insert_as: str | None = None
) -> None:
    """Refuse a table that is not this source's to replace.

    Args:
        insert_as: id of a job that may publish only a new table (or finish what it began).

    Raises:
        PublishError: names the owner and the ways out.
    """
    owner = connection.execute(
        sa.select(ledger.publication.c.source, ledger.publication.c.job_id).where(
            ledger.publication.c.schema_name == target.schema,
            ledger.publication.c.table_name == target.table,
        )
    ).one_or_none()
    if owner is not None and owner.source != source:
        raise PublishError(
            f"table {target}",
            f"it is published from another source, {owner.source}",
            "Set table_name (or schema) in this source's spec to publish beside it.",
        )
    if owner is not None and insert_as not in (None, owner.job_id):
        raise PublishError(
            f"table {target}",
            "it exists already and load_method is insert",
            "Set load_method to replace, or choose another table_name.",
        )
    if owner is None:
        _check_foreign(connection, target)


def _check_foreign(connection: sa.Connection, target: Target) -> None:
    row = connection.execute(
        sa.text(
            "SELECT pg_get_userbyid(c.relowner) AS owner FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE n.nspname = :schema AND c.relname = :table"
        ),
        {"schema": target.schema, "table": target.table},
    ).one_or_none()
    if row is not None:
        raise PublishError(
            f"table {target}",
            f"it was not made by geo_etl (it belongs to '{row.owner}')",
            "Set table_name in the spec, or move that table out of the way yourself.",
        )


def check_schema_change(
    connection: sa.Connection, target: Target, columns: list[Column], allowed: bool
) -> list[str]:
    """Compare a delivery's columns with the published ones.

    Returns:
        One sentence a change, for the result's warnings.

    Raises:
        PublishError: a column is missing or has another type, and that is not allowed.
    """
    published = connection.execute(
        sa.select(ledger.publication.c.columns).where(
            ledger.publication.c.schema_name == target.schema,
            ledger.publication.c.table_name == target.table,
        )
    ).scalar_one_or_none()
    if published is None:
        return []
    now = {column.name: column.sql_type for column in columns}
    breaking = [f"column '{name}' is gone" for name in published if name not in now]
    breaking += [
        f"column '{name}' was {published[name]} and is {now[name]}"
        for name in now
        if name in published and published[name] != now[name]
    ]
    if breaking and not allowed:
        raise PublishError(
            f"table {target}",
            f"this delivery changes its schema: {'; '.join(breaking)}",
            "Correct the delivery, or set attribute_rules.schema_change to allow.",
        )
    added = [f"column '{name}' is new" for name in now if name not in published]
    return [f"Schema changed: {change}." for change in breaking + added]


def totals(connection: sa.Connection, load: Load, chunks: list[Chunk]) -> Totals:
    """Add up the ledger of a load and prove that nothing is missing.

    Raises:
        ConservationError: a chunk was never loaded, or the sums do not agree.
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
    table = sa.table(load.table, schema=ledger.LOADS_SCHEMA)
    stored = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    if read != loaded + dropped + quarantined or loaded != stored:
        raise ConservationError(
            f"load {load.table}",
            f"{read} features read are not {loaded} loaded + {dropped} dropped + "
            f"{quarantined} quarantined, or the table's {stored} rows are not those loaded",
            "Run the ingest again with force; if the sums differ again, report it.",
        )
    boxes = [row.bounds for row in rows if row.bounds is not None and row.bounds[0] is not None]
    return Totals(
        read=read,
        loaded=loaded,
        dropped=dropped,
        quarantined=quarantined,
        repaired=sum(row.repaired for row in rows),
        had_z=sum(row.had_z for row in rows),
        without_nul=sum(row.without_nul for row in rows),
        bounds=(
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )
        if boxes
        else None,
    )


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return shown + (f" and {len(numbers) - 10} more" if len(numbers) > 10 else "")


@dataclass(frozen=True)
class _Index:
    """One index of a published table."""

    column: str
    method: str


def _indexes(spec: VectorSpec, columns: list[Column], target: Target) -> list[_Index]:
    wanted = [*spec.indexes.attributes, *spec.indexes.temporal]
    names = {column.name for column in columns}
    for name in wanted:
        if name not in names:
            raise PublishError(
                f"table {target}",
                f"there is no column '{name}' to index",
                f"Its columns are: {', '.join(sorted(names))}.",
            )
    spatial = [_Index(GEOM, "gist")] if spec.indexes.spatial else []
    return spatial + [_Index(name, "btree") for name in dict.fromkeys(wanted)]


def check_indexes(spec: VectorSpec, columns: list[Column], target: Target) -> None:
    """Refuse an index on a column that is not there, before any work is done.

    Raises:
        PublishError: lists the columns.
    """
    _indexes(spec, columns, target)


def finish_load(
    engine: sa.Engine,
    load: Load,
    spec: VectorSpec,
    columns: list[Column],
    target: Target,
    rows: int,
) -> None:
    """Key, range check, indexes and statistics of a full load; nothing that readers see.

    May be called again: what is there is left alone.
    """
    table = f"{ledger.LOADS_SCHEMA}.{load.table}"
    with engine.begin() as connection:
        lock(connection, f"finish {load.table}")
        keyed = connection.execute(
            sa.text(
                "SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(:t) AND contype = 'p'"
            ),
            {"t": table},
        ).one_or_none()
        if keyed is None:
            connection.execute(
                sa.text(
                    f"ALTER TABLE {table} ADD PRIMARY KEY ({GID}),"
                    f" ADD CONSTRAINT gid_range CHECK ({GID} >= 1 AND {GID} < {rows + 1})"
                )
            )
        for index in _indexes(spec, columns, target):
            digest = hashlib.sha256(index.column.encode()).hexdigest()[:8]
            name = _quoted(connection, f"{load.table}_{digest}")
            connection.execute(
                sa.text(
                    f"CREATE INDEX IF NOT EXISTS {name} ON {table}"
                    f" USING {index.method} ({_quoted(connection, index.column)})"
                )
            )
        connection.execute(sa.text(f"ANALYZE {table}"))


def publish(
    engine: sa.Engine,
    load: Load,
    spec: VectorSpec,
    publication: Publication,
    columns: list[Column],
    geometry: GeometryPlan,
    account: Totals,
    catalogue: Callable[[sa.Connection], None],
) -> None:
    """Let readers see a finished load, in one transaction with its STAC item.

    Args:
        catalogue: writes the STAC item on the connection it is given.

    Raises:
        PublishError: the table belongs to somebody else, or something depends on a column
            that the new data does not have.
        sqlalchemy.exc.OperationalError: readers held the table for longer than
            `LOCK_TIMEOUT`; to be retried.
    """
    target = publication.target
    with engine.begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        lock(connection, f"load {publication.source}")
        lock(connection, f"publish {target}")
        if _current_load(connection, target) == load.id:
            return
        insert_as = publication.job_id if spec.load_method == "insert" else None
        check_target(connection, target, publication.source, insert_as)
        # The catalogue's lock is shared by all tables: it is taken before any reader is kept out.
        catalogue(connection)
        old = _current_load(connection, target)
        exists = _detach(connection, target, old)
        try:
            _shape_parent(connection, target, columns, geometry, exists)
        except (sa.exc.InternalError, sa.exc.NotSupportedError) as error:
            raise PublishError(
                f"table {target}",
                f"its columns can't change: {str(error.orig).splitlines()[0]}",
                "Drop or change what depends on it first.",
            ) from None
        _index_parent(connection, target, _indexes(spec, columns, target))
        parent = _table_name(connection, target)
        connection.execute(
            sa.text(
                f"ALTER TABLE {parent} ATTACH PARTITION {ledger.LOADS_SCHEMA}.{load.table}"
                f" FOR VALUES FROM (1) TO ({account.read + 1})"
            )
        )
        _comment(connection, target, columns, publication)
        _move_quarantine(connection, target, load, publication)
        _record(connection, load, publication, columns, account.loaded)
        if old is not None:
            drop_loads(connection, [old])


def _quoted(connection: sa.Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)


def _table_name(connection: sa.Connection, target: Target) -> str:
    return f"{_quoted(connection, target.schema)}.{_quoted(connection, target.table)}"


def _current_load(connection: sa.Connection, target: Target) -> int | None:
    return connection.execute(
        sa.select(ledger.publication.c.load_id).where(
            ledger.publication.c.schema_name == target.schema,
            ledger.publication.c.table_name == target.table,
        )
    ).scalar_one_or_none()


def _detach(connection: sa.Connection, target: Target, load_id: int | None) -> bool:
    """Detach the load that is published now; whether the parent is there."""
    parent = _table_name(connection, target)
    attached = connection.execute(
        sa.text(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
            " WHERE inhparent = to_regclass(:t)"
        ),
        {"t": parent},
    ).scalars()
    for name in attached.all():
        connection.execute(sa.text(f"ALTER TABLE {parent} DETACH PARTITION {name}"))
    # Somebody may have dropped a published table by hand: then it is made anew.
    return load_id is not None and bool(
        connection.execute(sa.text("SELECT to_regclass(:t) IS NOT NULL"), {"t": parent}).scalar()
    )


def _shape_parent(
    connection: sa.Connection,
    target: Target,
    columns: list[Column],
    geometry: GeometryPlan,
    exists: bool,
) -> None:
    """Create the parent, or give it the columns of the new load. It has no partitions now."""
    wanted = sa.Table(
        target.table,
        sa.MetaData(schema=target.schema),
        *table_columns(columns, geometry),
        postgresql_partition_by=f"RANGE ({GID})",
    )
    if not exists:
        connection.execute(sa.schema.CreateSchema(target.schema, if_not_exists=True))
        wanted.append_constraint(sa.PrimaryKeyConstraint(GID))
        wanted.create(connection)
        return
    parent = _table_name(connection, target)
    have = _column_types(connection, target)
    for column in wanted.columns:
        type_ = column.type.compile(dialect=connection.dialect)
        name = _quoted(connection, column.name)
        if column.name not in have:
            connection.execute(sa.text(f"ALTER TABLE {parent} ADD COLUMN {name} {type_}"))
        elif have.pop(column.name).lower() != _canonical(connection, type_).lower():
            # No rows are in the parent: USING NULL converts nothing, between any two types.
            connection.execute(
                sa.text(f"ALTER TABLE {parent} ALTER COLUMN {name} TYPE {type_} USING NULL")
            )
        have.pop(column.name, None)
    for name in have:
        connection.execute(sa.text(f"ALTER TABLE {parent} DROP COLUMN {_quoted(connection, name)}"))


def _column_types(connection: sa.Connection, target: Target) -> dict[str, str]:
    rows = connection.execute(
        sa.text(
            "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
            " WHERE attrelid = to_regclass(:t) AND attnum > 0 AND NOT attisdropped"
        ),
        {"t": _table_name(connection, target)},
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


def _index_parent(connection: sa.Connection, target: Target, wanted: list[_Index]) -> None:
    """Indexes of the parent, which has no partitions now: made and dropped at once."""
    rows = connection.execute(
        sa.text(
            "SELECT i.relname AS name, am.amname AS method, a.attname AS column FROM pg_index x"
            " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am am ON am.oid = i.relam"
            " JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]"
            " WHERE x.indrelid = to_regclass(:t) AND NOT x.indisprimary AND x.indnatts = 1"
        ),
        {"t": _table_name(connection, target)},
    ).all()
    have = {_Index(row.column, row.method): row.name for row in rows}
    for index, name in have.items():
        if index not in wanted:
            quoted = _quoted(connection, target.schema)
            connection.execute(sa.text(f"DROP INDEX {quoted}.{_quoted(connection, name)}"))
    for index in wanted:
        if index not in have:
            connection.execute(
                sa.text(
                    f"CREATE INDEX ON {_table_name(connection, target)}"
                    f" USING {index.method} ({_quoted(connection, index.column)})"
                )
            )


def _comment(
    connection: sa.Connection, target: Target, columns: list[Column], publication: Publication
) -> None:
    """Each column's comment is its name in the source; a comment that somebody wrote is kept."""
    table = sa.Table(target.table, sa.MetaData(schema=target.schema))
    written = connection.execute(
        sa.text(
            "SELECT a.attname, col_description(a.attrelid, a.attnum) AS comment FROM pg_attribute a"
            " WHERE a.attrelid = to_regclass(:t) AND a.attnum > 0"
            " UNION ALL SELECT '', obj_description(to_regclass(:t), 'pg_class')"
        ),
        {"t": _table_name(connection, target)},
    )
    comments = {row.attname: row.comment for row in written}
    for column in columns:
        if comments.get(column.name) is None:
            described: sa.Column[Any] = sa.Column(column.name, comment=column.original)
            sa.Table(table.name, sa.MetaData(schema=target.schema), described)
            connection.execute(sa.schema.SetColumnComment(described))
    if comments[""] is None:
        table.comment = f"Published by geo_etl from {publication.source}"
        connection.execute(sa.schema.SetTableComment(table))


def _move_quarantine(
    connection: sa.Connection, target: Target, load: Load, publication: Publication
) -> None:
    """The quarantined features of this load take the place of the last publication's."""
    here = ledger.quarantine
    features = sa.select(
        here.c.source_fid,
        here.c.reason,
        here.c.geometry,
        here.c.attributes,
        sa.literal(publication.job_id),
    ).where(here.c.load_id == load.id)
    if connection.execute(features.limit(1)).first() is None:
        there = _quarantine_table(target)
        if sa.inspect(connection).has_table(there.name, schema=there.schema):
            connection.execute(sa.delete(there))
        return
    there = _quarantine_table(target)
    there.create(connection, checkfirst=True)
    connection.execute(sa.delete(there))
    connection.execute(sa.insert(there).from_select([c.name for c in there.columns], features))
    connection.execute(sa.delete(here).where(here.c.load_id == load.id))


def _quarantine_table(target: Target) -> sa.Table:
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


def _record(
    connection: sa.Connection,
    load: Load,
    publication: Publication,
    columns: list[Column],
    features: int,
) -> None:
    values = {
        "source": publication.source,
        "fingerprint": publication.fingerprint,
        "job_id": publication.job_id,
        "load_id": load.id,
        "collection_id": publication.collection_id,
        "item_id": publication.item_id,
        "columns": {column.name: column.sql_type for column in columns},
        "features": features,
        "result": None,
        "published_at": sa.func.now(),
    }
    statement = pg.insert(ledger.publication).values(
        schema_name=publication.target.schema, table_name=publication.target.table, **values
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=["schema_name", "table_name"], set_=values)
    )
    connection.execute(
        sa.update(ledger.load).where(ledger.load.c.id == load.id).values(state="published")
    )
