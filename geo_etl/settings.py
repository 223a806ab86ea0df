"""The environment, read once.

No other module reads environment variables. What is not set falls back to the state folder
(`GEO_ETL_HOME`): the private PostgreSQL cluster writes its address there, and so does
`geo-etl serve`.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from geo_etl.errors import SpecError, StackError


class Settings(BaseSettings):
    """One setting an environment variable, prefix `GEO_ETL_`."""

    model_config = SettingsConfigDict(env_prefix="GEO_ETL_", extra="ignore")

    home: Path = Field(Path(".geo_etl"), description="State folder")
    blob_url: str | None = Field(None, description="`file:///FOLDER` or `az://ACCOUNT`")
    database_url: SecretStr | None = Field(None, description="`postgresql://…`, an existing server")
    pg_port: int | None = Field(None, description="Port of the private PostgreSQL", gt=0, lt=65536)
    features_url: str | None = Field(None, description="Root of OGC API Features (tipg)")
    stac_url: str | None = Field(None, description="Root of the STAC API (stac-fastapi-pgstac)")
    tiles_url: str | None = Field(None, description="Root of raster tiles (titiler-pgstac)")
    bronze_container: str = "bronze"
    work_container: str = "work"
    silver_container: str = "silver"
    max_concurrent: int | None = Field(None, description="Steps of one run at a time", gt=0)
    sensor_settle_seconds: float = Field(
        5.0, description="A blob younger than this may still be growing", ge=0
    )
    sensor_runs_per_tick: int = Field(100, description="Runs the sensor requests a tick", gt=0)
    versions_kept: int = Field(
        3, description="Versions of a table that can be restored, the current one among them", gt=0
    )
    work_hours: float = Field(24.0, description="Leftovers of failed jobs are kept this long", ge=0)

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        text = url.get_secret_value()
        if text.startswith("postgres://"):
            text = text.replace("postgres://", "postgresql://", 1)
        if not text.startswith("postgresql://"):
            raise ValueError("must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
        return SecretStr(text)

    @property
    def storage_url(self) -> str:
        """Root of blob storage: `file:///FOLDER` or `az://ACCOUNT`."""
        return self.blob_url or (self.home / "blobs").as_uri()

    @property
    def dagster_home(self) -> Path:
        """Dagster's local artifacts (intermediate values, compute logs) and its `dagster.yaml`."""
        return self.home / "dagster"

    @property
    def is_private_database(self) -> bool:
        """Whether geo_etl runs PostgreSQL itself."""
        return self.database_url is None

    def database(self) -> str:
        """The database URL, as psql and ogr2ogr take it: `postgresql://USER:…@HOST:PORT/NAME`.

        Raises:
            StackError: no server is configured and the private one was never set up.
        """
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        state = _read_json(self.home / "pg.json")
        if "url" not in state:
            raise StackError(
                "database",
                f"there is no private PostgreSQL under {self.home} yet",
                "Run 'geo-etl up' to make one, or set GEO_ETL_DATABASE_URL to an existing server.",
            )
        return str(state["url"])

    def features_root(self) -> str | None:
        """Root URL of OGC API Features without a trailing slash; None when nothing serves."""
        return self._served("features_url", self.features_url)

    def stac_root(self) -> str | None:
        """Root URL of the STAC API without a trailing slash; None when nothing serves."""
        return self._served("stac_url", self.stac_url)

    def tiles_root(self) -> str | None:
        """Root URL of raster tiles without a trailing slash; None when nothing serves."""
        return self._served("tiles_url", self.tiles_url)

    def _served(self, name: str, configured: str | None) -> str | None:
        served: str | None = _read_json(self.home / "serve.json").get(name)
        url = configured or served
        return url.rstrip("/") if url else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return content


@cache
def get_settings() -> Settings:
    """The settings of this process.

    Raises:
        SpecError: a variable's value is not usable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = f"GEO_ETL_{str(first['loc'][0]).upper()}"
        said = first["msg"].removeprefix("Value error, ")
        raise SpecError(name, f"its value is not usable: {said}", "Correct the variable.") from None


def export_for_servers(settings: Settings, version: str) -> None:
    """Set what the upstream servers read from the environment of this process.

    Args:
        version: of geo_etl.

    Raises:
        StackError: see `Settings.database`.
    """
    os.environ.update(
        DATABASE_URL=settings.database(),
        TIPG_NAME="geo_etl: OGC API Features",
        TIPG_DB_SCHEMAS='["geo"]',
        # The list of tables is refreshed by geo_etl's own server; answers are never stale.
        TIPG_CATALOG_TTL="0",
        TIPG_CACHECONTROL="no-cache",
        STAC_FASTAPI_TITLE="geo_etl: STAC",
        STAC_FASTAPI_DESCRIPTION="What is published: an item a table, an item a raster or tile.",
        STAC_FASTAPI_VERSION=version,
        STAC_FASTAPI_LANDING_ID="geo_etl",
        TITILER_PGSTAC_API_NAME="geo_etl: raster tiles",
        TITILER_PGSTAC_CACHE_DISABLE="true",
        TITILER_PGSTAC_API_CACHECONTROL="no-cache",
        # Both go by footprints, which are larger than the valid pixels: where a footprint covers
        # a map tile and its pixels do not, the neighbour would be left out.
        TITILER_PGSTAC_SEARCH_EXITWHENFULL="false",
        TITILER_PGSTAC_SEARCH_SKIPCOVERED="false",
        # Of members within one map tile; what is beyond is not shown.
        TITILER_PGSTAC_SEARCH_ITEMS_LIMIT="1000",
        # A COG stands alone: no listing of its folder, and one read for its head.
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
        GDAL_INGESTED_BYTES_AT_OPEN="32768",
        GDAL_HTTP_MERGE_CONSECUTIVE_RANGES="YES",
        CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".tif,.tiff",
        GDAL_CACHEMAX="200",
    )
    _export_azure_for_gdal(settings.storage_url)


def _export_azure_for_gdal(storage_url: str) -> None:
    """Give GDAL (/vsiaz/) the account and the key that adlfs takes from variables of other names.

    A connection string, a SAS token and a managed identity both of them find by themselves.
    """
    account = storage_url.removeprefix("az://").rstrip("/")
    if account == storage_url or "AZURE_STORAGE_CONNECTION_STRING" in os.environ:
        return
    os.environ.setdefault("AZURE_STORAGE_ACCOUNT", account)
    if "AZURE_STORAGE_ACCOUNT_KEY" in os.environ:
        os.environ.setdefault("AZURE_STORAGE_ACCESS_KEY", os.environ["AZURE_STORAGE_ACCOUNT_KEY"])


def export_home(home: Path) -> None:
    """Let the processes that this one starts use the same state folder."""
    os.environ["GEO_ETL_HOME"] = str(home)
