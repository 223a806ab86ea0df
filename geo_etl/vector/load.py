"""Loading: a table for a load, and chunks into it, each exactly once.

A chunk's rows go in by binary COPY (ADBC) in one transaction with its ledger row: whoever
comes second, or again, finds the row and does nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from geoalchemy2 import Geometry

from geo_etl.errors import PublishError
from geo_etl.vector import ledger
from geo_etl.vector.attributes import JSONB_VERSION, Column, encode_attributes, json_text
from geo_etl.vector.chunk import Chunk
from geo_etl.vector.geometry import GeometryPlan, Prepared, prepare
from geo_etl.vector.source import FID, GEOMETRY

if TYPE_CHECKING:
    import adbc_driver_postgresql.dbapi as adbc

GID = "gid"
GEOM = "geom"


@dataclass(frozen=True)
class Load:
    """One load in the making: a row of `geo_etl.load` and its table in `geo_loads`.

    Attributes:
        superseded: job ids of unfinished loads of the same source that it took the place of.
    """

    id: int
    table: str
    superseded: tuple[str, ...] = ()


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
    alive = sa.select(ledger.load.c.id).where(ledger.load.c.id == load.id)
    if connection.execute(alive).first() is None:
        raise PublishError(
            f"load {load.table}",
            "a newer run of the same source took its place",
            "Look at that run; this one has nothing left to do.",
        )
    return None


@dataclass(frozen=True)
class ChunkCounts:
    """What became of a chunk's features. `loaded + dropped + quarantined` is their number."""

    loaded: int = 0
    dropped: int = 0
    quarantined: int = 0
    repaired: int = 0
    had_z: int = 0
    without_nul: int = 0


def begin_load(
    connection: sa.Connection,
    *,
    job_id: str,
    source: str,
    columns: list[Column],
    geometry: GeometryPlan,
    chunks: list[Chunk],
    force: bool,
) -> Load:
    """Create the table that a job loads into, or find the one it began before.

    Runs before any fan-out: PostgreSQL's DDL takes locks that concurrent loads would
    deadlock on. A load that the same source began with another spec, content or chunk layout
    is dropped here.

    Args:
        connection: in a transaction of its own.
        force: never continue an earlier load.
    """
    lock(connection, f"load {source}")
    layout = _layout(columns, geometry, chunks)
    stale: dict[int, str] = {}
    found: sa.Row[Any] | None = None
    for row in connection.execute(
        sa.select(ledger.load).where(
            ledger.load.c.source == source, ledger.load.c.state == "loading"
        )
    ):
        if not force and row.job_id == job_id and row.layout == layout:
            found = row
        else:
            stale[row.id] = row.job_id
    drop_loads(connection, stale)
    superseded = tuple(sorted(set(stale.values()) - {job_id}))
    if found is not None:
        return Load(found.id, found.load_table, superseded)
    load = _create_load(connection, job_id, source, layout, columns, geometry)
    return replace(load, superseded=superseded)


def _create_load(
    connection: sa.Connection,
    job_id: str,
    source: str,
    layout: str,
    columns: list[Column],
    geometry: GeometryPlan,
) -> Load:
    load_id = connection.execute(
        sa.insert(ledger.load)
        .values(
            job_id=job_id, source=source, layout=layout, state="loading", load_table=f"?{job_id}"
        )
        .returning(ledger.load.c.id)
    ).scalar_one()
    name = f"load_{load_id}_{job_id[:8]}"
    connection.execute(
        sa.update(ledger.load).where(ledger.load.c.id == load_id).values(load_table=name)
    )
    load_table(name, columns, geometry).create(connection)
    return Load(load_id, name)


def load_table(name: str, columns: Iterable[Column], geometry: GeometryPlan) -> sa.Table:
    """SQLAlchemy's description of a load's table. Keys and indexes come when it is full."""
    return sa.Table(
        name,
        sa.MetaData(schema=ledger.LOADS_SCHEMA),
        *table_columns(columns, geometry),
    )


def table_columns(columns: Iterable[Column], geometry: GeometryPlan) -> list[sa.Column[Any]]:
    """The columns that a load's table and the published table have in common."""
    return [
        sa.Column(GID, sa.BigInteger, nullable=False, autoincrement=False),
        *(sa.Column(column.name, column.sqlalchemy_type()) for column in columns),
        sa.Column(
            GEOM,
            Geometry(
                geometry.geometry_type.upper(), srid=geometry.target_srid, spatial_index=False
            ),
        ),
    ]


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
            table = sa.Table(row.load_table, sa.MetaData(schema=ledger.LOADS_SCHEMA))
            table.drop(connection, checkfirst=True)
            dropped.append(row.load_table)
    return dropped


def _layout(columns: list[Column], geometry: GeometryPlan, chunks: list[Chunk]) -> str:
    facts = {
        "columns": [asdict(column) for column in columns],
        "geometry": asdict(geometry),
        "chunks": [(chunk.first_row, chunk.rows) for chunk in chunks],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def lock(connection: sa.Connection, name: str) -> None:
    """Serialise on a name until the transaction ends."""
    connection.execute(
        sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"geo_etl {name}", 0)))
    )


