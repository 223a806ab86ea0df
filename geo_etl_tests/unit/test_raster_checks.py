"""The asset checks of rasters, and what the Dagster UI shows of them."""

import json
from typing import Any

import numpy as np
import pytest
from dagster import AssetCheckResult, MetadataValue

from geo_etl.assets.raster_checks import (
    COLLECTION,
    catalogued,
    check_specs,
    conserved,
    proven,
    tiles_served,
)
from geo_etl.assets.raster_metadata import collection_metadata, raster_metadata
from geo_etl.assets.raster_serving import LayerDrawn
from geo_etl.report.raster_result import Mosaic, RasterResult
from geo_etl.resources.answers import Answer
from geo_etl.resources.probes import PictureProbe
from geo_etl_tests.unit.raster_jobs import manifest, plan, reports, result, tiled, tiles
from geo_etl_tests.unit.test_raster_result import folder

JOB = "ab" * 32
DRAWN = PictureProbe(
    Answer("http://localhost/tiles/1/0/0.png", 200, "image/png", bytes(2345)),
    None,
    np.full((4, 2, 2), 255, "uint8"),
)


def flawed(**flaw: Any) -> RasterResult:
    found = manifest([plan("analysis")])
    return result(found, reports(found, **flaw))


def item(*hrefs: str, job_id: str = JOB) -> dict[str, Any]:
    assets = {str(number): {"href": href} for number, href in enumerate(hrefs)}
    return {"properties": {"geo_etl:job_id": job_id}, "assets": assets}


def said(check: AssetCheckResult) -> str:
    return check.description or ""


def test_both_assets_have_the_same_checks() -> None:
    names = [spec.name for spec in check_specs("raster_cog")]
    assert names == ["cog_proof", "pixels_conserved", "catalogued", "tiles_served", "stac_served"]
    assert [spec.name for spec in check_specs(COLLECTION)] == names
    assert {spec.asset_key.to_user_string() for spec in check_specs(COLLECTION)} == {COLLECTION}


# Proof


def test_proven_files_pass_with_their_figures() -> None:
    check = proven(result())
    assert check.passed
    assert "2 files proven" in said(check)
    figures = check.metadata["archive"].value
    assert figures["pixels_compared"] == 5000 * 4000
    assert figures["pixels_different"] == 0


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ({"cog_valid": False}, "analysis: not every file is a valid COG"),
        ({"pixels_different": 3}, "analysis: 3 pixels differ"),
        ({"pixels_different": None}, "analysis: it is lossless, and its pixels were not compared"),
        ({"mask_different": 2}, "analysis: 2 pixels are valid in one"),
        ({"new_classes": (9,)}, "overviews have classes that the data has not: [9]"),
        ({"differences": ("its nodata is 0",)}, "analysis: its nodata is 0"),
    ],
)
def test_a_flawed_file_fails_with_its_figure(flaw: dict[str, Any], words: str) -> None:
    check = proven(flawed(**flaw))
    assert not check.passed
    assert words in said(check)


def test_lossy_pixels_may_differ() -> None:
    found = manifest([plan("visualization")])
    check = proven(result(found, reports(found, pixels_different=None, psnr_db=38.25)))
    assert check.passed
    assert "38.2 dB" in said(check)


def test_the_proof_of_a_collection_is_that_of_its_members() -> None:
    check = proven(folder(), COLLECTION)
    assert check.passed
    assert check.asset_key is not None
    assert check.asset_key.to_user_string() == COLLECTION
    assert "4 files proven" in said(check)


# Conservation


def test_tiles_that_cover_the_grid_pass() -> None:
    check = conserved(tiled(empty=(4,)))
    assert check.passed
    assert "6 tiles planned = 5 converted + 1 empty" in said(check)


def test_a_missing_tile_fails() -> None:
    found = manifest([plan("analysis")], tiles())
    check = conserved(result(found, reports(found)[:-1]))
    assert not check.passed
    assert f"analysis: {1904 * 2048:,} pixels too few" in said(check)


