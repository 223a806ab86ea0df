"""Rasters and collections of them from every entry point: the same graph, the same result.

`dagster dev` and the server are those of the other tests of entry points.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from affine import Affine

from geo_etl_tests.conftest import PROJECT
from geo_etl_tests.e2e.conftest import Dagster, Said, wait_until
from geo_etl_tests.e2e.raster_kinds import KINDS

Command = Callable[..., Said]
RGB = KINDS["rgb"]
SAME = ("status", "form", "summary", "data_kind", "original_crs", "target_crs", "warnings")


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how an ingest was started."""
    assets = [
        {key: value for key, value in asset.items() if key != "href"} for asset in result["assets"]
    ]
    stages = [(stage["name"], stage["tasks"]) for stage in result["stages"]]
    box = result["stac"]["bbox"]
    return {**{key: result[key] for key in SAME}, "assets": assets, "stages": stages, "bbox": box}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return RGB.write(tmp_path_factory.mktemp("entry_points") / "rgb.tif")


@pytest.fixture
def published(engine: sa.Engine) -> Callable[[str], Any]:
    """What readers see of a source: its row, or None."""

    def read(source: str) -> Any:
        with engine.connect() as connection:
            return connection.execute(
                sa.text(
                    "SELECT result, job_id, version FROM geo_etl.raster_publication"
                    " WHERE source = :source AND current AND result IS NOT NULL"
                ),
                {"source": source},
            ).one_or_none()

    return read


