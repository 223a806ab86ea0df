"""Rasters with nothing on local disk: bronze and silver in Azure."""

import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import rasterio
import sqlalchemy as sa
from affine import Affine
from pyproj import CRS
from rasterio.errors import NotGeoreferencedWarning

from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.spec import SourceRef
from geo_etl_tests.conftest import failed_checks, failure_of
from geo_etl_tests.raster_sources import UTM, write
from geo_etl_tests.servers import Unserved

pytestmark = pytest.mark.azure

ASSETS = {"raster": "raster_cog", "collection": "raster_collection"}
SIDE = 2100
"""A little more than one step of the tile grid: four tiles."""
TILED = {"max_raster_size_gb": 0.002, "target_tile_size_gb": 0.001, "data_kind": "continuous"}


@pytest.fixture
def blobs(azure: AzureBlobs, unique: str) -> BlobStorageResource:
    """Containers of the test's own. The job has to create the one for its files."""
    azure.create_container(f"{unique}-bronze")
    return BlobStorageResource(
        url="az://devstoreaccount1",
        bronze_container=f"{unique}-bronze",
        work_container=f"{unique}-work",
        silver_container=f"{unique}-silver",
    )


@pytest.fixture
def process(
    run_asset: Callable[..., Any], blobs: BlobStorageResource, unique: str
) -> Callable[..., dict[str, Any]]:
    """Process a blob, or a folder of blobs, as UNIQUE; the result document."""

    def run(work: str, name: str, **spec: Any) -> dict[str, Any]:
        spec = {"collection_id": unique, "target_crs": "native", **spec}
        key = f"{blobs.bronze_container}/{name}"
        # A server beside these tests knows nothing of their storage.
        resources = {"blobs": blobs, "serving": Unserved()}
        done = run_asset(work, key, resources=resources, **spec)
        assert done.success, failure_of(done)
        assert failed_checks(done) == []
        return done.output_for_node(f"{ASSETS[work]}.verify", "result")

    return run


def upload(blobs: BlobStorageResource, path: Path, name: str) -> None:
    ref = SourceRef(blobs.bronze_container, name)
    with path.open("rb") as file, blobs.storage.write(ref) as blob:
        shutil.copyfileobj(file, blob)


