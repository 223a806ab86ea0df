"""The outline of valid pixels: a polygon of few vertices that leaves none of them out."""

from collections.abc import Callable

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray

MAX_VERTICES = 200
MAX_PARTS = 40
MAX_FIRST_VERTICES = 4000
"""Of a first outline: more of them, and the cells are made larger."""
Place = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From (column, row) of pixel corners to x, y; both of shape (n, 2)."""


def footprint(
    cells: NDArray[np.bool_], step: int, width: int, height: int, place: Place, *, is_curved: bool
) -> bytes | None:
    """WKB of the outline in the CRS; None when no cell has a valid pixel.

    Args:
        cells: whether there is a valid pixel in a square of `step` pixels.
        width, height: of the raster; cells at its end may reach over it.
        is_curved: whether straight lines of pixels are curves in the CRS.
    """
    whole = shapely.box(0, 0, width, height)
    longest = max(width, height) / 16 if is_curved else None
    if cells.all():
        return _placed(whole, place, longest)
    if not cells.any():
        return None
    parts = _outlines(cells, step)
    while sum(map(_vertices, parts)) > MAX_FIRST_VERTICES:
        cells, step = _halved(cells), step * 2
        parts = _outlines(cells, step)
    outline = shapely.union_all(parts)
    return _placed(shapely.intersection(_simple(outline, step), whole), place, longest)


def _outlines(cells: NDArray[np.bool_], step: int) -> list[shapely.Polygon]:
    """Around cells that touch; holes are no part of a footprint."""
    shapes = rasterio.features.shapes(
        cells.astype(np.uint8), mask=cells, transform=Affine.scale(step), connectivity=8
    )
    return [shapely.Polygon(shapely.geometry.shape(one).exterior) for one, _ in shapes]


def _halved(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows, columns = (np.arange(0, size, 2) for size in cells.shape)
    return np.logical_or.reduceat(np.logical_or.reduceat(cells, rows, 0), columns, 1)


def _simple(outline: shapely.Geometry, step: int) -> shapely.Geometry:
    """Few vertices, and around all of the outline: grown first by what is then cut off."""
    tolerance = step / 2
    found = outline
    for _ in range(12):
        if _vertices(found) <= MAX_VERTICES and shapely.get_num_geometries(found) <= MAX_PARTS:
            return found
        grown = shapely.buffer(outline, tolerance, join_style="mitre", mitre_limit=2)
        grown = shapely.union_all([shapely.Polygon(part.exterior) for part in _parts(grown)])
        found = shapely.simplify(grown, tolerance)
        if not (shapely.is_valid(found) and shapely.covers(found, outline)):
            found = grown
        tolerance *= 2
    return shapely.convex_hull(outline)


def _parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    return list(shapely.get_parts(geometry))


def _vertices(geometry: shapely.Geometry) -> int:
    return int(shapely.get_num_coordinates(geometry))


def _placed(geometry: shapely.Geometry, place: Place, longest: float | None) -> bytes:
    if longest is not None:
        geometry = shapely.segmentize(geometry, longest)
    placed = shapely.transform(geometry, place)
    placed = placed if shapely.is_valid(placed) else shapely.make_valid(placed)
    return bytes(shapely.to_wkb(shapely.orient_polygons(placed)))