@pytest.fixture(scope="module")
def expected(stack: Any, served: str, picture: Path) -> dict[str, Any]:
    """The result of `geo-etl ingest` on the picture."""
    done = subprocess.run(
        [sys.executable, "-m", "geo_etl.cli", "ingest", str(picture), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "GEO_ETL_HOME": str(stack.home)},
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["summary"]["pixels"] == RGB.side**2
    assert result["tiles_url"].startswith(served)
    return result


@pytest.fixture
def apart(stack: Any, unique: str) -> Path:
    """A container that the sensor does not watch."""
    folder: Path = stack.home / "blobs" / unique
    folder.mkdir()
    return folder


def execute(stack: Any, job: str, key: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "job", "execute"]
        + ["-m", "geo_etl.definitions", "-j", job]
        + ["--tags", json.dumps({"dagster/partition": key})],
        cwd=PROJECT,
        env={
            **os.environ,
            "GEO_ETL_HOME": str(stack.home),
            "DAGSTER_HOME": str(stack.home / "dagster"),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_dagster_job_execute(
    expected: dict[str, Any], apart: Path, picture: Path, stack: Any, published: Any
) -> None:
    shutil.copyfile(picture, apart / "by_job_execute.tif")

    done = execute(stack, "process_raster", f"{apart.name}/by_job_execute.tif")

    assert done.returncode == 0, done.stderr[-2000:]
    assert comparable(published(f"{apart.name}/by_job_execute.tif").result) == comparable(expected)


def test_tile_raster_makes_tiles_of_what_is_small(apart: Path, stack: Any, published: Any) -> None:
    KINDS["tiled"].write(apart / "by_tile_raster.tif")
    (apart / "by_tile_raster.ingest.yaml").write_text("target_tile_size_gb: 0.005\n")

    done = execute(stack, "tile_raster", f"{apart.name}/by_tile_raster.tif")

    assert done.returncode == 0, done.stderr[-2000:]
    result = published(f"{apart.name}/by_tile_raster.tif").result
    assert result["form"] == "tiled"
    assert result["summary"]["total_tiles"] > 1
    assert result["mosaic"]["search_id"]


def test_process_raster_collection(apart: Path, stack: Any, published: Any) -> None:
    write_two(apart / "pair")

    done = execute(stack, "process_raster_collection", f"{apart.name}/pair")

    assert done.returncode == 0, done.stderr[-2000:]
    result = published(f"{apart.name}/pair").result
    assert result["summary"]["converted"] == 2
    assert result["stac"]["bbox"] == pytest.approx([13.0, 50.0, 13.8, 50.4])


def write_two(folder: Path) -> None:
    """Two pictures side by side."""
    folder.mkdir()
    RGB.write(folder / "west.tif")
    moved = dataclasses.replace(RGB, transform=Affine.translation(0.4, 0) @ RGB.transform)
    moved.write(folder / "east.tif")


def test_dagster_job_execute_names_a_misspelt_key(stack: Any) -> None:
    done = execute(stack, "process_raster", "bronze/no_such.tif")

    assert done.returncode == 1
    said = "blob 'bronze/no_such.tif': container 'bronze' holds no such blob. Check the spelling"
    assert said in done.stderr + done.stdout


def test_the_sensor_sees_new_changed_and_gathered_rasters(
    dagster_dev: Dagster,
    expected: dict[str, Any],
    bronze: Path,
    picture: Path,
    published: Any,
    unique: str,
) -> None:
    one, folder = f"bronze/{unique}.tif", f"bronze/{unique}"
    write_two(bronze / unique)
    (bronze / unique / "_ingest.yaml").write_text("collection: true\n")
    shutil.copyfile(picture, bronze / f"{unique}.tif")

    first = wait_until(lambda: published(one), "the sensor's run", 180)
    gathered = wait_until(lambda: published(folder), "the run of the collection", 180)
    KINDS["classes"].write(bronze / f"{unique}.tif")
    changed = wait_until(
        lambda: (row := published(one)) and row.version == 2 and row, "the second run", 180
    )

    assert comparable(first.result) == comparable(expected)
    assert gathered.result["summary"]["members"] == 2
    assert (first.result["data_kind"], changed.result["data_kind"]) == ("imagery", "classes")
    assert dagster_dev.runs(f"{folder}/west.tif") == []
    assert {run["status"] for run in dagster_dev.finished(one, 2)} == {"SUCCESS"}


def test_backfill_of_several_partitions(
    dagster_dev: Dagster, expected: dict[str, Any], apart: Path, picture: Path, published: Any
) -> None:
    sources = [f"{apart.name}/backfill_{number}.tif" for number in range(2)]
    for source in sources:
        shutil.copyfile(picture, apart / Path(source).name)
        register(dagster_dev, "raster_sources", source)

    answer = dagster_dev.ask(
        "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {"
        " __typename ... on PythonError { message } } }",
        p={"assetSelection": [{"path": ["raster_cog"]}], "partitionNames": sources},
    )

    assert answer["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", answer
    for source in sources:
        dagster_dev.succeeded(source)
        assert comparable(published(source).result) == comparable(expected)


def register(dagster: Dagster, partitions: str, key: str) -> None:
    answer = dagster.ask(
        "mutation($r: RepositorySelector!, $p: String!, $k: String!) { addDynamicPartition("
        "repositorySelector: $r, partitionsDefName: $p, partitionKey: $k) { __typename } }",
        r={"repositoryName": "__repository__", "repositoryLocationName": "geo_etl"},
        p=partitions,
        k=key,
    )
    assert answer["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"


def test_a_backfill_is_listed_by_its_asset(
    dagster_dev: Dagster, geo_etl: Command, apart: Path, picture: Path
) -> None:
    """Such a run has no job of its own."""
    source = f"{apart.name}/listed.tif"
    shutil.copyfile(picture, apart / "listed.tif")
    register(dagster_dev, "raster_sources", source)
    dagster_dev.ask(
        "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {"
        " __typename } }",
        p={"assetSelection": [{"path": ["raster_cog"]}], "partitionNames": [source]},
    )
    dagster_dev.succeeded(source)

    (job,) = [job for job in geo_etl("jobs", "--json").json if job["source"] == source]

    assert (job["job"], job["layer"], job["table"]) == ("raster_cog", "system-rasters/listed", None)


def test_graphql_launch(
    dagster_dev: Dagster, expected: dict[str, Any], apart: Path, picture: Path, published: Any
) -> None:
    source = f"{apart.name}/by_http.tif"
    shutil.copyfile(picture, apart / "by_http.tif")

    answer = dagster_dev.ask(
        "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename"
        " ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        p={
            "selector": {
                "repositoryLocationName": "geo_etl",
                "repositoryName": "__repository__",
                "jobName": "process_raster",
            },
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": source}]},
        },
    )

    assert answer["launchRun"]["__typename"] == "LaunchRunSuccess", answer
    dagster_dev.succeeded(source)
    assert comparable(published(source).result) == comparable(expected)
