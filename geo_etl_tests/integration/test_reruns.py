"""The same job again, wherever it ended, and other jobs in between."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.assets import vector as asset
from geo_etl.errors import PublishError
from geo_etl.resources import pgstac
from geo_etl.vector.history import unpublish
from geo_etl.vector.settle import settle
from geo_etl.vector.versions import Target
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.data_path import deliver_once, loaded, published
from geo_etl_tests.made import squares, write

ALLOW = {"schema_change": "allow"}


@pytest.fixture
def deliver_rows(deliver: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Deliver squares with columns `n` and `name` as a GeoPackage of a given name."""

    def make(file: str, names: dict[Any, Any], **columns: Any) -> str:
        path = tmp_path / file
        path.unlink(missing_ok=True)
        columns = {"n": list(names), "name": list(names.values()), **columns}
        return deliver(write(path, squares(len(names)), columns))

    return make


@pytest.fixture
def rows(engine: sa.Engine, unique: str) -> Callable[..., Any]:
    """What readers of the test's table see."""

    def read(columns: str = "n") -> list[Any]:
        with engine.connect() as connection:
            found = connection.execute(sa.text(f"SELECT {columns} FROM geo.{unique} ORDER BY n"))
            return [tuple(row) if len(row) > 1 else row[0] for row in found]

    return read


@pytest.fixture
def first(deliver_rows: Any, stack: Any, unique: str) -> str:
    """A published table with one feature; its source."""
    key = deliver_rows("a.gpkg", {1: "a"})
    deliver_once(stack, key, table_name=unique)
    return key


def ok(result: Any) -> dict[str, Any]:
    assert result.success, failure_of(result)
    return result.output_for_node("vector_table.verify", "result")


METHODS: list[dict[str, Any]] = [
    {"load_method": "append"},
    {"load_method": "upsert", "key_columns": ["n"]},
]


@pytest.mark.parametrize("method", METHODS)
def test_a_publish_that_is_tried_again_changes_nothing(
    method: Any, first: str, deliver_rows: Any, rows: Any, stack: Any, engine: Any, unique: str
) -> None:
    """As after a fault between the commit and the end of the op."""
    manifest = loaded(stack, deliver_rows("b.gpkg", {2: "b"}), table_name=unique, **method)

    once = published(stack, settle(manifest, engine))
    again = published(stack, settle(manifest, engine))

    assert rows() == [1, 2]
    assert again == once


@pytest.mark.parametrize("method", METHODS)
def test_a_job_that_ended_before_it_was_verified_is_not_loaded_twice(
    method: Any,
    first: str,
    deliver_rows: Any,
    run_job: Any,
    rows: Any,
    stack: Any,
    engine: Any,
    unique: str,
) -> None:
    key = deliver_rows("b.gpkg", {2: "b"})
    published(stack, settle(loaded(stack, key, table_name=unique, **method), engine))

    result = ok(run_job(key, table_name=unique, **method))

    assert rows() == [1, 2]
    assert result["tables"][0]["features_total"] == 2


@pytest.mark.parametrize("unique_rule", [False, True])
def test_a_forced_append_takes_the_place_of_its_own_features(
    unique_rule: bool, first: str, deliver_rows: Any, run_job: Any, rows: Any, unique: str
) -> None:
    rules = {"columns": {"n": {"unique": True}}} if unique_rule else {}
    spec = {"table_name": unique, "load_method": "append", "attribute_rules": rules}
    key = deliver_rows("b.gpkg", {2: "b"})
    ok(run_job(key, **spec))
    ok(run_job(key, force=True, **spec))
    assert rows() == [1, 2]


def test_an_append_that_an_upsert_took_over_is_not_appended_again(
    first: str, deliver_rows: Any, rows: Any, stack: Any, unique: str
) -> None:
    append = {"table_name": unique, "load_method": "append"}
    key = deliver_rows("b.gpkg", {2: "b"})
    deliver_once(stack, key, **append)
    news = deliver_rows("c.gpkg", {1: "A"})
    deliver_once(stack, news, table_name=unique, load_method="upsert", key_columns=["n"])

    with pytest.raises(PublishError, match="are there already"):
        deliver_once(stack, key, **append)

    assert rows() == [1, 2]


def test_an_old_publish_that_is_tried_again_does_not_hide_a_newer_one(
    deliver_rows: Any, rows: Any, stack: Any, engine: Any, unique: str
) -> None:
    old = loaded(stack, deliver_rows("a.gpkg", {1: "old"}), table_name=unique)
    published(stack, settle(old, engine))
    deliver_once(stack, deliver_rows("a.gpkg", {2: "new"}), table_name=unique)

    published(stack, settle(old, engine))

    assert rows("n, name") == [(2, "new")]


@pytest.mark.parametrize("method", METHODS)
def test_columns_that_came_meanwhile_keep_their_values(
    method: Any, first: str, deliver_rows: Any, rows: Any, stack: Any, engine: Any, unique: str
) -> None:
    spec = {"table_name": unique, "attribute_rules": ALLOW}
    mine = loaded(stack, deliver_rows("c.gpkg", {3: "c"}, y=[8]), **spec, **method)
    other = deliver_rows("b.gpkg", {2: "b"}, x=[7])
    deliver_once(stack, other, load_method="append", **spec)

    with pytest.raises(PublishError, match="replaced or changed while this job loaded"):
        published(stack, settle(mine, engine))

    assert rows("n, x") == [(1, None), (2, 7)]


