"""Walking a STAC API as a client that knows nothing but STAC, and fetching whatever it links."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import httpx

FIRST_BYTES = 1024
PAGE = 1
"""Items a page: every id is once in an address of the next."""
ZOOM = 10

Document = dict[str, Any]


@dataclass(frozen=True)
class Fetched:
    """What came back for one address.

    Attributes:
        found: in which document, and as which link or asset.
        promised: the media type that the link says.
    """

    url: str
    found: str
    promised: str | None
    status: int
    media_type: str
    content: bytes

    @property
    def keeps_promise(self) -> bool:
        """Whether the media type is what the link says; parameters are compared if both have them.

        `application/octet-stream` promises nothing (RFC 2046, 4.5.1).
        """
        if self.promised in (None, "application/octet-stream"):
            return True
        wanted, given = _media_type(str(self.promised)), _media_type(self.media_type)
        return wanted[0] == given[0] and all(given[1].get(k, v) == v for k, v in wanted[1].items())


@dataclass
class Crawl:
    """Everything that was met.

    Attributes:
        links: links and assets met, those that several documents have counted each time.
        items: by collection.
    """

    root: str
    links: int = 0
    fetched: dict[str, Fetched] = field(default_factory=dict)
    collections: dict[str, Document] = field(default_factory=dict)
    items: dict[str, list[Document]] = field(default_factory=dict)
    pages: int = 0

    def documents(self) -> Iterator[Document]:
        """All collections and items."""
        yield from self.collections.values()
        for items in self.items.values():
            yield from items


def crawl(stac: str, wanted: Iterable[str]) -> Crawl:
    """Walk from the landing page down, into the wanted collections alone: others are other tests'.

    Args:
        stac: address of the landing page.
        wanted: ids of collections.
    """
    with httpx.Client(timeout=120) as client:
        walk = _Walk(client, Crawl(stac))
        landing = walk.document(stac)
        walk.follow(landing, "landing page")
        found = walk.crawl
        for page in walk.pages(link_of(landing, "data")):
            walk.follow(page, "page of collections", but=("next",))
            for collection in page["collections"]:
                if collection["id"] in set(wanted):
                    found.collections[collection["id"]] = collection
        for name, collection in found.collections.items():
            assert walk.document(link_of(collection, "self")) == collection
            walk.follow(collection, name)
            found.items[name] = []
            for page in walk.pages(f"{link_of(collection, 'items')}?limit={PAGE}"):
                walk.follow(page, f"page of {name}", but=("next",))
                found.items[name] += page["features"]
                found.pages += 1
            for item in found.items[name]:
                assert walk.document(link_of(item, "self")) == item
                walk.follow(item, f"{name}/{item['id']}")
        return found


def link_of(document: Document, rel: str) -> str:
    """The address of the one link of a relation."""
    (href,) = [link["href"] for link in document["links"] if link["rel"] == rel]
    return str(href)


class _Walk:
    def __init__(self, client: httpx.Client, into: Crawl) -> None:
        self._client, self.crawl = client, into

    def document(self, url: str) -> Document:
        """A JSON document."""
        answer = self._client.get(url)
        assert answer.status_code == 200, f"{url}: {answer.text[:300]}"
        found: Document = answer.json()
        return found

    def pages(self, url: str) -> Iterator[Document]:
        """A page and all that follow it."""
        following: str | None = url
        while following is not None:
            page = self.document(following)
            yield page
            following = next((one["href"] for one in page["links"] if one["rel"] == "next"), None)

    def follow(self, document: Document, name: str, but: tuple[str, ...] = ()) -> None:
        """Fetch every link and asset of a document."""
        place = _middle(document)
        for link in document["links"]:
            self.crawl.links += 1
            if link["rel"] not in but:
                method = link.get("method", "GET")
                self._fetch(link, f"{name}: link '{link['rel']}'", place, method)
        for key, asset in document.get("assets", {}).items():
            self.crawl.links += 1
            self._fetch(asset, f"{name}: asset '{key}'", place, "GET")

    def _fetch(self, link: Document, found: str, place: tuple[float, float], method: str) -> None:
        url = _filled(link["href"], place)
        if url in self.crawl.fetched:
            return
        body = {"json": link.get("body", {"limit": 1})} if method == "POST" else {}
        with self._client.stream(method, url, **body) as answer:
            content = next(answer.iter_bytes(FIRST_BYTES), b"")
        kind = answer.headers.get("content-type", "")
        self.crawl.fetched[url] = Fetched(
            url, found, link.get("type"), answer.status_code, kind, content
        )


def _middle(document: Document) -> tuple[float, float]:
    """Longitude and latitude in the middle of an item or collection."""
    boxes = document.get("extent", {}).get("spatial", {}).get("bbox", [document.get("bbox")])
    west, south, east, north = boxes[0] or (0, 0, 0, 0)
    return (west + ((east - west) % 360) / 2 + 180) % 360 - 180, (south + north) / 2


def _filled(href: str, place: tuple[float, float]) -> str:
    """A template of tiles with the tile of a place (OGC 17-083r4, annex D.1)."""
    if "{" not in href:
        return href
    tiles = 2**ZOOM
    x = int((place[0] + 180) / 360 * tiles)
    y = int((1 - math.asinh(math.tan(math.radians(place[1]))) / math.pi) / 2 * tiles)
    return href.format(z=ZOOM, x=x, y=y)


def _media_type(text: str) -> tuple[str, dict[str, str]]:
    essence, *parameters = (part.strip().lower() for part in text.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return essence, {key: value for key, _, value in pairs}


def addresses_in(page: str, url: str) -> list[str]:
    """What a page of HTML links to or embeds."""
    hrefs = re.findall(r"(?:href|src)=(?:'([^']*)'|\"([^\"]*)\"|([^\s>'\"]+))", page)
    texts = ("".join(groups).replace("&amp;", "&") for groups in hrefs)
    return [urljoin(url, text) for text in texts if not text.startswith(("#", "data:"))]
