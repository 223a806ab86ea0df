"""The arrival sensor, evaluated tick by tick on real storage and a real database."""

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import DagsterInstance, SkipReason, build_sensor_context

from geo_etl.partitions import vector_sources
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import Blob
from geo_etl.resources.postgis import PostGISResource
from geo_etl.sensors.arrivals import bronze_arrivals
from geo_etl.sensors.cursor import Cursor, Due, advance, list_fresh
from geo_etl.spec import SourceRef
from geo_etl_tests.integration.ticks import Ticks
from geo_etl_tests.made import squares, write


def test_a_new_blob_starts_one_run(ticks: Ticks) -> None:
    ticks.put("a/roads.gpkg")

    assert ticks.tick() == ["a/roads.gpkg"]
    assert ticks.tick() == []


def test_files_that_are_no_source_start_nothing(ticks: Ticks) -> None:
    for name in ("readme.txt", ".hidden.gpkg", "_a.tif", "a.tif.ovr", "a.vrt", "_ingest.yaml"):
        (ticks.folder / name).write_text("{}")

    assert ticks.tick() == []


def test_a_file_moved_in_counts_as_new_however_old_it_is(ticks: Ticks) -> None:
    ticks.put("first.gpkg")
    assert ticks.tick() == ["first.gpkg"]
    old = ticks.folder.parent / f"{ticks.container}.gpkg"
    write(old, squares(2))
    os.utime(old, (0, 0))

    old.rename(ticks.folder / "old.gpkg")

    assert ticks.tick() == ["old.gpkg"]


def test_a_blob_that_is_still_growing_waits(
    ticks: Ticks, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "sensor_settle_seconds", 3600.0)
    ticks.put("a.gpkg")
    assert ticks.tick() == []

    monkeypatch.setattr(stack, "sensor_settle_seconds", 0.0)

    assert ticks.tick() == ["a.gpkg"]


def test_a_published_blob_that_arrives_again_unchanged_starts_nothing(
    ticks: Ticks, run_job: Callable[..., Any]
) -> None:
    path = ticks.put("a.gpkg")
    assert ticks.tick() == ["a.gpkg"]
    assert run_job(f"{ticks.container}/a.gpkg", table_name=ticks.container).success

    shutil.copyfile(path, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)

    assert ticks.tick() == []


def test_a_changed_blob_starts_a_run_with_another_run_key(
    ticks: Ticks, run_job: Callable[..., Any]
) -> None:
    ticks.put("a.gpkg")
    assert ticks.tick() == ["a.gpkg"]
    first = ticks.requests[0].run_key
    assert run_job(f"{ticks.container}/a.gpkg", table_name=ticks.container).success

    ticks.put("a.gpkg", count=3)

    assert ticks.tick() == ["a.gpkg"]
    assert ticks.requests[0].run_key != first


def test_a_source_that_was_run_since_it_arrived_starts_nothing(ticks: Ticks) -> None:
    from geo_etl.definitions import build_definitions

    ticks.put("a.gpkg")
    job = build_definitions().resolve_job_def("ingest_vector")
    key = f"{ticks.container}/a.gpkg"
    ticks.instance.add_dynamic_partitions(str(vector_sources.name), [key])
    ticks.instance.create_run_for_job(job, tags={"dagster/partition": key})

    assert ticks.tick() == []


@pytest.mark.parametrize(
    ("sidecar", "due"),
    [
        ("a/roads.ingest.yaml", ["a/roads.gpkg"]),
        ("a/roads.gpkg.ingest.yaml", ["a/roads.gpkg"]),
        ("a/_ingest.yaml", ["a/b/rails.gpkg", "a/roads.gpkg"]),
        ("_ingest.yaml", ["a/b/rails.gpkg", "a/roads.gpkg", "water.gpkg"]),
    ],
)
def test_a_sidecar_that_arrives_makes_its_sources_due(
    ticks: Ticks, sidecar: str, due: list[str]
) -> None:
    for name in ("a/roads.gpkg", "a/b/rails.gpkg", "water.gpkg"):
        ticks.put(name)
    assert len(ticks.tick()) == 3

    (ticks.folder / sidecar).write_text("chunk_size: 1000\n")

    assert sorted(ticks.tick()) == due
    assert ticks.tick() == []


def test_a_sidecar_that_changes_nothing_starts_nothing(
    ticks: Ticks, run_job: Callable[..., Any]
) -> None:
    ticks.put("a.gpkg")
    (ticks.folder / "a.ingest.yaml").write_text(f"table_name: {ticks.container}\n")
    assert ticks.tick() == ["a.gpkg"]
    assert run_job(f"{ticks.container}/a.gpkg").success

    (ticks.folder / "a.ingest.yaml").write_text(f"# why\ntable_name: {ticks.container}\n")

    assert ticks.tick() == []


