"""What a search found, as others can use it: a feature collection that stands alone, and rows."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from geo_etl.catalog.served import Servers, served_item

HEADINGS = ("id", "collection", "datetime", "bbox", "title")
Item = Mapping[str, Any]


def servers_of(
    stac: str | None, features: str | None, tiles: str | None, storage: str
) -> Servers | None:
    """The servers beside a STAC API of this project; None unless all of them are configured.

    Args:
        stac, features, tiles: their roots.
        storage: what addresses of blobs in storage begin with.
    """
    if stac is None or features is None or tiles is None:
        return None
    return Servers(features, tiles, f"{stac.removesuffix('/stac')}/files", storage)


def lone_item(item: Item, stac: str | None, servers: Servers | None) -> dict[str, Any]:
    """An item outside its catalogue: its links and assets are absolute.

    Without servers it is as it is stored, without the links that need a place of their own.

    Args:
        stac: root of the STAC API.
    """
    links = [link for link in item.get("links", ()) if urlsplit(link["href"]).scheme]
    if stac is None or servers is None:
        return {**item, "links": links}
    collection = f"{stac}/collections/{quote(item['collection'], safe='')}"
    structure = {
        "self": f"{collection}/items/{quote(item['id'], safe='')}",
        "parent": collection,
        "collection": collection,
        "root": f"{stac}/",
    }
    links = [link for link in links if link["rel"] not in structure]
    links += [
        {
            "rel": rel,
            "href": href,
            "type": "application/geo+json" if rel == "self" else "application/json",
        }
        for rel, href in structure.items()
    ]
    return served_item({**item, "links": links}, servers)


def feature_collection(items: Iterator[Item], matched: int) -> Iterator[str]:
    """The text of a GeoJSON feature collection, piece by piece, an item a line."""
    returned = 0
    yield '{"type": "FeatureCollection", "features": ['
    for item in items:
        # Ids may hold what no encoding can write: as escapes it can always be.
        yield f"{',' if returned else ''}\n{json.dumps(item)}"
        returned += 1
    yield f'\n], "numberMatched": {matched}, "numberReturned": {returned}}}\n'


def row_of(item: Item) -> tuple[str, ...]:
    """An item in short: see `HEADINGS`."""
    properties = item["properties"]
    time = properties.get("datetime") or properties.get("start_datetime") or ""
    box = ", ".join(f"{edge:.5f}".rstrip("0").rstrip(".") for edge in item.get("bbox") or ())
    return item["id"], item["collection"], time, box, str(properties.get("title") or "")
