"""Pixels ready to be compressed: in a file of our own, uncompressed, in blocks, with overviews.

GDAL's COG driver would make the overviews itself: decode the source once for them and once more for
the full resolution, in one thread, and compress and decode them on the way. With overviews that are
there already, it writes the same.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as Xml

import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterioWindow

from geo_etl.raster.facts import RasterFacts, Window
from geo_etl.raster.gdal import CONFIGURATION, environment
from geo_etl.raster.manifest import Profile
from geo_etl.raster.tiling import itemsize
from geo_etl.raster.view import GDAL_TYPES
from geo_etl.raster.windows import parts

BLOCK = 512
PART_BYTES = 24_000_000
"""Of one reading of one thread."""


def with_overviews(
    pixels: Path | str, profile: Profile, facts: RasterFacts, levels: int, scratch: Path
) -> Path:
    """A file with the same pixels and validity, and with overviews; nothing else is kept.

    Args:
        pixels: a file of geo_etl's own gets its overviews in place; of any other dataset, given by
            name, an uncompressed copy is made.
        levels: how many halvings.
        scratch: where the copy is to be.
    """
    with environment(), rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"):
        if isinstance(pixels, str):
            _copy(pixels, profile, facts, scratch)
            pixels = scratch
        with rasterio.open(pixels, "r+") as dataset:
            factors = [2**level for level in range(1, levels + 1)]
            dataset.build_overviews(factors, Resampling[profile.overview_resampling])
    return pixels


def overview_documents(
    pixels: Path, bands: Sequence[int], profile: Profile, levels: int
) -> list[str]:
    """Each overview of a file as a VRT document with some of its bands, the largest first.

    By itself a VRT shows overviews of its source only where they are neither small nor of an odd
    number of rows or columns.
    """
    with rasterio.open(pixels) as dataset:
        width, height, dtypes = dataset.width, dataset.height, dataset.dtypes
    documents = []
    for level in range(levels):
        factor = 2 ** (level + 1)
        size = {"xSize": str(-(-width // factor)), "ySize": str(-(-height // factor))}
        root = Xml.Element("VRTDataset", rasterXSize=size["xSize"], rasterYSize=size["ySize"])
        for number, index in enumerate(bands, 1):
            band = Xml.SubElement(
                root,
                "VRTRasterBand",
                dataType=GDAL_TYPES[dtypes[index - 1]],
                band=str(number),
                blockXSize=str(BLOCK),
                blockYSize=str(BLOCK),
            )
            _source(band, pixels, str(index), level, size)
        if profile.validity == "mask":
            mask = Xml.SubElement(
                Xml.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte"
            )
            _source(mask, pixels, "mask,1", level, size)
        documents.append(Xml.tostring(root, encoding="unicode"))
    return documents


def _source(band: Xml.Element, pixels: Path, index: str, level: int, size: dict[str, str]) -> None:
    source = Xml.SubElement(band, "SimpleSource")
    Xml.SubElement(source, "SourceFilename", relativeToVRT="0", shared="0").text = str(pixels)
    options = Xml.SubElement(source, "OpenOptions")
    Xml.SubElement(options, "OOI", key="OVERVIEW_LEVEL").text = str(level)
    Xml.SubElement(source, "SourceBand").text = index
    Xml.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    Xml.SubElement(source, "DstRect", {"xOff": "0", "yOff": "0", **size})


def _copy(source: str, profile: Profile, facts: RasterFacts, target: Path) -> None:
    # Other formats than GeoTIFF do not get faster with a second handle.
    threads = 2 if facts.driver == "GTiff" else 1
    lock = threading.Lock()
    with rasterio.open(source) as first:
        depth = first.count * itemsize(first.dtypes[0])
        windows = list(parts(first.width, first.height, depth, PART_BYTES, profile.blocksize))
        shape = {
            "width": first.width,
            "height": first.height,
            "count": first.count,
            "dtype": first.dtypes[0],
            "nodata": first.nodata if profile.validity == "nodata" else None,
        }
        points, points_crs = first.gcps
        place = (
            {"gcps": points, "crs": points_crs}
            if points
            else {"transform": first.transform, "crs": first.crs}
        )
        colors = first.colorinterp
    share = -(-len(windows) // threads)

    def run(out: rasterio.io.DatasetWriter, mine: list[Window]) -> None:
        with rasterio.Env(**CONFIGURATION), rasterio.open(source) as dataset:
            for window in mine:
                where = RasterioWindow(window.col, window.row, window.width, window.height)
                read = dataset.read(window=where)
                mask = dataset.read_masks(1, window=where) if profile.validity == "mask" else None
                with lock:
                    out.write(read, window=where)
                    if mask is not None:
                        out.write_mask(mask, window=where)

    with (
        rasterio.open(
            target,
            "w",
            driver="GTiff",
            tiled=True,
            blockxsize=profile.blocksize,
            blockysize=profile.blocksize,
            interleave="band",
            bigtiff="IF_SAFER",
            **shape,
            **place,
        ) as out,
        ThreadPoolExecutor(threads) as pool,
    ):
        if profile.validity == "alpha":
            out.colorinterp = colors
        # Each thread has a part of the raster that hangs together: no strip is decoded twice.
        halves = [windows[start : start + share] for start in range(0, len(windows), share)]
        for done in [pool.submit(run, out, half) for half in halves]:
            done.result()
