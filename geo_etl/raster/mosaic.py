"""Many COGs as one raster: a GDAL virtual raster (VRT) that lies beside them.

Here: the common grid of the members and the text of the file. Not here: which members belong
together, storage, the search that serves them as one layer.

The elements are those of GDAL's VRT driver ("VRT -- GDAL Virtual Format", gdal.org).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from geo_etl.errors import RasterError
from geo_etl.raster.facts import Grid, Validity
from geo_etl.raster.view import GDAL_TYPES

BLOCK = 512
"""Edge of a block in pixels, as in the COGs."""
SNAP = 1e-3
"""Members whose edges are this close to the common grid's pixels, in pixels, lie on it."""
TOO_WIDE = ("int64", "uint64")
"""GDAL tells nodata in these by double precision, which does not hold every value."""


@dataclass(frozen=True)
class MosaicBand:
    """One band as the members have it; nodata is that of the file, not of the source.

    Attributes:
        color: GDAL's colour interpretation in lower case.
    """

    dtype: str
    color: str
    nodata: float | None = None
    name: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    colormap: tuple[tuple[int, tuple[int, int, int, int]], ...] | None = None


@dataclass(frozen=True)
class Member:
    """One COG of a mosaic.

    Attributes:
        path: relative to the folder of the VRT.
        grid: of the file, north up.
    """

    path: str
    grid: Grid
    validity: Validity
    bands: tuple[MosaicBand, ...]


@dataclass(frozen=True)
class _Place:
    """Where a member lies in the common grid, in pixels of it."""

    member: Member
    col: float
    row: float
    width: float
    height: float


def mosaic_grid(members: Sequence[Member], name: str) -> Grid:
    """The grid that all members fit into: resolution and pixel edges of the finest member.

    Raises:
        RasterError: the members differ in CRS, or one is not north up.
    """
    _require_same_crs(members, name)
    for member in members:
        if not member.grid.is_north_up:
            raise RasterError(
                name,
                f"member {member.path} is not north up",
                "Set 'target_crs' to a CRS: warped rasters are north up.",
            )
    finest = min(members, key=lambda m: m.grid.transform.a * -m.grid.transform.e).grid
    bounds = np.array([member.grid.bounds for member in members])
    to_pixels = ~finest.transform
    west, north = to_pixels @ (bounds[:, 0].min(), bounds[:, 3].max())
    east, south = to_pixels @ (bounds[:, 2].max(), bounds[:, 1].min())
    # Whole pixels of the finest member, so that its own stay as they are.
    col, row = floor(west + SNAP), floor(north + SNAP)
    width, height = ceil(east - SNAP) - col, ceil(south - SNAP) - row
    return Grid(finest.crs, finest.transform @ Affine.translation(col, row), width, height)


