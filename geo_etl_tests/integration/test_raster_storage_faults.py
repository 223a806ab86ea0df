"""Storage that fails at any one of its calls: a raster is published as a whole or not at all."""

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import sqlalchemy as sa

from geo_etl.resources.blob_storage import BlobStorageResource, open_storage
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.rasters import Rasters
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.raster_sources import write

VERBS = ("stat", "pages", "read", "local", "write", "delete")
SIDE = 60


class Broken:
    """Storage of which one call fails.

    Attributes:
        verb: of the call; None: all is well.
        number: of the call, counted from 1 by verb.
        error: what it raises.
        calls: that were made.
    """

    def __init__(self, storage: BlobStorage) -> None:
        self._storage = storage
        self.mend()

    def mend(self) -> None:
        """All is well from now on, and calls are counted anew."""
        self.fail_at(None, 0)

    def fail_at(self, verb: str | None, number: int, error: type[OSError] = OSError) -> None:
        """The so manieth call of a verb fails."""
        self.verb, self.number, self.error = verb, number, error
        self.calls: Counter[str] = Counter()

    @property
    def has_failed(self) -> bool:
        return self.verb is not None and self.calls[self.verb] >= self.number

    def _count(self, verb: str) -> None:
        self.calls[verb] += 1
        if (verb, self.calls[verb]) == (self.verb, self.number):
            raise self.error("the storage is broken")

    @contextmanager
    def write(self, *arguments: Any) -> Iterator[Any]:
        """Fails when the blob is about to appear."""
        with self._storage.write(*arguments) as file:
            yield file
            self._count("write")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if name not in VERBS:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._count(name)
            return found(*arguments, **named)

        return call


@pytest.fixture
def broken(stack: Any) -> Broken:
    return Broken(open_storage(stack.storage_url))


@pytest.fixture
def run(run_asset: Callable[..., Any], broken: Broken, stack: Any, unique: str) -> Any:
    """Process a raster or a folder of rasters as UNIQUE, on the broken storage."""

    class BrokenStorage(BlobStorageResource):
        @property
        def storage(self) -> Any:
            return broken

    resources = {"blobs": BrokenStorage(url=stack.storage_url)}

    def start(work: str, key: str, *, force: bool = False, **spec: Any) -> Any:
        spec = {"collection_id": unique, "target_crs": "native", **spec}
        return run_asset(work, key, force=force, resources=resources, **spec)

    return start


def pixels_of(version: int) -> np.ndarray:
    ramp = np.arange(SIDE * SIDE, dtype="uint16").reshape(1, SIDE, SIDE)
    return ramp + np.uint16(version * SIDE * SIDE)


def send(folder: Path, version: int, name: str = "a.tif") -> None:
    folder.mkdir(exist_ok=True)
    write(folder / name, pixels_of(version))


def versions_seen(engine: sa.Engine, collection: str) -> list[int]:
    """Of every item of a collection, by their ids, which version its file is; all of it."""
    with engine.connect() as connection:
        items = connection.execute(
            sa.text(
                "SELECT pgstac.get_item(id, collection) FROM pgstac.items WHERE collection = :id"
                " ORDER BY id"
            ),
            {"id": collection},
        ).scalars()
        return [_version(item) for item in items]


def _version(item: dict[str, Any]) -> int:
    assets = [one for one in item["assets"].values() if "source" not in one["roles"]]
    paths = [Path(asset["href"].removeprefix("file://")) for asset in assets]
    assert all(path.stat().st_size for path in paths)
    (cog,) = (path for path in paths if path.suffix == ".tif")
    with rasterio.open(cog) as file:
        found = file.read()
    version = int(found[0, 0, 0]) // (SIDE * SIDE)
    np.testing.assert_array_equal(found, pixels_of(version))
    return version


def assert_no_orphan(engine: sa.Engine, bronze: Path, layer: str) -> None:
    """Once what is noted to be removed is removed, silver has what can be restored, no more."""
    blobs = bronze.parent
    rasters = Rasters(engine)
    rasters.remove_discarded(open_storage(blobs.as_uri()))
    with engine.connect() as connection:
        kept = connection.execute(
            sa.text(
                "SELECT path FROM geo_etl.raster_output JOIN geo_etl.raster_publication"
                " USING (load_id) WHERE split_part(layer, '/', 1) = :layer"
            ),
            {"layer": layer},
        ).scalars()
        expected = set(kept)
    folder = blobs / "silver" / "rasters" / layer
    found = {str(path.relative_to(blobs)) for path in folder.rglob("*") if path.is_file()}
    assert found == expected


