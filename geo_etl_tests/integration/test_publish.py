"""What readers, owners and dependents of a published table see when it is replaced."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.resources.serving import ServingResource
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.made import squares, write
from geo_etl_tests.servers import Reply, Unserved, scripted


@pytest.fixture
def deliver_squares(tmp_path: Path, ingest: Any) -> Any:
    """Ingest `count` squares, always as the same source into the same table."""

    def deliver(count: int, columns: Any = None, **spec: Any) -> dict[str, Any]:
        path = tmp_path / "squares.gpkg"
        path.unlink(missing_ok=True)
        return ingest(write(path, squares(count), columns), **spec)

    return deliver


def test_a_polling_reader_sees_the_old_rows_or_the_new(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(3)
    seen: set[tuple[int, int]] = set()
    stop = threading.Event()

    def poll() -> None:
        statement = sa.text(f"SELECT count(*), max(n) FROM geo.{unique}")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not stop.is_set():
                seen.add(tuple(connection.execute(statement).one()))

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for count in (5, 2, 7):
            deliver_squares(count)
    finally:
        stop.set()
        reader.join()

    assert seen <= {(3, 3), (5, 5), (2, 2), (7, 7)}
    assert (7, 7) in seen


def test_views_grants_and_comments_survive_a_replace(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(3)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE VIEW geo.{unique}_v AS SELECT n FROM geo.{unique}"))
        connection.execute(sa.text(f"GRANT SELECT ON geo.{unique} TO pgstac_read"))
        connection.execute(sa.text(f"COMMENT ON COLUMN geo.{unique}.n IS 'by hand'"))

    deliver_squares(4)

    with engine.connect() as connection:
        row = connection.execute(
            sa.text(
                f"SELECT (SELECT count(*) FROM geo.{unique}_v) AS rows,"
                f" has_table_privilege('pgstac_read', 'geo.{unique}', 'SELECT') AS granted,"
                f" col_description('geo.{unique}'::regclass, 3) AS comment"
            )
        ).one()
    assert tuple(row) == (4, True, "by hand")


def test_the_original_name_is_the_columns_comment(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(2, {"Straßen Name": ["a", "b"]})

    columns = {c["name"]: c["comment"] for c in sa.inspect(engine).get_columns(unique, "geo")}

    assert columns["straßen_name"] == "Straßen Name"


def test_table_has_its_key_and_indexes(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(3, indexes={"attributes": ["n"]})

    with engine.connect() as connection:
        indexes = connection.execute(
            sa.text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'geo' AND tablename = :t"),
            {"t": unique},
        ).scalars()
        found = sorted(definition.split(" USING ")[1] for definition in indexes)
        statistics = connection.execute(
            sa.text(
                "SELECT count(*) FROM pg_stats WHERE schemaname = 'geo_loads' AND attname = 'n'"
                " AND tablename = (SELECT load_table FROM geo_etl.load JOIN geo_etl.publication p"
                " ON load.id = ANY (p.loads) WHERE p.table_name = :t)"
            ),
            {"t": unique},
        ).scalar_one()
    assert found == ["btree (gid)", "btree (n)", "gist (geom)"]
    assert statistics == 1


def test_changed_indexes_are_changed_on_replace(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(3, indexes={"attributes": ["n"]})
    deliver_squares(3, indexes={"spatial": False})

    indexes = sa.inspect(engine).get_indexes(unique, "geo")

    assert indexes == []


def test_an_index_on_a_column_that_is_not_there_is_refused(
    run_job: Any, deliver: Any, tmp_path: Path, unique: str
) -> None:
    key = deliver(write(tmp_path / "a.gpkg", squares(2)))

    result = run_job(key, table_name=unique, indexes={"attributes": ["nn"]})

    assert "there is no column 'nn' to index. Its columns are: fid, n." in failure_of(result)


def test_another_sources_table_is_never_overwritten(
    run_job: Any, deliver: Any, tmp_path: Path, unique: str
) -> None:
    first = deliver(write(tmp_path / "first.gpkg", squares(2)))
    second = deliver(write(tmp_path / "second.gpkg", squares(5)))
    assert run_job(first, table_name=unique).success

    result = run_job(second, table_name=unique)

    assert f"table geo.{unique}: it is published from another source, {first}" in failure_of(result)
    assert "Set table_name" in failure_of(result)


def test_a_table_that_geo_etl_did_not_make_is_never_overwritten(
    run_job: Any, deliver: Any, tmp_path: Path, unique: str, engine: sa.Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE geo.{unique} (precious int)"))

    result = run_job(deliver(write(tmp_path / "a.gpkg", squares(2))), table_name=unique)

    assert "it was not made by geo_etl (it belongs to 'geo_etl')" in failure_of(result)
    assert [c["name"] for c in sa.inspect(engine).get_columns(unique, "geo")] == ["precious"]


def test_insert_refuses_a_table_that_exists(deliver_squares: Any, unique: str) -> None:
    deliver_squares(2, load_method="insert")

    with pytest.raises(AssertionError, match="it exists already and load_method is insert"):
        deliver_squares(3, load_method="insert")


def test_a_new_column_is_added_and_said(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(2)

    result = deliver_squares(2, {"n": [1, 2], "name": ["a", "b"]})

    assert result["warnings"] == ["Schema changed: column 'name' is new."]
    with engine.connect() as connection:
        names = connection.execute(sa.text(f"SELECT name FROM geo.{unique} ORDER BY gid")).scalars()
        assert names.all() == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"m": [1, 2]}, "column 'n' is gone"),
        ({"n": ["1", "2"]}, "column 'n' was bigint and is text"),
    ],
)
def test_a_missing_or_retyped_column_stops_the_job_unless_allowed(
    deliver_squares: Any, engine: sa.Engine, unique: str, columns: Any, said: str
) -> None:
    deliver_squares(2)

    with pytest.raises(AssertionError, match=said):
        deliver_squares(2, columns)
    assert [c["name"] for c in sa.inspect(engine).get_columns(unique, "geo")] == [
        "gid",
        "fid",
        "n",
        "geom",
    ]

    result = deliver_squares(2, columns, attribute_rules={"schema_change": "allow"})
    assert f"Schema changed: {said}." in result["warnings"]


def test_a_view_on_a_column_that_goes_stops_the_publish_and_keeps_the_old_rows(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(3)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE VIEW geo.{unique}_v AS SELECT n FROM geo.{unique}"))

    with pytest.raises(AssertionError, match="PostgreSQL refuses the new data"):
        deliver_squares(2, {"m": [1, 2]}, attribute_rules={"schema_change": "allow"})

    with engine.connect() as connection:
        assert connection.execute(sa.text(f"SELECT count(*) FROM geo.{unique}_v")).scalar() == 3


def test_a_changed_geometry_type_and_srid_are_taken_over(
    tmp_path: Path, ingest: Any, engine: sa.Engine, unique: str
) -> None:
    path = tmp_path / "shapes.geojson"
    ingest(write(path, squares(2)), target_srid=4326)
    path.unlink()
    points = [square.centroid for square in squares(2)]

    ingest(write(path, points), target_srid=3857)

    with engine.connect() as connection:
        row = connection.execute(
            sa.text(
                "SELECT type, srid FROM geometry_columns"
                " WHERE f_table_schema = 'geo' AND f_table_name = :t"
            ),
            {"t": unique},
        ).one()
    assert tuple(row) == ("MULTIPOINT", 3857)


def test_a_replaced_load_leaves_only_its_kept_version_behind(
    deliver_squares: Any, engine: sa.Engine, unique: str, stack: Any
) -> None:
    first, second = deliver_squares(3), deliver_squares(4)

    with engine.connect() as connection:
        loads = connection.execute(
            sa.text("SELECT count(*) FROM geo_etl.load WHERE source LIKE :s"),
            {"s": f"bronze/{unique}/%"},
        ).scalar_one()
    assert loads == 2
    work = stack.home / "blobs" / "work"
    assert not [job for job in (first, second) if (work / job["job_id"]).exists()]


def test_what_a_failed_job_left_goes_with_the_sources_next_job(
    deliver_squares: Any, engine: sa.Engine, unique: str, stack: Any
) -> None:
    deliver_squares(3)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE VIEW geo.{unique}_v AS SELECT n FROM geo.{unique}"))
    with pytest.raises(AssertionError, match="PostgreSQL refuses the new data"):
        deliver_squares(2, {"m": [1, 2]}, attribute_rules={"schema_change": "allow"})
    left = "SELECT job_id FROM geo_etl.load WHERE source LIKE :s AND state = 'loading'"
    source = {"s": f"bronze/{unique}/%"}
    with engine.connect() as connection:
        failed = connection.execute(sa.text(left), source).scalar_one()
    assert (stack.home / "blobs" / "work" / failed).exists()

    deliver_squares(4)

    with engine.connect() as connection:
        assert connection.execute(sa.text(left), source).all() == []
    assert not (stack.home / "blobs" / "work" / failed).exists()


def test_a_dropped_table_is_published_anew(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(3)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE geo.{unique}"))

    assert deliver_squares(4)["summary"]["features_loaded"] == 4


def test_the_same_job_again_runs_nothing_and_gives_the_stored_result(
    deliver_squares: Any, run_job: Any, engine: sa.Engine, unique: str
) -> None:
    first = deliver_squares(3)

    again = run_job(f"bronze/{unique}/squares.gpkg", table_name=unique)

    assert again.output_for_node("vector_table.verify", "result") == first
    assert not [event for event in again.all_events if "load[" in (event.step_key or "")]


def test_force_runs_the_same_job_again(deliver_squares: Any, run_job: Any, unique: str) -> None:
    deliver_squares(3)

    again = run_job(f"bronze/{unique}/squares.gpkg", table_name=unique, force=True)

    assert again.success
    assert [event for event in again.all_events if "load[" in (event.step_key or "")]


def test_the_item_is_in_the_catalogue_as_the_table_is(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    result = deliver_squares(3)

    with engine.connect() as connection:
        item = connection.execute(
            sa.text("SELECT pgstac.get_item(:i, 'system-vectors')"), {"i": f"geo.{unique}"}
        ).scalar_one()
    assert item["properties"]["table:row_count"] == 3
    assert item["properties"]["geo_etl:job_id"] == result["job_id"]
    assert item["bbox"] == pytest.approx(result["stac"]["bbox"])
    assert [c["name"] for c in item["properties"]["table:columns"]] == ["gid", "fid", "n", "geom"]


def evaluations(result: Any) -> dict[str, Any]:
    return {
        event.asset_check_evaluation_data.check_name: event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    }


def test_the_checks_are_evaluated_and_what_is_not_served_is_skipped(
    run_job: Any, deliver: Any, tmp_path: Path, unique: str
) -> None:
    source = deliver(write(tmp_path / "a.gpkg", squares(3)))

    found = evaluations(run_job(source, resources={"serving": Unserved()}, table_name=unique))

    assert {name: check.passed for name, check in found.items()} == {
        "features_conserved": True,
        "catalogued": True,
        "features_served": True,
        "stac_served": True,
    }
    said = found["features_conserved"].description
    assert said.startswith(f"{source}: 3 read = 3 loaded + 0 quarantined + 0 dropped")
    skipped = {name for name, check in found.items() if "skipped" in check.metadata}
    assert skipped == {"features_served", "stac_served"}
    assert found["features_served"].description == (
        f"{source}: skipped, no OGC API Features server is configured "
        "(GEO_ETL_FEATURES_URL, or 'geo-etl serve')."
    )
    assert found["stac_served"].description == (
        f"{source}: skipped, no STAC API is configured (GEO_ETL_STAC_URL, or 'geo-etl serve')."
    )


def test_serving_that_fails_is_a_failed_check_with_the_url_and_the_answer(
    run_job: Any, deliver: Any, tmp_path: Path, unique: str
) -> None:
    source, nobody = deliver(write(tmp_path / "a.gpkg", squares(3))), "http://127.0.0.1:9/"
    with scripted(Reply(b"<p>out of\n   order</p>", 500, "text/html")) as server:
        serving = ServingResource(features_url=nobody, stac_url=f"{server.root}/stac/")

        result = run_job(source, resources={"serving": serving}, table_name=unique)

    assert result.success
    found = evaluations(result)
    features, stac = found["features_served"], found["stac_served"]
    url = f"{nobody}collections/geo.{unique}/items?limit=1&f=geojson"
    assert not features.passed
    assert features.description.startswith(f"{source}: no answer (")
    assert "Connection refused" in features.description
    assert features.description.endswith(f"({url})")
    assert features.metadata["url"].value == url
    assert "Connection refused" in features.metadata["answer"].value
    url = f"{server.root}/stac/collections/system-vectors/items/geo.{unique}"
    assert not stac.passed
    assert stac.description == f"{source}: HTTP 500 text/html: <p>out of order</p> ({url})"
    shown = {key: value.value for key, value in stac.metadata.items()}
    assert (shown["url"], shown["status"], shown["answer"]) == (url, 500, "<p>out of order</p>")


def test_a_changed_collection_leaves_no_item_behind(
    deliver_squares: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(3)

    deliver_squares(3, collection_id=f"c-{unique}")

    with engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT collection FROM pgstac.items WHERE id = :i"), {"i": f"geo.{unique}"}
        ).scalars()
        assert found.all() == [f"c-{unique}"]


def test_a_published_table_that_was_dropped_by_hand_is_not_called_done(
    deliver_squares: Any, run_job: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_squares(3)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE geo.{unique}"))

    assert run_job(f"bronze/{unique}/squares.gpkg", table_name=unique).success

    with engine.connect() as connection:
        assert connection.execute(sa.text(f"SELECT count(*) FROM geo.{unique}")).scalar() == 3


def test_an_insert_that_died_before_it_was_verified_can_be_finished(
    deliver_squares: Any, engine: sa.Engine, unique: str, run_job: Any
) -> None:
    deliver_squares(3, load_method="insert")
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE geo_etl.publication SET result = NULL WHERE table_name = :t"),
            {"t": unique},
        )

    again = run_job(f"bronze/{unique}/squares.gpkg", table_name=unique, load_method="insert")

    assert again.success, failure_of(again)


def test_quarantined_features_keep_their_attributes_whatever_they_are(
    tmp_path: Path, ingest: Any, engine: sa.Engine, unique: str
) -> None:
    features = [
        {"type": "Feature", "properties": {"n": n, "t": "ab", "j": {"k": [1]}}, "geometry": g}
        for n, g in [
            (1.5, {"type": "Point", "coordinates": [10, 50]}),
            (float("nan"), {"type": "Point", "coordinates": [10, 99]}),
        ]
    ]
    path = tmp_path / "odd.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))

    result = ingest(path, target_srid=3857)

    assert result["summary"]["features_quarantined"] == 1
    with engine.connect() as connection:
        row = connection.execute(
            sa.text(f"SELECT attributes, reason FROM geo_quarantine.{unique}")
        ).one()
    assert row.attributes["t"] == "ab"
    assert row.attributes["n"] in (None, "nan")
    assert row.reason == "its coordinates have no place in EPSG:3857"


def test_a_batch_of_which_nothing_has_a_place_is_refused_with_the_count(
    tmp_path: Path, run_job: Any, deliver: Any, unique: str
) -> None:
    path = write(tmp_path / "metres.geojson", [s.centroid for s in squares(3)], crs="EPSG:4326")

    result = run_job(deliver(path), table_name=unique, target_srid=3857)

    said = failure_of(result)
    assert "none of its 3 features could be loaded (3 refused, 0 without a geometry)" in said
