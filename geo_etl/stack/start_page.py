"""The start page of the servers: every published dataset with its links."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from asyncpg import Connection

from geo_etl.catalog.tiles import collection_path, item_path, raster_urls, render_query

STYLE = (
    "body{font:16px system-ui,sans-serif;margin:2.5rem auto;max-width:64rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.45rem .8rem .45rem 0;border-bottom:1px solid #ddd}"
    ".n{text-align:right}"
)


@dataclass(frozen=True)
class Table:
    """One published table."""

    name: str
    source: str
    features: int
    published_at: datetime


@dataclass(frozen=True)
class Layer:
    """One published raster, or a set of them.

    Attributes:
        item_id: of a single raster.
        query: how titiler shows it; None when its items do not say.
    """

    name: str
    source: str
    pixels: int
    published_at: datetime
    collection_id: str
    item_id: str | None
    query: str | None


async def read_tables(connection: Connection) -> list[Table]:
    """The published tables, latest first."""
    rows = await connection.fetch(
        "SELECT schema_name || '.' || table_name AS name, source, features, published_at"
        " FROM geo_etl.publication WHERE current ORDER BY published_at DESC"
    )
    return [Table(**row) for row in rows]


async def read_layers(connection: Connection) -> list[Layer]:
    """The published raster layers, latest first; members of a collection as one."""
    rows = await connection.fetch(
        "SELECT layer, source, pixels, published_at, form, collection_id, item_ids[1] AS item_id,"
        " coalesce(collection->'renders', pgstac.get_item(item_ids[1], collection_id)"
        "->'properties'->'renders') AS renders"
        " FROM geo_etl.raster_publication AS shown WHERE current AND NOT EXISTS ("
        "SELECT FROM geo_etl.raster_publication AS whole WHERE whole.current"
        " AND shown.form = 'single' AND whole.form = 'collection'"
        " AND whole.collection_id = shown.collection_id) ORDER BY published_at DESC"
    )
    return [
        Layer(
            row["layer"],
            row["source"],
            row["pixels"],
            row["published_at"],
            row["collection_id"],
            row["item_id"] if row["form"] == "single" else None,
            _first_query(row["renders"] or {}),
        )
        for row in rows
    ]


def _first_query(renders: dict[str, Any]) -> str | None:
    return next((render_query(render) for render in renders.values()), None)


def start_html(tables: Sequence[Table], layers: Sequence[Layer], root: str) -> str:
    """The page.

    Args:
        root: URL of the site without a slash at its end.
    """
    services = _links(
        {"OGC API Features": f"{root}/features/", "raster tiles": f"{root}/tiles/"}, ", "
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>geo_etl</title>"
        f"<style>{STYLE}</style><h1>geo_etl</h1>"
        f"<p>{len(tables) + len(layers)} published datasets. Services: {services}.</p>"
        + _table(("Table", "Features"), [_table_row(table, root) for table in tables])
        + _table(("Raster", "Pixels"), [_layer_row(layer, root) for layer in layers])
        + "</html>"
    )


def _table(heads: tuple[str, str], rows: Sequence[str]) -> str:
    body = "".join(rows) or "<tr><td colspan=5>Nothing is published yet.</td></tr>"
    return (
        f"<h2>{heads[0]}s</h2><table><tr><th>{heads[0]}</th><th class=n>{heads[1]}</th>"
        f"<th>Published</th><th>Source</th><th>Links</th></tr>{body}</table>"
    )


def _table_row(table: Table, root: str) -> str:
    about = f"{root}/features/collections/{table.name}"
    links = {"features": f"{about}/items", "map": f"{about}/viewer", "about": about}
    return _row(table.name, table.features, table.published_at, table.source, links)


def _layer_row(layer: Layer, root: str) -> str:
    links = {}
    if layer.query is not None:
        whole, item = layer.collection_id, layer.item_id
        path = collection_path(whole) if item is None else item_path(whole, item)
        urls = raster_urls(f"{root}/tiles", path, layer.query)
        links = {"map": urls.viewer, "tiles": urls.tilejson}
    return _row(layer.name, layer.pixels, layer.published_at, layer.source, links)


def _row(name: str, count: int, published: datetime, source: str, links: dict[str, str]) -> str:
    return (
        f"<tr><td>{escape(name)}</td><td class=n>{count:,}</td>"
        f"<td>{published:%Y-%m-%d %H:%M} UTC</td><td>{escape(source)}</td>"
        f"<td>{_links(links, ' · ')}</td></tr>"
    )


def _links(links: dict[str, str], joint: str) -> str:
    return joint.join(f"<a href='{escape(url)}'>{text}</a>" for text, url in links.items())
