"""What has to come out of every real raster, read off the files by GDAL's own commands and by eye.

A file that needs a setting has two rows: without it the job refuses, and says how to go on; with it
the job makes what the row says. Sizes of warped grids are those that gdalwarp suggests. Not here:
how the rows are checked (`test_real_rasters.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Validity = Literal["nodata", "mask", "alpha", "none"]
ANALYSIS: tuple[str, ...] = ("analysis", "archive")
ALL: tuple[str, ...] = ("visualization", "analysis", "archive")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A raster that becomes COGs.

    Attributes:
        size: columns and rows, of the source.
        crs: of the source: a code, or words of its name.
        kind: of data.
        validity: what tells valid pixels in the source, and in the archive.
        nodata: of the source; None where none is declared.
        warped: columns and rows of analysis; () for what no gdalwarp suggests; None: as the source.
        warped_validity: of analysis; '': as the source.
        narrowed: type of analysis, where it is a smaller one that holds every pixel.
        picture: least PSNR in dB of a visualization against analysis.
        empty: no pixel is valid.
        is_seen: whether a tile shows it; not an alpha of 255 in 16 bits, which is next to nothing.
        warnings: words, each of which one of the warnings has.
        beside: text of a world file that is delivered with it, and its extension.
        tiers: that are asked for.
    """

    file: str
    size: tuple[int, int]
    crs: str
    kind: str
    validity: Validity
    bands: int = 1
    dtype: str = "uint8"
    nodata: float | None = None
    warped: tuple[int, int] | tuple[()] | None = None
    warped_validity: Validity | Literal[""] = ""
    narrowed: str = ""
    picture: float = 30.0
    empty: bool = False
    is_seen: bool = True
    warnings: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ANALYSIS
    spec: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[str, str] | None = None

    def __str__(self) -> str:
        return label(self.file, self.spec)


@dataclass(frozen=True)
class Refused:
    """A raster that stops the job.

    Attributes:
        problem: words that the error says.
        remedy: words that its way out says.
        beside: as in `Made`.
    """

    file: str
    problem: str
    remedy: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[str, str] | None = None

    def __str__(self) -> str:
        return label(self.file, self.spec) + ("-world_file" if self.beside else "")


def label(file: str, spec: Mapping[str, Any]) -> str:
    """Name of a row's test."""
    return "-".join([file.rpartition("/")[2], *map(str, spec.values())])


TIFF = "geotiff/"
MASKED: dict[str, Any] = {
    "size": (383, 232),
    "crs": "EPSG:26913",
    "kind": "imagery",
    "bands": 3,
    "validity": "mask",
    "warped": (406, 193),
    "tiers": ALL,
}
POINTS: dict[str, Any] = {"crs": "EPSG:4326", "kind": "continuous", "validity": "none"}
# Sharp borders of pure colours are what JPEG is worst at.
PALETTE: dict[str, Any] = {"kind": "classes", "tiers": ALL, "picture": 23.0}
RGB: dict[str, Any] = {"kind": "imagery", "bands": 3, "tiers": ALL}
WORLD_FILE = "1.0\n0.0\n0.0\n-1.0\n500000.0\n5000000.0\n"
UTM = {"source_crs": "EPSG:32633"}
SUSPICIOUS = ("is suspicious",)

