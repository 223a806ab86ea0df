"""What an inspection finds, against readings of the same files by other means."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

from geo_etl.errors import SourceError, SpecError
from geo_etl.raster.coverage import Coverage
from geo_etl.raster.facts import RasterFacts, Window
from geo_etl.raster.footprint import footprint
from geo_etl.raster.inspect import inspect
from geo_etl.raster.opening import open_raster
from geo_etl.raster.reading import WINDOW_BYTES, parts
from geo_etl.raster.tally import tallies
from geo_etl.spec import RasterSpec
from geo_etl_tests.unit.test_raster_opening import UTM, WORLD_FILE, converted, tiff

NOISE = np.random.default_rng(7)


def look(path: Path, **spec: Any) -> RasterFacts:
    asked = RasterSpec(**spec)
    with open_raster(path, path.name, asked) as opened:
        return inspect(opened, path.name, asked)


def warned(facts: RasterFacts, word: str) -> bool:
    return any(word in warning for warning in facts.warnings)


# Real files. Kind, CRS, nodata and what tells valid pixels, read off by gdalinfo and QGIS.

REAL: dict[str, tuple[str, str | None, float | None, str]] = {
    "geotiff/201404_13SED190110_201404_0x1500m_CL_1_extmask.tif": (
        "imagery",
        "EPSG:26913",
        None,
        "mask",
    ),
    "geotiff/RGB.byte.tif": ("imagery", "EPSG:32618", 0, "nodata"),
    "geotiff/RGBA.uint16.tif": ("imagery", "EPSG:32612", None, "alpha"),
    "geotiff/all-nodata.tif": ("imagery", "EPSG:32628", 0, "nodata"),
    "geotiff/alpha.tif": ("imagery", "EPSG:3857", None, "alpha"),
    "geotiff/cog_cmap.tif": ("classes", "EPSG:3857", 0, "nodata"),
    "geotiff/cog_dateline.tif": ("classes", "EPSG:32660", None, "none"),
    "geotiff/cog_gcps.tif": ("continuous", "EPSG:4326", None, "none"),
    "geotiff/cog_hirise_mars.tif": ("imagery", None, None, "none"),
    "geotiff/cog_rgb_mask.tif": ("imagery", "EPSG:26913", None, "mask"),
    "geotiff/cog_scale_epsg4326.tif": ("continuous", "EPSG:4326", 0, "nodata"),
    "geotiff/cogeo.tif": ("imagery", "EPSG:3857", None, "mask"),
    "geotiff/dem.tif": ("continuous", "EPSG:2056", -9999, "nodata"),
    "geotiff/dsm.tif": ("continuous", "EPSG:26918", -9999, "nodata"),
    "geotiff/goes.tif": ("imagery", None, None, "mask"),
    "geotiff/image_colormap.tif": ("classes", None, None, "none"),
    "geotiff/image_nan.tif": ("continuous", "EPSG:4326", math.nan, "nodata"),
    "geotiff/image_webp.tif": ("imagery", "EPSG:3857", None, "none"),
    "geotiff/image_with_offsets.tif": ("continuous", None, -1000, "nodata"),
    "geotiff/inverted_lat.tif": ("continuous", "EPSG:4326", -9999, "nodata"),
    "geotiff/nocog.tif": ("classes", "EPSG:32621", None, "none"),
    "geotiff/rmnp-dem.tif": ("continuous", "EPSG:4326", 65535, "nodata"),
    "geotiff/rmnp-rgb.tif": ("imagery", "EPSG:4326", 255, "nodata"),
    "geotiff/shade.tif": ("mask", "EPSG:3857", 255, "nodata"),
    "geotiff/slc.tif": ("continuous", "EPSG:4326", None, "none"),
    "geotiff/test_esri_wkt.tif": ("continuous", "ESRI:102039", None, "none"),
    "geotiff/utm.tif": ("classes", "EPSG:32617", None, "none"),
    "geotiff/world.byte.tif": ("mask", "EPSG:4326", None, "none"),
    "geotiff/world.rgb.tif": ("imagery", "EPSG:4326", None, "none"),
    "other/N10W110.hgt.zip": ("continuous", "EPSG:4326", -32768, "nodata"),
    "other/dem_azimuth50_pa.img": ("imagery", None, 0, "nodata"),
    "other/s2a_l2a_t30uxu_20220317T111749.jp2": ("imagery", "EPSG:32630", None, "none"),
}
REFUSED = {
    "corrupt/blank.tiff": "0 bytes",
    "corrupt/corrupt.tif": r"block 1, 1 .*band 1 can't be read.*rows 512 to 1023",
    "corrupt/truncated.tiff": "no geotransform",
    "geotiff/float.tif": "source_crs",
    "geotiff/float_nan.tif": "source_crs",
    "geotiff/huge-sparse.tiff": "max_expansion",
    "geotiff/mono4s.tif": "no geotransform",
    "geotiff/nile1-int8.tif": "Engineering CRS",
    "geotiff/rotated.tif": "source_crs",
    "geotiff/sample_bigtiff.tif": "no geotransform",
    "geotiff/unsupported-srs.tif": "nothing that PROJ understands",
    "other/389225main_sw_1965_1024.jpg": "no geotransform",
    "other/a39se10.jpg": "source_crs",
    "other/dataset_2d.nc": "no geotransform",
}
LARGE = {"geotiff/cog_world.tif", "geotiff/image_web_z5_z11.tif"}


@pytest.mark.parametrize("file", REAL)
def test_a_real_file_is_what_others_say(file: str, shared_data: Path) -> None:
    facts = look(shared_data / "raster" / file)
    kind, crs, nodata, validity = REAL[file]
    assert (facts.kind, facts.validity) == (kind, validity)
    assert facts.grid.crs == crs if crs else facts.grid.crs.startswith("PROJCRS[")
    assert facts.nodata == nodata or (math.isnan(nodata or 0) and math.isnan(facts.nodata or 0))


@pytest.mark.parametrize("file", [one for one in REAL if one != "geotiff/slc.tif"])
def test_the_statistics_of_a_real_file_are_those_of_numpy(file: str, shared_data: Path) -> None:
    path = shared_data / "raster" / file
    facts = look(path)
    with rasterio.open(f"zip://{path}!N10W110.hgt" if path.suffix == ".zip" else path) as dataset:
        for band in facts.data_bands:
            values = dataset.read(band.index, masked=True)
            values = np.ma.masked_invalid(values).compressed().astype("float64")
            found = band.statistics
            assert found.valid == values.size
            if values.size == 0:
                continue
            assert (found.minimum, found.maximum) == (values.min(), values.max())
            assert found.mean == pytest.approx(values.mean(), rel=1e-9)
            assert found.stddev == pytest.approx(values.std(), rel=1e-7, abs=1e-9)
            assert found.histogram is not None
            assert sum(found.histogram.counts) == values.size
        assert facts.valid_pixels == np.count_nonzero(dataset.dataset_mask())


@pytest.mark.parametrize("file", REFUSED)
def test_a_real_file_is_refused_with_the_reason(file: str, shared_data: Path) -> None:
    with pytest.raises(SourceError, match=REFUSED[file]) as raised:
        look(shared_data / "raster" / file)
    assert raised.value.remedy


def test_every_real_file_has_an_expectation(shared_data: Path) -> None:
    found = {
        f"{path.parent.name}/{path.name}"
        for path in (shared_data / "raster").glob("*/*")
        if path.suffix not in {".msk", ".jgw"}
    }
    assert found == REAL.keys() | REFUSED.keys() | LARGE


@pytest.mark.parametrize(
    ("file", "crs"),
    [
        ("geotiff/nile1-int8.tif", "EPSG:4326"),
        ("geotiff/unsupported-srs.tif", "EPSG:27700"),
        ("geotiff/rotated.tif", "EPSG:32633"),
        ("other/a39se10.jpg", "EPSG:2225"),
    ],
)
def test_source_crs_is_the_way_out(file: str, crs: str, shared_data: Path) -> None:
    facts = look(shared_data / "raster" / file, source_crs=crs)
    assert (facts.grid.crs, facts.crs_declared) == (crs, False)


def test_a_cog_is_known_as_one(shared_data: Path) -> None:
    folder = shared_data / "raster" / "geotiff"
    assert look(folder / "cog_rgb_mask.tif").is_cog
    assert not look(folder / "nocog.tif").is_cog


def test_the_time_of_a_tag_is_utc_and_said(shared_data: Path) -> None:
    facts = look(shared_data / "raster" / "geotiff" / "slc.tif")
    assert (facts.acquired, facts.acquired_from) == ("2020-07-08T05:05:14Z", "TIFFTAG_DATETIME")
    assert warned(facts, "UTC")


# Reading


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tiled": True, "blockxsize": 64, "blockysize": 64},
        {"tiled": True, "blockxsize": 16, "blockysize": 256, "interleave": "pixel"},
        {"blockysize": 700},
        {"interleave": "band", "compress": "LZW"},
    ],
)
def test_every_pixel_is_read_once(options: dict[str, Any], tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.zeros((3, 700, 530), "uint8"), **options)
    times = np.zeros((3, 700, 530), int)
    with rasterio.open(path) as dataset:
        for part in parts(dataset):
            window = part.window
            for index in (band for group in part.groups for band in group):
                times[
                    index - 1,
                    window.row : window.row + window.height,
                    window.col : window.col + window.width,
                ] += 1
    assert (times == 1).all()


@pytest.mark.parametrize(
    ("bands", "side", "options"),
    [
        (1, 9000, {"blockysize": 9000}),
        (300, 256, {"tiled": True, "interleave": "pixel"}),
        (300, 256, {"tiled": True, "interleave": "band"}),
        (4, 5000, {"tiled": True, "blockxsize": 4096, "blockysize": 4096}),
    ],
)
def test_no_window_is_larger_than_its_budget(
    bands: int, side: int, options: dict[str, Any], tmp_path: Path
) -> None:
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=bands,
        dtype="float32",
        SPARSE_OK=True,
        compress="LZW",
        crs="EPSG:32632",
        transform=UTM,
        **options,
    ):
        pass
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert all(
            part.window.width * part.window.height * 4 * len(group) <= WINDOW_BYTES
            for part in parts(dataset)
            for group in part.groups
        )


def test_a_damaged_jpeg_tile_is_no_grey_tile(tmp_path: Path) -> None:
    pixels = NOISE.integers(0, 255, (3, 512, 512), dtype="uint8")
    path = tiff(tmp_path / "a.tif", pixels, tiled=True, compress="JPEG", photometric="YCbCr")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2] = b"\xff\xd9"  # the end of a JPEG
    path.write_bytes(content)
    with rasterio.open(path) as dataset:
        assert dataset.read().shape == (3, 512, 512)  # GDAL reads on
    with pytest.raises(SourceError, match=r"block \d, \d .*JPEG"):
        look(path)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("compress", ["NONE", "DEFLATE", "ZSTD", "LZW"])
def test_a_cut_off_geotiff_is_refused(compress: str, share: float, tmp_path: Path) -> None:
    pixels = NOISE.integers(0, 255, (2, 300, 300), dtype="uint8")
    path = tiff(tmp_path / "a.tif", pixels, compress=compress)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(SourceError, match="can't be read"):
        look(path)


def test_a_cut_off_netcdf_is_refused(tmp_path: Path) -> None:
    source = tiff(tmp_path / "a.tif", NOISE.random((1, 100, 100)).astype("float32"))
    path = tmp_path / "a.nc"
    rasterio.shutil.copy(source, path, driver="netCDF")
    assert look(path).valid_pixels == 10_000
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(SourceError, match="cut off"):
        look(path)


def test_a_cut_off_png_is_refused(tmp_path: Path) -> None:
    path = converted(tmp_path / "a.png", "PNG")
    path.with_suffix(".pgw").write_text(WORLD_FILE)
    assert look(path, source_crs="EPSG:32632").valid_pixels == 4096
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match="cut off"):
        look(path, source_crs="EPSG:32632")


# Where it is


def placeless(path: Path, side: int) -> Path:
    """A GeoTIFF that says nothing of where it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return tiff(path, np.ones((1, side, side), "uint8"), transform=None, crs=None)


