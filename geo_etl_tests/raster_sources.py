"""Small rasters that tests write, and the way of one of them through inspection and conversion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from geo_etl.raster.convert import Converted, convert
from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.grid import target_grid
from geo_etl.raster.inspect import inspect
from geo_etl.raster.manifest import Piece, TierPlan
from geo_etl.raster.opening import open_raster
from geo_etl.raster.profiles import profile_for
from geo_etl.spec import RasterSpec

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def hills(rows: int, columns: int) -> np.ndarray:
    """Smooth heights between 0 and 1, float64."""
    y, x = np.mgrid[0:rows, 0:columns] / 100
    return (np.sin(x * 1.7) * np.cos(y * 1.3) + np.sin(3.1 * (x + 0.7 * y)) / 3 + 4 / 3) * 3 / 8


def colours(rows: int, columns: int, bands: int = 3) -> np.ndarray:
    """A smooth image of bytes, all of them above 0, the bands unlike each other."""
    wave = hills(rows, columns)
    return np.stack([np.rint(20 + 200 * np.roll(wave, 37 * n, 1)) for n in range(bands)]).astype(
        np.uint8
    )


def write(
    path: Path,
    pixels: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    dtype: str | None = None,
    crs: str | None = "EPSG:32633",
    transform: Affine | None = UTM,
    colorinterp: list[Any] | None = None,
    **profile: Any,
) -> Path:
    """A GeoTIFF of pixels of shape (bands, rows, columns); in UTM, of 10 m, unless told."""
    count, height, width = pixels.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=dtype or pixels.dtype.name,
            crs=crs,
            transform=transform,
            **profile,
        ) as file,
    ):
        if colorinterp:
            file.colorinterp = colorinterp
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return path


@dataclass(frozen=True)
class Outcome:
    """What became of a source."""

    facts: RasterFacts
    plans: tuple[TierPlan, ...]
    converted: Converted

    def file(self, tier: str = "analysis") -> str:
        """The path of a tier's COG."""
        return next(made.path for made in self.converted.files if made.tier == tier)


def run(path: Path, folder: Path, **wanted: Any) -> Outcome:
    """Inspect and convert a source as one piece, as the ops do."""
    wanted = {"target_crs": "native", **wanted}
    spec = RasterSpec.model_validate(wanted)
    with open_raster(path, path.name, spec) as opened:
        facts = inspect(opened, path.name, spec)
        plans = []
        for tier in spec.output_tier:
            grid, warped = facts.grid, False
            if tier != "archive":
                grid, warped = target_grid(facts, spec.target_crs, path.name)
            profile = profile_for(tier, facts, spec, warped, path.name)
            plans.append(TierPlan(tier, grid, warped, profile))
        files = []
        pictures = []
        # The archive keeps the grid of the source: a piece of its own where others have another.
        for grid in dict.fromkeys(plan.grid for plan in plans):
            sharing = [plan for plan in plans if plan.grid == grid]
            tiers = tuple(plan.tier for plan in sharing)
            piece = Piece(0, 0, 0, grid.whole, tiers, is_tile=False)
            made = convert(opened, facts, sharing, piece, spec, path.name, folder)
            files += made.files
            pictures.append(made.preview)
    return Outcome(facts, tuple(plans), Converted(tuple(files), pictures[0]))
