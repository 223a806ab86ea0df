"""The same graph and the same result from every entry point.

One real stack, one `dagster dev`, one server; the tests of this module share them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from geo_etl_tests.conftest import PROJECT
from geo_etl_tests.e2e.conftest import Dagster, wait_until
from geo_etl_tests.made import squares, write

SAME = ("status", "summary", "original_crs", "geometry_type", "warnings", "tasks_executed")


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how an ingest was started."""
    stages = [(stage["name"], stage["tasks"]) for stage in result["stages"]]
    return {**{key: result[key] for key in SAME}, "stages": stages, "bbox": result["stac"]["bbox"]}


def stored_result(engine: sa.Engine, source: str) -> dict[str, Any] | None:
    with engine.connect() as connection:
        return connection.execute(
            sa.text("SELECT result FROM geo_etl.publication WHERE source = :s"), {"s": source}
        ).scalar_one_or_none()


@pytest.fixture(scope="module")
def countries() -> Path:
    return PROJECT / "examples" / "countries.zip"


@pytest.fixture(scope="module")
def expected(stack: Any, served: str, countries: Path) -> dict[str, Any]:
    """The result of `geo-etl ingest` on the demo's file."""
    done = subprocess.run(
        [sys.executable, "-m", "geo_etl.cli", "ingest", str(countries), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "GEO_ETL_HOME": str(stack.home)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_command_line(expected: dict[str, Any], engine: sa.Engine, served: str) -> None:
    assert expected["table"] == "geo.countries"
    assert expected["summary"] == {
        "features_read": 177,
        "features_loaded": 177,
        "features_repaired": 0,
        "features_quarantined": 0,
        "features_dropped": 0,
        "total_chunks": 1,
        "chunks_loaded": 1,
        "success_rate": 1.0,
        "data_complete": True,
    }
    assert stored_result(engine, "bronze/countries.zip") == expected
    features = httpx.get(expected["ogc_features_url"], params={"f": "geojson"}).json()
    assert features["numberMatched"] == 177
    assert expected["ogc_features_url"].startswith(served)


def test_dagster_job_execute(
    expected: dict[str, Any], bronze: Path, countries: Path, engine: sa.Engine, stack: Any
) -> None:
    shutil.copyfile(countries, bronze / "by_job_execute.zip")
    source = "bronze/by_job_execute.zip"

    done = execute(stack, source)

    assert done.returncode == 0, done.stderr[-2000:]
    result = stored_result(engine, source)
    assert result is not None
    assert comparable(result) == comparable(expected)


def test_dagster_job_execute_names_a_misspelt_key(stack: Any) -> None:
    done = execute(stack, "bronze/contries.zip")

    assert done.returncode == 1
    said = "blob 'bronze/contries.zip': container 'bronze' holds no such blob. Check the spelling"
    assert said in done.stderr + done.stdout


def execute(stack: Any, source: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "job", "execute"]
        + ["-m", "geo_etl.definitions", "-j", "ingest_vector"]
        + ["--tags", json.dumps({"dagster/partition": source})],
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


def test_sensor(
    dagster_dev: Dagster,
    expected: dict[str, Any],
    bronze: Path,
    countries: Path,
    engine: sa.Engine,
) -> None:
    shutil.copyfile(countries, bronze / "by_sensor.zip")
    source = "bronze/by_sensor.zip"

    result = wait_until(lambda: stored_result(engine, source), "the sensor's ingest", 180)

    assert comparable(result) == comparable(expected)
    dagster_dev.succeeded(source)


def test_backfill_of_several_partitions(
    dagster_dev: Dagster,
    expected: dict[str, Any],
    stack: Any,
    countries: Path,
    engine: sa.Engine,
    unique: str,
) -> None:
    """In a container that the sensor does not watch."""
    folder = stack.home / "blobs" / unique
    folder.mkdir()
    sources = [f"{unique}/backfill_{number}.zip" for number in range(3)]
    for source in sources:
        shutil.copyfile(countries, stack.home / "blobs" / source)
        register(dagster_dev, source)

    answer = dagster_dev.ask(
        "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {"
        " __typename ... on PythonError { message } } }",
        p={"assetSelection": [{"path": ["vector_table"]}], "partitionNames": sources},
    )

    assert answer["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", answer
    for source in sources:
        dagster_dev.succeeded(source)
        result = stored_result(engine, source)
        assert result is not None
        assert comparable(result) == comparable(expected)


def register(dagster: Dagster, source: str) -> None:
    answer = dagster.ask(
        "mutation($r: RepositorySelector!, $k: String!) { addDynamicPartition("
        'repositorySelector: $r, partitionsDefName: "vector_sources", partitionKey: $k) {'
        " __typename } }",
        r={"repositoryName": "__repository__", "repositoryLocationName": "geo_etl"},
        k=source,
    )
    assert answer["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"


def test_graphql_launch(
    dagster_dev: Dagster,
    expected: dict[str, Any],
    stack: Any,
    countries: Path,
    engine: sa.Engine,
    unique: str,
) -> None:
    """The README's curl example: submit a run, then poll it."""
    source = f"{unique}/by_http.zip"
    (stack.home / "blobs" / unique).mkdir()
    shutil.copyfile(countries, stack.home / "blobs" / source)

    answer = dagster_dev.ask(
        "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename"
        " ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        p={
            "selector": {
                "repositoryLocationName": "geo_etl",
                "repositoryName": "__repository__",
                "jobName": "ingest_vector",
            },
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": source}]},
        },
    )

    assert answer["launchRun"]["__typename"] == "LaunchRunSuccess", answer
    dagster_dev.succeeded(source)
    result = stored_result(engine, source)
    assert result is not None
    assert comparable(result) == comparable(expected)


@pytest.mark.browser
def test_materialize_in_the_ui(
    dagster_dev: Dagster, stack: Any, tmp_path: Path, unique: str, served: str
) -> None:
    """A person clicks Materialize on a partition, waits, and reads the result on the page."""
    from playwright.sync_api import expect, sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    (stack.home / "blobs" / unique).mkdir()
    write(stack.home / "blobs" / unique / "squares.gpkg", squares(12))
    source = f"{unique}/squares.gpkg"
    register(dagster_dev, source)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
            + ["--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1100})
        address = f"{dagster_dev.url}/assets/vector_table?view=partitions"
        page.goto(f"{address}&partition={source.replace('/', '%2F')}")
        page.get_by_role("button", name="Materialize").click()
        page.get_by_role("button", name="Launch 1 run").click()
        dagster_dev.succeeded(source)

        page.goto(f"{address}&partition={source.replace('/', '%2F')}")
        expect(page.get_by_text("geometry_type")).to_be_visible(timeout=30_000)
        rows = {
            row.locator("td").nth(0).inner_text(): row.locator("td").nth(1).inner_text()
            for row in page.locator("tr").all()
            if row.locator("td").count() >= 2
        }
        page.get_by_text("[Show Markdown]").first.click()
        picture = page.locator("img[src^='data:image/png']")
        expect(picture).to_be_visible(timeout=10_000)
        width = picture.evaluate("image => image.naturalWidth")
        browser.close()

    assert rows["geometry_type"] == "MultiPolygon"
    assert rows["original_crs"] == "EPSG:32633"
    assert rows["stac_item"] == "system-vectors/geo.squares"
    assert any(value.strip() == "12" for value in rows.values())
    assert width == 700


def test_dagster_dev_uses_the_instance_of_the_command(
    dagster_dev: Dagster, expected: dict[str, Any]
) -> None:
    """A run of `geo-etl ingest` is there in the UI."""
    runs = dagster_dev.runs("bronze/countries.zip")

    tags = {tag["key"]: tag["value"] for run in runs for tag in run["tags"]}
    assert tags["geo_etl/job_id"] == expected["job_id"]
    assert tags["dagster/retry_strategy"] == "ALL_STEPS"
