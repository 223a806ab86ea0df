"""The `geo-etl` command as a person meets it: words, exit codes, JSON."""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from geo_etl_tests.e2e.conftest import Said
from geo_etl_tests.made import squares, write

Command = Callable[..., Said]


def test_up_again_says_that_it_runs(geo_etl: Command, stack: Any) -> None:
    said = geo_etl("up")

    assert said.code == 0
    assert "PostgreSQL runs already on port" in said.err


def test_health_is_well_and_gives_a_url_for_psql(geo_etl: Command) -> None:
    said = geo_etl("health", "--json")

    assert said.code == 0
    assert all(part["ok"] for part in said.json.values())
    url = said.json["database"]["url"]
    psql = subprocess.run(
        ["psql", url, "-Atc", "SELECT postgis_lib_version() IS NOT NULL"],
        capture_output=True,
        text=True,
    )
    assert psql.stdout.strip() == "t"


def test_health_of_nothing_says_what_to_do(geo_etl: Command, tmp_path: Path) -> None:
    said = geo_etl("health", "--json", GEO_ETL_HOME=str(tmp_path / "none"))

    assert said.code == 1
    assert not said.json["database"]["ok"]
    assert said.json["database"]["do"].startswith("Run 'geo-etl up'")


def test_ingest_without_a_stack_says_what_to_do(geo_etl: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", squares(2))

    said = geo_etl("ingest", str(path), GEO_ETL_HOME=str(tmp_path / "none"))

    assert said.code == 2
    assert "Run 'geo-etl up'" in said.err
    assert "Traceback" not in said.err


def test_ingest_prints_a_result_for_people(geo_etl: Command, tmp_path: Path, unique: str) -> None:
    said = geo_etl("ingest", str(write(tmp_path / f"{unique}.gpkg", squares(3))))

    assert said.code == 0, said.err
    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines() if " " in line)
    assert lines["table"].strip() == f"geo.{unique}"
    assert lines["loaded"].strip() == "3"
    assert "load" in said.err


def test_json_is_the_only_thing_on_stdout(geo_etl: Command, tmp_path: Path, unique: str) -> None:
    path = write(tmp_path / "a b#c%20.geojson", squares(3))

    said = geo_etl("ingest", str(path), "--json", "--set", f"table_name={unique}")

    assert said.json["table"] == f"geo.{unique}"
    assert said.json["source"] == "bronze/a b#c%20.geojson"


def test_a_failed_job_is_exit_code_1_with_the_remedy(
    geo_etl: Command, tmp_path: Path, unique: str
) -> None:
    path = tmp_path / f"{unique}.gpkg"
    path.write_text("<OGRVRTDataSource/>")

    said = geo_etl("ingest", str(path), "--json")

    assert said.code == 1
    assert said.json["status"] == "failed"
    assert said.json["error"]["problem"].startswith("its content is not GeoPackage")
    assert said.json["error"]["remedy"].startswith("Deliver the file again")
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ingest", "nowhere.gpkg"], "there is no such file"),
        (["ingest", "bronze/nowhere.gpkg"], "container 'bronze' holds no such blob"),
        (
            ["ingest", "brnze/nowhere.gpkg"],
            "there is no such file. Give a file, a folder, or a blob like",
        ),
        (["tasks", "ffffffff"], "there is no such job"),
        (["reset"], "Nothing was done"),
        (["spec"], "Give a source, or --schema"),
    ],
)
def test_bad_use_is_exit_code_2(geo_etl: Command, arguments: list[str], words: str) -> None:
    said = geo_etl(*arguments)

    assert said.code == 2
    assert words in " ".join(said.err.replace(".\n", ". ").split())
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("tabel_name=a", "key 'tabel_name': it is unknown. Known keys: access,"),
        ("converter_params.layer=a", "Known keys: encoding, lat_name, layer_name"),
        ("chunk_size=0", "key 'chunk_size': 0 is not allowed"),
        ("target_srid=1", "PROJ knows no such CRS"),
        ("nothing", "write it as KEY=VALUE"),
    ],
)
def test_a_wrong_setting_is_bad_use(
    geo_etl: Command, tmp_path: Path, setting: str, words: str
) -> None:
    path = write(tmp_path / "wrong_setting.gpkg", squares(2))

    said = geo_etl("ingest", str(path), "--set", setting)

    assert said.code == 2
    assert words in " ".join(said.err.split())


