"""Several writers at once: afterwards every item is there once and right, whoever died."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.catalog.raster_collections import open_raster_collection
from geo_etl.errors import TransientError
from geo_etl.ingest.lock import lock_collections
from geo_etl.resources import pgstac
from geo_etl.resources.stac_items import delete_items, write_items
from geo_etl_tests.integration.stac_writing import (
    Document,
    by_id,
    item,
    open_collection,
    search,
    stored,
)

WRITERS = 6
SECONDS = 60.0


@pytest.fixture
def engine(stack: Any) -> Any:
    """An engine with a connection for every writer, none of them used before."""
    url = stack.database().replace("postgresql://", "postgresql+psycopg://", 1)
    made = sa.create_engine(url, pool_size=2 * WRITERS)
    yield made
    made.dispose()


def at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all at the same moment, each in a thread; what they give, or raise."""
    barrier = threading.Barrier(len(works))

    def start(work: Callable[[], Any]) -> Any:
        barrier.wait(SECONDS)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [one.result(SECONDS) for one in [pool.submit(start, work) for work in works]]


def blocked(engine: sa.Engine, pid: int) -> None:
    """Wait until a backend waits for a lock."""
    deadline = time.monotonic() + SECONDS
    query = sa.text("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = :pid")
    with engine.connect() as connection:
        while not connection.execute(query, {"pid": pid}).scalar():
            connection.rollback()
            assert time.monotonic() < deadline
            time.sleep(0.01)


def pid_of(connection: sa.Connection) -> int:
    return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())


@pytest.mark.parametrize("parts", [None, "year", "month"])
def test_writers_of_overlapping_items_in_one_collection_lose_and_double_nothing(
    engine: sa.Engine, unique: str, parts: str | None
) -> None:
    open_collection(engine, unique, parts=parts)

    def version(writer: int, number: int) -> Document:
        # Each writer has another time for the same item.
        return item(unique, number, month=(7 * writer + number) % 30, writer=writer)

    def write(writer: int) -> None:
        mine = range(writer * 40, writer * 40 + 100)
        for start in range(0, 100, 50):
            items = [version(writer, number) for number in mine[start : start + 50]]
            with engine.begin() as connection:
                write_items(connection, unique, items)

    at_once([lambda writer=writer: write(writer) for writer in range(WRITERS)])
    found = stored(engine, unique)
    assert len(found) == (WRITERS - 1) * 40 + 100
    for number in range(len(found)):
        held = found[f"item-{number}"]
        writer = held["properties"]["writer"]
        assert writer * 40 <= number < writer * 40 + 100
        assert held == version(writer, number)
        if number % 40 == 0:
            when = held["properties"]["datetime"]
            assert f"item-{number}" in search(
                engine, collections=[unique], datetime=when, ids=[f"item-{number}"]
            )


def test_writers_of_new_collections_do_not_wait_for_each_other_for_ever(
    engine: sa.Engine, unique: str
) -> None:
    def write(writer: int) -> None:
        name = f"{unique}-{writer}"
        with engine.begin() as connection:
            lock_collections(connection, [name])
            # As a publish does that looks whose an item is before it writes its own.
            connection.execute(sa.text("SELECT 1 FROM pgstac.items LIMIT 1")).all()
            pgstac.ensure_collection(connection, open_raster_collection(name))
            write_items(connection, name, [item(name, number) for number in range(20)])

    at_once([lambda writer=writer: write(writer) for writer in range(WRITERS)])
    for writer in range(WRITERS):
        name = f"{unique}-{writer}"
        assert stored(engine, name) == by_id(item(name, number) for number in range(20))


def test_writers_of_several_collections_in_any_order_do_not_wait_for_each_other_for_ever(
    engine: sa.Engine, unique: str
) -> None:
    names = [f"{unique}-{letter}" for letter in "abc"]
    for name in names:
        open_collection(engine, name)
        with engine.begin() as connection:  # its partition is there: writers share
            write_items(connection, name, [item(name, 0)])

    def write(writer: int) -> None:
        ordered = names[writer % 3 :] + names[: writer % 3]
        for turn in range(3):
            with engine.begin() as connection:
                lock_collections(connection, ordered)
                for name in ordered:
                    items = [item(name, n, month=n + turn + writer) for n in range(10)]
                    write_items(connection, name, items)

    at_once([lambda writer=writer: write(writer) for writer in range(WRITERS)])
    for name in names:
        assert set(stored(engine, name)) == {f"item-{number}" for number in range(10)}


