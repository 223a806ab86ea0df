"""Fixtures: a real Azure blob service for each pytest process; the arrival sensor."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl_tests.conftest import PROJECT
from geo_etl_tests.integration.azurite import ACCOUNT, find_azurite, run_azurite


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of an Azurite of this process's own; tests are skipped without one."""
    executable = find_azurite(PROJECT)
    if executable is None:
        pytest.skip("no azurite-blob: install the npm package azurite under .tools, or in PATH")
    with run_azurite(executable, tmp_path_factory.mktemp("azurite")) as connection_string:
        yield connection_string


@pytest.fixture
def azure(azurite: str, monkeypatch: pytest.MonkeyPatch) -> AzureBlobs:
    """Storage in Azurite, with credentials from the environment."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite)
    return AzureBlobs(ACCOUNT)


@pytest.fixture
def ticks(stack: Any, unique: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The arrival sensor on a container of the test's own: see `Ticks`."""
    from geo_etl_tests.integration.ticks import Ticks

    monkeypatch.setattr(stack, "sensor_settle_seconds", 0.0)
    ticks = Ticks(stack, unique)
    yield ticks
    ticks.instance.dispose()
    shutil.rmtree(ticks.folder)


@pytest.fixture(scope="session")
def site(stack: Any) -> Iterator[str]:
    """The site of `geo-etl serve` in this process; its root URL.

    What it reads from the environment is there only while it starts: GDAL reads some of it too.
    """
    from geo_etl import __version__
    from geo_etl.settings import export_for_servers

    before = dict(os.environ)
    export_for_servers(stack, __version__)
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        server = uvicorn.Server(uvicorn.Config("geo_etl.stack.server:app", log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
