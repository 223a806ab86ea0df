"""A collection that matches a container: added, changed, gone, unreadable, and runs that fail."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rasterio
import sqlalchemy as sa
from rasterio.warp import transform_bounds

from geo_etl.catalog.raster_collections import open_raster_collection
from geo_etl.catalog.validate import validate
from geo_etl.ingest.lock import lock
from geo_etl.resources import pgstac
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import Blob
from geo_etl.resources.container_sync import finish_sync, sync_slice
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.resources.postgis import is_transient
from geo_etl.resources.sync_plan import Slice, SyncOrder, order_of, plan_sync
from geo_etl.spec import SourceRef
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.raster_publishing import Site, manifest
from geo_etl_tests.integration.syncing import Container, counts, run


@pytest.fixture
def container(stack: Any, unique: str, shared_data: Path, engine: sa.Engine) -> Container:
    return Container(stack.home, unique, shared_data / "raster" / "geotiff", engine)


@pytest.fixture
def storage(stack: Any) -> LocalBlobs:
    return LocalBlobs(stack.home / "blobs")


def order(container: Container, batch_size: int = 3, prefix: str = "") -> SyncOrder:
    return order_of(
        container.name,
        prefix,
        None,
        [".tif"],
        batch_size=batch_size,
        remove=True,
        max_files=1000,
        own_container="silver",
    )


def whole_sync(container: Container, storage: LocalBlobs, batch_size: int = 3) -> Any:
    """The verbs as the ops call them."""
    plan, slices = plan_sync(storage, container.engine, order(container, batch_size))
    reports = [
        sync_slice(storage, container.engine, plan.order, one, lambda _: None) for one in slices
    ]
    return finish_sync(container.engine, plan, reports, lambda _: None)


class Interrupted(LocalBlobs):
    """Storage where something happens when it is listed, or when a blob is read."""

    def __init__(self, storage: LocalBlobs, happens: Callable[[], None], at: str | None) -> None:
        super().__init__(storage.root)
        self._happens, self._at = happens, at

    def _now(self) -> None:
        happens, self._happens = self._happens, lambda: None
        happens()

    def pages(self, container: str, prefix: str = "", size: int = 5000) -> Iterator[list[Blob]]:
        pages = list(super().pages(container, prefix, size))
        if self._at is None and size > 1:
            self._now()
        yield from pages

    @contextmanager
    def local(self, ref: SourceRef) -> Iterator[Path]:
        with super().local(ref) as path:
            if ref.path == self._at:
                self._now()
            yield path


# What a first run makes


def test_every_raster_becomes_an_item(container: Container) -> None:
    paths = container.fill(12)

    result = container.sync(batch_size=5)

    assert counts(result) == (12, 0, 0, 0, 0)
    assert sorted(container.items()) == sorted(
        path.replace("/", "__").removesuffix(".tif") for path in paths
    )


def test_an_item_says_what_rasterio_reads(container: Container) -> None:
    path = container.put("landcover/utm.tif", "utm.tif")
    container.sync()

    item = container.items()["landcover__utm"]
    with rasterio.open(path) as dataset:
        bounds = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
        assert item["bbox"] == pytest.approx(bounds, abs=1e-4)
        assert item["properties"]["proj:code"] == dataset.crs.to_string()
        assert item["properties"]["proj:shape"] == list(dataset.shape)
        assert len(item["assets"]["data"]["bands"]) == dataset.count
    assert item["assets"]["data"]["href"] == path.as_uri()
    assert item["assets"]["data"]["file:size"] == path.stat().st_size


def test_items_and_collection_are_valid_stac(container: Container) -> None:
    container.fill(5)
    container.sync()

    documents = [*container.items().values(), container.collection()]

    assert len(documents) == 6
    for document in documents:
        validate(document)


def test_the_collection_covers_its_items(container: Container) -> None:
    container.put("utm.tif", "utm.tif")
    container.put("rmnp-dem.tif", "rmnp-dem.tif")
    container.sync()

    boxes = [item["bbox"] for item in container.items().values()]
    (found,) = container.collection()["extent"]["spatial"]["bbox"]

    assert found[:2] == pytest.approx([min(box[0] for box in boxes), min(box[1] for box in boxes)])
    assert found[2:] == pytest.approx([max(box[2] for box in boxes), max(box[3] for box in boxes)])


def test_a_collection_whose_items_look_alike_is_a_mosaic(container: Container) -> None:
    for name in ("one.tif", "two.tif"):
        container.put(name, "rmnp-dem.tif")
    container.sync()

    collection = container.collection()
    searches = sa.text(
        "SELECT count(*) FROM pgstac.searches WHERE search->'collections' = jsonb_build_array("
        "CAST(:id AS text))"
    )
    with container.engine.connect() as connection:
        registered = connection.execute(searches, {"id": container.name}).scalar_one()
    assert collection["renders"]["default"]["assets"] == ["data"]
    assert registered == 1


def test_the_summaries_follow_the_items(container: Container) -> None:
    container.put("a.tif", "rmnp-dem.tif")
    gone = container.put("b.tif", "utm.tif")
    container.sync()
    both = container.collection()["summaries"]["proj:code"]

    gone.unlink()
    container.sync()

    assert both == ["EPSG:32617", "EPSG:4326"]
    assert container.collection()["summaries"]["proj:code"] == ["EPSG:4326"]


# What later runs do


def test_a_second_run_writes_nothing(container: Container) -> None:
    container.fill(6)
    container.sync()
    before = container.rows(), container.collection()

    result = container.sync()

    assert counts(result) == (0, 0, 6, 0, 0)
    assert (container.rows(), container.collection()) == before


def test_what_changed_is_updated_and_what_is_gone_removed(container: Container) -> None:
    container.fill(6)
    container.sync()
    before, updated = container.rows(), container.collection()["updated"]
    container.put("year_0/scene_000.tif", "rmnp-dem.tif")
    (container.folder / "year_1/scene_001.tif").unlink()
    container.put("new.tif")

    result = container.sync()

    assert counts(result) == (1, 1, 4, 1, 0)
    assert container.items()["year_0__scene_000"]["properties"]["proj:code"] == "EPSG:4326"
    after = container.rows()
    assert {key for key in before if after.get(key) == before[key]} == {
        f"year_{number % 3}__scene_{number:03}" for number in range(2, 6)
    }
    assert "year_1__scene_001" not in after
    assert container.collection()["updated"] > updated


def test_a_renamed_raster_moves_its_item(container: Container) -> None:
    path = container.put("old.tif")
    container.sync()

    path.rename(container.folder / "new.tif")
    result = container.sync()

    assert (counts(result), list(container.items())) == ((1, 0, 0, 1, 0), ["new"])


def test_what_is_gone_stays_when_nothing_may_be_removed(container: Container) -> None:
    container.put("a.tif").unlink()
    container.put("b.tif")
    container.sync()
    (container.folder / "b.tif").unlink()

    result = container.sync(remove=False)

    assert (counts(result), list(container.items())) == ((0, 0, 0, 0, 0), ["b"])


def test_a_prefix_touches_nothing_beside_it(container: Container) -> None:
    container.put("a/x.tif")
    container.put("b/y.tif")
    container.sync(prefix="a/")
    container.sync(prefix="b/")
    (container.folder / "a/x.tif").unlink()

    result = container.sync(prefix="b/")

    assert (counts(result), sorted(container.items())) == ((0, 0, 1, 0, 0), ["a__x", "b__y"])


# Rasters that can't be catalogued


@pytest.fixture
def broken(container: Container) -> Container:
    """Two good rasters beside a text, an unplaced one, a VRT, bytes for a name, an empty file."""
    container.put("good.tif")
    (container.folder / "text.tif").write_text("this is no raster")
    container.put("unplaced.tif", "mono4s.tif")
    secret = container.put("other/secret.tif")
    (container.folder / "disguised.tif").write_text(
        f'<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    (container.folder / "empty.tif").touch()
    container.put("name.tif")
    with rasterio.open(container.folder / "name.tif", "r+") as dataset:
        dataset.set_band_description(1, "QQQQ")
    content = (container.folder / "name.tif").read_bytes()
    (container.folder / "name.tif").write_bytes(content.replace(b"QQQQ", b"Q\xff\xfeQ"))
    return container


def test_an_unreadable_raster_is_named_and_stops_no_other(broken: Container) -> None:
    result = broken.sync()

    reasons = {one["blob"].rpartition("/")[2]: one["reason"] for one in result["failures"]}
    assert counts(result) == (2, 0, 0, 0, 5)
    assert sorted(reasons) == ["disguised.tif", "empty.tif", "name.tif", "text.tif", "unplaced.tif"]
    assert "no geotransform" in reasons["unplaced.tif"]
    assert "a TIFF" in reasons["disguised.tif"]


def test_a_raster_that_became_unreadable_has_no_item_any_more(container: Container) -> None:
    path = container.put("a.tif")
    container.sync()
    path.write_bytes(b"II*\0" + b"\xff" * 400)

    result = container.sync()

    assert (counts(result), container.items()) == ((0, 0, 0, 1, 1), {})


# Names


NAMES = [
    "a.tif",
    "A.tif",
    "a.TIF",
    "a.tiff",
    "x/a.tif",
    "x__a.tif",
    "x_a.tif",
    "Übersicht & Höhe?.tif",
    "高程.tif",
    "with space.tif",
    "a:b@c.tif",
    "x/y/z/a.tif",
]


def test_rasters_of_any_name_have_items_of_their_own(container: Container) -> None:
    for name in NAMES:
        container.put(name)

    result = container.sync()

    ids = container.items()
    assert counts(result) == (len(NAMES), 0, 0, 0, 0)
    assert {item["properties"]["geo_etl:blob"] for item in ids.values()} == {
        f"{container.name}/{name}" for name in NAMES
    }
    assert [one for one in ids if not re.fullmatch(r"[A-Za-z0-9_.-]+", one)] == []


def test_a_name_that_is_no_text_is_reported(container: Container) -> None:
    container.put("good.tif").rename(container.folder / "b\udcffd.tif")

    result = container.sync()

    assert counts(result) == (0, 0, 0, 0, 1)
    assert "UTF-8" in result["failures"][0]["reason"]


# What is somebody else's


def test_an_item_of_an_ingest_is_left_as_it_is(container: Container) -> None:
    container.put("mine.tif")
    container.put("theirs.tif")
    theirs = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "theirs",
        "collection": container.name,
        "geometry": {"type": "Point", "coordinates": [5.0, 50.0]},
        "bbox": [5.0, 50.0, 5.0, 50.0],
        "properties": {"datetime": "2024-01-01T00:00:00Z"},
        "links": [],
        "assets": {},
    }
    with container.engine.begin() as connection:
        pgstac.ensure_collection(connection, open_raster_collection(container.name))
        pgstac.upsert_item(connection, theirs)
    before = container.rows()

    result = container.sync()
    (container.folder / "theirs.tif").unlink()
    container.sync()

    assert counts(result) == (1, 0, 0, 0, 1)
    assert "published layer" in result["failures"][0]["reason"]
    assert container.rows()["theirs"] == before["theirs"]


def test_the_collection_of_a_published_set_is_refused(
    container: Container, storage: LocalBlobs
) -> None:
    container.put("a.tif")
    Site(container.engine, storage).ingest(manifest(container.name, tiles=2))
    before = container.rows()

    result = run("sync_container", "plan_container", {"container": container.name})

    assert not result.success
    assert f"STAC collection {container.name}: it belongs to the rasters" in failure_of(result)
    assert container.rows() == before


def test_files_of_published_layers_are_left_out(container: Container, storage: LocalBlobs) -> None:
    container.put("rasters/layer/file.tif")
    container.put("own.tif")
    silver = BlobStorageResource(url=storage.root.as_uri(), silver_container=container.name)

    result = container.sync(resources={"blobs": silver})

    assert (list(container.items()), result["left_out_published"]) == (["own"], 1)


# Bad use


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"container": "no-such"}, "it does not exist"),
        ({"suffixes": [".vrt"]}, "'vrt' is no raster"),
        ({"collection_id": "a/b"}, "it is no legal id"),
        ({"max_files": 1}, "it holds more than 1 rasters"),
    ],
)
def test_bad_use_is_told(container: Container, config: dict[str, Any], said: str) -> None:
    container.fill(2)
    result = run("sync_container", "plan_container", {"container": container.name, **config})
    assert said in failure_of(result)


# Faults


@pytest.fixture
def outsider(container: Container) -> sa.Engine:
    """Connections that the project knows nothing of."""
    return sa.create_engine(container.engine.url, poolclass=sa.pool.NullPool)


def kill_the_one_that_waits(outsider: sa.Engine) -> None:
    """Terminate the backend that waits for an advisory lock, as an administrator would."""
    kill = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'"
        " AND datname = current_database()"
    )
    killed: list[Any] = []
    with outsider.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not killed:
            killed = list(connection.execute(kill))


def test_a_sync_that_lost_its_connection_goes_on_where_it_was(
    container: Container, storage: LocalBlobs, outsider: sa.Engine
) -> None:
    container.fill(9)
    plan, slices = plan_sync(storage, container.engine, order(container))
    part = Slice(0, tuple(one for some in slices for one in some.todo))
    killer = threading.Thread(target=kill_the_one_that_waits, args=[outsider])

    with outsider.connect() as connection:

        def after_a_batch(_: str) -> None:
            lock(connection, f"collection {container.name}")
            killer.start()

        with pytest.raises(sa.exc.OperationalError) as caught:
            sync_slice(storage, container.engine, plan.order, part, after_a_batch)
    killer.join()
    done, updated = container.rows(), container.collection()["updated"]

    result = whole_sync(container, storage)

    assert updated < container.collection()["updated"]
    assert is_transient(caught.value)
    assert len(done) == 3
    assert (result.added, result.unchanged) == (6, 3)
    rows = container.rows()
    assert len(rows) == 9
    assert done.items() <= rows.items()


def test_a_task_that_is_tried_again_counts_what_it_did_before(
    container: Container, storage: LocalBlobs
) -> None:
    container.fill(4)
    plan, slices = plan_sync(storage, container.engine, order(container, 2))
    for part in slices:
        sync_slice(storage, container.engine, plan.order, part, lambda _: None)
    before = container.rows()

    def unexpected() -> None:
        raise AssertionError("a raster is read that was done")

    unread = Interrupted(storage, unexpected, slices[0].todo[0].name.partition("/")[2])
    again = [
        sync_slice(unread, container.engine, plan.order, part, lambda _: None) for part in slices
    ]

    assert sum(report.added for report in again) == 4
    assert container.rows() == before


def test_a_sync_that_began_earlier_does_not_undo_a_later_one(
    container: Container, storage: LocalBlobs
) -> None:
    container.put("a.tif", "utm.tif")
    early, slices = plan_sync(storage, container.engine, order(container))
    container.put("a.tif", "rmnp-dem.tif")
    container.put("b.tif")
    whole_sync(container, storage)
    later = container.rows()

    reports = [
        sync_slice(storage, container.engine, early.order, part, lambda _: None) for part in slices
    ]
    finish_sync(container.engine, early, reports, lambda _: None)

    assert container.rows() == later
    assert container.items()["a"]["properties"]["proj:code"] == "EPSG:4326"


def test_what_another_sync_adds_while_this_one_lists_is_not_taken_for_gone(
    container: Container, storage: LocalBlobs
) -> None:
    container.put("a.tif")

    def meanwhile() -> None:
        container.put("b.tif")
        whole_sync(container, storage)

    result = whole_sync(container, Interrupted(storage, meanwhile, None))

    assert result.removed == 0
    assert sorted(container.items()) == ["a", "b"]


def test_what_another_sync_updates_while_this_one_reads_stays(
    container: Container, storage: LocalBlobs
) -> None:
    container.put("a.tif", "utm.tif")
    container.put("b.tif")

    def meanwhile() -> None:
        container.put("a.tif", "rmnp-dem.tif")
        whole_sync(container, storage)

    whole_sync(container, Interrupted(storage, meanwhile, "b.tif"))

    assert container.items()["a"]["properties"]["proj:code"] == "EPSG:4326"


def test_an_item_that_is_published_while_a_sync_reads_is_left_as_it_is(
    container: Container, storage: LocalBlobs, unique: str
) -> None:
    container.put("a.tif")
    plan = manifest(f"{container.name}/a", source=f"bronze/{unique}.tif")

    def meanwhile() -> None:
        Site(container.engine, storage).ingest(plan)

    whole_sync(container, Interrupted(storage, meanwhile, "a.tif"))

    assert "geo_etl:blob" not in container.items()["a"]["properties"]


def test_an_item_that_is_published_after_the_plan_is_left_as_it_is(
    container: Container, storage: LocalBlobs, unique: str
) -> None:
    container.put("a.tif")
    plan, (part,) = plan_sync(storage, container.engine, order(container))
    Site(container.engine, storage).ingest(
        manifest(f"{container.name}/a", source=f"bronze/{unique}.tif")
    )

    report = sync_slice(storage, container.engine, plan.order, part, lambda _: None)

    assert "published layer" in report.problems[0].reason
    assert "geo_etl:blob" not in container.items()["a"]["properties"]


def test_a_raster_that_came_back_keeps_its_item(container: Container, storage: LocalBlobs) -> None:
    path = container.put("a.tif")
    whole_sync(container, storage)
    path.unlink()
    early, _ = plan_sync(storage, container.engine, order(container))
    container.put("a.tif", "utm.tif")
    whole_sync(container, storage)

    result = finish_sync(container.engine, early, [], lambda _: None)

    assert (result.removed, list(container.items())) == (0, ["a"])


def test_a_raster_that_is_replaced_while_it_is_read_is_told_and_done_next_time(
    container: Container, storage: LocalBlobs
) -> None:
    container.put("a.tif", "utm.tif")

    def meanwhile() -> None:
        container.put("a.tif", "rmnp-dem.tif")

    first = whole_sync(container, Interrupted(storage, meanwhile, "a.tif"))
    second = whole_sync(container, storage)

    assert "was replaced" in first.failed[0].reason
    assert (second.added, second.failed) == (1, ())
    assert container.items()["a"]["properties"]["proj:code"] == "EPSG:4326"


def test_a_raster_that_goes_while_it_is_read_is_told_and_stops_no_other(
    container: Container, storage: LocalBlobs
) -> None:
    path = container.put("a.tif")
    container.put("b.tif")

    result = whole_sync(container, Interrupted(storage, path.unlink, "a.tif"))

    assert "no such blob" in result.failed[0].reason
    assert list(container.items()) == ["b"]


def test_a_raster_that_became_unreadable_is_still_told_when_its_task_is_tried_again(
    container: Container, storage: LocalBlobs
) -> None:
    path = container.put("a.tif")
    whole_sync(container, storage)
    path.write_bytes(b"II*\0" + b"\xff" * 400)
    plan, (part,) = plan_sync(storage, container.engine, order(container))

    first, again = (
        sync_slice(storage, container.engine, plan.order, part, lambda _: None) for _ in range(2)
    )

    assert first == again
    assert (again.removed, again.updated, len(again.problems)) == (1, 0, 1)


# Python's filters of warnings are those of the process: in threads nothing is filtered.
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_syncs_at_the_same_time_leave_every_item_once_and_right(
    container: Container, storage: LocalBlobs
) -> None:
    paths = container.fill(15)
    with ThreadPoolExecutor(3) as pool:
        started = [pool.submit(whole_sync, container, storage, 2) for _ in range(3)]
        results = [one.result() for one in started]

    assert [result.failed for result in results] == [(), (), ()]
    assert len(container.rows()) == len(paths)
    assert counts(container.sync()) == (0, 0, 15, 0, 0)


# Many


def test_ten_thousand_rasters_are_planned_in_few_tasks(
    container: Container, storage: LocalBlobs
) -> None:
    first = container.put("0/00000.tif")
    for number in range(1, 10_000):
        target = container.folder / f"{number % 7}/{number:05}.tif"
        target.parent.mkdir(exist_ok=True)
        target.hardlink_to(first)
    wanted = order_of(
        container.name,
        "",
        None,
        ["tif"],
        batch_size=500,
        remove=True,
        max_files=10_000,
        own_container="silver",
    )

    plan, slices = plan_sync(storage, container.engine, wanted)

    assert (plan.files, plan.unchanged, plan.problems) == (10_000, 0, ())
    assert sum(len(part.todo) for part in slices) == 10_000
    assert 1 < len(slices) <= 20