def test_collections_that_come_and_go_at_once_do_not_wait_for_each_other_for_ever(
    engine: sa.Engine, unique: str
) -> None:
    def live(writer: int) -> None:
        name = f"{unique}-{writer}"
        for _ in range(3):
            with engine.begin() as connection:
                pgstac.ensure_collection(connection, open_raster_collection(name))
                write_items(connection, name, [item(name, number) for number in range(5)])
            with engine.begin() as connection:
                lock_collections(connection, [name], ends=True)
                delete_items(connection, name, [f"item-{number}" for number in range(5)])
                pgstac.delete_collection(connection, name)

    at_once([lambda writer=writer: live(writer) for writer in range(WRITERS)])
    with engine.connect() as connection:
        for writer in range(WRITERS):
            assert pgstac.get_collection(connection, f"{unique}-{writer}") is None


@pytest.mark.parametrize("parts", [None, "month"])
def test_a_reader_sees_every_item_once_while_items_move_in_time(
    engine: sa.Engine, unique: str, parts: str | None
) -> None:
    open_collection(engine, unique, parts=parts)
    with engine.begin() as connection:
        write_items(connection, unique, [item(unique, number) for number in range(60)])
    done, seen = threading.Event(), set()

    def move() -> None:
        try:
            for turn in range(1, 8):
                with engine.begin() as connection:
                    items = [item(unique, number, month=turn, turn=turn) for number in range(60)]
                    write_items(connection, unique, items)
        finally:
            done.set()

    def read() -> None:
        query = sa.text(
            "SELECT count(*), count(DISTINCT id), count(DISTINCT content->'properties'->'turn')"
            " FROM pgstac.items WHERE collection = :name"
        )
        while not done.is_set():
            with engine.begin() as connection:
                seen.add(tuple(connection.execute(query, {"name": unique}).one()))

    at_once([move, read])
    assert seen <= {(60, 60, 0), (60, 60, 1)}
    assert stored(engine, unique) == by_id(item(unique, n, month=7, turn=7) for n in range(60))


def test_a_writer_whose_connection_dies_leaves_nothing_and_keeps_nobody(
    engine: sa.Engine, unique: str
) -> None:
    open_collection(engine, unique)
    old = [item(unique, number) for number in range(10)]
    with engine.begin() as connection:
        write_items(connection, unique, old)
    new = [item(unique, number, month=9, title="new") for number in range(20)]
    with engine.connect() as dying, engine.connect() as other:
        write_items(dying, unique, new)
        other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid_of(dying)})
        with pytest.raises(sa.exc.OperationalError):
            write_items(dying, unique, [item(unique, 30)])
    assert stored(engine, unique) == by_id(old)
    with engine.begin() as connection:
        write_items(connection, unique, new)
    assert stored(engine, unique) == by_id(new)


KILLED = """
import json, sys
import sqlalchemy as sa
from geo_etl.resources.stac_items import write_items
url, name, items = sys.argv[1], sys.argv[2], json.load(sys.stdin)
with sa.create_engine(url).begin() as connection:
    write_items(connection, name, items)
    print("written", flush=True)
    sys.stdin.close()
    import signal
    signal.pause()
"""


def test_a_writer_that_is_killed_before_it_commits_leaves_nothing_and_keeps_nobody(
    engine: sa.Engine, unique: str
) -> None:
    open_collection(engine, unique, parts="month")
    old = [item(unique, number, month=number % 4) for number in range(30)]
    with engine.begin() as connection:
        write_items(connection, unique, old)
    new = [item(unique, number, month=number % 3, title="new") for number in range(30)]
    url = engine.url.render_as_string(hide_password=False)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, url, unique],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdin is not None
    assert killed.stdout is not None
    with killed:
        killed.stdin.write(json.dumps(new))
        killed.stdin.close()
        assert killed.stdout.readline() == "written\n"
        assert stored(engine, unique) == by_id(old)
        killed.kill()
    assert stored(engine, unique) == by_id(old)
    with engine.begin() as connection:
        write_items(connection, unique, new)
    assert stored(engine, unique) == by_id(new)


def test_what_another_program_writes_at_the_same_moment_is_told_and_not_lost(
    engine: sa.Engine, unique: str
) -> None:
    open_collection(engine, unique)
    with engine.begin() as connection:
        write_items(connection, unique, [item(unique, 0), item(unique, 99, month=30)])
    mine = [item(unique, number, title="mine") for number in range(5)]
    pids: list[int] = []

    def write() -> None:
        with engine.begin() as connection:
            pids.append(pid_of(connection))
            write_items(connection, unique, mine)

    with engine.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(  # by pgSTAC's own function, which takes no lock of ours
            sa.text("SELECT pgstac.create_items(CAST(:items AS jsonb))"),
            {"items": json.dumps([item(unique, number) for number in range(3, 8)])},
        )
        writing = pool.submit(write)
        while not pids:
            time.sleep(0.01)
        blocked(engine, pids[0])
        other.commit()
        with pytest.raises(TransientError, match=unique):
            writing.result(SECONDS)
    write()
    found = stored(engine, unique)
    assert len(found) == 9
    assert {one["id"]: found[one["id"]] for one in mine} == by_id(mine)
    assert found["item-7"] == item(unique, 7)
