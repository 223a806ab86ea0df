"""Addresses of raster tiles, as titiler-pgstac knows them.

Here: paths and queries from plain facts. Not here: asking a server, where it is.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

MERCATOR, GEOGRAPHIC = "WebMercatorQuad", "WGS1984Quad"
MERCATOR_LATITUDE = 85.0511287798066
"""Web Mercator's square ends here: arctan(sinh(π))."""
MAX_ZOOM = 24
QUERY_KEYS = ("expression", "colormap_name", "color_formula", "resampling", "nodata")

BBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class TileAddress:
    """One tile of a tile matrix set of OGC's registry (17-083r4, annexes D and E)."""

    matrix_set: str
    zoom: int
    x: int
    y: int

    def __str__(self) -> str:
        return f"{self.matrix_set}/{self.zoom}/{self.x}/{self.y}"


def item_path(collection: str, item: str) -> str:
    """Path of an item below the root of the tile server."""
    return f"collections/{quote(collection, safe='')}/items/{quote(item, safe='')}"


def collection_path(collection: str) -> str:
    """Path of all items of a collection as one layer; unlike a search's, with its bounds."""
    return f"collections/{quote(collection, safe='')}"


def search_path(search: str) -> str:
    """Path of a registered search, by its hash."""
    return f"searches/{quote(search, safe='')}"


@dataclass(frozen=True)
class RasterUrls:
    """Addresses of one layer on a tile server.

    Attributes:
        tiles: template of PNG tiles in Web Mercator with {z}, {x}, {y}.
        tilejson: TileJSON, which describes them.
        viewer: a map to look at.
    """

    tiles: str
    tilejson: str
    viewer: str


def raster_urls(root: str, path: str, query: str) -> RasterUrls:
    """Addresses of an item or a search below the root of a tile server.

    PNG is asked for everywhere: titiler's own choice is JPEG where nothing is transparent, which
    gives classes colours that they do not have.
    """
    return RasterUrls(
        tiles=f"{root}/{path}/tiles/{MERCATOR}/{{z}}/{{x}}/{{y}}.png?{query}",
        tilejson=f"{root}/{path}/{MERCATOR}/tilejson.json?{query}&tile_format=png",
        viewer=f"{root}/{path}/{MERCATOR}/map.html?{query}",
    )


def tile_url(root: str, path: str, query: str, tile: TileAddress) -> str:
    """Address of one PNG tile."""
    return f"{root}/{path}/tiles/{tile}.png?{query}"


def asset_query(asset: str) -> str:
    """The query that asks for one asset as it is."""
    return urlencode({"assets": asset})


def render_query(render: Mapping[str, Any]) -> str:
    """The query that asks for one entry of `renders`, of STAC's render extension 2.0.

    Bands are taken from `asset_bidx` (`["analysis|4,3,2"]`), which is titiler's own addition.
    """
    bands = dict(entry.split("|", 1) for entry in render.get("asset_bidx", ()))
    pairs = [
        ("assets", f"{asset}|bidx={bands[asset]}" if asset in bands else asset)
        for asset in render["assets"]
    ]
    pairs += [("rescale", f"{low},{high}") for low, high in render.get("rescale") or ()]
    pairs += [(key, render[key]) for key in QUERY_KEYS if render.get(key) is not None]
    if render.get("colormap"):
        pairs.append(("colormap", json.dumps(render["colormap"], separators=(",", ":"))))
    return urlencode(pairs)


def covering_tile(
    bbox: BBox, point: tuple[float, float], deeper: int = 0, most: int = MAX_ZOOM
) -> TileAddress:
    """A tile around a point, about as large as a box; of the poles, which Mercator has not, too.

    Args:
        bbox: west, south, east, north in degrees; west > east across the antimeridian.
        point: longitude, latitude.
        deeper: by how many zoom levels the tile is to be smaller than the box.
        most: zoom level that is not to be passed.
    """
    west, south, east, north = bbox
    longitude, latitude = (point[0] + 180.0) % 360.0 / 360.0, point[1]
    width = max((east - west) % 360.0 or 360.0 * (east != west), 1e-9)
    zoom = math.floor(math.log2(360.0 / max(width, north - south, 1e-9)))
    zoom = min(max(zoom, 0) + deeper, most)
    if abs(latitude) < MERCATOR_LATITUDE:
        across = down = 2**zoom
        height = math.asinh(math.tan(math.radians(latitude))) / math.pi
        y, matrix_set = (1.0 - height) / 2.0, MERCATOR
    else:
        zoom = max(zoom - 1, 0)  # a tile of it at level 0 is half the world
        across, down = 2 ** (zoom + 1), 2**zoom
        y, matrix_set = (90.0 - latitude) / 180.0, GEOGRAPHIC
    return TileAddress(
        matrix_set,
        zoom,
        min(math.floor(longitude * across), across - 1),
        min(max(math.floor(y * down), 0), down - 1),
    )
