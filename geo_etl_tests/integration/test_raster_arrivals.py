"""The arrival sensor on rasters and on folders of them, tick by tick."""

import io
import os
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from geo_etl.jobs.entries import Work
from geo_etl.raster import ledger
from geo_etl.resources.blobs import Blob
from geo_etl.resources.sources import content_hash, identify_raster, parts_of
from geo_etl.sensors.cursor import Cursor, Due, advance, list_fresh
from geo_etl.spec import SourceRef
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.ticks import Ticks

RASTER, VECTOR, COLLECTION = "process_raster", "ingest_vector", "process_raster_collection"


@pytest.fixture
def put(ticks: Ticks) -> Callable[..., Path]:
    """Write a file into the container at one go. The sensor looks into zips alone."""

    def write(name: str, content: bytes = b"x") -> Path:
        path = ticks.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = ticks.folder.parent / f".{ticks.container}.partial"
        partial.write_bytes(content)
        partial.rename(path)
        return path

    return write


Put = Callable[..., Path]


@pytest.fixture
def publish(ticks: Ticks, engine: sa.Engine) -> Callable[..., None]:
    """Note in the ledger that rasters, or a collection of them, are published as they are now."""

    def note(*paths: str, collection: str | None = None) -> None:
        storage = ticks.blobs.storage
        sources = [f"{ticks.container}/{path}" for path in paths]
        for source in [f"{ticks.container}/{collection}"] if collection else sources:
            fingerprint, job_id = "f", "j"
            if collection is None:
                ref = SourceRef.parse(source)
                fingerprint = content_hash(storage, parts_of(storage, ref))
                job_id = identify_raster(storage, ref).job_id
            with engine.begin() as connection:
                connection.execute(
                    sa.insert(ledger.publication).values(
                        layer=source,
                        version=1,
                        current=True,
                        form="collection" if collection else "single",
                        source=source,
                        sources=sources,
                        fingerprint=fingerprint,
                        job_id=job_id,
                        collection_id=source,
                        item_ids=[],
                        collection={},
                        pixels=1,
                        bytes=1,
                        published_at=datetime.now(UTC),
                    )
                )

    return note