def test_ground_control_points_give_the_grid(tmp_path: Path) -> None:
    points = [
        GroundControlPoint(row, col, 500_000 + 10 * col, 5_000_000 - 10 * row)
        for row in (0, 50, 100)
        for col in (0, 50, 100)
    ]
    path = placeless(tmp_path / "a.tif", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "r+") as dataset:
            dataset.gcps = (points, rasterio.CRS.from_epsg(32632))
    facts = look(path)
    assert (facts.georeference, facts.grid.crs) == ("gcps", "EPSG:32632")
    assert facts.grid.bounds == pytest.approx((500_000, 4_999_000, 501_000, 5_000_000))
    assert facts.footprint is not None
    assert shapely.from_wkb(facts.footprint).bounds == pytest.approx(facts.grid.bounds, abs=0.01)


def test_points_on_a_line_give_no_grid(tmp_path: Path) -> None:
    points = [GroundControlPoint(n, n, 500_000 + n, 5_000_000 - n) for n in range(5)]
    path = placeless(tmp_path / "a.tif", 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "r+") as dataset:
            dataset.gcps = (points, rasterio.CRS.from_epsg(32632))
    with pytest.raises(SourceError, match="not on a line"):
        look(path)


def test_points_that_jump_at_180_degrees_are_refused(tmp_path: Path) -> None:
    points = [
        GroundControlPoint(row, col, (179 + col / 50 + 180) % 360 - 180, 50 - row / 100)
        for row in (0, 50, 100)
        for col in (0, 40, 60, 100)
    ]
    path = placeless(tmp_path / "a.tif", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "r+") as dataset:
            dataset.gcps = (points, rasterio.CRS.from_epsg(4326))
    with pytest.raises(SourceError, match="jump at 180°"):
        look(path)


