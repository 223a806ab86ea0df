"""The asset of collections of rasters: plan → tasks of some members each → publish → verify.

A member that is published as it is now is not made again. All that changed becomes visible in one
transaction: new and changed members, those that are gone, the collection's extent and mosaic.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

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

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.assets.raster import LAYER_TAG
from geo_etl.assets.raster_checks import (
    CHECKS,
    COLLECTION,
    catalogued,
    check_specs,
    conserved,
    proven,
    tiles_served,
)
from geo_etl.assets.raster_gathered import (
    catalogued_members,
    collection_place,
    stored_members,
    write_collection_report,
)
from geo_etl.assets.raster_gathering import check_outcomes, prepare_collection
from geo_etl.assets.raster_gathering_plan import plan_collection_run
from geo_etl.assets.raster_members import Outcome, make_members, numbered
from geo_etl.assets.raster_metadata import collection_metadata
from geo_etl.assets.raster_serving import see_layer
from geo_etl.assets.runs import JOB_ID_TAG, IngestConfig, begin_run, register
from geo_etl.assets.serving_checks import check_outputs, stac_served
from geo_etl.ingest.clock import Clock, Span
from geo_etl.partitions import raster_collections
from geo_etl.raster.collection import Batch, CollectionManifest
from geo_etl.raster.layers import Version
from geo_etl.report.collection_outcome import collection_result
from geo_etl.report.raster_outcome import Course
from geo_etl.report.raster_result import CollectionResult
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.serving import ServingResource
from geo_etl.settings import get_settings
from geo_etl.spec import CollectionRef, task_id


@dataclass(frozen=True)
class CollectionDone:
    """What the plan hands on for a job that is done already: its stored result."""

    result: dict[str, Any]


@dataclass(frozen=True)
class CollectionPlan:
    """What the plan hands on.

    Attributes:
        overrides: of the run.
    """

    manifest: CollectionManifest
    overrides: dict[str, Any]


@dataclass(frozen=True)
class BatchReport:
    """What one task did."""

    index: int
    outcomes: tuple[Outcome, ...]
    span: Span


@dataclass(frozen=True)
class PublishedCollection:
    """What the publish made visible."""

    version: Version
    outcomes: tuple[Outcome, ...]
    versions: dict[str, Version]
    warnings: tuple[str, ...]
    tasks: tuple[Span, ...]
    span: Span


@op(
    out={"planned": Out(), "batches": DynamicOut(Batch)},
    retry_policy=TRANSIENT_RETRIES,
    description="List the members, see which are new, changed or gone.",
)
def plan_collection(
    context: OpExecutionContext,
    config: IngestConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Iterator[Output[CollectionPlan | CollectionDone] | DynamicOutput[Batch]]:
    with op_faults():
        planned = _plan(context, config, blobs, postgis)
    yield Output(planned, "planned")
    if isinstance(planned, CollectionDone):
        return
    for batch in planned.manifest.batches:
        key = task_id(planned.manifest.job_id, COLLECTION, "convert", batch.index)
        yield DynamicOutput(batch, mapping_key=key, output_name="batches")


def _plan(
    context: OpExecutionContext,
    config: IngestConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> CollectionPlan | CollectionDone:
    key = begin_run(context, COLLECTION, "container/folder")
    ref, overrides = CollectionRef.parse(key), dict(config.spec)
    register(context, raster_collections, ref)
    manifest = plan_collection_run(ref, overrides, blobs, postgis, force=config.force)
    context.instance.add_run_tags(
        context.run_id, {JOB_ID_TAG: manifest.job_id, LAYER_TAG: manifest.collection_id}
    )
    if not config.force:
        result = Rasters(postgis.engine).done(manifest.job_id, blobs.storage)
        if result is not None and not manifest.batches:
            context.log.info(f"{ref}: job {manifest.job_id[:8]} is done already; nothing to run.")
            return CollectionDone(result)
    blobs.storage.create_container(blobs.silver_container)
    return CollectionPlan(manifest, overrides)


@op(
    out=Out(BatchReport),
    retry_policy=TRANSIENT_RETRIES,
    description="Make and prove the COGs of some members, each exactly once.",
)
def convert_members(
    planned: CollectionPlan,
    batch: Batch,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> Output[BatchReport]:
    clock = Clock()
    with op_faults():
        outcomes = make_members(
            planned.manifest, batch.members, planned.overrides, blobs, postgis, serving
        )
    report = BatchReport(batch.index, tuple(outcomes), clock.span())
    bad = sum(one.status == "bad" for one in outcomes)
    return Output(
        report,
        metadata={
            "task_id": task_id(planned.manifest.job_id, COLLECTION, "convert", batch.index),
            "members": len(batch.members),
            "converted": sum(one.status == "converted" for one in outcomes),
            "bad": bad,
            "seconds": round(report.span.seconds, 3),
        },
    )


@op(
    out=Out(),
    retry_policy=TRANSIENT_RETRIES,
    description="Account for every member, then let readers see what changed, at once.",
)
def publish_collection(
    planned: Any,
    tasks: list[BatchReport],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> PublishedCollection | None:
    if isinstance(planned, CollectionDone):
        return None
    with op_faults():
        clock, rasters, manifest = Clock(), Rasters(postgis.engine), planned.manifest
        outcomes = [one for task in tasks for one in task.outcomes]
        check_outcomes(manifest, [task.index for task in tasks], outcomes, blobs, postgis)
        candidates, removed, warnings = prepare_collection(
            manifest, outcomes, blobs, postgis, serving
        )
        keep = get_settings().versions_kept
        *members, version = rasters.publish(candidates, keep, removed)
        rasters.remove_discarded(blobs.storage)
    return PublishedCollection(
        version,
        tuple(replace(one, candidate=None) for one in outcomes),
        {one.source: one for one in members},
        tuple(warnings),
        tuple(task.span for task in tasks),
        clock.span(),
    )


@op(
    out={"result": Out(dict), **{name: Out() for name in CHECKS}},
    retry_policy=TRANSIENT_RETRIES,
    description="Show that every member is proven, catalogued and served.",
)
def verify_collection(
    planned: Any,
    published: PublishedCollection | None,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> Iterator[Output[Any] | AssetCheckResult]:
    with op_faults():
        summary = None
        if published is None:
            result = CollectionResult.model_validate(planned.result)
        else:
            result, summary = _finish(planned, published, Clock(), blobs, postgis, serving)
        seen = see_layer(result.layer, catalogued_members, postgis, serving)
    yield proven(result, COLLECTION)
    yield conserved(result, COLLECTION)
    yield catalogued(result, seen.expected, seen.items, seen.collection, COLLECTION)
    yield tiles_served(result, seen.drawn, COLLECTION)
    yield stac_served(COLLECTION, result.source, seen.stac)
    yield Output(
        result.model_dump(mode="json"), "result", metadata=collection_metadata(result, summary)
    )


def _finish(
    planned: CollectionPlan,
    published: PublishedCollection,
    clock: Clock,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> tuple[CollectionResult, str]:
    """Store what is said of the members that were published, and of the collection."""
    manifest, version, rasters = planned.manifest, published.version, Rasters(postgis.engine)
    for outcome in published.outcomes:
        member = published.versions.get(str(outcome.member.source))
        if outcome.result is not None and member is not None:
            document = numbered(outcome, member.number).model_dump(mode="json")
            rasters.store_result(member, document)
    _, items = catalogued_members(version, postgis)
    result = collection_result(
        manifest.job_id,
        str(manifest.ref),
        stored_members(manifest, published.outcomes, published.versions, postgis),
        collection_place(version, items, blobs, serving),
        Course(manifest.span, published.tasks, published.span, clock.span()),
        version.number,
        [*manifest.warnings, *published.warnings],
    )
    summary = write_collection_report(result, version, blobs)
    rasters.store_result(version, result.model_dump(mode="json"))
    return result, summary


@config_mapping
def _plan_config(config: IngestConfig) -> dict[str, Any]:
    return {"plan": {"config": {"spec": config.spec, "force": config.force}}}


@graph_asset(
    name=COLLECTION,
    partitions_def=raster_collections,
    config=_plan_config,
    group_name="raster",
    kinds={"gdal", "stac"},
    description="A folder of rasters as one collection of proven COGs with a mosaic, catalogued.",
    check_specs=check_specs(COLLECTION),
)
def raster_collection() -> Any:
    planned, batches = plan_collection.alias("plan")()
    tasks = batches.map(lambda batch: convert_members.alias("convert")(planned, batch))
    published = publish_collection.alias("publish")(planned, tasks.collect())
    result, *checks = verify_collection.alias("verify")(planned, published)
    return check_outputs(COLLECTION, CHECKS, result, checks)
