"""From the finished pieces of a raster to the layer that readers see, and what is said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import shapely

from geo_etl.catalog import tiles
from geo_etl.catalog.footprints import union_of_boxes
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
from geo_etl.catalog.validate import validate
from geo_etl.errors import RasterError
from geo_etl.ingest.clock import Span
from geo_etl.raster import ingest
from geo_etl.raster.layers import Version, items_of, version_made_by
from geo_etl.raster.loads import Load, check_whole
from geo_etl.raster.manifest import Made, PieceReport, RasterManifest
from geo_etl.raster.members import mosaic_of
from geo_etl.raster.outputs import Attempt, begin_piece, blobs_of, reports_of
from geo_etl.raster.profiles import monthly_cost
from geo_etl.raster.publish import Candidate
from geo_etl.report.documents import Bounds
from geo_etl.report.markdown import raster_markdown
from geo_etl.report.raster_outcome import Place, TileItem
from geo_etl.report.raster_page import raster_page
from geo_etl.report.raster_quality import raster_report
from geo_etl.report.raster_result import Mosaic, RasterResult
from geo_etl.resources import pgstac
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.serving import ServingResource, TileProbe
from geo_etl.spec import SourceRef

PREVIEW, REPORT, MOSAIC = "preview.png", "report.html", "mosaic.vrt"
Item = dict[str, Any]


@dataclass(frozen=True)
class LayerFiles:
    """Blobs of a whole layer beside its COGs, `container/path` each.

    Attributes:
        mosaic: of a set of tiles.
    """

    preview: str | None
    report: str
    mosaic: str | None

    @classmethod
    def among(cls, paths: Sequence[str]) -> "LayerFiles":
        """The ones that are there."""
        found = {path.rpartition("/")[2]: path for path in paths}
        return cls(found.get(PREVIEW), found[REPORT], found.get(MOSAIC))

    @property
    def paths(self) -> list[str]:
        """All of them."""
        return [path for path in (self.preview, self.report, self.mosaic) if path is not None]


@dataclass(frozen=True)
class PreparedLayer:
    """A layer that can be published.

    Attributes:
        candidate: None when an earlier attempt has published it, as `version`.
    """

    files: LayerFiles
    candidate: Candidate | None
    version: Version

    def published(self) -> Version:
        """What an earlier attempt has published."""
        return self.version


@dataclass(frozen=True)
class PublishedRaster:
    """What the publish made visible.

    Attributes:
        tasks: when the convert tasks ran.
    """

    version: Version
    files: LayerFiles
    tasks: tuple[Span, ...]
    span: Span


def prepare_layer(
    manifest: RasterManifest,
    load: Load,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> PreparedLayer:
    """Write what a layer has beside its COGs, and its STAC documents.

    Raises:
        ConservationError: a piece is not done.
        RasterError: a set of tiles has no valid pixel.
        CatalogueError: a document is not valid STAC.
    """
    with postgis.engine.connect() as connection:
        made = version_made_by(connection, load.id)
        if made is not None:
            return PreparedLayer(LayerFiles.among(blobs_of(connection, load.id)), None, made)
        check_whole(connection, load)
        reports = reports_of(connection, load.id)
    storage = blobs.storage
    files = _write_files(manifest, reports, load, storage, postgis)
    items = _items(manifest, reports, files, storage, serving)
    collection, search = _collection(manifest, reports, items, files, storage, postgis, serving)
    for document in (*items, collection):
        validate(document)
    order = manifest.order
    cogs = [one for report in reports for one in report.made]
    version = Version(
        layer=manifest.layer,
        number=0,
        current=True,
        form=manifest.form,
        source=str(order.source),
        sources=(str(order.source),),
        fingerprint=order.fingerprint,
        job_id=order.job_id,
        load_id=load.id,
        collection_id=manifest.collection_id,
        item_ids=tuple(item["id"] for item in items),
        collection=collection,
        mosaic=None if search is None else {"vrt": files.mosaic, "search_id": search},
        facts=manifest.facts,
        pixels=manifest.facts.grid.pixels,
        bytes=sum(one.size for one in cogs),
        result=None,
        published_at=datetime.now(UTC),
    )
    paths = (*(one.path for one in cogs), *files.paths)
    return PreparedLayer(files, Candidate(load, version, tuple(items), paths), version)


def _write_files(
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    load: Load,
    storage: BlobStorage,
    postgis: PostGISResource,
) -> LayerFiles:
    is_set = manifest.form == "tiled"
    picture = _preview(manifest, reports)
    names = [REPORT, *([PREVIEW] if picture else []), *([MOSAIC] if is_set else [])]
    attempt = begin_piece(postgis.engine, load, None, names)
    assert isinstance(attempt, Attempt)
    files = LayerFiles.among(list(attempt.paths.values()))
    # Items name it as soon as they are published, and it is complete when they are verified.
    soon = f"<!doctype html><p>The report of {manifest.layer} is written when it is verified.</p>"
    write_blob(storage, files.report, soon.encode())
    if picture is not None and files.preview is not None:
        write_blob(storage, files.preview, picture)
    if files.mosaic is not None:
        write_blob(storage, files.mosaic, mosaic_of(manifest, reports, files.mosaic).encode())
    return files


def _preview(manifest: RasterManifest, reports: Sequence[PieceReport]) -> bytes | None:
    """Of one raster its own picture; of a set its tiles where they are."""
    if manifest.form == "single":
        return next((one.preview for one in reports if one.preview is not None), None)
    from geo_etl.report.raster_picture import parts_of, raster_picture  # with matplotlib

    grid, parts = parts_of(manifest, reports)
    return raster_picture(grid, parts, manifest.item_id)


def _items(
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    files: LayerFiles,
    storage: BlobStorage,
    serving: ServingResource,
) -> list[Item]:
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
    is_set = manifest.form == "tiled"
    return [
        raster_item(
            RasterItemFacts(
                item_id=item_id,
                collection_id=manifest.collection_id,
                order=manifest.order,
                facts=manifest.facts,
                files=[_tier_file(one, storage) for one in made],
                created=created,
                software=software,
                tile=tile_of.get(item_id),
                preview_href=None if is_set else _url(storage, files.preview),
                report_href=_url(storage, files.report),
                tiles_url=serving.tiles_root,
            )
        )
        for item_id, made in by_item.items()
    ]


def _tier_file(made: Made, storage: BlobStorage) -> TierFile:
    href = storage.url(SourceRef.parse(made.path))
    return TierFile(made, href, monthly_cost(made.tier, made.size))


def _collection(
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


def place_of(
    manifest: RasterManifest,
    version: Version,
    files: LayerFiles,
    items: Sequence[Item],
    reports: Sequence[PieceReport],
    storage: BlobStorage,
    serving: ServingResource,
) -> Place:
    """Where a layer is to be found.

    Args:
        items: its STAC items.
        reports: what its tasks made.
    """
    by_id, ids = {item["id"]: item for item in items}, ingest.item_ids(manifest)
    urls = urls_of(version, items, serving)
    mosaic = None
    if version.mosaic is not None:
        mosaic = Mosaic(
            vrt=_url(storage, files.mosaic),
            search_id=version.mosaic["search_id"],
            tilejson_url=urls.tilejson if urls else None,
        )
    return Place(
        collection_id=version.collection_id,
        item_id=manifest.item_id if manifest.form == "single" else None,
        bbox=box_of(items),
        hrefs={
            made.path: storage.url(SourceRef.parse(made.path))
            for report in reports
            for made in report.made
        },
        tile_items={
            index: TileItem(item_id, tuple(by_id[item_id]["bbox"]))
            for index, item_id in ids.items()
            if item_id in by_id
        },
        mosaic=mosaic,
        tiles_url=urls.tilejson if urls else None,
        viewer_url=urls.viewer if urls else None,
        preview_url=_url(storage, files.preview),
        quality_report_url=_url(storage, files.report),
    )


def box_of(items: Sequence[Item]) -> Bounds | None:
    """The box around items on Earth."""
    return union_of_boxes(tuple(item["bbox"]) for item in items if _is_on_earth(item))


def urls_of(
    version: Version, items: Sequence[Item], serving: ServingResource
) -> tiles.RasterUrls | None:
    """Addresses of a layer's tiles; None when nothing serves it."""
    render = version.collection.get("renders", {}).get("default") or _render_of(items)
    if render is None or not all(map(_is_on_earth, items)):
        return None
    return serving.raster_urls(_tiles_path(version), tiles.render_query(render))


