"""The ways into geo_etl, by what is ingested: which job, which asset, which partitions."""

from dataclasses import dataclass
from typing import Literal

from dagster import DynamicPartitionsDefinition

from geo_etl.partitions import raster_collections, raster_sources, vector_sources

Work = Literal["vector", "raster", "collection"]


@dataclass(frozen=True)
class Entry:
    """How one kind of work is started.

    Attributes:
        job: the job's name.
        asset: name of its asset, which takes `spec` and `force` as configuration.
        partitions: one a source, or a collection.
    """

    job: str
    asset: str
    partitions: DynamicPartitionsDefinition


ENTRIES: dict[Work, Entry] = {
    "vector": Entry("ingest_vector", "vector_table", vector_sources),
    "raster": Entry("process_raster", "raster_cog", raster_sources),
    "collection": Entry("process_raster_collection", "raster_collection", raster_collections),
}
