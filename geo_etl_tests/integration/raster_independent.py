"""Readings of our own of real rasters, to hold the program's results against.

A source is read whole by plain rasterio; places are projected one by one by PROJ, and pixels warped
by GDAL on whole arrays without the approximation that warpers make. Nothing of geo_etl. Not here:
what ought to become of the files (`raster_expectations.py`).
"""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from pyproj import CRS, Transformer
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import GCPTransformer
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject
from rasterio.windows import Window

Pixels = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
EXACT = 1e-4
"""Pixels of the source that the warp may be wrong by; of 0 GDAL makes no view."""
REACH = 4
"""Pixels of the source that may have a part in one of the target, or that warpers differ by."""


@dataclass(frozen=True)
class Raster:
    """All that a file says, and its pixels.

    Attributes:
        pixels: shape (bands, rows, columns).
        valid: of each band, of the same shape; of an alpha band, all.
        colormap: of a palette; else empty.
        described: of each band: scale, offset, unit, name.
    """

    pixels: Pixels
    valid: Bools
    dtype: str
    crs: str
    transform: Affine
    gcps: Sequence[GroundControlPoint]
    nodata: float | None
    colors: tuple[str, ...]
    colormap: dict[int, tuple[int, ...]]
    flags: frozenset[str]
    described: tuple[tuple[float, float, str | None, str | None], ...]

    @property
    def data(self) -> list[int]:
        """Bands but alpha, from 0."""
        return [at for at, color in enumerate(self.colors) if color != "alpha"]

    @property
    def anywhere(self) -> Bools:
        """Pixels that are valid in any band, shape (rows, columns)."""
        found: Bools = self.valid[self.data].any(axis=0)
        return found


def name_of(path: Path) -> str:
    """What GDAL opens: of an archive the file in it."""
    return f"/vsizip/{path}/{path.stem}" if path.suffix == ".zip" else str(path)


def read(name: str, crs: str | None = None, window: Window | None = None) -> Raster:
    """A raster, or a part of it.

    Args:
        crs: instead of the one that the file declares.
    """
    with _opened(name) as dataset:
        points, points_crs = dataset.gcps
        if crs is None:
            declared = points_crs if points else dataset.crs
            crs = declared.to_wkt() if declared else ""
        colors = tuple(color.name for color in dataset.colorinterp)
        pixels = dataset.read(window=window)
        valid = dataset.read_masks(window=window) > 0
        for at, color in enumerate(colors):
            if color == "alpha":
                valid[at] = True
        return Raster(
            pixels=pixels,
            valid=valid,
            dtype=dataset.dtypes[0],
            crs=crs,
            transform=dataset.transform if window is None else dataset.window_transform(window),
            gcps=points,
            nodata=dataset.nodata,
            colors=colors,
            colormap=_colormap(dataset),
            flags=frozenset(flag.name for flag in dataset.mask_flag_enums[0]),
            described=tuple(
                zip(
                    dataset.scales,
                    dataset.offsets,
                    (unit or None for unit in dataset.units),
                    (name or None for name in dataset.descriptions),
                    strict=True,
                )
            ),
        )


def _opened(name: str) -> rasterio.DatasetReader:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(name)
    # What PROJ has against a CRS is raised by whatever is asked first.
    with suppress(RasterioError, CPLE_BaseError):
        _ = dataset.crs
    with suppress(RasterioError, CPLE_BaseError):
        _ = dataset.colorinterp
    return dataset


def _colormap(dataset: rasterio.DatasetReader) -> dict[int, tuple[int, ...]]:
    try:
        return dict(dataset.colormap(1))
    except ValueError:
        return {}


