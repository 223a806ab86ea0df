"""One task: tiers from one reference, empty tiles, refused files, previews."""

import hashlib
import io
from collections import Counter
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from geo_etl.errors import ProofError
from geo_etl.raster import convert as convert_module
from geo_etl.raster.convert import Converted, convert
from geo_etl.raster.facts import Window
from geo_etl.raster.inspect import inspect
from geo_etl.raster.manifest import Piece, TierPlan
from geo_etl.raster.opening import open_raster
from geo_etl.raster.profiles import profile_for
from geo_etl.spec import RasterSpec
from geo_etl_tests.raster_sources import UTM, colours, hills, run, write


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


def picture(converted: Converted) -> np.ndarray:
    """Rows × columns × red, green, blue, opacity, as bytes."""
    assert converted.preview is not None
    pixels = matplotlib.image.imread(io.BytesIO(converted.preview), format="png")
    return np.rint(pixels * 255).astype(int)


def tile(source: Path, out: Path, window: Window, **wanted) -> Converted:
    """Convert one tile of a raster on its own grid."""
    spec = RasterSpec.model_validate({"target_crs": "native", **wanted})
    with open_raster(source, "a.tif", spec) as opened:
        facts = inspect(opened, "a.tif", spec)
        profile = profile_for("analysis", facts, spec, False, "a.tif")
        plan = TierPlan("analysis", facts.grid, False, profile)
        piece = Piece(3, 0, 1, window, ("analysis",), is_tile=True)
        return convert(opened, facts, [plan], piece, spec, "a.tif", out)


