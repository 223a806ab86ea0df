"""The servers in front of the data, as a client sees them."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from dagster import ConfigurableResource

from geo_etl.settings import get_settings

TIMEOUT_SECONDS = 30.0


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


class ServingResource(ConfigurableResource):  # type: ignore[type-arg]
    """Where the servers are. Without a URL, what the settings or `geo-etl serve` say."""

    features_url: str | None = None

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
