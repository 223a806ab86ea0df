"""The private stack: made, started, stopped, and in trouble."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from geo_etl.stack.cluster import free_port
from geo_etl_tests.conftest import SCRATCH
from geo_etl_tests.e2e.conftest import COMMAND, Said
from geo_etl_tests.made import squares, write


class OwnStack:
    """`geo-etl` on a state folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, **environment: str) -> Said:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GEO_ETL_")}
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env={**inherited, "GEO_ETL_HOME": str(self.home), **environment},
        )
        return Said(done.returncode, done.stdout, done.stderr)

    @property
    def port(self) -> int:
        return int(json.loads((self.home / "pg.json").read_text())["port"])

    def postmaster(self) -> int:
        return int((self.home / "pg" / "data" / "postmaster.pid").read_text().split()[0])


def is_alive(pid: int) -> bool:
    """Alive, and not only waiting for its parent to notice its end."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def own() -> Iterator[OwnStack]:
    home = Path(tempfile.mkdtemp(prefix="geo_etl-own-", dir=SCRATCH))
    home.chmod(0o755)
    stack = OwnStack(home)
    yield stack
    stack("down")
    data = (home / "pg").resolve()
    shutil.rmtree(home)
    shutil.rmtree(data, ignore_errors=True)


def test_up_and_down_and_up_again_keep_the_data(own: OwnStack, tmp_path: Path) -> None:
    assert own("up").code == 0
    path = write(tmp_path / "a.gpkg", squares(3))
    assert own("ingest", str(path)).code == 0

    down = own("down")

    assert "PostgreSQL stopped." in down.err
    assert own("health").code == 1
    assert "Start it with 'geo-etl up'" in own("jobs").err
    assert own("up").code == 0
    assert own("health", "--json").json["schemas"]["found"] == "1 published tables, 0 raster layers"


def test_a_taken_port_is_replaced_and_said(own: OwnStack) -> None:
    assert own("up").code == 0
    assert own("down").code == 0
    port = own.port
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()

        said = own("up")

    assert said.code == 0, said.err
    assert f"Port {port} is taken by another program; PostgreSQL now listens on" in said.err
    assert own.port != port
    assert own("health").code == 0


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(own: OwnStack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        said = own("up", GEO_ETL_PG_PORT=str(port))

    assert said.code == 2
    assert f"port {port}: another program listens on it" in said.err
    assert own("up", GEO_ETL_PG_PORT=str(free_port(port + 1))).code == 0


def test_a_killed_server_starts_again_in_spite_of_its_pid_file(own: OwnStack) -> None:
    assert own("up").code == 0
    assert own("serve", "--detach").code == 0
    server = int(json.loads((own.home / "serve.json").read_text())["pid"])
    os.kill(own.postmaster(), signal.SIGKILL)
    os.kill(server, signal.SIGKILL)

    assert own("up").code == 0
    assert own("serve", "--detach").code == 0

    health = own("health", "--json").json
    assert health["database"]["ok"]
    assert health["features"]["found"] == "HTTP 200"
    assert health["tiles"]["found"] == "HTTP 200"


def test_down_stops_what_was_started(own: OwnStack) -> None:
    assert own("up").code == 0
    assert own("serve", "--detach").code == 0
    server = int(json.loads((own.home / "serve.json").read_text())["pid"])
    postmaster = own.postmaster()

    said = own("down")

    assert said.err == "Servers stopped.\nPostgreSQL stopped.\n"
    assert not is_alive(server)
    assert not is_alive(postmaster)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the cluster to another user")
def test_a_folder_that_the_servers_user_can_not_enter_is_no_hindrance(own: OwnStack) -> None:
    own.home.chmod(0o700)

    said = own("up")

    assert said.code == 0, said.err
    assert (own.home / "pg").is_symlink()
    assert own("health").code == 0


def test_an_existing_server_is_used_when_it_is_named(
    stack: Any, own: OwnStack, tmp_path: Path, unique: str
) -> None:
    with psycopg.connect(stack.database(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {unique}")
    url = stack.database().rsplit("/", 1)[0] + f"/{unique}"
    path = write(tmp_path / "a.gpkg", squares(3))
    try:
        assert own("up", GEO_ETL_DATABASE_URL=url).code == 0

        result = own("ingest", str(path), "--json", GEO_ETL_DATABASE_URL=url).json

        assert result["summary"]["features_loaded"] == 3
        assert own("jobs", "--json", GEO_ETL_DATABASE_URL=url).json[0]["status"] == "success"
        assert not (own.home / "pg").exists()
    finally:
        with psycopg.connect(stack.database(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {unique} WITH (FORCE)")


def test_reset_rebuilds_what_is_geo_etls_and_leaves_the_rest(own: OwnStack, tmp_path: Path) -> None:
    assert own("up").code == 0
    assert own("ingest", str(write(tmp_path / "a.gpkg", squares(3)))).code == 0
    url = own("health", "--json").json["database"]["url"]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE geo.mine AS SELECT 1 AS n")

    assert own("reset", "--yes").code == 0

    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'geo'"
        ).fetchall()
        items = connection.execute("SELECT count(*) FROM pgstac.items").fetchone()
    assert set(tables) == {("mine",), ("tiles",)}
    assert items == (0,)
    assert own("ingest", "bronze/a.gpkg").code == 0


def test_no_password_is_in_what_people_see(own: OwnStack, tmp_path: Path) -> None:
    assert own("up").code == 0
    password = json.loads((own.home / "pg.json").read_text())["password"]
    path = tmp_path / "a.gpkg"
    path.write_text("no data")

    said: list[Said] = [
        own("health"),
        own("ingest", str(path)),
        own("jobs"),
        own("down"),
        own("jobs"),
    ]

    assert not [one for one in said if password in one.out + one.err]
    assert (own.home / "pg.json").stat().st_mode & 0o077 == 0
    seen: Callable[[Path], bool] = lambda log: password in log.read_text(errors="replace")  # noqa: E731
    assert not [log for log in own.home.glob("dagster/logs/**/*.err") if seen(log)]
