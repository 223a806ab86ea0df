"""The quality report of a raster: scores, the page, the summary, the pictures."""

import base64
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geo_etl.raster.facts import Grid, Histogram, Statistics, Window
from geo_etl.raster.manifest import RasterManifest
from geo_etl.report.collection_page import collection_page, collection_scores
from geo_etl.report.histogram import histogram_svg
from geo_etl.report.markdown import collection_markdown, raster_markdown
from geo_etl.report.quality import MetadataFact
from geo_etl.report.raster_page import raster_page
from geo_etl.report.raster_picture import (
    Part,
    collection_picture,
    parts_of,
    raster_picture,
    small_picture,
)
from geo_etl.report.raster_quality import RasterReport, raster_metadata_facts, raster_report
from geo_etl.report.words import file_size
from geo_etl.spec import RasterSpec
from geo_etl_tests.unit.raster_jobs import (
    BAND,
    TARGET,
    manifest,
    plan,
    png,
    reports,
    result,
    tiles,
)
from geo_etl_tests.unit.test_quality import HOSTILE, Page
from geo_etl_tests.unit.test_raster_result import folder

RED, BLUE = (200, 30, 30), (30, 30, 200)
DISK = "+proj=geos +h=35785831 +lon_0=-75 +sweep=x"
"""As a geostationary satellite sees it: space at its corners."""
MARS = (
    'GEOGCS["Mars",DATUM["D_Mars",SPHEROID["Mars",3396190,169.89]],PRIMEM["Reference",0],'
    'UNIT["degree",0.0174532925199433]]'
)


def report(found: RasterManifest | None = None, **changes: Any) -> RasterReport:
    found = found or manifest([plan("analysis"), plan("archive")], **changes)
    return raster_report(found, result(found), {"GDAL": "3.10.3"})


def text_of(found: RasterReport) -> str:
    return " ".join(Page(raster_page(found, None)).text.split())


def everywhere(text: str) -> RasterReport:
    """A report that has a text in every place that a provider can write to."""
    band = replace(BAND, name=text, unit=text)
    found = manifest(
        [plan("analysis")],
        tiles(),
        source=f"bronze/{text}" if text.isprintable() and "/" not in text else "bronze/a.tif",
        bands=(band,),
        kind_because=text,
        subdataset=text,
        tags=((text, text),),
        acquired=text,
        acquired_from=text,
        warnings=(text,),
        spec=RasterSpec.model_validate({"metadata": {"title": text, "license": text}}),
        grid=replace(TARGET, crs=text),
    )
    document = result(found, reports(found, empty=(1,)))
    document = document.model_copy(update={"layer": text, "original_crs": text, "source": text})
    return raster_report(found, document, {"GDAL": "3.10.3"})


# Scores


def scores(found: RasterReport) -> dict[str, int]:
    return {score.name: score.value for score in found.scores}


def test_proven_files_that_cover_their_grids_get_100() -> None:
    found = scores(report())
    assert (found["Proven"], found["Complete"]) == (100, 100)


def test_a_file_that_is_no_cog_is_not_proven() -> None:
    found = manifest([plan("analysis"), plan("archive")])
    first, second = reports(found)
    proof = replace(first.made[0].proof, cog_valid=False)
    bad = replace(first, made=(replace(first.made[0], proof=proof),))
    assert scores(raster_report(found, result(found, [bad, second]), {}))["Proven"] == 50


def test_one_missing_pixel_is_not_complete() -> None:
    found = manifest([plan("analysis")])
    document = result(found, reports(found, pixels_compared=TARGET.pixels - 1))
    assert scores(raster_report(found, document, {}))["Complete"] == 99


def test_what_was_guessed_is_not_certain() -> None:
    assert scores(report())["Certain"] == 100
    assert scores(report(nodata_from="inferred"))["Certain"] == 66
    assert scores(report(nodata_from="inferred", crs_declared=False))["Certain"] == 33


def test_the_headline_is_the_mean() -> None:
    found = report()
    values = list(scores(found).values())
    assert found.score == sum(values) // len(values)


# What the delivery says of itself


