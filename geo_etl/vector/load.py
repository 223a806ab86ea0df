"""Loading: a table for a load, and chunks into it, each exactly once.

A chunk's rows go in by binary COPY (ADBC) in one transaction with its ledger row: whoever
comes second, or again, finds the row and does nothing.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa
from geoalchemy2 import Geometry

from geo_etl.errors import PublishError, SourceError
from geo_etl.ingest.lock import lock
from geo_etl.vector import ledger
from geo_etl.vector.attributes import Column
from geo_etl.vector.chunk import Chunk
from geo_etl.vector.geometry import GeometryPlan
from geo_etl.vector.rows import GEOM, GID, ChunkCounts, Rows
from geo_etl.vector.rules import RulePlan
from geo_etl.vector.versions import Target, current_version, gids_taken, next_gid

FOREIGN_KEY_VIOLATION = "23503"

if TYPE_CHECKING:
    import adbc_driver_postgresql.dbapi as adbc


@dataclass(frozen=True)
class Load:
    """One load in the making: a row of `geo_etl.load` and its table in `geo_loads`.

    Attributes:
        gid_from, gid_to: range of the gids that its features get; `gid_to` is exclusive.
    """

    id: int
    table: str
    gid_from: int
    gid_to: int


def recorded_counts(connection: sa.Connection, load: Load, chunk: Chunk) -> "ChunkCounts | None":
    """The counts of a chunk that is loaded; None for one that is not.

    Raises:
        PublishError: the load is gone: another run of the source took its place.
    """
    table = ledger.chunk
    columns = [table.c[name.name] for name in fields(ChunkCounts)]
    row = connection.execute(
        sa.select(*columns).where(table.c.load_id == load.id, table.c.index == chunk.index)
    ).one_or_none()
    if row is not None:
        return ChunkCounts(*row)
    hold(connection, load)
    return None


def hold(connection: sa.Connection, load: Load) -> None:
    """Keep a load from being dropped until the transaction ends.

    Raises:
        PublishError: it is gone: another run of the source took its place.
    """
    row = sa.select(ledger.load.c.id).where(ledger.load.c.id == load.id)
    if connection.execute(row.with_for_update(read=True, key_share=True)).first() is None:
        raise _superseded(load)


def _superseded(load: Load) -> PublishError:
    return PublishError(
        f"load {load.table}",
        "a newer run of the same source took its place",
        "Look at that run; this one has nothing left to do.",
    )


@dataclass(frozen=True)
class LoadPlan:
    """What one load is to be.

    Attributes:
        target: the table that it is meant for.
        columns: of the load's table; a delivery that is added to a table may lack some.
        chunks: those whose features go into it.
        read: number of the source's features, in all of its loads.
        adds: whether the features come on top of those that are published.
    """

    job_id: str
    source: str
    target: Target
    columns: Sequence[Column]
    geometry: GeometryPlan
    chunks: Sequence[Chunk]
    read: int
    adds: bool

    def layout(self) -> str:
        """Digest of all that decides whether an earlier load can be continued."""
        facts = {
            "columns": [asdict(column) for column in self.columns],
            "geometry": asdict(self.geometry),
            "chunks": [(chunk.index, chunk.rows) for chunk in self.chunks],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def begin_loads(
    connection: sa.Connection, plans: Sequence[LoadPlan], *, force: bool
) -> tuple[list[Load], list[str]]:
    """Create the tables that a job loads into, or find those that it began before.

    Runs before any fan-out: PostgreSQL's DDL takes locks that concurrent loads would
    deadlock on. Loads that the same source began with another spec, content or chunk layout
    are dropped here.

    Args:
        connection: in a transaction of its own.
        plans: of one job.
        force: never continue an earlier load.

    Returns:
        A load for each plan, and the job ids of other unfinished loads that they replace.
    """
    source, job_id = plans[0].source, plans[0].job_id
    lock(connection, f"load {source}")
    layouts = {(plan.target.schema, plan.target.table): plan.layout() for plan in plans}
    stale: dict[int, str] = {}
    found: dict[tuple[str, str], Load] = {}
    for row in connection.execute(
        sa.select(ledger.load).where(
            ledger.load.c.source == source, ledger.load.c.state == "loading"
        )
    ):
        key = (row.schema_name, row.table_name)
        same = row.job_id == job_id and row.layout == layouts.get(key)
        if same and not force and _is_free(connection, row):
            found[key] = Load(row.id, row.load_table, row.gid_from, row.gid_to)
        else:
            stale[row.id] = row.job_id
    drop_loads(connection, stale)
    loads = [
        found.get((plan.target.schema, plan.target.table)) or _create_load(connection, plan)
        for plan in plans
    ]
    return loads, sorted(set(stale.values()) - {job_id})


def _is_free(connection: sa.Connection, row: sa.Row[Any]) -> bool:
    """Whether the gids of a load that adds to a table are still free there."""
    current = current_version(connection, Target(row.schema_name, row.table_name))
    return row.gid_from == 1 or not gids_taken(connection, current, row.gid_from, row.gid_to)


def _create_load(connection: sa.Connection, plan: LoadPlan) -> Load:
    gid_from = 1
    if plan.adds:
        lock(connection, f"gids {plan.target}")
        gid_from = next_gid(connection, plan.target)
    load_id = connection.execute(
        sa.insert(ledger.load)
        .values(
            job_id=plan.job_id,
            source=plan.source,
            schema_name=plan.target.schema,
            table_name=plan.target.table,
            layout=plan.layout(),
            state="loading",
            load_table=f"?{plan.job_id} {plan.target}",
            gid_from=gid_from,
            gid_to=gid_from + plan.read,
        )
        .returning(ledger.load.c.id)
    ).scalar_one()
    name = f"load_{load_id}_{plan.job_id[:8]}"
    connection.execute(
        sa.update(ledger.load).where(ledger.load.c.id == load_id).values(load_table=name)
    )
    load_table(name, plan.columns, plan.geometry).create(connection)
    return Load(load_id, name, gid_from, gid_from + plan.read)


def load_table(name: str, columns: Iterable[Column], geometry: GeometryPlan) -> sa.Table:
    """SQLAlchemy's description of a load's table. Keys and indexes come when it is full."""
    return sa.Table(
        name,
        sa.MetaData(schema=ledger.LOADS_SCHEMA),
        *table_columns(columns, geometry.geometry_type, geometry.target_srid),
    )


def table_columns(columns: Iterable[Column], geometry_type: str, srid: int) -> list[sa.Column[Any]]:
    """The columns that a load's table and the published table have in common."""
    return [
        sa.Column(GID, sa.BigInteger, nullable=False, autoincrement=False),
        *(sa.Column(column.name, column.sqlalchemy_type()) for column in columns),
        sa.Column(GEOM, Geometry(geometry_type.upper(), srid=srid, spatial_index=False)),
    ]


