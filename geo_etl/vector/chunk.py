"""One pass over a source: features become numbered chunks in Arrow IPC files.

The pass is streamed. Besides the files it yields what only a full pass can tell: how many
features there are, of which kinds, and the columns.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from geo_etl.errors import GeometryError, SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.layer import GEOMETRY, OWN_COLUMNS, PROBLEM, Layer
from geo_etl.vector.formats.limits import check_feature_limit
from geo_etl.vector.grouping import grouping_of
from geo_etl.vector.rules import RulePlan, plan_rules
from geo_etl.vector.wkb import FAMILIES, MAX_DEPTH, too_deep, wkb_families

ORDINAL = "\ue000ordinal"
"""Name of the column of a chunk with each feature's number in the source, from 1 (int64)."""
FROM_QUARANTINE = ("geo_etl_fid", "geo_etl_job_id", "geo_etl_source_fid", "geo_etl_reason")
"""Columns that an export of quarantined features has beside the source's; they are not loaded."""
CORRECTED = frozenset(FROM_QUARANTINE[1:3])
"""Those of them that tell which features came again."""
TARGET_BYTES = 64_000_000
"""Arrow bytes a task aims at: seconds of work, a few hundred megabytes of memory."""
MIN_BYTES = 8_000_000
"""Below this a task's start costs more than its work: no use in splitting."""
GROUP_BYTES = 4 * TARGET_BYTES
"""Above this a group of features (a cell of a grid, a value) is more than one task."""
MAX_TASKS = 200
NO_FAMILY = -1

SUFFIXES = {"Point": "_point", "LineString": "_line", "Polygon": "_polygon"}
"""Of the tables that a mixed layer is split into; collections get `_collection`."""

