"""Which columns of a table hold its geometry.

Columns that the spec names; else those with a usual name, whole and in any case: a word that only
contains `lat` is none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.coordinates import Axis, x_axis, y_axis
from geo_etl.vector.formats.delimited_rows import Header
from geo_etl.vector.formats.wkt import LOOKS_LIKE_GEOMETRY

_WKT_NAMES = frozenset(["wkt", "ewkt", "wkt_geom", "geom_wkt", "wkt_geometry", "geometry_wkt"])
_GEOMETRY_NAMES = frozenset(
    ["geom", "geometry", "the_geom", "shape", "geog", "geography", "wkb", "ewkb", "wkb_geometry"]
)
"""Names of other things as well: taken when a cell looks like a geometry."""
_LONGITUDES = ("lon", "long", "lng", "longitude")
_LATITUDES = ("lat", "latitude")
_AFFIXES = ("{}", "geo_{}", "gps_{}", "decimal_{}", "decimal{}", "{}_dd", "{}_deg", "{}_wgs84")
_DEGREE_NAMES = [
    (
        frozenset(affix.format(name) for name in _LONGITUDES),
        frozenset(affix.format(name) for name in _LATITUDES),
    )
    for affix in _AFFIXES
]
_OTHER_NAMES = [
    (frozenset([x]), frozenset([y]))
    for x, y in [
        ("x", "y"),
        ("xcoord", "ycoord"),
        ("x_coord", "y_coord"),
        ("x_coordinate", "y_coordinate"),
        ("coord_x", "coord_y"),
        ("point_x", "point_y"),
        ("easting", "northing"),
        ("eastings", "northings"),
    ]
]


@dataclass(frozen=True)
class WktColumn:
    """One column with geometries as text.

    Attributes:
        remark: how it was found; None when the spec names it.
    """

    column: str
    index: int
    remark: str | None = None


@dataclass(frozen=True)
class CoordinateColumns:
    """Two columns with coordinates.

    Attributes:
        degrees: their names say that they hold longitudes and latitudes.
        remark: how they were found; None when the spec names them.
    """

    x: Axis
    y: Axis
    degrees: bool
    remark: str | None = None


GeometryColumns = WktColumn | CoordinateColumns


def geometry_columns(
    header: Header, sample: Sequence[pa.Array], name: str, spec: VectorSpec
) -> GeometryColumns:
    """Find the columns.

    Args:
        sample: some cells of each.
        name: of the source.

    Raises:
        SourceError: there is no such column, none with a usual name, or several.
    """
    given, names = spec.converter_params, header.names
    if given.wkt_column is not None:
        index = _find(given.wkt_column, "wkt_column", names, name)
        return WktColumn(names[index], index)
    if given.lon_name is not None and given.lat_name is not None:
        x = _find(given.lon_name, "lon_name", names, name)
        y = _find(given.lat_name, "lat_name", names, name)
        return _coordinates(names, x, y)
    # As written: of two columns with one name both may be meant.
    pairs = _pairs(header.written)
    wkt = [
        index
        for index, column in enumerate(header.written)
        if _plain(column) in _WKT_NAMES
        or (_plain(column) in _GEOMETRY_NAMES and _has_geometry(sample[index]))
    ]
    if len(wkt) == 1:
        column = names[wkt[0]]
        beside = "".join(f"; '{names[x]}' and '{names[y]}' are attributes" for x, y in pairs)
        return WktColumn(column, wkt[0], f"Geometry from column '{column}', by its name{beside}.")
    if len(wkt) > 1:
        raise SourceError(
            name,
            f"several columns may hold its geometry: {_listed([names[i] for i in wkt])}",
            "Set converter_params.wkt_column to one of them.",
        )
    if len(pairs) > 1:
        listed = "; ".join(f"'{names[x]}' and '{names[y]}'" for x, y in pairs)
        raise SourceError(
            name,
            f"several pairs of columns may hold its coordinates: {listed}",
            "Set converter_params.lon_name and lat_name to the columns with x and y.",
        )
    if pairs:
        return _coordinates(names, *pairs[0], by_name=True)
    one = " (one column: cells are separated by comma, semicolon, tab or |)"
    raise SourceError(
        name,
        "no column has a usual name of coordinates or of WKT; "
        f"its first row has {_listed(names)}{one if len(names) == 1 else ''}",
        "Set converter_params.lon_name and lat_name, or wkt_column; the first row must be the "
        "names of the columns.",
    )


def _plain(column: str) -> str:
    return re.sub(r"[\s.\-]+", "_", column.strip()).strip("_").casefold()


def _has_geometry(cells: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(cells, LOOKS_LIKE_GEOMETRY)).as_py())


def _pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    plain = [_plain(column) for column in names]
    return [
        (x, y)
        for xs, ys in _DEGREE_NAMES + _OTHER_NAMES
        for x, x_name in enumerate(plain)
        if x_name in xs
        for y, y_name in enumerate(plain)
        if y_name in ys
    ]


def _coordinates(
    names: Sequence[str], x: int, y: int, *, by_name: bool = False
) -> CoordinateColumns:
    degrees = any(_plain(names[x]) in xs and _plain(names[y]) in ys for xs, ys in _DEGREE_NAMES)
    remark = f"Geometry from columns '{names[x]}' and '{names[y]}', by their names."
    return CoordinateColumns(
        x_axis(names[x], x), y_axis(names[y], y), degrees, remark if by_name else None
    )


def _find(
    wanted: str,
    setting: Literal["lat_name", "lon_name", "wkt_column"],
    names: Sequence[str],
    name: str,
) -> int:
    if wanted in names:
        return list(names).index(wanted)
    alike = [index for index, column in enumerate(names) if _plain(column) == _plain(wanted)]
    if len(alike) == 1:
        return alike[0]
    raise SourceError(
        name,
        f"it has no column '{wanted}'",
        f"Set converter_params.{setting} to one of: {_listed(names)}.",
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return ", ".join(f"'{column}'" for column in names[:30]) + more
