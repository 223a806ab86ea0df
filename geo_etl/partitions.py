"""The partitions: one a source, its key `container/path/of/blob`."""

from dagster import DynamicPartitionsDefinition

vector_sources = DynamicPartitionsDefinition(name="vector_sources")
