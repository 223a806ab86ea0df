"""Raster layers in the database, and their blobs in silver."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from geo_etl.errors import StorageError
from geo_etl.raster import history, ledger, publish
from geo_etl.raster.discards import discard_outputs, discarded, forget_discarded, orphans
from geo_etl.raster.layers import (
    Version,
    current_version,
    find_versions,
    published_version,
    versions_of,
)
from geo_etl.raster.loads import RASTERS, drop_loads
from geo_etl.raster.manifest import PieceReport
from geo_etl.raster.outputs import blobs_of, reports_of
from geo_etl.raster.publish import Candidate, Change
from geo_etl.resources import pgstac
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.stac_extents import refresh_extent
from geo_etl.resources.stac_items import delete_items, write_items
from geo_etl.spec import SourceRef


def catalogue(connection: sa.Connection, changes: Sequence[Change]) -> None:
    """Let the STAC catalogue follow publishes, a rollback or the end of layers."""
    together: dict[str, list[Change]] = {}
    for change in changes:
        together.setdefault(change.collection_id, []).append(change)
    for collection_id, of_one in sorted(together.items()):
        _catalogue_one(connection, collection_id, of_one)


def _catalogue_one(
    connection: sa.Connection, collection_id: str, changes: Sequence[Change]
) -> None:
    owned = [change for change in changes if change.owns_collection]
    opened = [change.collection for change in changes if change.collection is not None]
    if owned and owned[-1].collection is not None:
        pgstac.upsert_collection(connection, owned[-1].collection)
        pgstac.register_search(connection, collection_id)
    elif opened:
        pgstac.ensure_collection(connection, opened[-1])
    items: dict[str, dict[str, Any] | None] = {}
    for change in changes:
        items |= dict.fromkeys(change.removed_items)
        items |= {item["id"]: item for item in change.items}
    write_items(connection, collection_id, [item for item in items.values() if item is not None])
    gone = [item_id for item_id, item in items.items() if item is None]
    delete_items(connection, collection_id, gone)
    if not owned:
        refresh_extent(connection, collection_id)
    elif owned[-1].collection is None:
        pgstac.forget_searches(connection, collection_id)
        pgstac.delete_collection(connection, collection_id)


@dataclass(frozen=True)
class Rasters:
    """The raster layers of one database."""

    engine: sa.Engine

    def published(self, **where: Any) -> list[Version]:
        """Versions that readers see, filtered by columns of the ledger (`source=…`)."""
        with self.engine.connect() as connection:
            return find_versions(connection, current=True, **where)

    def current(self, layer: str) -> Version | None:
        """The version of a layer that readers see; None when it is not published."""
        with self.engine.connect() as connection:
            return current_version(connection, layer)

    def named(self, layer: str) -> Version:
        """The version of a layer that readers see.

        Raises:
            PublishError: geo_etl publishes no such layer.
        """
        with self.engine.connect() as connection:
            return published_version(connection, layer)

    def versions(self, layer: str) -> list[Version]:
        """All versions of a layer, the oldest first."""
        with self.engine.connect() as connection:
            return versions_of(connection, layer)

    def reports(self, version: Version) -> list[PieceReport]:
        """What the tasks of a version made, in their order; none when its files are gone."""
        if version.load_id is None:
            return []
        with self.engine.connect() as connection:
            return reports_of(connection, version.load_id)

    def published_jobs(self) -> dict[str, list[tuple[str, str]]]:
        """Fingerprint and job id of all that readers see, by source."""
        shown = ledger.publication.c
        found: dict[str, list[tuple[str, str]]] = {}
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(shown.source, shown.fingerprint, shown.job_id).where(shown.current)
            )
            for source, fingerprint, job_id in rows:
                found.setdefault(source, []).append((fingerprint, job_id))
        return found

    def done(self, job_id: str, storage: BlobStorage) -> dict[str, Any] | None:
        """The stored result of a job whose files readers see, all of them; None otherwise."""
        shown = [version for version in self.published(job_id=job_id) if version.result is not None]
        if not shown or any(self.missing_blobs(version, storage) for version in shown):
            return None
        return shown[-1].result

    def missing_blobs(self, version: Version, storage: BlobStorage) -> list[str]:
        """Blobs of a version that somebody took out of silver."""
        with self.engine.connect() as connection:
            wanted = set(blobs_of(connection, version.load_id)) if version.load_id else set()
        folders = {SourceRef.parse(path).path.rpartition("/")[0] for path in wanted}
        containers = {SourceRef.parse(path).container for path in wanted}
        there = {
            str(blob.ref)
            for container in containers & set(storage.containers())
            for folder in folders
            for page in storage.pages(container, f"{folder}/")
            for blob in page
        }
        return sorted(wanted - there)

    def publish(
        self, candidates: Sequence[Candidate], keep: int, removed: Sequence[str] = ()
    ) -> list[Version]:
        """See `geo_etl.raster.publish.publish`."""
        return publish.publish(self.engine, candidates, catalogue, keep, removed)

    def rollback(self, layer: str, number: int | None) -> Version:
        """See `geo_etl.raster.history.rollback`."""
        return history.rollback(self.engine, layer, number, catalogue)

    def unpublish(self, layer: str) -> Version:
        """See `geo_etl.raster.history.unpublish`."""
        return history.unpublish(self.engine, layer, catalogue)

    def store_result(self, version: Version, result: dict[str, Any]) -> None:
        """Keep the result document of a job whose publish was verified."""
        with self.engine.begin() as connection:
            publish.store_result(connection, version, result)

    def remove_discarded(self, storage: BlobStorage) -> int:
        """Remove the blobs that are noted to be removed; how many were noted.

        Called after every verb that may have noted some. Who dies before, or while, it is called
        leaves the rest to the next.
        """
        with self.engine.connect() as connection:
            paths = discarded(connection)
        _delete(storage, paths)
        with self.engine.begin() as connection:
            forget_discarded(connection, paths)
        return len(paths)

    def drop_unfinished_loads(self, before: datetime, running: set[str]) -> int:
        """Drop loads begun before a time and not published, save those of running jobs.

        What attempts that died have noted for a published load is given up too.
        """
        with self.engine.begin() as connection:
            stale = connection.execute(
                sa.select(ledger.load.c.id)
                .where(
                    ledger.load.c.state == "making",
                    ledger.load.c.created_at < before,
                    ledger.load.c.run_job_id.not_in(running),
                )
                # One that is published at this moment is none of them any more.
                .with_for_update()
            ).scalars()
            ids = stale.all()
            drop_loads(connection, ids)
            noted, load = ledger.output.c, ledger.load.c
            others = sa.select(load.id).where(
                load.state == "published", load.run_job_id.not_in(running)
            )
            discard_outputs(
                connection,
                sa.and_(~noted.kept, noted.created_at < before, noted.load_id.in_(others)),
            )
        return len(ids)

    def abandon_run(self, job_id: str) -> None:
        """Drop what a run has made and will not publish."""
        with self.engine.begin() as connection:
            mine = sa.select(ledger.load.c.id).where(
                ledger.load.c.run_job_id == job_id, ledger.load.c.state == "making"
            )
            drop_loads(connection, connection.execute(mine).scalars().all())

    def remove_orphans(self, storage: BlobStorage, container: str) -> int:
        """Remove rasters' blobs that belong to nothing published or on its way; how many.

        There are some where a process that was thought dead went on writing, and then died.
        """
        if container not in storage.containers():
            return 0
        count = 0
        for page in storage.pages(container, f"{RASTERS}/"):
            with self.engine.connect() as connection:
                lost = orphans(connection, [str(blob.ref) for blob in page])
            _delete(storage, lost)
            count += len(lost)
        return count


def _delete(storage: BlobStorage, paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(StorageError):  # it was never written, or somebody else was faster
            storage.delete(SourceRef.parse(path))