def test_a_folder_for_temporary_files_with_a_long_name_is_told(
    geo_etl: Command, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.gpkg", squares(3))
    long = tmp_path / ("long" * 20)
    long.mkdir()

    said = geo_etl("ingest", str(path), TMPDIR=str(long))

    assert said.code == 2
    assert "no socket can be made there" in said.err
    assert "Set TMPDIR to a folder with a shorter name" in " ".join(said.err.split())


def test_a_file_that_is_in_bronze_already_is_not_written_again(
    geo_etl: Command, tmp_path: Path, unique: str, bronze: Path
) -> None:
    path = write(tmp_path / f"{unique}.gpkg", squares(3))
    first = geo_etl("ingest", str(path), "--json")
    written = (bronze / path.name).stat().st_mtime_ns

    again = geo_etl("ingest", str(path), "--json")

    assert (bronze / path.name).stat().st_mtime_ns == written
    assert again.json == first.json


def test_jobs_and_tasks_come_from_the_run_storage(
    geo_etl: Command, tmp_path: Path, unique: str
) -> None:
    path = write(tmp_path / f"{unique}.gpkg", squares(9))
    result = geo_etl("ingest", str(path), "--json", "--set", "chunk_size=3").json

    jobs = geo_etl("jobs", "--json").json
    tasks = geo_etl("tasks", result["job_id"][:12], "--json").json

    job = next(job for job in jobs if job["job_id"] == result["job_id"])
    assert (job["source"], job["status"], job["table"]) == (
        f"bronze/{unique}.gpkg",
        "success",
        f"geo.{unique}",
    )
    prefix = f"{result['job_id'][:8]}_vector_table_load"
    assert sorted(task["name"] for task in tasks["tasks"] if task["stage"] == "load") == [
        f"{prefix}_{index:05d}" for index in range(3)
    ]
    assert all(task["seconds"] > 0 for task in tasks["tasks"])
    assert "load: 3 tasks" in geo_etl("tasks", result["job_id"][:12]).out


def test_tasks_of_a_failed_job_tell_the_error(
    geo_etl: Command, tmp_path: Path, unique: str
) -> None:
    path = write(tmp_path / f"{unique}.geojson", squares(2))
    geo_etl("ingest", str(path), "--set", "limits.max_features=1")

    job = next(j for j in geo_etl("jobs", "--json").json if j["source"] == f"bronze/{path.name}")
    tasks = geo_etl("tasks", job["run_id"], "--json").json["tasks"]

    assert job["status"] == "failure"
    assert [(task["stage"], task["status"]) for task in tasks] == [("plan", "failure")]
    assert "it has at least 2 features; the limit is 1" in tasks[0]["error"]


def test_spec_shows_what_a_source_has(geo_etl: Command, bronze: Path, unique: str) -> None:
    (bronze / unique).mkdir()
    (bronze / unique / "_ingest.yaml").write_text("target_srid: 3857\n")

    said = geo_etl("spec", f"bronze/{unique}/a.gpkg")

    assert "target_srid: 3857\n" in said.out
    assert "load_method: replace\n" in said.out


def test_spec_schema_accepts_what_the_spec_accepts(geo_etl: Command) -> None:
    schema = geo_etl("spec", "--schema").json

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"schema": "geo", "indexes": {"attributes": ["a"]}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"tabel_name": "a"}, schema)


def test_the_start_page_and_the_api_link_what_is_published(
    geo_etl: Command, served: str, tmp_path: Path, unique: str
) -> None:
    geo_etl("ingest", str(write(tmp_path / f"{unique}.gpkg", squares(3))))

    page = httpx.get(f"{served}/").text
    collection = httpx.get(f"{served}/features/collections/geo.{unique}").json()

    assert f"{served}/features/collections/geo.{unique}/items" in page
    links = {link["rel"]: link["href"] for link in collection["links"]}
    assert links["items"] == f"{served}/features/collections/geo.{unique}/items"
    assert httpx.get(links["items"], params={"f": "geojson"}).json()["numberMatched"] == 3


