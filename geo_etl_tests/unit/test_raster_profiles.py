"""Tiers are written as the table says, and what would change pixels in silence is refused."""

import math
from dataclasses import replace

import pytest
from affine import Affine

from geo_etl.errors import RasterError
from geo_etl.raster.facts import Band, Grid, RasterFacts, Statistics
from geo_etl.raster.manifest import Profile
from geo_etl.raster.profiles import monthly_cost, profile_for
from geo_etl.spec import RasterSpec, Tier

UTM = Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000), 900, 700)
RGB = ("red", "green", "blue")
PALETTE = ((1, (255, 0, 0, 255)), (2, (0, 0, 255, 255)))


def raster(dtype: str = "uint8", colors: tuple[str, ...] = ("gray",), **facts) -> RasterFacts:
    """Facts of a raster that is valid everywhere, unless told otherwise."""
    bands = tuple(
        Band(
            index=index,
            name=None,
            dtype=dtype,
            color=color,
            nodata=facts.get("nodata"),
            scale=1,
            offset=0,
            unit=None,
            statistics=Statistics(630_000, 3, 211, 100, 20),
        )
        for index, color in enumerate(colors, 1)
    )
    plain = RasterFacts(
        driver="GTiff",
        grid=UTM,
        georeference="transform",
        bands=bands,
        kind="continuous",
        kind_because="the test says so",
        nodata=None,
        nodata_from=None,
        validity="none",
        valid_pixels=630_000,
        narrow_to=None,
        footprint=None,
        crs_declared=True,
    )
    return replace(plain, **facts)


def image(colors: tuple[str, ...] = RGB, dtype: str = "uint8", **facts) -> RasterFacts:
    return raster(dtype, colors, kind="imagery", **facts)


def with_palette(facts: RasterFacts, palette=PALETTE) -> RasterFacts:
    only = replace(facts.bands[0], color="palette", colormap=palette)
    return replace(facts, bands=(only,), kind="classes")


def profile(facts: RasterFacts, tier: Tier = "analysis", *, warped=False, **spec) -> Profile:
    return profile_for(tier, facts, RasterSpec(**spec), warped, "bronze/a.tif")


def refusal(facts: RasterFacts, tier: Tier = "visualization", *, warped=False, **spec) -> str:
    with pytest.raises(RasterError) as refused:
        profile(facts, tier, warped=warped, **spec)
    assert refused.value.thing == "bronze/a.tif"
    return str(refused.value)


@pytest.mark.parametrize(
    ("kind", "dtype", "warp", "overviews", "predictor"),
    [
        ("imagery", "uint8", "cubic", "average", 2),
        ("imagery", "uint16", "cubic", "average", 2),
        ("continuous", "int16", "bilinear", "average", 2),
        ("continuous", "float32", "bilinear", "average", 3),
        ("continuous", "float64", "bilinear", "average", 3),
        ("classes", "uint8", "nearest", "mode", 1),
        ("mask", "uint8", "nearest", "mode", 1),
    ],
)
@pytest.mark.parametrize("tier", ["analysis", "archive"])
def test_lossless_tiers_follow_the_kind_of_data(tier, kind, dtype, warp, overviews, predictor):
    made = profile(raster(dtype, kind=kind), tier)
    assert (made.lossless, made.compress, made.quality) == (True, "DEFLATE", None)
    assert (made.resampling, made.overview_resampling) == (warp, overviews)
    assert (made.predictor, made.blocksize, made.dtype) == (predictor, 512, dtype)


def test_the_spec_chooses_compression_and_overviews_of_a_tier():
    override = {"analysis": {"compress": "ZSTD", "overview_resampling": "cubic"}}
    made = profile(raster(), profiles=override, resampling="lanczos")
    assert (made.compress, made.overview_resampling) == ("ZSTD", "cubic")
    assert made.resampling == "lanczos"
    assert profile(raster(), "archive", profiles=override).compress == "DEFLATE"


@pytest.mark.parametrize("tier", ["analysis", "archive"])
def test_a_lossless_tier_refuses_lossy_compression(tier):
    said = refusal(raster(), tier, profiles={tier: {"compress": "JPEG"}})
    assert "JPEG is not lossless" in said
    assert f"profiles.{tier}.compress" in said