def fact(name: str, **changes: Any) -> MetadataFact:
    found = manifest([plan("analysis")], **changes)
    return {one.name: one for one in raster_metadata_facts(found.order, found.facts)}[name]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("Coordinate reference system", {"crs_declared": False}, "not in the file"),
        ("Place of its pixels", {"georeference": "gcps"}, "ground control points"),
        ("Which pixels are data", {"nodata_from": "inferred"}, "-9999 is no data, inferred"),
        ("Which pixels are data", {"nodata_from": "spec"}, "as the spec says"),
        ("Which pixels are data", {"validity": "none", "nodata": None}, "every pixel counts"),
        ("Band names", {"bands": (replace(BAND, name=None),)}, "none"),
        ("Unit of the values", {"bands": (BAND, replace(BAND, unit=None))}, "1 of 2: metre"),
        ("Colours of the classes", {"kind": "classes"}, "no colour table"),
        ("Date of the data", {}, "only the file's own date"),
        ("Licence", {}, "none given"),
    ],
)
def test_a_missing_fact_is_named_with_its_remedy(
    name: str, changes: dict[str, Any], said: str
) -> None:
    missing = fact(name, **changes)
    assert not missing.present
    assert said in missing.found
    assert missing.remedy


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Coordinate reference system", {}),
        ("Which pixels are data", {}),
        ("Which pixels are data", {"validity": "mask", "nodata": None, "nodata_from": None}),
        ("Which pixels are data", {"kind": "imagery", "validity": "none", "nodata": None}),
        ("Date of the data", {"acquired": "2020-01-01T00:00:00Z", "acquired_from": "TIFFTAG"}),
        (
            "Date of the data",
            {"spec": RasterSpec.model_validate({"datetime": "2020-01-01T00:00:00Z"})},
        ),
        ("Band names", {}),
        ("Unit of the values", {}),
    ],
)
def test_a_given_fact_is_present(name: str, changes: dict[str, Any]) -> None:
    assert fact(name, **changes).present


def test_images_have_no_unit_to_declare() -> None:
    found = manifest([plan("analysis")], kind="imagery")
    names = {one.name for one in raster_metadata_facts(found.order, found.facts)}
    assert not names & {"Unit of the values", "Colours of the classes"}


# The page


@given(text=st.text(min_size=1))
def test_whatever_is_written_into_names_stays_text(text: str) -> None:
    plain, page = (Page(raster_page(everywhere(t), png())) for t in ("plain", text))
    assert page.tags == plain.tags
    assert len(page.attributes) == len(plain.attributes)


def test_hostile_text_is_shown_as_it_is() -> None:
    html = raster_page(everywhere(HOSTILE), png())
    page = Page(html)
    assert page.text.count(HOSTILE) >= 8
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_the_page_loads_nothing() -> None:
    html = raster_page(report(), png())
    page = Page(html)
    addresses = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(addresses) == 1
    assert str(addresses[0]).startswith("data:image/png;base64,")
    assert "default-src 'none'" in html
    assert "link" not in page.tags


def test_a_lone_surrogate_is_no_error() -> None:
    raster_page(everywhere("a\udc80b"), None).encode("utf-8")


def test_the_page_says_what_the_raster_was_found_to_be() -> None:
    text = text_of(report(overviews=(2, 4), compression="LZW", is_cog=True))
    for part in (
        "continuous: its values are floats",
        "-9999 is no data, as the file declares",
        "1 of type float32",
        "GTiff, a valid COG already",
        "LZW",
        "1:2, 1:4",
        "5,000 × 4,000 pixels",
        "10 × 10 units of its CRS",
        "20,000,000 pixels in the source",
        "19,000,000 valid (95%)",
        "13.50000° to 14.10000° east, 44.80000° to 45.20000° north",
    ):
        assert part in text


def test_the_page_has_the_figures_of_each_band() -> None:
    text = text_of(report())
    for part in ("height", "metre", "19,000,000", "-3.5", "2,918.25", "512.5", "33"):
        assert part in text


