"""A second warp of a sample of pixels, by other means, that finds a first one that is wrong.

`prove` shows that a COG holds what it was made from. That this is what the source has at these
places is shown here: the place of a pixel is projected exactly, without the approximation that a
warper makes, and its value is put together by numpy from the source itself. GDAL's warper and the
views that it reads have no part in it; PROJ has, through the same library, so that both choose the
same datum shift.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.transform import GCPTransformer
from rasterio.warp import transform as project
from rasterio.windows import Window as RasterioWindow

from geo_etl.raster.facts import Grid, RasterFacts, Window
from geo_etl.raster.manifest import TierPlan
from geo_etl.raster.opening import Opened

LATTICE = 8
"""Places along each side of a raster that are looked at for valid pixels."""
SAMPLES = 8
"""Of these places, how many are warped again."""
EDGE = 24
"""Of a sample, in pixels of the target."""
MOST_BANDS = 3
MOST_SOURCE_PIXELS = 4_000_000
"""Of one band, that a sample may take; near a pole it could take all."""
MOST_TAPS = 400
"""Pixels of the source for one pixel, at most; one of more is not warped again."""
TOLERANCE = 0.3
"""Of the local range of values. A warper may be wrong by an eighth of a pixel of the source (GDAL's
default error threshold); a shift by half a pixel is more than this where there is relief."""
MOST_WRONG = 0.02
"""Of the pixels that were warped again: at the edges of data, warpers may differ."""
FEWEST = 100
"""Pixels warped again that say something."""

Pixels = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kernel:
    """How values around a place become one: weight by distance in pixels; 0 beyond the radius."""

    radius: float
    weight: Callable[[Floats], Floats]


def _cubic(x: Floats) -> Floats:
    """Keys (1981), with a = -1/2."""
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, far)


def _spline(x: Floats) -> Floats:
    """Cubic B-spline."""
    return np.where(x < 1, x**3 / 2 - x**2 + 2 / 3, (2 - x) ** 3 / 6)


KERNELS = {
    "bilinear": Kernel(1, lambda x: 1 - x),
    "cubic": Kernel(2, _cubic),
    "cubic_spline": Kernel(2, _spline),
    "lanczos": Kernel(3, lambda x: np.sinc(x) * np.sinc(x / 3)),
}
"""Of resamplings that weigh; of all others, only the range of values is known."""


def misplaced(
    opened: Opened, facts: RasterFacts, plan: TierPlan, window: Window, warped: Path | str
) -> list[str]:
    """What is wrong with warped pixels, as clauses; nothing for right ones.

    Args:
        warped: a dataset with the pixels of the window of the plan's grid.
    """
    grid = plan.grid.window(window)
    compared = wrong = 0
    with rasterio.open(warped) as result:
        for place in _places(result):
            found = _rewarp(opened.dataset, facts, plan, grid, place, result)
            compared += found[0]
            wrong += found[1]
    if compared < FEWEST or wrong <= compared * MOST_WRONG:
        return []
    return [f"{wrong} of {compared} pixels are not what the source has at their places"]


def _places(result: rasterio.DatasetReader) -> Iterator[Window]:
    """Samples with valid pixels, the same ones every time, spread over the raster."""
    width, height = min(EDGE, result.width), min(EDGE, result.height)
    across = np.unique(np.linspace(0, result.width - width, LATTICE).astype(int))
    down = np.unique(np.linspace(0, result.height - height, LATTICE).astype(int))
    places = [Window(int(col), int(row), width, height) for row in down for col in across]
    full = [place for place in places if result.read_masks(1, window=_rasterio(place)).any()]
    # Each seventh of them and so on: not all in one row.
    step = max(1, len(full) // SAMPLES)
    yield from full[step // 2 :: step][: SAMPLES + 1]


def _rasterio(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)


def _rewarp(
    source: rasterio.DatasetReader,
    facts: RasterFacts,
    plan: TierPlan,
    grid: Grid,
    place: Window,
    result: rasterio.DatasetReader,
) -> tuple[int, int]:
    """How many pixels of a sample could be warped again, and how many of them are wrong."""
    cols, rows = _source_places(source, facts, grid, place)
    kernel = KERNELS.get(plan.profile.resampling)
    # Where a raster shrinks, a kernel covers more of the source.
    stretch = np.array([facts.grid.width / plan.grid.width, facts.grid.height / plan.grid.height])
    stretch = np.maximum(stretch, 1.0)
    reach = np.ceil((kernel.radius if kernel else 1.5) * stretch).astype(int) + 1
    inside = (
        (cols > reach[0])
        & (cols < source.width - reach[0] - 1)
        & (rows > reach[1])
        & (rows < source.height - reach[1] - 1)
    )
    if not inside.any() or np.prod(2 * reach + 1) > MOST_TAPS:
        return 0, 0
    near_col, near_row = np.floor(cols[inside]).astype(int), np.floor(rows[inside]).astype(int)
    left, top = near_col.min() - reach[0], near_row.min() - reach[1]
    right, bottom = near_col.max() + reach[0] + 1, near_row.max() + reach[1] + 1
    if (right - left) * (bottom - top) > MOST_SOURCE_PIXELS:
        return 0, 0
    part = RasterioWindow(left, top, right - left, bottom - top)
    offsets = [np.arange(-far, far + 1) for far in reach]
    at = (
        (near_row - top)[:, None, None] + offsets[1][None, :, None],
        (near_col - left)[:, None, None] + offsets[0][None, None, :],
    )
    away = (
        np.abs(near_row[:, None] + offsets[1] + 0.5 - rows[inside][:, None]) / stretch[1],
        np.abs(near_col[:, None] + offsets[0] + 0.5 - cols[inside][:, None]) / stretch[0],
    )
    compared = wrong = 0
    for number, index in enumerate(plan.profile.bands[:MOST_BANDS], 1):
        if index == facts.alpha:
            continue
        values = source.read(index, window=part)
        known = _known(source, facts, index, part, values)
        warped = result.read(number, window=_rasterio(place)).ravel()[inside]
        valid = result.read_masks(number, window=_rasterio(place)).ravel()[inside] > 0
        found = _judge(values[at], known[at], away, kernel, warped, valid)
        compared, wrong = compared + found[0], wrong + found[1]
    return compared, wrong


def _source_places(
    source: rasterio.DatasetReader, facts: RasterFacts, grid: Grid, place: Window
) -> tuple[Floats, Floats]:
    """Columns and rows of the source, counted from pixel corners; NaN for none."""
    col, row = np.meshgrid(
        np.arange(place.width) + place.col + 0.5, np.arange(place.height) + place.row + 0.5
    )
    x, y = _apply(grid.transform, col, row)
    crs = CRS.from_user_input(facts.grid.crs)
    xs, ys = _projected(x, y, CRS.from_user_input(grid.crs), crs)
    finite = np.isfinite(xs) & np.isfinite(ys)
    if facts.georeference == "gcps":
        cols, rows = np.full(xs.shape, np.nan), np.full(xs.shape, np.nan)
        with GCPTransformer(source.gcps[0]) as points:
            rows[finite], cols[finite] = points.rowcol(xs[finite], ys[finite], op=float)
        return cols, rows
    if crs.is_geographic:
        # Longitudes of one place differ by turns: those that the source has.
        west = facts.grid.bounds[0]
        xs = (xs - west) % 360 + west
    return _apply(~facts.grid.transform, xs, ys)


def _apply(matrix: Affine, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    a, b, c, d, e, f = matrix[:6]
    return a * x + b * y + c, d * x + e * y + f


def _projected(x: Floats, y: Floats, source: CRS, target: CRS) -> tuple[Floats, Floats]:
    """Places in another CRS, shape (n,); NaN for those that it has not.

    PROJ refuses a whole call for one point that has no place: then row by row, a row at the edge
    of what can be seen from a satellite being left out.
    """
    found = np.full((2, *x.shape), np.nan)
    for part in (np.s_[:], *range(len(x))) if x.size else ():
        try:
            found[0][part], found[1][part] = np.reshape(
                project(source, target, x[part].ravel(), y[part].ravel()), (2, *x[part].shape)
            )
        except (RasterioError, CPLE_BaseError):
            continue
        if part == np.s_[:]:
            break
    found[~np.isfinite(found)] = np.nan
    return found[0].ravel(), found[1].ravel()


def _known(
    source: rasterio.DatasetReader,
    facts: RasterFacts,
    index: int,
    part: RasterioWindow,
    values: Pixels,
) -> npt.NDArray[np.bool_]:
    """Which pixels of the source are valid."""
    if facts.validity == "nodata":
        nodata = facts.nodata
        assert nodata is not None
        return ~np.isnan(values) if math.isnan(nodata) else values != nodata
    if facts.validity == "none":
        return np.ones(values.shape, bool)
    return np.asarray(source.read_masks(index, window=part) > 0)


def _judge(
    values: Pixels,
    known: npt.NDArray[np.bool_],
    away: tuple[Floats, Floats],
    kernel: Kernel | None,
    warped: Pixels,
    valid: npt.NDArray[np.bool_],
) -> tuple[int, int]:
    """How many pixels could be judged, and how many are wrong.

    Args:
        values, known: of the source around each pixel, shape (n, rows, columns).
        away: distances of these rows and of these columns, in widths of a kernel.
        warped, valid: shape (n,).
    """
    wide = np.complex128 if np.iscomplexobj(values) else np.float64
    values, warped = values.astype(wide), warped.astype(wide)
    close = (away[0] < 1.5)[:, :, None] & (away[1] < 1.5)[:, None, :]
    whole = known.all(axis=(1, 2))
    none = ~known.any(axis=(1, 2))
    if kernel is None:
        least = np.where(close, values, np.inf).min(axis=(1, 2))
        most = np.where(close, values, -np.inf).max(axis=(1, 2))
        off = (warped < least) | (warped > most)
    else:
        weights = [np.where(d < kernel.radius, kernel.weight(d), 0) for d in away]
        weight = weights[0][:, :, None] * weights[1][:, None, :]
        meant = (values * weight).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
        spread = np.where(close, np.abs(values - meant[:, None, None]), 0).max(axis=(1, 2))
        rounding = 1.0 + np.abs(meant) * 1e-6
        off = np.abs(warped - meant) > spread * TOLERANCE + rounding
    wrong = (whole & (~valid | off)) | (none & valid)
    return int(np.count_nonzero(whole | none)), int(np.count_nonzero(wrong))
