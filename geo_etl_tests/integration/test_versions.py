"""Adding to a table, going back to an earlier version, taking a table away."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.assets.vector import catalogue_version
from geo_etl.errors import PublishError, StackError
from geo_etl.resources import pgstac
from geo_etl.vector import ledger
from geo_etl.vector.history import rollback, unpublish
from geo_etl.vector.publish import prune
from geo_etl.vector.versions import Target, current_version, versions_of
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.data_path import deliver_once
from geo_etl_tests.made import squares, write


@pytest.fixture
def deliver_rows(deliver: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Deliver squares with columns `n` and `name` as a GeoPackage of a given name."""

    def make(file: str, names: dict[int, Any], **columns: Any) -> str:
        path = tmp_path / file
        path.unlink(missing_ok=True)
        columns = {"n": list(names), "name": list(names.values()), **columns}
        return deliver(write(path, squares(len(names)), columns))

    return make


@pytest.fixture
def rows(engine: sa.Engine, unique: str) -> Callable[..., Any]:
    """What readers of the test's table see: gid, n, name."""

    def read(columns: str = "gid, n, name", order: str = "n") -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            found = connection.execute(
                sa.text(f"SELECT {columns} FROM geo.{unique} ORDER BY {order}")
            )
            return [tuple(row) for row in found]

    return read


def ok(result: Any) -> dict[str, Any]:
    assert result.success, failure_of(result)
    return result.output_for_node("vector_table.verify", "result")


def test_an_append_adds_features_and_a_second_time_changes_nothing(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str, engine: sa.Engine
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a", 2: "b"}), table_name=unique))
    second = deliver_rows("b.gpkg", {3: "c"})

    first = ok(run_job(second, table_name=unique, load_method="append"))
    again = ok(run_job(second, table_name=unique, load_method="append"))

    assert rows() == [(1, 1, "a"), (2, 2, "b"), (3, 3, "c")]
    assert first["tables"][0]["features_total"] == 3
    assert first["tables"][0]["features_loaded"] == 1
    assert again == first
    with engine.connect() as connection:
        version = current_version(connection, Target("geo", unique))
        assert version is not None
        item = pgstac.get_item(connection, version.collection_id, version.item_id)
    assert version.number == 2
    assert len(version.sources) == 2
    assert item is not None
    assert item["properties"]["table:row_count"] == 3


@pytest.mark.parametrize("method", ["append", "upsert"])
def test_a_forced_second_time_doubles_nothing(
    method: str, deliver_rows: Any, run_job: Any, rows: Any, unique: str
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a", 2: "b"}), table_name=unique))
    second = deliver_rows("b.gpkg", {2: "B", 3: "c"})
    keys = {"key_columns": ["n"]} if method == "upsert" else {}
    spec = {"table_name": unique, "load_method": method, **keys}
    first = ok(run_job(second, **spec))
    before = [row[1:] for row in rows()]

    again = ok(run_job(second, force=True, **spec))

    assert [row[1:] for row in rows()] == before
    assert again["tables"][0]["features_total"] == first["tables"][0]["features_total"]
    assert len({row[0] for row in rows()}) == len(before)


def test_an_append_to_nothing_makes_the_table(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique, load_method="append"))

    assert rows() == [(1, 1, "a")]


def test_appended_features_may_lack_columns_but_not_have_others(
    deliver_rows: Any, run_job: Any, deliver: Any, rows: Any, unique: str, tmp_path: Path
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))
    fewer = deliver(write(tmp_path / "fewer.gpkg", squares(1), {"n": [2]}))
    more = deliver_rows("more.gpkg", {3: "c"}, extra=[True])

    said = ok(run_job(fewer, table_name=unique, load_method="append"))["warnings"]
    refused = run_job(more, table_name=unique, load_method="append")

    assert any("'name' is not in this delivery" in warning for warning in said)
    assert "column 'extra' is new" in failure_of(refused)
    assert rows() == [(1, 1, "a"), (2, 2, None)]
    rule = {"schema_change": "allow"}
    ok(run_job(more, table_name=unique, load_method="append", attribute_rules=rule))
    assert rows("n, name, extra") == [(1, "a", None), (2, None, None), (3, "c", True)]


def test_features_of_another_kind_or_type_are_not_appended(
    deliver_rows: Any, run_job: Any, deliver: Any, rows: Any, unique: str, tmp_path: Path
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))
    points = [square.centroid for square in squares(1)]
    point = deliver(write(tmp_path / "point.gpkg", points, {"n": [2], "name": ["b"]}))
    typed = deliver(write(tmp_path / "typed.gpkg", squares(1), {"n": ["x"], "name": ["b"]}))

    one = run_job(point, table_name=unique, load_method="append")
    other = run_job(typed, table_name=unique, load_method="append")

    assert "it holds MultiPolygon, and this delivery MultiPoint" in failure_of(one)
    assert "column 'n' was bigint and is text" in failure_of(other)
    assert rows() == [(1, 1, "a")]