def merged_name(table: str) -> str:
    """The table that an upsert's load is merged into, in `geo_loads`."""
    return f"{table}_merged"


def drop_loads(connection: sa.Connection, load_ids: Iterable[int]) -> list[str]:
    """Remove loads that are not published, with their tables and ledger rows."""
    dropped = []
    for load_id in load_ids:
        row = connection.execute(
            sa.delete(ledger.load)
            .where(ledger.load.c.id == load_id)
            .returning(ledger.load.c.load_table)
        ).one_or_none()
        if row is not None:
            for name in (row.load_table, merged_name(row.load_table)):
                connection.execute(sa.text(f"DROP TABLE IF EXISTS {ledger.LOADS_SCHEMA}.{name}"))
            dropped.append(row.load_table)
    return dropped


def load_chunk(
    database_url: str,
    load: Load,
    chunk: Chunk,
    batches: Iterator[pa.RecordBatch],
    rules: RulePlan,
    geometry: GeometryPlan,
) -> ChunkCounts:
    """Prepare the features of one chunk and copy them into the load's table.

    Args:
        database_url: `postgresql://…`; a connection of its own is opened.
        batches: the chunk's features, as `read_chunk` yields them.
        rules: columns, and what each of them has to keep to.

    Returns:
        The counts; those of the first time when the chunk is loaded already.
    """
    import adbc_driver_postgresql.dbapi as adbc  # with pyarrow.dataset: only where rows are copied

    with adbc.connect(database_url) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(
                "INSERT INTO geo_etl.chunk (load_id, index, loaded, dropped, quarantined, repaired,"
                " had_z, without_nul) VALUES ($1, $2, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING"
                " RETURNING index",
                (load.id, chunk.index),
            )
        except adbc.Error as error:
            if error.sqlstate == FOREIGN_KEY_VIOLATION:
                raise _superseded(load) from None
            raise
        if cursor.fetchone() is None:
            connection.rollback()
            return _recorded(cursor, load, chunk)
        rows = Rows(load.gid_from, batches, rules, geometry)
        try:
            cursor.adbc_ingest(load.table, rows.reader(), "append", db_schema_name="geo_loads")
        except adbc.Error as error:
            if rows.failure is not None:
                raise rows.failure from None
            if (error.sqlstate or "").startswith("54"):
                raise _beyond_limits(load, str(error)) from None
            raise
        _insert(cursor, "repair", load, rows.repairs, _REPAIRS)
        _insert(cursor, "quarantine", load, rows.quarantined, _QUARANTINED)
        _insert(cursor, "corrected", load, rows.corrected, _CORRECTED)
        counts = rows.counts()
        bounds = rows.bounds
        cursor.execute(
            "UPDATE geo_etl.chunk SET loaded = $3, dropped = $4, quarantined = $5, repaired = $6,"
            " had_z = $7, without_nul = $8, bounds = ARRAY[$9, $10, $11, $12]::float8[]"
            " WHERE load_id = $1 AND index = $2",
            (load.id, chunk.index, *asdict(counts).values(), *bounds),
        )
        connection.commit()
    return counts


