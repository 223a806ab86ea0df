"""stac-fastapi-pgstac on the project's database, its documents with links that can be fetched."""

from typing import Any

from fastapi import FastAPI, Request
from stac_fastapi.pgstac.app import instantiate_api
from stac_fastapi.pgstac.config import PostgresSettings
from stac_fastapi.pgstac.core import CoreCrudClient
from stac_fastapi.pgstac.types.search import PgstacSearch
from starlette.responses import JSONResponse

from geo_etl.catalog.served import Servers, served_collection, served_item
from geo_etl.resources.blob_storage import open_storage
from geo_etl.settings import get_settings


class Database(PostgresSettings):  # type: ignore[misc]
    """The project's database, by its URL: others of its parts may matter (`?sslmode=`)."""

    url: str

    @property
    def connection_string(self) -> str:
        """As asyncpg takes it."""
        return self.url


def database() -> Database:
    """The database that the settings name."""
    unused = {"pguser": "", "pgpassword": "", "pghost": "", "pgport": 0, "pgdatabase": ""}
    return Database(url=get_settings().database(), **unused)


def servers_at(root: str) -> Servers:
    """The servers of a site.

    Args:
        root: URL of the site without a slash at its end.
    """
    return Servers(
        features=f"{root}/features",
        tiles=f"{root}/tiles",
        files=f"{root}/files",
        storage=open_storage(get_settings().storage_url).root_url(),
    )


class LinkedClient(CoreCrudClient):  # type: ignore[misc]
    """Answers as the upstream client, with links to the servers beside it."""

    async def all_collections(self, request: Request, **search: Any) -> Any:
        """All collections, or those that are searched for."""
        found = await super().all_collections(request=request, **search)
        if not isinstance(found, JSONResponse):  # some of their fields only
            servers = _servers(request)
            found["collections"] = [served_collection(one, servers) for one in found["collections"]]
        return found

    async def get_collection(self, collection_id: str, request: Request, **_: Any) -> Any:
        """One collection."""
        collection = await super().get_collection(collection_id, request=request)
        return served_collection(collection, _servers(request))

    async def _search_base(self, search_request: PgstacSearch, request: Request) -> Any:
        found = await super()._search_base(search_request, request=request)
        servers = _servers(request)
        found["features"] = [served_item(one, servers) for one in found["features"]]
        return found


def _servers(request: Request) -> Servers:
    return servers_at(str(request.base_url).rstrip("/").removesuffix("/stac"))


def stac_app() -> FastAPI:
    """The server; its pool of connections is to be opened by the site."""
    app: FastAPI = instantiate_api(client=LinkedClient).app
    return app