def packed(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


# Single rasters


def test_each_kind_starts_its_job(ticks: Ticks, put: Put) -> None:
    put("dem.tif")
    put("roads.geojson")
    put("srtm.zip", packed("N10W110.hgt"))
    put("roads.zip", packed("roads.shp", "roads.dbf"))

    assert len(ticks.tick()) == 4
    assert ticks.asked == {
        "dem.tif": RASTER,
        "roads.geojson": VECTOR,
        "srtm.zip": RASTER,
        "roads.zip": VECTOR,
    }
    assert ticks.tick() == []


@pytest.mark.parametrize("content", [b"broken", packed("a.shp", "b.tif"), packed("readme.txt")])
def test_a_zip_of_no_clear_kind_starts_the_job_that_says_so(
    ticks: Ticks, put: Put, content: bytes
) -> None:
    put("a.zip", content)

    assert ticks.tick() == ["a.zip"]
    assert ticks.asked == {"a.zip": VECTOR}


def test_a_sidecar_may_say_that_a_name_misleads(ticks: Ticks, put: Put) -> None:
    put("grid.json")
    put("grid.json.ingest.yaml", b"file_extension: tif\n")

    assert ticks.tick() == ["grid.json"]
    assert ticks.asked == {"grid.json": RASTER}


def test_a_raster_with_its_siblings_starts_one_run(ticks: Ticks, put: Put) -> None:
    for name in ("a.tif", "a.tfw", "a.prj", "a.tif.aux.xml", "a.tif.msk", "a.tif.ovr"):
        put(name)

    assert ticks.tick() == ["a.tif"]
    assert ticks.tick() == []


@pytest.mark.parametrize("sibling", ["a.tfw", "a.PRJ", "a.tif.aux.xml", "a.tif.msk"])
def test_a_sibling_that_comes_or_changes_makes_its_raster_due(
    ticks: Ticks, put: Put, sibling: str
) -> None:
    put("a.tif")
    put("b.tif")
    assert sorted(ticks.tick()) == ["a.tif", "b.tif"]

    put(sibling)
    assert ticks.tick() == ["a.tif"]

    put(sibling, b"other")
    assert ticks.tick() == ["a.tif"]


def test_overviews_beside_a_raster_are_none_of_it(ticks: Ticks, put: Put) -> None:
    put("a.tif")
    assert ticks.tick() == ["a.tif"]

    put("a.tif.ovr")

    assert ticks.tick() == []


def test_a_prj_makes_every_source_of_its_stem_due(ticks: Ticks, put: Put) -> None:
    put("a.tif")
    put("a.shp")
    put("a.dbf")
    assert sorted(ticks.tick()) == ["a.shp", "a.tif"]

    put("a.prj")

    assert sorted(ticks.tick()) == ["a.shp", "a.tif"]


def test_a_picture_waits_for_its_world_file(ticks: Ticks, put: Put) -> None:
    put("photo.jpg")
    assert ticks.tick() == []

    put("photo.jgw")

    assert ticks.tick() == ["photo.jpg"]


def test_a_world_file_that_never_comes_is_waited_for_ten_minutes() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    page = [Blob(SourceRef("c", "photo.png"), 1, "e", noon)]

    def fresh(minutes: int) -> list[str]:
        listing = list_fresh([page], Cursor(), noon + timedelta(minutes=minutes))
        return [blob.ref.path for blob in listing.fresh]

    assert (fresh(9), fresh(10)) == ([], ["photo.png"])


def test_a_published_raster_that_arrives_again_unchanged_starts_nothing(
    ticks: Ticks, put: Put, publish: Callable[..., None]
) -> None:
    put("a.tif")
    put("a.tfw")
    assert ticks.tick() == ["a.tif"]
    publish("a.tif")

    put("a.tif")
    assert ticks.tick() == []

    put("a.tfw", b"moved")
    assert ticks.tick() == ["a.tif"]


def test_a_sidecar_that_changes_nothing_starts_nothing(
    ticks: Ticks, put: Put, publish: Callable[..., None]
) -> None:
    put("a.tif")
    assert ticks.tick() == ["a.tif"]
    publish("a.tif")

    put("_ingest.yaml", b"schema: city\n")  # for vectors
    assert ticks.tick() == []

    put("_ingest.yaml", b"target_crs: native\n")
    assert ticks.tick() == ["a.tif"]


# Collections


def test_a_folder_that_is_a_collection_starts_one_run(ticks: Ticks, put: Put) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    for name in ("dem/a.tif", "dem/sub/b.tif", "dem/roads.gpkg", "c.tif"):
        put(name)
    put("dem/N10W110.zip", packed("N10W110.hgt"))
    put("dem/roads.zip", packed("roads.shp"))

    ticks.tick()

    assert ticks.asked == {
        "dem": COLLECTION,
        "dem/roads.gpkg": VECTOR,
        "dem/roads.zip": VECTOR,
        "c.tif": RASTER,
    }
    assert ticks.tick() == []


def test_a_folder_that_somebody_ingested_as_a_collection_is_one(ticks: Ticks, put: Put) -> None:
    put("dem/a.tif")
    ticks.end(ticks.run("collection", "dem"))
    assert ticks.tick() == []

    put("dem/b.tif")

    assert ticks.tick() == ["dem"]


def test_a_container_can_be_a_collection(ticks: Ticks, put: Put) -> None:
    put("_ingest.yaml", b"collection: true\n")
    put("a.tif")
    put("d/b.tif")

    assert ticks.tick() == [ticks.container]
    assert ticks.asked == {ticks.container: COLLECTION}


def test_a_folder_that_is_no_collection_any_more_starts_its_rasters(ticks: Ticks, put: Put) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    put("dem/a.tif")
    assert ticks.tick() == ["dem"]

    put("dem/_ingest.yaml", b"collection: false\n")

    assert ticks.tick() == ["dem/a.tif"]
    assert ticks.tick() == []


@pytest.mark.parametrize("change", ["add", "change", "sibling", "remove", "spec"])
def test_a_change_of_members_starts_the_collection_once(
    ticks: Ticks, put: Put, change: str
) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    put("dem/a.tif")
    put("dem/b.tif")
    assert ticks.tick() == ["dem"]
    assert ticks.tick() == []

    if change == "add":
        put("dem/c.tif")
    elif change == "change":
        put("dem/b.tif", b"other")
    elif change == "sibling":
        put("dem/b.tfw")
    elif change == "remove":
        (ticks.folder / "dem" / "b.tif").unlink()
    else:
        put("dem/b.tif.ingest.yaml", b"nodata: 0\n")

    assert ticks.tick() == ["dem"]
    assert ticks.tick() == []


def test_a_member_that_comes_and_goes_again_and_again_is_not_missed(ticks: Ticks, put: Put) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    put("dem/a.tif")
    assert ticks.tick() == ["dem"]
    assert ticks.tick() == []
    for _ in range(2):
        put("dem/b.tif")
        assert ticks.tick() == ["dem"]
        (ticks.folder / "dem" / "b.tif").unlink()
        assert ticks.tick() == ["dem"]
        assert ticks.requests[0].run_key is None


def test_members_that_are_published_as_they_are_start_nothing(
    ticks: Ticks, put: Put, publish: Callable[..., None]
) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    put("dem/a.tif")
    assert ticks.tick() == ["dem"]
    assert ticks.tick() == []
    publish("dem/a.tif")

    put("dem/a.tif")

    assert ticks.tick() == []


def test_a_collection_that_somebody_brought_up_to_date_starts_nothing(
    ticks: Ticks, put: Put, publish: Callable[..., None]
) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    put("dem/a.tif")
    put("dem/b.tif")
    assert ticks.tick() == ["dem"]
    assert ticks.tick() == []

    (ticks.folder / "dem" / "b.tif").unlink()
    run = ticks.run("collection", "dem")
    assert ticks.tick() == []
    publish("dem/a.tif", collection="dem")
    ticks.end(run)

    assert ticks.tick() == []


def test_a_collection_waits_while_it_is_run(ticks: Ticks, put: Put) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    run = ticks.run("collection", "dem")
    put("dem/a.tif")
    assert ticks.tick() == []

    ticks.end(run)

    assert ticks.tick() == ["dem"]


def test_a_collection_waits_for_members_that_are_being_written(
    ticks: Ticks, put: Put, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "sensor_settle_seconds", 3.0)
    put("dem/_ingest.yaml", b"collection: true\n")
    put("dem/a.tif")
    wait_for(lambda: ticks.folder / "dem" / "a.tif", 3.0)
    put("dem/b.tif")

    assert ticks.tick() == []
    monkeypatch.setattr(stack, "sensor_settle_seconds", 0.0)

    assert ticks.tick() == ["dem"]
    ticks.end(ticks.run("collection", "dem"))
    assert ticks.tick() == []


def wait_for(path: Callable[[], Path], age: float) -> None:
    """Until a file is as old as that."""
    while time.time() - path().stat().st_ctime <= age:
        time.sleep(0.05)


@pytest.fixture
def really_run(ticks: Ticks, run_asset: Callable[..., Any]) -> Callable[[Work, str], None]:
    """Run a job to its end, in an instance that the sensor does not see."""

    def run(work: Work, path: str) -> None:
        result = run_asset(work, f"{ticks.container}/{path}", resources={"blobs": ticks.blobs})
        assert result.success, failure_of(result)

    return run


def geotiff(value: int) -> bytes:
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=8,
            height=8,
            count=1,
            dtype="uint8",
            crs="EPSG:4326",
            transform=from_origin(10, 50, 0.1, 0.1),
        ) as file:
            file.write(np.arange(64, dtype="uint8").reshape(1, 8, 8) + value)
        return bytes(memory.read())