def test_a_file_is_described_by_its_size_and_checksum(source, out):
    (made,) = run(write(source, colours(90, 80)), out).converted.files
    content = Path(made.path).read_bytes()
    assert (made.size, made.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_nothing_but_the_files_is_left(source, out):
    write(source, colours(300, 300), nodata=0)
    tiers = ["visualization", "analysis", "archive"]
    outcome = run(source, out, output_tier=tiers, target_crs="EPSG:4326")
    assert sorted(path.name for path in out.iterdir()) == [f"{tier}.tif" for tier in sorted(tiers)]
    assert sorted(made.tier for made in outcome.converted.files) == sorted(tiers)


def test_tiers_on_one_grid_share_one_warp(source, out, monkeypatch):
    calls = Counter()
    real = convert_module.reference

    def counted(opened, facts, plan, window, folder):
        calls[plan.warped] += 1
        return real(opened, facts, plan, window, folder)

    monkeypatch.setattr(convert_module, "reference", counted)
    write(source, colours(300, 300), nodata=0)
    tiers = ["visualization", "analysis", "archive"]
    run(source, out, output_tier=tiers, target_crs="EPSG:4326")
    assert calls == {True: 1, False: 1}


def test_doubles_that_hold_bytes_become_bytes_and_stay_doubles_in_the_archive(source, out):
    pixels = np.rint(hills(200, 200) * 200)[None]
    write(source, pixels)
    outcome = run(source, out, output_tier=["analysis", "archive"])
    for tier, dtype in (("analysis", "uint8"), ("archive", "float64")):
        with rasterio.open(outcome.file(tier)) as cog:
            assert cog.dtypes == (dtype,)
            assert np.array_equal(cog.read(), pixels)


def test_a_tile_holds_its_window_at_its_place(source, out):
    pixels = (hills(600, 800) * 9000).astype(np.int16)[None]
    write(source, pixels)
    (made,) = tile(source, out, Window(512, 0, 288, 512)).files
    with rasterio.open(made.path) as cog:
        assert np.array_equal(cog.read(), pixels[:, :512, 512:])
        assert cog.transform == UTM @ Affine.translation(512, 0)
    assert made.valid_pixels == 288 * 512


@pytest.mark.parametrize("empty", ["nodata", "mask"])
def test_a_tile_without_a_valid_pixel_makes_no_file(source, out, empty):
    pixels = 1 + (hills(600, 1024) * 9000).astype(np.int16)[None]
    mask = np.full((600, 1024), 255, np.uint8)
    if empty == "nodata":
        pixels[0, :, 512:] = -1
        write(source, pixels, nodata=-1)
    else:
        mask[:, 512:] = 0
        write(source, pixels, mask=mask)
    assert tile(source, out, Window(512, 0, 512, 512)) == Converted((), None)
    assert not list(out.glob("*.tif"))
    (out / "full").mkdir()
    assert len(tile(source, out / "full", Window(0, 0, 512, 512)).files) == 1


def test_a_raster_without_a_valid_pixel_is_still_a_file(source, out):
    write(source, np.zeros((1, 60, 60), np.uint8), nodata=0)
    (made,) = run(source, out).converted.files
    assert (made.valid_pixels, made.footprint) == (0, None)


def test_a_file_that_fails_its_proof_is_refused(source, out, monkeypatch):
    real = convert_module.write_cog

    def spoiled(reference, grid, profile, facts, target):
        content = real(reference, grid, profile, facts, target)
        with rasterio.open(target, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            file.write(np.zeros((64, 64), np.uint8), 1, window=((0, 64), (0, 64)))
        return content

    monkeypatch.setattr(convert_module, "write_cog", spoiled)
    write(source, colours(600, 600))
    with pytest.raises(ProofError) as refused:
        run(source, out)
    assert refused.value.thing == "analysis of source.tif"
    assert "4096 of 360000 pixels differ" in str(refused.value)


class TestPreview:
    def test_it_has_at_most_512_pixels_in_the_shape_of_the_raster(self, source, out):
        write(source, colours(600, 1500))
        assert picture(run(source, out).converted).shape == (205, 512, 4)

    def test_a_small_raster_is_not_blown_up(self, source, out):
        write(source, colours(30, 40))
        assert picture(run(source, out).converted).shape == (30, 40, 4)

    def test_an_image_looks_like_itself(self, source, out):
        pixels = colours(100, 100)
        write(source, pixels, photometric="RGB")
        found = picture(run(source, out).converted)
        assert np.array_equal(found[..., :3], np.moveaxis(pixels, 0, -1))
        assert (found[..., 3] == 255).all()

    def test_what_is_not_valid_is_transparent(self, source, out):
        pixels = (1 + hills(100, 100) * 900).astype(np.int16)[None]
        pixels[0, :40] = 0
        write(source, pixels, nodata=0)
        opacity = picture(run(source, out).converted)[..., 3]
        assert not opacity[:40].any()
        assert (opacity[40:] == 255).all()

    def test_alpha_is_the_opacity(self, source, out):
        pixels = colours(50, 50, 4)
        rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        write(source, pixels, colorinterp=rgba)
        found = picture(run(source, out).converted)
        assert np.array_equal(found[..., 3], pixels[3])

    def test_a_palette_gives_its_colours(self, source, out):
        write(source, np.full((1, 20, 20), 3, np.uint8), photometric="palette")
        with rasterio.open(source, "r+") as file:
            file.write_colormap(1, {3: (10, 120, 200, 255)})
        assert picture(run(source, out).converted)[7, 7].tolist() == [10, 120, 200, 255]

    def test_classes_can_be_told_apart(self, source, out):
        pixels = np.arange(8, dtype=np.uint8).repeat(5)[None, None].repeat(40, axis=1)
        write(source, pixels)
        row = picture(run(source, out, data_kind="classes").converted)[0, ::5, :3]
        apart = np.abs(row[:, None] - row[None]).sum(axis=2)
        assert apart[~np.eye(8, dtype=bool)].min() > 60

    def test_heights_use_the_whole_range_of_colours(self, source, out):
        write(source, (2000 + hills(200, 200) * 3).astype(np.float32)[None])
        shades = picture(run(source, out).converted)[..., :3].sum(axis=2)
        assert shades.max() - shades.min() > 200

    def test_the_spec_chooses_the_colours(self, source, out):
        pixels = np.array([[[-10, 0, 50, 100, 900]]], np.int16).repeat(20, axis=1)
        write(source, pixels)
        params = {"rescale": [[0, 100]], "colormap_name": "gray"}
        found = picture(run(source, out, render_params=params).converted)
        assert found[3, :, 0].tolist() == [0, 0, 128, 255, 255]
