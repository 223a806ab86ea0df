"""The commands for published tables as a person meets them, and the settings that shape tables."""

import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas
import jsonschema
import pytest
import sqlalchemy as sa
from shapely.geometry import LineString, Point, box

from geo_etl_tests.e2e.conftest import Said
from geo_etl_tests.made import squares, write

Command = Callable[..., Said]
CODES = ["a", "b", "a", None, "a"]
UNIQUE_CODE = {"columns": {"code": {"unique": True}}}


def words(said: Said) -> str:
    """What was said on stderr, without its line breaks."""
    return " ".join(said.err.split())


def suggested(exported: Said) -> list[str]:
    """The arguments of the command that an export ends with."""
    assert exported.code == 0, exported.err
    program, *arguments = shlex.split(exported.err.splitlines()[-1])
    assert program == "geo-etl"
    return arguments


@pytest.fixture
def column(engine: sa.Engine, unique: str) -> Callable[[str], list[Any]]:
    """A column of the test's table as readers see it, in the order of gids."""

    def read(name: str) -> list[Any]:
        with engine.connect() as connection:
            query = sa.text(f"SELECT {name} FROM geo.{unique} ORDER BY gid")
            return list(connection.execute(query).scalars())

    return read


@pytest.fixture
def publish(ingest: Any, tmp_path: Path, unique: str) -> Callable[[int], None]:
    """Publish so many squares as the next version of the test's table."""

    def run(count: int) -> None:
        path = tmp_path / f"{unique}.gpkg"
        path.unlink(missing_ok=True)
        ingest(write(path, squares(count)))

    return run


@pytest.fixture
def coded(ingest: Any, tmp_path: Path, unique: str) -> None:
    """The test's table, of which two features are quarantined for a code that is there already."""
    path = write(tmp_path / "coded.gpkg", squares(5), {"code": CODES})
    ingest(path, attribute_rules=UNIQUE_CODE, target_srid=3857)


def test_summaries_of_commands_are_not_cut_off(geo_etl: Command) -> None:
    said = geo_etl("--help", COLUMNS="80")

    commands = said.out.partition("Commands:\n")[2].splitlines()
    assert {line.split()[0] for line in commands} >= {
        "versions",
        "rollback",
        "unpublish",
        "quarantine",
        "result",
    }
    assert [line for line in commands if not line.endswith(".") or line.endswith("...")] == []


def test_versions_lists_every_version_with_where_it_came_from(
    geo_etl: Command, publish: Any, unique: str
) -> None:
    publish(3)
    publish(5)

    listed = geo_etl("versions", unique)
    documents = geo_etl("versions", f"geo.{unique}", "--json").json

    heading, *lines = listed.out.splitlines()
    assert heading.split()[:3] == ["table", "version", "features"]
    shown = [line.split() for line in lines]
    assert [line[:5] for line in shown] == [
        [f"geo.{unique}", "1", "kept", "3", "replace"],
        [f"geo.{unique}", "2", "current", "5", "replace"],
    ]
    assert [line[-1] for line in shown] == [f"bronze/{unique}/{unique}.gpkg"] * 2
    assert [line for line in listed.out.splitlines() if line != line.rstrip()] == []
    assert [(one["version"], one["current"], one["restorable"]) for one in documents] == [
        (1, False, True),
        (2, True, True),
    ]
    assert [one["features"] for one in documents] == [3, 5]


def test_rollback_goes_back_and_forth(
    geo_etl: Command, publish: Any, unique: str, column: Any
) -> None:
    publish(3)
    publish(5)

    back = geo_etl("rollback", unique)
    before = column("n")
    forth = geo_etl("rollback", f"geo.{unique}", "--to", "2")

    assert (back.code, forth.code) == (0, 0)
    assert f"Readers of geo.{unique} see version 1 again: 3 features" in words(back)
    assert before == [1, 2, 3]
    assert column("n") == [1, 2, 3, 4, 5]


def test_rollback_to_what_is_not_kept_lists_what_is(
    geo_etl: Command, publish: Any, unique: str, column: Any
) -> None:
    publish(3)

    nothing = geo_etl("rollback", unique)
    publish(5)
    unknown = geo_etl("rollback", unique, "--to", "9")
    current = geo_etl("rollback", unique, "--to", "2")

    assert [said.code for said in (nothing, unknown, current)] == [2, 2, 2]
    assert "an earlier version is not kept. Versions that can be restored: none" in words(nothing)
    assert "version 9 is not kept. Versions that can be restored: 1." in words(unknown)
    assert "version 2 is the one that readers see. Others: 1." in words(current)
    assert column("n") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "arguments",
    [["versions"], ["rollback"], ["unpublish", "--yes"], ["quarantine"], ["result"]],
    ids=lambda arguments: arguments[0],
)
def test_a_table_that_is_not_published_is_answered_with_those_that_are(
    geo_etl: Command, engine: sa.Engine, arguments: Sequence[str]
) -> None:
    said = geo_etl(*arguments, "nowhere.nothing")

    with engine.connect() as connection:
        query = "SELECT schema_name || '.' || table_name FROM geo_etl.publication WHERE current"
        published = sorted(connection.execute(sa.text(query)).scalars())
    listed = ", ".join(published[:20]) or "none"
    assert said.code == 2
    assert f"table nowhere.nothing: geo_etl publishes no such table. Published are: {listed}." in (
        words(said)
    )
    assert said.out == ""


