"""The STAC documents of a raster layer, from the reports of its tasks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from geo_etl.assets.raster_blobs import LayerFiles, url_of
from geo_etl.catalog.raster_collections import (
    CollectionFacts,
    CollectionFile,
    archive_file,
    mosaic_file,
    open_raster_collection,
    raster_collection,
    thumbnail_file,
)
from geo_etl.catalog.rasters import RasterItemFacts, TierFile, raster_item
from geo_etl.errors import RasterError
from geo_etl.raster import ingest
from geo_etl.raster.manifest import Made, PieceReport, RasterManifest
from geo_etl.raster.profiles import monthly_cost
from geo_etl.resources import pgstac
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.sources import source_blobs
from geo_etl.spec import SourceRef

Item = dict[str, Any]


def items_of_layer(
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    files: LayerFiles,
    storage: BlobStorage,
    serving: ServingResource,
) -> list[Item]:
    """The STAC items of a layer: one, or one a tile that has a valid pixel.

    Raises:
        RasterError: no pixel is valid.
    """
    ids, software, created = (
        ingest.item_ids(manifest),
        ingest.software_versions(),
        datetime.now(UTC),
    )
    by_item: dict[str, list[Made]] = {}
    tile_of: dict[str, tuple[int, int]] = {}
    pieces = {piece.index: piece for piece in manifest.pieces}
    for report in reports:
        if report.index not in ids or not report.made:
            continue
        by_item.setdefault(ids[report.index], []).extend(report.made)
        piece = pieces[report.index]
        if piece.is_tile:
            tile_of[ids[report.index]] = (piece.row, piece.col)
    if not by_item:
        raise RasterError(
            str(manifest.order.source),
            "no pixel of it is valid, so there is nothing to publish",
            "Check its nodata value; 'nodata' in the spec overrides it.",
        )
    is_set, order = manifest.form == "tiled", manifest.order
    delivered = source_blobs(storage, order.source, order.bytes, order.fingerprint)
    return [
        raster_item(
            RasterItemFacts(
                item_id=item_id,
                collection_id=manifest.collection_id,
                order=order,
                facts=manifest.facts,
                files=[_tier_file(one, storage) for one in made],
                created=created,
                source_blobs=delivered,
                software=software,
                tile=tile_of.get(item_id),
                preview_href=None if is_set else url_of(storage, files.preview),
                report_href=url_of(storage, files.report),
                tiles_url=serving.tiles_root,
            )
        )
        for item_id, made in by_item.items()
    ]


def _tier_file(made: Made, storage: BlobStorage) -> TierFile:
    href = storage.url(SourceRef.parse(made.path))
    return TierFile(made, href, monthly_cost(made.tier, made.size))


def collection_and_search(
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    items: Sequence[Item],
    files: LayerFiles,
    storage: BlobStorage,
    postgis: PostGISResource,
    serving: ServingResource,
) -> tuple[Item, str | None]:
    """The STAC collection; of a set, with the id of the search that is its mosaic."""
    if manifest.form == "single":
        return open_raster_collection(manifest.collection_id), None
    order = manifest.order
    others: list[CollectionFile] = []
    pieces = {piece.index: piece for piece in manifest.pieces}
    for made in (one for r in reports if not pieces[r.index].is_tile for one in r.made):
        url = storage.url(SourceRef.parse(made.path))
        others.append(archive_file(url, made.size, made.sha256))
    if files.mosaic is not None:
        others.append(mosaic_file(storage.url(SourceRef.parse(files.mosaic))))
    if files.preview is not None:
        others.append(thumbnail_file(storage.url(SourceRef.parse(files.preview))))
    search = search_of(postgis, manifest.collection_id)
    document = raster_collection(
        CollectionFacts(
            collection_id=manifest.collection_id,
            source=str(order.source),
            items=items,
            job_id=order.job_id,
            created=datetime.now(UTC),
            about=order.spec.metadata,
            fingerprint=order.fingerprint,
            files=others,
            search_id=search,
            tiles_url=serving.tiles_root,
        )
    )
    return document, search


def search_of(postgis: PostGISResource, collection_id: str) -> str:
    """Id of the search that shows a collection as one layer, before it is registered."""
    with postgis.engine.connect() as connection:
        search = pgstac.register_search(connection, collection_id)
        connection.rollback()
    return search
