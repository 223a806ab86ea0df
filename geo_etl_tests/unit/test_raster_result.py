"""The result documents of rasters and of their collections, and their published JSON Schema."""

import json
import math
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.cli.raster_words import is_of_raster, show_raster
from geo_etl.errors import SourceError
from geo_etl.ingest.clock import Span
from geo_etl.report.collection_outcome import Member, collection_result
from geo_etl.report.documents import FailedResult
from geo_etl.report.raster_outcome import Course, Place
from geo_etl.report.raster_result import (
    CollectionResult,
    Mosaic,
    ProofFigures,
    RasterResult,
    raster_result_schema,
    read_result,
)
from geo_etl.report.raster_totals import merged
from geo_etl_tests.conftest import PROJECT
from geo_etl_tests.unit.raster_jobs import (
    COURSE,
    SOURCE,
    TARGET,
    manifest,
    plan,
    reports,
    result,
    tiled,
    tiles,
    whole,
)

PUBLISHED = PROJECT / "docs" / "raster-result.schema.json"


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))


def strictly(text: str) -> Any:
    """JSON as PostgreSQL and browsers read it: without NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def collection(*members: Member, **changes: Any) -> CollectionResult:
    where = Place("rasters", None, (1.0, 2.0, 3.0, 4.0), {})
    given_: dict[str, Any] = {"job_id": "12" * 32, "source": "bronze/rasters", "version": 1}
    return collection_result(members=members, place=where, course=COURSE, **{**given_, **changes})


def folder() -> CollectionResult:
    return collection(
        Member("bronze/rasters/c.tif", "bad", problem="it has no CRS"),
        Member("bronze/rasters/a.tif", "converted", "a", result()),
        Member("bronze/rasters/b.tif", "unchanged", "b", result()),
        Member("bronze/rasters/z.tif", "removed", "z"),
    )


# The schema


def test_the_published_schema_is_the_models() -> None:
    written = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert written == raster_result_schema(), (
        "write it anew: geo-etl result --schema --kind raster > docs/raster-result.schema.json"
    )


def test_the_published_schema_is_a_json_schema(schema: jsonschema.Draft202012Validator) -> None:
    schema.check_schema(schema.schema)
    assert schema.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_field_is_described(schema: jsonschema.Draft202012Validator) -> None:
    fields = [
        (name, key, field)
        for name, definition in schema.schema["$defs"].items()
        for key, field in definition["properties"].items()
    ]
    assert len(fields) > 100
    assert [(name, key) for name, key, field in fields if not field.get("description")] == []


@pytest.mark.parametrize("document", [result(), tiled(), folder()], ids=["single", "set", "many"])
def test_a_done_jobs_document_validates(
    schema: jsonschema.Draft202012Validator, document: RasterResult | CollectionResult
) -> None:
    schema.validate(strictly(document.model_dump_json()))


def test_a_failed_jobs_document_validates(schema: jsonschema.Draft202012Validator) -> None:
    error = SourceError("bronze/a.tif", "it is empty", "Deliver it again.")
    schema.validate(strictly(FailedResult.of("bronze/a.tif", error).model_dump_json()))


@pytest.mark.parametrize(
    "change",
    [
        {"status": "done"},
        {"summary": {}},
        {"another": 1},
        {"tasks_executed": "4"},
        {"nodata": "nothing"},
        {"form": "heap"},
    ],
)
def test_another_document_does_not_validate(
    schema: jsonschema.Draft202012Validator, change: dict[str, Any]
) -> None:
    document = {**strictly(result().model_dump_json()), **change}
    assert not schema.is_valid(document)


@pytest.mark.parametrize("document", [result(), tiled(), folder()], ids=["single", "set", "many"])
def test_a_stored_document_is_read_as_what_it_was(
    document: RasterResult | CollectionResult,
) -> None:
    assert read_result(strictly(json.dumps(document.model_dump(mode="json")))) == document


@given(nodata=st.floats())
def test_any_nodata_value_survives_json(nodata: float) -> None:
    document = result(manifest([plan("analysis")], nodata=nodata))
    stored = read_result(strictly(json.dumps(document.model_dump(mode="json"))))
    assert isinstance(stored, RasterResult)
    assert stored.nodata is not None
    assert math.isnan(nodata) == math.isnan(float(stored.nodata))
    assert math.isnan(nodata) or float(stored.nodata) == nodata


# One raster


def test_each_tier_has_its_file_grid_and_cost() -> None:
    found = manifest([plan("analysis"), plan("archive")])
    analysis, archive = result(found, reports(found, size=2**30)).assets
    assert (analysis.tier, analysis.href) == (
        "analysis",
        "file:///blobs/silver/ab/analysis_0.tif",
    )
    assert (analysis.width, analysis.height, analysis.crs) == (6000, 4096, "EPSG:4326")
    assert (archive.width, archive.height, archive.crs) == (5000, 4000, "EPSG:32633")
    assert (analysis.warped, archive.warped) == (True, False)
    assert analysis.bytes_uncompressed == 6000 * 4096 * 4
    assert analysis.monthly_cost == pytest.approx(0.018)  # hot, East US, a GiB and month


def test_a_single_raster_is_one_tile_whatever_its_tasks() -> None:
    document = result()
    assert document.form == "single"
    assert document.tiles == []
    assert document.summary.total_tiles == document.summary.tiles_converted == 1
    assert document.summary.data_complete
    assert (document.stac.item_id, document.stac.items) == ("dem", 1)


def test_colours_made_of_one_band_count_as_bands() -> None:
    found = manifest([plan("visualization", colormap_name="viridis")])
    (report,) = reports(found)
    three = replace(report.made[0], statistics=report.made[0].statistics * 3)
    (asset,) = result(found, [replace(report, made=(three,))]).assets
    assert asset.bands == 3
    assert asset.bytes_uncompressed == TARGET.pixels * 3


@pytest.mark.parametrize(("dtype", "said"), [("uint8", "uint8"), ("float32", None)])
def test_narrowing_is_said_when_it_was_done(dtype: str, said: str | None) -> None:
    found = manifest([plan("analysis", dtype=dtype)], narrow_to="uint8")
    assert result(found).narrowed_to == said


def test_warnings_of_plan_and_publish_are_each_said_once() -> None:
    found = manifest([plan("analysis")], warnings=("one", "two"))
    done = reports(found)
    where = Place("c", "i", None, {done[0].made[0].path: "file:///a.tif"})
    from geo_etl.report.raster_outcome import raster_result

    document = raster_result(found, done, where, COURSE, 1, warnings=["two", "three"])
    assert document.warnings == ["one", "two", "three"]


def test_stages_have_their_times_and_tasks() -> None:
    document = result()
    assert [(s.name, s.seconds, s.tasks) for s in document.stages] == [
        ("plan", 2, 1),
        ("convert", 10, 2),
        ("publish", 1, 1),
        ("verify", 2, 1),
    ]
    assert document.processing_time_seconds == 15
    assert document.tasks_executed == 5


def test_a_job_whose_tasks_were_done_before_has_no_convert_stage() -> None:
    course = Course(Span(0, 1), [], Span(1, 2), Span(2, 3))
    assert [stage.name for stage in course.stages()] == ["plan", "publish", "verify"]
    assert course.efficiency() is None


# A set of tiles


def test_every_tile_has_its_place_and_files() -> None:
    document = tiled()
    assert [(tile.row, tile.col) for tile in document.tiles] == [
        (row, col) for row in range(2) for col in range(3)
    ]
    assert document.tiles[2].window.model_dump() == {
        "col": 4096,
        "row": 0,
        "width": 1904,
        "height": 2048,
    }
    assert document.tiles[5].hrefs == {"analysis": "file:///blobs/silver/ab/analysis_5.tif"}
    assert (document.stac.item_id, document.stac.items) == (None, 5)


def test_an_empty_tile_has_neither_item_nor_file() -> None:
    tile = tiled(empty=(4,)).tiles[4]
    assert (tile.empty, tile.item_id, tile.bbox, tile.bytes, tile.hrefs) == (
        True,
        None,
        None,
        0,
        {},
    )


def test_the_tier_of_a_set_is_all_its_tiles_together() -> None:
    (asset,) = tiled(empty=(4,)).assets
    assert (asset.files, asset.bytes, asset.href) == (5, 5_000_000, None)
    assert (asset.width, asset.height) == (6000, 4096)
    assert asset.proof is not None
    assert asset.proof.pixels_compared == 6000 * 4096 - 2048 * 2048


def test_an_archive_beside_tiles_is_one_file() -> None:
    archive = plan("archive")
    found = manifest([plan("analysis"), archive], [*tiles(), whole(6, archive)])
    document = result(found, reports(found, empty=(0,)))
    analysis, kept = document.assets
    assert analysis.href is None
    assert kept.href == "file:///blobs/silver/ab/archive_6.tif"
    assert document.summary.total_tiles == 6
    assert (document.summary.tiles_converted, document.summary.tiles_empty) == (5, 1)
    assert document.summary.data_complete


def test_a_set_of_empty_tiles_has_no_files_and_no_proof() -> None:
    document = tiled(empty=tuple(range(6)))
    assert document.assets[0].proof is None
    assert document.summary.tiles_empty == 6
    assert document.summary.data_complete


# Whether it is whole


def test_a_piece_that_nobody_reported_is_missed() -> None:
    found = manifest([plan("analysis")], tiles())
    summary = result(found, reports(found)[:-1]).summary
    assert not summary.data_complete
    assert summary.tiles_converted == 5


def test_a_piece_that_was_reported_twice_is_noticed() -> None:
    found = manifest([plan("analysis")], tiles())
    done = reports(found)
    assert not result(found, [*done, done[0]]).summary.data_complete


def test_files_that_leave_out_a_part_of_the_grid_are_noticed() -> None:
    found = manifest([plan("analysis")])
    done = reports(found, pixels_compared=TARGET.pixels - 1)
    assert not result(found, done).summary.data_complete


def test_one_whole_tier_hides_no_other_that_is_not() -> None:
    found = manifest([plan("analysis"), plan("archive")])
    done = reports(found)
    assert not result(found, done[:1]).summary.data_complete
    assert not result(found, done[1:]).summary.data_complete


# Proofs together


def figures(**changes: Any) -> ProofFigures:
    clean: dict[str, Any] = {
        "cog_valid": True,
        "pixels_compared": 10,
        "pixels_different": 0,
        "mask_different": 0,
        "psnr_db": None,
        "max_error": None,
        "new_classes": None,
        "differences": [],
    }
    return ProofFigures(**{**clean, **changes})


def test_proofs_of_several_files_are_summed_and_the_worst_is_said() -> None:
    lossy = {"pixels_different": None}
    one = figures(**lossy, psnr_db=41.5, max_error=7.0)
    other = figures(**lossy, psnr_db=38.25, max_error=4.0, mask_different=2, cog_valid=False)
    total = merged([one, other])
    assert total is not None
    assert (total.psnr_db, total.max_error) == (38.25, 7.0)
    assert (total.pixels_compared, total.pixels_different, total.mask_different) == (20, None, 2)
    assert not total.cog_valid
    assert not total.holds


def test_a_lossy_file_that_differs_nowhere_hides_no_other() -> None:
    total = merged([figures(pixels_different=None), figures(pixels_different=None, psnr_db=40.0)])
    assert total is not None
    assert total.psnr_db == 40.0


def test_new_classes_of_any_file_are_kept() -> None:
    total = merged([figures(new_classes=[]), figures(new_classes=[7, 3]), figures(new_classes=[3])])
    assert total is not None
    assert total.new_classes == [3, 7]
    assert not total.holds


@pytest.mark.parametrize(
    "flaw",
    [
        {"cog_valid": False},
        {"pixels_different": 1},
        {"mask_different": 1},
        {"new_classes": [9]},
        {"differences": ["its CRS is another"]},
    ],
)
def test_one_flaw_speaks_against_the_whole(flaw: dict[str, Any]) -> None:
    total = merged([figures(), figures(**flaw), figures()])
    assert total is not None
    assert figures().holds
    assert not total.holds


# Many rasters


def test_members_are_counted_by_what_became_of_them() -> None:
    summary = folder().summary
    assert (summary.members, summary.converted, summary.unchanged) == (3, 1, 1)
    assert (summary.bad, summary.removed) == (1, 1)
    assert summary.pixels == 2 * SOURCE.pixels
    assert summary.data_complete


def test_members_are_listed_by_source_with_their_problem() -> None:
    rows = [(one.source[-5:], one.status, one.problem, one.bytes) for one in folder().members]
    assert rows == [
        ("a.tif", "converted", None, 2_000_000),
        ("b.tif", "unchanged", None, 2_000_000),
        ("c.tif", "bad", "it has no CRS", 0),
        ("z.tif", "removed", None, 0),
    ]


def test_the_tiers_of_a_collection_are_those_of_all_members() -> None:
    analysis, archive = folder().assets
    assert (analysis.tier, analysis.files, analysis.bytes) == ("analysis", 2, 2_000_000)
    assert analysis.proof is not None
    assert analysis.proof.pixels_compared == 2 * TARGET.pixels
    assert archive.crs == "EPSG:32633"


def test_what_members_do_not_share_is_null() -> None:
    bytes_ = manifest([plan("analysis", dtype="uint8", compress="ZSTD")])
    (asset,) = collection(
        Member("bronze/a.tif", "converted", "a", result(manifest([plan("analysis")]))),
        Member("bronze/b.tif", "converted", "b", result(bytes_)),
    ).assets
    assert (asset.dtype, asset.compression, asset.crs) == (None, None, "EPSG:4326")


def test_a_published_member_without_a_result_is_missed() -> None:
    document = collection(Member("bronze/a.tif", "converted", "a", None))
    assert not document.summary.data_complete


def test_a_warning_of_many_members_is_said_once() -> None:
    members = [Member(f"bronze/{name}.tif", "converted", name, result()) for name in "abc"]
    assert collection(*members, warnings=["mixed"]).warnings == [
        "mixed",
        "bronze/a.tif and 2 more: The nodata value never occurs.",
    ]


def test_warnings_of_members_that_were_not_made_now_are_not_repeated() -> None:
    assert folder().warnings == ["bronze/rasters/a.tif: The nodata value never occurs."]


# For people


def test_one_raster_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    document = result(viewer_url="http://localhost/map").model_dump(mode="json")
    assert is_of_raster(document)
    show_raster(document)
    said = " ".join(capsys.readouterr().out.split())
    for part in (
        "layer system-rasters/dem",
        "20,000,000, 19,000,000 of them valid",
        "CRS EPSG:4326, from EPSG:32633",
        "all 24,576,000 pixels equal",
        "file:///blobs/silver/ab/archive_1.tif",
        "map http://localhost/map",
        "tiles not served: run 'geo-etl serve'",
    ):
        assert part in said


def test_a_set_is_told_with_its_tiles_and_mosaic(capsys: pytest.CaptureFixture[str]) -> None:
    mosaic = Mosaic(vrt="file:///blobs/dem.vrt", search_id="s", tilejson_url=None)
    show_raster(tiled().model_copy(update={"mosaic": mosaic}).model_dump(mode="json"))
    said = capsys.readouterr().out
    assert "6 = 5 converted, 1 empty" in said
    assert "file:///blobs/dem.vrt" in said


def test_bad_members_are_told_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    show_raster(folder().model_dump(mode="json"))
    assert "bronze/rasters/c.tif: it has no CRS" in capsys.readouterr().out
