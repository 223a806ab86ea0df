"""A folder of rasters as one collection: added, changed, taken away, bad ones among them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import sqlalchemy as sa
from rasterio.transform import from_origin

from geo_etl.resources.rasters import Rasters
from geo_etl_tests.conftest import failed_checks, failure_of

SIZE = 40
STEP = 0.01
WEST, NORTH = 10.0, 50.0


def tile(path: Path, col: int, value: float, *, dtype: str = "float32", bands: int = 1) -> Path:
    """A raster in degrees beside others: column `col` of a row of squares without gaps."""
    place = from_origin(WEST + col * SIZE * STEP, NORTH, STEP, STEP)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIZE,
        height=SIZE,
        count=bands,
        dtype=dtype,
        crs="EPSG:4326",
        transform=place,
        nodata=-1 if dtype == "float32" else None,
    ) as out:
        ramp = np.arange(SIZE * SIZE, dtype=dtype).reshape(SIZE, SIZE) / dtype_step(dtype)
        for band in range(1, bands + 1):
            out.write((ramp + value).astype(dtype), band)
    return path


def dtype_step(dtype: str) -> float:
    return 7.0 if dtype == "float32" else 1.0


@pytest.fixture
def folder(bronze: Path, unique: str) -> Path:
    """A folder of bronze with three rasters side by side."""
    place = bronze / unique
    place.mkdir()
    for col in range(3):
        tile(place / f"dem_{col}.tif", col, 100.0 * col)
    return place


@pytest.fixture
def gather(run_asset: Callable[..., Any], unique: str) -> Callable[..., dict[str, Any]]:
    """Process the folder; the result document."""

    def run(**spec: Any) -> dict[str, Any]:
        result = run_asset("collection", f"bronze/{unique}", **spec)
        assert result.success, failure_of(result)
        assert failed_checks(result) == []
        return result.output_for_node("raster_collection.verify", "result")

    return run


def items_of(engine: sa.Engine, collection: str) -> dict[str, dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT id, pgstac.get_item(id, collection) FROM pgstac.items"
                " WHERE collection = :name"
            ),
            {"name": collection},
        ).all()
    return dict(tuple(row) for row in found)


def collection_of(engine: sa.Engine, collection: str) -> dict[str, Any]:
    with engine.connect() as connection:
        return connection.execute(
            sa.text("SELECT content FROM pgstac.collections WHERE id = :name"),
            {"name": collection},
        ).scalar_one()


def local(href: str) -> Path:
    return Path(href.removeprefix("file://"))


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {Path(one["source"]).name: one["status"] for one in result["members"]}


def silver(unique: str, bronze: Path) -> set[Path]:
    place = bronze.parent / "silver" / "rasters" / unique
    return {path for path in place.rglob("*") if path.is_file()}


def test_every_raster_of_a_folder_becomes_an_item(
    gather: Any, folder: Path, engine: sa.Engine, unique: str
) -> None:
    result = gather()
    assert statuses(result) == {f"dem_{col}.tif": "converted" for col in range(3)}
    items = items_of(engine, unique)
    assert set(items) == {"dem_0", "dem_1", "dem_2"}
    for col in range(3):
        href = items[f"dem_{col}"]["assets"]["analysis"]["href"]
        with rasterio.open(local(href)) as made, rasterio.open(folder / f"dem_{col}.tif") as source:
            assert made.crs == source.crs
            np.testing.assert_array_equal(made.read(), source.read())


def test_the_extent_is_that_of_the_members(
    gather: Any, folder: Path, engine: sa.Engine, unique: str
) -> None:
    gather()
    (box,) = collection_of(engine, unique)["extent"]["spatial"]["bbox"]
    edge = SIZE * STEP
    assert box == pytest.approx([WEST, NORTH - edge, WEST + 3 * edge, NORTH])


def test_the_mosaic_reads_as_one_raster(gather: Any, folder: Path) -> None:
    result = gather()
    expected = np.hstack([rasterio.open(folder / f"dem_{col}.tif").read(1) for col in range(3)])
    with rasterio.open(local(result["mosaic"]["vrt"])) as mosaic:
        np.testing.assert_array_equal(mosaic.read(1), expected)


def test_a_second_run_makes_nothing_again(
    gather: Any, folder: Path, bronze: Path, unique: str
) -> None:
    first = gather()
    before = silver(unique, bronze)
    again = gather()
    assert again == first
    assert silver(unique, bronze) == before


def test_what_is_added_changed_and_removed_is_followed(
    gather: Any, folder: Path, engine: sa.Engine, unique: str
) -> None:
    gather()
    tile(folder / "dem_3.tif", 3, 5.0)
    tile(folder / "dem_0.tif", 0, 77.0)
    (folder / "dem_1.tif").unlink()
    result = gather()
    assert statuses(result) == {
        "dem_0.tif": "converted",
        "dem_1.tif": "removed",
        "dem_2.tif": "unchanged",
        "dem_3.tif": "converted",
    }
    items = items_of(engine, unique)
    assert set(items) == {"dem_0", "dem_2", "dem_3"}
    with rasterio.open(local(items["dem_0"]["assets"]["analysis"]["href"])) as made:
        assert made.read(1)[0, 0] == 77.0
    (box,) = collection_of(engine, unique)["extent"]["spatial"]["bbox"]
    assert box[2] == pytest.approx(WEST + 4 * SIZE * STEP)
    with rasterio.open(local(result["mosaic"]["vrt"])) as mosaic:
        assert mosaic.width == 4 * SIZE
        assert (mosaic.read(1)[:, SIZE : 2 * SIZE] == -1).all()


def test_a_bad_member_stops_all_and_is_named(
    run_asset: Any, folder: Path, engine: sa.Engine, bronze: Path, unique: str
) -> None:
    (folder / "bad.tif").write_bytes((folder / "dem_1.tif").read_bytes()[:3000])
    result = run_asset("collection", f"bronze/{unique}")
    assert not result.success
    said = failure_of(result)
    assert f"bronze/{unique}/bad.tif" in said
    assert "1 of its 4 members" in said
    assert "members.on_bad: skip" in said
    assert items_of(engine, unique) == {}
    assert silver(unique, bronze) == set()


def test_the_others_are_published_if_the_spec_says_so(
    gather: Any, folder: Path, engine: sa.Engine, unique: str
) -> None:
    (folder / "bad.tif").write_bytes((folder / "dem_1.tif").read_bytes()[:3000])
    result = gather(members={"on_bad": "skip"})
    assert statuses(result)["bad.tif"] == "bad"
    assert result["summary"]["bad"] == 1
    assert set(items_of(engine, unique)) == {"dem_0", "dem_1", "dem_2"}


def test_a_member_that_is_unlike_the_others_is_named(
    run_asset: Any, folder: Path, unique: str
) -> None:
    tile(folder / "rgb.tif", 3, 0, dtype="uint16", bands=3)
    result = run_asset("collection", f"bronze/{unique}")
    said = failure_of(result)
    assert f"bronze/{unique}/rgb.tif" in said
    assert "3 bands" in said
    assert "uint16" in said


def test_members_in_several_systems_come_into_one(
    gather: Any, folder: Path, engine: sa.Engine, unique: str
) -> None:
    with rasterio.open(
        folder / "utm.tif",
        "w",
        driver="GTiff",
        width=SIZE,
        height=SIZE,
        count=1,
        dtype="float32",
        crs="EPSG:32632",
        transform=from_origin(600000, 5500000, 1000, 1000),
        nodata=-1,
    ) as out:
        out.write(np.arange(SIZE * SIZE, dtype="float32").reshape(1, SIZE, SIZE) / 7)
    gather()
    codes = {item["assets"]["analysis"]["proj:code"] for item in items_of(engine, unique).values()}
    assert codes == {"EPSG:4326"}


def test_a_folder_without_rasters_is_refused(run_asset: Any, bronze: Path, unique: str) -> None:
    (bronze / unique).mkdir()
    (bronze / unique / "readme.txt").write_text("nothing here")
    said = failure_of(run_asset("collection", f"bronze/{unique}"))
    assert "there is no raster in it" in said


def test_unpublish_removes_members_and_files(
    gather: Any, folder: Path, engine: sa.Engine, stack: Any, bronze: Path, unique: str
) -> None:
    from geo_etl.resources.blob_storage import open_storage

    gather()
    rasters = Rasters(engine)
    rasters.unpublish(unique)
    rasters.remove_discarded(open_storage(stack.storage_url))
    assert items_of(engine, unique) == {}
    assert silver(unique, bronze) == set()


def test_a_member_is_not_ingested_apart_from_its_collection(
    run_asset: Any, gather: Any, folder: Path, unique: str
) -> None:
    gather()
    said = failure_of(
        run_asset("raster", f"bronze/{unique}/dem_0.tif", collection_id=unique, item_id="dem_0")
    )
    assert f"geo-etl ingest bronze/{unique}/" in said


def test_two_members_of_one_name_need_names_of_their_own(
    run_asset: Any, folder: Path, unique: str
) -> None:
    shutil.copyfile(folder / "dem_0.tif", folder / "dem 1.tif")
    said = failure_of(run_asset("collection", f"bronze/{unique}"))
    assert "would both be item dem_1" in said


def test_a_folder_of_many_is_planned_by_one_listing(
    bronze: Path, unique: str, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests for each of 10,000 members would take longer than their conversion."""
    from geo_etl.assets.raster_gathering_plan import plan_collection_run
    from geo_etl.definitions import default_resources
    from geo_etl.resources.local_blobs import LocalBlobs
    from geo_etl.spec import CollectionRef

    place = bronze / unique
    place.mkdir()
    first = tile(place / "dem_000.tif", 0, 1.0)
    for number in range(1, 60):
        shutil.copyfile(first, place / f"dem_{number:03d}.tif")
    listings = []
    pages = LocalBlobs.pages
    monkeypatch.setattr(
        LocalBlobs, "pages", lambda *args, **more: listings.append(args) or pages(*args, **more)
    )
    resources = default_resources()
    found = plan_collection_run(
        CollectionRef("bronze", unique), {}, resources["blobs"], resources["postgis"], force=False
    )
    assert len(found.members) == 60
    assert len(listings) < 20


def test_a_raster_in_a_folder_that_is_one_collection_is_not_ingested_alone(
    run_asset: Any, folder: Path, unique: str
) -> None:
    (folder / "_ingest.yaml").write_text("collection: true\n")
    said = failure_of(run_asset("raster", f"bronze/{unique}/dem_0.tif"))
    assert f"geo-etl ingest bronze/{unique}/" in said
