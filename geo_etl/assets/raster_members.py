"""The members of a collection: each made, proven and described, one after another in a task."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from geo_etl.assets.raster_blobs import write_report
from geo_etl.assets.raster_files import make_piece
from geo_etl.assets.raster_layer import prepare_layer
from geo_etl.assets.raster_places import place_of
from geo_etl.errors import GeoEtlError, RasterError
from geo_etl.ingest.clock import Clock
from geo_etl.ingest.scratch import scratch_folder
from geo_etl.raster import ingest
from geo_etl.raster.collection import CollectionManifest, Member, Shape, as_member, differences
from geo_etl.raster.inspect import inspect
from geo_etl.raster.loads import LoadPlan, begin_load
from geo_etl.raster.manifest import RasterOrder
from geo_etl.raster.opening import open_raster
from geo_etl.raster.outputs import reports_of
from geo_etl.raster.publish import Candidate
from geo_etl.report.raster_outcome import Course, raster_result
from geo_etl.report.raster_result import RasterResult
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.sources import identify_raster, local_source, resolve_raster
from geo_etl.spec import CollectionRef, RasterSpec, SourceRef
from geo_etl.spec.raster import Members

NEVER_TILED_GB = 1e6
"""In place of `max_raster_size_gb`: a member is one item."""


@dataclass(frozen=True)
class Outcome:
    """What became of one member in its task.

    Attributes:
        candidate, result: of a member that was made; its result lacks the version.
        problem: what is wrong with a bad one.
    """

    member: Member
    status: Literal["converted", "bad", "skipped"]
    candidate: Candidate | None = None
    result: RasterResult | None = None
    problem: str | None = None


def member_overrides(
    ref: CollectionRef,
    collection_id: str,
    source: SourceRef,
    storage: BlobStorage,
    overrides: dict[str, Any],
    shape: Shape | None,
) -> dict[str, Any]:
    """Settings of a member: what its collection fixes, on top of its own sidecars.

    Its item is what its own sidecar says, else its path below the folder.
    """
    own = resolve_raster(storage, source, overrides)
    below = PurePosixPath(source.path.removeprefix(ref.prefix)).with_suffix("")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", str(below)).strip("_.") or "raster"
    kind = own.data_kind or (shape.kind if shape is not None else None)
    return {
        **overrides,
        "collection_id": collection_id,
        "item_id": own.item_id or name,
        "data_kind": kind,
        # What the folder does with its members is no matter of theirs.
        "collection": False,
        "members": Members().model_dump(),
        "max_raster_size_gb": NEVER_TILED_GB,
    }


def shape_of(
    source: SourceRef, blobs: BlobStorageResource, overrides: dict[str, Any]
) -> tuple[Shape, RasterSpec]:
    """What one member is, read to its last block."""
    found = identify_raster(blobs.storage, source, overrides)
    with (
        local_source(blobs.storage, source) as path,
        open_raster(path, str(source), found.spec) as opened,
    ):
        return Shape.of(inspect(opened, str(source), found.spec), found.spec), found.spec


def make_members(
    manifest: CollectionManifest,
    members: Sequence[Member],
    overrides: dict[str, Any],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> list[Outcome]:
    """Make members; one that can't be made is said, and is no hindrance to the others.

    Where the spec says that one bad member stops all, those after it are skipped.
    """
    outcomes: list[Outcome] = []
    for member in members:
        is_over = manifest.spec.members.on_bad == "stop" and any(
            outcome.status == "bad" for outcome in outcomes
        )
        if is_over:
            outcomes.append(Outcome(member, "skipped"))
            continue
        try:
            outcomes.append(_make_member(manifest, member, overrides, blobs, postgis, serving))
        except GeoEtlError as error:
            outcomes.append(Outcome(member, "bad", problem=str(error)))
    return outcomes


def _make_member(
    collection: CollectionManifest,
    member: Member,
    overrides: dict[str, Any],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> Outcome:
    storage, engine, clock = blobs.storage, postgis.engine, Clock()
    settings = member_overrides(
        collection.ref,
        collection.collection_id,
        member.source,
        storage,
        overrides,
        collection.shape,
    )
    found = identify_raster(storage, member.source, settings)
    order = RasterOrder(
        member.source,
        found.fingerprint,
        found.blob.modified,
        found.blob.size,
        found.job_id,
        found.spec,
    )
    with local_source(storage, member.source) as path:
        plan = ingest.plan(order, path, see=as_member)
    unlike = differences(plan.facts, collection.shape, found.spec)
    if unlike and collection.spec.members.on_mixed == "stop":
        raise RasterError(
            str(member.source),
            f"it is not like {collection.model}: {'; '.join(unlike)}",
            "Take it out of the folder, or set members.on_mixed: allow.",
        )
    run = LoadPlan.of(plan, collection.job_id)
    load = begin_load(engine, run, blobs.silver_container, force=False)
    Rasters(engine).remove_discarded(storage)
    for piece in plan.pieces:
        with scratch_folder() as folder:
            make_piece(plan, piece, load, folder, storage, engine, state=found.blob.etag)
    layer = prepare_layer(plan, load, blobs, postgis, serving)
    with engine.connect() as connection:
        reports = reports_of(connection, load.id)
    items = layer.candidate.items if layer.candidate is not None else ()
    place = place_of(plan, layer.version, layer.files, items, reports, storage, serving)
    course = Course(plan.span, [report.span for report in reports], clock.span(), clock.span())
    warnings = [f"It is not like {collection.model}: {one}." for one in unlike]
    result = raster_result(plan, reports, place, course, None, warnings)
    write_report(plan, reports, result, layer.files, storage)
    candidate = layer.candidate or Candidate(load, layer.version, (), tuple(layer.files.paths))
    return Outcome(member, "converted", candidate, result)


def numbered(outcome: Outcome, version: int) -> RasterResult:
    """The result of a member that was published as a version."""
    assert outcome.result is not None
    return outcome.result.model_copy(update={"version": version})