MADE = [
    Made(file=f"{TIFF}201404_13SED190110_201404_0x1500m_CL_1_extmask.tif", **MASKED),
    Made(file=f"{TIFF}cog_rgb_mask.tif", **MASKED),
    Made(
        file=f"{TIFF}RGB.byte.tif", size=(791, 718), crs="EPSG:32618", validity="nodata",
        nodata=0, warped=(835, 696), warnings=SUSPICIOUS, **RGB,
    ),
    Made(
        file=f"{TIFF}RGBA.uint16.tif", size=(634, 411), crs="EPSG:32612", kind="imagery", bands=4,
        dtype="uint16", validity="alpha", warped=(685, 366), is_seen=False,
    ),
    Made(
        file=f"{TIFF}all-nodata.tif", size=(71, 2475), crs="EPSG:32628", kind="imagery", bands=4,
        dtype="uint16", validity="nodata", nodata=0, warped=(89, 2475), empty=True,
        warnings=("no valid pixel",),
    ),
    Made(
        file=f"{TIFF}alpha.tif", size=(1223, 1223), crs="EPSG:3857", kind="imagery", bands=4,
        validity="alpha", warped=(1369, 1056), tiers=ALL,
    ),
    Made(
        file=f"{TIFF}cog_cmap.tif", size=(7168, 8704), crs="EPSG:3857", kind="classes",
        validity="nodata", nodata=0, warped=(8247, 7689), tiers=("analysis",),
    ),
    # The quality band of Landsat: bits, which nobody may average.
    Made(
        file=f"{TIFF}cog_dateline.tif", size=(2325, 2355), crs="EPSG:32660", kind="classes",
        dtype="uint16", validity="none", warped=(2953, 1856), warped_validity="mask",
        warnings=("crosses the antimeridian",),
    ),
    Made(
        file=f"{TIFF}nocog.tif", size=(2658, 2667), crs="EPSG:32621", kind="classes",
        dtype="uint16", validity="none", warped=(3886, 1052), warped_validity="mask",
    ),
    Made(
        file=f"{TIFF}cog_gcps.tif", size=(1280, 837), dtype="uint16", warped=(1417, 1071),
        warped_validity="mask", **POINTS,
    ),
    Made(
        file=f"{TIFF}cog_gcps.tif", size=(1280, 837), dtype="uint16", warped=(1417, 1071),
        warped_validity="mask", tiers=("analysis",), spec={"target_crs": "native"}, **POINTS,
    ),
    Made(
        file=f"{TIFF}slc.tif", size=(1094, 674), dtype="complex_int16", warped=(1105, 1168),
        warped_validity="mask", **POINTS,
    ),
    Made(
        file=f"{TIFF}cog_hirise_mars.tif", size=(1118, 1683), crs="MARS", validity="none",
        spec={"target_crs": "native"}, **RGB,
    ),
    Made(
        file=f"{TIFF}cog_scale_epsg4326.tif", size=(287, 229), crs="EPSG:4326", bands=2,
        kind="continuous", dtype="int16", validity="nodata", nodata=0,
    ),
    # Land and sea, sea being nodata.
    Made(
        file=f"{TIFF}cog_world.tif", size=(36000, 18000), crs="EPSG:4326", kind="mask",
        validity="nodata", nodata=0, tiers=("archive",),
    ),
    Made(
        file=f"{TIFF}cogeo.tif", size=(1024, 1024), crs="EPSG:3857", validity="mask",
        warped=(1135, 899), **RGB,
    ),
    Made(
        file=f"{TIFF}dem.tif", size=(400, 400), crs="EPSG:2056", kind="continuous",
        dtype="float32", validity="nodata", nodata=-9999, warped=(465, 325),
    ),
    Made(
        file=f"{TIFF}dsm.tif", size=(283, 259), crs="EPSG:26918", kind="continuous",
        dtype="float32", validity="nodata", nodata=-9999, warped=(317, 228),
    ),
    Made(
        file=f"{TIFF}float.tif", size=(3, 2), crs="EPSG:3857", kind="continuous",
        dtype="float64", validity="none", warped=(3, 2), warped_validity="nodata",
        spec={"source_crs": "EPSG:3857"}, narrowed="float32",
    ),
    Made(
        file=f"{TIFF}float_nan.tif", size=(3, 2), crs="EPSG:3857", kind="continuous",
        dtype="float32", validity="nodata", nodata=float("nan"), warped=(3, 2),
        spec={"source_crs": "EPSG:3857"},
    ),
    # gdalwarp suggests 602 × 475 pixels, which leave out what lies near the limb of the disk.
    Made(
        file=f"{TIFF}goes.tif", size=(542, 542), crs="unnamed", validity="mask", warped=(), **RGB,
    ),
    Made(
        file=f"{TIFF}goes.tif", size=(542, 542), crs="unnamed", validity="mask",
        spec={"target_crs": "native"}, **RGB,
    ),
    Made(
        file=f"{TIFF}image_colormap.tif", size=(1066, 706), crs="Lambert_Azimuthal",
        validity="none", warped=(1190, 728), warped_validity="mask", **PALETTE,
    ),
    Made(
        file=f"{TIFF}utm.tif", size=(100, 100), crs="EPSG:32617", validity="none",
        warped=(103, 104), warped_validity="mask", **PALETTE,
    ),
    Made(
        file=f"{TIFF}image_nan.tif", size=(316, 341), crs="EPSG:4326", kind="continuous",
        dtype="float64", validity="nodata", nodata=float("nan"),
    ),
    Made(
        file=f"{TIFF}image_web_z5_z11.tif", size=(8448, 8448), crs="EPSG:3857", kind="imagery",
        bands=3, validity="none", warped=(9422, 7347), warped_validity="mask",
        tiers=("analysis",), warnings=("set nodata: 0",),
    ),
    Made(
        file=f"{TIFF}image_webp.tif", size=(512, 512), crs="EPSG:3857", validity="none",
        warped=(522, 501), warped_validity="mask", **RGB,
    ),
    Made(
        file=f"{TIFF}image_with_offsets.tif", size=(256, 256), crs="unnamed", kind="continuous",
        dtype="int16", validity="nodata", nodata=-1000, warped=(287, 229),
    ),
    Made(
        file=f"{TIFF}inverted_lat.tif", size=(720, 360), crs="EPSG:4326", kind="continuous",
        dtype="float32", validity="nodata", nodata=-9999, warped=(720, 360), empty=True,
        warnings=("no valid pixel",),
    ),
    Made(
        file=f"{TIFF}mono4s.tif", size=(1255, 645), crs="EPSG:32633", validity="none",
        warped=(), warped_validity="mask", spec=UTM, beside=("tfw", WORLD_FILE), **PALETTE,
    ),
    Made(
        file=f"{TIFF}nile1-int8.tif", size=(600, 600), crs="EPSG:4326", kind="continuous",
        dtype="int8", validity="none", spec={"source_crs": "EPSG:4326", "data_kind": "continuous"},
    ),
    Made(
        file=f"{TIFF}rmnp-dem.tif", size=(152, 187), crs="EPSG:4326", kind="continuous",
        dtype="uint16", validity="nodata", nodata=65535,
    ),
    Made(
        file=f"{TIFF}rmnp-rgb.tif", size=(485, 373), crs="EPSG:4326", validity="nodata",
        nodata=255, warnings=SUSPICIOUS, **RGB,
    ),
    Made(
        file=f"{TIFF}rotated.tif", size=(10, 15), crs="EPSG:3857", kind="imagery",
        validity="none", warped=(18, 17), warped_validity="mask",
        spec={"source_crs": "EPSG:3857"},
    ),
    # Black and white, of which white is nodata: one value is left.
    Made(
        file=f"{TIFF}shade.tif", size=(1024, 1024), crs="EPSG:3857", kind="mask",
        validity="nodata", nodata=255, warped=(1147, 884),
    ),
    Made(
        file=f"{TIFF}test_esri_wkt.tif", size=(2, 2), crs="ESRI:102039", kind="continuous",
        dtype="uint16", validity="none", warped=(2, 2), warped_validity="mask", narrowed="uint8",
    ),
    Made(
        file=f"{TIFF}unsupported-srs.tif", size=(49, 76), crs="EPSG:3857", kind="imagery",
        validity="nodata", nodata=0, warped=(), spec={"source_crs": "EPSG:3857"},
    ),
    Made(
        file=f"{TIFF}world.byte.tif", size=(2880, 1200), crs="EPSG:4326", kind="mask",
        validity="none",
    ),
    Made(file=f"{TIFF}world.rgb.tif", size=(512, 256), crs="EPSG:4326", validity="none", **RGB),
    Made(
        file="other/389225main_sw_1965_1024.jpg", size=(1024, 768), crs="EPSG:32633",
        validity="none", spec={**UTM, "target_crs": "native"}, beside=("jgw", WORLD_FILE), **RGB,
    ),
    Made(
        file="other/a39se10.jpg", size=(1361, 1744), crs="EPSG:2264", validity="none",
        warped=(1554, 1617), warped_validity="mask", spec={"source_crs": "EPSG:2264"}, **RGB,
    ),
    Made(
        file="other/dem_azimuth50_pa.img", size=(495, 286), crs="Albers", kind="imagery",
        validity="nodata", nodata=0, warped=(534, 234),
    ),
    Made(
        file="other/N10W110.hgt.zip", size=(1201, 1201), crs="EPSG:4326", kind="continuous",
        dtype="int16", validity="nodata", nodata=-32768,
    ),
    Made(
        file="other/s2a_l2a_t30uxu_20220317T111749.jp2", size=(512, 512), crs="EPSG:32630",
        validity="none", warped=(624, 414), warped_validity="mask", **RGB,
    ),
]  # fmt: skip