def test_rational_polynomials_alone_are_refused(tmp_path: Path) -> None:
    path = placeless(tmp_path / "a.tif", 9)
    one = [1.0, *[0.0] * 19]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "r+") as dataset:
            dataset.rpcs = RPC(1, 1, 1, 1, one, one, 1, 1, 1, 1, one, one, 1, 1)
    with pytest.raises(SourceError, match="Orthorectify"):
        look(path)


def test_metres_that_are_said_to_be_degrees_are_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", crs="EPSG:4326")
    with pytest.raises(SourceError, match=r"no longitudes and latitudes.*source_crs"):
        look(path)
    assert look(path, source_crs="EPSG:32632").grid.crs == "EPSG:32632"


DEGREES = Affine(0.1, 0, 10, 0, -0.1, 50)


def test_degrees_that_are_said_to_be_metres_are_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", transform=DEGREES)
    with pytest.raises(SourceError, match=r"look like degrees.*EPSG:4326.*EPSG:32632"):
        look(path)
    assert look(path, source_crs="EPSG:4326").grid.crs == "EPSG:4326"
    assert warned(look(path, source_crs="EPSG:32632"), "look like degrees")


@pytest.mark.parametrize(
    "transform",
    [
        Affine(1, 0, -180, 0, -1, 90),
        Affine(1, 0, 0, 0, -1, 90),
        Affine(1.0, 0, -180.5, 0, -1.0, 90.5),
        Affine(0.5, 0, 170, 0, -0.5, 10),
        Affine(0.5, 0, -190, 0, -0.5, 10),
        Affine(1, 0, 100, 0, -1, 90),
    ],
    ids=[
        "-180 to 180",
        "0 to 360",
        "by middles",
        "over the antimeridian",
        "over it from the east",
        "around another meridian",
    ],
)
def test_usual_longitudes_are_plausible(transform: Affine, tmp_path: Path) -> None:
    pixels = np.zeros((1, 10, 360 if transform.a == 1 else 100), "uint8")
    path = tiff(tmp_path / "a.tif", pixels, crs="EPSG:4326", transform=transform)
    assert look(path).grid.transform == transform


