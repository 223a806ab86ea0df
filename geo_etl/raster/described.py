"""What a COG says of itself, against what was planned."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.enums import MaskFlags

from geo_etl.raster.facts import Band, Grid, RasterFacts, same_nodata
from geo_etl.raster.manifest import Profile
from geo_etl.raster.profiles import significant_bits

SAME_PLACE = 0.01
"""Pixels by which a place may move between the CRS of the file and the one planned."""

FLAGS = {
    "nodata": MaskFlags.nodata,
    "mask": MaskFlags.per_dataset,
    "alpha": MaskFlags.alpha,
    "none": MaskFlags.all_valid,
}


def differences(
    dataset: rasterio.DatasetReader, grid: Grid, profile: Profile, facts: RasterFacts
) -> list[str]:
    """What a file says otherwise than planned, each as a clause about it.

    Args:
        grid: where its pixels are to be.
    """
    return [*_place(dataset, grid, profile, facts), *_bands(dataset, profile, facts)]


def holds(dataset: rasterio.DatasetReader, grid: Grid, profile: Profile) -> bool:
    """Whether a file has the size, bands and type that let its pixels be compared at all."""
    size = dataset.width, dataset.height
    return (
        size == (grid.width, grid.height)
        and dataset.count == profile.count
        and set(dataset.dtypes) == {profile.dtype}
    )


def _place(
    dataset: rasterio.DatasetReader, grid: Grid, profile: Profile, facts: RasterFacts
) -> Iterator[str]:
    size = dataset.width, dataset.height
    if size != (grid.width, grid.height):
        yield f"it has {size[0]} × {size[1]} pixels instead of {grid.width} × {grid.height}"
    points, points_crs = dataset.gcps
    crs = dataset.crs
    if profile.tier == "archive" and facts.georeference == "gcps":
        crs = points_crs
        if not points:
            yield "it has lost its ground control points"
    elif not _same_transform(dataset.transform, grid):
        yield f"its transform is {tuple(dataset.transform)[:6]}, not {tuple(grid.transform)[:6]}"
    if crs is None or not _same_crs(crs.to_wkt(), grid):
        yield f"its CRS is {crs and crs.to_string()}, not {grid.crs}"
    aside = [path for path in dataset.files if Path(path).name != Path(dataset.name).name]
    if aside:
        yield f"it needs {', '.join(Path(path).name for path in aside)} beside it"


def _same_transform(found: rasterio.Affine, grid: Grid) -> bool:
    """Whether corners are where they should be, to a thousandth of a pixel."""
    corners = (0, 0), (grid.width, 0), (0, grid.height)
    inverse = ~grid.transform
    return all(
        math.dist(inverse @ (found @ corner), corner) < max(0.001, 1e-9 * max(corner))
        for corner in corners
    )


def _same_crs(wkt: str, grid: Grid) -> bool:
    """Whether coordinates mean the same place, though GeoTIFF may not keep every name."""
    try:
        one, other = CRS.from_user_input(wkt), CRS.from_user_input(grid.crs)
        if one.equals(other, ignore_axis_order=True):
            return True
        if not (one.is_geographic or one.is_projected):
            return one.name == other.name
        moved = Transformer.from_crs(other, one, always_xy=True)
        west, south, east, north = grid.bounds
        x, y = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5))
        to_x, to_y = moved.transform(x, y)
    except (CRSError, ProjError):
        return False
    a, b, _, d, e, _ = grid.transform[:6]
    pixel = min(math.hypot(a, d), math.hypot(b, e))
    far = np.isfinite(to_x) & (np.hypot(to_x - x, to_y - y) > pixel * SAME_PLACE)
    return not far.any()


def _bands(dataset: rasterio.DatasetReader, profile: Profile, facts: RasterFacts) -> Iterator[str]:
    if dataset.count != profile.count:
        yield f"it has {dataset.count} bands instead of {profile.count}"
        return
    if set(dataset.dtypes) != {profile.dtype}:
        yield f"its type is {dataset.dtypes[0]}, not {profile.dtype}"
    if not same_nodata(dataset.nodata, profile.nodata):
        yield f"its nodata is {dataset.nodata}, not {profile.nodata}"
    if FLAGS[profile.validity] not in dataset.mask_flag_enums[0]:
        found = ", ".join(flag.name for flag in dataset.mask_flag_enums[0])
        yield f"its valid pixels are told by {found}, not by {profile.validity}"
    if profile.tier == "visualization":
        colours = [one.name for one in dataset.colorinterp]
        if colours != ["red", "green", "blue", "alpha"][: dataset.count]:
            yield f"its bands are {', '.join(colours)}"
        return
    bits = significant_bits(facts) if profile.tier == "archive" else None
    for band in facts.bands:
        yield from (f"its band {band.index} {clause}" for clause in _band(dataset, band, bits))


def _band(dataset: rasterio.DatasetReader, band: Band, bits: int | None) -> Iterator[str]:
    at = band.index - 1
    if (dataset.scales[at], dataset.offsets[at]) != (band.scale, band.offset):
        found = dataset.scales[at], dataset.offsets[at]
        yield f"has scale and offset {found}, not {(band.scale, band.offset)}"
    if (dataset.descriptions[at] or None) != (band.name or None):
        yield f"is called {dataset.descriptions[at]}, not {band.name}"
    if (dataset.units[at] or None) != (band.unit or None):
        yield f"has the unit {dataset.units[at]}, not {band.unit}"
    # TIFF 6.0 has no band without a meaning: the first is gray at least.
    if band.color != "undefined" and dataset.colorinterp[at].name != band.color:
        yield f"is {dataset.colorinterp[at].name}, not {band.color}"
    if bits and dataset.tags(band.index, ns="IMAGE_STRUCTURE").get("NBITS") != str(bits):
        yield f"has lost that it has {bits} bits"
    if band.colormap and not _has_colours(dataset, band):
        yield "has lost colours"


def _has_colours(dataset: rasterio.DatasetReader, band: Band) -> bool:
    """Red, green and blue of each value; TIFF 6.0 (section 5) has no opacity in a colour table."""
    try:
        found = dataset.colormap(band.index)
    except ValueError:
        return False
    return all(found.get(value, ())[:3] == colour[:3] for value, colour in band.colormap or ())
