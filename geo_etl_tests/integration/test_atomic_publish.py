"""Whatever is interrupted, wherever: readers see the old version or the new, and its item."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.assets.vector import catalogue_version
from geo_etl.resources import pgstac
from geo_etl.vector.history import rollback, unpublish
from geo_etl.vector.settle import settle
from geo_etl.vector.versions import Target
from geo_etl_tests.integration.data_path import deliver_once, loaded, published
from geo_etl_tests.made import squares, write

REPLACES = 50


class CutError(Exception):
    """The process dies here."""


@contextmanager
def cut_before(engine: sa.Engine, number: int) -> Iterator[None]:
    """Let the statement with this number never be sent."""
    sent = 0

    def count(*_: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            raise CutError

    sa.event.listen(engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)


@pytest.fixture
def delivery(deliver: Callable[..., str], tmp_path: Path) -> Callable[[int], str]:
    """Deliver so many squares as the test's source."""

    def make(count: int) -> str:
        path = tmp_path / "squares.gpkg"
        path.unlink(missing_ok=True)
        return deliver(write(path, squares(count)))

    return make


def seen(engine: sa.Engine, table: str) -> tuple[int, int, int] | None:
    """What everybody sees: rows, rows by the STAC item, rows by the ledger. None: nothing."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(table, schema="geo"):
            item = pgstac.get_item(connection, "system-vectors", f"geo.{table}")
            assert item is None
            return None
        rows = connection.execute(sa.text(f"SELECT count(*) FROM geo.{table}")).scalar_one()
        item = pgstac.get_item(connection, "system-vectors", f"geo.{table}")
        ledger = connection.execute(
            sa.text("SELECT features FROM geo_etl.publication WHERE table_name = :t AND current"),
            {"t": table},
        ).scalar_one()
    assert item is not None
    return rows, item["properties"]["table:row_count"], ledger


def cut_everywhere(
    engine: sa.Engine, table: str, act: Callable[[], object], before: Any, after: Any
) -> int:
    """Cut an action before each of its statements, then let it go on; how many there were."""
    for number in range(1, 500):
        try:
            with cut_before(engine, number):
                act()
        except CutError:
            assert seen(engine, table) == before, f"cut before statement {number}"
            continue
        assert seen(engine, table) == after
        return number - 1
    raise AssertionError("it never ends")


@pytest.mark.parametrize("method", ["replace", "append", "upsert"])
def test_a_publish_that_is_cut_between_any_two_statements_is_not_seen(
    method: str, delivery: Any, stack: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_once(stack, delivery(3), table_name=unique)
    keys = {"key_columns": ["n"]} if method == "upsert" else {}
    manifest = loaded(stack, delivery(5), table_name=unique, load_method=method, **keys)
    total = {"replace": 5, "append": 8, "upsert": 5}[method]

    statements = cut_everywhere(
        engine,
        unique,
        lambda: published(stack, settle(manifest, engine)),
        (3, 3, 3),
        (total, total, total),
    )

    assert statements > 20


def test_a_first_publish_that_is_cut_leaves_nothing_to_see(
    delivery: Any, stack: Any, engine: sa.Engine, unique: str
) -> None:
    manifest = loaded(stack, delivery(4), table_name=unique)

    statements = cut_everywhere(
        engine,
        unique,
        lambda: published(stack, settle(manifest, engine)),
        None,
        (4, 4, 4),
    )

    assert statements > 20


def test_a_rollback_and_an_unpublish_that_are_cut_are_not_seen(
    delivery: Any, stack: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_once(stack, delivery(3), table_name=unique)
    deliver_once(stack, delivery(5), table_name=unique)
    target = Target("geo", unique)

    back = cut_everywhere(
        engine,
        unique,
        lambda: rollback(engine, target, 1, catalogue_version),
        (5, 5, 5),
        (3, 3, 3),
    )
    away = cut_everywhere(
        engine,
        unique,
        lambda: unpublish(
            engine,
            target,
            lambda connection, version: pgstac.delete_item(
                connection, version.collection_id, version.item_id
            ),
        ),
        (3, 3, 3),
        None,
    )

    assert min(back, away) > 10


def test_a_polling_reader_never_sees_a_mix_through_many_replaces(
    delivery: Any, stack: Any, engine: sa.Engine, unique: str
) -> None:
    deliver_once(stack, delivery(1), table_name=unique)
    polls: list[tuple[int, int, int]] = []
    stop = threading.Event()

    def poll() -> None:
        statement = sa.text(f"SELECT count(*), count(DISTINCT n), max(n) FROM geo.{unique}")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not stop.is_set():
                polls.append(tuple(connection.execute(statement).one()))
                stop.wait(0.002)

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for turn in range(REPLACES):
            deliver_once(stack, delivery(2 + turn % 7), table_name=unique)
    finally:
        stop.set()
        reader.join()

    assert len(polls) > REPLACES
    assert {len(set(poll)) for poll in polls} == {1}  # rows = different rows = highest number
    assert {poll[0] for poll in polls} <= {1, *range(2, 9)}
