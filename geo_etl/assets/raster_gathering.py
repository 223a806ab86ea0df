"""A collection of rasters as a whole: what its run has to do, and what its members become."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from geo_etl.assets.raster_layer import (
    MOSAIC,
    REPORT,
    Item,
    box_of,
    search_of,
    urls_of,
    write_blob,
)
from geo_etl.assets.raster_members import Outcome, member_overrides, numbered, shape_of
from geo_etl.catalog.raster_collections import CollectionFacts, mosaic_file, raster_collection
from geo_etl.catalog.validate import validate
from geo_etl.errors import ConservationError, GeoEtlError, RasterError, SourceError, SpecError
from geo_etl.ingest.clock import Clock
from geo_etl.raster.collection import (
    CollectionManifest,
    Member,
    Shape,
    batches_of,
    collection_job_id,
)
from geo_etl.raster.ingest import software_versions
from geo_etl.raster.layers import Version, items_of
from geo_etl.raster.loads import LoadPlan, begin_load
from geo_etl.raster.members import SHOWN, member_of
from geo_etl.raster.mosaic import Member as MosaicMember
from geo_etl.raster.mosaic import mosaic_grid, vrt
from geo_etl.raster.outputs import Attempt, begin_piece, reports_of
from geo_etl.raster.ownership import check_layer
from geo_etl.raster.publish import Candidate
from geo_etl.raster.records import from_record, to_record
from geo_etl.report.collection_outcome import Member as MemberReport
from geo_etl.report.collection_page import collection_page
from geo_etl.report.markdown import collection_markdown
from geo_etl.report.raster_outcome import Place
from geo_etl.report.raster_result import CollectionResult, Mosaic, RasterResult
from geo_etl.resources import pgstac
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.collections import members_of, resolve_collection
from geo_etl.resources.listed_blobs import ListedBlobs
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.sources import parts_of, resolve_raster, whole
from geo_etl.spec import CollectionRef, RasterSpec, SourceRef

NAMED = 10
"""Bad members that an error has in full."""


def plan_collection_run(
    ref: CollectionRef,
    overrides: dict[str, Any],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    *,
    force: bool,
) -> CollectionManifest:
    """Which members there are, and which of them have to be made.

    Raises:
        SourceError: there is none, or none can be read.
        SpecError: two members would be one item.
        PublishError: the collection belongs to something else.
    """
    clock, rasters = Clock(), Rasters(postgis.engine)
    storage = ListedBlobs(blobs.storage, ref.container, ref.prefix)
    spec = resolve_collection(storage, ref, overrides)
    collection_id = spec.collection_id or re.sub(r"[^A-Za-z0-9_.-]+", "_", ref.name)
    sources = members_of(storage, ref)
    if not sources:
        raise SourceError(
            str(ref),
            "there is no raster in it",
            f"Put some below it; 'geo-etl unpublish {collection_id}' removes what was published.",
        )
    with postgis.engine.connect() as connection:
        check_layer(connection, collection_id, "collection", [], str(ref))
    current = rasters.current(collection_id)
    before = (current.mosaic or {}) if current is not None else {}
    stats = {source: whole(parts_of(storage, source)) for source in sources}
    etags = {str(source): blob.etag for source, blob in stats.items()}

    def settings(source: SourceRef, shape: Shape | None) -> dict[str, Any]:
        return member_overrides(ref, collection_id, source, storage, overrides, shape)

    model, shape = _model(before, etags) if not force else (None, None)
    if model is None or shape is None:
        model, shape = _first_shape(sources, blobs, settings)
    members: list[Member] = []
    ids: dict[str, SourceRef] = {}
    for source, blob in stats.items():
        own = settings(source, shape)
        if (other := ids.setdefault(own["item_id"], source)) != source:
            raise SpecError(
                f"collection {ref}",
                f"{other} and {source} would both be item {own['item_id']}",
                "Give one of them an item_id of its own in a file NAME.ingest.yaml beside it.",
            )
        state = _digest(blob.etag, resolve_raster(storage, source, own))
        members.append(Member(source, blob.size, blob.modified, state))
    shown = {
        one.source: one for one in rasters.published(collection_id=collection_id, form="single")
    }
    known = {} if force else before.get("members", {})
    unchanged = tuple(
        one
        for one in members
        if str(one.source) in shown and known.get(str(one.source)) == one.state
    )
    left = [one for one in members if one not in unchanged]
    return CollectionManifest(
        ref=ref,
        spec=spec,
        job_id=collection_job_id(ref, spec, members),
        collection_id=collection_id,
        members=tuple(members),
        model=model,
        shape=shape,
        batches=batches_of(left),
        unchanged=unchanged,
        removed=tuple(
            (one.layer, source) for source, one in sorted(shown.items()) if source not in etags
        ),
        model_etag=etags[model],
        force=force,
        warnings=(),
        span=clock.span(),
    )


def _model(before: Mapping[str, Any], etags: Mapping[str, str]) -> tuple[str | None, Shape | None]:
    """The member that others were compared with last time, if it is there as it was."""
    model = before.get("model")
    if model is None or etags.get(model) != before.get("model_etag"):
        return None, None
    return model, from_record(Shape, before["shape"])


def _first_shape(
    sources: Sequence[SourceRef], blobs: BlobStorageResource, settings: Any
) -> tuple[str, Shape]:
    """The first member that can be read."""
    first: GeoEtlError | None = None
    for source in sources:
        try:
            shape, _ = shape_of(source, blobs, settings(source, None))
        except GeoEtlError as error:
            first = first or error
        else:
            return str(source), shape
    assert first is not None
    raise first


def _digest(etag: str, spec: RasterSpec) -> str:
    canonical = json.dumps(spec.canonical(), sort_keys=True)
    return hashlib.sha256(f"{etag}\n{canonical}".encode()).hexdigest()


def check_outcomes(
    manifest: CollectionManifest,
    reported: Sequence[int],
    outcomes: Sequence[Outcome],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> None:
    """Refuse a collection with bad members, unless its spec allows them; leave nothing of it.

    Raises:
        ConservationError: a task has not reported.
        RasterError: names the bad members, each with its problem.
    """
    missing = {batch.index for batch in manifest.batches} - set(reported)
    if missing:
        raise ConservationError(
            f"collection {manifest.collection_id}",
            f"{len(missing)} of its tasks have not run",
            "Run the ingest again: members that are done are not made twice.",
        )
    bad = [one for one in outcomes if one.status == "bad"]
    good = len(manifest.unchanged) + sum(one.status == "converted" for one in outcomes)
    if not bad or (manifest.spec.members.on_bad == "skip" and good):
        return
    rasters = Rasters(postgis.engine)
    rasters.abandon_run(manifest.job_id)
    rasters.remove_discarded(blobs.storage)
    said = "; ".join(str(one.problem).rstrip(".") for one in bad[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    raise RasterError(
        f"collection {manifest.ref}",
        f"{len(bad)} of its {len(manifest.members)} members can't be published: {said}{more}",
        "Nothing was published. Correct or remove them, or set members.on_bad: skip to publish "
        "the others.",
    )


def prepare_collection(
    manifest: CollectionManifest,
    outcomes: Sequence[Outcome],
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> tuple[list[Candidate], list[str], list[str]]:
    """What is to be published, the collection last; layers that go with it; and warnings."""
    rasters, storage, collection_id = Rasters(postgis.engine), blobs.storage, manifest.collection_id
    new = {one.version.source: one for one in _candidates(outcomes)}
    there = {str(member.source) for member in manifest.members}
    shown = {
        one.source: one for one in rasters.published(collection_id=collection_id, form="single")
    }
    # A member of another item id than before leaves none behind.
    removed = [layer for layer, _ in manifest.removed]
    removed += [
        one.layer
        for source, one in shown.items()
        if source in new and one.layer != new[source].version.layer
    ]
    kept = [one for source, one in shown.items() if source in there and source not in new]
    with postgis.engine.connect() as connection:
        versions = [*(one.version for one in new.values()), *kept]
        items = [item for one in kept for item in items_of(connection, one)]
        items += [
            item
            for one in new.values()
            for item in (one.items or items_of(connection, one.version))
        ]
    items.sort(key=lambda item: str(item["id"]))
    plan = LoadPlan(
        job_id=manifest.job_id,
        run_job_id=manifest.job_id,
        source=str(manifest.ref),
        layer=collection_id,
        layout=manifest.job_id,
        pieces=[],
    )
    load = begin_load(postgis.engine, plan, blobs.silver_container, force=manifest.force)
    attempt = begin_piece(postgis.engine, load, None, [MOSAIC, REPORT])
    assert isinstance(attempt, Attempt)
    path, report, warnings = attempt.paths[MOSAIC], attempt.paths[REPORT], []
    try:
        text = _vrt(versions, path, collection_id, postgis)
    except RasterError as error:
        warnings.append(f"The collection has no VRT: {error.problem}. {error.remedy}")
        text = None
    if text is not None:
        write_blob(storage, path, text.encode())
    search = search_of(postgis, collection_id)
    document = raster_collection(
        CollectionFacts(
            collection_id=collection_id,
            source=str(manifest.ref),
            items=items,
            job_id=manifest.job_id,
            created=datetime.now(UTC),
            about=manifest.spec.metadata,
            files=[] if text is None else [mosaic_file(storage.url(SourceRef.parse(path)))],
            search_id=search,
            tiles_url=serving.tiles_root,
        )
    )
    validate(document)
    bad = {str(one.member.source) for one in outcomes if one.status != "converted"}
    version = Version(
        layer=collection_id,
        number=0,
        current=True,
        form="collection",
        source=str(manifest.ref),
        sources=tuple(sorted(one.source for one in versions)),
        fingerprint=manifest.job_id,
        job_id=manifest.job_id,
        load_id=load.id,
        collection_id=collection_id,
        item_ids=tuple(item["id"] for item in items),
        collection=document,
        mosaic={
            "vrt": path if text is not None else None,
            "report": report,
            "search_id": search,
            "model": manifest.model,
            "model_etag": manifest.model_etag,
            "shape": to_record(manifest.shape),
            "members": {
                str(one.source): one.state for one in manifest.members if str(one.source) not in bad
            },
        },
        facts=None,
        pixels=sum(one.pixels for one in versions),
        bytes=sum(one.bytes for one in versions),
        result=None,
        published_at=datetime.now(UTC),
    )
    files = (report,) if text is None else (report, path)
    whole_one = Candidate(load, version, (), files)
    return [*new.values(), whole_one], removed, warnings


def _candidates(outcomes: Sequence[Outcome]) -> list[Candidate]:
    return [one.candidate for one in outcomes if one.candidate is not None]


def _vrt(versions: Sequence[Version], path: str, name: str, postgis: PostGISResource) -> str:
    """All members as one raster.

    Raises:
        RasterError: they differ too much for that.
    """
    members: list[MosaicMember] = []
    with postgis.engine.connect() as connection:
        for version in sorted(versions, key=lambda one: one.layer):
            assert version.load_id is not None
            assert version.facts is not None
            files = [
                made for report in reports_of(connection, version.load_id) for made in report.made
            ]
            for tier in SHOWN:
                found = [made for made in files if made.tier == tier]
                if found:
                    members.append(member_of(found[0], version.facts, path))
                    break
    if not members:
        raise RasterError(
            name, "its members are archives alone", "Add analysis or visualization to output_tier."
        )
    return vrt(members, mosaic_grid(members, name), name)


def stored_members(
    manifest: CollectionManifest,
    outcomes: Sequence[Outcome],
    versions: Mapping[str, Version],
    postgis: PostGISResource,
) -> list[MemberReport]:
    """What became of each member, those of earlier jobs with their stored results.

    Args:
        versions: of the members that this job has made, by source.
    """
    shown = {
        one.source: one
        for one in Rasters(postgis.engine).published(
            collection_id=manifest.collection_id, form="single"
        )
    }
    found = [
        MemberReport(source, "removed", layer.partition("/")[2])
        for layer, source in manifest.removed
    ]
    for outcome in outcomes:
        source = str(outcome.member.source)
        if outcome.status == "converted" and source in versions:
            version = versions[source]
            result = numbered(outcome, version.number)
            found.append(MemberReport(source, "converted", version.item_ids[0], result))
        else:
            found.append(MemberReport(source, "bad", problem=outcome.problem))
    for member in manifest.unchanged:
        version = shown[str(member.source)]
        stored = RasterResult.model_validate(version.result) if version.result else None
        found.append(MemberReport(version.source, "unchanged", version.item_ids[0], stored))
    return found


def collection_place(
    version: Version,
    items: Mapping[str, Item | None],
    blobs: BlobStorageResource,
    serving: ServingResource,
) -> Place:
    """Where a collection is to be found."""
    there = [item for item in items.values() if item is not None]
    urls, mosaic = urls_of(version, there, serving), version.mosaic or {}
    urls_in = {
        key: blobs.storage.url(SourceRef.parse(mosaic[key]))
        for key in ("vrt", "report")
        if mosaic.get(key)
    }
    return Place(
        collection_id=version.collection_id,
        item_id=None,
        bbox=box_of(there),
        hrefs={},
        mosaic=Mosaic(
            vrt=urls_in.get("vrt"),
            search_id=mosaic.get("search_id"),
            tilejson_url=urls.tilejson if urls else None,
        ),
        tiles_url=urls.tilejson if urls else None,
        viewer_url=urls.viewer if urls else None,
        quality_report_url=urls_in.get("report"),
    )


def write_collection_report(
    result: CollectionResult, version: Version, blobs: BlobStorageResource
) -> str:
    """Store the quality report of a collection in silver; a summary as Markdown."""
    from geo_etl.report.raster_picture import (  # with matplotlib: only here
        collection_picture,
        small_picture,
    )

    boxes = [member.bbox for member in result.members if member.bbox is not None]
    picture = collection_picture(boxes, result.layer) if boxes else None
    page = collection_page(result, software_versions(), picture)
    write_blob(blobs.storage, (version.mosaic or {})["report"], page.encode())
    small = small_picture(picture) if picture is not None else None
    return collection_markdown(result, small, result.quality_report_url)


def catalogued_members(
    version: Version, postgis: PostGISResource
) -> tuple[dict[str, str], dict[str, Item | None]]:
    """Job of each member's item as it was published, and the items as pgSTAC has them."""
    members = Rasters(postgis.engine).published(collection_id=version.collection_id, form="single")
    expected: dict[str, str] = {}
    with postgis.engine.connect() as connection:
        for member in members:
            expected.update(dict.fromkeys(member.item_ids, member.job_id))
        found = {
            item_id: pgstac.get_item(connection, version.collection_id, item_id)
            for item_id in expected
        }
    return expected, found
