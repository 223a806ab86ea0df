"""Links from STAC documents to the servers of what they describe: features, tiles, maps.

Made of a document and the servers' addresses alone, for documents that are stored and for those
that are served. Not here: links between documents, which every STAC API makes itself.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pystac import MediaType

from geo_etl.catalog import tiles

Document = Mapping[str, Any]
Link = dict[str, str]

WEB_MAP_LINKS = "https://stac-extensions.github.io/web-map-links/v1.2.0/schema.json"
WEB_MAPS = {"tilejson", "xyz"}
"""Relations that the web-map-links extension describes."""


def linked(document: Document, features: str | None, tile_server: str | None) -> dict[str, Any]:
    """An item or collection with links to servers, in place of those that it has.

    One without `links`, as a search may ask for, is left as it is.

    Args:
        features: root of OGC API Features; None when no server is configured.
        tile_server: root of titiler-pgstac, likewise.
    """
    if "links" not in document:
        return dict(document)
    is_table = "table:row_count" in document.get("properties", {})
    links = _table_links(document, features) if is_table else _raster_links(document, tile_server)
    ours = {(link["rel"], link["title"]) for link in links}
    kept = [link for link in document["links"] if (link["rel"], link.get("title")) not in ours]
    found = {**document, "links": [*kept, *links]}
    if is_table and features and "assets" in document:
        found["assets"] = {**document["assets"], "features": _features_asset(document, features)}
    if WEB_MAPS.intersection(link["rel"] for link in found["links"]):
        declared = document.get("stac_extensions", [])
        found["stac_extensions"] = list(dict.fromkeys([*declared, WEB_MAP_LINKS]))
    return found


def table_url(features: str, table: str) -> str:
    """Address of a table's OGC API Features collection."""
    return f"{features}/collections/{quote(table, safe='')}"


def map_url(features: str, table: str) -> str:
    """Address of a map of a table, of tipg at a root."""
    return f"{table_url(features, table)}/viewer.html"


def tilejson_url(features: str, table: str) -> str:
    """Address of the TileJSON of a table's vector tiles, of tipg at a root."""
    return f"{table_url(features, table)}/tiles/{tiles.MERCATOR}/tilejson.json"


def _features_asset(item: Document, features: str) -> dict[str, Any]:
    return {
        "href": f"{table_url(features, item['id'])}/items",
        "title": "OGC API Features",
        "type": MediaType.GEOJSON.value,
        "roles": ["data"],
    }


def _table_links(item: Document, features: str | None) -> list[Link]:
    if features is None:
        return []
    about = table_url(features, item["id"])
    return [
        _link("alternate", f"{about}/items", MediaType.GEOJSON, "Features"),
        _link("alternate", map_url(features, item["id"]), MediaType.HTML, "Map"),
        _link("tilejson", tilejson_url(features, item["id"]), MediaType.JSON, "Vector tiles"),
    ]


def _raster_links(document: Document, tile_server: str | None) -> list[Link]:
    """Links to a tile server, whose tile matrix sets are all of the Earth."""
    about = document.get("properties", document)
    key, render = next(iter(about.get("renders", {}).items()), ("", None))
    is_elsewhere = "ssys:targets" in {**about, **document.get("summaries", {})}
    if tile_server is None or render is None or is_elsewhere:
        return []
    if "collection" in document:
        path = tiles.item_path(document["collection"], document["id"])
    else:
        path = tiles.collection_path(document["id"])
    urls = tiles.raster_urls(tile_server, path, tiles.render_query(render))
    links = [
        _link("tilejson", urls.tilejson, MediaType.JSON, "Raster tiles"),
        _link("xyz", urls.tiles, MediaType.PNG, "Raster tiles"),
        _link("alternate", urls.viewer, MediaType.HTML, "Map"),
    ]
    # The render extension wants to know which of the ways to show it a link is of.
    return [{**link, "render": key} for link in links]


def _link(rel: str, href: str, kind: MediaType, title: str) -> Link:
    return {"rel": rel, "href": href, "type": kind.value, "title": title}