def test_a_broken_sidecar_starts_a_run_that_says_so(
    ticks: Ticks, run_job: Callable[..., Any]
) -> None:
    from geo_etl_tests.conftest import failure_of

    ticks.put("a.gpkg")
    (ticks.folder / "a.ingest.yaml").write_text("tabel_name: roads\n")

    assert ticks.tick() == ["a.gpkg"]
    said = failure_of(run_job(f"{ticks.container}/a.gpkg"))
    assert f"{ticks.container}/a.ingest.yaml: key 'tabel_name': it is unknown" in said


def test_runs_a_tick_are_bounded_and_none_is_missed(
    ticks: Ticks, stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "sensor_runs_per_tick", 4)
    template = ticks.put("n0.gpkg")
    for number in range(1, 10):
        shutil.copyfile(template, ticks.folder / f"n{number}.gpkg")

    asked = [ticks.tick() for _ in range(4)]

    assert [len(keys) for keys in asked] == [4, 4, 2, 0]
    assert len({key for keys in asked for key in keys}) == 10


def test_a_container_that_does_not_exist_yet_is_said(stack: Any) -> None:
    with DagsterInstance.ephemeral() as instance:
        context = build_sensor_context(
            instance=instance,
            resources={
                "blobs": BlobStorageResource(url=stack.storage_url, bronze_container="nowhere"),
                "postgis": PostGISResource(),
            },
        )
        result = bronze_arrivals(context)

    assert isinstance(result, SkipReason)
    assert "container 'nowhere': it does not exist" in str(result.skip_message)


def test_cursor_survives_being_stored() -> None:
    cursor = Cursor(12.5, {"a.gpkg": "e1"}, {"b.gpkg": Due("e2", 3.0, spec=True)})

    assert Cursor.load(cursor.dump()) == cursor


def test_equal_times_lose_nothing_whatever_the_limit() -> None:
    """Ten blobs of one moment, taken three at a time."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    page = [Blob(SourceRef("c", f"n{i}.gpkg"), 1, f"e{i}", moment) for i in range(10)]
    cursor, taken = Cursor(), []
    for _ in range(4):
        cursor = advance(cursor, list_fresh([page], cursor, moment + timedelta(days=1)), limit=3)
        taken += list(cursor.pending)
        cursor.pending.clear()

    assert sorted(taken) == sorted(blob.ref.path for blob in page)


def test_cursor_does_not_grow_with_the_container() -> None:
    """What lies before the window of overlap is not remembered blob by blob."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    page = [
        Blob(SourceRef("c", f"n{i}.gpkg"), 1, f"e{i}", start + timedelta(minutes=i))
        for i in range(500)
    ]

    cursor = advance(Cursor(), list_fresh([page], Cursor(), start + timedelta(days=1)), limit=1000)

    assert set(cursor.seen) == {"n498.gpkg", "n499.gpkg"}


def test_a_folder_moved_in_is_found_however_old_its_files_are(ticks: Ticks) -> None:
    ticks.put("now.gpkg")
    outside = ticks.folder.parent / f".{ticks.container}"
    outside.mkdir()
    write(outside / "old.gpkg", squares(2))
    assert ticks.tick() == ["now.gpkg"]
    cursor = Cursor.load(ticks.cursor)
    cursor.watermark += 3600.0  # an hour later
    ticks.cursor = cursor.dump()

    outside.rename(ticks.folder / "delivery")

    assert ticks.tick() == ["delivery/old.gpkg"]
    assert ticks.tick() == []


def test_a_spec_that_changes_as_its_source_arrives_again_is_not_lost(
    ticks: Ticks, run_job: Callable[..., Any]
) -> None:
    path = ticks.put("a.gpkg")
    assert ticks.tick() == ["a.gpkg"]
    assert run_job(f"{ticks.container}/a.gpkg", table_name=ticks.container).success

    (ticks.folder / "_ingest.yaml").write_text("target_srid: 3857\n")
    shutil.copyfile(path, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)

    assert ticks.tick() == ["a.gpkg"]


SHAPEFILE = ("roads.shp", "roads.shx", "roads.dbf", "roads.prj", "roads.cpg")


def test_a_shapefile_with_its_siblings_starts_one_run(ticks: Ticks) -> None:
    ticks.put("roads.shp")
    assert {path.name for path in ticks.folder.iterdir()} == set(SHAPEFILE)

    assert ticks.tick() == ["roads.shp"]
    assert ticks.tick() == []


@pytest.mark.parametrize("sibling", SHAPEFILE[1:])
def test_a_sibling_that_changes_makes_its_shapefile_due(ticks: Ticks, sibling: str) -> None:
    ticks.put("roads.shp")
    ticks.put("rails.shp")
    assert sorted(ticks.tick()) == ["rails.shp", "roads.shp"]
    first = {request.partition_key: request.run_key for request in ticks.requests}

    path = ticks.folder / sibling
    path.write_bytes(path.read_bytes())

    assert ticks.tick() == ["roads.shp"]
    assert ticks.requests[0].run_key != first[ticks.requests[0].partition_key]