def test_unpublish_does_nothing_until_it_is_confirmed(
    geo_etl: Command, publish: Any, unique: str, column: Any, engine: sa.Engine
) -> None:
    publish(3)

    asked = geo_etl("unpublish", unique)
    before = column("n")
    confirmed = geo_etl("unpublish", unique, "--yes")

    assert asked.code == 2
    assert f"Nothing was done. Say 'geo-etl unpublish geo.{unique} --yes'" in words(asked)
    assert before == [1, 2, 3]
    assert confirmed.code == 0
    assert words(confirmed) == f"geo.{unique} is no longer published."
    assert not sa.inspect(engine).has_table(unique, schema="geo")


def test_quarantine_counts_features_by_reason(geo_etl: Command, coded: None, unique: str) -> None:
    said = geo_etl("quarantine", unique)

    assert said.code == 0
    assert [line.split(maxsplit=1) for line in said.out.splitlines()] == [
        ["features", "reason"],
        ["2", "code: the value 'a' is there already"],
    ]
    assert f"geo-etl quarantine geo.{unique} --export FILE.gpkg" in words(said)


def test_quarantine_of_a_table_without_any_says_so(
    geo_etl: Command, publish: Any, unique: str, tmp_path: Path
) -> None:
    publish(1)

    counted = geo_etl("quarantine", unique)
    exported = geo_etl("quarantine", unique, "--export", str(tmp_path / "none.gpkg"))

    assert (counted.code, words(counted)) == (0, f"Nothing of geo.{unique} is quarantined.")
    assert exported.code == 2
    assert "nothing of it is quarantined" in words(exported)
    assert not (tmp_path / "none.gpkg").exists()


def test_many_reasons_are_cut_short_with_the_rest_counted(
    geo_etl: Command, ingest: Any, tmp_path: Path, unique: str
) -> None:
    path = write(tmp_path / "many.gpkg", squares(31))
    ingest(path, attribute_rules={"columns": {"n": {"max": 1}}})

    lines = geo_etl("quarantine", unique).out.splitlines()

    assert len(lines) == 22
    assert lines[-1] == "… and 10 features for 10 other reasons."


def test_quarantine_is_exported_to_a_new_geopackage_only(
    geo_etl: Command, coded: None, unique: str, tmp_path: Path
) -> None:
    there, other = tmp_path / "there.gpkg", tmp_path / "other.geojson"
    there.write_text("mine")

    twice = geo_etl("quarantine", unique, "--export", str(there))
    no_geopackage = geo_etl("quarantine", unique, "--export", str(other))

    assert (twice.code, no_geopackage.code) == (2, 2)
    assert "it exists already. Name a new file that ends with .gpkg." in words(twice)
    assert "it is no GeoPackage by its name. Name a new file" in words(no_geopackage)
    assert there.read_text() == "mine"
    assert not other.exists()


def test_exported_features_are_corrected_and_added_by_the_command_that_is_suggested(
    geo_etl: Command, coded: None, unique: str, tmp_path: Path, column: Any
) -> None:
    path = tmp_path / f"{unique} to correct.gpkg"
    exported = geo_etl("quarantine", unique, "--export", str(path))
    frame = geopandas.read_file(path)
    corrected = frame.assign(code=["c", "d"])
    path.unlink()
    corrected.to_file(path)

    added = geo_etl(*suggested(exported), "--json")

    assert sorted(frame["geo_etl_source_fid"]) == [3, 5]
    assert added.code == 0, added.err
    assert "done already" not in added.err
    assert column("code") == ["a", "b", None, "c", "d"]
    assert added.json["tables"][0]["features_total"] == 5


def test_features_of_a_table_for_all_kinds_go_back_into_it(
    geo_etl: Command, ingest: Any, unique: str, tmp_path: Path, column: Any
) -> None:
    mixed = [Point(1, 1), box(0, 0, 1, 1), Point(2, 2), box(2, 2, 3, 3)]
    ingest(
        write(tmp_path / "mixed.geojson", mixed, crs="EPSG:4326"),
        geometry_params={"mixed_geometry": "any"},
        attribute_rules={"columns": {"n": {"max": 2}}},
    )
    path = tmp_path / f"{unique}.gpkg"
    exported = geo_etl("quarantine", unique, "--export", str(path))

    added = geo_etl(*suggested(exported))

    assert added.code == 0, added.err
    assert column("n") == [1, 2, 3, 4]
    line = next(line for line in added.out.splitlines() if line.startswith("version"))
    assert line.split(maxsplit=1)[1] == "2 (append: 4 features now)"