@pytest.mark.parametrize("verb", VERBS)
def test_a_raster_is_whole_or_as_it_was_whatever_call_fails(
    verb: str,
    run: Any,
    broken: Broken,
    stack: Any,
    monkeypatch: pytest.MonkeyPatch,
    bronze: Path,
    engine: sa.Engine,
    unique: str,
) -> None:
    # Every publish has blobs to remove.
    monkeypatch.setattr(stack, "versions_kept", 1)
    key = f"bronze/{unique}/a.tif"
    send(bronze / unique, 0)
    assert run("raster", key).success
    send(bronze / unique, 1)
    reached = 0
    while True:
        broken.fail_at(verb, reached + 1)
        before = versions_seen(engine, unique)
        # Again from the beginning: a job that is continued makes fewer calls.
        result = run("raster", key, force=True)
        seen = versions_seen(engine, unique)
        if not broken.has_failed:
            break
        reached += 1
        assert seen in (before, [1])
        assert not result.success or seen == [1]
    assert reached
    assert result.success, failure_of(result)
    assert_no_orphan(engine, bronze, unique)


def test_what_may_pass_is_tried_again_in_the_same_run(
    run: Any, broken: Broken, bronze: Path, engine: sa.Engine, unique: str
) -> None:
    send(bronze / unique, 0)
    broken.fail_at("write", 1, ConnectionResetError)
    result = run("raster", f"bronze/{unique}/a.tif")
    assert broken.has_failed
    assert result.success, failure_of(result)
    assert versions_seen(engine, unique) == [0]
    assert_no_orphan(engine, bronze, unique)


@pytest.mark.parametrize("number", [2, 5])
def test_members_that_are_done_are_not_made_again(
    number: int, run: Any, broken: Broken, bronze: Path, engine: sa.Engine, unique: str
) -> None:
    def write_members(version: int) -> None:
        for name in "abc":
            send(bronze / unique, version, f"{name}.tif")

    def made() -> dict[str, str]:
        """Members that are made, each with the transaction that said so."""
        with engine.connect() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT layer, raster_piece.xmin::text AS xmin FROM geo_etl.raster_piece"
                    " JOIN geo_etl.raster_load ON raster_load.id = load_id"
                    " WHERE layer ^@ :name AND job_id <> ALL (:shown) AND report IS NOT NULL"
                ),
                {"name": f"{unique}/", "shown": shown},
            )
            return {row.layer: row.xmin for row in rows}

    shown: list[str] = []
    write_members(0)
    assert run("collection", f"bronze/{unique}").success
    with engine.connect() as connection:
        query = sa.text("SELECT job_id FROM geo_etl.raster_publication WHERE layer ^@ :name")
        shown += connection.execute(query, {"name": unique}).scalars()
    write_members(1)
    broken.fail_at("write", number)  # a member takes three: its file, its picture, its report
    assert not run("collection", f"bronze/{unique}").success
    assert versions_seen(engine, unique) == [0, 0, 0]
    done = made()

    broken.mend()
    assert run("collection", f"bronze/{unique}").success
    assert versions_seen(engine, unique) == [1, 1, 1]
    assert len(done) == 1
    assert done.items() <= made().items()
    assert_no_orphan(engine, bronze, unique)


def test_no_room_for_temporary_files_is_said_before_a_task_begins(
    run: Any, bronze: Path, engine: sa.Engine, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(bronze / unique, 0)
    full = type(shutil.disk_usage("/"))(10**12, 10**12 - 1000, 1000)
    monkeypatch.setattr("geo_etl.raster.ingest.shutil.disk_usage", lambda _: full)
    result = run("raster", f"bronze/{unique}/a.tif")
    assert "Make room in the folder for temporary files (TMPDIR)" in failure_of(result)
    assert versions_seen(engine, unique) == []
    assert_no_orphan(engine, bronze, unique)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only who may mount can make a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("target", ["native", "EPSG:4326"])
def test_disk_that_fills_in_mid_task_leaves_nothing(
    target: str,
    run: Any,
    small_disk: Path,
    bronze: Path,
    engine: sa.Engine,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (bronze / unique).mkdir()
    noise = np.random.default_rng(3).integers(0, 60_000, (1, 900, 900), dtype="uint16")
    write(bronze / unique / "a.tif", noise)
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(small_disk))
        # Others fill the disk after the task has looked: it is large when it is asked first.
        room, sizes = shutil.disk_usage, iter([shutil.disk_usage("/")])
        patch.setattr(
            "geo_etl.raster.ingest.shutil.disk_usage", lambda folder: next(sizes, room(folder))
        )
        failed = run("raster", f"bronze/{unique}/a.tif", target_crs=target)
        said = failure_of(failed)
        assert not failed.success
        assert "Make room in the folder for temporary files (TMPDIR)" in said
        assert list(small_disk.iterdir()) == []
    assert_no_orphan(engine, bronze, unique)
    assert run("raster", f"bronze/{unique}/a.tif", target_crs=target).success
