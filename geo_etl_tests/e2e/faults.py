"""Means to break things at a chosen point: a gate in PostgreSQL, real processes, a reader.

Nothing here waits for a fixed time. A gate holds a session of PostgreSQL exactly where a test
wants it; the test kills what it likes, then opens the gate.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import geopandas as gpd
import numpy as np
import psutil
import psycopg
import shapely

from geo_etl.stack.cluster import AS_SERVICE_USER, BIN, Cluster

T = TypeVar("T")

CHUNK_SIZE = 1500
CHUNKS = 4
KEY = 4711
"""Of the advisory lock that the gate is made of."""


def wait_until(condition: Callable[[], T], what: str, timeout: float = 240.0) -> T:
    """Poll until a condition is true; its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain: {what}")
        time.sleep(0.01)


@dataclass(frozen=True)
class Delivery:
    """A file to ingest. Feature i has `number` i, from 1, and the delivery's `version`."""

    path: Path
    features: int
    version: str


def deliver(path: Path, features: int, version: str) -> Delivery:
    """Write small squares in EPSG:32633 to a GeoPackage, in place of what was there."""
    path.unlink(missing_ok=True)
    number = np.arange(1, features + 1)
    x, y = 400_000 + 20 * (number % 200), 5_800_000 + 20 * (number // 200)
    squares = shapely.box(x, y, x + 10, y + 10)
    frame = gpd.GeoDataFrame(
        {"number": number, "version": version}, geometry=squares, crs="EPSG:32633"
    )
    frame.to_file(path, layer="squares", driver="GPKG", engine="pyogrio")
    return Delivery(path, features, version)


@dataclass(frozen=True)
class Ended:
    """A process that ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What it printed as JSON."""
        document: dict[str, Any] = json.loads(self.out)
        return document


class Running:
    """A `geo-etl` command in a process group of its own."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", home: Path, out: Path, err: Path
    ) -> None:
        self.process = process
        self._home = str(home)
        self._out = out
        self._err = err

    def kill(self) -> None:
        """SIGKILL to the command and all its children; returns when they are gone."""
        members = self.members()
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait(30)
        _, alive = psutil.wait_procs(members, timeout=30)
        assert not alive

    def kill_parent(self) -> None:
        """SIGKILL to the run worker alone: its children become orphans."""
        self.process.kill()
        self.process.wait(30)

    def members(self) -> list[psutil.Process]:
        """The processes of the group that are alive.

        Numbers are used again: what has another state folder is another's group.
        """
        found = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.Error):
                if (
                    os.getpgid(process.pid) == self.process.pid
                    and process.environ().get("GEO_ETL_HOME") == self._home
                ):
                    found.append(process)
        return found

    def wait(self, timeout: float = 300) -> Ended:
        """Wait for the end."""
        code = self.process.wait(timeout)
        return Ended(code, self._out.read_text(), self._err.read_text())


class Site:
    """One state folder with its database, and the commands that are run on it."""

    def __init__(self, home: Path, logs: Path) -> None:
        self.home = home
        self.logs = logs
        self._started: list[Running] = []

    @cached_property
    def scratch(self) -> Path:
        """A folder for temporary files, with a name short enough for the sockets in it."""
        return Path(tempfile.mkdtemp(prefix="geo_etl-"))

    @property
    def url(self) -> str:
        return str(json.loads((self.home / "pg.json").read_text())["url"])

    @property
    def work(self) -> Path:
        """The local folder of the work container."""
        return self.home / "blobs" / "work"

    def work_files(self) -> set[Path]:
        """Every file in the work container, also those that storage does not list."""
        return {path for path in self.work.rglob("*") if path.is_file()}

    def start(self, *arguments: str, module: str = "geo_etl.cli", **env: str) -> Running:
        """Start a command."""
        number = len(self._started)
        out, err = self.logs / f"{number}.out", self.logs / f"{number}.err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                env={**os.environ, "GEO_ETL_HOME": str(self.home), **env},
                start_new_session=True,
            )
        running = Running(process, self.home, out, err)
        self._started.append(running)
        return running

    def ingest(self, delivery: Delivery, *, retries: bool = True, **env: str) -> Running:
        """Start `geo-etl ingest` in chunks of `CHUNK_SIZE`: see `ingest_with`."""
        settings = {"chunk_size": str(CHUNK_SIZE)}
        return self.ingest_with(str(delivery.path), settings, retries=retries, **env)

    def ingest_with(
        self, what: str, settings: dict[str, str], *, retries: bool = True, **env: str
    ) -> Running:
        """Start `geo-etl ingest`.

        Args:
            settings: of the spec.
            retries: whether a step that dies is tried again in the same run.
        """
        given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        module = "geo_etl.cli" if retries else "geo_etl_tests.e2e.no_retries"
        return self.start("ingest", what, *given, "--json", module=module, **env)

    def runs_of(self, source: str) -> list[dict[str, Any]]:
        """The runs of a source, the newest first."""
        jobs = self.start("jobs", "--limit", "100", "--json").wait().document
        return [job for job in jobs if job["source"] == source]

    def up(self) -> None:
        """`geo-etl up`; again if somebody took the port that it had just found free."""
        for _ in range(3):
            up = self.start("up").wait()
            if "Address already in use" not in up.err:
                break
        assert up.code == 0, up.err

    def stop_database_at_once(self) -> None:
        """Stop PostgreSQL as if its machine had lost power."""
        command = AS_SERVICE_USER if os.geteuid() == 0 else []
        data = Cluster(self.home).data
        subprocess.run(
            [*command, str(BIN / "pg_ctl"), "stop", "-w", "-m", "immediate", "-D", str(data)],
            check=True,
            capture_output=True,
            cwd="/",
        )

    def kill_all(self) -> None:
        """End what this site started and has not ended."""
        for running in self._started:
            running.kill()
        shutil.rmtree(self.__dict__.pop("scratch", ""), ignore_errors=True)

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            yield connection

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.connect() as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]

    def one(self, query: str, *parameters: Any) -> Any:
        """The one value of a query."""
        ((value,),) = self.rows(query, *parameters)
        return value


_GATE = f"""
CREATE SCHEMA faults;
CREATE FUNCTION faults.hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared({KEY});
  RETURN NEW;
END $$;
CREATE FUNCTION faults.on_create() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE made record;
BEGIN
  FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands()
              WHERE object_type = 'table' AND schema_name = 'geo_loads' LOOP
    EXECUTE format('CREATE TRIGGER hold BEFORE INSERT ON %s FOR EACH ROW'
                   ' WHEN (NEW.gid = ANY (%L::bigint[])) EXECUTE FUNCTION faults.hold()',
                   made.object_identity, current_setting('faults.gids', true));
  END LOOP;
END $$;
"""
_POINTS = {
    # In the publish transaction, when the publication is written down.
    "record": "CREATE TRIGGER hold BEFORE INSERT ON geo_etl.publication FOR EACH ROW"
    " WHEN (coalesce(NEW.result, 'null') = 'null') EXECUTE FUNCTION faults.hold()",
    # PostgreSQL works on the COMMIT of the publish transaction.
    "commit": "CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON geo_etl.publication"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    " WHEN (coalesce(NEW.result, 'null') = 'null') EXECUTE FUNCTION faults.hold()",
    # The publish is committed; verify is about to store the result.
    "verify": "CREATE TRIGGER hold BEFORE UPDATE ON geo_etl.publication FOR EACH ROW"
    " WHEN (coalesce(OLD.result, 'null') = 'null' AND coalesce(NEW.result, 'null') <> 'null')"
    " EXECUTE FUNCTION faults.hold()",
}


class Gate:
    """Holds sessions of PostgreSQL at one point until it is opened."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connection = psycopg.connect(site.url, autocommit=True)
        self._connection.execute(_GATE)
        self._connection.execute("SELECT pg_advisory_lock(%s)", [KEY])

    def at(self, point: str) -> None:
        """Hold at a point: `load` (in mid-COPY of chunk 1) or one of `_POINTS`."""
        if point == "load":
            self.at_chunks(1)
        else:
            self._connection.execute(_POINTS[point])  # type: ignore[arg-type]

    def on(self, event: str, when: str = "true", *, at_commit: bool = False) -> None:
        """Hold at a row of a table.

        Args:
            event: `INSERT ON schema.table`, for instance.
            when: condition on NEW and OLD.
            at_commit: hold not before the row is written, but when PostgreSQL works on the COMMIT.
        """
        kind, moment = ("CONSTRAINT TRIGGER", "AFTER") if at_commit else ("TRIGGER", "BEFORE")
        deferred = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
        self._connection.execute(
            f"CREATE {kind} hold {moment} {event} {deferred} FOR EACH ROW WHEN ({when})"
            " EXECUTE FUNCTION faults.hold()"  # type: ignore[arg-type]
        )

    def at_chunks(self, *indexes: int) -> None:
        """Hold COPY in the middle of these chunks, with rows before it stored already."""
        gids = ",".join(str(index * CHUNK_SIZE + CHUNK_SIZE // 2) for index in indexes)
        database = self._connection.info.dbname
        self._connection.execute(f"ALTER DATABASE {database} SET faults.gids = '{{{gids}}}'")
        self._connection.execute(
            "CREATE EVENT TRIGGER faults_on_create ON ddl_command_end"
            " WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION faults.on_create()"
        )

    def held(self) -> list[int]:
        """Backends that wait at the gate."""
        return [
            pid
            for (pid,) in self._site.rows(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND objid = %s AND classid = 0",
                KEY,
            )
        ]

    def wait(self, running: Running, number: int = 1) -> list[int]:
        """Wait until so many backends are held."""

        def arrived() -> list[int]:
            assert running.process.poll() is None, running.wait().err
            held = self.held()
            return held if len(held) >= number else []

        return wait_until(arrived, f"{number} sessions at the gate")

    def open(self) -> None:
        """Let everybody through, and wait until sessions of dead clients have noticed."""
        held = self.held()
        self._connection.execute("SELECT pg_advisory_unlock_all()")
        wait_until(lambda: not set(held) & set(self.held()), "the gate to empty")

    def remove(self) -> None:
        """Open, and leave no trace in the database."""
        self._connection.close()
        with self._site.connect() as connection:
            connection.execute("DROP SCHEMA IF EXISTS faults CASCADE")
            connection.execute(f"ALTER DATABASE {connection.info.dbname} RESET faults.gids")


def gone(site: Site, backends: list[int]) -> bool:
    """Whether these backends ended."""
    return not site.rows("SELECT 1 FROM pg_stat_activity WHERE pid = ANY (%s)", backends)


def blocked_by(site: Site, backend: int) -> list[int]:
    """Backends that wait for what this one holds."""
    query = "SELECT pid FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    return [pid for (pid,) in site.rows(query, backend)]


def client_of(site: Site, backend: int) -> psutil.Process:
    """The process at the other end of a backend's connection."""
    port = site.one("SELECT client_port FROM pg_stat_activity WHERE pid = %s", backend)
    server = int(site.one("SELECT inet_server_port() WHERE %s", True))
    for connection in psutil.net_connections("tcp"):
        # The same local port may lead to several servers: that of another test, too.
        if (
            connection.pid
            and connection.laddr.port == port
            and connection.raddr
            and connection.raddr.port == server
        ):
            return psutil.Process(connection.pid)
    raise AssertionError(f"nobody is at port {port}")


class Poller(ABC):
    """Looks at something in the database without pause; keeps all that it saw, in order."""

    def __init__(self, site: Site) -> None:
        self.seen: list[Any] = []
        self.problem: Exception | None = None
        self._site = site
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._reads = 0

    @abstractmethod
    def look(self, connection: psycopg.Connection[Any]) -> Any:
        """What is to be seen now."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def read_on(self) -> None:
        """Wait for a read that begins from now on."""
        before = self._reads
        wait_until(lambda: self.problem or self._reads >= before + 2, "the reader")

    def _run(self) -> None:
        try:
            with self._site.connect() as connection:
                while not self._stop.is_set():
                    seen = self.look(connection)
                    if not self.seen or self.seen[-1] != seen:
                        self.seen.append(seen)
                    self._reads += 1
        except Exception as error:  # noqa: BLE001
            self.problem = error


class Reader(Poller):
    """Reads a table."""

    def __init__(self, site: Site, table: str) -> None:
        super().__init__(site)
        self._query = (
            f"SELECT count(*), count(DISTINCT gid), min(version), max(version) FROM {table}"
        )

    def look(self, connection: psycopg.Connection[Any]) -> tuple[Any, ...] | None:
        """Rows, distinct ids, versions; None while there is no table."""
        try:
            return connection.execute(self._query).fetchone()  # type: ignore[arg-type]
        except psycopg.errors.UndefinedTable:
            return None


@contextmanager
def own_stack(logs: Path) -> Iterator[Site]:
    """A stack that may be broken."""
    home = Path(tempfile.mkdtemp(prefix="geo_etl-faults-", dir="/var/tmp"))
    home.chmod(0o755)
    site = Site(home, logs)
    try:
        site.up()
        assert Cluster(home).data.is_relative_to(home)
        yield site
    finally:
        site.kill_all()
        site.start("down").wait()
        shutil.rmtree(home)


def clean_up() -> None:
    """The job `cleanup`, for which nothing is too young."""
    from geo_etl.definitions import build_definitions
    from geo_etl.stack.dagster_instance import open_instance

    job = build_definitions().resolve_job_def("cleanup")
    with open_instance() as instance:
        config = {"remove_leftovers": {"config": {"older_than_hours": 0}}}
        assert job.execute_in_process(run_config={"ops": config}, instance=instance).success
