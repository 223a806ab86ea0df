"""The bands of a COG as STAC 1.1 describes them, with the raster and eo extensions."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyproj import CRS, Geod

from geo_etl.raster.facts import Band, Grid, RasterFacts, Statistics
from geo_etl.raster.manifest import Made

ALPHA = "alpha"
PICTURE = ("red", "green", "blue", ALPHA)
"""Bands of a picture of one band, in colours that are no light of the data."""
COMMON_NAMES = {"red", "green", "blue"}
"""Colour interpretations of GDAL that are common names of the eo extension too."""
DATA_TYPES = {
    "complex_int16": "cint16",
    "complex_int32": "cint32",
    "complex64": "cfloat32",
    "complex128": "cfloat64",
}
"""GDAL's and numpy's names of complex types as STAC has them; other names are the same."""
FEWEST_BUCKETS = 3
"""The raster extension takes no histogram of fewer."""


def band_objects(
    made: Made, facts: RasterFacts, names: Sequence[str] | None
) -> list[dict[str, Any]]:
    """An object for each band of a file, in their order.

    Args:
        names: of the spec, for the bands of the source.
    """
    of_source = {band.index: band for band in facts.bands}
    written = [of_source[index] for index in made.profile.bands]
    valued = [band.color != ALPHA for band in written]
    if made.tier != "visualization":
        objects = [{**_named(band, names), **_values(band)} for band in written]
    elif sum(valued) > 1:
        objects = [_named(band, names) for band in written]
    else:
        objects = [{"name": color} for color in PICTURE[: made.profile.count]]
        valued = [color != ALPHA for color in PICTURE[: made.profile.count]]
    resolution = resolution_metres(made.grid)
    for described in objects:
        described.update(_type_of(made.profile.dtype, made.profile.nodata))
        described["raster:spatial_resolution"] = resolution
    of_values = [one for one, is_value in zip(objects, valued, strict=True) if is_value]
    for described, statistics in zip(of_values, made.statistics, strict=True):
        described.update(statistics_object(statistics, made.grid.pixels))
    _make_unique(objects)
    return objects


def source_bands(facts: RasterFacts, pixels: int) -> list[dict[str, Any]]:
    """An object for each band of a raster as it is, in their order.

    Args:
        pixels: that its statistics are of, valid or not; 0 for none.
    """
    resolution = resolution_metres(facts.grid)
    objects = []
    for band in facts.bands:
        described = {**_named(band, None), **_values(band), **_type_of(band.dtype, band.nodata)}
        described["raster:spatial_resolution"] = resolution
        if pixels and band.color != ALPHA:
            described.update(statistics_object(band.statistics, pixels))
        objects.append(described)
    _make_unique(objects)
    return objects


def statistics_object(statistics: Statistics, pixels: int) -> dict[str, Any]:
    """`statistics` and `raster:histogram` of a band.

    Args:
        pixels: of the grid, valid or not.
    """
    figures = {
        "minimum": statistics.minimum,
        "maximum": statistics.maximum,
        "mean": statistics.mean,
        "stddev": statistics.stddev,
        "valid_percent": round(100 * statistics.valid / pixels, 6),
    }
    found: dict[str, Any] = {
        "statistics": {
            key: value
            for key, value in figures.items()
            if value is not None and math.isfinite(value)
        }
    }
    histogram = statistics.histogram
    if histogram is not None and len(histogram.counts) >= FEWEST_BUCKETS:
        found["raster:histogram"] = {
            "count": len(histogram.counts),
            "min": histogram.minimum,
            "max": histogram.maximum,
            "buckets": list(histogram.counts),
        }
    return found


def nodata_value(nodata: float | None) -> float | str | None:
    """A nodata value as STAC writes it: JSON has no NaN and no infinity."""
    if nodata is None or math.isfinite(nodata):
        return nodata
    return "nan" if math.isnan(nodata) else "inf" if nodata > 0 else "-inf"


def resolution_metres(grid: Grid) -> float:
    """Edge of a pixel in the middle of a grid, in metres; of oblong ones, of a square as large."""
    crs, transform = CRS.from_user_input(grid.crs), grid.transform
    x, y = transform @ (grid.width / 2, grid.height / 2)
    sides = [(transform.a, transform.d), (transform.b, transform.e)]
    unit = float(crs.axis_info[0].unit_conversion_factor)
    if crs.is_geographic and not crs.is_derived:
        geod, to_degrees = crs.get_geod() or Geod(ellps="WGS84"), math.degrees(unit)
        ends = np.array([(x - dx / 2, y - dy / 2, x + dx / 2, y + dy / 2) for dx, dy in sides])
        lengths = list(geod.inv(*(ends * to_degrees).T)[2])
    else:
        lengths = [math.hypot(dx, dy) * unit for dx, dy in sides]
    return float(
        np.format_float_positional(math.sqrt(lengths[0] * lengths[1]), 6, fractional=False)
    )


def _named(band: Band, names: Sequence[str] | None) -> dict[str, Any]:
    given = names[band.index - 1] if names and band.index <= len(names) else None
    told = band.color if band.color in PICTURE else None
    described: dict[str, Any] = {"name": given or band.name or told or f"b{band.index}"}
    if band.color in COMMON_NAMES:
        described["eo:common_name"] = band.color
    return described


def _values(band: Band) -> dict[str, Any]:
    """What tells the meaning of values that are the source's own."""
    described: dict[str, Any] = {}
    if band.unit:
        described["unit"] = band.unit
    if (band.scale, band.offset) != (1.0, 0.0):
        described["raster:scale"], described["raster:offset"] = band.scale, band.offset
    if band.significant_bits:
        described["raster:bits_per_sample"] = band.significant_bits
    return described


def _type_of(dtype: str, declared: float | None) -> dict[str, Any]:
    known = DATA_TYPES.get(dtype) or (
        dtype if re.fullmatch(r"(u?int|float)\d+", dtype) else "other"
    )
    nodata = nodata_value(declared)
    return {"data_type": known} if nodata is None else {"data_type": known, "nodata": nodata}


def _make_unique(objects: list[dict[str, Any]]) -> None:
    """Bands are asked for by name."""
    taken: set[str] = set()
    for number, described in enumerate(objects, start=1):
        name, tries = described["name"], number
        while name in taken:
            name, tries = f"{described['name']}_{tries}", tries + 1
        described["name"] = name
        taken.add(name)
