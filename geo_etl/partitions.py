"""The partitions: one a source, its key `container/path/of/blob`; one a folder of rasters."""

from dagster import DynamicPartitionsDefinition

vector_sources = DynamicPartitionsDefinition(name="vector_sources")
raster_sources = DynamicPartitionsDefinition(name="raster_sources")
raster_collections = DynamicPartitionsDefinition(name="raster_collections")
