"""What one pass over the features of a GeoJSON file collects."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.geojson_columns import Column, ColumnType
from geo_etl.vector.formats.geojson_cutter import Pieces
from geo_etl.vector.formats.geojson_features import Features, parse_features
from geo_etl.vector.formats.geojson_geometry import encode_geometries
from geo_etl.vector.formats.geojson_text import Text
from geo_etl.vector.formats.layer import GEOMETRY, OWN_COLUMNS, PROBLEM
from geo_etl.vector.formats.limits import check_feature_limit
from geo_etl.vector.formats.spool import Spool

MAX_COLUMNS = 1600
"""PostgreSQL's limit for a table (its manual, appendix K)."""
MAX_DEGREES = 360
ID = "\ue000id"
"""Name of the column of feature ids in a spool."""
_RESERVED = OWN_COLUMNS | {ID}


class Reading:
    """Features as they come, and what is learnt from them.

    Attributes:
        spool: batches with the attributes, `ID` where there are ids, `PROBLEM` and `GEOMETRY`.
        rows: features so far. problems: those among them that something is wrong with.
        foreign: names of members that are left out.
        crs: the different `crs` members.
    """

    def __init__(self, name: str, spec: VectorSpec) -> None:
        self.spool = Spool()
        self.rows = self.problems = 0
        self.foreign: set[str] = set()
        self.crs: list[Any] = []
        self._name, self._spec = name, spec
        self._columns: dict[str, Column] = {}
        self._ids = Column("id")
        self._with_id = self._truncated = 0
        self._ids_are_properties = True
        self._bounds = np.full(4, np.nan)

    def add(self, text: Text, pieces: Pieces) -> None:
        """Add features.

        Raises:
            SourceError: their JSON is broken, or they are more than is allowed.
        """
        self.rows += len(pieces.texts)
        check_feature_limit(self._name, self.rows, self._spec)
        with _no_garbage_collection():
            batch = self._batch(text, pieces)
        self.spool.write(batch)

    def _batch(self, text: Text, pieces: Pieces) -> pa.RecordBatch:
        features = parse_features(text, pieces)
        arrays = self._attributes(features, pieces)
        encoded = encode_geometries(features.geometries)
        problems = {**encoded.problems, **features.problems}
        reasons = [problems.get(row) for row in range(len(pieces.texts))]
        arrays[PROBLEM] = pa.array(reasons, pa.string())
        arrays[GEOMETRY] = pa.array(encoded.wkb, pa.binary())
        self.problems += len(problems)
        self.foreign |= features.foreign
        for crs in features.crs:
            self.add_crs(crs)
        self._truncated += encoded.truncated
        self._bounds[:2] = np.fmin(self._bounds[:2], encoded.bounds[:2])
        self._bounds[2:] = np.fmax(self._bounds[2:], encoded.bounds[2:])
        return pa.RecordBatch.from_pydict(arrays)

    def add_crs(self, crs: Any) -> None:
        """Note a `crs` member."""
        if crs not in self.crs:
            self.crs.append(crs)

    def bounds(self) -> tuple[float, float, float, float] | None:
        """Of all geometries; None when there are none."""
        xmin, ymin, xmax, ymax = self._bounds.tolist()
        return (xmin, ymin, xmax, ymax) if np.isfinite(self._bounds).all() else None

    @property
    def with_integer_ids(self) -> bool:
        """Whether every feature has an id that is an integer (of at most 64 bits)."""
        return self._with_id == self.rows > 0 and self._ids.type().type in (pa.int32(), pa.int64())

    def columns(self) -> dict[str, ColumnType]:
        """Name in the spool → type of each attribute.

        Ids are an attribute, unless the property `id` of every feature is the same.
        """
        columns = {
            _in_spool(name): replace(column.type(), name=_in_spool(name))
            for name, column in self._columns.items()
        }
        repeated = self._ids_are_properties and self._with_id == self.rows
        if not self._with_id or repeated:
            return columns
        names = ("id", "feature_id", ID)
        free = next(name for name in names if name not in columns)
        return {ID: replace(self._ids.type(), name=free), **columns}

    def remarks(self) -> list[str]:
        """What a person should know of the file."""
        remarks = [column.remark for column in self.columns().values() if column.remark]
        if self.foreign:
            listed = ", ".join(sorted(self.foreign)[:10])
            remarks.append(f"Members outside of properties were left out: {listed}.")
        if self._truncated:
            remarks.append(
                f"{self._truncated} geometries have positions of more than three numbers: the "
                "first three were kept."
            )
        bounds, said = self.bounds(), self.crs or self._spec.converter_params.source_crs
        if bounds and not said and max(map(abs, bounds)) > MAX_DEGREES:
            remarks.append(
                "Its coordinates are too large for degrees, which GeoJSON is in unless it says "
                "otherwise: set converter_params.source_crs if they are in another CRS."
            )
        return remarks

    def _attributes(self, features: Features, pieces: Pieces) -> dict[str, pa.Array]:
        names = dict.fromkeys(chain.from_iterable(features.properties))
        if len(self._columns.keys() | names.keys()) > MAX_COLUMNS:
            raise SourceError(
                self._name,
                f"its features have more than {MAX_COLUMNS:,} different properties",
                "Put what varies from feature to feature into one property that is an object.",
            )
        arrays = {}
        for name in names:
            column = self._columns.setdefault(name, Column(name))
            values = [properties.get(name) for properties in features.properties]
            array = column.encode(values)
            if array.type == pa.float64():
                array = _without_overflow(array, name, features, pieces)
            arrays[_in_spool(name)] = array
        with_id = len(features.ids) - features.ids.count(None)
        if with_id:
            arrays[ID] = self._ids.encode(features.ids)
            own = [properties.get("id") for properties in features.properties]
            self._ids_are_properties &= [*map(repr, own)] == [*map(repr, features.ids)]
            self._with_id += with_id
        return arrays


def _in_spool(name: str) -> str:
    return f"{name}_" if name in _RESERVED else name


def _without_overflow(array: pa.Array, name: str, features: Features, pieces: Pieces) -> pa.Array:
    """Take out numbers that a float64 can't hold: the parser makes infinities of them."""
    infinite = pc.fill_null(pc.is_inf(array), fill_value=False)
    if not pc.any(infinite).as_py():
        return array
    values = array.to_pylist()
    for row in pc.indices_nonzero(infinite).to_pylist():
        if b"Infinity" not in pieces.texts[row]:
            values[row] = None
            features.problems[row] = f"the number in its property '{name}' is too large"
    return pa.array(values, array.type)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Do without, until what was parsed is gone again.

    JSON has no cycles, and looking for some takes four times as long as parsing it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
