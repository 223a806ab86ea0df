"""Writing one COG: a description that holds all that the file is to say, and GDAL's COG driver.

The description is a VRT of our own over the reference. All metadata stands in it, because nothing
may edit a COG after its last write: that would break the order of its blocks.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import rasterio
import rasterio.shutil
from rasterio.crs import CRS

from geo_etl.raster.facts import Band, Grid, RasterFacts
from geo_etl.raster.gdal import environment
from geo_etl.raster.manifest import Profile
from geo_etl.raster.profiles import SMALLEST_BLOCK
from geo_etl.raster.pyramid import overview_documents, with_overviews
from geo_etl.raster.rendering import look_in, render
from geo_etl.raster.view import GDAL_TYPES

PREDICTORS = {1: "NO", 2: "STANDARD", 3: "FLOATING_POINT"}
STRIP_HEIGHT = 512
"""Levels of more rows are to be tiled."""
SMALLEST_OVERVIEW_BLOCK, OTHER_OVERVIEW_BLOCK = 64, 128
"""Of overviews: the least that GDAL takes, and what it takes instead of any other size."""


@dataclass(frozen=True)
class Content:
    """The pixels of a COG before they are compressed: bands of a dataset, in the COG's order."""

    dataset: Path | str
    bands: tuple[int, ...]


def write_cog(
    reference: Path | str,
    grid: Grid,
    profile: Profile,
    facts: RasterFacts,
    target: Path,
) -> Content:
    """Write a COG; beside it, scratch files that start with its name.

    Args:
        reference: a dataset with exactly the pixels of `grid`; all bands of the source.
        target: a file that is not there yet.

    Returns:
        What the COG holds: bands of the reference, or what is shown of it.
    """
    content = Content(reference, profile.bands)
    if profile.tier == "visualization" and needs_rendering(profile, facts):
        shown = target.with_suffix(".shown.tif")
        render(reference, profile, facts, shown)
        content = Content(shown, tuple(range(1, profile.count + 1)))
    levels = overview_count(grid.width, grid.height)
    pixels, copy = content, target.with_suffix(".pixels.tif")
    if levels:
        ready = with_overviews(content.dataset, profile, facts, levels, copy)
        pixels = Content(ready, content.bands)
    described = target.with_suffix(".vrt")
    described.write_text(description(pixels, grid, profile, facts), encoding="utf-8")
    options = creation_options(profile, grid)
    with environment(), rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"):
        rasterio.shutil.copy(described, target, driver="COG", **options)
    described.unlink()
    copy.unlink(missing_ok=True)
    return content


def needs_rendering(profile: Profile, facts: RasterFacts) -> bool:
    """Whether the pixels shown are others than those of the reference, or masked otherwise."""
    plain = look_in(profile, facts).is_plain
    same_mask = facts.validity != "nodata"
    same_alpha = facts.alpha is None or facts.dtype == "uint8"
    return not (plain and same_mask and same_alpha)


def creation_options(profile: Profile, grid: Grid) -> dict[str, str | int]:
    """Of GDAL's COG driver."""
    levels = overview_count(grid.width, grid.height)
    options: dict[str, str | int] = {
        "COMPRESS": profile.compress,
        "BLOCKSIZE": blocksize_for(profile.blocksize, grid.width, grid.height),
        "OVERVIEWS": "FORCE_USE_EXISTING" if levels else "NONE",
        "NUM_THREADS": "ALL_CPUS",
        "BIGTIFF": "IF_SAFER",
        "STATISTICS": "NO",
    }
    if profile.quality is not None:
        options["QUALITY"] = profile.quality
    if profile.predictor is not None:
        options["PREDICTOR"] = PREDICTORS[profile.predictor]
    return options