def test_what_a_job_has_published_starts_nothing_until_it_changes(
    ticks: Ticks, put: Put, really_run: Callable[..., None], unique: str
) -> None:
    put("a.tif", geotiff(0))
    put("a.tif.ingest.yaml", f"item_id: {unique}\n".encode())
    assert ticks.tick() == ["a.tif"]
    really_run("raster", "a.tif")

    put("a.tif", geotiff(0))
    put("a.tif.ingest.yaml", f"item_id: {unique}  # why\n".encode())
    assert ticks.tick() == []

    put("a.tif", geotiff(1))
    assert ticks.tick() == ["a.tif"]


def test_a_collection_that_a_job_has_published_starts_nothing_until_it_changes(
    ticks: Ticks, put: Put, really_run: Callable[..., None], unique: str
) -> None:
    put(f"{unique}/_ingest.yaml", b"collection: true\n")
    put(f"{unique}/a.tif", geotiff(0))
    put(f"{unique}/b.tif", geotiff(1))
    assert ticks.tick() == [unique]
    assert ticks.tick() == []
    really_run("collection", unique)

    put(f"{unique}/a.tif", geotiff(0))
    assert ticks.tick() == []

    (ticks.folder / unique / "b.tif").unlink()
    really_run("collection", unique)
    assert ticks.tick() == []

    put(f"{unique}/a.tif", geotiff(2))
    assert ticks.tick() == [unique]


