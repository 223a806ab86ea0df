"""Pixels of a raster on another grid.

Here: the warp of a window of a target grid into one uncompressed file, all bands in one reading. It
is computed in the cells of `tiling.cell_shape`, each by one call of GDAL's warper: what a pixel
becomes depends on the source and its grid, not on the window.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject
from rasterio.windows import Window as RasterioWindow

from geo_etl.errors import RasterError
from geo_etl.raster.facts import Grid, RasterFacts, Window
from geo_etl.raster.gdal import CONFIGURATION, environment
from geo_etl.raster.grid import same_crs, unrolled
from geo_etl.raster.manifest import Profile, TierPlan
from geo_etl.raster.tiling import cell_shape
from geo_etl.raster.view import view

WARP_MEGABYTES = 256
"""Of one call of the warper, at most; the cells are made to need less."""
THREADS = 2
"""Rows of cells at work at once, each with a handle of its own on the source."""
NEARLY_WHOLE = 0.05
BLOCK = 512
"""Edge of a block of the file, in pixels: the blocks of a COG, so that each is read once."""

Pixels = npt.NDArray[np.generic]


@dataclass(frozen=True)
class _Work:
    """What every cell needs to know.

    Attributes:
        document: the source, data bands first, alpha last.
        data: how many data bands.
        order: for each band of the file, its place among the data bands; -1 for alpha.
        source_alpha: whether the document's last band is alpha.
    """

    document: str
    data: int
    order: tuple[int, ...]
    source_alpha: bool
    profile: Profile
    resampling: Resampling
    unified: str
    grid: Grid

    @property
    def target_alpha(self) -> bool:
        return self.profile.validity in {"mask", "alpha"}


def warp(
    dataset: rasterio.DatasetReader,
    facts: RasterFacts,
    plan: TierPlan,
    window: Window,
    target: Path,
    name: str,
) -> None:
    """Write a window of a plan's grid as a tiled, uncompressed GeoTIFF.

    Its bands, type, nodata value, mask or alpha are those of the plan's profile. Pixels that the
    source does not cover are invalid.

    Args:
        window: begins at cells, and ends at cells or at the edges of the grid.
        name: of the source, for errors.

    Raises:
        RasterError: GDAL can't read or warp it.
    """
    work = _work(dataset, facts, plan)
    cells = _cells(window, *cell_shape(facts, plan))
    rows = deque(list(row) for _, row in groupby(cells, key=attrgetter("row")))
    threads = min(THREADS, len(rows))
    # One goes down, one goes up, until they meet: next to nothing of the source is decoded twice.
    ends = [rows.popleft, rows.pop]
    writing = threading.Lock()

    def run(out: rasterio.io.DatasetWriter, take: Callable[[], list[Window]]) -> None:
        # Options are those of a thread.
        with rasterio.Env(**CONFIGURATION), rasterio.open(work.document) as source:
            while True:
                try:
                    row = take()
                except IndexError:
                    return
                for cell in row:
                    try:
                        pixels, mask = _warp_cell(source, work, cell)
                    except (RasterioError, CPLE_BaseError) as error:
                        rows.clear()
                        raise _refusal(name, plan, error) from None
                    place = RasterioWindow(
                        cell.col - window.col, cell.row - window.row, cell.width, cell.height
                    )
                    with writing:
                        out.write(pixels, window=place)
                        if mask is not None:
                            out.write_mask(mask, window=place)

    with (
        environment(),
        _create(work, window, target) as out,
        ThreadPoolExecutor(threads) as pool,
    ):
        for done in [pool.submit(run, out, take) for take in ends[:threads]]:
            done.result()


def _refusal(name: str, plan: TierPlan, error: Exception) -> RasterError:
    return RasterError(
        name,
        f"it can't be warped to {plan.grid.crs} ({error})",
        "Set target_crs: native to keep its own grid.",
    )


def resampling_of(facts: RasterFacts, plan: TierPlan) -> Resampling:
    """How pixels are found: nearest where each is one pixel of the source, moved or turned over."""
    source, grid = unrolled(facts.grid)[0], plan.grid
    if facts.georeference == "transform" and same_crs(source.crs, grid.crs):
        one, other = source.transform, grid.transform
        straight = one.b == one.d == other.b == other.d == 0
        if straight and abs(one.a) == other.a and abs(one.e) == -other.e:
            return Resampling.nearest
    return Resampling[plan.profile.resampling]


def _work(dataset: rasterio.DatasetReader, facts: RasterFacts, plan: TierPlan) -> _Work:
    profile = plan.profile
    alpha = facts.alpha
    data = [index for index in profile.bands if index != alpha]
    from_alpha = facts.validity == "alpha" and alpha is not None
    bands = (*data, alpha) if from_alpha and alpha is not None else tuple(data)
    return _Work(
        document=view(dataset, facts, bands, nodata=facts.nodata, unroll=True),
        data=len(data),
        order=tuple(-1 if index == alpha else data.index(index) for index in profile.bands),
        source_alpha=from_alpha,
        profile=profile,
        resampling=resampling_of(facts, plan),
        # A colour of which one component has the value of nodata is a colour; measurements of
        # bands are missing one by one.
        unified="YES" if facts.kind == "imagery" else "PARTIAL",
        grid=plan.grid,
    )


def _cells(window: Window, width: int, height: int) -> Iterator[Window]:
    right, bottom = window.col + window.width, window.row + window.height
    for row in range(window.row - window.row % height, bottom, height):
        for col in range(window.col - window.col % width, right, width):
            left, top = max(col, window.col), max(row, window.row)
            yield Window(left, top, min(col + width, right) - left, min(row + height, bottom) - top)


def _warp_cell(
    source: rasterio.DatasetReader, work: _Work, cell: Window
) -> tuple[Pixels, npt.NDArray[np.uint8] | None]:
    """Bands of the file, and the mask where the profile has one."""
    profile, grid = work.profile, work.grid.window(cell)
    dtype = "complex64" if profile.dtype == "complex_int16" else profile.dtype
    bands = work.data + work.target_alpha
    fill = profile.nodata if profile.validity == "nodata" else None
    pixels: Pixels = np.full((bands, cell.height, cell.width), fill or 0, dtype)
    reproject(
        rasterio.band(source, list(range(1, work.data + 1))),
        pixels,
        src_nodata=source.nodata,
        src_alpha=work.data + 1 if work.source_alpha else 0,
        dst_transform=grid.transform,
        dst_crs=CRS.from_user_input(grid.crs),
        dst_nodata=fill,
        dst_alpha=bands if work.target_alpha else 0,
        resampling=work.resampling,
        warp_mem_limit=WARP_MEGABYTES,
        unified_src_nodata=work.unified,
        xscale=_scale(work.grid.width, source.width),
        yscale=_scale(work.grid.height, source.height),
    )
    mask = None
    if profile.validity == "mask":
        mask = np.where(pixels[-1] != 0, np.uint8(255), np.uint8(0))
    if work.order != tuple(range(bands)):
        pixels = pixels[list(work.order)]
    return pixels, mask


def _scale(target: int, source: int) -> float:
    """Pixels of the target per pixel of the source, which tells how wide a kernel has to be.

    Of the whole raster, as gdalwarp has it when memory allows for one chunk. From one cell GDAL
    would find another where the source covers a part of it only: another sharpness at the edges.
    As in GDAL, a kernel is stretched by nearly whole numbers only as by whole ones.
    """
    times = max(1, round(source / target))
    return 1 / times if abs(source / target - times) < NEARLY_WHOLE else target / source


def _create(work: _Work, window: Window, target: Path) -> rasterio.io.DatasetWriter:
    profile, grid = work.profile, work.grid.window(window)
    out = rasterio.open(
        target,
        "w",
        driver="GTiff",
        width=grid.width,
        height=grid.height,
        count=len(profile.bands),
        dtype=profile.dtype,
        nodata=profile.nodata if profile.validity == "nodata" else None,
        crs=CRS.from_user_input(grid.crs),
        transform=grid.transform,
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        interleave="band",
        bigtiff="IF_SAFER",
    )
    if -1 in work.order:
        colors = [ColorInterp.alpha if n < 0 else ColorInterp.undefined for n in work.order]
        colors[0] = ColorInterp.gray if colors[0] is ColorInterp.undefined else colors[0]
        out.colorinterp = colors
    return out