def test_a_zone_far_from_its_place_is_said(tmp_path: Path) -> None:
    far = Affine(10, 0, 5_000_000, 0, -10, 5_000_000)
    assert warned(look(tiff(tmp_path / "a.tif", transform=far)), "outside the area")
    assert not warned(look(tiff(tmp_path / "b.tif")), "outside the area")


def test_heights_of_a_compound_crs_are_left_aside_and_said(tmp_path: Path) -> None:
    facts = look(tiff(tmp_path / "a.tif", crs="EPSG:25832+7837"))
    assert facts.grid.crs == "EPSG:25832"
    assert warned(facts, "DHHN2016")


# Nodata


def inner(values: Any, outside: float, share: int = 6) -> Any:
    """Values in the middle of others."""
    framed = np.full_like(values, outside)
    framed[:, share:-share, share:-share] = values[:, share:-share, share:-share]
    return framed


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", -9999),
        ("float32", -3.4028234663852886e38),
        ("float64", 9.969209968386869e36),
        ("float64", -32768),
        ("int16", -32768),
        ("int16", -9999),
        ("uint16", 65535),
        ("int32", -2147483648),
    ],
)
def test_a_lone_extreme_around_the_data_is_no_data(
    dtype: str, value: float, tmp_path: Path
) -> None:
    data = NOISE.uniform(100, 3000, (1, 64, 64)).astype(dtype)
    facts = look(tiff(tmp_path / "a.tif", inner(data, value)))
    assert (facts.nodata_from, facts.validity) == ("inferred", "nodata")
    assert facts.nodata == np.dtype(dtype).type(value)
    kept = data[0, 6:-6, 6:-6].astype("float64")
    found = facts.bands[0].statistics
    assert (found.valid, found.minimum, found.maximum) == (kept.size, kept.min(), kept.max())
    assert found.mean == pytest.approx(kept.mean())
    assert facts.valid_pixels == kept.size
    assert warned(facts, "inferred")
    assert facts.footprint is not None
    west, south, east, north = shapely.from_wkb(facts.footprint).bounds
    assert (west, north) == (500_060, 4_999_940)
    assert (east, south) == (500_580, 4_999_420)


