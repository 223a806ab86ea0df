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

from geo_etl.errors import GeometryError, SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.attributes import Column, plan_columns
from geo_etl.vector.source import FID, GEOMETRY, Layer, check_complete, check_feature_limit
from geo_etl.vector.wkb import FAMILIES, wkb_families

TARGET_BYTES = 64_000_000
"""Arrow bytes a task aims at: seconds of work, a few hundred megabytes of memory."""
MIN_BYTES = 8_000_000
"""Below this a task's start costs more than its work: no use in splitting."""
MAX_TASKS = 200

OpenChunk = Callable[[int], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class Chunk:
    """One task's worth of features: rows `first_row` … `first_row + rows - 1` of the source."""

    index: int
    first_row: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class Scan:
    """What one pass over a source found."""

    chunks: list[Chunk]
    columns: list[Column]
    geometry_type: str
    warnings: list[str]

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
    families = np.zeros(len(FAMILIES), dtype=np.int64)
    missing = 0
    columns: list[Column] | None = None
    size: int | None = None
    with _Writer(open_chunk) as writer:
        for batch in layer.batches():
            if columns is None:
                columns = plan_columns(_attributes(batch.schema))
            if size is None:
                size = _chunk_size(spec, max(layer.feature_count, batch.num_rows), batch)
            found = wkb_families(batch.column(GEOMETRY))
            families += np.bincount(found[found >= 0], minlength=len(families))
            missing += int((found < 0).sum())
            writer.write(batch, size)
            check_feature_limit(name, writer.rows, spec)
    chunks = writer.chunks
    warnings = check_complete(layer, name, writer.rows)
    if columns is None or not chunks:
        raise SourceError(name, "its layer has no features", "Deliver data.")
    if missing == writer.rows:
        raise SourceError(
            name, f"none of its {writer.rows} features has a geometry", "Deliver the geometries."
        )
    return Scan(chunks, columns, _table_type(name, families, spec), warnings)


def _chunk_size(spec: VectorSpec, features: int, batch: pa.RecordBatch) -> int:
    if spec.chunk_size is None:
        return automatic_chunk_size(features, batch.nbytes / max(batch.num_rows, 1))
    return max(spec.chunk_size, -(-features // MAX_TASKS))


def read_chunk(file: pa.NativeFile | BinaryIO) -> Iterator[pa.RecordBatch]:
    """Batches of one chunk file."""
    with pa.ipc.open_stream(file) as reader:
        yield from reader


def _attributes(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name not in (FID, GEOMETRY)])


def _table_type(name: str, families: npt.NDArray[np.int64], spec: VectorSpec) -> str:
    kinds = np.flatnonzero(families)
    if len(kinds) == 1:
        family = FAMILIES[int(kinds[0])]
        return family if family == "GeometryCollection" else f"Multi{family}"
    if spec.geometry_params.mixed_geometry == "any":
        return "Geometry"
    found = ", ".join(f"{families[kind]} {FAMILIES[kind]}" for kind in kinds)
    raise GeometryError(
        name,
        f"its layer mixes kinds of geometry: {found} (each with its Multi type)",
        "Set geometry_params.mixed_geometry to any for one table that takes them all, or deliver "
        "a layer a kind.",
    )


class _Writer:
    """Cuts a stream of batches into files. A context manager: closes what is open."""

    def __init__(self, open_chunk: OpenChunk) -> None:
        self.rows = 0
        self.chunks: list[Chunk] = []
        self._open_chunk = open_chunk
        self._file = ExitStack()
        self._stream: pa.ipc.RecordBatchStreamWriter | None = None
        self._open_rows = 0
        self._open_bytes = 0

    def write(self, batch: pa.RecordBatch, size: int) -> None:
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, size - self._open_rows)
            if self._stream is None:
                file = self._file.enter_context(self._open_chunk(len(self.chunks)))
                self._stream = pa.ipc.new_stream(file, batch.schema)
            self._stream.write_batch(part)
            self.rows += part.num_rows
            self._open_rows += part.num_rows
            self._open_bytes += part.nbytes
            start += part.num_rows
            if self._open_rows == size:
                self._close()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._stream is not None:
            self._close()
        self._file.__exit__(kind, error, traceback)

    def _close(self) -> None:
        assert self._stream is not None
        self._stream.close()
        self._file.close()
        first_row = self.rows - self._open_rows
        self.chunks.append(Chunk(len(self.chunks), first_row, self._open_rows, self._open_bytes))
        self._stream, self._open_rows, self._open_bytes = None, 0, 0
