"""Coordinate reference systems: transformations, how accurate they are, and bounds in degrees."""

import warnings
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyproj
from pyproj._transformer import AreaOfInterest
from pyproj.transformer import TransformerGroup

BBox = tuple[float, float, float, float]
FULL = 360.0


@cache
def transformer_between(source_crs: str, target_crs: str) -> pyproj.Transformer:
    """The transformation, x/y (longitude/latitude) on both sides whatever the axis order."""
    return pyproj.Transformer.from_crs(source_crs, target_crs, always_xy=True)


def transformer(source_crs: str, target_srid: int) -> pyproj.Transformer:
    """As `transformer_between`, to an EPSG code."""
    return transformer_between(source_crs, f"EPSG:{target_srid}")


def same_crs(source_crs: str, target_srid: int) -> bool:
    """Whether coordinates need no change, axis order aside."""
    source = pyproj.CRS.from_user_input(source_crs)
    return source.equals(pyproj.CRS.from_epsg(target_srid), ignore_axis_order=True)


def transformation_warnings(
    source_crs: str, target_srid: int, bounds: tuple[float, float, float, float] | None
) -> list[str]:
    """What a user should know about the accuracy of the reprojection.

    Args:
        bounds: of the data in its own CRS (x/y order); used to tell which grids matter.
    """
    crs = pyproj.CRS.from_user_input(source_crs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says in passing what is returned here
        group = TransformerGroup(
            crs,
            f"EPSG:{target_srid}",
            always_xy=True,
            area_of_interest=_area_of_interest(crs, bounds),
        )
    if group.best_available or not group.unavailable_operations or not group.transformers:
        return []
    best, used = group.unavailable_operations[0], group.transformers[0]
    grids = ", ".join(sorted({grid.short_name for grid in best.grids if not grid.available}))
    accuracy = f"about {used.accuracy:g} m" if used.accuracy >= 0 else "an unknown measure"
    return [
        f"The reprojection to EPSG:{target_srid} is accurate to {accuracy}; a PROJ grid that is "
        f"not installed ({grids}) would make it better."
    ]


def _area_of_interest(
    crs: pyproj.CRS, bounds: tuple[float, float, float, float] | None
) -> AreaOfInterest | None:
    if crs.is_geographic and bounds is not None and np.isfinite(bounds).all():
        west, south, east, north = bounds
        if -180 <= west <= east <= 180 and -90 <= south <= north <= 90:
            return AreaOfInterest(west, south, east, north)
    area = crs.area_of_use
    return AreaOfInterest(area.west, area.south, area.east, area.north) if area else None


def union_wgs84(boxes: Sequence[BBox]) -> BBox | None:
    """The smallest box in degrees around boxes; west is greater than east across 180°."""
    if not boxes:
        return None
    west, south, east, north = boxes[0]
    east = east + FULL if east < west else east
    for other in boxes[1:]:
        w, e = other[0], other[2] + (FULL if other[2] < other[0] else 0.0)
        west, east = min(
            ((min(west, w + turn), max(east, e + turn)) for turn in (0.0, FULL, -FULL)),
            key=lambda span: span[1] - span[0],
        )
        south, north = min(south, other[1]), max(north, other[3])
    if east - west >= FULL:
        return -FULL / 2, south, FULL / 2, north
    return _within(west), south, _within(east), north


def _within(longitude: float) -> float:
    """The same meridian within ±180°."""
    return longitude - FULL * round(longitude / FULL) if abs(longitude) > FULL / 2 else longitude