def test_a_band_without_valid_pixels_has_no_figures() -> None:
    empty = replace(BAND, statistics=Statistics(0))
    page = Page(raster_page(report(bands=(empty,), valid_pixels=0), None))
    assert "svg" not in page.tags
    assert "0 valid (0%)" in page.text


def test_infinite_figures_are_no_error() -> None:
    wild = Statistics(3, float("-inf"), float("inf"), float("nan"), None, None)
    assert "-inf" in text_of(report(bands=(replace(BAND, statistics=wild),)))


def test_many_bands_are_cut_off_and_counted() -> None:
    bands = tuple(replace(BAND, index=index) for index in range(1, 201))
    assert "and 150 more bands" in text_of(report(bands=bands))


def test_a_colour_table_is_shown_with_the_classes_that_occur() -> None:
    colours = tuple((value, (value, 100, 50, 255)) for value in range(256))
    band = replace(BAND, dtype="uint8", color="palette", classes=(3, 7), colormap=colours)
    html = raster_page(report(kind="classes", bands=(band,)), None)
    assert html.count("background: rgba(") == 2
    assert "rgba(7, 100, 50, 1)" in html


def test_the_page_tells_tiers_with_ratio_cost_and_proof() -> None:
    text = text_of(report())
    ratio = TARGET.pixels * 4 / 1_000_000
    for part in (
        f"1 MB (1 : {ratio:.1f})",
        "less than 1 cent a month",
        "valid COG, all 24,576,000 pixels equal, same valid pixels",
        "6,000 × 4,096",
    ):
        assert part in text


def test_a_lossy_tier_tells_its_noise() -> None:
    found = manifest([plan("visualization")])
    done = reports(found, pixels_different=None, psnr_db=38.26, max_error=12.0)
    text = text_of(raster_report(found, result(found, done), {}))
    assert "PSNR 38.3 dB, largest error 12" in text
    assert "pixels equal" not in text


def test_a_set_has_its_tiles_and_their_sum() -> None:
    found = manifest([plan("analysis")], tiles())
    text = text_of(raster_report(found, result(found, reports(found, empty=(4,))), {}))
    assert "6 tiles planned = 5 converted + 1 empty. Nothing is unaccounted for." in text
    assert "1, 12,048, 2,0482,048 × 2,048empty" in text
    assert "1, 24,096, 2,0481,904 × 2,0481 MBdem_5" in text


def test_the_page_says_when_the_sum_does_not_hold() -> None:
    found = manifest([plan("analysis")], tiles())
    document = result(found, reports(found)[:-1])
    assert "The sum does not hold" in text_of(raster_report(found, document, {}))


def test_the_page_has_lineage_and_warnings() -> None:
    text = text_of(report())
    for part in ("cd" * 32, "ab" * 32, "GDAL 3.10.3", "The nodata value never occurs."):
        assert part in text


def test_a_rotated_grid_is_said() -> None:
    rotated = replace(TARGET, transform=Affine.rotation(30) @ Affine.scale(3, -4))
    text = text_of(report(grid=rotated))
    assert "not north up" in text
    assert "3 × 4 units" in text


# Histograms


def test_bars_are_as_high_as_their_counts() -> None:
    bars = [bar for bar in histogram_svg(Histogram(0, 40, (5, 10, 0, 1))) if bar.tag == "rect"]
    assert [float(bar.attrib["height"]) for bar in bars] == [50, 100, 0, 10]
    assert [float(bar.attrib["y"]) for bar in bars] == [50, 0, 100, 90]
    assert bars[1][0].text == "10 to 20: 10 pixels"


def test_a_bin_of_few_pixels_is_still_seen() -> None:
    bars = list(histogram_svg(Histogram(0, 2, (1_000_000, 1))))
    assert float(bars[1].attrib["height"]) > 0


def test_no_bins_are_no_error() -> None:
    assert list(histogram_svg(Histogram(0, 0, ()))) == []


# The summary


def test_the_summary_has_scores_sums_tiers_link_and_picture() -> None:
    text = raster_markdown(report(), png(), "http://localhost/a b.html")
    assert "20,000,000 pixels in the source, 19,000,000 of them valid" in text
    assert "| analysis | 1 MB" in text
    assert "(http://localhost/a%20b.html)" in text
    assert base64.b64encode(png()).decode() in text


