"""The arrival sensor on a container of its own, tick by tick."""

import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    SensorResult,
    SkipReason,
    build_sensor_context,
)

from geo_etl.jobs.entries import ENTRIES, Work
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.postgis import PostGISResource
from geo_etl.sensors.arrivals import bronze_arrivals
from geo_etl_tests.made import squares, write


class Ticks:
    """A container of its own, and the sensor on it: `tick()` gives the sources it asks for."""

    def __init__(self, stack: Any, container: str) -> None:
        self.folder = stack.home / "blobs" / container
        self.folder.mkdir()
        self.container = container
        self.instance = DagsterInstance.ephemeral()
        self.cursor: str | None = None
        self.blobs = BlobStorageResource(url=stack.storage_url, bronze_container=container)

    def tick(self) -> list[str]:
        context = build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"blobs": self.blobs, "postgis": PostGISResource()},
        )
        result = bronze_arrivals(context)
        if isinstance(result, SkipReason):
            self.cursor = context.cursor
            return []
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor
        self.requests: list[RunRequest] = list(result.run_requests or [])
        keys = [str(request.partition_key) for request in self.requests]
        registered = []
        for partitions in result.dynamic_partitions_requests or []:
            added = list(partitions.partition_keys)
            registered += added
            # As the daemon does.
            self.instance.add_dynamic_partitions(partitions.partitions_def_name, added)
        assert sorted(registered) == sorted(keys)
        return [key.removeprefix(f"{self.container}/") for key in keys]

    @property
    def asked(self) -> dict[str, str]:
        """Jobs of the last requests, by key within the container."""
        prefix = f"{self.container}/"
        return {
            str(request.partition_key).removeprefix(prefix): str(request.job_name)
            for request in self.requests
        }

    def run(self, work: Work, path: str) -> DagsterRun:
        """A run that somebody has started, and that has not ended."""
        key = f"{self.container}/{path}" if path else self.container
        entry = ENTRIES[work]
        self.instance.add_dynamic_partitions(str(entry.partitions.name), [key])
        run = DagsterRun(
            job_name=entry.job,
            run_id=str(uuid.uuid4()),
            status=DagsterRunStatus.STARTED,
            tags={"dagster/partition": key},
        )
        added = self.instance.add_run(run)
        # The time of a file is up to some milliseconds behind that of the clock.
        started, probe = time.time(), self.folder.parent / f"{self.container}.probe"
        while not probe.exists() or probe.stat().st_mtime <= started:
            probe.touch()
        probe.unlink()
        return added

    def end(self, run: DagsterRun) -> None:
        """Let a run end well."""
        self.instance.report_dagster_event(
            DagsterEvent(DagsterEventType.PIPELINE_SUCCESS.value, run.job_name), run.run_id
        )

    def put(self, name: str, count: int = 2) -> Path:
        path = self.folder / name
        if path.suffix == ".shp":
            path.parent.mkdir(parents=True, exist_ok=True)
            return write(path, squares(count))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name("partial.tmp.gpkg")
        write(partial, squares(count))
        shutil.move(partial, path)
        return path
