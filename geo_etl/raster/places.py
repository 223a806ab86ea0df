"""Where on Earth the pixels of a grid lie: around a pole, across 180° of longitude.

Here: samples of places. Not here: grids that are made for them, see `grid`.
"""

import math

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer

from geo_etl.raster.facts import Grid

SAMPLES = 101
"""Points along a row and along a column that tell where a raster lies."""
LIMB_SAMPLES = 1001
"""The same where some have no coordinates: near the limb of a disk, places are far apart."""
WIDE_GAP = 45.0
"""Degrees of longitude without data that prove that a raster does not go around the world."""

Floats = npt.NDArray[np.float64]


def is_geographic(crs: str) -> bool:
    """Whether coordinates are longitudes and latitudes."""
    return bool(CRS.from_user_input(crs).is_geographic)


def sample(grid: Grid, count: int) -> tuple[Floats, Floats]:
    """Places from corner to corner, so many along each side: x and y, shape (count²,)."""
    columns, rows = np.meshgrid(
        np.linspace(0, grid.width, count), np.linspace(0, grid.height, count)
    )
    a, b, c, d, e, f = grid.transform[:6]
    return (a * columns + b * rows + c).ravel(), (d * columns + e * rows + f).ravel()


def finite(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Of places, those that have coordinates."""
    good = np.isfinite(x) & np.isfinite(y)
    return x[good], y[good]


def pole_inside(source: Grid, to_degrees: Transformer) -> float | None:
    """Latitude of the pole that lies inside; None for none, and for grids of degrees."""
    if is_geographic(source.crs):
        return None
    for latitude in (90.0, -90.0):
        x, y = to_degrees.transform(0.0, latitude, direction="INVERSE")
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        column, row = ~source.transform @ (x, y)
        if 1 < column < source.width - 1 and 1 < row < source.height - 1:
            return latitude
    return None


def centre_if_crossing(source: Grid, longitude: Floats) -> float | None:
    """Longitude of the middle, 0 to 360, of a raster that lies across 180°; None otherwise."""
    if is_geographic(source.crs):
        xmin, _, xmax, _ = source.bounds
        tolerance = abs(source.transform.a) + abs(source.transform.b)
        around = xmin < -180 - tolerance or xmax > 180 + tolerance
        return (xmin + xmax) / 2 % 360 if around and xmax - xmin < 360 - WIDE_GAP else None
    turned = np.unique(longitude % 360)
    gaps = np.diff(np.append(turned, turned[0] + 360))
    widest = int(gaps.argmax())
    if gaps[widest] < WIDE_GAP:
        return None
    west = turned[(widest + 1) % turned.size]
    extent = 360 - gaps[widest]
    if not west < 180 < west + extent and not west < 540 < west + extent:
        return None
    return float((west + extent / 2) % 360)