def _tiles_path(version: Version) -> str:
    if version.is_set:  # unlike the search, this knows its bounds
        return tiles.collection_path(version.collection_id)
    return tiles.item_path(version.collection_id, version.item_ids[0])


def _render_of(items: Sequence[Item]) -> Mapping[str, Any] | None:
    renders = items[0]["properties"].get("renders", {}) if items else {}
    found: Mapping[str, Any] | None = renders.get("default")
    return found


def _is_on_earth(item: Item) -> bool:
    return "ssys:targets" not in item["properties"]


def catalogued_items(
    version: Version, postgis: PostGISResource
) -> tuple[dict[str, str], dict[str, Item | None]]:
    """Job of each item of a layer as it was published, and the items as pgSTAC has them."""
    with postgis.engine.connect() as connection:
        written = items_of(connection, version)
        expected = {item["id"]: item["properties"]["geo_etl:job_id"] for item in written}
        found = {
            item_id: pgstac.get_item(connection, version.collection_id, item_id)
            for item_id in expected
        }
    return expected, found


def probe_layer(
    version: Version, items: Mapping[str, Item | None], serving: ServingResource
) -> list[TileProbe | None]:
    """A tile of the layer, and of a set one of its first item too; None each without a server."""
    there = [item for item in items.values() if item is not None and _is_on_earth(item)]
    render = version.collection.get("renders", {}).get("default") or _render_of(there)
    if not there or render is None:
        return []
    query, first = tiles.render_query(render), there[0]
    point = shapely.geometry.shape(first["geometry"]).representative_point()
    paths = [tiles.item_path(version.collection_id, first["id"])]
    if version.mosaic is not None:
        paths.append(tiles.search_path(version.mosaic["search_id"]))
    box, where = tuple(first["bbox"]), (point.x, point.y)
    return [serving.probe_tile(path, query, box, where) for path in paths]