def test_a_replaced_table_is_served_at_once(
    geo_etl: Command, served: str, tmp_path: Path, unique: str
) -> None:
    items = f"{served}/features/collections/geo.{unique}/items?f=geojson"
    for count in (3, 5):
        path = tmp_path / f"{unique}.geojson"
        path.unlink(missing_ok=True)
        geo_etl("ingest", str(write(path, squares(count))))
        assert httpx.get(items).json()["numberMatched"] == count
    assert (
        httpx.get(f"{served}/features/collections/geo.{unique}/items/1?f=geojson").json()[
            "properties"
        ]["n"]
        == 1
    )


def test_serve_says_that_it_runs_already(geo_etl: Command, served: str) -> None:
    said = geo_etl("serve")

    assert said.code == 2
    assert f"it runs already at {served}" in said.err


def test_serve_on_a_taken_port_says_so(geo_etl: Command, stack: Any, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        said = geo_etl(
            "serve",
            "--port",
            str(port),
            GEO_ETL_HOME=str(tmp_path),
            GEO_ETL_DATABASE_URL=stack.database(),
        )

    assert said.code == 2
    assert f"port {port}: another program listens on it. Choose another --port" in " ".join(
        said.err.replace(".\n", ". ").split()
    )


def test_hello_world_sequential_proves_its_stages(stack: Any) -> None:
    from dagster import DagsterInstance

    from geo_etl.definitions import build_definitions

    job = build_definitions().resolve_job_def("hello_world_sequential")
    with DagsterInstance.ephemeral() as instance:
        run = job.execute_in_process(
            instance=instance,
            run_config={
                "ops": {"invite": {"config": {"n": 4}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
    result = run.output_for_node("tell")

    assert result["sequential_hello_statistics"]["total_tasks"] == 9
    history = result["stage_history"]
    assert [(stage["name"], stage["tasks"]) for stage in history] == [
        ("greeting", 4),
        ("validation", 1),
        ("reply", 4),
    ]
    assert history[0]["ended"] <= history[1]["started"]
    assert history[1]["ended"] <= history[2]["started"]
    task = run.run_id[:8]
    assert [talk["stage_3"] for talk in result["stage_conversations"]] == [
        f"Task {task}_hello_reply_{i:05d} saying hello to {task}_hello_greeting_{i:05d}"
        for i in range(4)
    ]


@pytest.mark.parametrize("n", [0, 21])
def test_hello_world_sequential_takes_1_to_20(stack: Any, n: int) -> None:
    from dagster import DagsterInstance, DagsterInvalidConfigError
    from pydantic import ValidationError

    from geo_etl.definitions import build_definitions

    job = build_definitions().resolve_job_def("hello_world_sequential")
    with (
        DagsterInstance.ephemeral() as instance,
        pytest.raises((ValidationError, DagsterInvalidConfigError)),
    ):
        job.execute_in_process(
            instance=instance, run_config={"ops": {"invite": {"config": {"n": n}}}}
        )


def test_a_sidecar_beside_a_local_file_goes_with_it(
    geo_etl: Command, tmp_path: Path, unique: str
) -> None:
    path = write(tmp_path / f"{unique}.gpkg", squares(3))
    path.with_suffix(".ingest.yaml").write_text(f"table_name: {unique}_named\n")

    assert geo_etl("ingest", str(path), "--json").json["table"] == f"geo.{unique}_named"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("GEO_ETL_PG_PORT", "abc", "GEO_ETL_PG_PORT: its value is not usable"),
        ("GEO_ETL_DATABASE_URL", "garbage", "must be postgresql://"),
    ],
)
def test_an_unusable_variable_is_bad_use(
    geo_etl: Command, name: str, value: str, words: str
) -> None:
    said = geo_etl("jobs", **{name: value})

    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err
