"""Make a collection match a container: rasters that are new, changed or gone, where they lie.

A raster that can't be catalogued is reported with the reason, and stops no other. A sync that was
killed goes on where it was; one that finds nothing to do writes nothing.
"""

from collections.abc import Iterator
from typing import Any

from dagster import (
    Config,
    DynamicOut,
    DynamicOutput,
    Failure,
    MetadataValue,
    OpExecutionContext,
    Out,
    Output,
    TableColumn,
    TableRecord,
    TableSchema,
    job,
    op,
)
from pydantic import Field

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.assets.runs import RETRY_ALL_STEPS
from geo_etl.jobs.executor import forkserver_executor
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.container_sync import SliceReport, SyncResult, finish_sync, sync_slice
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.sync_plan import Slice, SyncPlan, order_of, plan_sync
from geo_etl.spec import task_id

NAME = "sync_container"
SHOWN = 100
"""Failed files in the UI; all of them are in the log."""


class SyncConfig(Config):
    """What is to match what."""

    container: str = Field(description="Container of the rasters")
    prefix: str = Field("", description="What the paths of the rasters begin with")
    collection_id: str | None = Field(None, description="Default: the container's name")
    suffixes: list[str] = Field([".tif", ".tiff"], description="In capitals or not")
    batch_size: int = Field(500, ge=1, le=10_000, description="Items that are committed together")
    remove: bool = Field(True, description="Remove items whose raster is gone, or unreadable now")
    max_files: int = Field(200_000, ge=1, description="A sync of more rasters is refused")


@op(
    out={"planned": Out(), "slices": DynamicOut(Slice)},
    retry_policy=TRANSIENT_RETRIES,
    description="List the container, and see which rasters are new, changed or gone.",
)
def plan_container(
    context: OpExecutionContext,
    config: SyncConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Iterator[Output[SyncPlan] | DynamicOutput[Slice]]:
    with op_faults():
        order = order_of(
            config.container,
            config.prefix,
            config.collection_id,
            config.suffixes,
            batch_size=config.batch_size,
            remove=config.remove,
            max_files=config.max_files,
            own_container=blobs.silver_container,
        )
        plan, slices = plan_sync(blobs.storage, postgis.engine, order)
    found = {
        "files": plan.files,
        "unchanged": plan.unchanged,
        "to_do": sum(len(part.todo) for part in slices),
        "gone": len(plan.gone),
        "tasks": plan.slices,
    }
    yield Output(plan, "planned", metadata=found)
    for part in slices:
        key = task_id(context.run_id, NAME, "catalogue", part.index)
        yield DynamicOutput(part, mapping_key=key, output_name="slices")


@op(
    out=Out(SliceReport),
    retry_policy=TRANSIENT_RETRIES,
    description="Read the headers of some rasters, and write their items in batches.",
)
def catalogue_slice(
    context: OpExecutionContext,
    planned: SyncPlan,
    part: Slice,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Output[SliceReport]:
    with op_faults():
        report = sync_slice(blobs.storage, postgis.engine, planned.order, part, context.log.info)
    for problem in report.problems:
        context.log.warning(f"{problem.name}: {problem.reason}")
    figures = {
        "files": len(part.todo),
        "added": report.added,
        "updated": report.updated,
        "failed": len(report.problems),
    }
    return Output(report, metadata=figures)


@op(
    out=Out(dict),
    retry_policy=TRANSIENT_RETRIES,
    description="Account for every task, remove what is gone, sum up.",
)
def finish_container(
    context: OpExecutionContext,
    planned: SyncPlan,
    reports: list[SliceReport],
    postgis: PostGISResource,
) -> Output[dict[str, Any]]:
    if sorted(report.index for report in reports) != list(range(planned.slices)):
        raise Failure(
            f"{len(reports)} of {planned.slices} tasks came to an end; run the job again.",
            allow_retries=False,
        )
    with op_faults():
        result = finish_sync(postgis.engine, planned, reports, context.log.info)
    for problem in planned.problems:
        context.log.warning(f"{problem.name}: {problem.reason}")
    document = _document(planned, result)
    return Output(document, metadata=_metadata(document))


def _document(planned: SyncPlan, result: SyncResult) -> dict[str, Any]:
    return {
        "collection_id": planned.order.collection_id,
        "synced_from": planned.order.synced_from,
        "files": result.files,
        "added": result.added,
        "updated": result.updated,
        "unchanged": result.unchanged,
        "removed": result.removed,
        "failed": len(result.failed),
        "left_out_published": result.published,
        "failures": [{"blob": one.name, "reason": one.reason} for one in result.failed[:SHOWN]],
        "extent": result.collection["extent"],
    }


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    counted = ("files", "added", "updated", "unchanged", "removed", "failed")
    rows = [f"| {key} | {document[key]:,} |" for key in counted]
    title = f"Collection **{document['collection_id']}**, as {document['synced_from']} holds it"
    shown: dict[str, Any] = {
        **{key: document[key] for key in counted},
        "summary": MetadataValue.md(
            "\n".join([title, "", "| rasters | |", "| --- | ---: |", *rows])
        ),
        "result": MetadataValue.json(document),
    }
    if failures := document["failures"]:
        shown["failures"] = MetadataValue.table(
            records=[TableRecord(one) for one in failures],
            schema=TableSchema([TableColumn("blob"), TableColumn("reason")]),
        )
    return shown


@job(name=NAME, executor_def=forkserver_executor, tags=RETRY_ALL_STEPS, description=__doc__)
def sync_container() -> None:
    planned, slices = plan_container()
    reports = slices.map(lambda part: catalogue_slice(planned, part))
    finish_container(planned, reports.collect())
