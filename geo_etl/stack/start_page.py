"""The start page of the servers: every dataset with its facts and links.

Here: what is said of a dataset, in which words. Not here: which datasets there are (`datasets`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

from geo_etl.catalog.served import Servers, served_collection, served_item
from geo_etl.stack.datasets import Dataset, Page
from geo_etl.stack.extent_picture import extent_svg

KINDS = {
    "table": ("table", "tables"),
    "single": ("raster", "rasters"),
    "tiled": ("tiled raster", "tiled rasters"),
    "collection": ("raster collection", "raster collections"),
    "catalogued": ("catalogued collection", "catalogued collections"),
}
"""What a kind is called: one of them, and several."""
AGES = ((60, "second"), (60, "minute"), (24, "hour"), (30, "day"), (12, "month"))
"""Units of time, with how many of them make one of the next."""
FILES = ("image/tiff", "application/vnd.apache.parquet", "application/x-parquet", "application/xml")
"""Types of data that people download, however they go on."""

environment = jinja2.Environment(
    loader=jinja2.PackageLoader("geo_etl.stack", "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Link:
    """An address and what is there."""

    text: str
    href: str


@dataclass(frozen=True)
class Entry:
    """A dataset in the words of the page.

    Attributes:
        kind: with what it is made of: `table · MultiPolygon, EPSG:4326`.
        size: `1,234 features`.
        changed: in UTC, to the second.
        age: `3 hours ago`.
    """

    name: str
    title: str | None
    kind: str
    detail: str
    source: str
    size: str
    changed: str
    age: str
    extent: Markup
    thumbnail: str | None
    links: tuple[Link, ...]
    downloads: tuple[Link, ...]


def start_html(page: Page, words: str, servers: Servers, root: str, now: datetime) -> str:
    """The page.

    Args:
        words: what was searched for.
        root: URL of the site without a slash at its end.
    """

    def address(number: int) -> str:
        query = {key: value for key, value in (("q", words), ("page", number)) if value}
        return f"{root}/?{urlencode(query)}"

    return environment.get_template("start.html").render(
        entries=[entry_of(dataset, servers, root, now) for dataset in page.datasets],
        page=page,
        counts=[
            f"{count:,} {KINDS[kind][count != 1]}"
            for kind in KINDS
            if (count := page.found.get(kind, 0))
        ],
        words=words,
        root=root,
        before=address(page.number - 1) if page.number > 1 else None,
        after=address(page.number + 1) if page.number < page.last else None,
    )


def not_found_html(path: str, root: str) -> str:
    """The page for an address where nothing is."""
    return environment.get_template("not_found.html").render(path=path, root=root)


def entry_of(dataset: Dataset, servers: Servers, root: str, now: datetime) -> Entry:
    """A dataset in words and links."""
    is_item = dataset.document["type"] == "Feature"
    served = (served_item if is_item else served_collection)(dataset.document, servers)
    about = served["properties"] if is_item else served
    title, changed = about.get("title"), dataset.changed
    return Entry(
        name=dataset.name,
        title=title if title and title not in (dataset.name, served["id"]) else None,
        kind=_kind(dataset),
        detail=_detail(dataset),
        source=dataset.source or (dataset.facts.get("synced_from") or ""),
        size=_size(dataset),
        changed="" if changed is None else f"{changed.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        age="unknown" if changed is None else age(changed, now),
        extent=Markup(extent_svg(_bbox(served))),  # noqa: S704 - of numbers alone
        thumbnail=_thumbnail(served),
        links=tuple(_links(dataset, served, servers, root)),
        downloads=tuple(_downloads(dataset, served, root)),
    )


def age(moment: datetime, now: datetime) -> str:
    """How long ago something was, in the largest unit of which there is one."""
    count = (now - moment).total_seconds()
    is_past, count = count >= 0, abs(count)
    unit = "year"
    for most, name in AGES:
        if count < most:
            unit = name
            break
        count /= most
    if unit == "second":
        return "just now"
    words = f"{count:.0f} {unit}{'' if round(count) == 1 else 's'}"
    return f"{words} ago" if is_past else f"in {words}"


def human(count: int) -> str:
    """A number that is read at a glance: 1,234,567 is 1.23 million."""
    for unit, name in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:,}"


def _kind(dataset: Dataset) -> str:
    if dataset.kind == "catalogued" and dataset.facts["synced_from"]:
        return "synced collection"
    return KINDS[dataset.kind][0]


def _detail(dataset: Dataset) -> str:
    facts = dataset.facts
    if dataset.kind == "table":
        return f"{facts['geometry_type']}, EPSG:{facts['srid']}"
    bands = facts.get("bands")
    parts = [
        facts.get("data_kind"),
        bands and f"{bands} {'band' if bands == 1 else 'bands'}",
        facts.get("dtype"),
    ]
    return ", ".join(str(part) for part in parts if part)


def _size(dataset: Dataset) -> str:
    unit = {"table": "feature", "catalogued": "item"}.get(dataset.kind, "pixel")
    words = f"{human(dataset.count)} {unit}{'' if dataset.count == 1 else 's'}"
    items = dataset.facts.get("items")
    if dataset.kind in ("tiled", "collection") and items is not None:
        part = "tile" if dataset.kind == "tiled" else "raster"
        words += f" in {items:,} {part}{'' if items == 1 else 's'}"
    return words


def _bbox(document: dict[str, Any]) -> list[float] | None:
    if document["type"] == "Feature":
        box: list[float] | None = document.get("bbox")
        return box
    boxes: list[list[float]] = document.get("extent", {}).get("spatial", {}).get("bbox") or []
    return boxes[0] if boxes else None


def _thumbnail(document: dict[str, Any]) -> str | None:
    for asset in document.get("assets", {}).values():
        if "thumbnail" in (asset.get("roles") or ()) and _is_web(asset["href"]):
            return str(asset["href"])
    return None


def _links(
    dataset: Dataset, document: dict[str, Any], servers: Servers, root: str
) -> Iterator[Link]:
    """Where a dataset is shown: map first, for that is what people look for."""
    links = [link for link in document.get("links", ()) if _is_web(link["href"])]
    for link in links:
        if link["rel"] == "alternate" and link.get("type") == "text/html":
            yield Link("map", link["href"])
    for link in links:
        if link["rel"] == "alternate" and link.get("type") == "application/geo+json":
            yield Link("features", f"{link['href']}?f=html")
    for link in links:
        if link["rel"] == "tilejson":
            yield Link("tiles", link["href"])
    if document["type"] == "Feature":
        collection = f"{root}/stac/collections/{quote(document['collection'], safe='')}"
        yield Link("STAC item", f"{collection}/items/{quote(document['id'], safe='')}")
    else:
        collection = f"{root}/stac/collections/{quote(document['id'], safe='')}"
        yield Link("STAC collection", collection)
        yield Link("STAC items", f"{collection}/items")
    report = document.get("assets", {}).get("quality_report", {}).get("href")
    if report is None and dataset.facts.get("report"):
        report = servers.public(dataset.facts["report"])
    if report is not None:
        yield Link("quality report", report)


def _downloads(dataset: Dataset, document: dict[str, Any], root: str) -> Iterator[Link]:
    if dataset.kind == "table":
        for text, extension in (("GeoJSON", "geojson"), ("CSV", "csv")):
            name = quote(f"{dataset.name}.{extension}", safe="")
            yield Link(text, f"{root}/downloads/{name}")
    for key, asset in document.get("assets", {}).items():
        is_data = str(asset.get("type", "")).startswith(FILES)
        if is_data and "source" not in asset.get("roles", ()) and _is_web(asset["href"]):
            yield Link(_file_name(key, asset), asset["href"])


def _is_web(href: str) -> bool:
    """Whether a browser may go there: documents of others may hold `javascript:`."""
    return href.startswith(("http://", "https://"))


def _file_name(key: str, asset: dict[str, Any]) -> str:
    if "parquet" in asset["type"]:
        number = key.removeprefix("geoparquet").lstrip("_0")
        return f"GeoParquet {number}".strip()
    size = asset.get("file:size")
    return f"{key}{'' if size is None else f' ({_bytes(size)})'}"


def _bytes(count: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"
