"""Bringing the database to where geo_etl needs it. May be repeated; changes nothing then."""

import sqlalchemy as sa

from geo_etl.errors import StackError
from geo_etl.raster import ledger as raster_ledger
from geo_etl.raster.publish import Change
from geo_etl.resources import pgstac, stac_setup
from geo_etl.resources.postgis import engine_for
from geo_etl.resources.rasters import catalogue
from geo_etl.stack.dagster_instance import SCHEMA as DAGSTER_SCHEMA
from geo_etl.vector import ledger

OWN_SCHEMAS = ("geo_etl", "geo_loads", "geo_quarantine", DAGSTER_SCHEMA)


def migrate(url: str) -> None:
    """Extensions, geo_etl's schemas and tables, pgSTAC and its collections.

    Raises:
        StackError: PostGIS is not available on the server.
    """
    engine = engine_for(url)
    with engine.begin() as connection:
        available = connection.execute(
            sa.text("SELECT 1 FROM pg_available_extensions WHERE name = 'postgis'")
        ).first()
        if available is None:
            raise StackError(
                "database server",
                "it has no PostGIS",
                "Install PostGIS there (Debian: postgresql-15-postgis-3).",
            )
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS postgis"))
        connection.execute(sa.schema.CreateSchema(DAGSTER_SCHEMA, if_not_exists=True))
        ledger.create(connection)
        raster_ledger.create(connection)
    stac_setup.set_up(url)


def pgstac_version(url: str) -> str | None:
    """The version of pgSTAC in a database; None when it is not installed."""
    with engine_for(url).connect() as connection:
        return stac_setup.version(connection)


def reset(url: str) -> None:
    """Drop what geo_etl made in a database, and make its schemas anew, empty.

    Tables and raster layers that it published go, with views that depend on them, and their STAC
    items; what else is in schema `geo` or in pgSTAC stays. Files of rasters stay in silver until
    the job `cleanup` finds that nothing needs them. The caller has asked for confirmation.
    """
    with engine_for(url).begin() as connection:
        _forget_rasters(connection)
        entry = ledger.publication.c
        names = (entry.schema_name, entry.table_name, entry.collection_id, entry.item_id)
        has_ledger = sa.inspect(connection).has_table("publication", schema="geo_etl")
        published = connection.execute(sa.select(*names).distinct()).all() if has_ledger else ()
        for row in published:
            quote = connection.dialect.identifier_preparer.quote_identifier
            table = f"{quote(row.schema_name)}.{quote(row.table_name)}"
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {table} CASCADE"))
            pgstac.delete_item(connection, row.collection_id, row.item_id)
        for schema in OWN_SCHEMAS:
            connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
    migrate(url)


def _forget_rasters(connection: sa.Connection) -> None:
    """Take the items of raster layers, and the collections of sets, out of the catalogue."""
    shown = raster_ledger.publication.c
    if not sa.inspect(connection).has_table("raster_publication", schema="geo_etl"):
        return
    layers = connection.execute(
        sa.select(shown.layer, shown.form, shown.collection_id, shown.item_ids).where(shown.current)
    ).all()
    gone = [
        Change(
            layer.collection_id,
            (),
            tuple(layer.item_ids) if layer.form != "collection" else (),
            None,
            layer.form != "single",
        )
        for layer in layers
    ]
    catalogue(connection, gone)
