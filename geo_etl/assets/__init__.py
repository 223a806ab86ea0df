"""Dagster assets: graphs, thin ops, metadata. The work itself is in the pure packages."""

from geo_etl.assets.vector import vector_table

default_assets = [vector_table]

__all__ = ["default_assets"]
