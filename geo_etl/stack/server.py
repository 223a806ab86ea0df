"""One address for the upstream servers, as they are, and a start page.

`/features` is tipg. It keeps a list of the tables it serves; the list is read again as soon as
something was published, so that new data shows at once. `/tiles` is titiler-pgstac, which keeps
nothing; its map page is replaced by one that needs no other server. `/stac` is
stac-fastapi-pgstac, with links to the servers beside it; `/files` is silver itself.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jinja2
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from stac_fastapi.pgstac.db import close_db_connection, connect_to_db
from starlette.types import ASGIApp, Receive, Scope, Send
from tipg import main as tipg
from tipg.collections import register_collection_catalog
from tipg.settings import DatabaseSettings
from titiler.pgstac import main as titiler

from geo_etl.stack import files
from geo_etl.stack.antimeridian import ItemReader, MemberReader
from geo_etl.stack.stac import database, stac_app
from geo_etl.stack.start_page import read_layers, read_tables, start_html

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
    async with tipg.lifespan(tipg.app), titiler.lifespan(titiler.app):
        await connect_to_db(stac, postgres_settings=database())
        yield
        await close_db_connection(stac)


def _use_own_map_page() -> None:
    # titiler's own loads its library and its background from the internet.
    environment = titiler.templates.env
    own, theirs = jinja2.PackageLoader("geo_etl.stack", "templates"), environment.loader
    environment.loader = jinja2.ChoiceLoader([own, *([theirs] if theirs else [])])


start = FastAPI(title="geo_etl", lifespan=_lifespan, docs_url=None, redoc_url=None)
start.include_router(files.router)
stac = stac_app()


@start.get("/", response_class=HTMLResponse)
async def start_page(request: Request) -> str:
    """Every published dataset with its links."""
    async with tipg.app.state.pool.acquire() as connection:
        tables, layers = await read_tables(connection), await read_layers(connection)
    return start_html(tables, layers, str(request.base_url).rstrip("/"))


@start.get("/healthz")
async def health() -> dict[str, str]:
    """Says that the server is up."""
    return {"status": "ok"}


@start.get("/features", response_class=RedirectResponse)
async def features() -> str:
    """The landing page has a slash at its end."""
    return "/features/"


@start.get("/stac", response_class=RedirectResponse)
async def stac_landing_page() -> str:
    """The landing page has a slash at its end."""
    return "/stac/"


@start.get("/tiles", response_class=RedirectResponse)
async def tiles() -> str:
    """The landing page has a slash at its end."""
    return "/tiles/"


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


def _read_around_the_world() -> None:
    titiler.stac.reader = ItemReader
    for mosaics in (titiler.searches, titiler.collection):
        mosaics.dataset_reader = MemberReader


_use_own_map_page()
_read_around_the_world()
app = Site(start, {"/features": FreshCatalog(tipg.app), "/tiles": titiler.app, "/stac": stac})
