"""STAC documents as a client gets them: absolute addresses that it can fetch.

What is stored names blobs by their address in storage, which only the project's own programs can
read, and servers as they were when it was written. Not here: what is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from geo_etl.catalog.links import linked

Document = dict[str, Any]


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
    if not item.keys() >= {"id", "collection", "properties"}:
        return served
    served = linked(served, servers.features, servers.tiles)
    return _with_legal_links(served, item["collection"], item["id"])


def served_collection(collection: Document, servers: Servers) -> Document:
    """A collection for clients."""
    served = linked(_with_public_assets(collection, servers), servers.features, servers.tiles)
    return _with_legal_links(served, collection["id"])


def _with_legal_links(
    document: Document, collection_id: str, item_id: str | None = None
) -> Document:
    """With ids percent-encoded in links (RFC 3986): the upstream server writes them as they are."""
    if "links" not in document:
        return document
    plain, legal = f"/collections/{collection_id}", f"/collections/{quote(collection_id, safe='')}"
    forms = [(plain, legal)]
    if item_id is not None:
        item = (f"{plain}/items/{item_id}", f"{legal}/items/{quote(item_id, safe='')}")
        forms.insert(0, item)
    return {**document, "links": [_written(link, forms) for link in document["links"]]}


def _written(link: Mapping[str, Any], forms: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A link whose address has the second of the first form that it is written in."""
    href = link["href"]
    for plain, legal in forms:
        if plain in href:
            return {**link, "href": href.replace(plain, legal, 1)}
    return dict(link)


def _with_public_assets(document: Document, servers: Servers) -> Document:
    if "assets" not in document:
        return dict(document)
    assets = {
        key: {**asset, "href": servers.public(asset["href"])} if "href" in asset else asset
        for key, asset in document["assets"].items()
    }
    return {**document, "assets": assets}
