"""Containers of tiny real rasters, and the jobs that catalogue them, in this process."""

import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dagster import DagsterInstance

from geo_etl.definitions import build_definitions
from geo_etl_tests.conftest import failure_of

TINY = ("test_esri_wkt.tif", "inverted_lat.tif", "utm.tif", "RGBA.uint16.tif", "rmnp-dem.tif")
"""Of the shared rasters, in kilobytes: 1, 10, 12, 23, 55."""


class Container:
    """A container of the local storage, and a collection of its own."""

    def __init__(self, home: Path, name: str, rasters: Path, engine: sa.Engine) -> None:
        self.name, self.engine, self._rasters = name, engine, rasters
        self.folder = home / "blobs" / name
        self.folder.mkdir()

    def put(self, path: str, raster: str = "test_esri_wkt.tif") -> Path:
        """Copy one of the shared rasters there."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._rasters / raster, target)
        return target

    def fill(self, count: int) -> list[str]:
        """Tiny rasters in folders; their paths."""
        paths = [f"year_{number % 3}/scene_{number:03}.tif" for number in range(count)]
        for number, path in enumerate(paths):
            self.put(path, TINY[number % len(TINY)])
        return paths

    def sync(self, resources: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
        """Run `sync_container`; its result."""
        result = run(
            "sync_container", "plan_container", {"container": self.name, **config}, resources
        )
        assert result.success, failure_of(result)
        document: dict[str, Any] = result.output_for_node("finish_container")
        return document

    def items(self) -> dict[str, dict[str, Any]]:
        """The items of the collection, whole, by their ids."""
        query = sa.text(
            "SELECT id, pgstac.get_item(id, collection) AS item FROM pgstac.items"
            " WHERE collection = :id"
        )
        with self.engine.connect() as connection:
            return {row.id: row.item for row in connection.execute(query, {"id": self.name})}

    def rows(self) -> dict[str, str]:
        """Which transaction wrote each item."""
        query = sa.text("SELECT id, xmin::text AS writer FROM pgstac.items WHERE collection = :id")
        with self.engine.connect() as connection:
            return {row.id: row.writer for row in connection.execute(query, {"id": self.name})}

    def collection(self) -> dict[str, Any]:
        query = sa.text("SELECT pgstac.get_collection(:id)")
        with self.engine.connect() as connection:
            found: dict[str, Any] = connection.execute(query, {"id": self.name}).scalar_one()
        return found


def counts(result: dict[str, Any]) -> tuple[int, ...]:
    """Added, updated, unchanged, removed, failed."""
    keys = ("added", "updated", "unchanged", "removed", "failed")
    return tuple(result[key] for key in keys)


def run(job: str, op: str, config: dict[str, Any], resources: dict[str, Any] | None = None) -> Any:
    """Run a job in this process; Dagster's result object."""
    with DagsterInstance.ephemeral() as instance:
        definitions = build_definitions(**(resources or {}))
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={
                "ops": {op: {"config": config}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
