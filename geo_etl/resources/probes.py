"""Questions to the servers in front of the data, and what is wrong with an answer in itself.

Here: one verb a question. Not here: where the servers are, and whether an answer is the right one.
"""

import json
import warnings
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from geo_etl.catalog import tiles
from geo_etl.catalog.links import table_url
from geo_etl.catalog.vector_tiles import count_features
from geo_etl.resources.answers import Answer, Asker

EMPTY = "the tile is empty"
PROBED_LEVELS = (0, 3, 6)
"""Zoom levels below that of the whole item, until a tile has something on it."""
TABLE_ZOOM = 18
"""A point is as large as no tile; at this zoom one is 150 m wide on the equator."""
TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Byte order and version, of TIFF 6.0 (section 2) and of BigTIFF."""
PARTIAL_CONTENT = 206


@dataclass(frozen=True)
class Probe:
    """What a server said to one question.

    Attributes:
        problem: what is wrong with it, in words; None when nothing is.
    """

    answer: Answer
    problem: str | None

    @property
    def told(self) -> str:
        """The problem, where it is, and what came back."""
        came = f" gave {self.answer}" if self.answer.is_ok else ""
        return f"{self.problem} ({self.answer.url}{came})"


@dataclass(frozen=True)
class FeaturesProbe(Probe):
    """What OGC API Features says about one collection.

    Attributes:
        matched: `numberMatched`; None when the answer was no feature collection.
        first: the first feature.
    """

    matched: int | None = None
    first: dict[str, Any] | None = None


@dataclass(frozen=True)
class PictureProbe(Probe):
    """A raster tile.

    Attributes:
        pixels: bands, rows, columns; None when there is no picture.
    """

    pixels: npt.NDArray[Any] | None = None

    def shows_the_same(self, other: "PictureProbe") -> bool:
        """Whether two tiles look the same; what is transparent has no colour."""
        one, two = self._visible(), other._visible()
        return one is not None and two is not None and np.array_equal(one, two)

    def _visible(self) -> npt.NDArray[Any] | None:
        if self.pixels is None or len(self.pixels) not in (2, 4):
            return self.pixels
        return np.where(self.pixels[-1:] > 0, self.pixels, 0)


@dataclass(frozen=True)
class DocumentProbe(Probe):
    """A STAC item or collection.

    Attributes:
        document: None when the answer was none.
    """

    document: dict[str, Any] | None = None


@dataclass(frozen=True)
class Prober:
    """Asks the servers that there are. A root has no slash at its end; None: nothing serves."""

    asker: Asker
    features_root: str | None
    stac_root: str | None
    tiles_root: str | None

    def table(self, table: str) -> FeaturesProbe | None:
        """Ask for the first feature of a table, and for how many there are."""
        if self.features_root is None:
            return None
        answer = self.asker.ask(f"{table_url(self.features_root, table)}/items?limit=1&f=geojson")
        if not answer.is_ok:
            return FeaturesProbe(answer, str(answer))
        try:
            said = json.loads(answer.body)
            found, matched = said["features"], int(said["numberMatched"])
            first = dict(found[0]) if found else None
        except (ValueError, KeyError, TypeError):
            return FeaturesProbe(answer, "the answer is no GeoJSON feature collection")
        return FeaturesProbe(answer, None, matched, first)

    def table_tile(self, table: str, bbox: tiles.BBox, point: tuple[float, float]) -> Probe | None:
        """Ask for a vector tile around a point of a feature.

        Args:
            bbox: of the feature: west, south, east, north in degrees.
        """
        if self.features_root is None:
            return None
        tile = tiles.covering_tile(bbox, point, most=TABLE_ZOOM)
        answer = self.asker.ask(f"{table_url(self.features_root, table)}/tiles/{tile}")
        if not answer.is_ok:
            return Probe(answer, str(answer))
        try:
            return Probe(answer, None if count_features(answer.body) else EMPTY)
        except ValueError as error:
            return Probe(answer, f"the answer is no vector tile: {error}")

    def picture(self, path: str, query: str, tile: tiles.TileAddress) -> PictureProbe | None:
        """Ask for one raster tile.

        Args:
            path: `tiles.item_path` or `tiles.search_path`.
            query: `tiles.render_query` or `tiles.asset_query`.
        """
        if self.tiles_root is None:
            return None
        answer = self.asker.ask(tiles.tile_url(self.tiles_root, path, query, tile))
        if not answer.is_ok:
            return PictureProbe(answer, str(answer))
        return _picture(answer)

    def picture_near(
        self, path: str, query: str, bbox: tiles.BBox, point: tuple[float, float]
    ) -> PictureProbe | None:
        """Ask for a tile that shows an item.

        The first is about as large as the item. What is too scattered to be seen on it is looked
        for closer to the point.

        Args:
            path, query: as `picture`.
            bbox: of the item, or of one item of a search: west, south, east, north in degrees.
            point: longitude and latitude of valid data.
        """
        for deeper in PROBED_LEVELS:
            probe = self.picture(path, query, tiles.covering_tile(bbox, point, deeper))
            if probe is None or probe.problem != EMPTY:
                break
        return probe

    def collection(self, collection: str) -> DocumentProbe | None:
        """Ask for a STAC collection."""
        return self._document(f"/collections/{quote(collection, safe='')}")

    def item(self, collection: str, item: str) -> DocumentProbe | None:
        """Ask for a STAC item."""
        return self._document(f"/{tiles.item_path(collection, item)}")

    def _document(self, path: str) -> DocumentProbe | None:
        if self.stac_root is None:
            return None
        answer = self.asker.ask(f"{self.stac_root}{path}")
        if not answer.is_ok:
            return DocumentProbe(answer, str(answer))
        document = _document_in(answer.body)
        if document is None:
            return DocumentProbe(answer, "the answer is no STAC document")
        return DocumentProbe(answer, None, document)

    def file(self, href: str) -> Probe:
        """Ask for the first bytes of a TIFF."""
        answer = self.asker.ask(href, first_bytes=len(TIFF_HEADERS[0]))
        if not answer.is_ok:
            return Probe(answer, str(answer))
        if not answer.body.startswith(TIFF_HEADERS):
            return Probe(answer, "the file is no TIFF")
        whole = "the whole file comes where a range of its bytes was asked for"
        return Probe(answer, None if answer.status == PARTIAL_CONTENT else whole)


def _document_in(body: bytes) -> dict[str, Any] | None:
    """A STAC document, as far as its parts are of the right kind; None: it is none."""
    try:
        document = json.loads(body)
        properties, assets = (document.get(key, {}) for key in ("properties", "assets"))
        parts = [document, properties, *assets.values()]
    except (ValueError, AttributeError):
        return None
    return document if all(isinstance(part, dict) for part in parts) else None


def _picture(answer: Answer) -> PictureProbe:
    """A tile, decoded; one without an opaque pixel is empty."""
    import rasterio  # half a second, only where there are tiles
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    if not answer.body:  # of a search: no item is there
        return PictureProbe(answer, EMPTY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.MemoryFile(answer.body) as file, file.open(driver="PNG") as image:
                drawn, pixels = image.dataset_mask().any(), image.read()
    except RasterioIOError:
        return PictureProbe(answer, "the answer is no PNG image")
    return PictureProbe(answer, None if drawn else EMPTY, pixels)
