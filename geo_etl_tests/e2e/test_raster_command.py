"""The `geo-etl` command with rasters, as a person meets it: words, exit codes, JSON."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from geo_etl_tests.e2e.conftest import Said
from geo_etl_tests.e2e.raster_kinds import DEGREES, KINDS

Command = Callable[..., Said]
RGB = KINDS["rgb"]


def words(said: Said) -> str:
    """What was said on stderr, without its line breaks."""
    return " ".join(said.err.split())


def rows(said: Said) -> dict[str, str]:
    """What was said on stdout, by the word that a line begins with."""
    lines = (line.split(maxsplit=1) for line in said.out.splitlines() if not line[0].isspace())
    return {name: text.strip() for name, text in lines}


@pytest.fixture
def picture(tmp_path: Path, unique: str) -> Path:
    """A picture of the test's own name, so that it becomes an item of its own."""
    return RGB.write(tmp_path / f"{unique}.tif")


def test_ingest_prints_a_result_for_people(geo_etl: Command, picture: Path, unique: str) -> None:
    said = geo_etl("ingest", str(picture), "--set", "output_tier=all")

    assert said.code == 0, said.err
    shown = rows(said)
    assert shown["layer"] == f"system-rasters/{unique}"
    assert shown["pixels"] == "160,000, all of them valid"
    assert shown["bands"] == "3 of uint8"
    assert "all 160,000 pixels equal" in shown["analysis"]
    assert "less than 1 cent a month" in shown["archive"]
    # The values stand in one column, whatever the longest name.
    lines = [line for line in said.out.splitlines() if line[0] != " "]
    columns = {line.index(line.split(maxsplit=1)[1]) for line in lines}
    assert len(columns) == 1
    assert "convert" in said.err


def test_json_is_the_only_thing_on_stdout_and_fits_its_schema(
    geo_etl: Command, picture: Path, unique: str
) -> None:
    schema = geo_etl("result", "--schema", "--kind", "raster").json

    native = ("--set", "target_crs=native")
    done = geo_etl("ingest", str(picture), "--json", *native)
    again = geo_etl("ingest", f"bronze/{picture.name}", "--json", *native)
    shown = geo_etl("result", f"system-rasters/{unique}")

    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(done.json)
    assert again.json == shown.json == done.json
    assert "done already" in again.err
    forced = geo_etl("ingest", f"bronze/{picture.name}", "--json", "--force", *native).json
    assert (done.json["version"], forced["version"]) == (1, 2)
    assert forced["job_id"] == done.json["job_id"]


def test_a_picture_goes_into_bronze_with_its_world_file_and_its_spec(
    geo_etl: Command, tmp_path: Path, bronze: Path, unique: str
) -> None:
    pixels = np.full((40, 60, 3), (10, 200, 30), "uint8")
    Image.fromarray(pixels).save(tmp_path / f"{unique}.png")
    world = "0.01\n0\n0\n-0.01\n13.005\n50.395\n"  # the middle of the first pixel
    (tmp_path / f"{unique}.pgw").write_text(world)
    (tmp_path / f"{unique}.ingest.yaml").write_text(
        f"source_crs: EPSG:4326\nitem_id: {unique}_named\n"
    )

    result = geo_etl("ingest", str(tmp_path / f"{unique}.png"), "--json").json

    assert result["layer"] == f"system-rasters/{unique}_named"
    assert result["stac"]["bbox"] == pytest.approx([13.0, 50.0, 13.6, 50.4])
    assert {path.name for path in bronze.glob(f"{unique}*")} == {
        f"{unique}.png",
        f"{unique}.pgw",
        f"{unique}.ingest.yaml",
    }


def test_a_local_folder_becomes_a_collection_and_a_bad_member_is_named(
    geo_etl: Command, tmp_path: Path, unique: str
) -> None:
    folder = tmp_path / unique
    folder.mkdir()
    RGB.write(folder / "west.tif")
    moved = dataclasses.replace(RGB, transform=Affine.translation(0.4, 0) @ RGB.transform)
    moved.write(folder / "east.tif")
    (folder / "bad.tif").write_text("no raster")

    stopped = geo_etl("ingest", str(folder))
    skipped = geo_etl("ingest", f"bronze/{unique}/", "--set", "members.on_bad=skip")

    assert stopped.code == 1
    assert "bad.tif" in stopped.err
    assert skipped.code == 0, skipped.err
    shown = rows(skipped)
    assert shown["members"].startswith("3 = 2 converted + 0 unchanged + 1 bad")
    assert f"bronze/{unique}/bad.tif" in shown["bad"]


