"""A COG says and holds what its source does; read back by rasterio, not by what wrote it."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, MaskFlags
from rio_cogeo.cogeo import cog_validate

from geo_etl.raster.cog import overview_count
from geo_etl_tests.raster_sources import colours, hills, run, write

PALETTE = {0: (0, 0, 0, 255), 1: (200, 30, 30, 255), 2: (30, 200, 30, 255), 7: (30, 30, 200, 255)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder / "source.tif"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def heights(rows=700, columns=900) -> np.ndarray:
    return (hills(rows, columns) * 3000).astype(np.float32)[None]


@pytest.mark.parametrize("tier", ["visualization", "analysis", "archive"])
def test_every_tier_is_a_strictly_valid_cog_of_512_pixel_blocks(source, out, tier):
    write(source, colours(700, 900))
    path = run(source, out, output_tier=tier).file(tier)
    assert cog_validate(path, strict=True, quiet=True) == (True, [], [])
    with rasterio.open(path) as cog:
        assert cog.block_shapes == [(512, 512)] * 3
        assert cog.overviews(1) == [2]


def test_lossless_tiers_hold_every_pixel(source, out):
    pixels = heights()
    pixels[0, :40, :40] = -9999
    pixels[0, 100, 100] = np.nan
    write(source, pixels, nodata=-9999)
    outcome = run(source, out, output_tier=["analysis", "archive"])
    for tier in ("analysis", "archive"):
        with rasterio.open(outcome.file(tier)) as cog:
            assert np.array_equal(cog.read(), pixels, equal_nan=True)
            assert cog.nodata == -9999


def test_scale_offset_unit_names_and_tags_are_kept(source, out):
    write(source, np.stack([hills(90, 80) * 900, hills(90, 80) * 90]).astype(np.int16))
    with rasterio.open(source, "r+") as file:
        file.scales, file.offsets = (0.1, 0.5), (-5.0, 2.0)
        file.units = ("degC", "m/s")
        file.descriptions = ("temperature", "wind")
        file.update_tags(AREA_OR_POINT="Point", TIFFTAG_DATETIME="2021:03:04 05:06:07")
    with rasterio.open(run(source, out, output_tier="archive").file("archive")) as cog:
        assert (cog.scales, cog.offsets) == ((0.1, 0.5), (-5.0, 2.0))
        assert cog.units == ("degC", "m/s")
        assert cog.descriptions == ("temperature", "wind")
        assert cog.tags()["AREA_OR_POINT"] == "Point"
        assert cog.transform == Affine(10, 0, 500_000, 0, -10, 5_000_000)


def test_a_palette_is_kept_and_its_overviews_have_no_new_class(source, out):
    rng = np.random.default_rng(5)
    pixels = rng.choice(np.array([0, 1, 2, 7], np.uint8), (1, 1100, 1300))
    write(source, pixels, photometric="palette")
    with rasterio.open(source, "r+") as file:
        file.write_colormap(1, PALETTE)
    path = run(source, out).file()
    with rasterio.open(path) as cog:
        assert cog.colorinterp == (ColorInterp.palette,)
        found = cog.colormap(1)
        assert {value: found[value] for value in PALETTE} == PALETTE
        levels = len(cog.overviews(1))
    assert levels == 2
    for level in range(levels):
        with rasterio.open(path, overview_level=level) as overview:
            assert set(np.unique(overview.read())) <= {0, 1, 2, 7}


def test_overviews_of_heights_are_averages(source, out):
    pixels = heights(1024, 1024)
    write(source, pixels)
    with rasterio.open(run(source, out).file(), overview_level=0) as overview:
        mean = pixels[0].reshape(512, 2, 512, 2).mean(axis=(1, 3))
        assert np.allclose(overview.read(1), mean, rtol=1e-5)


def test_overviews_that_the_source_brings_are_not_taken_over(source, out):
    pixels = heights(1024, 1024)
    write(source, pixels, tiled=True)
    with rasterio.open(source, "r+") as file:
        file.build_overviews([2], rasterio.enums.Resampling.nearest)
    with rasterio.open(run(source, out, output_tier="archive").file("archive")) as cog:
        corner = cog.read(1, out_shape=(512, 512))[0, 0]
    assert corner == pytest.approx(pixels[0, :2, :2].mean(), rel=1e-5)


def test_bits_that_a_source_packs_stay_packed_in_the_archive(source, out):
    pixels = (hills(300, 300) * 4095).astype(np.uint16)[None]
    write(source, pixels, nbits=12)
    with rasterio.open(run(source, out, output_tier="archive").file("archive")) as cog:
        assert cog.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "12"
        assert np.array_equal(cog.read(), pixels)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint32", "int64", "float64", "complex64"])
def test_every_type_comes_back(source, out, dtype):
    pixels = (hills(60, 70)[None] * 100 - 7.3).astype(dtype)
    write(source, pixels)
    with rasterio.open(run(source, out, output_tier="archive").file("archive")) as cog:
        assert cog.dtypes == (dtype,)
        assert np.array_equal(cog.read(), pixels)


def test_control_points_stay_in_the_archive(source, out):
    corners = ((0, 0, 12.0, 50.0), (0, 80, 12.9, 50.1), (60, 0, 12.1, 49.4), (60, 80, 13.0, 49.5))
    points = [GroundControlPoint(row, col, x, y) for row, col, x, y in corners]
    write(source, heights(60, 80), crs="EPSG:4326", transform=None, gcps=points)
    path = run(source, out, output_tier="archive").file("archive")
    with rasterio.open(path) as cog:
        found, crs = cog.gcps
        assert crs.to_epsg() == 4326
        assert sorted((p.row, p.col, p.x, p.y) for p in found) == sorted(corners)


def test_a_rotated_grid_stays_rotated_in_the_archive(source, out):
    rotated = Affine(8, 6, 500_000, 6, -8, 5_000_000)
    write(source, heights(60, 80), transform=rotated)
    with rasterio.open(run(source, out, output_tier="archive").file("archive")) as cog:
        assert cog.transform.almost_equals(rotated)


class TestVisualization:
    def test_an_image_is_a_ycbcr_jpeg_near_its_source(self, source, out):
        pixels = colours(400, 500)
        write(source, pixels)
        path = run(source, out, output_tier="visualization").file("visualization")
        with rasterio.open(path) as cog:
            assert cog.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "YCbCr JPEG"
            assert cog.tags(ns="IMAGE_STRUCTURE")["JPEG_QUALITY"] == "85"
            assert np.abs(cog.read().astype(int) - pixels).mean() < 2

    def test_nodata_is_masked_and_black_pixels_stay(self, source, out):
        pixels = colours(400, 500)
        pixels[:, :50] = 255
        pixels[0, 200:220, 200:220] = 255  # white in one band: a colour
        write(source, pixels, nodata=255)
        path = run(source, out, output_tier="visualization").file("visualization")
        with rasterio.open(path) as cog:
            assert cog.nodata is None
            assert cog.mask_flag_enums[0] == [MaskFlags.per_dataset]
            mask = cog.dataset_mask()
        assert not mask[:50].any()
        assert mask[50:].all()

    def test_alpha_comes_back_as_it_was(self, source, out):
        pixels = colours(300, 300, 4)
        pixels[3] = np.where(np.arange(300) < 100, 0, 90 + np.arange(300) // 2)[None, :]
        rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        write(source, pixels, colorinterp=rgba)
        path = run(source, out, output_tier="visualization").file("visualization")
        with rasterio.open(path) as cog:
            assert cog.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "WEBP"
            assert np.array_equal(cog.read(4), pixels[3])

    def test_heights_are_shown_between_the_limits_asked_for(self, source, out):
        pixels = np.full((1, 64, 64), 1000, np.int16)
        pixels[0, :, 16:32] = -50
        pixels[0, :, 32:48] = 500
        pixels[0, :, 48:] = 4000
        write(source, pixels)
        params = {"rescale": [[0, 1000]]}
        override = {"visualization": {"compress": "DEFLATE"}}
        path = run(
            source, out, output_tier="visualization", render_params=params, profiles=override
        ).file("visualization")
        with rasterio.open(path) as cog:
            row = cog.read()[:, 0, ::16].T.tolist()
        assert row == [[255] * 3, [0] * 3, [128] * 3, [255] * 3]

    def test_bands_of_an_image_are_put_in_order(self, source, out):
        pixels = colours(100, 100)
        blue_first = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
        write(source, pixels, colorinterp=blue_first)
        override = {"visualization": {"compress": "DEFLATE"}}
        path = run(source, out, output_tier="visualization", profiles=override).file(
            "visualization"
        )
        with rasterio.open(path) as cog:
            assert np.array_equal(cog.read(), pixels[::-1])

    def test_a_palette_is_shown_in_its_colours(self, source, out):
        pixels = np.repeat(np.array([[0, 1, 2, 7]], np.uint8), 16, axis=1).repeat(40, axis=0)[None]
        write(source, pixels, photometric="palette")
        with rasterio.open(source, "r+") as file:
            file.write_colormap(1, PALETTE)
        override = {"visualization": {"compress": "DEFLATE"}}
        path = run(source, out, output_tier="visualization", profiles=override).file(
            "visualization"
        )
        with rasterio.open(path) as cog:
            found = cog.read()[:, 0, ::16].T.tolist()
        assert found == [list(colour[:3]) for colour in PALETTE.values()]


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(1, 1, 0), (512, 512, 0), (513, 100, 1), (1024, 1024, 1), (1025, 9, 2), (8192, 8192, 4)],
)
def test_overviews_end_at_512_pixels(width, height, count):
    assert overview_count(width, height) == count


@pytest.mark.parametrize(("width", "height"), [(512, 4096), (1024, 8192), (256, 2048)])
def test_a_tall_raster_whose_halves_are_one_block_wide_is_strictly_valid(
    source, out, width, height
):
    write(source, np.zeros((1, height, width), np.uint8))
    path = run(source, out, output_tier="archive").file("archive")
    assert cog_validate(path, strict=True, quiet=True) == (True, [], [])


def test_a_column_of_one_pixel_gets_through(source, out):
    write(source, heights(1025, 1))
    with rasterio.open(run(source, out, output_tier="archive").file("archive")) as cog:
        assert np.array_equal(cog.read(), heights(1025, 1))
