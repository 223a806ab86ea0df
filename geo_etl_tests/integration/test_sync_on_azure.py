"""Rasters in Azure, catalogued where they lie, without fetching them whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import sqlalchemy as sa
from affine import Affine
from azure.core.exceptions import ServiceRequestError

from geo_etl.assets.faults import is_transient
from geo_etl.errors import StorageError
from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import Blob
from geo_etl.resources.headers import describe
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.resources.sources import parts_of
from geo_etl.spec import SourceRef
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.azurite import ACCOUNT
from geo_etl_tests.integration.syncing import TINY, counts, run

pytestmark = [
    pytest.mark.azure,
    # Of the SDK, when a test uploads more than 1 MB.
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]


@pytest.fixture
def container(azure: AzureBlobs, unique: str) -> str:
    """A container of the test's own."""
    azure.create_container(unique)
    return unique


def upload(azure: AzureBlobs, container: str, path: str, file: Path) -> SourceRef:
    ref = SourceRef(container, path)
    with azure.write(ref) as out:
        out.write(file.read_bytes())
    return ref


@pytest.fixture
def sync(stack: Any, container: str) -> Any:
    """Run `sync_container` on the container in Azure; its result."""

    def run_it(**config: Any) -> dict[str, Any]:
        result = run(
            "sync_container",
            "plan_container",
            {"container": container, **config},
            {"blobs": BlobStorageResource(url=f"az://{ACCOUNT}")},
        )
        assert result.success, failure_of(result)
        document: dict[str, Any] = result.output_for_node("finish_container")
        return document

    return run_it


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A COG of some 12 MB that does not compress."""
    pixels = np.random.default_rng(1).integers(0, 255, (3, 2048, 2048)).astype(np.uint8)
    plain, cog = tmp_path / "plain.tif", tmp_path / "cog.tif"
    with rasterio.open(
        plain,
        "w",
        driver="GTiff",
        width=2048,
        height=2048,
        count=3,
        dtype="uint8",
        crs="EPSG:32633",
        transform=Affine(10, 0, 300_000, 0, -10, 5_600_000),
    ) as out:
        out.write(pixels)
    rasterio.shutil.copy(plain, cog, driver="COG")
    return cog


class Counted:
    """What of a blob was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        read = AzureBlobs.read_version

        def counting(storage: AzureBlobs, blob: Blob, start: int, length: int) -> bytes:
            content = read(storage, blob, start, length)
            self.bytes += len(content)
            return content

        monkeypatch.setattr(AzureBlobs, "read_version", counting)
        monkeypatch.setattr(AzureBlobs, "local", None)  # nothing is fetched whole


def test_a_container_in_azure_becomes_a_collection(
    azure: AzureBlobs, container: str, sync: Any, shared_data: Path, engine: sa.Engine
) -> None:
    for name in TINY:
        upload(azure, container, f"in/{name}", shared_data / "raster" / "geotiff" / name)

    first, second = sync(), sync()
    azure.delete(SourceRef(container, "in/utm.tif"))
    third = sync()

    assert (counts(first), counts(second)) == ((5, 0, 0, 0, 0), (0, 0, 5, 0, 0))
    assert counts(third) == (0, 0, 4, 1, 0)
    hrefs = sa.text(
        "SELECT content #>> '{assets,data,href}' FROM pgstac.items WHERE collection = :id"
    )
    with engine.connect() as connection:
        found = set(connection.execute(hrefs, {"id": container}).scalars())
    assert found == {
        azure.url(SourceRef(container, f"in/{name}")) for name in TINY if name != "utm.tif"
    }


def test_a_header_costs_few_bytes(
    azure: AzureBlobs, container: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_of(azure, upload(azure, container, "large.tif", large))
    counted = Counted(monkeypatch)

    far = describe(azure, parts)

    assert far.header.facts.is_cog
    assert 0 < counted.bytes < large.stat().st_size / 10


def test_a_header_read_in_parts_is_that_of_the_file(
    azure: AzureBlobs, container: str, large: Path, tmp_path: Path
) -> None:
    far = describe(azure, parts_of(azure, upload(azure, container, "large.tif", large)))
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "large.tif").symlink_to(large)
    storage = LocalBlobs(tmp_path)
    near = describe(storage, parts_of(storage, SourceRef("near", "large.tif")))
    assert far.header == near.header


def test_a_raster_that_was_replaced_meanwhile_is_not_described(
    azure: AzureBlobs, container: str, shared_data: Path
) -> None:
    files = shared_data / "raster" / "geotiff"
    parts = parts_of(azure, upload(azure, container, "a.tif", files / "utm.tif"))
    upload(azure, container, "a.tif", files / "rmnp-dem.tif")
    with pytest.raises(StorageError, match="was replaced"):
        describe(azure, parts)


def test_a_lost_connection_in_the_middle_of_a_header_is_transient(
    azure: AzureBlobs, container: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL sees the end of a file; the task must see the fault, and be tried again."""
    parts = parts_of(azure, upload(azure, container, "large.tif", large))
    answers = iter([azure.read_version])

    def once(blob: Blob, start: int, length: int) -> bytes:
        for read in answers:
            content: bytes = read(blob, start, length)
            return content
        raise ServiceRequestError("connection lost")

    monkeypatch.setattr(azure, "read_version", once)
    with pytest.raises(ServiceRequestError) as caught:
        describe(azure, parts)
    assert is_transient(caught.value)