def load_chunk(
    database_url: str,
    load: Load,
    chunk: Chunk,
    batches: Iterator[pa.RecordBatch],
    columns: list[Column],
    geometry: GeometryPlan,
) -> ChunkCounts:
    """Prepare the features of one chunk and copy them into the load's table.

    Args:
        database_url: `postgresql://…`; a connection of its own is opened.
        batches: the chunk's features, as `read_chunk` yields them.

    Returns:
        The counts; those of the first time when the chunk is loaded already.
    """
    import adbc_driver_postgresql.dbapi as adbc  # with pyarrow.dataset: only where rows are copied

    with adbc.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO geo_etl.chunk (load_id, index, loaded, dropped, quarantined, repaired,"
            " had_z, without_nul) VALUES ($1, $2, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING"
            " RETURNING index",
            (load.id, chunk.index),
        )
        if cursor.fetchone() is None:
            connection.rollback()
            return _recorded(cursor, load, chunk)
        rows = _Rows(chunk, batches, columns, geometry)
        cursor.adbc_ingest(load.table, rows.reader(), "append", db_schema_name="geo_loads")
        _insert(cursor, "repair", load, rows.repairs, _REPAIRS)
        _insert(cursor, "quarantine", load, rows.quarantined, _QUARANTINED)
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
    ]
)
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


class _Rows:
    """Turns a chunk's batches into rows for COPY, one batch at a time, and keeps the accounts."""

    def __init__(
        self,
        chunk: Chunk,
        batches: Iterator[pa.RecordBatch],
        columns: list[Column],
        geometry: GeometryPlan,
    ) -> None:
        self.repairs: list[dict[str, Any]] = []
        self.quarantined: list[dict[str, Any]] = []
        self._bounds = np.full(4, np.nan)
        self._next_gid = chunk.first_row + 1
        self._loaded = self._dropped = self._had_z = self._without_nul = 0
        self._batches = batches
        self._columns = columns
        self._geometry = geometry

    @property
    def bounds(self) -> list[float | None]:
        """xmin, ymin, xmax, ymax in the target CRS; None when nothing was loaded."""
        return [None if np.isnan(value) else float(value) for value in self._bounds]

    def counts(self) -> ChunkCounts:
        return ChunkCounts(
            loaded=self._loaded,
            dropped=self._dropped,
            quarantined=len(self.quarantined),
            repaired=len(self.repairs),
            had_z=self._had_z,
            without_nul=self._without_nul,
        )

    def reader(self) -> pa.RecordBatchReader:
        """The rows as a stream: the next batch is prepared while PostgreSQL takes the last."""
        first = self._encode(next(self._batches))
        return pa.RecordBatchReader.from_batches(first.schema, self._all(first))

    def _all(self, first: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield first
        for batch in self._batches:
            yield self._encode(batch)

    def _encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        gids = np.arange(self._next_gid, self._next_gid + batch.num_rows)
        self._next_gid += batch.num_rows
        prepared = prepare(batch.column(GEOMETRY), self._geometry)
        self._account(batch, gids, prepared)
        attributes = batch.select([column.original for column in self._columns])
        if len(prepared.rows) < batch.num_rows:
            attributes = attributes.take(pa.array(prepared.rows))
        arrays, without_nul = encode_attributes(attributes, self._columns)
        self._without_nul += without_nul
        return pa.RecordBatch.from_arrays(
            [pa.array(gids[prepared.rows]), *arrays, prepared.ewkb],
            names=[GID, *(column.name for column in self._columns), GEOM],
        )

    def _account(self, batch: pa.RecordBatch, gids: np.ndarray, prepared: Prepared) -> None:
        fids = batch.column(FID)
        self._loaded += len(prepared.rows)
        self._dropped += prepared.dropped
        self._had_z += prepared.had_z
        if len(prepared.rows):
            low, high = (
                np.fmin(self._bounds, prepared.bounds),
                np.fmax(self._bounds, prepared.bounds),
            )
            self._bounds = np.concatenate([low[:2], high[2:]])
        for repair in prepared.repairs:
            self.repairs.append(
                {
                    "gid": int(gids[repair.row]),
                    "source_fid": fids[repair.row].as_py(),
                    "reason": repair.reason,
                    "measure_before": repair.before,
                    "measure_after": repair.after,
                }
            )
        for refusal in prepared.refusals:
            values = {
                column.original: batch.column(column.original)[refusal.row].as_py()
                for column in self._columns
            }
            self.quarantined.append(
                {
                    "source_fid": fids[refusal.row].as_py(),
                    "reason": refusal.reason,
                    "geometry": batch.column(GEOMETRY)[refusal.row].as_py(),
                    "attributes": JSONB_VERSION + json_text(values).encode(),
                }
            )
