"""The asset of vector sources: plan → load tasks → publish → verify.

Re-execution from failure can lose mapped steps and report success. So `plan` hands `publish`
the manifest beside the chunks, and `publish` refuses unless the ledger in the database accounts
for every chunk of it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, BinaryIO

import sqlalchemy as sa
from dagster import (
    AssetCheckResult,
    Config,
    DynamicOut,
    DynamicOutput,
    OpExecutionContext,
    Out,
    Output,
    config_mapping,
    graph_asset,
    op,
)
from pydantic import Field

from geo_etl.assets.checks import (
    ASSET,
    CATALOGUED,
    CHECK_SPECS,
    CONSERVED,
    SERVED,
    catalogued,
    conserved,
    served,
)
from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.assets.liveness import HOST, HOST_TAG
from geo_etl.assets.metadata import table_metadata
from geo_etl.catalog.vectors import TableFacts, vector_collection, vector_item
from geo_etl.errors import ConservationError, SpecError, TransientError
from geo_etl.partitions import vector_sources
from geo_etl.report.result import StacReference, Stage, Summary, VectorResult
from geo_etl.resources import pgstac
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import delete_below
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.sources import identify, resolve_spec
from geo_etl.spec import SourceRef, task_id
from geo_etl.vector import ingest
from geo_etl.vector.chunk import Chunk
from geo_etl.vector.geometry import bounds_in_wgs84
from geo_etl.vector.ingest import Clock, Manifest, Order, PublishReport, Span, TaskReport
from geo_etl.vector.publish import Totals

JOB_ID_TAG = "geo_etl/job_id"
TABLE_TAG = "geo_etl/table"
# A retry of a failed run runs all steps: Dagster's retry from failure loses mapped steps.
# Chunks that are loaded already are skipped, so it costs little.
RETRY_ALL_STEPS = {"dagster/retry_strategy": "ALL_STEPS"}
PICTURE_FEATURES = 3000


class IngestConfig(Config):
    """Settings of one run, on top of what the source's sidecar files say."""

    spec: dict[str, Any] = Field({}, description="Overrides of the source's spec")
    force: bool = Field(False, description="Run again even if this very job is done")


