"""One address for the upstream servers, as they are, and a start page.

`/features` is tipg. It keeps a list of the tables it serves; the list is read again as soon as
something was published, so that new data shows at once.
"""

import html
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from tipg import main as tipg
from tipg.collections import register_collection_catalog
from tipg.settings import DatabaseSettings

MAX_AGE_SECONDS = 60.0
"""Views and tables that others make show after this time at the latest."""


class FreshCatalog:
    """ASGI middleware: reads tipg's list of tables again when something was published."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._stamp: object = None
        self._read_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request with a fresh list."""
        if scope["type"] == "http":
            await self._refresh()
        await self._app(scope, receive, send)

    async def _refresh(self) -> None:
        async with tipg.app.state.pool.acquire() as connection:
            stamp = await connection.fetchrow(
                "SELECT array_agg(DISTINCT schema_name) AS schemas,"
                " md5(string_agg(format('%I.%I %s', schema_name, table_name, version), ','"
                " ORDER BY schema_name, table_name))"
                " FROM geo_etl.publication WHERE current"
            )
        if stamp == self._stamp and time.monotonic() - self._read_at < MAX_AGE_SECONDS:
            return
        schemas = sorted({"geo", *(stamp["schemas"] or [])})
        await register_collection_catalog(tipg.app, DatabaseSettings(schemas=schemas))
        self._stamp, self._read_at = stamp, time.monotonic()


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    # The one lifespan of the site starts its servers too.
    async with tipg.lifespan(tipg.app):
        yield


start = FastAPI(title="geo_etl", lifespan=_lifespan, docs_url=None, redoc_url=None)


@start.get("/", response_class=HTMLResponse)
async def start_page(request: Request) -> str:
    """Every published dataset with its links."""
    async with tipg.app.state.pool.acquire() as connection:
        rows: list[asyncpg.Record] = await connection.fetch(
            "SELECT schema_name || '.' || table_name AS name, source, features, published_at"
            " FROM geo_etl.publication WHERE current ORDER BY published_at DESC"
        )
    return _page(rows, str(request.base_url).rstrip("/"))


@start.get("/healthz")
async def health() -> dict[str, str]:
    """Says that the server is up."""
    return {"status": "ok"}


@start.get("/features", response_class=RedirectResponse)
async def features() -> str:
    """The landing page has a slash at its end."""
    return "/features/"


class Site:
    """ASGI application: hands each path to the server it belongs to.

    Not Starlette's `Mount`: with it a server writes links without its own prefix.
    """

    def __init__(self, root: ASGIApp, servers: dict[str, ASGIApp]) -> None:
        self._root = root
        self._servers = servers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        for prefix, server in self._servers.items():
            if scope["type"] == "http" and scope["path"].startswith(f"{prefix}/"):
                await server({**scope, "root_path": prefix}, receive, send)
                return
        await self._root(scope, receive, send)


app = Site(start, {"/features": FreshCatalog(tipg.app)})


def _page(rows: list[asyncpg.Record], root: str) -> str:
    lines = []
    for row in rows:
        name, collection = html.escape(row["name"]), f"{root}/features/collections/{row['name']}"
        lines.append(
            f"<tr><td>{name}</td><td class=n>{row['features']:,}</td>"
            f"<td>{row['published_at']:%Y-%m-%d %H:%M} UTC</td>"
            f"<td>{html.escape(row['source'])}</td>"
            f"<td><a href='{html.escape(collection)}/items'>features</a> · "
            f"<a href='{html.escape(collection)}/viewer'>map</a> · "
            f"<a href='{html.escape(collection)}'>about</a></td></tr>"
        )
    body = "".join(lines) or "<tr><td colspan=5>Nothing is published yet.</td></tr>"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>geo_etl</title><style>"
        "body{font:16px system-ui,sans-serif;margin:2.5rem auto;max-width:64rem;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%}"
        "th,td{text-align:left;padding:.45rem .8rem .45rem 0;border-bottom:1px solid #ddd}"
        ".n{text-align:right}</style><h1>geo_etl</h1>"
        f"<p>{len(rows)} published datasets. Services: "
        f"<a href='{root}/features/'>OGC API Features</a>.</p>"
        "<table><tr><th>Dataset</th><th class=n>Features</th><th>Published</th><th>Source</th>"
        f"<th>Links</th></tr>{body}</table></html>"
    )
