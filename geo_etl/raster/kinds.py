"""What the pixels of a raster are: imagery, continuous values, classes or a mask."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geo_etl.raster.facts import Band
from geo_etl.spec import RasterSpec
from geo_etl.spec.raster import DataKind

MAX_CLASSES = 48
"""Distinct values up to which whole numbers are taken for classes where nothing says so."""
MAX_CLASSES_OF_SEVERAL = 12
"""The same of three bands and more, which are a picture more often."""
PIXELS_PER_CLASS = 16
"""Valid pixels that each distinct value needs on average to be taken for a class."""
_COLORS = {"red", "green", "blue"}
_ELEVATION = {"SRTMHGT"}


@dataclass(frozen=True)
class Kind:
    """What the pixels are, and why, for people."""

    kind: DataKind
    because: str


def kind_of(bands: Sequence[Band], driver: str, layer_type: str | None, spec: RasterSpec) -> Kind:
    """Decide by the spec, by what the file says, and at last by the values.

    Args:
        bands: with classes and statistics; an alpha band is left aside.
        layer_type: LAYER_TYPE of Erdas Imagine: thematic or athematic.
    """
    data = [band for band in bands if band.color != "alpha"]
    if spec.data_kind is not None:
        return Kind(spec.data_kind, "the spec says so")
    said = _said(data, driver, layer_type)
    return said or _by_values(data, layer_type)


def _said(data: Sequence[Band], driver: str, layer_type: str | None) -> Kind | None:
    if any(band.color == "palette" or band.colormap for band in data):
        return Kind("classes", "it has a colour table")
    if driver in _ELEVATION:
        return Kind("continuous", "SRTM tiles hold elevations")
    if layer_type == "thematic":
        return Kind("classes", "its layer type is thematic")
    if any("complex" in band.dtype for band in data):
        return Kind("continuous", "its numbers are complex")
    if any("float" in band.dtype for band in data):
        return Kind("continuous", "its values are floats")
    if any(band.scale != 1 or band.offset != 0 for band in data):
        return Kind("continuous", "its values have a scale or an offset")
    if {band.color for band in data} >= _COLORS:
        return Kind("imagery", "its bands are red, green and blue")
    return None


def _by_values(data: Sequence[Band], layer_type: str | None) -> Kind:
    distinct = max(math.inf if band.classes is None else len(band.classes) for band in data)
    known = max(band.statistics.valid for band in data)
    if known == 0:
        return Kind("continuous", "it has no valid pixel that would tell")
    is_small = data[0].dtype in {"uint8", "int8"}
    if layer_type != "athematic":
        if distinct <= 2 and (is_small or data[0].significant_bits == 1):
            return Kind("mask", _only(int(distinct)))
        most = MAX_CLASSES if len(data) < 3 else MAX_CLASSES_OF_SEVERAL
        if distinct <= most and known >= distinct * PIXELS_PER_CLASS:
            return Kind("classes", _only(int(distinct)))
    if len(data) >= 3:
        return Kind("imagery", f"it has {len(data)} bands of whole numbers")
    if is_small:
        return Kind("imagery", "its bytes are shades of grey")
    return Kind("continuous", "its whole numbers have many values")


def _only(distinct: int) -> str:
    return f"it has only {distinct} different value{'s' if distinct != 1 else ''}"
