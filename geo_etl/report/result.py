"""The result document: one JSON document a job."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Summary(_Document):
    """Every feature accounted for: read = loaded + quarantined + dropped."""

    features_read: int
    features_loaded: int
    features_repaired: int
    features_quarantined: int
    features_dropped: int = Field(description="Features without a geometry")
    total_chunks: int
    chunks_loaded: int
    success_rate: float = Field(description="features_loaded / features_read")
    data_complete: bool


class StacReference(_Document):
    """Where the catalogue has the dataset."""

    collection_id: str
    item_id: str
    bbox: tuple[float, float, float, float] | None = Field(
        description="west, south, east, north in degrees"
    )


class Stage(_Document):
    """One stage of the job, from its first task's start to its last task's end."""

    name: Literal["plan", "load", "publish", "verify"]
    seconds: float
    tasks: int


class VectorResult(_Document):
    """Result of one vector ingest."""

    job_id: str
    status: Literal["completed"] = "completed"
    source: str
    table: str = Field(description="schema.table")
    summary: Summary
    stac: StacReference
    ogc_features_url: str | None = Field(description="The collection's items; null: not served")
    viewer_url: str | None
    stages: list[Stage]
    processing_time_seconds: float
    tasks_executed: int
    parallel_efficiency: float | None = Field(
        description="Time in load tasks / (time of the load stage × processes); null: one task"
    )
    original_crs: str
    geometry_type: str
    warnings: list[str]
