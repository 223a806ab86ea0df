"""The asset of raster sources: plan → convert tasks → publish → verify.

As for vectors, `plan` hands `publish` what it planned beside the pieces, and `publish` refuses
unless the ledger in the database accounts for every piece.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
from pydantic import Field

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.assets.raster_blobs import write_report
from geo_etl.assets.raster_checks import (
    ASSET,
    CHECKS,
    catalogued,
    check_specs,
    conserved,
    proven,
    tiles_served,
)
from geo_etl.assets.raster_files import make_piece
from geo_etl.assets.raster_layer import PublishedRaster, prepare_layer
from geo_etl.assets.raster_metadata import raster_metadata
from geo_etl.assets.raster_places import catalogued_items, place_of
from geo_etl.assets.raster_serving import see_layer
from geo_etl.assets.runs import JOB_ID_TAG, IngestConfig, begin_run, register
from geo_etl.assets.serving_checks import check_outputs, stac_served
from geo_etl.errors import SpecError, TransientError
from geo_etl.ingest.clock import Clock, Span
from geo_etl.ingest.scratch import scratch_folder
from geo_etl.partitions import raster_sources
from geo_etl.raster import ingest
from geo_etl.raster.layers import items_of, left_behind
from geo_etl.raster.loads import Load, LoadPlan, begin_load
from geo_etl.raster.manifest import Piece, RasterManifest, RasterOrder
from geo_etl.raster.ownership import check_layer
from geo_etl.report.raster_outcome import Course, raster_result
from geo_etl.report.raster_result import RasterResult
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.collections import collection_of
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.sources import identify_raster, local_source, resolve_raster, state_of
from geo_etl.settings import get_settings
from geo_etl.spec import SourceRef, task_id

LAYER_TAG = "geo_etl/layer"
TILE_TAG = "geo_etl/tile"
"""On runs of `tile_raster`: Dagster's command leaves out the configuration of a partitioned job."""
ALWAYS_TILED_GB = 1e-9
"""In place of `max_raster_size_gb`, where tiles are asked for whatever the size."""


class RasterConfig(IngestConfig):
    """Settings of one run, on top of what the source's sidecar files say."""

    tile: bool = Field(False, description="Cut it into tiles, however small the raster is")


@dataclass(frozen=True)
class RasterDone:
    """What the plan hands on for a job that is done already: its stored result."""

    order: RasterOrder
    result: dict[str, Any]


@dataclass(frozen=True)
class RasterPlan:
    """What the plan hands on: what is to be made, and where that is noted.

    Attributes:
        state: of the source when it was inspected.
    """

    manifest: RasterManifest
    load: Load
    state: str