OpenChunk = Callable[[int], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class Chunk:
    """One task's worth of features. `part` is a position in the scan's parts."""

    index: int
    part: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class Part:
    """Features that go into one table: all, or those of one kind when a mixed layer is split.

    Attributes:
        suffix: of the table's name; '' for all features.
        geometry_type: of the table's column: a Multi type, `GeometryCollection` or `Geometry`.
    """

    suffix: str
    geometry_type: str


@dataclass(frozen=True)
class Scan:
    """What one pass over a source found.

    Attributes:
        corrects: whether these are features of other sources, quarantined once.
    """

    parts: list[Part]
    chunks: list[Chunk]
    rules: RulePlan
    corrects: bool

    @property
    def features_read(self) -> int:
        """Number of features in the source."""
        return sum(chunk.rows for chunk in self.chunks)


def automatic_chunk_size(features: int, bytes_per_feature: float) -> int:
    """Features a task, from the size of the first batch.

    At least two tasks a core once there is enough work, at most `MAX_TASKS`.
    """
    total = max(features, 1) * bytes_per_feature
    spread = min(2 * (os.cpu_count() or 1), int(total // MIN_BYTES))
    tasks = max(1, spread, round(total / TARGET_BYTES))
    return max(1, -(-max(features, 1) // min(tasks, MAX_TASKS)))


def write_chunks(layer: Layer, name: str, spec: VectorSpec, open_chunk: OpenChunk) -> Scan:
    """Read a layer once and write its chunks.

    Args:
        open_chunk: gives the file to write chunk `index` to.

    Raises:
        SourceError: unreadable, empty, or above `limits.max_features`.
        GeometryError: points, lines and polygons are mixed and the spec does not allow it.
    """
    split = spec.geometry_params.mixed_geometry == "split"
    counts = np.zeros(len(FAMILIES), dtype=np.int64)
    rows = missing = 0
    rules: RulePlan | None = None
    corrects = False
    grouping = grouping_of(layer, name, spec, MAX_TASKS)
    with _Writers(open_chunk) as writers:
        for read in layer.batches():
            batch = _without_deep(read)
            if rules is None:
                corrects = CORRECTED.issubset(batch.schema.names)
                rules = plan_rules(_attributes(batch.schema), spec, name)
                size = _chunk_size(spec, max(layer.feature_count, batch.num_rows), batch)
            families = wkb_families(batch.column(GEOMETRY))
            counts += np.bincount(families[families >= 0], minlength=len(counts))
            missing += _without_geometry(batch, families)
            ordinals = pa.array(np.arange(rows + 1, rows + batch.num_rows + 1))
            rows += batch.num_rows
            check_feature_limit(name, rows, spec)
            _write(
                writers,
                batch.append_column(ORDINAL, ordinals),
                families if split else None,
                grouping.groups(batch) if grouping is not None else None,
                size,
            )
    layer.check_complete(rows)
    if rules is None or not rows:
        raise SourceError(name, "its layer has no features", "Deliver data.")
    if missing == rows:
        raise SourceError(
            name, f"none of its {rows} features has a geometry", "Deliver the geometries."
        )
    if grouping is not None:
        layer.remarks.extend(grouping.remarks)
    parts, place = _parts(name, counts, spec)
    chunks = [
        Chunk(written.index, place.get(written.family, 0), written.rows, written.bytes)
        for written in sorted(writers.written, key=lambda written: written.index)
    ]
    return Scan(parts, chunks, rules, corrects)


def _without_deep(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Take geometries away that would exhaust the stack of whoever reads them."""
    deep = too_deep(batch.column(GEOMETRY))
    if not len(deep):
        return batch
    nested = np.isin(np.arange(batch.num_rows), deep)
    geometries = pc.if_else(pa.array(nested), None, batch.column(GEOMETRY))
    position = batch.schema.get_field_index(GEOMETRY)
    batch = batch.set_column(position, batch.schema.field(position), geometries)
    reason = pa.scalar(f"its collections are nested over {MAX_DEPTH} deep")
    said = pc.if_else(pa.array(nested), reason, pa.scalar(None, pa.string()))
    if PROBLEM not in batch.schema.names:
        return batch.append_column(PROBLEM, said)
    position = batch.schema.get_field_index(PROBLEM)
    problems = pc.coalesce(batch.column(PROBLEM), said)
    return batch.set_column(position, batch.schema.field(position), problems)


def _without_geometry(batch: pa.RecordBatch, families: npt.NDArray[np.int8]) -> int:
    """Features that have none. One that could not be read is not among them."""
    absent = families < 0
    if PROBLEM in batch.schema.names:
        absent &= batch.column(PROBLEM).is_null().to_numpy(zero_copy_only=False)
    return int(absent.sum())


def _write(
    writers: "_Writers",
    batch: pa.RecordBatch,
    families: npt.NDArray[np.int8] | None,
    groups: npt.NDArray[np.int64] | None,
    size: int,
) -> None:
    """Hand each feature to the writer of its kind and its group."""
    if families is None and groups is None:
        writers.write(NO_FAMILY, 0, batch, size)
        return
    zeros = np.zeros(batch.num_rows, dtype=np.int64)
    keys = np.column_stack(
        [zeros + NO_FAMILY if families is None else families, zeros if groups is None else groups]
    )
    distinct, which = np.unique(keys, axis=0, return_inverse=True)
    for position, (family, group) in enumerate(distinct.tolist()):
        rows = np.flatnonzero(which.reshape(-1) == position)
        writers.write(family, group, batch.take(pa.array(rows)), size)


def _chunk_size(spec: VectorSpec, features: int, batch: pa.RecordBatch) -> int:
    bytes_each = batch.nbytes / max(batch.num_rows, 1)
    if spec.chunk_size is not None:
        return max(spec.chunk_size, -(-features // MAX_TASKS))
    if spec.chunk_by != "features":
        return max(1, int(GROUP_BYTES / max(bytes_each, 1)))
    return automatic_chunk_size(features, bytes_each)


def read_chunk(file: pa.NativeFile | BinaryIO) -> Iterator[pa.RecordBatch]:
    """Batches of one chunk file."""
    with pa.ipc.open_stream(file) as reader:
        yield from reader


def _attributes(schema: pa.Schema) -> pa.Schema:
    others = OWN_COLUMNS.union(FROM_QUARANTINE)
    return pa.schema([field for field in schema if field.name not in others])


def _parts(
    name: str, counts: npt.NDArray[np.int64], spec: VectorSpec
) -> tuple[list[Part], dict[int, int]]:
    """The tables that features go into, and family → position among them."""
    kinds = np.flatnonzero(counts).tolist()
    if spec.geometry_params.mixed_geometry == "split" and len(kinds) > 1:
        parts = [
            Part(SUFFIXES.get(FAMILIES[kind], "_collection"), _multi(FAMILIES[kind]))
            for kind in kinds
        ]
        return parts, {kind: position for position, kind in enumerate(kinds)}
    return [Part("", _table_type(name, kinds, counts, spec))], {}


def _multi(family: str) -> str:
    return family if family == "GeometryCollection" else f"Multi{family}"


def _table_type(
    name: str, kinds: list[int], counts: npt.NDArray[np.int64], spec: VectorSpec
) -> str:
    if len(kinds) == 1:
        return _multi(FAMILIES[kinds[0]])
    if not kinds or spec.geometry_params.mixed_geometry == "any":
        return "Geometry"
    found = ", ".join(f"{counts[kind]} {FAMILIES[kind]}" for kind in kinds)
    raise GeometryError(
        name,
        f"its layer mixes kinds of geometry: {found} (each with its Multi type)",
        "Set geometry_params.mixed_geometry: split makes a table for each kind, any one table "
        "that takes them all.",
    )


@dataclass(frozen=True)
class _Written:
    """One chunk file that is complete, and what kind of features is in it."""

    index: int
    family: int
    rows: int
    bytes: int


class _Writers:
    """Cuts streams of batches, one for each kind and group, into files. Closes what is open."""

    def __init__(self, open_chunk: OpenChunk) -> None:
        self.written: list[_Written] = []
        self._open_chunk = open_chunk
        self._streams: dict[tuple[int, int], _Stream] = {}
        self._next_index = 0

    def write(self, family: int, group: int, batch: pa.RecordBatch, size: int) -> None:
        """Append features to the open file of their kind and group; at most `size` a file."""
        start, key = 0, (family, group)
        while start < batch.num_rows:
            stream = self._streams.get(key)
            if stream is None:
                stream = _Stream(self._next_index, family, self._open_chunk, batch.schema)
                self._streams[key] = stream
                self._next_index += 1
            part = batch.slice(start, size - stream.rows)
            stream.write(part)
            start += part.num_rows
            if stream.rows == size:
                self._close(key)

    def __enter__(self) -> "_Writers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with ExitStack() as abandoned:
            for stream in self._streams.values():
                abandoned.push(stream.file)
            if kind is not None:
                abandoned.__exit__(kind, error, traceback)
                return
            abandoned.pop_all()
        for key in list(self._streams):
            self._close(key)

    def _close(self, key: tuple[int, int]) -> None:
        self.written.append(self._streams.pop(key).close())


class _Stream:
    """One chunk file in the making."""

    def __init__(self, index: int, family: int, open_chunk: OpenChunk, schema: pa.Schema) -> None:
        self.rows = 0
        self.file = ExitStack()
        self._index, self._family, self._bytes = index, family, 0
        self._writer = pa.ipc.new_stream(self.file.enter_context(open_chunk(index)), schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self.rows += batch.num_rows
        self._bytes += batch.nbytes

    def close(self) -> _Written:
        self._writer.close()
        self.file.close()
        return _Written(self._index, self._family, self.rows, self._bytes)