def test_an_upsert_replaces_by_key_adds_the_rest_and_keeps_gids(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a", 2: "b", 3: "c"}), table_name=unique))
    news = deliver_rows("b.gpkg", {2: "B", 9: "z"})
    upsert = {"table_name": unique, "load_method": "upsert", "key_columns": ["n"]}

    first = ok(run_job(news, **upsert))
    once = rows()
    again = ok(run_job(news, **upsert))

    assert [row[1:] for row in once] == [(1, "a"), (2, "B"), (3, "c"), (9, "z")]
    assert [row[0] for row in once[:3]] == [1, 2, 3]
    assert len({row[0] for row in once}) == 4
    assert rows() == once
    assert again == first
    assert first["tables"][0]["features_total"] == 4


def test_an_upsert_keeps_the_values_of_columns_that_it_does_not_deliver(
    deliver_rows: Any, run_job: Any, deliver: Any, rows: Any, unique: str, tmp_path: Path
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))
    keys = deliver(write(tmp_path / "keys.gpkg", squares(2), {"n": [1, 2]}))

    ok(run_job(keys, table_name=unique, load_method="upsert", key_columns=["n"]))

    assert rows("n, name") == [(1, "a"), (2, None)]


@pytest.mark.parametrize(
    ("names", "keys", "said"),
    [
        ({1: "a", 2: "a"}, ["name"], "several features have the same key (a)"),
        ({1: "a", 2: None}, ["name"], "1 features have no value in key_columns (name)"),
        ({1: "a"}, ["nam"], "no column 'nam' to tell features by"),
    ],
)
def test_an_upsert_needs_keys_that_tell_features_apart(
    names: dict[int, Any],
    keys: list[str],
    said: str,
    deliver_rows: Any,
    run_job: Any,
    rows: Any,
    unique: str,
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))

    failed = run_job(
        deliver_rows("b.gpkg", names), table_name=unique, load_method="upsert", key_columns=keys
    )

    assert said in failure_of(failed)
    assert rows() == [(1, 1, "a")]


def test_a_replace_never_removes_features_of_other_sources(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))
    ok(run_job(deliver_rows("b.gpkg", {2: "b"}), table_name=unique, load_method="append"))

    failed = run_job(deliver_rows("a.gpkg", {7: "x"}), table_name=unique)

    assert "holds features of other sources too" in failure_of(failed)
    assert [row[1] for row in rows()] == [1, 2]


def test_appends_at_once_into_one_table_all_arrive(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str, stack: Any
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {0: "a"}), table_name=unique))
    keys = [deliver_rows(f"{n}.gpkg", {n: str(n)}) for n in range(1, 6)]

    with ThreadPoolExecutor(len(keys)) as pool:
        list(
            pool.map(
                lambda key: deliver_once(stack, key, table_name=unique, load_method="append"), keys
            )
        )

    assert [row[1] for row in rows()] == [0, 1, 2, 3, 4, 5]
    assert len({row[0] for row in rows()}) == 6


def test_a_rollback_restores_rows_columns_and_item_and_can_be_undone(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str, engine: sa.Engine
) -> None:
    allow = {"attribute_rules": {"schema_change": "allow"}}
    ok(run_job(deliver_rows("a.gpkg", {1: "a", 2: "b"}), table_name=unique))
    ok(run_job(deliver_rows("a.gpkg", {5: "e"}, extra=[1.5]), table_name=unique, **allow))
    target = Target("geo", unique)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS reader_of_versions"))
        connection.execute(sa.text("CREATE ROLE reader_of_versions"))
        connection.execute(sa.text(f"GRANT SELECT ON geo.{unique} TO reader_of_versions"))
        connection.execute(sa.text(f"CREATE VIEW geo.{unique}_v AS SELECT n FROM geo.{unique}"))

    restored = rollback(engine, target, None, catalogue_version)

    assert restored.number == 1
    assert rows() == [(1, 1, "a"), (2, 2, "b")]
    with engine.connect() as connection:
        columns = [c["name"] for c in sa.inspect(connection).get_columns(unique, "geo")]
        seen = connection.execute(sa.text(f"SELECT n FROM geo.{unique}_v ORDER BY 1")).scalars()
        granted = sa.text(
            f"SELECT has_table_privilege('reader_of_versions', 'geo.{unique}', 'SELECT')"
        )
        item = pgstac.get_item(connection, "system-vectors", f"geo.{unique}")
        assert seen.all() == [1, 2]
        assert connection.execute(granted).scalar_one()
    assert "extra" not in columns
    assert item is not None
    assert item["properties"]["table:row_count"] == 2

    rollback(engine, target, 2, catalogue_version)

    assert rows("n, name, extra") == [(5, "e", 1.5)]
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP VIEW geo.{unique}_v"))