def test_a_doubled_tile_fails() -> None:
    found = manifest([plan("analysis")], tiles())
    done = reports(found)
    check = conserved(result(found, [*done, done[0]]))
    assert not check.passed
    assert f"analysis: {2048 * 2048:,} pixels too many" in said(check)


def test_a_lost_valid_pixel_of_an_unwarped_tier_fails() -> None:
    document = result(manifest([plan("archive")], valid_pixels=19_000_001))
    check = conserved(document)
    assert not check.passed
    assert "archive: 1 valid pixels too few" in said(check)


def test_a_warped_tier_has_valid_pixels_of_its_own() -> None:
    assert conserved(result(manifest([plan("analysis")], valid_pixels=18_000_000))).passed


def test_members_that_add_up_pass() -> None:
    check = conserved(folder(), COLLECTION)
    assert check.passed
    assert "3 rasters = 1 converted + 1 unchanged + 1 bad; 1 removed" in said(check)


def test_members_that_do_not_add_up_fail() -> None:
    document = folder()
    summary = document.summary.model_copy(update={"members": 4})
    check = conserved(document.model_copy(update={"summary": summary}), COLLECTION)
    assert not check.passed


# Catalogue


def hrefs(document: RasterResult) -> list[str]:
    return [asset.href for asset in document.assets if asset.href is not None]


def test_an_item_with_the_files_of_the_job_passes() -> None:
    document = result()
    check = catalogued(document, {"dem": JOB}, {"dem": item(*hrefs(document))}, None)
    assert check.passed
    assert "1 STAC items in system-rasters" in said(check)


def test_tiles_are_looked_for_in_all_items() -> None:
    document = tiled(empty=(4,))
    items = {tile.item_id: item(*tile.hrefs.values()) for tile in document.tiles if tile.item_id}
    assert len(items) == 5
    assert catalogued(document, dict.fromkeys(items, JOB), items, None).passed
    items["dem_3"] = item("file:///elsewhere.tif")
    check = catalogued(document, dict.fromkeys(items, JOB), items, None)
    assert not check.passed
    assert "analysis_3.tif" in said(check)


def test_a_missing_item_fails() -> None:
    check = catalogued(result(), {"dem": JOB}, {"dem": None}, None)
    assert not check.passed
    assert "no STAC item system-rasters/dem" in said(check)


def test_an_item_of_another_job_than_published_fails() -> None:
    document = result()
    stale = item(*hrefs(document), job_id="00" * 32)
    check = catalogued(document, {"dem": JOB}, {"dem": stale}, None)
    assert not check.passed
    assert "is of another job" in said(check)


def test_a_newer_version_published_since_is_no_fault() -> None:
    newer = "99" * 32
    assert catalogued(result(), {"dem": newer}, {"dem": item("new.tif", job_id=newer)}, None).passed


def test_a_layer_that_is_not_published_fails() -> None:
    assert not catalogued(result(), {}, {}, None).passed


def test_many_problems_are_counted() -> None:
    expected = {f"tile_{number}": JOB for number in range(12)}
    check = catalogued(folder(), expected, {}, COLLECTION)
    assert "and 7 more" in said(check)


# Serving


def test_a_drawn_tile_passes() -> None:
    check = tiles_served(result(), LayerDrawn((DRAWN,)))
    assert check.passed
    assert check.metadata["bytes"] == MetadataValue.int(2345)
    assert check.metadata["url"] == MetadataValue.url(DRAWN.answer.url)
    assert "problem" not in check.metadata


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (None, "no tile server is configured (GEO_ETL_TILES_URL, or 'geo-etl serve')"),
        (LayerDrawn(()), "there is nothing to draw"),
    ],
)
def test_what_can_not_be_drawn_is_skipped_and_said_so(seen: LayerDrawn | None, why: str) -> None:
    check = tiles_served(result(), seen)
    assert check.passed
    assert check.metadata["skipped"] == MetadataValue.bool(True)
    assert said(check).endswith(f": skipped, {why}.")


