"""The job that sees to pgSTAC."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from dagster import DagsterInstance

from geo_etl.definitions import build_definitions
from geo_etl.errors import CatalogueError
from geo_etl.resources import stac_setup
from geo_etl.resources.stac_setup import QUERYABLES, set_up
from geo_etl_tests.conftest import failure_of


@pytest.fixture
def run(stack: Any) -> Callable[[], dict[str, Any]]:
    """Run `stac_setup` in this process; what was found and done, by name."""

    def execute() -> dict[str, Any]:
        job = build_definitions().resolve_job_def("stac_setup")
        with DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(instance=instance, raise_on_error=False)
        assert result.success, failure_of(result)
        return result.output_for_node("prepare_catalogue")

    return execute


def test_a_second_run_changes_nothing_and_says_so(run: Callable[[], dict[str, Any]]) -> None:
    run()

    result = run()

    assert result["changed"] == 0
    assert {step["what"] for step in result["steps"]} >= {
        "pgSTAC",
        "setting context",
        "queryable gsd",
        "collection system-vectors",
        "collection system-rasters",
    }


def test_what_was_changed_by_hand_is_brought_in_line(
    run: Callable[[], dict[str, Any]], engine: sa.Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE pgstac.pgstac_settings SET value = 'off' WHERE name = 'context'")
        )
        connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
        connection.execute(sa.text("SELECT pgstac.delete_queryable('gsd')"))

    result = run()

    done = {step["what"]: step["done"] for step in result["steps"] if step["done"]}
    assert done == {"setting context": "set to auto", "queryable gsd": "registered"}
    with engine.connect() as connection:
        definition = connection.execute(
            sa.text("SELECT definition FROM pgstac.queryables WHERE name = 'gsd'")
        ).scalar_one()
    assert definition["type"] == "number"


def test_a_queryable_that_somebody_registered_for_a_collection_stays(
    run: Callable[[], dict[str, Any]], engine: sa.Engine
) -> None:
    run()
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "SELECT pgstac.upsert_queryable('platform', CAST(:definition AS jsonb),"
                " collection_ids => ARRAY['system-vectors'])"
            ),
            {"definition": '{"type": "string", "enum": ["x"]}'},
        )

    result = run()

    (step,) = [one for one in result["steps"] if one["what"] == "queryable platform"]
    assert (step["found"], step["done"]) == ("registered for some collections", "")
    with engine.begin() as connection:
        connection.execute(
            sa.text("SELECT pgstac.delete_queryable('platform', ARRAY['system-vectors'])")
        )
    assert run()["changed"] == 1


def test_only_what_finds_few_of_many_has_an_index(
    run: Callable[[], dict[str, Any]], engine: sa.Engine
) -> None:
    run()
    with engine.connect() as connection:
        indexed = connection.scalars(
            sa.text("SELECT name FROM pgstac.queryables WHERE property_index_type IS NOT NULL")
        ).all()
    assert set(indexed) & set(QUERYABLES) == {"geo_etl:source"}


def test_a_read_only_pgstac_is_refused(stack: Any, engine: sa.Engine) -> None:
    readonly = sa.text("UPDATE pgstac.pgstac_settings SET value = :on WHERE name = 'readonly'")
    with engine.begin() as connection:
        connection.execute(readonly, {"on": "true"})
    try:
        with pytest.raises(CatalogueError, match="read-only"):
            set_up(stack.database())
    finally:
        with engine.begin() as connection:
            connection.execute(readonly, {"on": "false"})


def test_a_newer_pgstac_is_left_alone(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stac_setup, "version", lambda _: "99.0.1")

    with pytest.raises(CatalogueError, match="newer"):
        set_up(stack.database())
