"""pgSTAC as geo_etl needs it: installed, with its settings, queryables and collections.

May be repeated: what is as it should be is left, and said to be so.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from geo_etl.catalog.raster_collections import open_raster_collection
from geo_etl.catalog.rasters import RASTERS
from geo_etl.catalog.vectors import VECTORS, vector_collection
from geo_etl.errors import CatalogueError
from geo_etl.ingest.lock import lock
from geo_etl.resources import pgstac
from geo_etl.resources.postgis import engine_for

SETTINGS = {
    # How many items match is told with every answer, and is true now: by default pgSTAC says
    # nothing, and would repeat what it counted for a day. Very large counts are estimated.
    "context": "auto",
    "context_stats_ttl": "0 seconds",
}
NUMBER = {"type": "number"}
TEXT = {"type": "string"}
TIME = {"type": "string", "format": "date-time"}


@dataclass(frozen=True)
class Queryable:
    """A property to filter and sort by.

    Attributes:
        schema: JSON Schema of its values: pgSTAC compares them as this says.
        index: PostgreSQL's kind of index in every collection. Each costs time with every write:
            only what finds few items of many has one.
    """

    title: str
    schema: Mapping[str, Any]
    index: str | None = None

    @property
    def definition(self) -> dict[str, Any]:
        """As pgSTAC has it."""
        return {"title": self.title, **self.schema}


QUERYABLES = {
    "title": Queryable("Title", TEXT),
    "description": Queryable("Description", TEXT),
    "license": Queryable("License", TEXT),
    "created": Queryable("When the item was made", TIME),
    "updated": Queryable("When the item was changed", TIME),
    "start_datetime": Queryable("Beginning of the data's time", TIME),
    "gsd": Queryable("Ground sample distance, metres", NUMBER),
    "platform": Queryable("Platform", TEXT),
    "proj:code": Queryable("CRS", TEXT),
    "table:row_count": Queryable("Features in the table", NUMBER),
    "geo_etl:source": Queryable("Source, CONTAINER/PATH", TEXT, "BTREE"),
    "geo_etl:job_id": Queryable("Job that made it", TEXT),
    "geo_etl:datetime_from": Queryable("Where its time is from", TEXT),
    "geo_etl:geometry_type": Queryable("Geometry type of the table", TEXT),
    "geo_etl:data_kind": Queryable("Kind of raster data", TEXT),
    "geo_etl:source_format": Queryable("GDAL driver of the source", TEXT),
    "geo_etl:source_crs": Queryable("CRS of the source", TEXT),
    "geo_etl:valid_pixels": Queryable("Valid pixels", NUMBER),
    "geo_etl:synced_from": Queryable("CONTAINER/PREFIX that the item follows", TEXT),
}


@dataclass(frozen=True)
class Step:
    """One thing that was looked at.

    Attributes:
        found: what was there.
        done: what was done; empty when nothing had to be.
    """

    what: str
    found: str
    done: str = ""


def set_up(url: str) -> list[Step]:
    """Install or migrate pgSTAC, then see to its settings, queryables and collections.

    Args:
        url: the database, `postgresql://…`.

    Raises:
        CatalogueError: there is no PostGIS; pgSTAC is read-only, or newer than geo_etl knows.
    """
    steps = [_postgis(url), _install(url)]
    with engine_for(url).begin() as connection:
        lock(connection, "set up pgSTAC")
        steps += _settings(connection)
        steps += _queryables(connection)
        for collection in (vector_collection(VECTORS), open_raster_collection(RASTERS)):
            steps.append(_collection(connection, collection))
    return steps


def version(connection: sa.Connection) -> str | None:
    """The version of pgSTAC in a database; None when it is not installed."""
    if connection.execute(sa.text("SELECT to_regnamespace('pgstac')")).scalar() is None:
        return None
    return str(connection.execute(sa.text("SELECT pgstac.get_version()")).scalar())


def _postgis(url: str) -> Step:
    with engine_for(url).connect() as connection:
        found = connection.execute(
            sa.text("SELECT extversion FROM pg_extension WHERE extname = 'postgis'")
        ).scalar()
    if found is None:
        raise CatalogueError(
            "database", "the extension postgis is not created in it", "Run 'geo-etl up'."
        )
    return Step("PostGIS", str(found))


def _install(url: str) -> Step:
    from pypgstac import __version__ as wanted
    from pypgstac.db import PgstacDB
    from pypgstac.migrate import Migrate

    with engine_for(url).connect() as connection:
        before = version(connection)
    if before == wanted:
        return Step("pgSTAC", before)
    if before is not None and _numbers(before) > _numbers(wanted):
        raise CatalogueError(
            f"pgSTAC {before}",
            f"it is newer than {wanted}, which geo_etl works with",
            "Use the geo_etl that migrated it, or a database of its own.",
        )
    logging.getLogger("pypgstac").setLevel(logging.WARNING)
    with PgstacDB(dsn=url) as database:
        Migrate(database).run_migration()
    found = "not installed" if before is None else before
    return Step("pgSTAC", found, f"{'installed' if before is None else 'migrated to'} {wanted}")


def _numbers(said: str) -> list[int]:
    return [int(part) for part in said.split(".") if part.isdigit()]


def _settings(connection: sa.Connection) -> list[Step]:
    rows = connection.execute(sa.text("SELECT name, value FROM pgstac.pgstac_settings")).all()
    have = {row.name: row.value for row in rows}
    if connection.execute(sa.text("SELECT pgstac.readonly()")).scalar_one():
        raise CatalogueError(
            "pgSTAC",
            "it is read-only: no search could be registered, and so no mosaic",
            "Set its setting 'readonly' to false.",
        )
    steps = [Step("setting readonly", "false")]
    for name, wanted in SETTINGS.items():
        done = ""
        if have.get(name) != wanted:
            connection.execute(
                sa.text(
                    "INSERT INTO pgstac.pgstac_settings (name, value) VALUES (:name, :value)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
                ),
                {"name": name, "value": wanted},
            )
            done = f"set to {wanted}"
        steps.append(Step(f"setting {name}", have.get(name, "not set"), done))
    return steps


def _queryables(connection: sa.Connection) -> list[Step]:
    """Register properties; one that somebody registered for some collections only is left."""
    rows = connection.execute(
        sa.text(
            "SELECT name, definition, property_index_type AS index_type, collection_ids"
            " FROM pgstac.queryables"
        )
    ).all()
    have = {row.name: row for row in rows}
    steps = []
    for name, wanted in QUERYABLES.items():
        row = have.get(name)
        if row is None or (row.definition, row.index_type) != (wanted.definition, wanted.index):
            if row is not None and row.collection_ids is not None:
                steps.append(Step(f"queryable {name}", "registered for some collections"))
                continue
            statement = sa.text(
                "SELECT pgstac.upsert_queryable(:name, :definition, property_index_type => :index)"
            ).bindparams(sa.bindparam("definition", type_=JSONB))
            connection.execute(
                statement,
                {"name": name, "definition": wanted.definition, "index": wanted.index},
            )
            found = "not registered" if row is None else "registered otherwise"
            steps.append(Step(f"queryable {name}", found, "registered"))
        else:
            steps.append(Step(f"queryable {name}", "registered"))
    return steps


def _collection(connection: sa.Connection, collection: dict[str, Any]) -> Step:
    what = f"collection {collection['id']}"
    if pgstac.get_collection(connection, collection["id"]) is not None:
        return Step(what, "there")
    pgstac.ensure_collection(connection, collection)
    return Step(what, "missing", "made")