def write_report(
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    result: RasterResult,
    files: LayerFiles,
    storage: BlobStorage,
) -> str:
    """Store the quality report of a layer in silver; a summary as Markdown."""
    from geo_etl.report.raster_picture import (  # with matplotlib: only here
        parts_of,
        raster_picture,
        small_picture,
    )

    report = raster_report(manifest, result, ingest.software_versions())
    grid, parts = parts_of(manifest, reports)
    picture = raster_picture(grid, parts, result.layer)
    write_blob(storage, files.report, raster_page(report, picture).encode())
    small = next((one.preview for one in reports if one.preview is not None), picture)
    if manifest.form == "tiled":
        small = picture
    return raster_markdown(report, small_picture(small), result.quality_report_url)


def write_blob(storage: BlobStorage, path: str, content: bytes) -> None:
    """Write a blob, `container/path`."""
    with storage.write(SourceRef.parse(path)) as file:
        file.write(content)


def _url(storage: BlobStorage, path: str | None) -> str | None:
    return None if path is None else storage.url(SourceRef.parse(path))


def catalogued_collection(version: Version, postgis: PostGISResource) -> Item | None:
    """The collection of a layer as pgSTAC has it."""
    with postgis.engine.connect() as connection:
        return pgstac.get_collection(connection, version.collection_id)
