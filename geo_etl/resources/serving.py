"""The servers in front of the data, as a client sees them."""

import warnings
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from dagster import ConfigurableResource

from geo_etl.catalog import tiles
from geo_etl.settings import get_settings

TIMEOUT_SECONDS = 30.0
PROBED_LEVELS = (0, 3, 6)
"""Zoom levels below that of the whole item, until a tile has something on it."""


@dataclass(frozen=True)
class FeaturesProbe:
    """What OGC API Features says about one collection.

    Attributes:
        url: what was asked.
        matched: `numberMatched`; None when the answer was no feature collection.
        first: the first feature.
        problem: what went wrong, in words; None when nothing did.
    """

    url: str
    matched: int | None
    first: dict[str, Any] | None
    problem: str | None


@dataclass(frozen=True)
class TileProbe:
    """What a tile server answers to the request for one tile.

    Attributes:
        url: what was asked.
        status: of HTTP; None without an answer.
        bytes: length of the answer.
        problem: what is wrong with it, in words; None when something is drawn on the tile.
    """

    url: str
    status: int | None
    content_type: str | None
    bytes: int
    problem: str | None


class ServingResource(ConfigurableResource):  # type: ignore[type-arg]
    """Where the servers are. Without a URL, what the settings or `geo-etl serve` say."""

    features_url: str | None = None
    tiles_url: str | None = None

    @property
    def features_root(self) -> str | None:
        """Root of OGC API Features; None when no server is configured."""
        return self.features_url or get_settings().features_root()

    def collection_url(self, collection: str) -> str | None:
        """Address of one OGC API Features collection."""
        root = self.features_root
        return f"{root}/collections/{quote(collection)}" if root else None

    def probe_features(self, collection: str) -> FeaturesProbe | None:
        """Ask for the first feature and the count; None when no server is configured."""
        base = self.collection_url(collection)
        if base is None:
            return None
        url = f"{base}/items?limit=1&f=geojson"
        try:
            response = httpx.get(url, timeout=TIMEOUT_SECONDS, follow_redirects=True)
        except httpx.HTTPError as error:
            return FeaturesProbe(url, None, None, f"no answer ({error})")
        if response.status_code != httpx.codes.OK:
            said = " ".join(response.text.split())[:300]
            return FeaturesProbe(url, None, None, f"HTTP {response.status_code}: {said}")
        try:
            answer = response.json()
            features = answer["features"]
            return FeaturesProbe(
                url, answer["numberMatched"], features[0] if features else None, None
            )
        except (ValueError, KeyError, TypeError):
            return FeaturesProbe(url, None, None, "the answer is no GeoJSON feature collection")

    @property
    def tiles_root(self) -> str | None:
        """Root of titiler-pgstac; None when no server is configured."""
        return self.tiles_url or get_settings().tiles_root()

    def raster_urls(self, path: str, query: str) -> tiles.RasterUrls | None:
        """Addresses of an item or a search; None when no server is configured.

        Args:
            path: `tiles.item_path` or `tiles.search_path`.
            query: `tiles.render_query` or `tiles.asset_query`.
        """
        root = self.tiles_root
        return tiles.raster_urls(root, path, query) if root else None

    def probe_tile(
        self, path: str, query: str, bbox: tiles.BBox, point: tuple[float, float]
    ) -> TileProbe | None:
        """Ask for a tile that shows an item; None when no server is configured.

        The first is about as large as the item. What is too scattered to be seen on it is looked
        for closer to the point.

        Args:
            path, query: as `raster_urls`.
            bbox: of the item, or of one item of a search: west, south, east, north in degrees.
            point: longitude and latitude of valid data.
        """
        root = self.tiles_root
        if root is None:
            return None
        for deeper in PROBED_LEVELS:
            tile = tiles.covering_tile(bbox, point, deeper)
            probe = _probe_tile(tiles.tile_url(root, path, query, tile))
            if probe.problem != EMPTY:
                break
        return probe


EMPTY = "the tile is empty"


def _probe_tile(url: str) -> TileProbe:
    try:
        response = httpx.get(url, timeout=TIMEOUT_SECONDS, follow_redirects=True)
    except httpx.HTTPError as error:
        return TileProbe(url, None, None, 0, f"no answer ({error})")
    kind, size = response.headers.get("content-type"), len(response.content)
    if response.status_code == httpx.codes.NO_CONTENT:  # of a search: no item is there
        problem: str | None = EMPTY
    elif response.status_code != httpx.codes.OK:
        said = " ".join(response.text.split())[:300]
        problem = f"HTTP {response.status_code}: {said}"
    else:
        problem = _wrong_with(response.content)
    return TileProbe(url, response.status_code, kind, size, problem)


def _wrong_with(png: bytes) -> str | None:
    """What is wrong with a tile; None for one with an opaque pixel."""
    import rasterio  # half a second, only where there are tiles
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.MemoryFile(png) as file, file.open(driver="PNG") as image:
                return None if image.dataset_mask().any() else EMPTY
    except RasterioIOError:
        return "the answer is no PNG image"