def test_a_replace_with_other_types_is_not_undone_by_an_append(
    deliver_rows: Any, rows: Any, stack: Any, engine: Any, unique: str
) -> None:
    deliver_once(stack, deliver_rows("a.gpkg", {1: "a", 2: "b"}), table_name=unique)
    append = {"table_name": unique, "load_method": "append"}
    mine = loaded(stack, deliver_rows("c.gpkg", {3: "c"}), **append)
    retyped = deliver_rows("a.gpkg", {"text": "a"}, z=[5])
    deliver_once(stack, retyped, table_name=unique, attribute_rules=ALLOW)

    with pytest.raises(PublishError, match="replaced or changed while this job loaded"):
        published(stack, settle(mine, engine))

    assert rows("n, z") == [("text", 5)]


def test_an_append_is_verified_though_another_came_after_it(
    first: str,
    deliver_rows: Any,
    run_job: Any,
    stack: Any,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = {"table_name": unique, "load_method": "append"}
    other = deliver_rows("c.gpkg", {3: "c"})
    monkeypatch.setattr(
        asset, "discard_side_output", lambda *_: deliver_once(stack, other, **append)
    )

    result = run_job(deliver_rows("b.gpkg", {2: "b"}), **append)

    assert ok(result)["tables"][0]["features_total"] == 2
    checks = result.get_asset_check_evaluations()
    assert {check.check_name: check.passed for check in checks}["features_conserved"]


def test_a_unique_column_is_kept_to_when_the_table_has_changed_meanwhile(
    first: str, deliver_rows: Any, rows: Any, stack: Any, engine: Any, unique: str
) -> None:
    rules = {"columns": {"n": {"unique": True}}}
    spec = {"table_name": unique, "load_method": "append", "attribute_rules": rules}
    mine = loaded(stack, deliver_rows("b.gpkg", {1: "b", 2: "c", 3: "d"}), **spec)
    settle(mine, engine)
    other = deliver_rows("c.gpkg", {2: "x"})
    deliver_once(stack, other, table_name=unique, load_method="append")

    (settled,) = settle(mine, engine)
    published(stack, [settled])

    assert rows("n, name") == [(1, "a"), (2, "x"), (3, "d")]
    assert (settled.account.loaded, settled.account.quarantined) == (1, 2)


def test_an_upsert_does_not_bring_back_what_was_unpublished_meanwhile(
    first: str, deliver_rows: Any, rows: Any, stack: Any, engine: Any, unique: str
) -> None:
    """Its merge was made on version 1, and the next table begins at 1 again."""
    upsert = {"table_name": unique, "load_method": "upsert", "key_columns": ["n"]}
    mine = loaded(stack, deliver_rows("b.gpkg", {7: "b"}), **upsert)
    settle(mine, engine)
    unpublish(
        engine,
        Target("geo", unique),
        lambda c, version: pgstac.delete_item(c, version.collection_id, version.item_id),
    )
    deliver_once(stack, deliver_rows("c.gpkg", {5: "c"}), table_name=unique)

    published(stack, settle(mine, engine))

    assert rows() == [5, 7]


def test_the_same_upsert_can_be_settled_several_times_at_once(
    first: str, deliver_rows: Any, stack: Any, engine: Any, unique: str
) -> None:
    upsert = {"table_name": unique, "load_method": "upsert", "key_columns": ["n"]}
    key = deliver_rows("b.gpkg", dict.fromkeys(range(2000), "b"))
    manifest = loaded(stack, key, **upsert)

    with ThreadPoolExecutor(4) as pool:
        settled = list(pool.map(lambda _: settle(manifest, engine), range(4)))

    assert [one.candidate.version.features for (one,) in settled] == [2000] * 4


def test_a_column_with_values_too_long_for_an_index_is_named(
    deliver_rows: Any, run_job: Any, unique: str
) -> None:
    text = "".join(chr(33 + n * n * 7919 % 90) + chr(33 + n * 31 % 89) for n in range(10_000))
    key = deliver_rows("a.gpkg", {1: text + text[::-1]})
    failed = run_job(key, table_name=unique, indexes={"attributes": ["name"]})
    assert "column 'name': some of its values are too long for an index" in failure_of(failed)


def test_a_row_that_fits_no_page_is_said_in_words(
    deliver: Any, run_job: Any, unique: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    names = ",".join(f"c{n}" for n in range(1500))
    path.write_text(f"lat,lon,{names}\n1,2,{','.join(['1.5'] * 1500)}\n")
    failed = run_job(deliver(path), table_name=unique)
    assert "a feature is beyond PostgreSQL's limits: row is too big" in failure_of(failed)


def test_a_nul_in_the_name_of_a_column_is_said_in_words(
    deliver: Any, run_job: Any, unique: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(
        '{"type": "Feature", "properties": {"a\\u0000b": 1},'
        ' "geometry": {"type": "Point", "coordinates": [1, 2]}}'
    )
    assert "its name has a NUL character" in failure_of(run_job(deliver(path), table_name=unique))
