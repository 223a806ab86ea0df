"""Fixtures for tests on real processes: the command, the server, `dagster dev`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from geo_etl_tests.conftest import PROJECT
from geo_etl_tests.e2e.faults import Gate, Site, own_stack
from geo_etl_tests.e2e.published import Published, publish_each_kind

COMMAND = [sys.executable, "-m", "geo_etl.cli"]


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """Poll until a condition gives something true; that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} did not happen within {seconds:.0f} s")


@pytest.fixture
def geo_etl(stack: Any) -> Callable[..., Said]:
    """Run `geo-etl ARGUMENTS` in a process of its own, in the test stack."""

    def run(*arguments: str, **environment: str) -> Said:
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "GEO_ETL_HOME": str(stack.home), **environment},
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def site(stack: Any, tmp_path: Path) -> Iterator[Site]:
    """The session's stack, and an end to all that a test starts on it."""
    site = Site(stack.home, tmp_path)
    yield site
    site.kill_all()


@pytest.fixture
def gate(site: Site) -> Iterator[Gate]:
    """A gate in the session's database."""
    gate = Gate(site)
    yield gate
    site.kill_all()
    gate.remove()


@pytest.fixture(scope="session")
def own_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stack beside the session's, that may be broken."""
    with own_stack(tmp_path_factory.mktemp("own")) as site:
        yield site


@pytest.fixture(scope="session")
def served(stack: Any) -> Iterator[str]:
    """`geo-etl serve` in the background; its root URL."""
    from geo_etl.stack import serve

    url = serve.serve_detached(stack, None)
    yield url
    serve.stop(stack.home)


class Dagster:
    """A running `dagster dev`, asked over its GraphQL API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: Any) -> Any:
        answer = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def runs(self, source: str) -> list[dict[str, Any]]:
        query = (
            "query($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) {"
            " ... on Runs { results { runId status tags { key value } } } } }"
        )
        tags = [{"key": "dagster/partition", "value": source}]
        return self.ask(query, tags=tags)["runsOrError"]["results"]

    def finished(self, source: str, count: int = 1) -> list[dict[str, Any]]:
        """The runs of a source, once `count` of them have ended."""

        def ended() -> Any:
            runs = self.runs(source)
            done = [run for run in runs if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]
            return done if len(done) >= count else None

        return wait_until(ended, f"the end of {count} runs of {source}", 180)

    def succeeded(self, source: str) -> None:
        """Wait for the one run of a source, which must go well."""
        (run,) = self.finished(source)
        query = (
            "query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {"
            " ... on ExecutionStepFailureEvent { error { message } } } } } }"
        )
        events = self.ask(query, id=run["runId"])["logsForRun"]["events"]
        failures = [event["error"]["message"] for event in events if event.get("error")]
        assert run["status"] == "SUCCESS", failures


@pytest.fixture(scope="module")
def dagster_dev(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """`dagster dev` as it is: in the project's folder, with nothing set but the state folder.

    No longer than it is needed: its sensor would ingest all that other tests deliver.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("dagster") / "dev.log"
    environment = {name: v for name, v in os.environ.items() if name != "DAGSTER_HOME"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [shutil.which("dagster", path=str(Path(sys.executable).parent)) or "dagster", "dev"]
            + ["--port", str(port)],
            cwd=PROJECT,
            env={**environment, "GEO_ETL_HOME": str(stack.home)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    dagster = Dagster(f"http://127.0.0.1:{port}")

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
            return bool(dagster.ask(query)["repositoriesOrError"].get("nodes"))
        except httpx.HTTPError:
            return False

    try:
        wait_until(is_up, "dagster dev")
        yield dagster
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for left in PROJECT.glob(".tmp_dagster_home_*"):
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="session")
def published(run_asset: Any, bronze: Path, served: str) -> Published:
    """One publication of each kind, served."""
    return publish_each_kind(run_asset, bronze, served, f"p{uuid.uuid4().hex[:8]}")