def without_crs(path: Path) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8", transform=DEGREES
    ) as file:
        file.write(np.ones((1, 9, 9), "uint8"))
    return path


def cut_off(path: Path) -> Path:
    content = RGB.write(path).read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])  # its tags come first
    return path


def too_large(path: Path) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=66_000,
        height=66_000,
        count=1,
        dtype="int32",
        crs="EPSG:4326",
        transform=Affine(0.001, 0, 0, 0, -0.001, 60),
        compress="DEFLATE",
        tiled=True,
        SPARSE_OK=True,
    ):
        pass
    return path


@pytest.mark.parametrize(
    ("make", "problem", "remedy"),
    [
        (without_crs, "CRS", "source_crs"),
        (cut_off, "", "again"),
        (too_large, "", "limits."),
    ],
    ids=["no CRS", "cut off", "too large"],
)
def test_a_failed_job_is_exit_code_1_with_the_remedy(
    geo_etl: Command,
    tmp_path: Path,
    unique: str,
    make: Callable[[Path], Path],
    problem: str,
    remedy: str,
) -> None:
    path = make(tmp_path / f"{unique}.tif")

    said = geo_etl("ingest", str(path), "--json")

    assert said.code == 1
    assert said.json["status"] == "failed"
    assert problem in said.json["error"]["problem"]
    assert remedy in said.json["error"]["remedy"]
    assert said.json["error"]["remedy"] in words(said)
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("target_srid=4326", "key 'target_srid': it is a setting of vectors"),
        ("target_crs=EPSG:1", "PROJ knows no such CRS"),
        ("render_params.colormap=viridis", "colormap_name"),
    ],
)
def test_a_wrong_setting_is_bad_use(
    geo_etl: Command, picture: Path, bronze: Path, setting: str, said: str
) -> None:
    refused = geo_etl("ingest", str(picture), "--set", setting)

    assert refused.code == 2
    assert said in words(refused)
    assert refused.out == ""
    assert not (bronze / picture.name).exists()


def test_versions_rollback_and_unpublish(
    geo_etl: Command, process: Any, picture: Path, unique: str
) -> None:
    layer = f"system-rasters/{unique}"
    process(picture)
    process(KINDS["classes"].write(picture))

    listed = geo_etl("versions", layer)
    back = geo_etl("rollback", layer)
    shown = geo_etl("result", layer).json
    asked = geo_etl("unpublish", layer)
    gone = geo_etl("unpublish", layer, "--yes")
    after = geo_etl("result", layer)

    lines = [line.split() for line in listed.out.splitlines()[1:]]
    assert [line[:3] for line in lines] == [[layer, "1", "kept"], [layer, "2", "current"]]
    assert f"Readers of {layer} see version 1 again" in words(back)
    assert shown["data_kind"] == "imagery"
    assert (asked.code, gone.code, after.code) == (2, 0, 2)
    assert f"Nothing was done. Say 'geo-etl unpublish {layer} --yes'" in words(asked)
    assert f"{layer} is no longer published." in words(gone)


def test_jobs_and_tasks_tell_of_rasters(geo_etl: Command, picture: Path, unique: str) -> None:
    tiled = ("max_raster_size_gb=0.005", "target_tile_size_gb=0.005")
    KINDS["tiled"].write(picture)
    settings = [part for setting in tiled for part in ("--set", setting)]
    result: dict[str, Any] = geo_etl("ingest", str(picture), "--json", *settings).json

    job = next(one for one in geo_etl("jobs", "--json").json if one["job_id"] == result["job_id"])
    tasks = geo_etl("tasks", result["job_id"][:12], "--json").json["tasks"]

    assert (job["job"], job["layer"]) == ("process_raster", result["layer"])
    assert unique in geo_etl("jobs").out
    made = [task for task in tasks if task["stage"] == "convert"]
    assert len(made) == result["summary"]["total_tiles"] > 1
    assert all(task["status"] == "success" for task in made)


def test_spec_shows_what_a_raster_has(geo_etl: Command, bronze: Path, unique: str) -> None:
    (bronze / unique).mkdir()
    (bronze / unique / "_ingest.yaml").write_text("target_crs: EPSG:3857\n")
    RGB.write(bronze / unique / "a.tif")

    said = geo_etl("spec", f"bronze/{unique}/a.tif")

    assert "target_crs: EPSG:3857\n" in said.out
    assert "output_tier:\n- analysis\n" in said.out