@given(text=st.text(min_size=1))
def test_nothing_of_a_providers_text_has_a_meaning_in_markdown(text: str) -> None:
    found = report(warnings=(text,))
    lines = raster_markdown(found).splitlines()
    said = next((line for line in lines if line.startswith("- ")), "- ")[2:]
    assert re.fullmatch(r"(?:[^!-/:-@\[-`{-~]|\\[!-/:-@\[-`{-~])*", said)


def test_the_summary_of_a_collection_names_bad_members() -> None:
    text = collection_markdown(folder())
    assert "3 rasters = 1 converted + 1 unchanged + 1 bad; 1 removed." in text
    assert r"- ✗ bronze\/rasters\/c\.tif: it has no CRS" in text


@pytest.mark.parametrize(
    ("octets", "said"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_999, "1 MB"), (2_340_000_000, "2.34 GB")],
)
def test_sizes_are_told_in_their_unit(octets: int, said: str) -> None:
    assert file_size(octets) == said


# Collections


def test_the_page_of_a_collection_shows_bad_members_first() -> None:
    html = collection_page(folder(), {"GDAL": "3.10.3"}, png())
    text = Page(html).text
    assert "3 rasters = 1 converted + 1 unchanged + 1 bad. Nothing is unaccounted for." in text
    assert text.index("it has no CRS") < text.index("bronze/rasters/b.tif")
    assert "1.00000° to 3.00000° east" in text


def test_bad_members_lower_the_score_of_a_collection() -> None:
    found = {score.name: score.value for score in collection_scores(folder())}
    assert found == {"Published": 66, "Proven": 100}


def test_hostile_names_of_members_stay_text() -> None:
    member = folder().members[0].model_copy(update={"source": HOSTILE, "problem": HOSTILE})
    document = folder().model_copy(update={"members": [member], "source": HOSTILE})
    page = Page(collection_page(document, {}, None))
    assert page.text.count(HOSTILE) >= 3
    assert "script" not in page.tags


def test_an_empty_collection_has_a_page() -> None:
    empty = folder().model_copy(
        update={
            "members": [],
            "assets": [],
            "summary": folder().summary.model_copy(
                update={"members": 0, "converted": 0, "unchanged": 0, "bad": 0}
            ),
        }
    )
    assert "0 rasters" in Page(collection_page(empty, {}, None)).text


def test_members_on_both_sides_of_the_antimeridian_are_drawn_together() -> None:
    apart = collection_picture([(177, -19, 180, -16), (-180, -19, -178, -16)], "t")
    across = collection_picture([(177, -19, -178, -16)], "t")
    filled = where(across, (132, 167, 215))
    assert filled.sum() > 10_000
    assert where(apart, (132, 167, 215)).sum() == pytest.approx(filled.sum(), rel=0.02)


# The pictures


