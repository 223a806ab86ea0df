"""Starting and stopping `geo-etl serve`, in the foreground or behind it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import sqlalchemy as sa
import uvicorn

from geo_etl import __version__
from geo_etl.errors import StackError
from geo_etl.raster import ledger as raster_ledger
from geo_etl.resources.postgis import engine_for
from geo_etl.settings import Settings, export_for_servers

FIRST_PORT, PORTS = 8765, 200
BACKLOG = 2048
"""Connections that wait to be taken, as in uvicorn's own sockets."""
START_SECONDS = 60.0
GRACE_SECONDS = 3
"""What requests that run when the server is stopped have to end."""
START_DATABASE = "Start it with 'geo-etl up', or correct GEO_ETL_DATABASE_URL."

_detached: list["subprocess.Popen[bytes]"] = []
"""Servers that are to outlive us: kept, because Python complains of a forgotten process."""


def state_file(home: Path) -> Path:
    """Where a running server's address and process are kept."""
    return home / "serve.json"


def running(home: Path) -> dict[str, object] | None:
    """Address and pid of the server that runs; None when there is none (any more)."""
    path = state_file(home)
    try:
        state: dict[str, object] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    if _is_server(int(str(state["pid"]))):
        return state
    path.unlink(missing_ok=True)  # it died without tidying up
    return None


def serve(settings: Settings, port: int | None) -> None:
    """Serve until interrupted.

    Raises:
        StackError: the port is taken, or another server of this state folder runs.
    """
    already = running(settings.home)
    if already is not None:
        raise StackError(
            "geo-etl serve",
            f"it runs already at {already['url']} (pid {already['pid']})",
            "Use that address, or stop it with 'geo-etl down'.",
        )
    check_database(settings.database())
    export_for_servers(settings, __version__)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn ends with the signal that stopped it: nothing would be tidied up.
        signal.signal(number, _stopped)
    config = uvicorn.Config(
        "geo_etl.stack.server:app", log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS
    )
    server = uvicorn.Server(config)
    # Before its address is told: else another server that starts now could answer there.
    with _listening(port) as listener, _recorded(settings.home, listener.getsockname()[1]):
        server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


def _listening(port: int | None) -> socket.socket:
    """A socket that listens on a loopback port; without one, on the first free from `FIRST_PORT`.

    Raises:
        StackError: another program has it, or all of them.
    """
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,)
    for number in ports:
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", number), backlog=BACKLOG)
    if port is not None:
        raise StackError(f"port {port}", "another program listens on it", "Choose another --port.")
    raise StackError("ports", f"none is free from {FIRST_PORT} on", "Choose a --port.")


def _stopped(*_: object) -> None:
    sys.exit(0)


def check_database(url: str) -> None:
    """Make sure that there is a database to serve.

    Raises:
        StackError: it does not answer, or geo_etl's tables are not there.
    """
    try:
        with engine_for(url).connect() as connection:
            raster_ledger.check(connection)
    except sa.exc.OperationalError as error:
        said = str(error.orig).strip().splitlines()[0]
        raise StackError("database", f"it does not answer: {said}", START_DATABASE) from None


def serve_detached(settings: Settings, port: int | None) -> str:
    """Start a server in the background; its root URL once it answers.

    Raises:
        StackError: it did not come up.
    """
    already = running(settings.home)
    if already is not None:
        return str(already["url"])
    log = settings.home / "logs" / "serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "geo_etl.cli", "serve"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)] if port else command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _detached.append(process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        state = running(settings.home)
        if state is not None and _answers(f"{state['url']}/healthz"):
            return str(state["url"])
        time.sleep(0.1)
    said = " ".join(log.read_text(errors="replace").split())[-600:]
    raise StackError("geo-etl serve", f"it does not come up: {said}", f"Its log is {log}.")


def stop(home: Path) -> bool:
    """Stop the server of a state folder; whether there was one."""
    state = running(home)
    if state is None:
        return False
    pid = int(str(state["pid"]))
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while _is_server(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    if _is_server(pid):
        os.kill(pid, signal.SIGKILL)
    state_file(home).unlink(missing_ok=True)
    return True


@contextmanager
def _recorded(home: Path, port: int) -> Iterator[None]:
    path, url = state_file(home), f"http://127.0.0.1:{port}"
    state = {
        "pid": os.getpid(),
        "url": url,
        "features_url": f"{url}/features",
        "stac_url": f"{url}/stac",
        "tiles_url": f"{url}/tiles",
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(state))
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _is_server(pid: int) -> bool:
    """Whether a pid is alive and a `geo-etl serve`: pids are used again."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        zombie = ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return b"serve" in command.split(b"\0") and b"geo" in command and not zombie


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