NO_CRS = ("nothing that PROJ understands says which CRS", "source_crs")
NO_PLACE = ("it has no geotransform", "world file")
NO_PICTURE = {"output_tier": "all"}
EIGHT_BITS = ("a picture has 8 bits", "render_params.rescale")
ONE_BAND = ("has one band", "render_params.rescale")

REFUSED = [
    Refused("corrupt/blank.tiff", "it is empty", "again"),
    Refused("corrupt/corrupt.tif", "block 1, 1", "deliver it again"),
    Refused("corrupt/truncated.tiff", *NO_PLACE),
    Refused(
        "corrupt/truncated.tiff", "can't be read", "deliver it again", UTM, ("tfw", WORLD_FILE)
    ),
    Refused(f"{TIFF}cog_hirise_mars.tif", "PROJ knows no way", "target_crs: native"),
    Refused(f"{TIFF}float.tif", *NO_CRS),
    Refused(f"{TIFF}float_nan.tif", *NO_CRS),
    Refused(f"{TIFF}huge-sparse.tiff", "66000 × 66000", "limits.max_expansion"),
    Refused(f"{TIFF}mono4s.tif", *NO_PLACE),
    Refused(f"{TIFF}nile1-int8.tif", "no place on Earth", "source_crs"),
    Refused(f"{TIFF}rotated.tif", *NO_CRS),
    Refused(f"{TIFF}sample_bigtiff.tif", *NO_PLACE),
    Refused(f"{TIFF}unsupported-srs.tif", *NO_CRS),
    Refused("other/389225main_sw_1965_1024.jpg", *NO_PLACE),
    Refused("other/a39se10.jpg", *NO_CRS),
    Refused("other/dataset_2d.nc", *NO_PLACE),
    Refused(f"{TIFF}RGBA.uint16.tif", *EIGHT_BITS, NO_PICTURE),
    Refused(f"{TIFF}dem.tif", *EIGHT_BITS, NO_PICTURE),
    Refused(f"{TIFF}cog_gcps.tif", *EIGHT_BITS, NO_PICTURE),
    Refused(f"{TIFF}cog_scale_epsg4326.tif", "has 2 bands", "render_params.bands", NO_PICTURE),
    Refused(f"{TIFF}slc.tif", "complex numbers", "Leave visualization out", NO_PICTURE),
    Refused(f"{TIFF}world.byte.tif", *ONE_BAND, NO_PICTURE),
    Refused("other/dem_azimuth50_pa.img", *ONE_BAND, NO_PICTURE),
]

ROWS: list[Made | Refused] = [*MADE, *REFUSED]
