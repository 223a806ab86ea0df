"""Where the servers in front of the data are."""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import ConfigurableResource

from geo_etl.catalog import tiles
from geo_etl.catalog.links import table_url
from geo_etl.resources.answers import asker, without_user
from geo_etl.resources.probes import Prober
from geo_etl.settings import get_settings


class ServingResource(ConfigurableResource):  # type: ignore[type-arg]
    """Where the servers are. Without a URL, what the settings or `geo-etl serve` say.

    A root has no slash at its end; it is None when no server is configured. It has no user and
    password either: it goes into documents that anyone may read.
    """

    features_url: str | None = None
    stac_url: str | None = None
    tiles_url: str | None = None

    @property
    def features_root(self) -> str | None:
        """Root of OGC API Features (tipg)."""
        return _public(self._addresses[0])

    @property
    def stac_root(self) -> str | None:
        """Root of the STAC API (stac-fastapi-pgstac)."""
        return _public(self._addresses[1])

    @property
    def tiles_root(self) -> str | None:
        """Root of raster tiles (titiler-pgstac)."""
        return _public(self._addresses[2])

    @property
    def _addresses(self) -> tuple[str | None, str | None, str | None]:
        """Features, STAC and tiles, with user and password where they are needed."""
        settings = get_settings()
        return (
            _root(self.features_url) or settings.features_root(),
            _root(self.stac_url) or settings.stac_root(),
            _root(self.tiles_url) or settings.tiles_root(),
        )

    def collection_url(self, collection: str) -> str | None:
        """Address of one OGC API Features collection; None when no server is configured."""
        root = self.features_root
        return table_url(root, collection) if root else None

    def raster_urls(self, path: str, query: str) -> tiles.RasterUrls | None:
        """Addresses of an item or a search; None when no server is configured.

        Args:
            path: `tiles.item_path` or `tiles.search_path`.
            query: `tiles.render_query` or `tiles.asset_query`.
        """
        root = self.tiles_root
        return tiles.raster_urls(root, path, query) if root else None

    @contextmanager
    def prober(self) -> Iterator[Prober]:
        """What asks these servers; its connections are closed at the end."""
        with asker() as asking:
            yield Prober(asking, *self._addresses)


def _root(url: str | None) -> str | None:
    return url.rstrip("/") if url else None


def _public(url: str | None) -> str | None:
    return without_user(url) if url else None