def test_the_schema_of_results_describes_done_split_and_failed_jobs(
    geo_etl: Command, publish: Any, tmp_path: Path, unique: str
) -> None:
    publish(2)
    mixed = [Point(1, 1), LineString([(0, 0), (1, 1)]), box(0, 0, 1, 1)]
    path = write(tmp_path / f"{unique}_mixed.geojson", mixed, crs="EPSG:4326")

    schema = geo_etl("result", "--schema").json
    said = {
        "done": geo_etl("ingest", f"bronze/{unique}/{unique}.gpkg", "--json"),
        "failed": geo_etl("ingest", str(path), "--json"),
        "split": geo_etl(
            *("ingest", str(path), "--json", "--set", "geometry_params.mixed_geometry=split")
        ),
    }

    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert {kind: one.code for kind, one in said.items()} == {"done": 0, "failed": 1, "split": 0}
    for one in said.values():
        validator.validate(one.json)
    assert [table["table"] for table in said["split"].json["tables"]] == [
        f"geo.{unique}_mixed_{kind}" for kind in ("point", "line", "polygon")
    ]
    assert said["failed"].json["status"] == "failed"
    assert not validator.is_valid({**said["done"].json, "status": "failed"})


def test_result_shows_what_the_job_said_and_a_job_that_is_done_is_not_run_again(
    geo_etl: Command, deliver: Any, run_job: Any, tmp_path: Path, unique: str
) -> None:
    source = deliver(write(tmp_path / f"{unique}.gpkg", squares(2)))
    first = run_job(source).output_for_node("vector_table.verify", "result")

    shown = geo_etl("result", unique)
    again = geo_etl("ingest", source, "--json")

    assert shown.json == first
    assert again.json == first
    assert "done already" in again.err


def test_tables_of_a_split_layer_are_each_named_to_people(
    geo_etl: Command, deliver: Any, run_job: Any, tmp_path: Path, unique: str
) -> None:
    mixed = [Point(1, 1), Point(2, 2), box(0, 0, 1, 1)]
    source = deliver(write(tmp_path / f"{unique}.geojson", mixed, crs="EPSG:4326"))
    run_job(source, geometry_params={"mixed_geometry": "split"})

    said = geo_etl("ingest", source, "--set", "geometry_params={mixed_geometry: split}")

    lines = [line.split(maxsplit=1) for line in said.out.splitlines()]
    assert [text for name, text in lines if name == "table"] == [
        f"geo.{unique}_point (2 loaded)",
        f"geo.{unique}_polygon (1 loaded)",
    ]
    assert [text for name, text in lines if name == "catalogue"] == [
        f"system-vectors/geo.{unique}_point",
        f"system-vectors/geo.{unique}_polygon",
    ]
    assert "done already" in said.err


def test_nested_settings_and_lists_are_set_on_the_command_line(
    geo_etl: Command, publish: Any, tmp_path: Path, unique: str, column: Any, engine: sa.Engine
) -> None:
    publish(3)
    values = {"n": [2, 3, 4, 5], "code": ["b", "c", "d", "b"]}
    path = write(tmp_path / f"{unique}_news.gpkg", squares(4), values)

    said = geo_etl(
        *("ingest", str(path), "--set", f"table_name={unique}", "--set", "load_method=upsert"),
        *("--set", "key_columns=[n]", "--set", "attribute_rules.columns.code.unique=true"),
        *("--set", "attribute_rules.schema_change=allow", "--set", "indexes.attributes=[n, code]"),
        *("--set", "metadata.title=News: of squares"),
        *("--set", "metadata.datetime=2020-02-29T12:00:00Z"),
    )

    assert said.code == 0, said.err
    assert column("n") == [1, 2, 3, 4]
    assert column("code") == [None, "b", "c", "d"]
    indexes = sa.inspect(engine).get_indexes(unique, schema="geo")
    assert {"n", "code"} <= {name for index in indexes for name in index["column_names"]}
    with engine.connect() as connection:
        query = sa.text(
            "SELECT content->'properties'->>'title', datetime FROM pgstac.items WHERE id = :id"
        )
        title, when = connection.execute(query, {"id": f"geo.{unique}"}).one()
    assert title == "News: of squares"
    assert when == datetime(2020, 2, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("load_method=upsert", "key 'key_columns': [] is not allowed"),
        ("metadata.datetime=2020-13-45", "month value is outside expected range of 1-12"),
    ],
)
def test_a_wrong_setting_of_a_table_is_bad_use(
    geo_etl: Command, tmp_path: Path, unique: str, setting: str, said: str
) -> None:
    path = write(tmp_path / f"{unique}.gpkg", squares(1))

    refused = geo_etl("ingest", str(path), "--set", setting)

    assert refused.code == 2
    assert said in words(refused)
    assert refused.out == ""
