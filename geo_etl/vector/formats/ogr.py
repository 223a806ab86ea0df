"""Layers that GDAL reads, as an Arrow stream."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from geo_etl.errors import SourceError
from geo_etl.vector.formats.layer import (
    BATCH_BYTES,
    FID,
    GEOMETRY,
    MAX_BATCH_ROWS,
    OWN_COLUMNS,
    Layer,
)
from geo_etl.vector.gdal import restrict_gdal
from geo_etl.vector.wkb import CURVES, wkb_types

restrict_gdal()

MAX_WARNINGS = 20
"""GDAL may have something to say about every feature; so many are passed on."""
ZONE = r"(Z|[+-]\d{2}:?(\d{2})?)$"
"""How a timestamp with a zone ends (ISO 8601)."""


_ARC = re.compile(
    b"|".join(
        re.escape(b"\x01" + (8 + z).to_bytes(4, "little"))
        + b"|"
        + re.escape(b"\0" + (8 + z).to_bytes(4, "big"))
        for z in (0, 1000, 2000, 3000)
    )
)
"""How a circular string begins in WKB, with or without Z and M (ISO 13249-3)."""


def _has_arc(wkb: bytes) -> bool:
    """Whether a curve is more than the straight lines that it may be made of."""
    return _ARC.search(wkb) is not None


@dataclass(frozen=True, kw_only=True)
class OgrLayer(Layer):
    """A layer that GDAL reads.

    Attributes:
        gdal_path: what GDAL opens.
        source: what to call it in messages.
        fid_column: name of the id column, when the format has one ('' otherwise).
        encoding: of text, where the source does not declare it, or wrongly.
        timestamps: names of the columns that GDAL takes for timestamps.
        columns: names of the columns to read; None for all.
    """

    gdal_path: str
    source: str
    fid_column: str = ""
    encoding: str | None = None
    timestamps: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None

    @classmethod
    def opened(
        cls,
        gdal_path: str,
        source: str,
        *,
        format: str,  # noqa: A002 - as the field
        layer: str | None,
        encoding: str | None,
        size: int,
        **more: Any,
    ) -> Self:
        """The layer with what GDAL says of it, before any feature is read.

        Args:
            layer: name of the layer; None for the only one.
            size: bytes of the source.
            more: fields of a subclass, and those that it knows better than GDAL.

        Raises:
            SourceError: GDAL can't open it.
        """
        remarks: list[str] = []
        with gdal_errors(source), gdal_warnings(remarks):
            info = pyogrio.read_info(gdal_path, layer=layer, encoding=encoding)
        kinds = zip(info["fields"], info["ogr_types"], strict=True)
        facts = {
            "crs": info["crs"],
            "feature_count": int(info["features"]),
            "bounds": _plausible(info["total_bounds"]),
            "timestamps": tuple(str(name) for name, kind in kinds if kind == "OFTDateTime"),
            "remarks": remarks,
        }
        return cls(
            format=format,
            name=info["layer_name"],
            bytes=size,
            gdal_path=gdal_path,
            source=source,
            fid_column=info["fid_column"],
            encoding=encoding,
            **(facts | more),
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`. Curves come as lines and polygons that GDAL approximates them by."""
        rows, curves = MAX_BATCH_ROWS, 0
        if self.feature_count > 0:
            rows = max(64, min(rows, BATCH_BYTES * self.feature_count // max(self.bytes, 1)))
        zones = self._zones()
        with (
            gdal_errors(self.source),
            self._stream(self.columns, batch_size=rows, datetime_as_string=bool(zones)) as reader,
        ):
            for batch in self._read(reader):
                typed = _timestamps(batch, zones)
                linear, found = self._linear(_rename(typed, self.fid_column))
                curves += found
                yield linear
        if curves:
            self.remarks.append(f"{curves} curved geometries were approximated by straight lines.")

    @contextmanager
    def _stream(
        self, columns: Sequence[str] | None, **options: Any
    ) -> Iterator[pa.RecordBatchReader]:
        with gdal_warnings(self.remarks):
            stream = pyogrio.raw.open_arrow(
                self.gdal_path,
                layer=self.name,
                encoding=self.encoding,
                columns=columns if columns is None else list(columns),
                return_fids=True,
                use_pyarrow=True,
                **options,
            )
            _, reader = stream.__enter__()
        try:
            yield reader
        finally:
            stream.__exit__(None, None, None)

    def _read(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            with gdal_warnings(self.remarks):
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    def _zones(self) -> dict[str, pa.DataType]:
        """Type of each timestamp column, by all of its values.

        Of a column in which only some values have a zone, GDAL's Arrow stream drops the zones;
        of FlatGeobuf it drops all of them.
        """
        if not self.timestamps:
            return {}
        zoned, values = dict.fromkeys(self.timestamps, 0), dict.fromkeys(self.timestamps, 0)
        with (
            gdal_errors(self.source),
            self._stream(self.timestamps, read_geometry=False, datetime_as_string=True) as reader,
        ):
            for batch in self._read(reader):
                for name in self.timestamps:
                    column = batch.column(name)
                    values[name] += len(column) - column.null_count
                    zoned[name] += pc.sum(pc.match_substring_regex(column, ZONE)).as_py() or 0
        types: dict[str, pa.DataType] = {}
        for name in self.timestamps:
            types[name] = pa.timestamp("ms", "UTC" if zoned[name] else None)
            if 0 < zoned[name] < values[name]:
                types[name] = pa.string()
                self.remarks.append(mixed_zones(name, zoned[name], values[name]))
        return types

    def _linear(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        """Replace curves. GDAL's Arrow stream has them as they are, its features linearised."""
        curves = np.flatnonzero(np.isin(wkb_types(batch.column(GEOMETRY)), CURVES))
        if not len(curves):
            return batch, 0
        position = batch.schema.get_field_index(GEOMETRY)
        fids = batch.column(FID).take(pa.array(curves)).to_numpy()
        with gdal_warnings(self.remarks):
            _, _, linear, _ = pyogrio.raw.read(
                self.gdal_path, layer=self.name, columns=[], fids=fids
            )
        wkb = batch.column(position).to_pylist()
        for row, geometry in zip(curves, linear, strict=True):
            wkb[row] = geometry
        arcs = sum(_has_arc(batch.column(position)[int(row)].as_py()) for row in curves)
        return batch.set_column(position, GEOMETRY, pa.array(wkb, pa.binary())), arcs


def attribute_name(name: str) -> str:
    """Name of an attribute in a batch: its own, unless a layer's own column is called so."""
    return f"{name}_" if name in OWN_COLUMNS else name


def mixed_zones(column: str, zoned: int, values: int) -> str:
    """The remark for a timestamp column that no type of PostgreSQL takes as it is."""
    return (
        f"Of the {values} timestamps in column '{column}' {zoned} have a zone and "
        f"{values - zoned} have none: it was read as text."
    )


def spatial_layers(gdal_path: str, name: str) -> list[str]:
    """Names of the layers that have geometries."""
    with gdal_errors(name), gdal_warnings([]):
        return [str(layer) for layer, kind in pyogrio.list_layers(gdal_path) if kind]


@contextmanager
def gdal_errors(name: str) -> Iterator[None]:
    """Say what GDAL can't read in the words of a `SourceError`."""
    try:
        yield
    except UnboundLocalError as error:  # of pyogrio, where the text of a CRS is no UTF-8
        raise SourceError(
            name,
            "the text of its CRS can't be read",
            "Deliver the .prj again, or leave it out and set converter_params.source_crs.",
        ) from error
    except (
        DataSourceError,
        DataLayerError,
        pa.ArrowException,
        UnicodeDecodeError,
        OSError,
        MemoryError,
    ) as error:
        said = re.sub(r"\s*(It might help|;? ?please).*", "", str(error), flags=re.DOTALL)
        raise SourceError(
            name,
            f"GDAL can't read it: {said.strip(' .;') or type(error).__name__}",
            "Deliver the file again.",
        ) from error


@contextmanager
def gdal_warnings(remarks: list[str]) -> Iterator[None]:
    """Make remarks of what GDAL warns about: a field that it skips, a value that it changes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        said = f"GDAL: {str(warning.message).rstrip('.')}."
        heard = sum(remark.startswith("GDAL: ") for remark in remarks)
        if heard == MAX_WARNINGS:
            remarks.append("GDAL: more of that kind.")
        elif heard < MAX_WARNINGS and said not in remarks:
            remarks.append(said)


def _plausible(bounds: tuple[float, float, float, float] | None) -> Any:
    """Bounds as a file declares them; None for those that can't be."""
    if bounds is None or not np.isfinite(bounds).all():
        return None
    return bounds if bounds[0] <= bounds[2] and bounds[1] <= bounds[3] else None


def _timestamps(batch: pa.RecordBatch, types: dict[str, pa.DataType]) -> pa.RecordBatch:
    for position, field in enumerate(batch.schema):
        if field.name in types:
            column = batch.column(position).cast(types[field.name])
            batch = batch.set_column(position, field.name, column)
    return batch


def _rename(batch: pa.RecordBatch, own_fid: str) -> pa.RecordBatch:
    # GDAL puts the feature id first and the geometry last. Names would not do: an attribute
    # may be called like either.
    attributes = [attribute_name(name) for name in batch.schema.names]
    batch = batch.rename_columns([FID, *attributes[1:-1], GEOMETRY])
    for position, field in enumerate(batch.schema):
        if pa.types.is_dictionary(field.type):
            # A coded domain (GeoPackage): the codes are the values, the dictionary their labels.
            batch = batch.set_column(position, field.name, batch.column(position).indices)
    if own_fid and own_fid not in batch.schema.names:
        # The format keeps ids of its own (GeoPackage): they are data, and stay as a column.
        batch = batch.add_column(1, own_fid, batch.column(0))
    return batch