def test_a_folder_moved_into_a_collection_is_found_however_old_it_is(
    ticks: Ticks, put: Put
) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    put("dem/a.tif")
    outside = ticks.folder.parent / f".{ticks.container}"
    outside.mkdir()
    (outside / "old.tif").write_bytes(b"x")
    os.utime(outside / "old.tif", (0, 0))
    assert ticks.tick() == ["dem"]
    assert ticks.tick() == []
    cursor = Cursor.load(ticks.cursor)
    cursor.watermark += 3600.0  # an hour later
    ticks.cursor = cursor.dump()

    outside.rename(ticks.folder / "dem" / "delivery")

    assert ticks.tick() == ["dem"]
    assert ticks.tick() == []


def test_a_collection_is_one_run_of_those_that_a_tick_may_ask_for(
    ticks: Ticks, put: Put, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "sensor_runs_per_tick", 2)
    put("dem/_ingest.yaml", b"collection: true\n")
    for number in range(5):
        put(f"dem/n{number}.tif")
    for name in ("x.tif", "y.tif"):
        put(name)

    assert ticks.tick() == ["dem", "x.tif"]
    assert ticks.tick() == ["y.tif"]
    assert ticks.tick() == []


def test_a_broken_folder_spec_does_not_stop_the_sensor(ticks: Ticks, put: Put) -> None:
    put("dem/_ingest.yaml", b"collection: [true\n")
    put("dem/a.tif")
    put("b.tif")

    assert sorted(ticks.tick()) == ["b.tif", "dem/a.tif"]


def test_cursor_with_collections_survives_being_stored() -> None:
    cursor = Cursor(1.0, {}, {"a.tif": Due("e", 3.0, spec=False)}, ["b.tif"], {"c/dem": "digest"})

    assert Cursor.load(cursor.dump()) == cursor


def test_cursor_of_an_older_release_is_read() -> None:
    assert Cursor.load('{"watermark":1.0,"seen":{},"pending":{}}') == Cursor(1.0)


def test_equal_members_lose_nothing_whatever_the_limit() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    page = [Blob(SourceRef("c", f"dem/n{i}.tif"), 1, f"e{i}", moment) for i in range(10)]
    page += [Blob(SourceRef("c", f"n{i}.tif"), 1, f"e{i}", moment) for i in range(4)]

    def unit_of(path: str) -> str:
        return "c/dem" if path.startswith("dem/") else path

    listing = list_fresh([page], Cursor(), moment + timedelta(days=1))
    cursor = advance(Cursor(), listing, 3, unit_of)

    assert len(cursor.pending) == 12


def test_a_tick_over_ten_thousand_members_takes_seconds(ticks: Ticks) -> None:
    folder = ticks.folder / "dem"
    folder.mkdir()
    (folder / "_ingest.yaml").write_text("collection: true\n")
    for number in range(10_000):
        (folder / f"n{number}.tif").touch()
    for expected in (["dem"], [], []):
        began = time.process_time()
        assert ticks.tick() == expected
        assert time.process_time() - began < 5
    (folder / "n5000.tif").unlink()

    assert ticks.tick() == ["dem"]