def _beyond_limits(load: Load, said: str) -> SourceError:
    """PostgreSQL's SQLSTATE class 54: for instance a row of over 8160 bytes in its page."""
    found = re.search(r"ERROR:\s*(.+)", said)
    return SourceError(
        f"load {load.table}",
        f"a feature is beyond PostgreSQL's limits: {found[1] if found else said}",
        "Drop columns by attribute_rules, or split the layer.",
    )


def _recorded(cursor: "adbc.Cursor", load: Load, chunk: Chunk) -> ChunkCounts:
    cursor.execute(
        "SELECT loaded, dropped, quarantined, repaired, had_z, without_nul FROM geo_etl.chunk"
        " WHERE load_id = $1 AND index = $2",
        (load.id, chunk.index),
    )
    row = cursor.fetchone()
    assert row is not None
    return ChunkCounts(*row)


_REPAIRS = pa.schema(
    [
        ("gid", pa.int64()),
        ("source_fid", pa.int64()),
        ("reason", pa.string()),
        ("measure_before", pa.float64()),
        ("measure_after", pa.float64()),
        ("type_before", pa.string()),
        ("type_after", pa.string()),
    ]
)
_CORRECTED = pa.schema([("job_id", pa.string()), ("source_fid", pa.int64())])
_QUARANTINED = pa.schema(
    [
        ("source_fid", pa.int64()),
        ("reason", pa.string()),
        ("geometry", pa.binary()),
        ("attributes", pa.binary()),
    ]
)


def _insert(
    cursor: "adbc.Cursor", table: str, load: Load, rows: list[dict[str, Any]], schema: pa.Schema
) -> None:
    if rows:
        data = pa.Table.from_pylist(rows, schema=schema)
        data = data.append_column("load_id", pa.array([load.id] * len(rows), pa.int64()))
        cursor.adbc_ingest(table, data, "append", db_schema_name="geo_etl")
