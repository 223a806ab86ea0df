"""GeoParquet 0.4 to 1.1, and Parquet that holds geometries in other ways.

GDAL is often built without Parquet; pyarrow reads it. Row groups are streamed, so that memory does
not depend on their size.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import check_size, damaged, text_is_not
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.geoparquet_geometry import GeometryColumn, find_geometry, native_wkb
from geo_etl.vector.formats.layer import (
    BATCH_BYTES,
    FID,
    GEOMETRY,
    MAX_BATCH_ROWS,
    PROBLEM,
    Layer,
    pick,
)
from geo_etl.vector.formats.ogr import attribute_name

SIGNATURE = b"PAR1"
"""How a file begins, and ends (Parquet format, File Format)."""
BATCH_LIMIT = 4 * BATCH_BYTES
"""Bytes of text and binary in one batch. One value of a dictionary may stand in every row: a
kilobyte of file can hold terabytes of text."""
_STRING_BYTES, _CONTAINER_ITEMS = 100_000_000, 10_000_000
"""Limits on a footer's texts and lists."""
_NANOSECONDS = 1000
"""In a microsecond, the finest that PostgreSQL has."""


@dataclass(frozen=True, kw_only=True)
class GeoParquetLayer(Layer):
    """The features of a Parquet file."""

    path: Path
    source: str
    geometry: GeometryColumn

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`."""
        rows = BATCH_BYTES * self.feature_count // max(self.bytes, 1)
        fid, unreadable = 0, self.geometry.native is not None
        with _parquet_errors(self.source), _opened(self.path) as file:
            fine = self._fine_timestamps(file)
            reader = file.iter_batches(batch_size=max(64, min(rows, MAX_BATCH_ROWS)))
            for batch in reader:
                for part in _bounded(batch, self.source):
                    yield self._features(part, fid, fine, with_problem=unreadable)
                    fid += part.num_rows

    def check_complete(self, features: int) -> None:
        """The footer's number of rows is part of the format."""
        if features != self.feature_count:
            raise damaged(
                self.source, f"it declares {self.feature_count} rows; {features} could be read"
            )

    def _fine_timestamps(self, file: pq.ParquetFile) -> frozenset[str]:
        """Columns with timestamps that PostgreSQL would round: they are read as text."""
        found = []
        for field in file.schema_arrow:
            if not (pa.types.is_timestamp(field.type) and field.type.unit == "ns"):
                continue
            for batch in file.iter_batches(batch_size=MAX_BATCH_ROWS, columns=[field.name]):
                moments = batch.column(0).drop_null().view(pa.int64()).to_numpy()
                if (moments % _NANOSECONDS).any():
                    found.append(field.name)
                    self.remarks.append(
                        f"Column '{field.name}' has timestamps finer than a microsecond: it was "
                        "read as text."
                    )
                    break
        return frozenset(found)

    def _features(
        self, batch: pa.RecordBatch, first: int, fine: frozenset[str], *, with_problem: bool
    ) -> pa.RecordBatch:
        geometry = self.geometry
        names, arrays = [FID], [pa.array(np.arange(first, first + batch.num_rows))]
        for position, field in enumerate(batch.schema):
            if position == geometry.position or field.name in geometry.covering:
                continue
            array = batch.column(position)
            names.append(attribute_name(field.name))
            arrays.append(_iso(array) if field.name in fine else array)
        wkb, problems = batch.column(geometry.position), None
        if geometry.native is not None:
            wkb, problems = native_wkb(wkb, geometry.native)
        names.append(GEOMETRY)
        arrays.append(wkb if pa.types.is_binary(wkb.type) else wkb.cast(pa.binary()))
        if with_problem:
            names.append(PROBLEM)
            arrays.append(problems)
        return pa.RecordBatch.from_arrays(arrays, names=names)


def open_geoparquet(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Open a Parquet file with geometries.

    Raises:
        SourceError: it is no Parquet, is damaged, or nothing in it is a geometry.
    """
    with path.open("rb") as file:
        begin = file.read(len(SIGNATURE))
        file.seek(-len(SIGNATURE), 2) if path.stat().st_size > len(SIGNATURE) else None
        end = file.read()
    if begin != SIGNATURE:
        raise text_is_not(name, "Parquet")
    if end != SIGNATURE:
        raise damaged(name, "it is cut off")
    stem = PurePosixPath(name).stem
    pick(name, {stem: None}, spec.converter_params.layer_name)
    with _parquet_errors(name), _opened(path) as parquet:
        geometry = find_geometry(parquet, name)
        size = _uncompressed(parquet, name)
        features = parquet.metadata.num_rows
    check_size(name, size, spec)
    return GeoParquetLayer(
        format="GeoParquet" if geometry.declared else "Parquet",
        name=stem,
        crs=geometry.crs,
        feature_count=features,
        bytes=size,
        bounds=geometry.bounds,
        remarks=list(geometry.remarks),
        path=path,
        source=name,
        geometry=geometry,
    )


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    options: dict[str, Any] = {
        # A buffer streams column chunks; they would be read whole without.
        "buffer_size": 1 << 20,
        "pre_buffer": False,
        "coerce_int96_timestamp_unit": "us",
        "thrift_string_size_limit": _STRING_BYTES,
        "thrift_container_size_limit": _CONTAINER_ITEMS,
        "page_checksum_verification": True,
    }
    with pq.ParquetFile(path, **options) as file:
        columns = [file.schema.column(index) for index in range(len(file.schema))]
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    with pq.ParquetFile(path, read_dictionary=texts, **options) as file:
        yield file


def _uncompressed(file: pq.ParquetFile, name: str) -> int:
    """Bytes that the file has at least when it is unpacked.

    Of its row groups alone: pyarrow 26 ends the whole process when the statistics of a column
    chunk contradict the schema and are looked at.

    Raises:
        SourceError: the footer contradicts itself.
    """
    metadata = file.metadata
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    if rows != metadata.num_rows or min((group.num_rows for group in groups), default=0) < 0:
        raise damaged(name, f"its row groups have {rows} rows, its footer says {metadata.num_rows}")
    widths = [field.type.bit_width for field in file.schema_arrow if _has_width(field.type)]
    return int(max(sum(group.total_byte_size for group in groups), rows * sum(widths) // 8))


def _has_width(type_: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(type_))


def _bounded(batch: pa.RecordBatch, source: str) -> Iterator[pa.RecordBatch]:
    """Parts of a batch that are small also when their dictionaries are unpacked."""
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        sizes += _value_bytes(column)
    if len(sizes) and sizes.max() > BATCH_LIMIT:
        raise SourceError(
            source,
            f"a feature of it has {sizes.max():,} bytes",
            "Deliver the file with smaller values.",
        )
    groups = np.cumsum(sizes) // BATCH_LIMIT
    ends = [*(np.flatnonzero(np.diff(groups)) + 1).tolist(), batch.num_rows]
    start = 0
    for end in ends:
        part = batch.slice(start, end - start)
        yield pa.RecordBatch.from_arrays(
            [_unpacked(column) for column in part.columns], names=part.schema.names
        )
        start = end


def _value_bytes(array: pa.Array) -> Any:
    """Bytes of each row's text and binary, also in lists and structs (n)."""
    nothing = np.zeros(len(array), dtype=np.int64)
    if isinstance(array, pa.ExtensionArray):
        return _value_bytes(array.storage)
    if pa.types.is_dictionary(array.type) and not pa.types.is_primitive(array.type.value_type):
        lengths = pc.binary_length(array.dictionary).take(array.indices)
        return pc.fill_null(lengths, 0).to_numpy().astype(np.int64)
    if pa.types.is_struct(array.type):
        return sum((_value_bytes(child) for child in array.flatten()), start=nothing)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        rows = pc.list_parent_indices(array).to_numpy()
        sizes = _value_bytes(array.flatten())
        return np.bincount(rows, sizes, len(array)).astype(np.int64)
    if pa.types.is_map(array.type):
        return _value_bytes(array.cast(pa.list_(array.type.field(0))))
    return nothing


def _unpacked(array: pa.Array) -> pa.Array:
    """An array without dictionaries and views, which not every operation takes."""
    plain = _plain_type(array.type)
    return array if array.type == plain else array.cast(plain)


def _plain_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return _plain_type(type_.value_type)
    if pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_binary_view(type_):
        return pa.binary()
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(_plain_type(type_.key_type), _plain_type(type_.item_type))
    if pa.types.is_large_list(type_):
        return pa.large_list(type_.value_field.with_type(_plain_type(type_.value_type)))
    if pa.types.is_list(type_):
        return pa.list_(type_.value_field.with_type(_plain_type(type_.value_type)))
    return type_


def _iso(array: pa.Array) -> pa.Array:
    """Timestamps of nanoseconds as text, digit by digit (ISO 8601)."""
    return pc.replace_substring(array.cast(pa.string()), " ", "T")


@contextmanager
def _parquet_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError, OverflowError) as error:
        said = re.sub(r"\s+", " ", str(error)).strip(" .")
        raise damaged(
            name, f"Parquet's reader can't read it: {said or type(error).__name__}"
        ) from error
