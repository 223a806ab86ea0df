"""From the finished members of a collection of rasters to what is published, at once."""

from collections.abc import Sequence
from datetime import UTC, datetime

from geo_etl.assets.raster_blobs import MOSAIC, REPORT, write_blob
from geo_etl.assets.raster_documents import search_of
from geo_etl.assets.raster_members import Outcome
from geo_etl.catalog.raster_collections import CollectionFacts, mosaic_file, raster_collection
from geo_etl.catalog.validate import validate
from geo_etl.errors import ConservationError, RasterError
from geo_etl.raster.collection import CollectionManifest
from geo_etl.raster.layers import Version, items_of
from geo_etl.raster.loads import LoadPlan, begin_load
from geo_etl.raster.members import SHOWN, member_of
from geo_etl.raster.mosaic import Member as MosaicMember
from geo_etl.raster.mosaic import mosaic_grid, vrt
from geo_etl.raster.outputs import Attempt, begin_piece, reports_of
from geo_etl.raster.publish import Candidate
from geo_etl.raster.records import to_record
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.serving import ServingResource
from geo_etl.spec import SourceRef

NAMED = 10
"""Bad members that an error has in full."""


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