def test_a_quality_without_meaning_is_refused():
    said = refusal(raster(), "analysis", profiles={"analysis": {"quality": 90}})
    assert "profiles.analysis.quality" in said


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "average", "lanczos"])
def test_classes_are_never_interpolated(resampling):
    classes = raster(kind="classes")
    assert "resampling" in refusal(classes, "analysis", resampling=resampling)
    override = {"analysis": {"overview_resampling": resampling}}
    assert "overview_resampling" in refusal(classes, "analysis", profiles=override)


@pytest.mark.parametrize("resampling", ["nearest", "mode"])
def test_classes_may_be_warped_by_what_picks_one_of_them(resampling):
    assert profile(raster(kind="classes"), resampling=resampling).resampling == resampling


def test_overviews_that_gdal_has_not_are_refused():
    override = {"analysis": {"overview_resampling": "med"}}
    assert "can't be made by med" in refusal(raster(), "analysis", profiles=override)


class TestNarrowing:
    def test_analysis_takes_the_smaller_type_that_holds_every_pixel(self):
        assert profile(raster("float64", narrow_to="uint8")).dtype == "uint8"

    def test_archive_keeps_the_type(self):
        assert profile(raster("float64", narrow_to="uint8"), "archive").dtype == "float64"

    def test_a_picked_pixel_still_fits(self):
        facts = raster("float64", kind="classes", narrow_to="uint8")
        assert profile(facts, warped=True).dtype == "uint8"

    def test_between_whole_numbers_kept_as_floats_a_warp_finds_others(self):
        assert profile(raster("float64", narrow_to="int16"), warped=True).dtype == "float64"

    def test_doubles_that_are_floats_stay_floats(self):
        assert profile(raster("float64", narrow_to="float32"), warped=True).dtype == "float32"

    @pytest.mark.parametrize(
        ("resampling", "dtype"), [("bilinear", "uint8"), ("cubic", "int16"), ("lanczos", "int16")]
    )
    def test_a_kernel_that_overshoots_leaves_the_range(self, resampling, dtype):
        facts = raster("int16", narrow_to="uint8")
        assert profile(facts, warped=True, resampling=resampling).dtype == dtype


class TestValidity:
    def test_nodata_is_kept(self):
        made = profile(raster("float32", nodata=-9999.0, validity="nodata"), warped=True)
        assert (made.validity, made.nodata) == ("nodata", -9999)

    def test_what_is_valid_everywhere_stays_so_on_its_own_grid(self):
        made = profile(raster())
        assert (made.validity, made.nodata) == ("none", None)

    def test_a_warped_float_gets_nan_for_what_its_source_does_not_cover(self):
        made = profile(raster("float32"), warped=True)
        assert made.validity == "nodata"
        assert math.isnan(made.nodata)

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "complex_int16"])
    def test_warped_integers_get_a_mask(self, dtype):
        made = profile(raster(dtype), warped=True)
        assert (made.validity, made.nodata) == ("mask", None)

    @pytest.mark.parametrize("validity", ["mask", "alpha"])
    def test_masks_and_alpha_stay(self, validity):
        colors = (*RGB, "alpha") if validity == "alpha" else RGB
        assert profile(image(colors, validity=validity), warped=True).validity == validity


