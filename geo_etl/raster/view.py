"""A source as the warper and the COG writer are to see it, without a copy of its pixels.

Here: GDAL's VRT documents that geo_etl writes itself over one source that it has opened and proven
(https://gdal.org/drivers/raster/vrt.html). A VRT that somebody delivers is never opened.
"""

from xml.etree import ElementTree as Xml

import rasterio
from affine import Affine
from rasterio.crs import CRS

from geo_etl.raster.facts import Grid, RasterFacts, Validity, Window
from geo_etl.raster.grid import unrolled

GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
    "complex_int16": "CInt16",
    "complex64": "CFloat32",
    "complex128": "CFloat64",
}


def view(
    dataset: rasterio.DatasetReader,
    facts: RasterFacts,
    bands: tuple[int, ...],
    *,
    nodata: float | None = None,
    validity: Validity | None = None,
    dtype: str | None = None,
    window: Window | None = None,
    unroll: bool = False,
) -> str:
    """A document that `rasterio.open` takes, of some bands and of all pixels or a window.

    Args:
        bands: of the source, by index.
        nodata: value that is declared; only with the validity `nodata`.
        validity: what tells valid pixels; default: as the facts say.
        dtype: of the pixels; default: as the source has them.
        unroll: longitudes 0 to 360 become -180 to 180.
    """
    validity = validity or facts.validity
    whole = Window(0, 0, dataset.width, dataset.height)
    window = window or whole
    grid, roll = unrolled(facts.grid) if unroll else (facts.grid, 0)
    root = Xml.Element("VRTDataset", rasterXSize=str(window.width), rasterYSize=str(window.height))
    _georeference(root, dataset, facts, grid, window)
    moves = _moves(window, roll, dataset.width)
    for number, index in enumerate(bands, 1):
        known = facts.bands[index - 1]
        band = Xml.SubElement(
            root, "VRTRasterBand", dataType=GDAL_TYPES[dtype or known.dtype], band=str(number)
        )
        if validity == "nodata" and nodata is not None:
            Xml.SubElement(band, "NoDataValue").text = repr(nodata)
        if known.color != "undefined":
            Xml.SubElement(band, "ColorInterp").text = known.color.capitalize()
        _sources(band, dataset, str(index), moves)
    if validity == "mask":
        mask = Xml.SubElement(Xml.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        _sources(mask, dataset, "mask,1", moves)
    return Xml.tostring(root, encoding="unicode")


def _georeference(
    root: Xml.Element,
    dataset: rasterio.DatasetReader,
    facts: RasterFacts,
    grid: Grid,
    window: Window,
) -> None:
    wkt = CRS.from_user_input(grid.crs).to_wkt()
    if facts.georeference == "transform":
        Xml.SubElement(root, "SRS").text = wkt  # x east or longitude, as in `Grid`
        transform: Affine = grid.window(window).transform
        Xml.SubElement(root, "GeoTransform").text = ", ".join(map(repr, transform.to_gdal()))
        return
    points = Xml.SubElement(root, "GCPList", Projection=wkt)
    for point in dataset.gcps[0]:
        Xml.SubElement(
            points,
            "GCP",
            Id=str(point.id),
            Pixel=repr(point.col - window.col),
            Line=repr(point.row - window.row),
            X=repr(point.x),
            Y=repr(point.y),
            Z=repr(point.z or 0.0),
        )


def _moves(window: Window, roll: int, width: int) -> list[tuple[Window, int]]:
    """Parts of the source, and the column of the view where each begins."""
    if not roll:
        return [(window, 0)]
    first = Window(roll, window.row, width - roll, window.height)
    second = Window(0, window.row, roll, window.height)
    return [(first, 0), (second, width - roll)]


def _sources(
    band: Xml.Element,
    dataset: rasterio.DatasetReader,
    index: str,
    moves: list[tuple[Window, int]],
) -> None:
    for part, column in moves:
        source = Xml.SubElement(band, "SimpleSource")
        Xml.SubElement(source, "SourceFilename", relativeToVRT="0", shared="0").text = dataset.name
        Xml.SubElement(source, "SourceBand").text = index
        Xml.SubElement(source, "SrcRect", _rectangle(part))
        Xml.SubElement(source, "DstRect", _rectangle(Window(column, 0, part.width, part.height)))


def _rectangle(window: Window) -> dict[str, str]:
    return {
        "xOff": str(window.col),
        "yOff": str(window.row),
        "xSize": str(window.width),
        "ySize": str(window.height),
    }