@pytest.mark.parametrize(
    ("dtype", "value", "low", "high"),
    [
        ("uint16", 65535, 0, 60_000),
        ("float32", -9999, -11_000, 0),
        ("float32", -9999, -9000, 3000),
        ("uint8", 255, 0, 10),
        ("uint8", 0, 200, 254),
    ],
    ids=["saturated", "within the range", "near the range", "white", "black"],
)
def test_an_extreme_that_may_be_data_stays_data(
    dtype: str, value: float, low: float, high: float, tmp_path: Path
) -> None:
    data = NOISE.uniform(low, high, (1, 64, 64)).astype(dtype)
    facts = look(tiff(tmp_path / "a.tif", inner(data, value)))
    assert (facts.nodata, facts.validity) == (None, "none")
    assert facts.bands[0].statistics.valid == 64 * 64


def test_a_few_saturated_pixels_inside_are_data(tmp_path: Path) -> None:
    data = NOISE.uniform(100, 3000, (1, 64, 64)).astype("uint16")
    data[0, 30, 30:33] = 65535
    facts = look(tiff(tmp_path / "a.tif", data))
    assert facts.nodata is None
    assert facts.bands[0].statistics.maximum == 65535


def test_nan_is_no_data(tmp_path: Path) -> None:
    data = inner(NOISE.random((1, 64, 64)), math.nan)
    facts = look(tiff(tmp_path / "a.tif", data))
    assert math.isnan(facts.nodata or 0)
    assert (facts.nodata_from, facts.valid_pixels) == ("inferred", 52 * 52)


def test_nan_beside_nodata_is_said(tmp_path: Path) -> None:
    data = NOISE.random((1, 64, 64))
    data[0, 0, :5] = math.nan
    data[0, 1, :5] = -1
    facts = look(tiff(tmp_path / "a.tif", data, nodata=-1))
    assert warned(facts, "5 values are NaN")
    assert facts.valid_pixels == 64 * 64 - 10


