"""Storage that fails at any one of its calls: a raster is published as a whole or not at all."""

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
    verb: str, run: Any, broken: Broken, bronze: Path, engine: sa.Engine, unique: str
) -> None:
    key = f"bronze/{unique}/a.tif"
    send(bronze / unique, 0)
    assert run("raster", key).success
    send(bronze / unique, 1)
    number, failed = 0, 0
    while True:
        number += 1
        broken.fail_at(verb, number)
        before = versions_seen(engine, unique)
        # Again from the beginning: a job that is continued makes fewer calls.
        result = run("raster", key, force=True)
        if not broken.has_failed:
            break
        failed += not result.success
        seen = versions_seen(engine, unique)
        assert seen in (before, [1])
        assert result.success <= (seen == [1])
    print("CALLS", verb, number - 1, failed)
    broken.mend()
    assert result.success, failure_of(result)
    again = run("raster", key)
    assert again.success, failure_of(again)
    assert versions_seen(engine, unique) == [1]
    assert_no_orphan(engine, bronze, unique)
