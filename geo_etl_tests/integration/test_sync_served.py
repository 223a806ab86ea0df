"""Rasters that were catalogued where they lie, as clients get them."""

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from geo_etl.catalog.tiles import covering_tile
from geo_etl_tests.integration.syncing import Container

# titiler warns of what it does by itself.
pytestmark = pytest.mark.filterwarnings("ignore:No `assets` option passed:UserWarning")

NAMES = ["plain.tif", "Höhe & mehr/a b.tif"]


@pytest.fixture
def features(
    site: str, stack: Any, unique: str, shared_data: Path, engine: sa.Engine
) -> list[dict[str, Any]]:
    """The items that the STAC API has of a container with the same raster under two names."""
    container = Container(stack.home, unique, shared_data / "raster" / "geotiff", engine)
    for name in NAMES:
        container.put(name, "rmnp-dem.tif")
    container.sync()
    answer = httpx.get(f"{site}/stac/collections/{unique}/items", timeout=60)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["features"]
    return found


def links(document: dict[str, Any]) -> dict[str, str]:
    return {link["rel"]: link["href"] for link in document["links"]}


def opaque_pixels(template: str, bbox: list[float]) -> int:
    """Of one tile in the middle of a box."""
    west, south, east, north = bbox
    tile = covering_tile((west, south, east, north), ((west + east) / 2, (south + north) / 2))
    url = template.format(z=tile.zoom, x=tile.x, y=tile.y)
    content = httpx.get(url, timeout=60).raise_for_status().content
    return int(np.count_nonzero(np.array(Image.open(io.BytesIO(content)).convert("RGBA"))[..., 3]))


def test_every_item_leads_to_its_file_whatever_its_name(
    features: list[dict[str, Any]], shared_data: Path
) -> None:
    expected = (shared_data / "raster" / "geotiff" / "rmnp-dem.tif").read_bytes()
    assert len(features) == 2
    for feature in features:
        assert httpx.get(feature["assets"]["data"]["href"]).content == expected
        assert httpx.get(links(feature)["self"], timeout=60).json()["id"] == feature["id"]


def test_every_item_is_seen_as_tiles(features: list[dict[str, Any]]) -> None:
    assert [opaque_pixels(links(one)["xyz"], one["bbox"]) > 0 for one in features] == [True] * 2


def test_the_collection_is_seen_as_one_layer(features: list[dict[str, Any]]) -> None:
    collection = httpx.get(links(features[0])["collection"], timeout=60).json()
    assert opaque_pixels(links(collection)["xyz"], features[0]["bbox"]) > 0
