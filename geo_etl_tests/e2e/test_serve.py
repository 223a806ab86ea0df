"""`geo-etl serve` as a process: it starts, stops, and goes on when the database comes back."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from geo_etl.stack.cluster import free_port
from geo_etl_tests.e2e.conftest import COMMAND, wait_until


class Served:
    """A `geo-etl serve` of its own state folder, on the session's database."""

    def __init__(self, home: Path, database: str) -> None:
        self.home, self.log = home, home / "said"
        home.mkdir()
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GEO_ETL_")}
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "serve"],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, "GEO_ETL_HOME": str(home), "GEO_ETL_DATABASE_URL": database},
            )

    @property
    def url(self) -> str:
        return str(json.loads((self.home / "serve.json").read_text())["url"])

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(httpx.HTTPError, FileNotFoundError):
            return httpx.get(f"{self.url}/healthz").status_code == 200
        return False

    def ports(self) -> set[int]:
        """Of its connections to the database, on its own side."""
        connections = psutil.Process(self.process.pid).net_connections("tcp")
        return {one.laddr.port for one in connections if one.raddr}


@pytest.fixture(scope="module")
def started(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for several tests; Ctrl+C stops it."""
    served = Served(tmp_path_factory.mktemp("served") / "home", stack.database())
    wait_until(served.answers, "an answer")
    yield served
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(30) == 0
    assert not (served.home / "serve.json").exists()


def test_it_stops_while_clients_hold_on_and_a_request_runs(stack: Any, tmp_path: Path) -> None:
    started = Served(tmp_path / "home", stack.database())
    wait_until(started.answers, "an answer")
    assert (started.home / "serve.json").exists()
    with (
        httpx.Client() as idle,
        socket.create_connection(("127.0.0.1", int(started.url.rpartition(":")[2]))) as half,
        psycopg.connect(stack.database()) as blocker,
    ):
        idle.get(f"{started.url}/healthz")
        half.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        # The start page waits for this table.
        blocker.execute("LOCK TABLE geo_etl.publication IN ACCESS EXCLUSIVE MODE")
        waiting = threading.Thread(target=lambda: suppressed_get(started.url))
        waiting.start()
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: blocker.execute(query).fetchone()[0], "a request that waits")

        began = time.monotonic()
        started.process.send_signal(signal.SIGTERM)
        code = started.process.wait(30)

        assert code == 0, started.log.read_text()
        assert time.monotonic() - began < 20
    waiting.join(30)
    assert "Traceback" not in started.log.read_text()
    assert not (started.home / "serve.json").exists()


def suppressed_get(url: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.get(f"{url}/", timeout=30)


PATHS = ("/", "/features/collections?f=json", "/stac/collections", "/tiles/searches/?limit=1")


def cut_connections(served: Served, database: psycopg.Connection) -> int:
    """End those of a server to the database, and wait until they are; returns how many."""
    cut = database.execute(
        "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
        " WHERE client_port = ANY(%s)",
        [list(served.ports())],
    ).fetchone()
    assert cut is not None
    return int(cut[0])


def test_it_goes_on_when_the_database_has_cut_its_connections(started: Served, stack: Any) -> None:
    before = [httpx.get(f"{started.url}{path}").status_code for path in PATHS]
    assert before == [200] * 4
    with psycopg.connect(stack.database(), autocommit=True) as connection:
        assert cut_connections(started, connection) >= 3

    after = [httpx.get(f"{started.url}{path}").status_code for path in PATHS]

    assert after == [200] * 4
    assert "Exception in ASGI application" not in started.log.read_text()


def test_what_is_asked_while_connections_are_cut_is_answered_or_to_be_asked_again(
    started: Served, stack: Any
) -> None:
    stop, paths = threading.Event(), PATHS[:3]
    answers: Counter[tuple[str, int]] = Counter()

    def ask(path: str) -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                answers[path, client.get(f"{started.url}{path}").status_code] += 1

    asking = [threading.Thread(target=ask, args=[path]) for path in paths]
    for thread in asking:
        thread.start()

    def wait_for_each() -> None:
        before = answers.copy()
        wait_until(
            lambda: all(answers[path, 200] > before[path, 200] for path in paths),
            "an answer of each server",
        )

    try:
        with psycopg.connect(stack.database(), autocommit=True) as connection:
            for _ in range(20):
                wait_for_each()
                cut_connections(started, connection)
        wait_for_each()
    finally:
        stop.set()
        for thread in asking:
            thread.join(60)

    assert {status for _, status in answers} <= {200, 503}, answers
    assert "Exception in ASGI application" not in started.log.read_text()


def test_without_a_database_it_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    nobody = f"postgresql://a:secret@127.0.0.1:{free_port(9900)}/a"
    served = Served(home, nobody)

    code = served.process.wait(60)

    said = served.log.read_text()
    assert code == 2
    assert "Error: database: it does not answer" in said
    assert "'geo-etl up'" in said
    assert "Traceback" not in said
    assert "secret" not in said
    assert not (home / "serve.json").exists()


def test_health_asks_every_server(started: Served, stack: Any) -> None:
    done = subprocess.run(
        [*COMMAND, "health", "--json"],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "GEO_ETL_HOME": str(started.home),
            "GEO_ETL_DATABASE_URL": stack.database(),
        },
    )

    parts = json.loads(done.stdout)
    assert {name: parts[name]["found"] for name in ("features", "stac", "tiles")} == {
        "features": "HTTP 200",
        "stac": "HTTP 200",
        "tiles": "HTTP 200",
    }