def places(raster: Raster, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """x, y in the CRS of a raster of places counted in pixels from its top left corner."""
    if raster.gcps:
        with GCPTransformer(list(raster.gcps)) as points:
            xs, ys = points.xy(rows.ravel(), cols.ravel(), offset="ul")
        return np.reshape(xs, cols.shape), np.reshape(ys, cols.shape)
    a, b, c, d, e, f = raster.transform[:6]
    return a * cols + b * rows + c, d * cols + e * rows + f


def degrees_of(raster: Raster) -> CRS:
    """Of WGS 84 on Earth, of its own body elsewhere."""
    crs = CRS.from_user_input(raster.crs)
    assert crs.ellipsoid is not None
    on_earth = 6.3e6 < crs.ellipsoid.semi_major_metre < 6.4e6
    return CRS.from_epsg(4326) if on_earth else CRS.from_user_input(crs.geodetic_crs)


def degrees(raster: Raster, at_most: int = 40_000) -> tuple[Floats, Floats, Bools]:
    """Longitudes and latitudes of pixels' middles, and which are valid; a regular choice of them.

    Those that have no place on Earth are left out.
    """
    height, width = raster.anywhere.shape
    step = max(1, round((height * width / at_most) ** 0.5))
    rows, cols = np.mgrid[0:height:step, 0:width:step]
    x, y = places(raster, cols + 0.5, rows + 0.5)
    west_east = Transformer.from_crs(raster.crs, degrees_of(raster), always_xy=True)
    longitude, latitude = west_east.transform(x, y)
    known = np.isfinite(longitude) & np.isfinite(latitude)
    valid = raster.anywhere[::step, ::step]
    return longitude[known], latitude[known], valid[known]


def source_places(raster: Raster, crs: str, transform: Affine, shape: tuple[int, int]) -> Floats:
    """Where in a raster the middles of a grid's pixels lie: (column, row), shape (2, *shape).

    Counted from its top left corner; NaN where a place is not in the raster's CRS.
    """
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    a, b, c, d, e, f = transform[:6]
    x, y = a * cols + b * rows + c, d * cols + e * rows + f
    if CRS.from_user_input(crs) != CRS.from_user_input(raster.crs):
        x, y = Transformer.from_crs(crs, raster.crs, always_xy=True).transform(x, y)
    found = np.full((2, *shape), np.nan)
    known = np.isfinite(x) & np.isfinite(y)
    if raster.gcps:
        with GCPTransformer(list(raster.gcps)) as points:
            found[1][known], found[0][known] = points.rowcol(x[known], y[known], op=float)
        return found
    a, b, c, d, e, f = (~raster.transform)[:6]
    found[0][known] = a * x[known] + b * y[known] + c
    found[1][known] = d * x[known] + e * y[known] + f
    return found


def around(at: Floats, width: int, height: int) -> Window:
    """The part of a raster that places lie in, with what a kernel reaches beside them."""
    margin = 4 * REACH
    col, row = np.floor(at[:, np.isfinite(at).all(axis=0)])
    left, top = max(0, int(col.min()) - margin), max(0, int(row.min()) - margin)
    right, bottom = int(col.max()) + margin, int(row.max()) + margin
    return Window(left, top, min(width, right) - left, min(height, bottom) - top)


def surely(valid: Bools, at: Floats) -> tuple[Bools, Bools]:
    """Where a warp must give a valid pixel, and where it must not, by the source's pixels around.

    Args:
        valid: of the source, shape (rows, columns).
        at: from `source_places`.
    """
    height, width = valid.shape
    padded = np.pad(valid, REACH + 1)
    total = np.pad(padded.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    known = np.isfinite(at).all(axis=0)
    col = np.clip(np.floor(np.where(known, at[0], -9)), -1, width).astype(int) + REACH + 1
    row = np.clip(np.floor(np.where(known, at[1], -9)), -1, height).astype(int) + REACH + 1
    beyond = (at[0] < -2) | (at[0] > width + 2) | (at[1] < -2) | (at[1] > height + 2) | ~known

    def count(reach: int) -> npt.NDArray[np.int64]:
        top, left = np.maximum(row - reach, 0), np.maximum(col - reach, 0)
        bottom = np.minimum(row + reach + 1, total.shape[0] - 1)
        right = np.minimum(col + reach + 1, total.shape[1] - 1)
        counted: npt.NDArray[np.int64] = (
            total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        )
        return counted

    inside = ~beyond & (count(REACH) == (2 * REACH + 1) ** 2)
    return inside, beyond | (count(REACH) == 0)


def near(pixels: Pixels, at: Floats, doubt: float) -> list[Pixels]:
    """Values at places of a band, and at places a little beside them: shape of a grid each."""
    height, width = pixels.shape
    found = []
    for right, down in ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        col = np.nan_to_num(np.floor(at[0] + right * doubt), nan=0)
        row = np.nan_to_num(np.floor(at[1] + down * doubt), nan=0)
        found.append(
            pixels[np.clip(row, 0, height - 1).astype(int), np.clip(col, 0, width - 1).astype(int)]
        )
    return found


def warped(
    raster: Raster, crs: str, transform: Affine, shape: tuple[int, int], resampling: str
) -> Pixels:
    """Data bands on another grid, as floats, every pixel taken for valid: shape (bands, *shape)."""
    wide = "complex64" if raster.dtype.startswith("complex") else "float64"
    pixels = np.nan_to_num(raster.pixels[raster.data].astype(wide))
    crs_of = rasterio.CRS.from_user_input
    if raster.gcps:
        placed = np.zeros((len(pixels), *shape), wide)
        reproject(
            pixels,
            placed,
            gcps=[GroundControlPoint(p.row, p.col, p.x, p.y, p.z or 0.0) for p in raster.gcps],
            src_crs=crs_of(raster.crs),
            dst_transform=transform,
            dst_crs=crs_of(crs),
            resampling=Resampling[resampling],
        )
        return placed
    count, height, width = pixels.shape
    with rasterio.MemoryFile() as held:
        with held.open(
            driver="GTiff", count=count, height=height, width=width, dtype=wide,
            crs=crs_of(raster.crs), transform=raster.transform,
        ) as made:  # fmt: skip
            made.write(pixels)
        with (
            held.open() as source,
            WarpedVRT(
                source,
                crs=crs_of(crs),
                transform=transform,
                height=shape[0],
                width=shape[1],
                resampling=Resampling[resampling],
                tolerance=EXACT,
            ) as view,
        ):
            found: Pixels = view.read()
            return found


def spread(values: Pixels) -> Pixels:
    """How far values are from their neighbours at most, for complex numbers by amount."""
    found = np.zeros(values.shape)
    for axis in (0, 1):
        steps = np.abs(np.diff(values, axis=axis))
        before = [(0, 0), (0, 0)]
        after = [(0, 0), (0, 0)]
        before[axis], after[axis] = (1, 0), (0, 1)
        np.maximum(found, np.pad(steps, before), out=found)
        np.maximum(found, np.pad(steps, after), out=found)
    return found


def psnr(one: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of bytes."""
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def picture(content: bytes) -> Pixels:
    """A PNG, shape (bands, rows, columns)."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    with rasterio.MemoryFile(content) as held, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with held.open() as dataset:
            found: Pixels = dataset.read()
            return found
