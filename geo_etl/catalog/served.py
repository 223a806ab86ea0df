"""STAC documents as a client gets them: absolute links to the servers that run now.

What is stored names blobs by their address in storage, which only the project's own programs can
read, and servers as they were when it was written. Here: the same documents with addresses that
any client can fetch. Not here: what is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pystac

from geo_etl.catalog import tiles

Document = dict[str, Any]
Link = dict[str, str]


@dataclass(frozen=True)
class Servers:
    """Where a client finds what is published.

    Attributes:
        features: root of OGC API Features; none of the roots has a slash at its end.
        tiles: root of titiler-pgstac.
        files: root of blobs over HTTP: `{files}/CONTAINER/PATH`.
        storage: what the addresses of all blobs in storage begin with.
    """

    features: str
    tiles: str
    files: str
    storage: str

    def public(self, href: str) -> str:
        """The address of a blob over HTTP; any other address as it is."""
        inside = f"{self.storage}/"
        return f"{self.files}/{href.removeprefix(inside)}" if href.startswith(inside) else href


def served_item(item: Document, servers: Servers) -> Document:
    """An item for clients. One without `assets` or `links`, as a search may ask for, stays so."""
    served = _with_public_assets(item, servers)
    if "properties" in item and "collection" in item:
        is_table = "table:row_count" in item["properties"]
        links = _table_links(item, servers) if is_table else _raster_links(item, servers)
        served = _with_links(served, links)
        if is_table and "assets" in served:
            served["assets"].update(_features_asset(item["id"], servers))
    return served


def served_collection(collection: Document, servers: Servers) -> Document:
    """A collection for clients."""
    served = _with_public_assets(collection, servers)
    render = _render(collection.get("renders"))
    if render is None:
        return served
    path = tiles.collection_path(collection["id"])
    urls = tiles.raster_urls(servers.tiles, path, tiles.render_query(render))
    return _with_links(served, tile_links(urls))


def tile_links(urls: tiles.RasterUrls) -> list[Link]:
    """Links to tiles: TileJSON, their template, and a map."""
    return [
        _link("tilejson", urls.tilejson, pystac.MediaType.JSON, "Raster tiles"),
        _link("xyz", urls.tiles, pystac.MediaType.PNG, "Raster tiles"),
        _link("alternate", urls.viewer, pystac.MediaType.HTML, "Map"),
    ]


def _table_links(item: Document, servers: Servers) -> list[Link]:
    about = f"{servers.features}/collections/{quote(item['id'])}"
    return [
        _link("alternate", f"{about}/items", pystac.MediaType.GEOJSON, "Features"),
        _link("alternate", f"{about}/viewer", pystac.MediaType.HTML, "Map"),
        _link(
            "tilejson",
            vector_tilejson(servers.features, item["id"]),
            "application/json",
            "Vector tiles",
        ),
    ]


def vector_tilejson(root: str, table: str) -> str:
    """Address of the TileJSON of a table's vector tiles, of tipg at a root."""
    return f"{root}/collections/{quote(table)}/tiles/{tiles.MERCATOR}/tilejson.json"


def _features_asset(table: str, servers: Servers) -> Document:
    href = f"{servers.features}/collections/{quote(table)}/items"
    kind = pystac.MediaType.GEOJSON
    asset = pystac.Asset(href, "OGC API Features", None, kind, ["data"])
    return {"features": asset.to_dict()}


def _raster_links(item: Document, servers: Servers) -> list[Link]:
    properties = item["properties"]
    render = _render(properties.get("renders"))
    # Tile matrix sets are all of the Earth.
    if render is None or "ssys:targets" in properties:
        return []
    path = tiles.item_path(item["collection"], item["id"])
    return tile_links(tiles.raster_urls(servers.tiles, path, tiles.render_query(render)))


def _render(renders: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return next(iter((renders or {}).values()), None)


def _link(rel: str, href: str, kind: str, title: str) -> Link:
    return {"rel": rel, "href": href, "type": str(kind), "title": title}


def _with_public_assets(document: Document, servers: Servers) -> Document:
    if "assets" not in document:
        return dict(document)
    assets = {
        key: {**asset, "href": servers.public(asset["href"])} if "href" in asset else asset
        for key, asset in document["assets"].items()
    }
    return {**document, "assets": assets}


def _with_links(document: Document, links: list[Link]) -> Document:
    """With these links in place of stored ones of the same kind."""
    if "links" not in document:
        return document
    replaced = {link["rel"] for link in links}
    kept = [link for link in document["links"] if link["rel"] not in replaced]
    return {**document, "links": [*kept, *links]}