@op(
    out={"manifest": Out(Manifest), "chunks": DynamicOut(Chunk)},
    retry_policy=TRANSIENT_RETRIES,
    description="Check the source, cut it into chunks, create the table to load into.",
)
def plan(
    context: OpExecutionContext,
    config: IngestConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Iterator[Output[Manifest] | DynamicOutput[Chunk]]:
    with op_faults():
        manifest = _plan(context, config, blobs, postgis)
    yield Output(manifest, "manifest")
    for chunk in manifest.chunks:
        key = task_id(manifest.order.job_id, ASSET, "load", chunk.index)
        yield DynamicOutput(chunk, mapping_key=key, output_name="chunks")


def _plan(
    context: OpExecutionContext,
    config: IngestConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Manifest:
    if not context.has_partition_key:
        raise SpecError(
            "run of vector_table",
            "it names no source",
            "Choose a partition (container/path), or use 'geo-etl ingest'.",
        )
    context.instance.add_run_tags(context.run_id, {HOST_TAG: HOST, **RETRY_ALL_STEPS})
    clock, source, storage = Clock(), SourceRef.parse(context.partition_key), blobs.storage
    storage.stat(source)
    # A run that was started with a tag alone may name a source that nobody registered yet.
    context.instance.add_dynamic_partitions(str(vector_sources.name), [str(source)])
    spec = resolve_spec(storage, source, config.spec)
    ingest.check_early(source, spec, postgis.engine)
    found = identify(storage, source, config.spec)
    order = Order(source, found.fingerprint, found.blob.modified, found.job_id, found.spec)
    context.instance.add_run_tags(
        context.run_id,
        {JOB_ID_TAG: order.job_id, TABLE_TAG: str(order.target)},
    )
    if not config.force and _done(postgis, order) is not None:
        context.log.info(f"{source}: job {order.job_id[:8]} is done already; nothing to run.")
        return Manifest(order, None, [], [], None, "", [], clock.span(), done=True)
    storage.create_container(blobs.work_container)

    def open_chunk(index: int) -> AbstractContextManager[BinaryIO]:
        return storage.write(_chunk_ref(blobs, order.job_id, index))

    try:
        with storage.local(source) as path:
            manifest = ingest.plan(order, path, postgis.engine, open_chunk, force=config.force)
    except Exception:
        delete_below(storage, blobs.work_container, f"{order.job_id}/")
        raise
    if storage.stat(source).etag != found.blob.etag:
        raise TransientError(f"{source} was written while it was read")
    assert manifest.load is not None
    for job_id in manifest.load.superseded:
        delete_below(storage, blobs.work_container, f"{job_id}/")
    return manifest


def _done(postgis: PostGISResource, order: Order) -> VectorResult | None:
    """The stored result of this very job, if it is what is published now."""
    for published in postgis.published(job_id=order.job_id):
        is_whole = published.target == order.target and postgis.is_attached(published)
        if is_whole and published.result is not None:
            return VectorResult.model_validate(published.result)
    return None


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
    manifest: Manifest,
    tasks: list[TaskReport],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> PublishReport | None:
    if manifest.done:
        return None
    with op_faults():
        clock = Clock()
        account = ingest.settle(manifest, postgis.engine)
        item = vector_item(_facts(manifest, account, serving))
        before = postgis.published(
            schema_name=manifest.order.target.schema, table_name=manifest.order.target.table
        )

        def write_item(connection: sa.Connection) -> None:
            pgstac.ensure_collection(connection, vector_collection(item["collection"]))
            pgstac.upsert_item(connection, item)
            for entry in before:
                if (entry.collection_id, entry.item_id) != (item["collection"], item["id"]):
                    pgstac.delete_item(connection, entry.collection_id, entry.item_id)

        ingest.publish(manifest, account, postgis.engine, write_item)
        delete_below(blobs.storage, blobs.work_container, f"{manifest.order.job_id}/")
    spans = [task.span for task in tasks]
    return PublishReport(
        account=account,
        load_span=Span(min(s.start for s in spans), max(s.end for s in spans)) if spans else None,
        load_tasks=len(tasks),
        busy_seconds=sum(span.seconds for span in spans),
        span=clock.span(),
    )


def _facts(manifest: Manifest, account: Totals, serving: ServingResource) -> TableFacts:
    order, geometry = manifest.order, manifest.geometry
    assert geometry is not None
    return TableFacts(
        table=str(order.target),
        collection_id=order.spec.collection_id,
        source=str(order.source),
        fingerprint=order.fingerprint,
        job_id=order.job_id,
        columns=[
            ("gid", "bigint", "feature number in the source, from 1"),
            *((column.name, column.sql_type, column.original) for column in manifest.columns),
            ("geom", f"geometry({geometry.geometry_type},{geometry.target_srid})", "geometry"),
        ],
        features=account.loaded,
        bbox=bounds_in_wgs84(account.bounds, geometry.target_srid) if account.bounds else None,
        srid=geometry.target_srid,
        geometry_type=geometry.geometry_type,
        modified=order.modified,
        created=datetime.now(UTC),
        features_url=serving.collection_url(str(order.target)),
        renders=order.spec.render_params,
    )


@op(
    out={"result": Out(dict), CONSERVED: Out(), CATALOGUED: Out(), SERVED: Out()},
    retry_policy=TRANSIENT_RETRIES,
    description="Prove that what was loaded is what is stored, catalogued and served.",
)
def verify(
    manifest: Manifest,
    published: PublishReport | None,
    postgis: PostGISResource,
    serving: ServingResource,
) -> Iterator[Output[Any] | AssetCheckResult]:
    from geo_etl.report.picture import map_picture  # with pandas and matplotlib: only here

    with op_faults():
        clock = Clock()
        order = manifest.order
        stored = postgis.count_rows(order.target)
        probe = serving.probe_features(str(order.target))
        if published is None:
            result = _done(postgis, order)
            assert result is not None
        else:
            result = _result(manifest, published, serving, clock)
            if stored != result.summary.features_loaded:
                raise ConservationError(
                    f"table {order.target}",
                    f"{result.summary.features_loaded} features were loaded, {stored} are there",
                    "Another job may have published to it meanwhile: look at 'geo-etl jobs'.",
                )
            postgis.store_result(order.target, order.job_id, result.model_dump(mode="json"))
        with postgis.engine.connect() as connection:
            item = pgstac.get_item(connection, result.stac.collection_id, result.stac.item_id)
        wkb, srid = postgis.sample(order.target, PICTURE_FEATURES)
        picture = map_picture(wkb, srid, result.table)
    yield conserved(result, stored)
    yield catalogued(result, item)
    yield served(result, probe)
    yield Output(
        result.model_dump(mode="json"),
        "result",
        metadata=table_metadata(result, manifest, picture),
    )


def _result(
    manifest: Manifest, report: PublishReport, serving: ServingResource, clock: Clock
) -> VectorResult:
    order, account, geometry = manifest.order, report.account, manifest.geometry
    assert geometry is not None
    base = serving.collection_url(str(order.target))
    verify_span = clock.span()
    stages = [Stage(name="plan", seconds=round(manifest.span.seconds, 3), tasks=1)]
    if report.load_span is not None:
        stages.append(
            Stage(name="load", seconds=round(report.load_span.seconds, 3), tasks=report.load_tasks)
        )
    stages.append(Stage(name="publish", seconds=round(report.span.seconds, 3), tasks=1))
    stages.append(Stage(name="verify", seconds=round(verify_span.seconds, 3), tasks=1))
    return VectorResult(
        job_id=order.job_id,
        source=str(order.source),
        table=str(order.target),
        summary=Summary(
            features_read=account.read,
            features_loaded=account.loaded,
            features_repaired=account.repaired,
            features_quarantined=account.quarantined,
            features_dropped=account.dropped,
            total_chunks=len(manifest.chunks),
            chunks_loaded=len(manifest.chunks),
            success_rate=round(account.loaded / account.read, 6),
            data_complete=account.read == account.loaded + account.quarantined + account.dropped,
        ),
        stac=StacReference(
            collection_id=order.spec.collection_id,
            item_id=str(order.target),
            bbox=bounds_in_wgs84(account.bounds, geometry.target_srid) if account.bounds else None,
        ),
        ogc_features_url=f"{base}/items" if base else None,
        viewer_url=f"{base}/viewer" if base else None,
        stages=stages,
        processing_time_seconds=round(verify_span.end - manifest.span.start, 3),
        tasks_executed=sum(stage.tasks for stage in stages),
        parallel_efficiency=ingest.parallel_efficiency(report),
        original_crs=manifest.original_crs,
        geometry_type=geometry.geometry_type,
        warnings=ingest.warnings_of(manifest, account),
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
    result, is_conserved, is_catalogued, is_served = verify(manifest, published)
    return {
        "result": result,
        f"{ASSET}_{CONSERVED}": is_conserved,
        f"{ASSET}_{CATALOGUED}": is_catalogued,
        f"{ASSET}_{SERVED}": is_served,
    }