def test_infinity_is_in_no_statistics(tmp_path: Path) -> None:
    data = NOISE.random((1, 64, 64))
    data[0, 0, 0] = math.inf
    facts = look(tiff(tmp_path / "a.tif", data))
    assert warned(facts, "infinite")
    assert facts.bands[0].statistics.maximum == data[0].ravel()[1:].max()


def test_nodata_of_the_spec_counts(tmp_path: Path) -> None:
    facts = look(tiff(tmp_path / "a.tif", nodata=5), nodata=7)
    assert (facts.nodata, facts.nodata_from, facts.valid_pixels) == (7, "spec", 63)


def test_nodata_of_the_spec_has_to_fit(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no pixel of type uint8"):
        look(tiff(tmp_path / "a.tif"), nodata=-9999)


def test_nodata_that_does_not_occur_is_said(tmp_path: Path) -> None:
    assert warned(look(tiff(tmp_path / "a.tif", nodata=200)), "does not occur")
    assert not warned(look(tiff(tmp_path / "b.tif", nodata=5)), "does not occur")


def test_nodata_that_no_pixel_can_have_is_said(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.zeros((1, 8, 8), "int16"), nodata=-9999)
    path.write_bytes(path.read_bytes().replace(b"-9999\0", b"-9e99\0"))
    facts = look(path)
    assert warned(facts, "-9e+99")
    assert facts.validity == "none"


def test_a_fraction_as_nodata_of_whole_numbers_is_left_aside_and_said(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.ones((1, 8, 8), "uint8"), nodata=111)
    path.write_bytes(path.read_bytes().replace(b"111\0", b"1.5\0"))
    facts = look(path)
    assert warned(facts, "nodata value 1.5, which no pixel")
    assert facts.valid_pixels == 64


def test_nodata_that_only_whole_numbers_of_64_bits_hold_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.full((1, 8, 8), 2**53), nodata=2**53)
    assert look(path).valid_pixels == 0
    path.write_bytes(path.read_bytes().replace(b"9007199254740992\0", b"9007199254740993\0"))
    with pytest.raises(SourceError, match="9007199254740993 is too large"):
        look(path)
    with pytest.raises(SpecError, match="can't be told from its neighbours"):
        look(path, nodata=-(2.0**60))


def test_black_inside_a_picture_is_suspicious(tmp_path: Path) -> None:
    data = NOISE.integers(1, 255, (3, 64, 64), dtype="uint8")
    data[0, 10, 10:20] = 0
    facts = look(tiff(tmp_path / "a.tif", data, nodata=0, photometric="RGB"))
    assert warned(facts, "10 pixels have it in some bands")


def test_a_black_collar_is_said(tmp_path: Path) -> None:
    data = inner(NOISE.integers(1, 255, (3, 64, 64), dtype="uint8"), 0)
    assert warned(look(tiff(tmp_path / "a.tif", data, photometric="RGB")), "set nodata: 0")


# Kinds


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (NOISE.integers(0, 2, (1, 64, 64), dtype="uint8"), "mask"),
        (NOISE.integers(0, 11, (1, 64, 64), dtype="uint8") * 10, "classes"),
        (NOISE.integers(0, 11, (1, 64, 64), dtype="int16"), "classes"),
        (NOISE.integers(0, 255, (1, 64, 64), dtype="uint8"), "imagery"),
        (NOISE.integers(0, 3000, (1, 64, 64), dtype="int16"), "continuous"),
        (NOISE.integers(0, 3000, (4, 64, 64), dtype="uint16"), "imagery"),
        (NOISE.random((1, 64, 64)).astype("float32"), "continuous"),
        (np.arange(6, dtype="uint16").reshape(1, 2, 3), "continuous"),
    ],
)
def test_the_values_tell_the_kind(pixels: Any, kind: str, tmp_path: Path) -> None:
    facts = look(tiff(tmp_path / "a.tif", pixels))
    assert facts.kind == kind
    assert facts.kind_because