def test_a_sibling_that_comes_later_makes_its_shapefile_due(ticks: Ticks) -> None:
    ticks.put("roads.shp")
    assert ticks.tick() == ["roads.shp"]

    (ticks.folder / "roads.CST").write_text("UTF-8")

    assert ticks.tick() == ["roads.shp"]


def test_a_shapefile_without_its_table_waits_for_it(ticks: Ticks) -> None:
    path = ticks.put("roads.shp")
    table = path.with_suffix(".dbf").rename(path.with_suffix(".away"))
    assert ticks.tick() == []

    table.rename(path.with_suffix(".dbf"))

    assert ticks.tick() == ["roads.shp"]


def test_a_known_shapefile_that_waits_is_not_forgotten_when_others_go_on(ticks: Ticks) -> None:
    path = ticks.put("roads.shp")
    assert ticks.tick() == ["roads.shp"]
    table = path.with_suffix(".dbf").rename(ticks.folder / "away.tmp")
    path.write_bytes(path.read_bytes())
    assert ticks.tick() == []
    cursor = Cursor.load(ticks.cursor)
    cursor.watermark += 3600.0  # others went on for an hour
    ticks.cursor = cursor.dump()
    assert ticks.tick() == []

    table.rename(path.with_suffix(".dbf"))

    assert ticks.tick() == ["roads.shp"]
    assert ticks.tick() == []


def test_a_sidecar_does_not_start_a_shapefile_that_is_still_arriving(ticks: Ticks) -> None:
    path = ticks.put("roads.shp")
    table = path.with_suffix(".dbf").rename(ticks.folder / "away.tmp")
    (ticks.folder / "roads.ingest.yaml").write_text("chunk_size: 1000\n")
    assert ticks.tick() == []

    table.rename(path.with_suffix(".dbf"))

    assert ticks.tick() == ["roads.shp"]


def test_a_published_shapefile_that_arrives_again_unchanged_starts_nothing(
    ticks: Ticks, run_job: Callable[..., Any]
) -> None:
    ticks.put("roads.shp")
    assert ticks.tick() == ["roads.shp"]
    assert run_job(f"{ticks.container}/roads.shp", table_name=ticks.container).success

    for name in SHAPEFILE:
        (ticks.folder / name).write_bytes((ticks.folder / name).read_bytes())

    assert ticks.tick() == []


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def blob(name: str, at: datetime = NOON, etag: str = "e") -> Blob:
    return Blob(SourceRef("c", name), 1, etag, at)


def fresh(page: list[Blob], cursor: Cursor, now: datetime) -> list[str]:
    return [found.ref.path for found in list_fresh([page], cursor, now).fresh]


def test_a_table_that_never_comes_is_waited_for_ten_minutes() -> None:
    page = [blob("roads.shp"), blob("roads.prj", NOON + timedelta(minutes=2))]

    assert fresh(page, Cursor(), NOON + timedelta(minutes=11, seconds=59)) == []
    assert fresh(page, Cursor(), NOON + timedelta(minutes=12)) == ["roads.shp"]


def test_the_newest_sibling_must_have_settled() -> None:
    page = [blob("roads.shp"), blob("roads.dbf"), blob("roads.prj", NOON + timedelta(minutes=2))]

    assert fresh(page, Cursor(), NOON + timedelta(minutes=1)) == []
    assert fresh(page, Cursor(), NOON + timedelta(minutes=2)) == ["roads.shp"]


def test_cursor_forgets_what_was_deleted() -> None:
    page = [blob("a.gpkg"), blob("b.gpkg"), blob("a.ingest.yaml"), blob("_ingest.yaml")]
    later = NOON + timedelta(days=1)
    cursor = advance(Cursor(), list_fresh([page], Cursor(), later), limit=10)
    assert set(cursor.seen) == {"a.gpkg", "b.gpkg", "a.ingest.yaml", "_ingest.yaml"}

    cursor = advance(cursor, list_fresh([page[:1]], cursor, later), limit=10)

    assert set(cursor.seen) == {"a.gpkg"}


def test_a_tick_over_ten_thousand_shapefiles_with_their_specs_takes_seconds() -> None:
    page = [
        blob(f"d{n % 100}/s{n}.{extension}")
        for n in range(10_000)
        for extension in ("shp", "shx", "dbf", "prj", "cpg", "ingest.yaml")
    ]
    began = time.monotonic()

    cursor = advance(Cursor(), list_fresh([page], Cursor(), NOON, set()), limit=100_000)

    assert len(cursor.pending) == 10_000
    assert time.monotonic() - began < 5