def where(picture: bytes, colour: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    image = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return np.asarray((abs(image - colour) < 8).all(axis=2))


def columns(mask: npt.NDArray[np.bool_]) -> float:
    return float(np.nonzero(mask)[1].mean())


def rows(mask: npt.NDArray[np.bool_]) -> float:
    return float(np.nonzero(mask)[0].mean())


def test_each_tile_is_drawn_where_it_is() -> None:
    parts = [
        Part(Window(0, 0, 3000, 4096), png(colour=RED), "0, 0"),
        Part(Window(3000, 0, 3000, 4096), png(colour=BLUE), "0, 1"),
    ]
    picture = raster_picture(TARGET, parts, "a $\\frac$ _title_")
    assert where(picture, RED).sum() == pytest.approx(where(picture, BLUE).sum(), rel=0.05)
    assert columns(where(picture, RED)) < columns(where(picture, BLUE)) - 100


def test_rows_run_from_north_to_south() -> None:
    image = np.vstack([np.full((4, 8, 3), RED), np.full((4, 8, 3), BLUE)]).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    for grid in (TARGET, replace(TARGET, crs=MARS)):
        picture = raster_picture(grid, [Part(grid.whole, buffer.getvalue())], "t")
        assert rows(where(picture, RED)) < rows(where(picture, BLUE)) - 50


def test_tiles_of_a_grid_without_degrees_are_drawn_where_they_are() -> None:
    parts = [
        Part(Window(0, 0, 6000, 2048), png(colour=RED), "0, 0"),
        Part(Window(0, 2048, 6000, 2048), png(colour=BLUE), "1, 0"),
    ]
    picture = raster_picture(replace(TARGET, crs=MARS), parts, "t")
    assert rows(where(picture, RED)) < rows(where(picture, BLUE)) - 50


def test_an_empty_tile_is_marked_and_has_no_picture() -> None:
    parts = [
        Part(Window(0, 0, 3000, 4096), png(colour=RED), "0, 0"),
        Part(Window(3000, 0, 3000, 4096), None, "0, 1"),
    ]
    picture = raster_picture(TARGET, parts, "t")
    hatched = where(picture, (138, 151, 168))  # the grey of the graticule
    assert hatched.sum() > 500
    assert columns(hatched) > columns(where(picture, RED))


@pytest.mark.parametrize(
    "grid",
    [
        Grid("EPSG:4326", Affine(0.01, 0, 176, 0, -0.01, -10), 800, 900),
        Grid("EPSG:4326", Affine(1, 0, -180, 0, -1, 90), 360, 180),
        Grid("EPSG:3857", Affine(40_000, 0, -20_037_508, 0, -40_000, 20_037_508), 1001, 1001),
        Grid("EPSG:3031", Affine(10_000, 0, -3e6, 0, -10_000, 3e6), 600, 600),
        Grid(MARS, Affine(1, 0, -180, 0, -1, 90), 360, 180),
        Grid("no such CRS", Affine(1, 0, 0, 0, -1, 0), 10, 10),
        Grid(DISK, Affine(20_055, 0, -5_434_905, 0, -20_055, 5_434_905), 542, 542),
        replace(TARGET, transform=Affine.rotation(30) @ Affine.scale(3, -4)),
        replace(TARGET, transform=Affine(1, 0, 0, 0, 1, 0)),
        Grid("EPSG:4326", Affine(1e-9, 0, 10, 0, -1e-9, 50), 1, 1),
        Grid("EPSG:4326", Affine(10, 0, 4e5, 0, -10, 5e6), 5000, 4000),
    ],
    ids=[
        "antimeridian",
        "world",
        "web mercator",
        "pole",
        "Mars",
        "unknown",
        "disk",
        "rotated",
        "south up",
        "one pixel",
        "metres called degrees",
    ],
)
def test_any_grid_has_a_picture(grid: Grid) -> None:
    picture = raster_picture(grid, [Part(grid.whole, png(colour=RED))], "t")
    assert where(picture, RED).sum() > 100


def test_a_set_shows_its_tiles_and_a_single_raster_itself() -> None:
    found = manifest([plan("analysis")], tiles())
    grid, parts = parts_of(found, reports(found, empty=(4,)))
    assert grid == TARGET
    assert [part.label for part in parts] == ["0, 0", "0, 1", "0, 2", "1, 0", "1, 1", "1, 2"]
    assert [part.preview is None for part in parts] == [False] * 4 + [True, False]
    one = manifest([plan("analysis"), plan("archive")])
    _, (part,) = parts_of(one, reports(one))
    assert part.window == TARGET.whole


def test_a_small_picture_keeps_proportions_and_gaps() -> None:
    wide = Image.new("RGBA", (512, 128), (10, 20, 30, 0))
    buffer = io.BytesIO()
    wide.save(buffer, format="PNG")
    small = Image.open(io.BytesIO(small_picture(buffer.getvalue())))
    assert small.size == (256, 64)
    assert small.mode == "RGBA"
    assert small.getchannel("A").getextrema() == (0, 0)


def test_a_small_picture_is_not_made_larger() -> None:
    assert Image.open(io.BytesIO(small_picture(png(8, 4)))).size == (8, 4)
