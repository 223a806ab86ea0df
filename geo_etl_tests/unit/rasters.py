"""Rasters made for tests of grids and warps, and what is known of them without an inspection."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from geo_etl.raster.facts import Band, Grid, RasterFacts, Statistics, Validity
from geo_etl.raster.grid import target_grid
from geo_etl.raster.manifest import Profile, TierPlan


def write(path: Path, pixels: np.ndarray, grid: Grid, **more: Any) -> Path:
    """Write pixels of shape (bands, rows, columns) as a GeoTIFF; `mask` and `alpha` (band) too."""
    mask, alpha = more.pop("mask", None), more.pop("alpha", None)
    options = {"crs": grid.crs, "transform": grid.transform, "dtype": pixels.dtype.name, **more}
    count, height, width = pixels.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", width=width, height=height, count=count, **options
        ) as out,
    ):
        if alpha:
            colors = [ColorInterp.undefined] * count
            colors[0], colors[alpha - 1] = ColorInterp.gray, ColorInterp.alpha
            out.colorinterp = colors
        out.write(pixels)
        if mask is not None:
            out.write_mask(mask)
    return path


def facts_of(
    grid: Grid,
    *dtypes: str,
    nodata: float | None = None,
    validity: Validity | None = None,
    alpha: int | None = None,
    **more: Any,
) -> RasterFacts:
    """Facts of a raster with one band for each type."""
    bands = tuple(
        Band(
            index=index,
            name=None,
            dtype=dtype,
            color="alpha" if index == alpha else "gray" if index == 1 else "undefined",
            nodata=nodata,
            scale=1,
            offset=0,
            unit=None,
            statistics=Statistics(1),
        )
        for index, dtype in enumerate(dtypes, 1)
    )
    if validity is None:
        validity = "alpha" if alpha else "none" if nodata is None else "nodata"
    defaults: dict[str, Any] = {
        "driver": "GTiff",
        "georeference": "transform",
        "kind": "continuous",
        "kind_because": "the test says so",
        "nodata_from": None if nodata is None else "declared",
        "valid_pixels": grid.pixels,
        "narrow_to": None,
        "footprint": None,
        "crs_declared": True,
    }
    return RasterFacts(
        grid=grid, bands=bands, nodata=nodata, validity=validity, **{**defaults, **more}
    )


def plan_of(
    facts: RasterFacts,
    crs: str = "EPSG:4326",
    resampling: str = "bilinear",
    *,
    validity: Validity | None = None,
    **more: Any,
) -> TierPlan:
    """The analysis tier of a raster in a CRS."""
    grid, warped = target_grid(facts, crs, "test.tif")
    validity = validity or facts.validity
    options: dict[str, Any] = {
        "dtype": facts.dtype,
        "nodata": facts.nodata if validity == "nodata" else None,
        "bands": tuple(band.index for band in facts.bands),
        **more,
    }
    profile = Profile(
        tier="analysis",
        lossless=True,
        compress="DEFLATE",
        quality=None,
        predictor=1,
        blocksize=512,
        resampling=resampling,
        overview_resampling="average",
        validity=validity,
        **options,
    )
    return TierPlan("analysis", grid, warped, profile)


def utm(width: int, height: int, size: float = 10.0) -> Grid:
    """Somewhere in Germany."""
    return Grid("EPSG:32633", Affine(size, 0, 300_000, 0, -size, 5_600_000), width, height)


def rolling(width: int, height: int, dtype: str = "float32") -> np.ndarray:
    """Waves, shape (1, height, width), between 1 and 250."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.sin(columns / 7.3) + np.cos(rows / 11.9) + np.sin((rows + columns) / 3.1)
    return (125.5 + 41 * waves).astype(dtype)[np.newaxis]
