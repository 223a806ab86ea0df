"""Fixtures: a real Azure blob service for each pytest process; the arrival sensor."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

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