def test_the_spec_tells_the_kind(tmp_path: Path) -> None:
    facts = look(tiff(tmp_path / "a.tif"), data_kind="continuous")
    assert (facts.kind, facts.kind_because) == ("continuous", "the spec says so")


def test_few_whole_floats_may_be_classes(tmp_path: Path) -> None:
    classes = NOISE.integers(1, 9, (1, 64, 64)).astype("float32")
    facts = look(tiff(tmp_path / "a.tif", classes))
    assert facts.kind == "continuous"
    assert warned(facts, "data_kind: classes")


def test_distinct_values_are_listed_up_to_256(tmp_path: Path) -> None:
    values = np.arange(300, dtype="int32").repeat(64).reshape(1, 300, 64) - 5
    assert look(tiff(tmp_path / "a.tif", values)).bands[0].classes is None
    few = look(tiff(tmp_path / "b.tif", values[:, :256]))
    assert few.bands[0].classes == tuple(range(-5, 251))


# Bands


def test_what_a_band_says_of_itself_is_kept(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.ones((2, 8, 8), "int16"))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1, 1), (273.15, 0)
        dataset.units, dataset.descriptions = ("K", ""), ("warm", None)
    first, second = look(path).bands
    assert (first.scale, first.offset, first.unit, first.name) == (0.1, 273.15, "K", "warm")
    assert (second.scale, second.offset, second.unit, second.name) == (1, 0, None, None)


def test_names_of_the_spec_are_for_every_band(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.ones((2, 8, 8), "int16"))
    assert [band.name for band in look(path, band_names=["u", "v"]).bands] == ["u", "v"]
    with pytest.raises(SpecError, match="2 bands"):
        look(path, band_names=["u"])


def test_bits_and_colours_are_kept(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.ones((1, 8, 8), "uint8"), nbits=4, photometric="PALETTE")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (10, 20, 30, 255)})
    (band,) = look(path).bands
    assert band.significant_bits == 4
    assert band.colormap is not None
    assert dict(band.colormap)[1] == (10, 20, 30, 255)


# Narrowing


@pytest.mark.parametrize(
    ("dtype", "values", "nodata", "to"),
    [
        ("float64", [0, 255], None, "uint8"),
        ("float64", [0, 256], None, "uint16"),
        ("float64", [-1, 255], None, "int16"),
        ("float64", [0, 255], -9999, "int16"),
        ("float64", [0, 255], math.nan, "float32"),
        ("float64", [0.5, 255], None, "float32"),
        ("float64", [0.1, 255], None, None),
        ("float64", [1e300, 255], None, None),
        ("float32", [0, 70_000], None, None),
        ("float32", [0, 255], None, "uint8"),
        ("int32", [-5, 300], None, "int16"),
        ("uint16", [0, 255], None, "uint8"),
        ("uint16", [0, 255], 65535, None),
        ("int16", [-1, 1], None, None),
        ("uint8", [0, 1], None, None),
    ],
)
def test_a_smaller_type_needs_the_proof_of_every_pixel(
    dtype: str, values: list[float], nodata: float | None, to: str | None, tmp_path: Path
) -> None:
    pixels = np.full((1, 16, 16), values[1], dtype)
    pixels[0, 7, 9] = values[0]
    assert look(tiff(tmp_path / "a.tif", pixels, nodata=nodata)).narrow_to == to


def test_scaled_values_keep_their_type(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.ones((1, 8, 8), "float64"))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (0.5,)
    assert look(path).narrow_to is None


def test_pixels_under_a_mask_count_for_the_type(tmp_path: Path) -> None:
    pixels = np.ones((1, 16, 16), "float64")
    pixels[0, 0, 0] = 0.1
    path = tiff(tmp_path / "a.tif", pixels)
    valid = np.ones((16, 16), bool)
    valid[0, 0] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(valid)
    assert look(path).narrow_to is None


# Any values

