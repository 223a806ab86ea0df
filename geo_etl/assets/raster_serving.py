"""What readers see of a raster layer that was just published: catalogued, and from the servers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely

from geo_etl.assets.raster_documents import Item
from geo_etl.assets.raster_places import is_on_earth, render_of
from geo_etl.assets.serving_probes import SAMPLE, StacServed, probe_stac, spread, undisturbed
from geo_etl.catalog import tiles
from geo_etl.catalog.lone_tiles import lone_tile
from geo_etl.raster.layers import Version, shown_items
from geo_etl.resources import pgstac
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.probes import EMPTY, PictureProbe, Prober
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.serving import ServingResource

PAIRS = 3
"""Members of a mosaic that are tried until one is drawn alone."""

Catalogued = tuple[dict[str, str], dict[str, Item | None]]
"""Job of each item as it was published, and the items as pgSTAC has them."""


@dataclass(frozen=True)
class LayerDrawn:
    """What the tile server draws of a layer.

    Attributes:
        tiles: where something must be seen.
        pair: of a set, a tile of the mosaic and the same of the one member that is on it; None
            where there is no such tile.
    """

    tiles: tuple[PictureProbe, ...]
    pair: tuple[PictureProbe, PictureProbe] | None = None


def draw_layer(
    prober: Prober,
    items: Sequence[Item],
    render: Mapping[str, Any],
    search: str | None,
    *,
    is_common: bool,
) -> LayerDrawn | None:
    """Ask for tiles of a layer; None without a server.

    Args:
        items: of the layer, at least one.
        render: what is drawn, of STAC's render extension.
        search: of a set, its mosaic.
        is_common: whether all items can be drawn like that; else the first.
    """
    if prober.tiles_root is None:
        return None
    query, first = tiles.render_query(render), items[0]
    point = shapely.geometry.shape(first["geometry"]).representative_point()

    def near(path: str) -> PictureProbe:
        probe = prober.picture_near(path, query, tuple(first["bbox"]), (point.x, point.y))
        assert probe is not None
        return probe

    if search is None:
        return LayerDrawn((near(_path(first)),))
    mosaic = tiles.search_path(search)
    places = spread(len(items), PAIRS) if is_common else [0]
    pair = next(_pairs(prober, items, places, mosaic, query), None)
    drawn = (near(mosaic),) if pair else (near(_path(first)), near(mosaic))
    return LayerDrawn(drawn, pair)


def _path(item: Item) -> str:
    return tiles.item_path(item["collection"], item["id"])


def _pairs(
    prober: Prober, items: Sequence[Item], places: Sequence[int], mosaic: str, query: str
) -> Iterator[tuple[PictureProbe, PictureProbe]]:
    """Tiles of the mosaic and of the member that is alone on them, where there is something."""
    for place in places:
        member, others = items[place], [*items[:place], *items[place + 1 :]]
        tile = lone_tile(member, others)
        if tile is None:
            continue
        alone = prober.picture(_path(member), query, tile)
        among = prober.picture(mosaic, query, tile)
        if alone is not None and among is not None and alone.problem != EMPTY:
            yield among, alone


@dataclass(frozen=True)
class LayerSeen:
    """What readers see of a layer.

    Attributes:
        expected: job of each item, as it was published.
        items: as pgSTAC has them; None where it has none.
        collection: as pgSTAC has it.
        drawn, stac: None without a server.
    """

    expected: dict[str, str]
    items: dict[str, Item | None]
    collection: Item | None
    drawn: LayerDrawn | None
    stac: StacServed | None


def see_layer(
    layer: str,
    catalogued: Callable[[Version, PostGISResource], Catalogued],
    postgis: PostGISResource,
    serving: ServingResource,
) -> LayerSeen:
    """Look at a layer from all sides, at one version of it.

    Args:
        catalogued: gives the items of a version.
    """
    rasters = Rasters(postgis.engine)
    with serving.prober() as prober:

        def look() -> LayerSeen:
            shown = rasters.named(layer)
            expected, items = catalogued(shown, postgis)
            ids = sorted(expected)
            ids = [ids[place] for place in spread(len(ids), SAMPLE)]
            with postgis.engine.connect() as connection:
                collection = pgstac.get_collection(connection, shown.collection_id)
                written = shown_items(connection, shown.collection_id, ids)
            # One that is not the layer's own changes with every raster that comes into it.
            own = collection if shown.is_set else None
            stac = probe_stac(prober, written, len(expected), own)
            drawn = _drawn(prober, shown, [items[name] for name in sorted(items)])
            return LayerSeen(expected, items, collection, drawn, stac)

        return undisturbed(look, lambda: getattr(rasters.current(layer), "number", None))


def _can_be_seen(item: Item) -> bool:
    """Whether an item has anything to draw, on a map of the Earth."""
    return is_on_earth(item) and item["properties"].get("geo_etl:valid_pixels") != 0


def _drawn(prober: Prober, shown: Version, items: Sequence[Item | None]) -> LayerDrawn | None:
    there = [item for item in items if item is not None and _can_be_seen(item)]
    common = shown.collection.get("renders", {}).get("default")
    render = common or render_of(there)
    if not there or render is None:
        return LayerDrawn(())
    search = shown.mosaic["search_id"] if shown.mosaic is not None else None
    return draw_layer(prober, there, render, search, is_common=common is not None)