def vrt(members: Sequence[Member], grid: Grid, name: str) -> str:
    """A VRT that reads the members as one raster; where members overlap, the last is on top.

    Members on the grid's pixels come back pixel for pixel. Those with other pixels are resampled
    by nearest neighbour, as GDAL does it. What no member covers is nodata, masked or transparent.

    Args:
        members: at least one.
        grid: of all of them: that of the untiled raster, or `mosaic_grid`.
        name: of the mosaic, for errors.

    Raises:
        RasterError: members differ in CRS, bands, type, colours, scale, or in how they tell
            valid pixels.
    """
    _require_same_crs(members, name)
    _require_same_bands(members, name)
    validity, bands = _common_validity(members, name), members[0].bands
    places = [_place(member, grid) for member in members]
    boxes = shapely.box(*np.array([_edges(place) for place in places]).T)
    covered, total = float(shapely.union_all(boxes).area), float(shapely.area(boxes).sum())
    overlaps, has_gaps = total > covered + SNAP, covered < grid.pixels - SNAP
    if overlaps and validity != "none" and bands[0].dtype in TOO_WIDE:
        raise RasterError(
            name,
            f"its members overlap, and are {bands[0].dtype} with pixels that are not valid",
            "Leave out 'nodata', or put the members into collections that do not overlap.",
        )
    root = Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    SubElement(root, "SRS").text = CRS.from_user_input(grid.crs).to_wkt()
    # Decimal fractions that read back as the same floats.
    SubElement(root, "GeoTransform").text = ", ".join(map(repr, grid.transform.to_gdal()))
    for index, band in enumerate(bands, 1):
        element = _add_band(root, index, band, with_nodata=validity == "nodata")
        skip = _skip(validity, band) if overlaps else {}
        for place in places:
            _add_source(element, place, str(index), GDAL_TYPES[band.dtype], **skip)
    if validity == "mask" or (validity == "none" and has_gaps):
        mask = SubElement(SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        for place in places:
            _add_source(mask, place, "mask,1", "Byte", nodata=0.0 if overlaps else None)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _skip(validity: Validity, band: MosaicBand) -> dict[str, Any]:
    """What makes a source leave alone what lies below its pixels that are not valid."""
    if validity == "none":
        return {}
    if validity == "nodata":
        return {"nodata": band.nodata}
    return {"nodata": 0.0} if band.color == "alpha" else {"masked": True}


def _add_band(root: Element, index: int, band: MosaicBand, *, with_nodata: bool) -> Element:
    element = SubElement(
        root,
        "VRTRasterBand",
        dataType=GDAL_TYPES[band.dtype],
        band=str(index),
        blockXSize=str(BLOCK),
        blockYSize=str(BLOCK),
    )
    if band.name:
        SubElement(element, "Description").text = band.name
    if with_nodata:
        SubElement(element, "NoDataValue").text = repr(band.nodata)
    if band.unit:
        SubElement(element, "UnitType").text = band.unit
    if (band.scale, band.offset) != (1.0, 0.0):
        SubElement(element, "Offset").text = repr(band.offset)
        SubElement(element, "Scale").text = repr(band.scale)
    SubElement(element, "ColorInterp").text = band.color.capitalize()
    if band.colormap:
        colors, table = dict(band.colormap), SubElement(element, "ColorTable")
        # An entry's place is its value.
        for value in range(max(colors) + 1):
            parts = zip(("c1", "c2", "c3", "c4"), colors.get(value, (0, 0, 0, 0)), strict=True)
            SubElement(table, "Entry", {key: str(part) for key, part in parts})
    return element


def _add_source(
    parent: Element,
    place: _Place,
    band: str,
    kind: str,
    *,
    nodata: float | None = None,
    masked: bool = False,
) -> None:
    grid = place.member.grid
    # A simple source copies pixels as they are; only a complex one looks at their validity.
    is_simple = nodata is None and not masked
    source = SubElement(parent, "SimpleSource" if is_simple else "ComplexSource")
    SubElement(source, "SourceFilename", relativeToVRT="1").text = place.member.path
    SubElement(source, "SourceBand").text = band
    # With these, a file is opened only when its pixels are asked for.
    SubElement(
        source,
        "SourceProperties",
        RasterXSize=str(grid.width),
        RasterYSize=str(grid.height),
        DataType=kind,
        BlockXSize=str(BLOCK),
        BlockYSize=str(BLOCK),
    )
    _add_rectangle(source, "SrcRect", (0, 0, grid.width, grid.height))
    _add_rectangle(source, "DstRect", (place.col, place.row, place.width, place.height))
    if masked:
        SubElement(source, "UseMaskBand").text = "true"
    if nodata is not None:
        SubElement(source, "NODATA").text = repr(nodata)


def _add_rectangle(parent: Element, tag: str, values: tuple[float, float, float, float]) -> None:
    keys = ("xOff", "yOff", "xSize", "ySize")
    SubElement(parent, tag, {key: repr(v) for key, v in zip(keys, values, strict=True)})


def _place(member: Member, grid: Grid) -> _Place:
    """Where a member lies: its axes are those of the grid, whatever they are."""
    own, to_pixels = member.grid, ~grid.transform
    col, row = to_pixels @ (own.transform.c, own.transform.f)
    last_col, last_row = to_pixels @ (own.transform @ (own.width, own.height))
    col, row, last_col, last_row = map(_snapped, (col, row, last_col, last_row))
    return _Place(member, col, row, last_col - col, last_row - row)


def _edges(place: _Place) -> tuple[float, float, float, float]:
    return place.col, place.row, place.col + place.width, place.row + place.height


def _snapped(value: float) -> float:
    return round(value) if abs(value - round(value)) < SNAP else value


def _require_same_crs(members: Sequence[Member], name: str) -> None:
    crs_of = {member.grid.crs: CRS.from_user_input(member.grid.crs) for member in members}
    _require_same(
        members, name, "CRS", lambda m: crs_of[m.grid.crs], "Give the folder a 'target_crs'."
    )


def _require_same_bands(members: Sequence[Member], name: str) -> None:
    apart = "Put them into folders of their own."
    _require_same(members, name, "number of bands", lambda m: len(m.bands), apart)
    for what, attribute in (
        ("type", "dtype"),
        ("colour interpretation", "color"),
        ("colour table", "colormap"),
        ("scale", "scale"),
        ("offset", "offset"),
    ):
        _require_same(members, name, what, _of_bands(attribute), apart)


def _of_bands(attribute: str) -> Callable[[Member], list[Any]]:
    return lambda member: [getattr(band, attribute) for band in member.bands]


def _common_validity(members: Sequence[Member], name: str) -> Validity:
    """How the mosaic tells valid pixels: as its members do, else by a mask."""
    kinds = {member.validity for member in members}
    nodata = {tuple(repr(band.nodata) for band in member.bands) for member in members}
    if len(kinds) == 1 and (kinds != {"nodata"} or len(nodata) == 1):
        return next(iter(kinds))
    # The mask of a file is that of its first band.
    if kinds <= {"mask", "none"} or len(members[0].bands) == 1:
        return "mask"
    first = members[0]
    other = next(m for m in members if m.validity != first.validity or m.bands != first.bands)
    raise RasterError(
        name,
        f"{first.path} and {other.path} do not tell valid pixels in the same way"
        f" ({_said(first)}, {_said(other)})",
        "Put them into folders of their own.",
    )


def _said(member: Member) -> str:
    return f"{member.validity} {member.bands[0].nodata}".removesuffix(" None")


def _require_same(
    members: Sequence[Member], name: str, what: str, of: Callable[[Member], Any], remedy: str
) -> None:
    first = members[0]
    for member in members:
        if of(member) != of(first):
            raise RasterError(
                name,
                f"{first.path} and {member.path} differ in {what}:"
                f" {_short(of(first))} and {_short(of(member))}",
                remedy,
            )


def _short(value: object) -> str:
    said = " ".join(str(value).split())
    return said if len(said) <= 80 else f"{said[:77]}…"