def blocksize_for(wanted: int, width: int, height: int) -> int:
    """Edge of a block so that no tall level is just one block wide.

    Strict validation takes such a level for one of strips (rio-cogeo's `cog_validate`). Halving
    leads to widths of 512 wherever tiles are cut at powers of two. Overviews have blocks of the
    same size only where it is a power of two (GDAL's `GDAL_TIFF_OVR_BLOCKSIZE`).
    """
    levels = range(overview_count(width, height) + 1)
    first, *others = (
        -(-width // 2**k) if -(-height // 2**k) > STRIP_HEIGHT else None for k in levels
    )
    parts = (wanted * part // 8 // 16 * 16 for part in (6, 5, 7))
    candidates = (wanted, *parts, wanted // 2, wanted // 4, wanted // 8, 2 * wanted)
    return next(
        (
            size
            for size in candidates
            if size >= SMALLEST_BLOCK and size != first and _overview_block(size) not in others
        ),
        wanted,
    )


def _overview_block(size: int) -> int:
    is_power = size & (size - 1) == 0
    return size if is_power and size >= SMALLEST_OVERVIEW_BLOCK else OTHER_OVERVIEW_BLOCK


def overview_count(width: int, height: int) -> int:
    """Halvings until neither side has more than 512 pixels."""
    return max(0, (max(width, height) - 1).bit_length() - 9)


def description(content: Content, grid: Grid, profile: Profile, facts: RasterFacts) -> str:
    """All that a COG is to say, as a VRT document (https://gdal.org/drivers/raster/vrt.html)."""
    root = Xml.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    with rasterio.open(content.dataset) as dataset:
        blocks = dataset.block_shapes[0]
        points, points_crs = dataset.gcps
    is_rendered = profile.tier == "visualization"
    if points and facts.georeference == "gcps" and profile.tier == "archive":
        listed = Xml.SubElement(root, "GCPList", Projection=(points_crs or CRS()).to_wkt())
        for point in points:
            place = {"Pixel": point.col, "Line": point.row, "X": point.x, "Y": point.y}
            place["Z"] = point.z or 0.0
            Xml.SubElement(
                listed, "GCP", {"Id": str(point.id), **{key: repr(v) for key, v in place.items()}}
            )
    else:
        Xml.SubElement(root, "SRS").text = CRS.from_user_input(grid.crs).to_wkt()
        Xml.SubElement(root, "GeoTransform").text = ", ".join(map(repr, grid.transform.to_gdal()))
    _metadata(root, dict(facts.tags))
    size = {"xOff": "0", "yOff": "0", "xSize": str(grid.width), "ySize": str(grid.height)}
    for number, held in enumerate(content.bands, 1):
        band = Xml.SubElement(
            root,
            "VRTRasterBand",
            dataType=GDAL_TYPES[profile.dtype],
            band=str(number),
            blockXSize=str(blocks[1]),
            blockYSize=str(blocks[0]),
        )
        if is_rendered:
            Xml.SubElement(band, "ColorInterp").text = ("Red", "Green", "Blue", "Alpha")[number - 1]
        else:
            _say(band, facts.bands[held - 1], profile)
        _source(band, content, held, size)
    if profile.validity == "mask":
        mask = Xml.SubElement(Xml.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        _source(mask, content, "mask,1", size)
    levels = overview_count(grid.width, grid.height)
    if levels and isinstance(content.dataset, Path):
        _overviews(root, overview_documents(content.dataset, content.bands, profile, levels))
    return Xml.tostring(root, encoding="unicode")


def _overviews(root: Xml.Element, documents: list[str]) -> None:
    for number, band in enumerate(root.findall("VRTRasterBand"), 1):
        for document in documents:
            overview = Xml.SubElement(band, "Overview")
            Xml.SubElement(overview, "SourceFilename", relativeToVRT="0").text = document
            Xml.SubElement(overview, "SourceBand").text = str(number)


def _say(element: Xml.Element, band: Band, profile: Profile) -> None:
    """What a band of a lossless tier says of itself, as its source says it."""
    if band.name:
        Xml.SubElement(element, "Description").text = band.name
    if band.unit:
        Xml.SubElement(element, "UnitType").text = band.unit
    if (band.offset, band.scale) != (0, 1):
        Xml.SubElement(element, "Offset").text = repr(band.offset)
        Xml.SubElement(element, "Scale").text = repr(band.scale)
    if profile.nodata is not None:
        Xml.SubElement(element, "NoDataValue").text = repr(profile.nodata)
    Xml.SubElement(element, "ColorInterp").text = band.color.capitalize()
    if profile.tier == "archive" and band.significant_bits:
        _metadata(element, {"NBITS": str(band.significant_bits)}, domain="IMAGE_STRUCTURE")
    if band.colormap and profile.dtype in ("uint8", "uint16"):
        table = Xml.SubElement(element, "ColorTable")
        colours = dict(band.colormap)
        for value in range(max(colours) + 1):
            colour = colours.get(value, (0, 0, 0, 0))
            Xml.SubElement(table, "Entry", {f"c{i + 1}": str(c) for i, c in enumerate(colour)})


def _metadata(element: Xml.Element, items: dict[str, str], domain: str | None = None) -> None:
    if items:
        attributes = {"domain": domain} if domain else {}
        metadata = Xml.SubElement(element, "Metadata", attributes)
        for key, value in items.items():
            Xml.SubElement(metadata, "MDI", key=key).text = value


def _source(band: Xml.Element, content: Content, index: int | str, size: dict[str, str]) -> None:
    source = Xml.SubElement(band, "SimpleSource")
    name = Xml.SubElement(source, "SourceFilename", relativeToVRT="0", shared="0")
    name.text = str(content.dataset)
    Xml.SubElement(source, "SourceBand").text = str(index)
    Xml.SubElement(source, "SrcRect", size)
    Xml.SubElement(source, "DstRect", size)
