"""The asset of vector sources: plan → load tasks → publish → verify.

Re-execution from failure can lose mapped steps and report success. So `plan` hands `publish`
the manifest beside the chunks, and `publish` refuses unless the ledger in the database accounts
for every chunk of it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

import sqlalchemy as sa
from dagster import (
    AssetCheckResult,
    DynamicOut,
    DynamicOutput,
    OpExecutionContext,
    Out,
    Output,
    config_mapping,
    graph_asset,
    op,
)

from geo_etl.assets.checks import (
    ASSET,
    CHECK_SPECS,
    CHECKS,
    catalogued,
    conserved,
    features_served,
)
from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.assets.metadata import table_metadata
from geo_etl.assets.outcome import result_of, table_facts
from geo_etl.assets.runs import JOB_ID_TAG, IngestConfig, begin_run, register
from geo_etl.assets.serving_checks import check_outputs, stac_served
from geo_etl.assets.side_output import (
    discard_side_output,
    report_ref,
    write_geoparquet,
    write_report,
)
from geo_etl.assets.table_serving import see_tables
from geo_etl.catalog.validate import validate
from geo_etl.catalog.vectors import vector_collection, vector_item
from geo_etl.errors import ConservationError, TransientError
from geo_etl.ingest.clock import Clock, Span
from geo_etl.ingest.lock import lock_collections
from geo_etl.partitions import vector_sources
from geo_etl.report.result import VectorResult
from geo_etl.resources import pgstac
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import delete_below
from geo_etl.resources.postgis import PostGISResource, Shown
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.sources import (
    identify,
    local_source,
    resolve_spec,
    source_blobs,
    state_of,
)
from geo_etl.resources.stac_extents import refresh_extent
from geo_etl.settings import get_settings
from geo_etl.spec import SourceRef, task_id
from geo_etl.vector import ingest
from geo_etl.vector.chunk import Chunk
from geo_etl.vector.manifest import Manifest, Order, PublishReport, TaskReport
from geo_etl.vector.settle import settle
from geo_etl.vector.versions import Version

TABLE_TAG = "geo_etl/table"


@dataclass(frozen=True)
class Done:
    """What the plan hands on for a job that is done already: its stored result."""

    order: Order
    result: dict[str, Any]


@op(
    out={"manifest": Out(), "chunks": DynamicOut(Chunk)},
    retry_policy=TRANSIENT_RETRIES,
    description="Check the source, cut it into chunks, create the tables to load into.",
)
def plan(
    context: OpExecutionContext,
    config: IngestConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Iterator[Output[Manifest | Done] | DynamicOutput[Chunk]]:
    with op_faults():
        manifest = _plan(context, config, blobs, postgis)
    yield Output(manifest, "manifest")
    for chunk in manifest.chunks if isinstance(manifest, Manifest) else []:
        key = task_id(manifest.order.job_id, ASSET, "load", chunk.index)
        yield DynamicOutput(chunk, mapping_key=key, output_name="chunks")


def _plan(
    context: OpExecutionContext,
    config: IngestConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Manifest | Done:
    key = begin_run(context, ASSET, "container/path")
    source, storage = SourceRef.parse(key), blobs.storage
    storage.stat(source)
    register(context, vector_sources, source)
    spec = resolve_spec(storage, source, config.spec)
    ingest.check_early(source, spec, postgis.engine)
    found = identify(storage, source, config.spec)
    order = Order(
        source,
        found.fingerprint,
        found.blob.modified,
        found.blob.size,
        found.job_id,
        found.spec,
    )
    context.instance.add_run_tags(
        context.run_id,
        {JOB_ID_TAG: order.job_id, TABLE_TAG: str(order.target)},
    )
    if not config.force and (result := postgis.done(order.job_id)) is not None:
        context.log.info(f"{source}: job {order.job_id[:8]} is done already; nothing to run.")
        return Done(order, result)
    storage.create_container(blobs.work_container)

    def open_chunk(index: int) -> AbstractContextManager[BinaryIO]:
        return storage.write(_chunk_ref(blobs, order.job_id, index))

    try:
        with local_source(storage, source) as path:
            manifest = ingest.plan(order, path, postgis.engine, open_chunk, force=config.force)
    except Exception:
        delete_below(storage, blobs.work_container, f"{order.job_id}/")
        raise
    if state_of(storage, source) != found.blob.etag:
        raise TransientError(f"{source} was written while it was read")
    for job_id in manifest.superseded:
        delete_below(storage, blobs.work_container, f"{job_id}/")
    return manifest


def _chunk_ref(blobs: BlobStorageResource, job_id: str, index: int) -> SourceRef:
    return SourceRef(blobs.work_container, f"{job_id}/chunk_{index:05d}.arrows")


@op(
    out=Out(TaskReport),
    retry_policy=TRANSIENT_RETRIES,
    description="Repair, reproject and copy the features of one chunk, exactly once.",
)
def load(
    manifest: Manifest,
    chunk: Chunk,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Output[TaskReport]:
    ref = _chunk_ref(blobs, manifest.order.job_id, chunk.index)
    with op_faults():
        # Another run of the same job may have loaded it, and removed the file.
        report = ingest.loaded_before(manifest, chunk, postgis.engine)
        if report is None:
            with blobs.storage.local(ref) as path, path.open("rb") as file:
                report = ingest.load(manifest, chunk, file, postgis.database_url)
    return Output(
        report,
        metadata={
            "task_id": task_id(manifest.order.job_id, ASSET, "load", chunk.index),
            "features": chunk.rows,
            "loaded": report.counts.loaded,
            "repaired": report.counts.repaired,
            "quarantined": report.counts.quarantined,
            "dropped": report.counts.dropped,
            "seconds": round(report.span.seconds, 3),
        },
    )


@op(
    out=Out(),
    retry_policy=TRANSIENT_RETRIES,
    description="Account for every feature, index, then let readers see the new data.",
)
def publish(
    manifest: Any,
    tasks: list[TaskReport],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> PublishReport | None:
    if isinstance(manifest, Done):
        return None
    with op_faults():
        return _publish(manifest, tasks, blobs, postgis, serving)


def _publish(
    manifest: Manifest,
    tasks: list[TaskReport],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> PublishReport:
    clock = Clock()
    settled = settle(manifest, postgis.engine)
    copies = [write_geoparquet(manifest, one, blobs, postgis) for one in settled]
    order = manifest.order
    report_url = blobs.storage.url(report_ref(blobs, order))
    delivered = source_blobs(blobs.storage, order.source, order.bytes, order.fingerprint)
    items = [
        vector_item(table_facts(manifest, one, postgis, serving, report_url, delivered, parts))
        for one, parts in zip(settled, copies, strict=True)
    ]
    for item in items:
        validate(item)
    versions = ingest.publish(
        settled, items, postgis.engine, catalogue_version, get_settings().versions_kept
    )
    delete_below(blobs.storage, blobs.work_container, f"{manifest.order.job_id}/")
    for version in versions:
        discard_side_output(blobs, postgis, version.target)
    spans = [task.span for task in tasks]
    return PublishReport(
        accounts=[one.account for one in settled],
        versions=versions,
        load_span=Span(min(s.start for s in spans), max(s.end for s in spans)) if spans else None,
        load_tasks=len(tasks),
        busy_seconds=sum(span.seconds for span in spans),
        span=clock.span(),
        geoparquet=[href for parts in copies for href in parts],
    )


def catalogue_version(connection: sa.Connection, version: Version, before: Version | None) -> None:
    """Write the STAC item of a version; remove that of the version before if it is another."""
    if before is not None:
        lock_collections(connection, {version.collection_id, before.collection_id})
    collection = vector_collection(version.collection_id)
    validate(collection)
    pgstac.ensure_collection(connection, collection)
    pgstac.upsert_item(connection, version.item)
    if before is not None and (before.collection_id, before.item_id) != (
        version.collection_id,
        version.item_id,
    ):
        uncatalogue_version(connection, before)
    refresh_extent(connection, version.collection_id)


def uncatalogue_version(connection: sa.Connection, version: Version) -> None:
    """Remove the STAC item of a version."""
    pgstac.delete_item(connection, version.collection_id, version.item_id)
    refresh_extent(connection, version.collection_id)


@op(
    out={"result": Out(dict), **{name: Out() for name in CHECKS}},
    retry_policy=TRANSIENT_RETRIES,
    description="Prove that what was loaded is what is stored, catalogued and served.",
)
def verify(
    manifest: Any,
    published: PublishReport | None,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> Iterator[Output[Any] | AssetCheckResult]:
    with op_faults():
        clock = Clock()
        seen = see_tables(_tables(manifest, published), postgis, serving)
        if published is None:
            result = VectorResult.model_validate(manifest.result)
            report = None
        else:
            _check_stored(seen.stored)
            url = blobs.storage.url(report_ref(blobs, manifest.order))
            left_behind = ingest.left_behind(manifest, postgis.engine)
            result = result_of(manifest, published, serving, url, clock, left_behind)
            report = write_report(manifest, published, result, blobs, postgis)
            document = result.model_dump(mode="json")
            postgis.store_results(published.versions, document)
        with postgis.engine.connect() as connection:
            items = {
                table.table: pgstac.get_item(
                    connection, table.stac.collection_id, table.stac.item_id
                )
                for table in result.tables
            }
    yield conserved(result, seen.stored)
    yield catalogued(result, seen.stored, items)
    yield features_served(result, seen.stored, seen.served)
    yield stac_served(ASSET, result.source, seen.stac)
    yield Output(
        result.model_dump(mode="json"),
        "result",
        metadata=table_metadata(result, published.versions if published else [], report),
    )


def _tables(manifest: Manifest | Done, published: PublishReport | None) -> list[str]:
    if published is not None:
        return [str(version.target) for version in published.versions]
    assert isinstance(manifest, Done)
    return [table["table"] for table in manifest.result["tables"]]


def _check_stored(stored: dict[str, Shown]) -> None:
    """What is there is what was published last, be it by this job or another since."""
    for table, shown in stored.items():
        if shown.version is not None and shown.rows != shown.version.features:
            raise ConservationError(
                f"table {table}",
                f"{shown.version.features} features were published, {shown.rows} are there",
                "Somebody has changed the table: ingest it again with force.",
            )


@config_mapping
def _plan_config(config: IngestConfig) -> dict[str, Any]:
    return {"plan": {"config": {"spec": config.spec, "force": config.force}}}


@graph_asset(
    name=ASSET,
    partitions_def=vector_sources,
    config=_plan_config,
    group_name="vector",
    kinds={"postgres", "geojson"},
    description="One vector source of bronze, published as a PostGIS table with its STAC item.",
    check_specs=CHECK_SPECS,
)
def vector_table() -> Any:
    manifest, chunks = plan()
    tasks = chunks.map(lambda chunk: load(manifest, chunk))
    published = publish(manifest, tasks.collect())
    result, *checks = verify(manifest, published)
    return check_outputs(ASSET, CHECKS, result, checks)
