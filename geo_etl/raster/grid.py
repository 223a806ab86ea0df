"""The grid that a raster gets in another CRS.

Here: `target_grid`, and what it needs to know about poles, the antimeridian and web mercator. Grids
are those that gdalwarp suggests, except where it would lose data or make useless pixels.
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio import crs as rasterio_crs
from rasterio._err import CPLE_BaseError  # GDAL's own errors, which rasterio.warp lets through
from rasterio.control import GroundControlPoint
from rasterio.errors import CRSError as RasterioCRSError
from rasterio.errors import RasterioError
from rasterio.warp import calculate_default_transform

from geo_etl.errors import RasterError
from geo_etl.raster.facts import Grid, RasterFacts
from geo_etl.raster.places import (
    LIMB_SAMPLES,
    SAMPLES,
    Floats,
    centre_if_crossing,
    finite,
    is_geographic,
    pole_inside,
    sample,
)
from geo_etl.spec.raster import NATIVE

MERCATOR_LATITUDE = math.degrees(2 * math.atan(math.exp(math.pi)) - math.pi / 2)
"""Where the square of web mercator ends (EPSG:3857), in degrees."""
MERCATOR_EDGE = math.pi * 6378137.0
MOST_TIMES = 20.0
"""Pixels of a target grid per pixel of the source, or the inverse, at most."""
SMALL = 1_000_000
"""Pixels; a smaller grid than this is never too large."""


class _NothingLeftError(ValueError):
    pass


FAILURES = (CRSError, ProjError, RasterioCRSError, RasterioError, CPLE_BaseError, ValueError)
"""What pyproj, rasterio and GDAL raise where nothing leads from one CRS to another."""


def target_grid(facts: RasterFacts, target_crs: str, name: str) -> tuple[Grid, bool]:
    """The north-up grid of a raster in a CRS, and whether its pixels must be warped to get there.

    Args:
        target_crs: what PROJ understands, or `native` for the CRS of the source.
        name: of the source, for errors.

    Raises:
        RasterError: nothing leads from the source's CRS to the target's, or the grid is useless.
    """
    source = facts.grid
    crs = source.crs if target_crs == NATIVE else target_crs
    if facts.gcps:
        return _aroundpoints(facts, crs, name), True
    if not same_crs(source.crs, crs):
        return _suggested(unrolled(source)[0], crs, name), True
    rolled, columns = (source, 0) if target_crs == NATIVE else unrolled(source)
    if rolled.is_north_up:
        return rolled, columns != 0 or rolled is not source
    if rolled.transform.b == rolled.transform.d == 0:
        return _flipped(rolled), True
    return _suggested(rolled, crs, name), True


def same_crs(one: str, other: str) -> bool:
    """Whether coordinates (x east or longitude, y north or latitude) mean the same in both."""
    if one == other:
        return True
    try:
        return CRS.from_user_input(one).equals(CRS.from_user_input(other), ignore_axis_order=True)
    except CRSError:
        return False


def unrolled(grid: Grid) -> tuple[Grid, int]:
    """A grid of longitudes 0 to 360, as climate models have it, from -180 to 180.

    Returns:
        The grid, and how many columns from its left edge move to the right edge; the grid itself
        and 0 when nothing is to be done. Whole columns move: no pixel changes.
    """
    a, b, c, d, e, f = grid.transform[:6]
    if not is_geographic(grid.crs) or b or d or a <= 0:
        return grid, 0
    west, east = c, c + a * grid.width
    if -180 - a <= west and east <= 180 + a:
        return grid, 0
    if west >= 180 or west < -180 - a:
        turned = 360 * math.floor((west + 180) / 360)
        c, west, east = c - turned, west - turned, east - turned
        grid = Grid(grid.crs, Affine(a, b, c, d, e, f), grid.width, grid.height)
    if abs(a * grid.width - 360) > a / 2 or east <= 180 + a:
        return grid, 0
    columns = round((180 - west) / a)
    moved = Affine(a, b, c + columns * a - 360, d, e, f)
    return Grid(grid.crs, moved, grid.width, grid.height), columns


def _flipped(grid: Grid) -> Grid:
    """The same pixels with rows from north to south and columns from west to east."""
    xmin, _, _, ymax = grid.bounds
    transform = Affine(abs(grid.transform.a), 0, xmin, 0, -abs(grid.transform.e), ymax)
    return Grid(grid.crs, transform, grid.width, grid.height)


def _aroundpoints(facts: RasterFacts, crs: str, name: str) -> Grid:
    """The grid that GDAL suggests for what ground control points place, not an affine one."""
    source = facts.grid
    points = [GroundControlPoint(row, col, x, y, 0.0) for col, row, x, y in facts.gcps]
    try:
        grid = _default(source, CRS.from_user_input(crs), crs, points)
    except FAILURES as error:
        raise _no_way(source, crs, name, error) from None
    _refuse_absurd(source, grid, name)
    return grid


def _suggested(source: Grid, crs: str, name: str) -> Grid:
    if source.transform.b == source.transform.d == 0:
        source = _flipped(source)
    try:
        target, geodetic = CRS.from_user_input(crs), CRS.from_epsg(4326)
        forward = Transformer.from_crs(source.crs, target, always_xy=True)
        to_degrees = Transformer.from_crs(source.crs, geodetic, always_xy=True)
        x, y = sample(source, SAMPLES)
        if not np.isfinite(forward.transform(x, y)).all():
            x, y = sample(source, LIMB_SAMPLES)
        longitude, latitude = finite(*to_degrees.transform(x, y))
        reached = finite(*forward.transform(x, y))
        pole = pole_inside(source, to_degrees)
        centre = None if pole else centre_if_crossing(source, longitude)
        if target.is_geographic:
            grid = _geographic(source, target, crs, centre)
        elif _is_web_mercator(target):
            grid = _web_mercator(source, target, crs, centre)
        else:
            grid = _default(source, target, crs)
    except FAILURES as error:
        raise _no_way(source, crs, name, error) from None
    if not latitude.size or not reached[0].size:
        raise RasterError(
            name,
            f"no part of it has coordinates in {crs}",
            "Set target_crs: native, or correct source_crs.",
        )
    if centre is None:
        grid = _reaching(grid, *reached, pole if target.is_geographic else None)
    if _is_web_mercator(target):
        grid = _within_square(grid)
    _refuse_absurd(source, grid, name)
    return grid


def _no_way(source: Grid, crs: str, name: str, error: Exception) -> RasterError:
    return RasterError(
        name,
        f"it can't be brought from its CRS ({_short(source.crs)}) to {crs}: {_reason(error)}",
        "Set target_crs: native, or to a CRS of the same body, or correct source_crs.",
    )


def _geographic(source: Grid, target: CRS, crs: str, centre: float | None) -> Grid:
    if centre is None:
        return _default(source, target, crs)
    wrapped = CRS.from_user_input(f"{_proj4(target)} +lon_wrap={centre!r}")
    return _default(source, wrapped, crs)


def _web_mercator(source: Grid, target: CRS, crs: str, centre: float | None) -> Grid:
    west, ymin, _, ymax = source.bounds
    if is_geographic(source.crs) and source.is_north_up:
        # At the poles y is infinite, and so would be the pixels that gdalwarp's suggestion makes.
        # Of a row across the edge of the square, a part stays: it may be several degrees high.
        top, bottom = min(ymax, MERCATOR_LATITUDE), max(ymin, -MERCATOR_LATITUDE)
        if top <= bottom:
            raise _NothingLeftError("nothing of it would be left")
        height = max(1, round((top - bottom) / -source.transform.e))
        clipped = Affine(source.transform.a, 0, west, 0, (bottom - top) / height, top)
        source = Grid(source.crs, clipped, source.width, height)
    if centre is None:
        return _default(source, target, crs)
    around = CRS.from_user_input(
        f"+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0={centre!r} +units=m +nadgrids=@null"
    )
    grid = _default(source, around, crs)
    moved = Affine.translation(centre / 180 * MERCATOR_EDGE, 0) @ grid.transform
    return Grid(crs, moved, grid.width, grid.height)


def _default(
    source: Grid, target: CRS, crs: str, points: Sequence[GroundControlPoint] = ()
) -> Grid:
    """GDAL's suggestion: square pixels, as many along the diagonal as the source has.

    Args:
        points: ground control points that place the source instead of its transform.
    """
    corners: dict[str, object]
    if points:
        corners = {"gcps": list(points)}
    elif source.is_north_up:
        left, bottom, right, top = source.bounds
        corners = {"left": left, "bottom": bottom, "right": right, "top": top}
    else:
        places = ((0, 0), (source.width, 0), (0, source.height), (source.width, source.height))
        corners = {
            "gcps": [
                GroundControlPoint(row, column, *(source.transform @ (column, row)), z=0.0)
                for column, row in places
            ]
        }
    transform, width, height = calculate_default_transform(
        rasterio_crs.CRS.from_user_input(source.crs),
        rasterio_crs.CRS.from_wkt(target.to_wkt()),
        source.width,
        source.height,
        **corners,
    )
    if not width or not height:
        raise _NothingLeftError("nothing of it would be left")
    return Grid(crs, transform, width, height)


def _reaching(grid: Grid, x: Floats, y: Floats, pole: float | None) -> Grid:
    """The grid, larger by whole pixels where points of the source lie outside of it.

    GDAL looks at few points, of which those that can't be transformed are lost: at the limb of
    a disk and at a pole it falls short.
    """
    xmin, ymin, xmax, ymax = grid.bounds
    size, height = grid.transform.a, -grid.transform.e
    if pole is not None:
        x, y = np.append(x, [-180.0, 180.0]), np.append(y, [pole, pole])
    west = math.ceil((xmin - x.min()) / size - 1e-6)
    east = math.ceil((x.max() - xmax) / size - 1e-6)
    south = math.ceil((ymin - y.min()) / height - 1e-6)
    north = math.ceil((y.max() - ymax) / height - 1e-6)
    # Less than a pixel is what its rounding leaves off; the grids of peers have no more.
    least = 1 if pole is not None else 2
    west, east, south, north = (n if n >= least else 0 for n in (west, east, south, north))
    moved = grid.transform @ Affine.translation(-west, -north)
    return Grid(grid.crs, moved, grid.width + west + east, grid.height + north + south)


def _within_square(grid: Grid) -> Grid:
    """Without the rows beyond the square of web mercator, where no tile is."""
    _, ymin, _, ymax = grid.bounds
    size = -grid.transform.e
    top = math.floor(max(0.0, (ymax - MERCATOR_EDGE) / size))
    bottom = math.floor(max(0.0, (-MERCATOR_EDGE - ymin) / size))
    moved = grid.transform @ Affine.translation(0, top)
    return Grid(grid.crs, moved, grid.width, max(1, grid.height - top - bottom))


def _refuse_absurd(source: Grid, grid: Grid, name: str) -> None:
    times = grid.pixels / source.pixels
    if (times > MOST_TIMES and grid.pixels > SMALL) or (
        times < 1 / MOST_TIMES and source.pixels > SMALL
    ):
        raise RasterError(
            name,
            f"its {source.width} × {source.height} pixels would become {grid.width} × {grid.height}"
            f" in {grid.crs}",
            "Set target_crs to a CRS that suits its place, or to native.",
        )


def _is_web_mercator(crs: CRS) -> bool:
    return crs.equals(CRS.from_epsg(3857), ignore_axis_order=True)


def _proj4(crs: CRS) -> str:
    with warnings.catch_warnings():  # that WKT says more, which is true and of no matter here
        warnings.simplefilter("ignore", UserWarning)
        return crs.to_proj4()


def _short(crs: str) -> str:
    return crs if len(crs) < 40 else CRS.from_user_input(crs).name


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _NothingLeftError) else "PROJ knows no way between them"
