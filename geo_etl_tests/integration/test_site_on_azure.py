"""The site with nothing on local disk: silver in Azure, in containers that are private."""

import io
import re
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import morecantile
import numpy as np
import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from PIL import Image

from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl.resources.blob_storage import BlobStorageResource, open_storage
from geo_etl.settings import export_for_servers
from geo_etl.spec import SourceRef
from geo_etl.stack import files
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.azurite import ACCOUNT, KEY
from geo_etl_tests.raster_sources import write

pytestmark = [
    pytest.mark.azure,
    pytest.mark.filterwarnings("ignore:No `assets` option passed:UserWarning"),
]
VALUE = 120


@pytest.fixture
def blobs(
    azure: AzureBlobs, unique: str, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> BlobStorageResource:
    """Containers of the test's own, where the site looks for blobs."""
    monkeypatch.setattr(stack, "blob_url", f"az://{ACCOUNT}")
    monkeypatch.setattr(stack, "work_container", f"{unique}-work")
    names = {f"{kind}_container": f"{unique}-{kind}" for kind in ("bronze", "work", "silver")}
    for name in names.values():
        azure.create_container(name)
    return BlobStorageResource(url=f"az://{ACCOUNT}", **names)


def with_signature(connection_string: str) -> str:
    """A connection string that has a shared access signature in place of the account's key."""
    endpoint = connection_string.partition("BlobEndpoint=")[2].partition(";")[0]
    signature = generate_account_sas(
        ACCOUNT,
        KEY,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    return f"BlobEndpoint={endpoint};SharedAccessSignature={signature}"


def put(blobs: BlobStorageResource, ref: SourceRef, content: bytes) -> None:
    with blobs.storage.write(ref) as file:
        file.write(content)


@pytest.fixture(params=["key", "signature"])
def credential(
    request: pytest.FixtureRequest,
    azure: AzureBlobs,
    azurite: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """How storage is entered from here on, by adlfs and by GDAL."""
    if request.param == "signature":
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", with_signature(azurite))
    open_storage.cache_clear()
    yield
    open_storage.cache_clear()


@pytest.mark.usefixtures("credential")
def test_what_is_in_azure_is_listed_described_drawn_and_downloaded(
    site: str, blobs: BlobStorageResource, run_asset: Any, tmp_path: Path, unique: str
) -> None:
    pixels = np.full((1, 300, 300), VALUE, "uint8")
    source = write(tmp_path / "a.tif", pixels)
    with (
        source.open("rb") as file,
        blobs.storage.write(SourceRef(blobs.bronze_container, f"{unique}.tif")) as blob,
    ):
        shutil.copyfileobj(file, blob)
    done = run_asset(
        "raster",
        f"{blobs.bronze_container}/{unique}.tif",
        resources={"blobs": blobs},
        collection_id=unique,
        target_crs="native",
    )
    assert done.success, failure_of(done)

    page = httpx.get(f"{site}/", params={"q": unique}).text.replace("&amp;", "&")
    links = {text: href for href, text in re.findall(r'<a href="([^"]+)">([^<]+)</a>', page)}
    (image,) = re.findall(r'<img [^>]*src="([^"]+)"', page)
    cog = next(href for text, href in links.items() if text.startswith("analysis"))
    item = httpx.get(links["STAC item"]).json()
    tilejson = httpx.get(links["tiles"]).json()

    files_at = f"{site}/files/{blobs.silver_container}/"
    assert {cog, image, links["quality report"]} <= {
        asset["href"] for asset in item["assets"].values()
    }
    assert all(href.startswith(files_at) for href in (cog, image, links["quality report"]))
    assert "devstoreaccount1" not in page + str(item["assets"]["analysis"])
    assert httpx.get(links["map"]).status_code == 200
    assert "<h1" in httpx.get(links["quality report"]).text
    assert Image.open(io.BytesIO(httpx.get(image).content)).format == "PNG"
    # A TIFF's first bytes: byte order and version (TIFF 6.0, section 2; 43 for BigTIFF).
    head = httpx.get(cog, headers={"range": "bytes=0-3"})
    assert (head.status_code, head.content[:2]) == (206, b"II")
    whole = httpx.get(cog).content
    assert httpx.get(cog, headers={"range": "bytes=-10"}).content == whole[-10:]
    assert len(whole) == item["assets"]["analysis"]["file:size"]
    west, south, east, north = tilejson["bounds"]
    point = f"{(west + east) / 2},{(south + north) / 2}"
    about = f"{site}/tiles/collections/{unique}/items/{item['id']}"
    value = httpx.get(f"{about}/point/{point}", params={"assets": "analysis"}).json()
    assert value["values"] == [VALUE]
    zoom = tilejson["minzoom"] + 1
    place = morecantile.tms.get("WebMercatorQuad").tile(
        (west + east) / 2, (south + north) / 2, zoom
    )
    tile = httpx.get(tilejson["tiles"][0].format(z=zoom, x=place.x, y=place.y))
    drawn = Image.open(io.BytesIO(tile.content)).convert("RGBA")
    assert drawn.getchannel("A").getextrema()[1] == 255


def test_account_and_key_are_enough_for_gdal(
    azurite: str, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    variables = dict(os.environ)
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCESS_KEY"):
        variables.pop(name, None)
    variables["AZURE_STORAGE_ACCOUNT_KEY"] = KEY
    monkeypatch.setattr("geo_etl.settings.os.environ", variables)
    monkeypatch.setattr(stack, "blob_url", "az://someaccount")

    export_for_servers(stack, "1")

    assert variables["AZURE_STORAGE_ACCOUNT"] == "someaccount"
    assert variables["AZURE_STORAGE_ACCESS_KEY"] == KEY


def test_two_versions_never_mix_in_azure(
    site: str, blobs: BlobStorageResource, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "STEP_BYTES", 100_000)
    ref = SourceRef(blobs.silver_container, "a #1 ü.bin")
    put(blobs, ref, b"o" * 900_000)
    storage, first = open_storage(f"az://{ACCOUNT}"), threading.Event()
    read = AzureBlobs.read_version

    def replaced_meanwhile(self: AzureBlobs, *arguments: Any) -> bytes:
        content = read(self, *arguments)
        if not first.is_set():
            first.set()
            put(blobs, ref, b"n" * 900_000)
        return content

    monkeypatch.setattr(AzureBlobs, "read_version", replaced_meanwhile)
    received = b""

    def receive() -> None:
        nonlocal received
        address = f"{site}/files/{ref.container}/a%20%231%20%C3%BC.bin"
        with httpx.stream("GET", address) as answer:
            for part in answer.iter_raw():
                received += part

    with pytest.raises(httpx.RemoteProtocolError):  # it ends too early
        receive()
    assert set(received) <= {ord("o")}
    assert storage.read(ref, 0, 1) == b"n"


def test_a_blob_is_looked_at_once_however_often_it_is_read(
    site: str, blobs: BlobStorageResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "STEP_BYTES", 1000)
    ref = SourceRef(blobs.silver_container, "a.bin")
    put(blobs, ref, b"o" * 5_500)
    asked: list[str] = []
    for name in ("_properties", "_download"):
        verb = getattr(AzureBlobs, name)

        async def counted(
            self: AzureBlobs, *arguments: Any, verb: Any = verb, name: str = name, **options: Any
        ) -> Any:
            asked.append(name)
            return await verb(self, *arguments, **options)

        monkeypatch.setattr(AzureBlobs, name, counted)

    assert len(httpx.get(f"{site}/files/{ref.container}/a.bin").content) == 5_500
    assert asked == ["_properties"] + ["_download"] * 6


def test_containers_that_are_not_for_readers_are_not_served(
    site: str, blobs: BlobStorageResource
) -> None:
    put(blobs, SourceRef(blobs.work_container, "a"), b"secret")

    for path in (
        f"{blobs.work_container}/a",
        "$logs/a",
        f"{blobs.silver_container}/%2e%2e/x",
        "NOT/a",
    ):
        assert httpx.get(f"{site}/files/{path}").status_code == 404
