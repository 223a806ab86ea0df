"""Rasters, from a source to proven Cloud-Optimized GeoTIFFs.

Here: opening, inspecting, warping, writing and proving of files, tile grids, and what the database
remembers of it. Not here: Dagster, storage, STAC documents.
"""
