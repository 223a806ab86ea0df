"""What the run of a collection of rasters has to do: which members are new, changed or gone."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from geo_etl.assets.raster_members import member_overrides, shape_of
from geo_etl.errors import GeoEtlError, SourceError, SpecError
from geo_etl.ingest.clock import Clock
from geo_etl.raster.collection import (
    CollectionManifest,
    Member,
    Shape,
    batches_of,
    collection_job_id,
)
from geo_etl.raster.ownership import check_layer
from geo_etl.raster.records import from_record
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.collections import members_of, resolve_collection
from geo_etl.resources.listed_blobs import ListedBlobs
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.sources import parts_of, resolve_raster, whole
from geo_etl.spec import CollectionRef, RasterSpec, SourceRef


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
    same = set(unchanged)
    left = [one for one in members if one not in same]
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
