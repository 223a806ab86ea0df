"""One address for the upstream servers, as they are, and a start page.

`/features` is tipg. It keeps a list of the tables it serves; the list is read again as soon as
something was published, so that new data shows at once. `/tiles` is titiler-pgstac, which keeps
nothing. `/stac` is stac-fastapi-pgstac, with links to the servers beside it; `/files` is silver
itself, `/downloads` whole tables. Pages of tipg and titiler that load libraries from the internet
are replaced by own ones.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import psycopg
from fastapi import FastAPI, Query, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from psycopg_pool import ConnectionPool
from stac_fastapi.pgstac.db import connect_to_db
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tipg import main as tipg
from tipg.collections import mvt_settings, register_collection_catalog
from tipg.database import connect_to_db as connect_tipg_to_db
from tipg.settings import DatabaseSettings
from titiler.pgstac import main as titiler

from geo_etl import startup
from geo_etl.settings import get_settings
from geo_etl.stack import files
from geo_etl.stack.checked_pool import CUT, CheckedPool
from geo_etl.stack.datasets import read_page
from geo_etl.stack.downloads import downloads
from geo_etl.stack.readers import ItemReader, MemberReader
from geo_etl.stack.stac import database, servers_at, stac_app
from geo_etl.stack.start_page import not_found_html, start_html

MAX_AGE_SECONDS = 60.0
"""Views and tables that others make show after this time at the latest."""
CLOSE_SECONDS = 5.0
"""Connections that are still busy then are cut."""
UNREACHABLE = (*CUT, psycopg.OperationalError)
"""What the drivers raise while the database is away, or cuts a connection."""


def database_away(_: object, error: Exception) -> Response:
    """What every server answers while the database can't be reached."""
    said = f"The database can't be reached ({error}). See 'geo-etl health'."
    return JSONResponse({"detail": said}, 503, {"retry-after": "5"})


class FreshCatalog:
    """ASGI middleware: reads tipg's list of tables again when something was published."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._stamp: object = None
        self._read_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request with a fresh list."""
        try:
            await self._refresh()
        except UNREACHABLE as error:
            await database_away(None, error)(scope, receive, send)
        else:
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
    # The one lifespan of the site starts its servers too: as their own, but that connections
    # which the database has cut are noticed, and busy ones do not keep the site from stopping.
    startup.started()
    schemas = tipg.db_settings
    await connect_tipg_to_db(
        tipg.app, schemas=schemas.schemas, tipg_schema=schemas.tipg_schema, user_sql_files=None
    )
    tipg.app.state.pool = CheckedPool(tipg.app.state.pool)
    await register_collection_catalog(tipg.app, schemas)
    await connect_to_db(stac, postgres_settings=database())
    stac.state.readpool = CheckedPool(stac.state.readpool)
    titiler.app.state.dbpool = ConnectionPool(
        get_settings().database(),
        min_size=1,
        max_size=10,
        timeout=10,
        kwargs={"options": "-c search_path=pgstac,public -c application_name=pgstac"},
        check=ConnectionPool.check_connection,
        open=True,
    )
    try:
        yield
    finally:
        await asyncio.gather(_close(tipg.app.state.pool), _close(stac.state.readpool))
        titiler.app.state.dbpool.close(timeout=CLOSE_SECONDS)


async def _close(pool: CheckedPool) -> None:
    try:
        await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
    except TimeoutError:
        pool.terminate()


start = FastAPI(title="geo_etl", lifespan=_lifespan, docs_url=None, redoc_url=None)
start.include_router(files.router)
start.include_router(downloads(lambda: tipg.app.state.pool))
stac = stac_app()


@start.api_route("/", methods=["GET", "HEAD"], response_class=HTMLResponse)
async def start_page(
    request: Request, q: str = "", page: int = Query(1, ge=1, le=1_000_000)
) -> Response:
    """Every published dataset with its links, a page at a time."""
    words = q.replace("\0", "").strip()
    async with tipg.app.state.pool.acquire() as connection:
        found = await read_page(connection, words, page)
    root = _root(request)
    html = start_html(found, words, servers_at(root), root, datetime.now(UTC))
    return HTMLResponse(html, headers={"cache-control": "no-cache"})


@start.get("/healthz")
async def health() -> dict[str, str]:
    """Says that the server is up."""
    return {"status": "ok"}


@start.get("/{server}", response_class=RedirectResponse, include_in_schema=False)
async def landing_page(server: str) -> str:
    """The landing page of a server has a slash at its end."""
    if f"/{server}" not in SERVERS:
        raise HTTPException(404)
    return f"/{server}/"


class OwnFiles(StaticFiles):
    """Styles and scripts of the pages; asked for anew each time, for they change with geo_etl."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """As Starlette's, to be checked before it is used again."""
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "no-cache"
        return response


async def not_found(request: Request, error: Exception) -> Response:
    """What a browser is shown for an address where nothing is; a program gets JSON."""
    assert isinstance(error, HTTPException)
    if error.status_code != 404 or "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    html = not_found_html(request.url.path, _root(request))
    return HTMLResponse(html, 404, headers={"cache-control": "no-cache"})


def _root(request: Request) -> str:
    return str(request.base_url).rstrip("/")


class Site:
    """ASGI application: hands each path to the server it belongs to.

    Not Starlette's `Mount`: with it a server writes links without its own prefix.
    """

    def __init__(self, root: ASGIApp, servers: dict[str, ASGIApp]) -> None:
        self._root = root
        self._servers = servers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._root(scope, receive, send)
            return
        has_begun = False

        async def heard(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            for prefix, server in self._servers.items():
                if scope["path"].startswith(f"{prefix}/"):
                    await server({**scope, "root_path": prefix}, receive, heard)
                    return
            await self._root(scope, receive, heard)
        except asyncio.CancelledError:  # it ran for too long when the server was to stop
            if not has_begun:
                await JSONResponse({"detail": "The server stops."}, 503)(scope, receive, send)


def _use_own_pages() -> None:
    # Theirs load libraries and a background from the internet.
    for server in (tipg, titiler):
        environment = server.templates.env
        own = [
            jinja2.PackageLoader("geo_etl.stack", f"templates/{server.__name__.split('.')[0]}"),
            jinja2.PackageLoader("geo_etl.stack", "templates"),
        ]
        environment.loader = jinja2.ChoiceLoader([*own, environment.loader])
        environment.autoescape = True  # tipg's has none: values of features are of anybody
        environment.globals["most_features"] = mvt_settings.max_features_per_tile


def _read_by_own_readers() -> None:
    titiler.stac.reader = ItemReader
    for mosaics in (titiler.searches, titiler.collection):
        mosaics.dataset_reader = MemberReader


_use_own_pages()
_read_by_own_readers()
start.mount("/static", OwnFiles(directory=Path(__file__).with_name("static")))
start.add_exception_handler(HTTPException, not_found)
start.add_middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["GET", "HEAD"],
    allow_headers=["*"],
    expose_headers=["accept-ranges", "content-length", "content-range", "etag"],
)
for one in (start, stac, tipg.app, titiler.app):
    for fault in UNREACHABLE:
        one.add_exception_handler(fault, database_away)
SERVERS: dict[str, ASGIApp] = {
    "/features": FreshCatalog(tipg.app),
    "/tiles": titiler.app,
    "/stac": stac,
}
app = Site(start, SERVERS)
