"""The proof of a COG: the file as it lies there, against the pixels that it was made from.

Whether these pixels are right themselves is the question of `rewarp`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow
from rio_cogeo.cogeo import cog_validate

from geo_etl.raster.cog import Content
from geo_etl.raster.compare import PART_BYTES, Comparison, Floats, compare, distinct, has_classes
from geo_etl.raster.coverage import Coverage
from geo_etl.raster.described import differences, holds
from geo_etl.raster.facts import Grid, RasterFacts, Statistics
from geo_etl.raster.footprint import footprint
from geo_etl.raster.manifest import Profile, Proof, TierPlan
from geo_etl.raster.profiles import pixel_bytes
from geo_etl.raster.windows import parts


@dataclass(frozen=True)
class Proven:
    """A proof, and what was measured on the way.

    Attributes:
        statistics: of the data bands.
        valid_pixels: valid in at least one band.
        footprint: WKB in the CRS of the grid, around the valid pixels; None without any.
    """

    proof: Proof
    statistics: tuple[Statistics, ...] = ()
    valid_pixels: int = 0
    footprint: bytes | None = None


def prove(cog: Path, content: Content, grid: Grid, plan: TierPlan, facts: RasterFacts) -> Proven:
    """Compare a COG with what it is to hold, and measure it.

    Args:
        cog: the file after its last write.
        content: what `write_cog` made it from.
        grid: where its pixels are to be.
        plan: of its tier.
    """
    profile = plan.profile
    is_valid, errors, warnings = cog_validate(cog, strict=True, quiet=True)
    if grid.width == 1:
        # rasterio finds how much smaller an overview is by its width: a column stays as wide.
        errors = [error for error in errors if not error.startswith("Invalid Decimation 1 ")]
        is_valid = not errors and not warnings
    problems = (*errors, *warnings)
    with rasterio.open(cog) as dataset:
        said = tuple(differences(dataset, grid, profile, facts))
        if not holds(dataset, grid, profile):
            return Proven(Proof(is_valid, problems, 0, None, 0, None, None, None, said))
    # Every pixel of the source, if nothing differs: that has been measured by the inspection.
    is_source = plan.tier != "visualization" and not plan.warped and grid == facts.grid
    coverage = None if is_source else Coverage(grid.width, grid.height)
    found = compare(cog, content, profile, facts, coverage)
    lossy = not profile.lossless
    proof = Proof(
        cog_valid=is_valid,
        cog_problems=problems,
        pixels_compared=grid.pixels,
        pixels_different=None if lossy else found.different,
        mask_different=found.mask_different,
        psnr_db=found.psnr_db if lossy else None,
        max_error=float(found.largest) if lossy else None,
        new_classes=_new_classes(cog, profile, found) if has_classes(profile, facts) else None,
        differences=(*said, *(found.drifts() if lossy else ())),
    )
    if coverage is None:
        measured = tuple(band.statistics for band in facts.data_bands)
        return Proven(proof, measured, facts.valid_pixels, facts.footprint)
    measured = tuple(tally.statistics(None) for tally in found.tallies)
    return Proven(proof, measured, coverage.pixels(None), _outline(coverage, grid))


def _outline(coverage: Coverage, grid: Grid) -> bytes | None:
    a, b, c, d, e, f = grid.transform[:6]

    def place(corners: Floats) -> Floats:
        return np.asarray(corners @ np.array([[a, d], [b, e]]) + [c, f])

    cells, step = coverage.cells(None), coverage.step
    return footprint(cells, step, grid.width, grid.height, place, is_curved=False)


def _new_classes(cog: Path, profile: Profile, found: Comparison) -> tuple[int, ...]:
    """Valid values of overviews, of any band, that the same band has not at full resolution."""
    assert found.values is not None
    new: set[float] = set()
    with rasterio.open(cog) as dataset:
        levels = len(dataset.overviews(1))
        data = [at for at in dataset.indexes if dataset.colorinterp[at - 1].name != "alpha"]
    for level in range(levels):
        with rasterio.open(cog, overview_level=level) as dataset:
            depth = 2 * pixel_bytes(profile.dtype)
            for part in parts(dataset.width, dataset.height, depth, PART_BYTES, profile.blocksize):
                window = RasterioWindow(part.col, part.row, part.width, part.height)
                for values, index in zip(found.values, data, strict=True):
                    valid = dataset.read_masks(index, window=window) > 0
                    present = distinct(dataset.read(index, window=window)[valid])
                    new.update(np.setdiff1d(present, values).tolist())
    return tuple(sorted(int(value) for value in new))
