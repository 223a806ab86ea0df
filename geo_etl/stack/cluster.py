"""The private PostgreSQL cluster: made, started and stopped under the state folder.

PostgreSQL refuses to run as root: then the cluster belongs to the `postgres` user that
Debian's package makes. Where that user can't reach the state folder (a clone below /root), the
cluster lives in /var/lib/postgresql instead, and `pg` in the state folder is a link to it.
"""

import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg

from geo_etl.errors import StackError

BIN = Path("/usr/lib/postgresql/15/bin")
SERVICE_USER = "postgres"
AS_SERVICE_USER = ["setpriv", "--reuid", SERVICE_USER, "--regid", SERVICE_USER, "--init-groups"]
DATABASE = USER = "geo_etl"
FIRST_PORT = 54329
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "work_mem": "32MB",
    "effective_cache_size": "4GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "off",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_min_messages": "warning",
    "logging_collector": "off",
}


@dataclass(frozen=True)
class Cluster:
    """One private cluster below a state folder."""

    home: Path

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory, links resolved."""
        return (self.home / "pg" / "data").resolve()

    @property
    def state_file(self) -> Path:
        """Where the cluster's address is kept for the settings to read."""
        return self.home / "pg.json"

    def exists(self) -> bool:
        """Whether the cluster was made."""
        return self.state_file.exists()

    def port(self) -> int:
        """The cluster's port."""
        return int(json.loads(self.state_file.read_text())["port"])

    def url(self) -> str:
        """`postgresql://…` of the project's database."""
        return str(json.loads(self.state_file.read_text())["url"])

    def is_running(self) -> bool:
        """Whether the postmaster that owns the data directory is alive."""
        if not self.exists():
            return False
        return _run([BIN / "pg_ctl", "status", "-D", self.data], check=False).returncode == 0

    def create(self, port: int | None) -> None:
        """Make the cluster and its database. Nothing is started."""
        _require_binaries()
        folder = self._make_folder()
        password = secrets.token_urlsafe(24)
        password_file = folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        _give_away(password_file)
        shutil.rmtree(folder / "data", ignore_errors=True)
        _run(
            [
                BIN / "initdb",
                "-D",
                folder / "data",
                "-U",
                USER,
                "--pwfile",
                password_file,
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-instructions",
            ]
        )
        password_file.unlink()
        self._remember(password, port or free_port(FIRST_PORT))

    def start(self, port: int | None) -> list[str]:
        """Start the cluster, and create its database at the first start.

        Args:
            port: a port that a person asked for; None lets a taken port be replaced.

        Returns:
            Remarks for the person who started it.

        Raises:
            StackError: the asked port is taken, or PostgreSQL does not come up.
        """
        _require_binaries()
        remarks = self._choose_port(port)
        log = self.data.parent / "postgresql.log"
        options = " ".join(f"-c {name}='{value}'" for name, value in SETTINGS.items())
        options += f" -c port={self.port()} -c unix_socket_directories='{self._socket_folder()}'"
        started = _run(
            [BIN / "pg_ctl", "start", "-w", "-t", "60", "-D", self.data, "-l", log, "-o", options],
            check=False,
        )
        if started.returncode != 0 and port is None and not is_port_free(self.port()):
            return remarks + self.start(port)  # somebody took the port since we looked
        if started.returncode != 0:
            tail = " ".join(_tail(log).split())
            raise StackError(
                "private PostgreSQL", f"it does not start: {tail}", f"Its log is {log}."
            )
        self._create_database()
        return remarks

    def stop(self) -> bool:
        """Stop the cluster; whether it was running."""
        if not self.is_running():
            return False
        _run([BIN / "pg_ctl", "stop", "-w", "-m", "fast", "-D", self.data])
        return True

    def _choose_port(self, asked: int | None) -> list[str]:
        port = asked or self.port()
        if is_port_free(port):
            if port != self.port():
                self._remember(self._password(), port)
            return []
        if asked:
            raise StackError(
                f"port {port}", "another program listens on it", "Choose another GEO_ETL_PG_PORT."
            )
        self._remember(self._password(), free_port(port + 1))
        return [
            f"Port {port} is taken by another program; PostgreSQL now listens on {self.port()}."
        ]

    def _password(self) -> str:
        return str(json.loads(self.state_file.read_text())["password"])

    def _remember(self, password: str, port: int) -> None:
        url = f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"
        partial = self.state_file.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps({"port": port, "password": password, "url": url}))
        partial.replace(self.state_file)

    def _make_folder(self) -> Path:
        link = self.home / "pg"
        self.home.mkdir(parents=True, exist_ok=True)
        folder = link
        if os.geteuid() == 0 and not _can_enter(self.home):
            digest = sha256(str(self.home).encode()).hexdigest()[:12]
            folder = Path("/var/lib/postgresql") / f"geo_etl-{digest}"
            link.unlink(missing_ok=True)
            link.symlink_to(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _give_away(folder)
        return folder

    def _socket_folder(self) -> Path:
        # A socket's path may have 107 bytes: a deep state folder gives none away.
        folder = self.data.parent
        return folder if len(str(folder)) < 80 else Path(tempfile.gettempdir())

    def _create_database(self) -> None:
        server = self.url().rsplit("/", 1)[0]
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")


def _require_binaries() -> None:
    if not (BIN / "initdb").exists():
        raise StackError(
            "private PostgreSQL",
            "PostgreSQL 15 is not installed",
            "Run 'make setup', or 'apt-get install postgresql-15-postgis-3', or set "
            "GEO_ETL_DATABASE_URL to an existing server.",
        )


def _run(
    command: Sequence[str | Path], *, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Run one of PostgreSQL's programs, as the service user when we are root."""
    prefix = AS_SERVICE_USER if os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, *map(str, command)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    if check and done.returncode != 0:
        said = " ".join(done.stdout.split())[-600:]
        raise StackError(f"'{Path(command[0]).name}'", f"it failed: {said}", "See above.")
    return done


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        user = pwd.getpwnam(SERVICE_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


def _can_enter(folder: Path) -> bool:
    """Whether the service user can reach a folder."""
    done = subprocess.run(
        [*AS_SERVICE_USER, "test", "-x", str(folder)],
        check=False,
        capture_output=True,
    )
    return done.returncode == 0


def is_port_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(first: int) -> int:
    """The first free loopback port from `first` on."""
    for port in range(first, first + 200):
        if is_port_free(port):
            return port
    raise StackError("ports", f"none is free from {first} on", "Set GEO_ETL_PG_PORT.")


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-600:]
    except OSError:
        return "no log was written"
