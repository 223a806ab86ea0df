"""Chunks by what features have in common: a cell of a grid, or the value of an attribute."""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.layer import GEOMETRY, OWN_COLUMNS, Layer
from geo_etl.vector.wkb import unreadable

Bounds = npt.NDArray[np.float64]


class Grouping(ABC):
    """Says which group each feature belongs to.

    Attributes:
        remarks: what a person should know; complete after the last batch.
    """

    def __init__(self) -> None:
        self.remarks: list[str] = []

    @abstractmethod
    def groups(self, batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """Group of each feature, from 0."""


def grouping_of(layer: Layer, name: str, spec: VectorSpec, limit: int) -> Grouping | None:
    """How a spec wants features grouped; None when it does not care.

    Args:
        limit: largest number of groups.

    Raises:
        SourceError: the source has no such attribute (when the first batch comes).
    """
    if spec.chunk_grid is not None:
        rows, columns = spec.chunk_grid.rows, spec.chunk_grid.cols
        bounds = np.array(layer.bounds) if layer.bounds is not None else _scan_bounds(layer)
        return _Cells(bounds, rows, columns)
    if spec.chunk_attribute is not None:
        return _Values(name, spec.chunk_attribute, limit)
    return None


class _Cells(Grouping):
    """By the cell that the centre of a feature's bounds lies in."""

    def __init__(self, bounds: Bounds, rows: int, columns: int) -> None:
        super().__init__()
        self._low, self._high = bounds[:2], bounds[2:]
        self._cells = np.array([columns, rows])

    def groups(self, batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        bounds = _bounds(batch)
        centres = (bounds[:, :2] + bounds[:, 2:]) / 2
        size = np.where(self._high > self._low, self._high - self._low, 1.0)
        with np.errstate(invalid="ignore", over="ignore"):
            cell = np.floor((centres - self._low) / size * self._cells)
        # Declared bounds may be wrong, and a feature without geometry has none.
        cell = np.clip(np.nan_to_num(cell), 0, self._cells - 1).astype(np.int64)
        numbers: npt.NDArray[np.int64] = cell[:, 1] * self._cells[0] + cell[:, 0]
        return numbers


class _Values(Grouping):
    """By the value of an attribute; beyond `limit` values some share a group."""

    def __init__(self, name: str, attribute: str, limit: int) -> None:
        super().__init__()
        self._name, self._attribute, self._limit = name, attribute, limit
        self._numbers: dict[object, int] = {}

    def groups(self, batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        if self._attribute not in batch.schema.names:
            listed = ", ".join(n for n in batch.schema.names if n not in OWN_COLUMNS)
            raise SourceError(
                self._name,
                f"it has no attribute '{self._attribute}' to make chunks by",
                f"Set chunk_attribute to one of: {listed}.",
            )
        encoded = pc.dictionary_encode(
            batch.column(self._attribute).cast(pa.string()), null_encoding="encode"
        )
        numbers = []
        for value in encoded.dictionary.to_pylist():
            number = self._numbers.setdefault(value, len(self._numbers))
            if number == self._limit:
                self.remarks.append(
                    f"'{self._attribute}' has more than {self._limit} values: some share a task."
                )
            numbers.append(number % self._limit)
        groups: npt.NDArray[np.int64] = np.array(numbers)[encoded.indices.to_numpy()]
        return groups


def _bounds(batch: pa.RecordBatch) -> Bounds:
    """xmin, ymin, xmax, ymax of each feature (n × 4); NaN for none."""
    wkb = batch.column(GEOMETRY)
    raw = np.where(unreadable(wkb), None, wkb.to_numpy(zero_copy_only=False))
    geometries = shapely.from_wkb(raw, on_invalid="ignore")
    found: Bounds = shapely.bounds(geometries)
    return found


def _scan_bounds(layer: Layer) -> Bounds:
    """Bounds of a layer that does not declare them, by reading it once more."""
    total, remarks = np.full(4, np.nan), list(layer.remarks)
    for batch in layer.batches():
        bounds = _bounds(batch)
        bounds = bounds[np.isfinite(bounds).all(axis=1)]
        if len(bounds):
            total[:2] = np.fmin(total[:2], bounds[:, :2].min(axis=0))
            total[2:] = np.fmax(total[2:], bounds[:, 2:].max(axis=0))
    layer.remarks[:] = remarks  # the same is said again by the reading that counts
    known: Bounds = np.nan_to_num(total)
    return known
