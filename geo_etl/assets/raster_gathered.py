"""A published collection of rasters: where it is, and what became of its members."""

from collections.abc import Mapping, Sequence

from geo_etl.assets.raster_blobs import write_blob
from geo_etl.assets.raster_documents import Item
from geo_etl.assets.raster_members import Outcome, numbered
from geo_etl.assets.raster_places import box_of, urls_of
from geo_etl.raster.collection import (
    CollectionManifest,
)
from geo_etl.raster.ingest import software_versions
from geo_etl.raster.layers import Version
from geo_etl.report.collection_outcome import Member as MemberReport
from geo_etl.report.collection_page import collection_page
from geo_etl.report.markdown import collection_markdown
from geo_etl.report.raster_outcome import Place
from geo_etl.report.raster_result import CollectionResult, Mosaic, RasterResult
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.stac_items import read_items
from geo_etl.spec import SourceRef


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
        found = read_items(connection, version.collection_id, list(expected))
    return expected, {**dict.fromkeys(expected), **found}
