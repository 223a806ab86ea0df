"""What works and what does not, part by part, with what to do."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import sqlalchemy as sa
from pypgstac import __version__ as pypgstac_version

from geo_etl.errors import GeoEtlError
from geo_etl.resources.blob_storage import open_storage
from geo_etl.resources.postgis import engine_for
from geo_etl.settings import Settings
from geo_etl.stack.migrate import pgstac_version

MIN_DISK_GB = 5.0


@dataclass(frozen=True)
class Part:
    """The state of one part.

    Attributes:
        found: what is there.
        remedy: what to do; empty when nothing needs doing.
        url: address, where the part has one.
    """

    ok: bool
    found: str
    remedy: str = ""
    url: str | None = None

    def as_json(self) -> dict[str, object]:
        """For `geo-etl health --json`."""
        entry: dict[str, object] = {"ok": self.ok, "found": self.found, "do": self.remedy or None}
        return {**entry, "url": self.url} if self.url else entry


def check(settings: Settings) -> dict[str, Part]:
    """Look at every part; a part that can't be reached is a finding, not an error."""
    checks: dict[str, Callable[[Settings], Part]] = {
        "storage": _storage,
        "database": _database,
        "postgis": _postgis,
        "pgstac": _pgstac,
        "schemas": _schemas,
        "features": _features,
        "stac": _stac,
        "tiles": _tiles,
        "disk": _disk,
    }
    return {name: _guarded(look, settings) for name, look in checks.items()}


def _guarded(look: Callable[[Settings], Part], settings: Settings) -> Part:
    try:
        return look(settings)
    except GeoEtlError as error:
        return Part(False, f"{error.thing}: {error.problem}", error.remedy)
    except sa.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).strip().splitlines()[0]
        return Part(False, said, "Run 'geo-etl up'." if settings.is_private_database else "")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was found
        return Part(False, f"{type(error).__name__}: {error}", "See the message.")


def _storage(settings: Settings) -> Part:
    storage, url = open_storage(settings.storage_url), settings.storage_url
    containers = storage.containers()
    if settings.bronze_container not in containers:
        return Part(False, f"no container '{settings.bronze_container}'", "Run 'geo-etl up'.", url)
    return Part(True, f"containers: {', '.join(containers)}", url=url)


def _database(settings: Settings) -> Part:
    url = settings.database()
    with engine_for(url).connect() as connection:
        version = connection.execute(sa.text("SHOW server_version")).scalar_one()
    kind = "private" if settings.is_private_database else "GEO_ETL_DATABASE_URL"
    return Part(True, f"PostgreSQL {version} ({kind})", url=url)


def _postgis(settings: Settings) -> Part:
    with engine_for(settings.database()).connect() as connection:
        version = connection.execute(
            sa.text("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")
        ).scalar()
    if version is None:
        return Part(False, "extension postgis is not created", "Run 'geo-etl up'.")
    return Part(True, f"PostGIS {version}")


def _pgstac(settings: Settings) -> Part:
    version = pgstac_version(settings.database())
    if version is None:
        return Part(False, "pgSTAC is not installed", "Run 'geo-etl up'.")
    if version != pypgstac_version:
        return Part(
            False,
            f"pgSTAC {version}, {pypgstac_version} is expected",
            "Run 'geo-etl up' to migrate.",
        )
    return Part(True, f"pgSTAC {version}")


def _schemas(settings: Settings) -> Part:
    with engine_for(settings.database()).connect() as connection:
        there = connection.execute(
            sa.text(
                "SELECT to_regclass('geo_etl.publication') IS NOT NULL"
                " AND to_regclass('geo_etl.raster_publication') IS NOT NULL"
            )
        ).scalar_one()
        if not there:
            return Part(False, "geo_etl's tables are missing", "Run 'geo-etl up'.")
        tables, layers = connection.execute(
            sa.text(
                "SELECT (SELECT count(*) FROM geo_etl.publication WHERE current),"
                " (SELECT count(*) FROM geo_etl.raster_publication WHERE current)"
            )
        ).one()
    return Part(True, f"{tables} published tables, {layers} raster layers")


def _features(settings: Settings) -> Part:
    return _server(settings.features_root(), "/collections?limit=1&f=json")


def _stac(settings: Settings) -> Part:
    return _server(settings.stac_root(), "/collections?limit=1")


def _tiles(settings: Settings) -> Part:
    return _server(settings.tiles_root(), "/searches/?limit=1")


def _server(root: str | None, path: str) -> Part:
    if root is None:
        return Part(True, "no server is configured", "Run 'geo-etl serve' to have one.")
    try:
        answer = httpx.get(f"{root}{path}", timeout=10)
    except httpx.HTTPError as error:
        return Part(False, f"no answer ({error})", "Run 'geo-etl serve'.", root)
    ok = answer.status_code == httpx.codes.OK
    return Part(ok, f"HTTP {answer.status_code}", "" if ok else "Look at logs/serve.log.", root)


def _disk(settings: Settings) -> Part:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    ok = free >= MIN_DISK_GB
    return Part(ok, f"{free:.0f} GB free", "" if ok else f"Make room: at least {MIN_DISK_GB:g} GB.")