def pixels(side: int) -> np.ndarray:
    """Bytes of shape (1, side, side)."""
    y, x = np.mgrid[0:side, 0:side]
    return ((x // 7 + y // 5) % 200 + 20).astype("uint8")[None]


def items_of(engine: sa.Engine, collection: str) -> dict[str, dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT id, pgstac.get_item(id, collection) FROM pgstac.items"
                " WHERE collection = :id"
            ),
            {"id": collection},
        ).all()
    return dict(tuple(row) for row in found)


def ref_of(href: str) -> SourceRef:
    """The blob at an address of Azurite: `http://127.0.0.1:PORT/ACCOUNT/CONTAINER/PATH`."""
    parts = urlsplit(href)
    assert (parts.scheme, parts.query) == ("http", ""), href
    _, account, container, path = unquote(parts.path).split("/", 3)
    assert account == "devstoreaccount1"
    return SourceRef(container, path)


def silver(blobs: BlobStorageResource) -> dict[str, str]:
    """ETag of every blob in silver."""
    pages = blobs.storage.pages(blobs.silver_container)
    return {blob.ref.path: blob.etag for page in pages for blob in page}


def fetch_all(blobs: BlobStorageResource, folder: Path) -> None:
    """Silver as a local folder."""
    for name in silver(blobs):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(blobs.storage.read(SourceRef(blobs.silver_container, name)))


def files_of(item: dict[str, Any]) -> dict[str, SourceRef]:
    """Blobs that an item names; its source is no address."""
    assets = item["assets"].items()
    return {key: ref_of(one["href"]) for key, one in assets if "source" not in one["roles"]}


def test_a_raster_and_its_siblings_come_from_azure_and_its_files_go_there(
    process: Any, blobs: BlobStorageResource, engine: sa.Engine, tmp_path: Path, unique: str
) -> None:
    image = tmp_path / "image.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        write(image, pixels(50), crs=None, transform=None)
    upload(blobs, image, "north #1/image.tif")
    # ESRI's world file: step, rotations, step, centre of the first pixel.
    world, projection = tmp_path / "image.tfw", tmp_path / "image.prj"
    world.write_text("10\n0\n0\n-10\n500005\n4999995\n")
    projection.write_text(CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
    upload(blobs, world, "north #1/image.tfw")
    upload(blobs, projection, "north #1/image.prj")

    result = process("raster", "north #1/image.tif")

    (item,) = items_of(engine, unique).values()
    files = files_of(item)
    assert set(files) == {"analysis", "thumbnail", "quality_report"}
    assert {ref.container for ref in files.values()} == {blobs.silver_container}
    assert {ref.path for ref in files.values()} == set(silver(blobs))
    assert result["assets"][0]["href"] == item["assets"]["analysis"]["href"]
    with blobs.storage.local(files["analysis"]) as path, rasterio.open(path) as made:
        assert (made.crs.to_epsg(), made.transform) == (32633, UTM)
        np.testing.assert_array_equal(made.read(), pixels(50))


def test_tiles_in_azure_are_one_raster(
    process: Any, blobs: BlobStorageResource, engine: sa.Engine, tmp_path: Path, unique: str
) -> None:
    upload(blobs, write(tmp_path / "a.tif", pixels(SIDE), tiled=True, compress="deflate"), "a.tif")
    result = process("raster", "a.tif", **TILED)
    items = items_of(engine, unique)
    assert len(items) == result["summary"]["total_tiles"] == 4
    named = {ref.path for item in items.values() for ref in files_of(item).values()}
    mosaic = ref_of(result["mosaic"]["vrt"]).path
    assert named | {mosaic, ref_of(result["preview_url"]).path} == set(silver(blobs))
    fetch_all(blobs, tmp_path / "silver")
    with rasterio.open(tmp_path / "silver" / mosaic) as file:
        np.testing.assert_array_equal(file.read(), pixels(SIDE))


def test_a_folder_in_azure_is_one_collection(
    process: Any, blobs: BlobStorageResource, engine: sa.Engine, tmp_path: Path, unique: str
) -> None:
    for number in range(3):
        place = UTM @ Affine.translation(number * 50, 0)
        path = write(tmp_path / f"m{number}.tif", pixels(50) + np.uint8(number), transform=place)
        upload(blobs, path, f"many/m{number}.tif")
    result = process("collection", "many")
    assert set(items_of(engine, unique)) == {"m0", "m1", "m2"}
    fetch_all(blobs, tmp_path / "silver")
    with rasterio.open(tmp_path / "silver" / ref_of(result["mosaic"]["vrt"]).path) as file:
        expected = np.concatenate([pixels(50) + np.uint8(n) for n in range(3)], axis=2)
        np.testing.assert_array_equal(file.read(), expected)


@pytest.mark.parametrize("work", ASSETS)
def test_what_is_done_is_not_made_again(
    work: str, process: Any, blobs: BlobStorageResource, tmp_path: Path
) -> None:
    upload(blobs, write(tmp_path / "a.tif", pixels(50)), "many/a.tif")
    name = "many/a.tif" if work == "raster" else "many"
    first = process(work, name)
    before = silver(blobs)
    assert process(work, name) == first
    assert silver(blobs) == before


def test_a_source_is_fetched_once_by_its_plan_and_once_by_each_task(
    process: Any, blobs: BlobStorageResource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(blobs, write(tmp_path / "a.tif", pixels(SIDE), tiled=True, compress="deflate"), "a.tif")
    fetched: Counter[str] = Counter()
    fetch = AzureBlobs._fetch

    async def count(self: AzureBlobs, ref: SourceRef, file: Any) -> None:
        fetched[str(ref)] += 1
        await fetch(self, ref, file)

    monkeypatch.setattr(AzureBlobs, "_fetch", count)
    process("raster", "a.tif", **TILED)
    assert fetched == {f"{blobs.bronze_container}/a.tif": 1 + 4}