def test_an_append_is_rolled_back_and_brought_back(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str, engine: sa.Engine
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))
    rule = {"attribute_rules": {"schema_change": "allow"}, "load_method": "append"}
    ok(run_job(deliver_rows("b.gpkg", {2: "b"}, extra=[7]), table_name=unique, **rule))
    target = Target("geo", unique)

    rollback(engine, target, 1, catalogue_version)
    without = rows()
    rollback(engine, target, 2, catalogue_version)

    assert without == [(1, 1, "a")]
    assert rows("n, name, extra") == [(1, "a", None), (2, "b", 7)]


def test_only_the_last_versions_are_kept(
    deliver_rows: Any, run_job: Any, unique: str, engine: sa.Engine
) -> None:
    for n in range(1, 6):
        ok(run_job(deliver_rows("a.gpkg", {n: "x"}), table_name=unique))

    with engine.begin() as connection:
        versions = versions_of(connection, Target("geo", unique))
        kept = connection.execute(
            sa.text(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'geo_loads'"
                " AND tablename IN (SELECT load_table FROM geo_etl.load WHERE table_name = :t)"
            ),
            {"t": unique},
        ).scalar_one()
    assert [(v.number, v.current, bool(v.loads)) for v in versions] == [
        (1, False, False),
        (2, False, False),
        (3, False, True),
        (4, False, True),
        (5, True, True),
    ]
    assert kept == 3
    with pytest.raises(PublishError, match=r"version 2 is not kept.*3, 4"):
        rollback(engine, Target("geo", unique), 2, catalogue_version)
    with engine.begin() as connection:
        prune(connection, Target("geo", unique), 1)
        left = [v.number for v in versions_of(connection, Target("geo", unique)) if v.loads]
    assert left == [5]


def test_a_version_that_was_rolled_back_is_ingested_again_when_asked(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str, engine: sa.Engine
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))
    key = deliver_rows("a.gpkg", {2: "b"})
    ok(run_job(key, table_name=unique))
    rollback(engine, Target("geo", unique), None, catalogue_version)

    result = ok(run_job(key, table_name=unique))

    assert rows() == [(1, 2, "b")]
    assert result["version"] == 3


def test_unpublish_removes_table_item_versions_and_quarantine(
    deliver_rows: Any, run_job: Any, unique: str, engine: sa.Engine
) -> None:
    for n in (1, 2):
        ok(run_job(deliver_rows("a.gpkg", {n: "x"}), table_name=unique))
    target = Target("geo", unique)

    unpublish(
        engine,
        target,
        lambda c, version: pgstac.delete_item(c, version.collection_id, version.item_id),
    )

    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        assert not inspector.has_table(unique, schema="geo")
        assert versions_of(connection, target) == []
        assert pgstac.get_item(connection, "system-vectors", f"geo.{unique}") is None
        loads = sa.text("SELECT count(*) FROM geo_etl.load WHERE table_name = :t")
        assert connection.execute(loads, {"t": unique}).scalar_one() == 0
    ok(run_job(deliver_rows("a.gpkg", {3: "y"}), table_name=unique))


def test_unpublish_stops_at_a_view_that_needs_the_table(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str, engine: sa.Engine
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE VIEW geo.{unique}_v AS SELECT n FROM geo.{unique}"))

    with pytest.raises(PublishError, match="depend"):
        unpublish(engine, Target("geo", unique), lambda *_: None)

    assert rows() == [(1, 1, "a")]
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP VIEW geo.{unique}_v"))


def test_a_table_that_is_not_published_has_no_versions(engine: sa.Engine, unique: str) -> None:
    with pytest.raises(PublishError, match="publishes no such table"):
        rollback(engine, Target("geo", unique), None, catalogue_version)


def test_somebodys_own_index_stays_and_a_constraint_is_named(
    deliver_rows: Any, run_job: Any, rows: Any, unique: str, engine: sa.Engine
) -> None:
    ok(run_job(deliver_rows("a.gpkg", {1: "a"}), table_name=unique))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE INDEX {unique}_own ON geo.{unique} (name)"))

    ok(run_job(deliver_rows("a.gpkg", {2: "b"}), table_name=unique))

    with engine.begin() as connection:
        names = [index["name"] for index in sa.inspect(connection).get_indexes(unique, "geo")]
        connection.execute(sa.text(f"ALTER TABLE geo.{unique} ADD CONSTRAINT c CHECK (n < 10)"))
    assert f"{unique}_own" in names
    failed = run_job(deliver_rows("a.gpkg", {3: "c"}), table_name=unique)
    assert "PostgreSQL refuses the new data" in failure_of(failed)
    assert rows() == [(1, 2, "b")]


def test_a_ledger_of_an_older_version_is_named_with_the_way_out(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        ledger.check(connection)
        connection.execute(sa.text("ALTER TABLE geo_etl.load DROP COLUMN gid_to CASCADE"))
        with pytest.raises(StackError, match=r"lacks gid_to.*geo-etl reset --yes"):
            ledger.check(connection)
        connection.rollback()
