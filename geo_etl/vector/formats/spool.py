"""Batches that wait in a temporary file, each with a schema of its own."""

import tempfile
import weakref
from collections.abc import Iterator

import pyarrow as pa


class Spool:
    """An unnamed file of record batches; gone as soon as nobody holds it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="geo_etl-")  # noqa: SIM115 - lives on
        weakref.finalize(self, self._file.close)
        self._ends = [0]

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch."""
        self._file.seek(self._ends[-1])
        with pa.ipc.new_stream(self._file, batch.schema) as writer:
            writer.write_batch(batch)
        self._ends.append(self._file.tell())

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for start, end in zip(self._ends, self._ends[1:], strict=False):
            self._file.seek(start)
            with pa.ipc.open_stream(pa.py_buffer(self._file.read(end - start))) as reader:
                yield reader.read_next_batch()
