"""What a source asks for: models, inheritance from sidecar files, and identities.

Here: the settings of one source and how they come together. Not here: anything that opens the
source, the database or Dagster.
"""

from geo_etl.spec.identity import CollectionRef, SourceRef, job_id, task_id
from geo_etl.spec.raster import RasterSpec, Tier
from geo_etl.spec.resolve import (
    SpecLayer,
    resolve_raster_spec,
    resolve_vector_spec,
    sidecar_names,
)
from geo_etl.spec.vector import Metadata, VectorSpec

__all__ = [
    "CollectionRef",
    "Metadata",
    "RasterSpec",
    "SourceRef",
    "SpecLayer",
    "Tier",
    "VectorSpec",
    "job_id",
    "resolve_raster_spec",
    "resolve_vector_spec",
    "sidecar_names",
    "task_id",
]