@op(
    out={"planned": Out(), "pieces": DynamicOut(Piece)},
    retry_policy=TRANSIENT_RETRIES,
    description="Read every pixel of the source, decide on grids, profiles and tiles.",
)
def plan_raster(
    context: OpExecutionContext,
    config: RasterConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Iterator[Output[RasterPlan | RasterDone] | DynamicOutput[Piece]]:
    with op_faults():
        planned = _plan(context, config, blobs, postgis)
    yield Output(planned, "planned")
    if isinstance(planned, RasterDone):
        return
    for piece in planned.manifest.pieces:
        key = task_id(planned.manifest.order.job_id, ASSET, "convert", piece.index)
        yield DynamicOutput(piece, mapping_key=key, output_name="pieces")


def _plan(
    context: OpExecutionContext,
    config: RasterConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> RasterPlan | RasterDone:
    key = begin_run(context, ASSET, "container/path")
    source, storage = SourceRef.parse(key), blobs.storage
    storage.stat(source)
    register(context, raster_sources, source)
    _check_alone(storage, source)
    overrides = dict(config.spec)
    if config.tile or context.has_tag(TILE_TAG):
        overrides["max_raster_size_gb"] = ALWAYS_TILED_GB
    ingest.check_early(source, resolve_raster(storage, source, overrides))
    found, rasters = identify_raster(storage, source, overrides), Rasters(postgis.engine)
    blob = found.blob
    order = RasterOrder(
        source, found.fingerprint, blob.modified, blob.size, found.job_id, found.spec
    )
    context.instance.add_run_tags(context.run_id, {JOB_ID_TAG: order.job_id})
    if not config.force and (result := rasters.done(order.job_id, storage)) is not None:
        context.instance.add_run_tags(context.run_id, {LAYER_TAG: result["layer"]})
        context.log.info(f"{source}: job {order.job_id[:8]} is done already; nothing to run.")
        return RasterDone(order, result)
    with local_source(storage, source) as path:
        manifest = ingest.plan(order, path)
    context.instance.add_run_tags(context.run_id, {LAYER_TAG: manifest.layer})
    if state_of(storage, source) != blob.etag:
        raise TransientError(f"{source} was written while it was read")
    with postgis.engine.connect() as connection:
        ids = ingest.item_ids(manifest).values()
        check_layer(connection, manifest.layer, manifest.form, set(ids), str(source))
    storage.create_container(blobs.silver_container)
    load = begin_load(
        postgis.engine, LoadPlan.of(manifest), blobs.silver_container, force=config.force
    )
    rasters.remove_discarded(storage)
    return RasterPlan(manifest, load, blob.etag)


def _check_alone(storage: BlobStorage, source: SourceRef) -> None:
    """Refuse a member of a folder that is one collection: readers would see part of it.

    Raises:
        SpecError: names the collection.
    """
    collection = collection_of(storage, source)
    if collection is not None:
        raise SpecError(
            f"run of {source}",
            f"it is a member of collection {collection}, by 'collection: true' in that folder",
            f"Ingest the collection: 'geo-etl ingest {collection}/'.",
        )


@op(
    out=Out(Span),
    retry_policy=TRANSIENT_RETRIES,
    description="Make and prove the COGs of one piece, exactly once.",
)
def convert(
    planned: RasterPlan,
    piece: Piece,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Output[Span]:
    manifest = planned.manifest
    with op_faults(), scratch_folder() as folder:
        report = make_piece(
            manifest,
            piece,
            planned.load,
            folder,
            blobs.storage,
            postgis.engine,
            state=planned.state,
        )
    return Output(
        report.span,
        metadata={
            "task_id": task_id(manifest.order.job_id, ASSET, "convert", piece.index),
            "pixels": piece.window.width * piece.window.height,
            "bytes": sum(made.size for made in report.made),
            "files": ", ".join(made.path for made in report.made) or "none: no valid pixel",
            "seconds": round(report.span.seconds, 3),
        },
    )


@op(
    out=Out(),
    retry_policy=TRANSIENT_RETRIES,
    description="Account for every piece, then let readers see the new files.",
)
def publish_raster(
    planned: Any,
    tasks: list[Span],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> PublishedRaster | None:
    if isinstance(planned, RasterDone):
        return None
    with op_faults():
        clock, rasters = Clock(), Rasters(postgis.engine)
        layer = prepare_layer(planned.manifest, planned.load, blobs, postgis, serving)
        if layer.candidate is not None:
            (version,) = rasters.publish([layer.candidate], get_settings().versions_kept)
        else:  # an earlier attempt has published it
            version = layer.version
        rasters.remove_discarded(blobs.storage)
    return PublishedRaster(version, layer.files, tuple(tasks), clock.span())


@op(
    out={"result": Out(dict), **{name: Out() for name in CHECKS}},
    retry_policy=TRANSIENT_RETRIES,
    description="Show that what was made is whole, proven, catalogued and served.",
)
def verify_raster(
    planned: Any,
    published: PublishedRaster | None,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> Iterator[Output[Any] | AssetCheckResult]:
    with op_faults():
        clock, summary = Clock(), None
        if published is None:
            result = RasterResult.model_validate(planned.result)
        else:
            result, summary = _finish(planned, published, clock, blobs, postgis, serving)
        seen = see_layer(result.layer, catalogued_items, postgis, serving)
    yield proven(result)
    yield conserved(result)
    yield catalogued(result, seen.expected, seen.items, seen.collection)
    yield tiles_served(result, seen.drawn)
    yield stac_served(ASSET, result.source, seen.stac)
    yield Output(
        result.model_dump(mode="json"), "result", metadata=raster_metadata(result, summary)
    )


def _finish(
    planned: RasterPlan,
    published: PublishedRaster,
    clock: Clock,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> tuple[RasterResult, str]:
    """The result document and the report of a job that was just published, both stored."""
    manifest, version, files = planned.manifest, published.version, published.files
    rasters, storage = Rasters(postgis.engine), blobs.storage
    reports = rasters.reports(version)
    with postgis.engine.connect() as connection:
        items = items_of(connection, version)
        others = left_behind(connection, version.source, version.layer)
    result = raster_result(
        manifest,
        reports,
        place_of(manifest, version, files, items, reports, storage, serving),
        Course(manifest.span, published.tasks, published.span, clock.span()),
        version.number,
        others,
    )
    summary = write_report(manifest, reports, result, files, storage)
    rasters.store_result(version, result.model_dump(mode="json"))
    return result, summary


@config_mapping
def _plan_config(config: RasterConfig) -> dict[str, Any]:
    return {"plan": {"config": {"spec": config.spec, "force": config.force, "tile": config.tile}}}


@graph_asset(
    name=ASSET,
    partitions_def=raster_sources,
    config=_plan_config,
    group_name="raster",
    kinds={"gdal", "stac"},
    description="One raster source of bronze as proven Cloud-Optimized GeoTIFFs, catalogued.",
    check_specs=check_specs(ASSET),
)
def raster_cog() -> Any:
    planned, pieces = plan_raster.alias("plan")()
    tasks = pieces.map(lambda piece: convert(planned, piece))
    published = publish_raster.alias("publish")(planned, tasks.collect())
    result, *checks = verify_raster.alias("verify")(planned, published)
    return check_outputs(ASSET, CHECKS, result, checks)
