"""Where a published raster layer is to be found, and what is to be seen there."""

from collections.abc import Mapping, Sequence
from typing import Any

from geo_etl.assets.raster_blobs import LayerFiles, url_of
from geo_etl.assets.raster_documents import Item
from geo_etl.catalog import tiles
from geo_etl.catalog.footprints import union_of_boxes
from geo_etl.raster import ingest
from geo_etl.raster.layers import Version, items_of
from geo_etl.raster.manifest import PieceReport, RasterManifest
from geo_etl.report.documents import Bounds
from geo_etl.report.raster_outcome import Place, TileItem
from geo_etl.report.raster_result import Mosaic
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.stac_items import read_items
from geo_etl.spec import SourceRef


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
            vrt=url_of(storage, files.mosaic),
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
        preview_url=url_of(storage, files.preview),
        quality_report_url=url_of(storage, files.report),
    )


def box_of(items: Sequence[Item]) -> Bounds | None:
    """The box around items on Earth."""
    return union_of_boxes(tuple(item["bbox"]) for item in items if is_on_earth(item))


def urls_of(
    version: Version, items: Sequence[Item], serving: ServingResource
) -> tiles.RasterUrls | None:
    """Addresses of a layer's tiles; None when nothing serves it."""
    render = version.collection.get("renders", {}).get("default") or render_of(items)
    if render is None or not all(map(is_on_earth, items)):
        return None
    return serving.raster_urls(_tiles_path(version), tiles.render_query(render))


def _tiles_path(version: Version) -> str:
    if version.is_set:  # unlike the search, this knows its bounds
        return tiles.collection_path(version.collection_id)
    return tiles.item_path(version.collection_id, version.item_ids[0])


def render_of(items: Sequence[Item]) -> Mapping[str, Any] | None:
    """How the first of a layer's items is drawn; None: it can't be."""
    renders = items[0]["properties"].get("renders", {}) if items else {}
    found: Mapping[str, Any] | None = renders.get("default")
    return found


def is_on_earth(item: Item) -> bool:
    """Whether an item's degrees are those of the Earth."""
    return "ssys:targets" not in item["properties"]


def catalogued_items(
    version: Version, postgis: PostGISResource
) -> tuple[dict[str, str], dict[str, Item | None]]:
    """Job of each item of a layer as it was published, and the items as pgSTAC has them."""
    with postgis.engine.connect() as connection:
        written = items_of(connection, version)
        expected = {item["id"]: item["properties"]["geo_etl:job_id"] for item in written}
        found = read_items(connection, version.collection_id, list(expected))
    return expected, {**dict.fromkeys(expected), **found}