class TestVisualization:
    def test_an_image_becomes_a_jpeg(self):
        made = profile(image(), "visualization")
        assert (made.compress, made.quality, made.lossless) == ("JPEG", 85, False)
        assert (made.bands, made.validity, made.dtype) == ((1, 2, 3), "none", "uint8")

    def test_nodata_becomes_a_mask_never_a_color(self):
        made = profile(image(nodata=0.0, validity="nodata"), "visualization")
        assert (made.compress, made.validity, made.nodata) == ("JPEG", "mask", None)

    def test_a_warped_image_gets_a_mask(self):
        assert profile(image(), "visualization", warped=True).validity == "mask"

    def test_alpha_needs_webp(self):
        made = profile(image((*RGB, "alpha"), validity="alpha"), "visualization")
        assert (made.compress, made.bands, made.validity) == ("WEBP", (1, 2, 3, 4), "alpha")

    def test_alpha_in_jpeg_is_refused(self):
        facts = image((*RGB, "alpha"), validity="alpha")
        said = refusal(facts, profiles={"visualization": {"compress": "JPEG"}})
        assert "profiles.visualization.compress" in said

    def test_colors_are_found_by_their_names(self):
        made = profile(image(("blue", "green", "red", "undefined")), "visualization")
        assert made.bands == (3, 2, 1)

    def test_three_bands_of_an_image_are_its_colors(self):
        made = profile(image(("gray", "undefined", "undefined")), "visualization")
        assert made.bands == (1, 2, 3)

    def test_one_band_is_refused_with_the_range_that_it_has(self):
        said = refusal(raster())
        assert "render_params.rescale" in said
        assert "[[3, 211]]" in said

    def test_sixteen_bits_are_refused(self):
        said = refusal(image(dtype="uint16"))
        assert "uint16" in said
        assert "render_params.rescale" in said

    def test_many_bands_are_refused(self):
        assert "render_params.bands" in refusal(image(("gray",) * 6))

    def test_complex_numbers_have_no_colors(self):
        facts = raster("complex64")
        assert "complex" in refusal(facts, render_params={"rescale": [[0, 1]]})

    def test_render_params_make_a_picture_of_one_band(self):
        params = {"rescale": [[0, 3000]], "colormap_name": "terrain"}
        made = profile(raster("int16"), "visualization", render_params=params)
        assert (made.rescale, made.colormap_name) == (((0, 3000),), "terrain")
        assert (made.bands, made.dtype) == ((1,), "uint8")

    def test_one_range_is_for_all_bands(self):
        params = {"rescale": [[0, 3000]]}
        made = profile(image(dtype="uint16"), "visualization", render_params=params)
        assert made.rescale == ((0, 3000),) * 3

    def test_a_palette_is_enough(self):
        made = profile(with_palette(raster()), "visualization")
        assert (made.compress, made.bands, made.validity) == ("JPEG", (1,), "none")

    def test_overviews_of_rendered_classes_pick_whole_colors(self):
        made = profile(with_palette(raster()), "visualization")
        assert made.overview_resampling == "nearest"

    def test_a_transparent_color_needs_a_mask(self):
        facts = with_palette(raster(), ((0, (0, 0, 0, 0)), (1, (255, 0, 0, 255))))
        assert profile(facts, "visualization").validity == "mask"

    def test_a_quality_can_be_asked_for(self):
        override = {"visualization": {"compress": "WEBP", "quality": 60}}
        made = profile(image(), "visualization", profiles=override)
        assert (made.compress, made.quality) == ("WEBP", 60)

    def test_a_lossless_picture_has_no_quality(self):
        override = {"visualization": {"compress": "DEFLATE"}}
        made = profile(image(), "visualization", profiles=override)
        assert (made.lossless, made.quality, made.predictor) == (True, None, 2)


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"bands": [9]}, "render_params.bands"),
        ({"bands": [1, 2, 3], "colormap_name": "viridis"}, "render_params.colormap_name"),
        ({"bands": [1], "colormap_name": "nonsense"}, "nonsense"),
        ({"bands": [1, 2, 3], "rescale": [[0, 1], [0, 1]]}, "render_params.rescale"),
    ],
)
def test_a_picture_that_can_not_be_is_refused_before_any_work(params, key):
    assert key in refusal(image(), "analysis", render_params=params)


def test_blocks_of_many_bands_are_smaller():
    # 512² pixels of 60 bands of 8 bytes are 126 MB, 256² are 31 MB, 128² are 8 MB.
    assert profile(raster("float64", ("gray",) * 60)).blocksize == 128


def test_packed_bits_have_no_predictor_in_the_archive():
    facts = raster("uint16")
    facts = replace(facts, bands=(replace(facts.bands[0], significant_bits=12),))
    assert profile(facts, "archive").predictor == 1
    assert profile(facts).predictor == 2


def test_keeping_a_tier_costs_what_its_kind_of_storage_costs():
    gigabyte = 2**30
    assert monthly_cost("visualization", 100 * gigabyte) == pytest.approx(1.80)
    assert monthly_cost("archive", 100 * gigabyte) == pytest.approx(1.00)
