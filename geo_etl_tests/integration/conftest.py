"""Fixtures: a real Azure blob service for each pytest process."""

from collections.abc import Iterator

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
