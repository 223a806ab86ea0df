"""A file that is not what it should be is found out, whatever is wrong with it."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import ColorInterp

from geo_etl.raster.cog import Content
from geo_etl.raster.opening import open_raster
from geo_etl.raster.prove import Proven, prove
from geo_etl.raster.rewarp import misplaced
from geo_etl.raster.warp import warp
from geo_etl.spec import RasterSpec
from geo_etl_tests.raster_sources import Outcome, colours, hills, run, write


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


def prove_against(pixels: Path, outcome: Outcome, cog: Path | None = None) -> Proven:
    """Prove the one file of an outcome, or another in its place, against a dataset."""
    plan = outcome.plans[0]
    content = Content(pixels, tuple(range(1, plan.profile.count + 1)))
    path = cog or Path(outcome.converted.files[0].path)
    return prove(path, content, plan.grid, plan, outcome.facts)


def test_a_right_file_has_no_problem(source, out):
    write(source, heights(), nodata=-9999)
    proof = prove_against(source, run(source, out)).proof
    assert proof.problems() == []
    assert (proof.cog_valid, proof.pixels_compared, proof.pixels_different) == (True, 630_000, 0)
    assert (proof.psnr_db, proof.max_error) == (None, None)


def test_one_wrong_pixel_is_found(source, out, tmp_path):
    pixels = heights()
    outcome = run(write(source, pixels), out)
    pixels[0, 600, 777] += 0.001
    proof = prove_against(write(tmp_path / "other.tif", pixels), outcome).proof
    assert proof.pixels_different == 1
    assert "1 of 630000 pixels differ" in "; ".join(proof.problems())


def test_nan_is_nan_and_no_other_number(source, out, tmp_path):
    pixels = heights(64, 64)
    pixels[0, 5, 5] = np.nan
    outcome = run(write(source, pixels, nodata=np.nan), out)
    assert prove_against(source, outcome).proof.pixels_different == 0
    pixels[0, 5, 5] = 7
    other = write(tmp_path / "other.tif", pixels, nodata=np.nan)
    assert prove_against(other, outcome).proof.pixels_different == 1


def test_another_mask_is_found(source, out, tmp_path):
    pixels, mask = colours(300, 300), np.full((300, 300), 255, np.uint8)
    mask[:90] = 0
    outcome = run(write(source, pixels, mask=mask), out)
    mask[90, :17] = 0
    proof = prove_against(write(tmp_path / "other.tif", pixels, mask=mask), outcome).proof
    assert proof.mask_different == 17
    assert proof.problems()


@pytest.mark.parametrize("tier", ["visualization", "analysis"])
def test_a_file_that_was_edited_is_no_cog(source, out, tier):
    outcome = run(write(source, colours(700, 700)), out, output_tier=tier)
    with rasterio.open(outcome.file(tier), "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.write(file.read(1)[::-1, ::-1], 1)
    proof = prove_against(source, outcome).proof
    assert not proof.cog_valid
    assert "it is no valid COG" in "; ".join(proof.problems())


def test_a_plain_geotiff_is_no_cog(source, out):
    write(source, heights(700, 700))
    proof = prove_against(source, run(source, out), cog=source).proof
    assert any("not tiled" in problem for problem in proof.problems())


def test_a_large_file_without_overviews_is_no_strictly_valid_cog(source, out):
    write(source, heights(700, 700), tiled=True, blockxsize=512, blockysize=512)
    proof = prove_against(source, run(source, out), cog=source).proof
    assert not proof.cog_valid
    assert any("overviews" in problem for problem in proof.problems())


def changed(source: Path, out: Path, tmp_path: Path, **change) -> str:
    """The problems of a COG that was made from a source with another header."""
    pixels = (hills(100, 120) * 200).astype(np.int16)[None]
    outcome = run(write(source, pixels, nodata=-1), out)
    other = tmp_path / "other"
    (other / "out").mkdir(parents=True)
    twin = {"nodata": -1, **change}
    wrong = run(write(other / "source.tif", pixels, **twin), other / "out")
    found = prove_against(source, outcome, Path(wrong.file()))
    return "; ".join(found.proof.problems())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crs": "EPSG:32634"}, "its CRS is EPSG:32634"),
        ({"transform": Affine(10, 0, 500_010, 0, -10, 5_000_000)}, "its transform is"),
        ({"nodata": -2}, "its nodata is -2"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(source, out, tmp_path, change, said):
    assert said in changed(source, out, tmp_path, **change)


def test_another_type_is_found_before_any_pixel_is_compared(source, out, tmp_path):
    pixels = (hills(100, 120) * 200).astype(np.int16)[None]
    outcome = run(write(source, pixels), out)
    other = tmp_path / "other"
    (other / "out").mkdir(parents=True)
    wrong = run(
        write(other / "source.tif", pixels.astype(np.int32)), other / "out", output_tier="archive"
    )
    proof = prove_against(source, outcome, Path(wrong.file("archive"))).proof
    assert "its type is int32" in "; ".join(proof.problems())
    assert proof.pixels_compared == 0


def test_a_class_that_only_overviews_have_is_found(source, out, tmp_path):
    pixels = np.random.default_rng(3).choice(np.array([1, 9], np.uint8), (1, 1100, 1100))
    classes = {"data_kind": "classes"}
    outcome = run(write(source, pixels), out, **classes)
    other = tmp_path / "other"
    other.mkdir()
    # The same pixels taken for heights: their overviews are means.
    averaged = run(source, other, data_kind="continuous")
    proof = prove_against(source, outcome, Path(averaged.file())).proof
    assert proof.pixels_different == 0
    assert set(proof.new_classes or ()) & set(range(2, 9))
    assert "classes that the data has not" in "; ".join(proof.problems())


class TestLossy:
    def test_loss_is_measured(self, source, out):
        pixels = colours(400, 400)
        outcome = run(write(source, pixels), out, output_tier="visualization")
        proof = prove_against(source, outcome).proof
        with rasterio.open(outcome.file("visualization")) as cog:
            error = cog.read().astype(float) - pixels
        assert proof.max_error == np.abs(error).max()
        assert proof.psnr_db == pytest.approx(10 * np.log10(255**2 / (error**2).mean()))
        assert proof.problems() == []

    def test_only_valid_pixels_count(self, source, out):
        pixels, mask = colours(400, 400), np.zeros((400, 400), np.uint8)
        pixels[:, :, 208:] = np.random.default_rng(1).integers(0, 255, (3, 400, 192))
        mask[:, :176] = 255
        outcome = run(write(source, pixels, mask=mask), out, output_tier="visualization")
        proof = prove_against(source, outcome).proof
        with rasterio.open(outcome.file("visualization")) as cog:
            error = cog.read().astype(float)[:, :, :176] - pixels[:, :, :176]
        assert proof.psnr_db == pytest.approx(10 * np.log10(255**2 / (error**2).mean()))

    def test_swapped_colours_are_found(self, source, out, tmp_path):
        pixels = colours(300, 300)
        pixels[0] //= 3
        outcome = run(write(source, pixels), out, output_tier="visualization")
        swapped = write(tmp_path / "other.tif", pixels[::-1].copy())
        problems = prove_against(swapped, outcome).proof.problems()
        assert any("its band 1 has a mean of" in problem for problem in problems)

    def test_another_opacity_is_found(self, source, out, tmp_path):
        rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        pixels = colours(200, 200, 4)
        outcome = run(write(source, pixels, colorinterp=rgba), out, output_tier="visualization")
        assert prove_against(source, outcome).proof.mask_different == 0
        pixels[3, 7, :5] ^= 1
        other = write(tmp_path / "other.tif", pixels, colorinterp=rgba)
        assert prove_against(other, outcome).proof.mask_different == 5


class TestMeasured:
    def test_statistics_of_a_warped_file_are_those_of_its_valid_pixels(self, source, out):
        pixels = heights()
        pixels[0, :100] = -9999
        outcome = run(write(source, pixels, nodata=-9999), out, target_crs="EPSG:4326")
        (made,) = outcome.converted.files
        with rasterio.open(made.path) as cog:
            band = cog.read(1, masked=True).compressed().astype(np.float64)
        (found,) = made.statistics
        assert (found.valid, found.minimum, found.maximum) == (band.size, band.min(), band.max())
        assert found.mean == pytest.approx(band.mean())
        assert found.stddev == pytest.approx(band.std())
        assert found.histogram is not None
        assert sum(found.histogram.counts) == band.size
        assert made.valid_pixels == band.size

    def test_the_footprint_of_a_warped_file_holds_its_valid_pixels_and_little_more(
        self, source, out
    ):
        pixels = heights()
        pixels[0, :350] = -9999
        outcome = run(write(source, pixels, nodata=-9999), out, target_crs="EPSG:4326")
        (made,) = outcome.converted.files
        outline = shapely.from_wkb(made.footprint)
        with rasterio.open(made.path) as cog:
            rows, columns = np.nonzero(cog.read_masks(1))
            x, y = cog.transform @ (columns + 0.5, rows + 0.5)
            valid_area = rows.size * abs(cog.transform.a * cog.transform.e)
        assert shapely.contains_xy(outline, x, y).all()
        assert outline.area < 1.05 * valid_area


class TestRewarp:
    """A warp that is wrong is found from the source itself."""

    def problems(self, source, tmp_path, dtype="float32", spoil=lambda pixels: pixels, **wanted):
        folder = tmp_path / "warped"
        folder.mkdir()
        outcome = run(source, folder, target_crs="EPSG:4326", **wanted)
        (plan,) = outcome.plans
        warped = tmp_path / "warped.tif"
        with open_raster(source, "a.tif", RasterSpec()) as opened:
            warp(opened.dataset, outcome.facts, plan, plan.grid.whole, warped, "a.tif")
            with rasterio.open(warped, "r+") as file:
                file.write(spoil(file.read()))
            return misplaced(opened, outcome.facts, plan, plan.grid.whole, warped)

    @pytest.mark.parametrize(
        "resampling", ["nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode"]
    )
    def test_a_right_warp_is_found_right(self, source, tmp_path, resampling):
        noise = np.random.default_rng(2).normal(0, 30, (1, 500, 600))
        write(source, (heights(500, 600) + noise).astype(np.float32))
        assert self.problems(source, tmp_path, resampling=resampling) == []

    @pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
    def test_a_shift_by_one_pixel_is_found(self, source, tmp_path, resampling):
        noise = np.random.default_rng(2).normal(0, 30, (1, 500, 600))
        write(source, (heights(500, 600) + noise).astype(np.float32))

        def shift(pixels):
            return np.roll(pixels, 1, axis=2)

        said = self.problems(source, tmp_path, spoil=shift, resampling=resampling)
        assert "are not what the source has at their places" in said[0]

    def test_classes_in_the_wrong_place_are_found(self, source, tmp_path):
        classes = np.random.default_rng(2).integers(1, 9, (1, 50, 60)).astype(np.uint8)
        write(source, classes.repeat(10, axis=1).repeat(10, axis=2))

        def flip(pixels):
            return pixels[:, ::-1]

        said = self.problems(source, tmp_path, spoil=flip, data_kind="classes")
        assert "are not what the source has at their places" in said[0]

    def test_data_where_the_source_has_none_is_found(self, source, tmp_path):
        pixels = heights(500, 600)
        pixels[0, 50:450, 50:550] = -9999
        write(source, pixels, nodata=-9999)

        def fill(warped):
            return np.where(warped == -9999, np.float32(5), warped)

        said = self.problems(source, tmp_path, spoil=fill, resampling="nearest")
        assert "are not what the source has at their places" in said[0]


@pytest.mark.parametrize(
    "name",
    [
        "geotiff/RGB.byte.tif",
        "geotiff/cog_dateline.tif",
        "geotiff/cog_gcps.tif",
        "geotiff/goes.tif",
        "geotiff/dem.tif",
        "geotiff/alpha.tif",
        "geotiff/slc.tif",
    ],
)
def test_real_rasters_are_found_right(shared_data, out, name):
    path = shared_data / "raster" / name
    (made,) = run(path, out, target_crs="EPSG:4326").converted.files
    assert made.proof.problems() == []
