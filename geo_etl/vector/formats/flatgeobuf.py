"""FlatGeobuf (specification 3.x, flatgeobuf.org; header.fbs).

GDAL reads it, but makes floating point numbers of unsigned 64-bit integers, and plain text of JSON,
and does not say so: the header tells which columns these are.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged, text_is_not
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.layer import Layer, pick
from geo_etl.vector.formats.ogr import OgrLayer, spatial_layers

SIGNATURE = b"fgb\x03fgb"
"""Magic bytes; the last of eight is the patch level."""
_PREFIX = 12
"""Bytes before the header: the signature, and the header's size (32 bits)."""
_MAX_HEADER = 10 << 20
"""Bytes; GDAL reads no longer one."""
_COLUMNS, _TYPE = 7, 1
"""Positions of fields in the tables Header and Column."""
_ULONG, _JSON = 8, 12
"""Column types."""
_LARGEST_EXACT = 2.0**53
_FINE_TIME = re.compile(rb":\d\d\.\d{3}\d*[1-9]")
"""Seconds with more than three digits after the point: a timestamp is text in the file."""


@dataclass(frozen=True, kw_only=True)
class FlatGeobufLayer(OgrLayer):
    """The layer of a FlatGeobuf file.

    Attributes:
        types: of the columns, in order, as the header numbers them.
    """

    types: tuple[int, ...] = ()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`."""
        if self.timestamps and _has_fine_times(Path(self.gdal_path)):
            self.remarks.append(
                "Timestamps were read to the millisecond; some in the file have more digits."
            )
        for batch in super().batches():
            yield self._exact(batch)

    def check_complete(self, features: int) -> None:
        """GDAL ends where the file is cut. A streamed file does not declare a count."""
        if self.feature_count not in (-1, features):
            raise damaged(
                self.source,
                f"its header declares {self.feature_count} features; {features} could be read",
            )
        if self.feature_count == -1 and not _ends_after(Path(self.gdal_path), features):
            raise damaged(self.source, f"it is cut off after feature {features}")

    def _exact(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for position, type_ in enumerate(self.types, start=1):
            name, column = batch.schema.names[position], batch.column(position)
            if type_ == _JSON and pa.types.is_string(column.type):
                column = pa.ExtensionArray.from_storage(pa.json_(), column)
            elif type_ == _ULONG:
                column = self._integers(name, column)
            batch = batch.set_column(position, name, column)
        return batch

    def _integers(self, name: str, column: pa.Array) -> pa.Array:
        if (pc.max(column).as_py() or 0) >= _LARGEST_EXACT:
            raise SourceError(
                self.source,
                f"its column '{name}' has unsigned integers above 2^53, which GDAL rounds",
                "Deliver the column as text, or the layer as GeoPackage or GeoParquet.",
            )
        return column.cast(pa.int64())


def open_flatgeobuf(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Open the layer of a FlatGeobuf file.

    Raises:
        SourceError: it is no FlatGeobuf, is damaged, or has no such layer.
    """
    with path.open("rb") as file:
        prefix = file.read(_PREFIX)
        if not prefix.startswith(SIGNATURE):
            raise text_is_not(name, "FlatGeobuf")
        size = int.from_bytes(prefix[8:], "little")
        header = file.read(min(size, _MAX_HEADER))
    if len(header) < size or size == 0:
        raise damaged(name, "its header is cut off, or too long")
    layers = {layer: layer for layer in spatial_layers(str(path), name)}
    if not layers:
        raise damaged(name, "GDAL can't read its header")
    chosen, _ = pick(name, layers, spec.converter_params.layer_name)
    layer = FlatGeobufLayer.opened(
        str(path),
        name,
        format="FlatGeobuf",
        layer=chosen,
        encoding=None,
        size=path.stat().st_size,
    )
    try:
        types = tuple(_column_types(header))
    except (struct.error, IndexError):
        raise damaged(name, "its header is damaged") from None
    return replace(layer, types=types)


def _has_fine_times(path: Path) -> bool:
    with _mapped(path) as content:
        return _FINE_TIME.search(content) is not None


def _ends_after(path: Path, features: int) -> bool:
    """Whether a file without index ends with its last feature; each begins with its size."""
    with _mapped(path) as content:
        position = _PREFIX + int.from_bytes(content[8:_PREFIX], "little")
        for _ in range(features):
            position += 4 + int.from_bytes(content[position : position + 4], "little")
        return position == len(content)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _column_types(header: bytes) -> Iterator[int]:
    start = _field(header, _unsigned(header, 0), _COLUMNS)
    if start is None:
        return
    start += _unsigned(header, start)
    for index in range(_unsigned(header, start)):
        slot = start + 4 * (1 + index)
        place = _field(header, slot + _unsigned(header, slot), _TYPE)
        yield 0 if place is None else header[place]


def _field(header: bytes, table: int, position: int) -> int | None:
    """Where a field of a FlatBuffers table is; None when it has its default.

    The table begins with the distance back to its vtable, which lists the fields' offsets behind
    two sizes, all in 16 bits (FlatBuffers, Internals).
    """
    (distance,) = struct.unpack_from("<i", header, table)
    vtable = table - distance
    if vtable < 0:
        raise IndexError(vtable)
    (size,) = struct.unpack_from("<H", header, vtable)
    slot = 4 + 2 * position
    if slot >= size:
        return None
    (offset,) = struct.unpack_from("<H", header, vtable + slot)
    return table + offset if offset else None


def _unsigned(header: bytes, position: int) -> int:
    (value,) = struct.unpack_from("<I", header, position)
    return int(value)
