"""Geometries of a table's rows, and what CRS they are in.

Text declares a CRS at most by EWKT. Where it does not, coordinates that all lie within ±180 and ±90
are taken for longitudes and latitudes (EPSG:4326), and that is said; others have none.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from pyproj import CRS

from geo_etl.errors import SourceError
from geo_etl.vector.formats.coordinates import Commas, outside_degrees, read_points, shortened
from geo_etl.vector.formats.delimited_columns import (
    CoordinateColumns,
    GeometryColumns,
    WktColumn,
)
from geo_etl.vector.formats.wkt import read_geometries

DEGREES = "EPSG:4326"
_WORLD = np.array([180.0, 90.0, 180.0, 90.0])

Bounds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """What the first pass found of the geometries.

    Attributes:
        count: how many there are. in_degrees: how many of them are within ±180 and ±90.
        bounds: xmin, ymin, xmax, ymax; NaN before there is one.
        srids: SRID → how many declare it; 0 for those that declare none.
        commas: in coordinates.
    """

    count: int = 0
    in_degrees: int = 0
    bounds: Bounds = field(default_factory=lambda: np.full(4, np.nan))
    srids: dict[int, int] = field(default_factory=dict)
    commas: Commas = field(default_factory=Commas)

    def and_(self, other: "Survey") -> "Survey":
        """Both together."""
        srids = dict(self.srids)
        for srid, count in other.srids.items():
            srids[srid] = srids.get(srid, 0) + count
        low = np.fmin(self.bounds[:2], other.bounds[:2])
        high = np.fmax(self.bounds[2:], other.bounds[2:])
        return Survey(
            self.count + other.count,
            self.in_degrees + other.in_degrees,
            np.concatenate([low, high]),
            srids,
            self.commas.and_(other.commas),
        )


@dataclass(frozen=True)
class Settled:
    """How to read the geometries, now that all were seen.

    Attributes:
        crs: None where nothing tells.
    """

    reader: "GeometryReader"
    crs: str | None
    remarks: list[str]


class GeometryReader(ABC):
    """Makes geometries of rows.

    Attributes:
        consumed: position of the column that is the geometry and no attribute; None for none.
    """

    consumed: int | None

    @abstractmethod
    def survey(self, cells: list[pa.Array]) -> Survey:
        """Look at some rows, for `settle`."""

    @abstractmethod
    def settle(self, survey: Survey, name: str, source_crs: str | None) -> Settled:
        """Decide, with what all rows showed.

        Args:
            name: of the source. source_crs: what the spec says.

        Raises:
            SourceError: the rows contradict each other.
        """

    @abstractmethod
    def read(self, cells: list[pa.Array]) -> tuple[pa.Array, dict[int, str]]:
        """WKB of some rows, null where there is none; and row → why it could not be read."""


def reader_for(columns: GeometryColumns, delimiter: str) -> GeometryReader:
    """The reader of the columns that were found."""
    if isinstance(columns, WktColumn):
        return WktReader(columns)
    return CoordinateReader(columns, decimal_comma=delimiter != ",")


@dataclass(frozen=True)
class CoordinateReader(GeometryReader):
    """Points from two columns, which remain attributes.

    Attributes:
        decimal_comma: `52,5` is a number. degrees: larger ones than ±180 and ±90 are wrong.
    """

    columns: CoordinateColumns
    decimal_comma: bool
    degrees: bool = False
    consumed: None = None

    def survey(self, cells: list[pa.Array]) -> Survey:
        """See `GeometryReader`."""
        x, y = self.columns.x, self.columns.y
        x_cells, y_cells = cells[x.index], cells[y.index]
        points = read_points(x_cells, y_cells, x, y, decimal_comma=self.decimal_comma)
        commas = Commas()
        if self.decimal_comma:
            commas = Commas.of(x_cells).and_(Commas.of(y_cells))
        there = np.isfinite(points.x) & np.isfinite(points.y)
        if not there.any():
            return Survey(commas=commas)
        xs, ys = points.x[there], points.y[there]
        inside = (np.abs(xs) <= x.limit) & (np.abs(ys) <= y.limit)
        bounds = np.array([xs.min(), ys.min(), xs.max(), ys.max()])
        return Survey(len(xs), int(inside.sum()), bounds, {}, commas)

    def settle(self, survey: Survey, name: str, source_crs: str | None) -> Settled:
        """See `GeometryReader`."""
        x, y = self.columns.x.column, self.columns.y.column
        named = f"columns '{x}' and '{y}'"
        comma = self._is_decimal_comma(survey.commas, name)
        remarks = [f"Coordinates in {named} have a decimal comma."] if comma else []
        if source_crs is not None:
            crs, degrees = None, _in_degrees(source_crs)
        elif not survey.count:
            crs, degrees = DEGREES, True
        else:
            enough = survey.count / 2 if self.columns.degrees else survey.count - 0.5
            degrees = survey.in_degrees > enough
            crs = DEGREES if degrees else None
            if degrees:
                remarks.append(f"No CRS is declared: {named} were taken as degrees ({DEGREES}).")
        return Settled(replace(self, decimal_comma=comma, degrees=degrees), crs, remarks)

    def _is_decimal_comma(self, commas: Commas, name: str) -> bool:
        if not commas.any or commas.thousands or commas.points:
            return False
        if not (commas.decimal or self.columns.degrees):
            raise SourceError(
                name,
                "the commas in its coordinates may be decimal ones or separate thousands",
                "Write the coordinates with decimal points.",
            )
        return True

    def read(self, cells: list[pa.Array]) -> tuple[pa.Array, dict[int, str]]:
        """See `GeometryReader`."""
        x, y = self.columns.x, self.columns.y
        points = read_points(cells[x.index], cells[y.index], x, y, decimal_comma=self.decimal_comma)
        problems = points.problems
        if self.degrees and (outside := outside_degrees(points, x, y)):
            problems = {**outside, **problems}
            points.x[list(outside)] = np.nan
        return points.wkb(), problems


@dataclass(frozen=True)
class WktReader(GeometryReader):
    """Geometries from a column of WKT, which is no attribute any more."""

    column: WktColumn

    @property
    def consumed(self) -> int:  # type: ignore[override]
        """The column of WKT."""
        return self.column.index

    def survey(self, cells: list[pa.Array]) -> Survey:
        """See `GeometryReader`."""
        found = read_geometries(cells[self.column.index])
        there = ~shapely.is_missing(found.geometries)
        srids, counts = np.unique(found.srids[there], return_counts=True)
        declared = dict(zip(srids.tolist(), counts.tolist(), strict=True))
        bounds = shapely.bounds(found.geometries)
        bounds = bounds[np.isfinite(bounds).all(axis=1)]
        if not len(bounds):
            return Survey(srids=declared)
        inside = (np.abs(bounds) <= _WORLD).all(axis=1)
        total = np.concatenate([bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)])
        return Survey(len(bounds), int(inside.sum()), total, declared)

    def settle(self, survey: Survey, name: str, source_crs: str | None) -> Settled:
        """See `GeometryReader`."""
        declared = sorted(survey.srids.keys() - {0})
        if source_crs is not None:
            return Settled(self, None, [])
        if len(declared) > 1:
            raise SourceError(
                name,
                f"its geometries declare several SRIDs: {', '.join(map(str, declared))}",
                "Deliver a file for each, or set converter_params.source_crs if all are in one.",
            )
        if declared:
            without = survey.srids.get(0, 0)
            remark = f"{without} geometries declare no SRID and were taken as {declared[0]}."
            return Settled(self, f"EPSG:{declared[0]}", [remark] if without else [])
        if survey.in_degrees < survey.count:
            return Settled(self, None, [])
        remark = f"No CRS is declared: '{self.column.column}' was taken as degrees ({DEGREES})."
        return Settled(self, DEGREES, [remark] if survey.count else [])

    def read(self, cells: list[pa.Array]) -> tuple[pa.Array, dict[int, str]]:
        """See `GeometryReader`."""
        column = cells[self.column.index]
        found = read_geometries(column)
        return found.wkb(), {
            row: f"'{shortened(column[row].as_py().strip())}' in column '{self.column.column}' "
            f"{problem}"
            for row, problem in found.unread.items()
        }


def _in_degrees(crs: str) -> bool:
    found = CRS.from_user_input(crs)
    return found.is_geographic and all(axis.unit_name == "degree" for axis in found.axis_info[:2])
