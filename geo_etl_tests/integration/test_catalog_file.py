"""One raster catalogued where it lies: its item, from a header and a sample."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import sqlalchemy as sa
from affine import Affine

from geo_etl.catalog.validate import validate
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.raster_publishing import Site, manifest
from geo_etl_tests.integration.syncing import Container, run


@pytest.fixture
def container(stack: Any, unique: str, shared_data: Path, engine: sa.Engine) -> Container:
    return Container(stack.home, unique, shared_data / "raster" / "geotiff", engine)


def catalogue(blob: str, **config: Any) -> dict[str, Any]:
    """Run `catalog_file`; the item."""
    result = run("catalog_file", "catalogue_raster", {"blob": blob, **config})
    assert result.success, failure_of(result)
    item: dict[str, Any] = result.output_for_node("catalogue_raster")
    return item


def refusal(blob: str, **config: Any) -> str:
    result = run("catalog_file", "catalogue_raster", {"blob": blob, **config})
    assert not result.success
    return failure_of(result)


def test_a_raster_becomes_a_valid_item_of_its_containers_collection(container: Container) -> None:
    container.put("dem/rmnp.tif", "rmnp-dem.tif")

    item = catalogue(f"{container.name}/dem/rmnp.tif")

    validate(item)
    assert list(container.items()) == ["dem__rmnp"]
    assert item["collection"] == container.name
    assert item["properties"]["geo_etl:datetime_from"] == "the source's modification time"


def test_an_item_reads_back_as_it_was_written(container: Container) -> None:
    container.put("a.tif", "utm.tif")
    item = catalogue(f"{container.name}/a.tif")
    held = container.items()["a"]
    assert {key: held[key] for key in item} == item


def test_what_a_person_says_is_said(container: Container) -> None:
    container.put("a.tif")

    item = catalogue(
        f"{container.name}/a.tif",
        collection_id=f"{container.name}-mine",
        item_id="my-item",
        datetime="2019-05-17T10:30:00+02:00",
        properties={"title": "Mine", "license": "CC0-1.0"},
    )

    assert (item["id"], item["collection"]) == ("my-item", f"{container.name}-mine")
    assert item["properties"]["datetime"] == "2019-05-17T08:30:00Z"
    assert item["properties"]["geo_etl:datetime_from"] == "the job's configuration"
    assert (item["properties"]["title"], item["properties"]["license"]) == ("Mine", "CC0-1.0")


def test_the_time_in_the_tags_comes_before_that_of_the_file(container: Container) -> None:
    container.put("a.tif", "all-nodata.tif")
    with rasterio.open(container.folder / "a.tif") as dataset:
        date, time = dataset.tags()["TIFFTAG_DATETIME"].split()

    item = catalogue(f"{container.name}/a.tif")

    assert item["properties"]["datetime"] == f"{date.replace(':', '-')}T{time}Z"
    assert item["properties"]["geo_etl:datetime_from"] == "tag TIFFTAG_DATETIME"


@pytest.mark.parametrize(
    ("raster", "is_cog", "kind"),
    [
        ("cogeo.tif", True, "image/tiff; application=geotiff; profile=cloud-optimized"),
        ("RGB.byte.tif", False, "image/tiff; application=geotiff"),
    ],
)
def test_whether_it_is_a_cog_is_said(
    container: Container, raster: str, is_cog: bool, kind: str
) -> None:
    container.put("a.tif", raster)

    item = catalogue(f"{container.name}/a.tif")

    assert item["properties"]["geo_etl:is_cog"] is is_cog
    assert item["assets"]["data"]["type"] == kind
    warned = any("no valid COG" in one for one in item["properties"].get("geo_etl:warnings", ()))
    assert warned is not is_cog


def test_statistics_of_a_sample_are_called_approximate(container: Container) -> None:
    container.put("a.tif", "cog_dateline.tif")
    item = catalogue(f"{container.name}/a.tif")
    assert item["properties"]["geo_etl:statistics_approximate"] is True
    assert "overview" in item["properties"]["geo_etl:statistics_from"]


def test_a_raster_across_the_antimeridian_has_a_box_that_crosses_it(container: Container) -> None:
    container.put("a.tif", "cog_dateline.tif")
    west, _, east, _ = catalogue(f"{container.name}/a.tif")["bbox"]
    assert west > 170 > -170 > east


def test_a_raster_with_a_world_file_beside_it_is_placed_by_it(container: Container) -> None:
    with rasterio.Env(GDAL_PAM_ENABLED="NO"):
        pixels = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
        options = {"width": 10, "height": 10, "count": 1, "dtype": "uint8"}
        transform = Affine(10, 0, 500_000, 0, -10, 5_500_000)
        path = container.folder / "a.tif"
        with rasterio.open(
            path, "w", driver="GTiff", transform=transform, crs=None, **options
        ) as f:
            f.write(pixels)
    (container.folder / "a.prj").write_text(rasterio.CRS.from_epsg(32632).to_wkt())

    item = catalogue(f"{container.name}/a.tif")

    assert item["properties"]["proj:code"] == "EPSG:32632"
    assert "renders" not in item["properties"]
    assert any("a.prj" in one for one in item["properties"]["geo_etl:warnings"])


def test_catalogued_again_it_is_not_written_again(container: Container) -> None:
    container.put("a.tif")
    catalogue(f"{container.name}/a.tif")
    before = container.rows(), container.collection()
    catalogue(f"{container.name}/a.tif")
    assert (container.rows(), container.collection()) == before


def test_an_item_that_a_sync_keeps_stays_one_that_it_keeps(container: Container) -> None:
    path = container.put("a.tif")
    container.sync()
    catalogue(f"{container.name}/a.tif", properties={"title": "Mine"})
    kept = container.sync()
    path.unlink()

    result = container.sync()

    assert (kept["unchanged"], result["removed"]) == (1, 1)


def test_a_sync_leaves_an_item_that_was_catalogued_alone(container: Container) -> None:
    container.put("a.tif")
    catalogue(f"{container.name}/a.tif")
    before = container.rows()
    first = container.sync()
    container.put("a.tif", "utm.tif")

    second = container.sync()

    assert (first["unchanged"], first["failed"]) == (1, 0)
    assert second["failed"] == 1
    assert "catalog_file" in second["failures"][0]["reason"]
    assert container.rows() == before


def test_a_published_layers_item_is_never_replaced(
    container: Container, stack: Any, unique: str
) -> None:
    container.put("a.tif")
    site = Site(container.engine, LocalBlobs(stack.home / "blobs"))
    site.ingest(manifest(f"{container.name}/a", source=f"bronze/{unique}.tif"))
    before = container.rows()

    said = refusal(f"{container.name}/a.tif")

    assert f"STAC item {container.name}/a: it belongs to a published layer" in said
    assert container.rows() == before


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"blob": "no-container"}, "does not name a blob"),
        ({"blob": "no-container/a.tif"}, "it does not exist"),
        ({"blob": "{name}/no-such.tif"}, "holds no such blob"),
        ({"blob": "{name}/notes.txt"}, "it is no raster that can be read where it lies"),
        ({"blob": "{name}/a.tif", "item_id": "a/b"}, "it is no legal id"),
        ({"blob": "{name}/a.tif", "datetime": "yesterday"}, "no time with an offset"),
        ({"blob": "{name}/a.tif", "datetime": "2024-05-17T10:30:00"}, "no time with an offset"),
        ({"blob": "{name}/a.tif", "properties": {"proj:code": "x"}}, "is found out from the file"),
        ({"blob": "{name}/a.tif", "properties": {"gsd": "fine"}}, "properties.gsd breaks"),
    ],
)
def test_bad_use_is_told(container: Container, config: dict[str, Any], said: str) -> None:
    container.put("a.tif")
    (container.folder / "notes.txt").write_text("a,b")
    blob = config["blob"].format(name=container.name)
    assert said in refusal(**{**config, "blob": blob})