NUMBERS = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=50)
@given(
    npst.arrays(
        st.sampled_from(["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"]),
        st.integers(1, 3000),
        elements=st.integers(0, 127),
        fill=st.nothing(),
    ),
    st.integers(0, 3000),
)
def test_parts_add_up_to_the_statistics_of_the_whole(values: Any, place: int) -> None:
    shifted = values * 3 - 100 if values.dtype.kind == "f" else values
    first, second = (tallies([str(values.dtype)])[0] for _ in range(2))
    first.add(shifted[:place], None)
    second.add(shifted[place:], None)
    first.merge(second)
    found, wanted = first.statistics(None), shifted.astype("float64")
    assert (found.valid, found.minimum, found.maximum) == (
        wanted.size,
        wanted.min(),
        wanted.max(),
    )
    assert found.mean == pytest.approx(wanted.mean(), abs=1e-9)
    assert found.stddev == pytest.approx(wanted.std(), abs=1e-6)
    assert found.histogram is not None
    assert sum(found.histogram.counts) == wanted.size


@given(st.lists(st.tuples(NUMBERS, st.integers(-30, 30)), min_size=1, max_size=50))
def test_no_value_is_lost_from_the_bins(pairs: list[tuple[float, int]]) -> None:
    values = np.array([math.ldexp(number, power) for number, power in pairs])
    (tally,) = tallies(["float64"])
    for value in values:
        tally.add(np.array([value]), None)
    found = tally.statistics(None)
    assert found.histogram is not None
    assert sum(found.histogram.counts) == values.size
    assert (found.minimum, found.maximum) == (values.min(), values.max())


@given(
    npst.arrays(bool, st.tuples(st.integers(1, 60), st.integers(1, 60))),
    st.integers(1, 7),
)
def test_no_valid_pixel_is_outside_the_footprint(valid: Any, step: int) -> None:
    height, width = valid.shape
    coverage = Coverage(width, height)
    coverage.step = step
    coverage._cells = {None: np.zeros((-(-height // step), -(-width // step)), bool)}
    for row in range(0, height, 7):
        for col in range(0, width, 11):
            part = valid[row : row + 7, col : col + 11]
            coverage.add(Window(col, row, part.shape[1], part.shape[0]), part, {})
    assert coverage.pixels(None) == np.count_nonzero(valid)
    found = footprint(coverage.cells(None), step, width, height, lambda xy: xy, is_curved=False)
    assert (found is None) == (not valid.any())
    if found is not None:
        outline = shapely.from_wkb(found)
        rows, columns = np.nonzero(valid)
        inside = shapely.covers(outline, shapely.box(columns, rows, columns + 1, rows + 1))
        assert inside.all()
        assert shapely.box(0, 0, width, height).covers(outline)
        assert shapely.get_num_coordinates(outline) <= 250


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.98])
@pytest.mark.parametrize("step", [1, 5])
def test_a_ragged_footprint_has_few_vertices_and_leaves_nothing_out(
    share: float, step: int
) -> None:
    cells = np.random.default_rng(3).random((100, 130)) < share
    width, height = 130 * step - step // 2, 100 * step - step // 2
    found = footprint(cells, step, width, height, lambda xy: xy, is_curved=False)
    outline = shapely.from_wkb(found)
    rows, columns = np.nonzero(cells)
    squares = shapely.box(columns * step, rows * step, (columns + 1) * step, (rows + 1) * step)
    whole = shapely.box(0, 0, width, height)
    assert shapely.covers(outline.buffer(1e-9), shapely.intersection(squares, whole)).all()
    assert shapely.get_num_coordinates(outline) <= 220
    assert shapely.is_valid(outline)


def test_no_data_that_begins_further_down_is_left_out_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geo_etl.raster.reading.WINDOW_BYTES", 4096)
    data = NOISE.uniform(100, 3000, (2, 64, 64)).astype("int16")
    data[:, 40:] = -32768
    facts = look(tiff(tmp_path / "a.tif", data, blockysize=8))
    assert facts.valid_pixels == 40 * 64
    assert facts.footprint is not None
    assert shapely.from_wkb(facts.footprint).bounds == (500_000, 4_999_600, 500_640, 5_000_000)
