"""What items of tables and of rasters say alike: source, lineage, description, outlines of boxes.

Here: parts of documents. Not here: whole items and collections (`vectors`, `rasters`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pystac
from pystac.extensions.file import FileExtension

from geo_etl.spec import Metadata

PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
SOURCE_TIME = "the source's modification time"
"""Where an item's datetime is from when nothing tells the time of the data."""
SHA256_MULTIHASH = "1220"
"""Code of SHA-256 and its length of 32 bytes, in hexadecimal (multiformats' multihash table)."""

BBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class SourceBlob:
    """A blob that a source is made of: most are just one.

    Attributes:
        key: of the asset that names it.
        href: its address in storage.
        size: in bytes.
        sha256: hexadecimal.
    """

    key: str
    href: str
    title: str
    size: int
    sha256: str | None


def bbox_geometry(bbox: BBox) -> dict[str, Any]:
    """The outline of a box as GeoJSON.

    A box with west > east crosses the antimeridian: cut there into two polygons, as RFC 7946
    asks in section 3.1.9. A box without width or height is a line or a point: a polygon without
    area is not valid, and no search would find it.
    """
    west, south, east, north = bbox
    if west <= east:
        return _outline(west, south, east, north)
    halves = [(west, 180.0), (-180.0, east)]
    parts = [_outline(left, south, right, north) for left, right in halves if left < right]
    if not parts:
        return _outline(180.0, south, 180.0, north)
    if len(parts) == 1:
        return parts[0]
    kind = f"Multi{parts[0]['type']}"
    return {"type": kind, "coordinates": [part["coordinates"] for part in parts]}


def _outline(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    if west == east or south == north:
        return {"type": "LineString", "coordinates": [[west, south], [east, north]]}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def moment(when: datetime) -> str:
    """A time as STAC writes it."""
    return when.isoformat().replace("+00:00", "Z")


def description_of(about: Metadata) -> dict[str, Any]:
    """What a spec says of its dataset, as STAC's common metadata."""
    said = {
        "description": about.description,
        "license": about.license,
        "providers": about.provider and [{"name": about.provider, "roles": ["producer"]}],
    }
    return {key: value for key, value in said.items() if value}


def add_lineage(item: pystac.Item, lineage: str, software: Mapping[str, str]) -> None:
    """Say how the outputs of an item came to be.

    Args:
        software: name to version of the programs that made them.
    """
    item.stac_extensions.append(PROCESSING)
    item.properties["processing:lineage"] = lineage
    if software:
        item.properties["processing:software"] = dict(software)


def add_source(item: pystac.Item, blobs: Sequence[SourceBlob], media_type: str | None) -> None:
    """Name the blobs of the source as assets, with what is known of them."""
    for blob in blobs:
        asset = pystac.Asset(blob.href, blob.title, None, media_type, ["source"])
        item.add_asset(blob.key, asset)
        add_file(asset, blob.size, blob.sha256)


def collection_link(collection_id: str) -> pystac.Link:
    """The link that STAC wants wherever the property is; it holds below /collections/…/items/."""
    href = f"../../{quote(collection_id, safe='')}"
    return pystac.Link("collection", href, pystac.MediaType.JSON)


def add_file(asset: pystac.Asset, size: int | None, sha256: str | None) -> None:
    """Say size in bytes and SHA-256 (hexadecimal) of an asset that belongs to an item."""
    file = FileExtension.ext(asset, add_if_missing=True)
    if size is not None:
        file.size = size
    if sha256 is not None:
        file.checksum = SHA256_MULTIHASH + sha256