def test_one_bad_tile_fails_with_its_address_and_the_answer() -> None:
    answer = Answer("http://localhost/2", 500, "text/plain", b"no such file")
    check = tiles_served(result(), LayerDrawn((DRAWN, PictureProbe(answer, str(answer)))))
    assert not check.passed
    assert said(check).endswith(": HTTP 500 text/plain: no such file (http://localhost/2)")
    assert check.metadata["status"] == MetadataValue.int(500)
    assert check.metadata["answer"] == MetadataValue.text("no such file")


def test_a_server_that_is_not_there_fails() -> None:
    answer = Answer("http://localhost/1", fault="Connection refused")
    check = tiles_served(result(), LayerDrawn((PictureProbe(answer, str(answer)),)))
    assert not check.passed
    assert check.metadata["answer"] == MetadataValue.text("Connection refused")


def test_a_set_is_compared_with_its_member_or_it_is_said() -> None:
    equal = tiles_served(tiled(), LayerDrawn((DRAWN,), (DRAWN, DRAWN)))
    assert "a tile of the mosaic equals that of the one member on it" in said(equal)
    assert "not compared with the mosaic" in said(tiles_served(tiled(), LayerDrawn((DRAWN,))))
    assert "mosaic" not in said(tiles_served(result(), LayerDrawn((DRAWN,))))


def test_a_mosaic_without_its_member_fails() -> None:
    nothing = PictureProbe(Answer("http://localhost/3", 204), "the tile is empty")
    check = tiles_served(tiled(), LayerDrawn((DRAWN,), (nothing, DRAWN)))
    assert not check.passed
    assert "the tile is empty (http://localhost/3 gave HTTP 204: nothing)" in said(check)


# The Dagster UI


def test_the_ui_shows_a_raster_at_a_glance() -> None:
    shown = raster_metadata(result(viewer_url="http://localhost/map"), "### summary")
    assert shown["dagster/uri"] == "file:///blobs/silver/ab/analysis_0.tif"
    assert shown["layer"] == "system-rasters/dem"
    assert shown["valid_share"] == 0.95
    assert shown["viewer"] == MetadataValue.url("http://localhost/map")
    assert shown["quality"] == MetadataValue.md("### summary")
    assert shown["already_done"] is False
    tiers = [record.data for record in shown["tiers"].records]
    assert [row["tier"] for row in tiers] == ["analysis", "archive"]
    assert "6,000 × 4,096, EPSG:4326" in str(tiers[0]["grid"])


def test_the_ui_has_the_whole_result_as_strict_json() -> None:
    document = result(manifest([plan("analysis")], nodata=float("nan")))
    stored = raster_metadata(document, None)["result"].value
    assert RasterResult.model_validate(json.loads(json.dumps(stored, allow_nan=False))) == document


def test_a_set_is_at_its_vrt() -> None:
    mosaic = Mosaic(vrt="file:///blobs/dem.vrt", search_id="s", tilejson_url=None)
    shown = raster_metadata(tiled().model_copy(update={"mosaic": mosaic}), None)
    assert shown["dagster/uri"] == "file:///blobs/dem.vrt"
    assert shown["tiles"] == "6 = 5 converted + 1 empty"
    assert shown["already_done"] is True


def test_warnings_have_no_meaning_in_markdown() -> None:
    document = result().model_copy(update={"warnings": ["<b>[x](y)"]})
    assert "<b>" not in str(raster_metadata(document, None)["warnings"].value).replace(
        "\\<b\\>", ""
    )


def test_bad_members_come_first_in_the_ui() -> None:
    shown = collection_metadata(folder(), None)
    rows = [record.data for record in shown["member_table"].records]
    assert [row["status"] for row in rows] == ["bad", "converted", "unchanged", "removed"]
    assert rows[0]["problem"] == "it has no CRS"


def test_nothing_to_link_is_no_link() -> None:
    shown = raster_metadata(result(), None)
    assert not {"viewer", "tilejson", "preview", "quality_report", "mosaic"} & set(shown)
