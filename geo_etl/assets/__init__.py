"""Dagster assets: graphs, thin ops, metadata. The work itself is in the pure packages."""

from geo_etl.assets.raster import raster_cog
from geo_etl.assets.raster_collection import raster_collection
from geo_etl.assets.vector import vector_table

default_assets = [vector_table, raster_cog, raster_collection]

__all__ = ["default_assets"]
