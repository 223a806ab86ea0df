"""The result document: one JSON document a job, whether it was done or failed.

`docs/vector-result.schema.json` is its JSON Schema.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from geo_etl.errors import GeoEtlError

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Bounds = Annotated[
    tuple[float, float, float, float],
    Field(description="west, south, east, north in degrees; west > east across the antimeridian"),
]


class _Document(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_serialization_defaults_required=True
    )


class Summary(_Document):
    """Every feature accounted for: read = loaded + quarantined + dropped."""

    features_read: int = Field(ge=0, description="Features of the source")
    features_loaded: int = Field(ge=0, description="Features that this job put into its tables")
    features_repaired: int = Field(
        ge=0, description="Of the features loaded: those whose geometry was made valid"
    )
    features_quarantined: int = Field(ge=0, description="Features kept apart, each with its reason")
    features_dropped: int = Field(ge=0, description="Features without a geometry")
    total_chunks: int = Field(ge=0, description="Chunks that the source was cut into")
    chunks_loaded: int = Field(ge=0, description="Chunks that are in the table")
    success_rate: float = Field(ge=0, le=1, description="features_loaded / features_read")
    data_complete: bool = Field(description="Whether the sum above holds")


class StacReference(_Document):
    """Where the catalogue has the dataset."""

    collection_id: str = Field(description="STAC collection")
    item_id: str = Field(description="STAC item in it")
    bbox: Bounds | None = Field(description="Of the item; null: the table has no extent")


class Stage(_Document):
    """One stage of the job, from its first task's start to its last task's end."""

    name: Literal["plan", "load", "publish", "verify"] = Field(description="The stage")
    seconds: float = Field(ge=0, description="How long it took")
    tasks: int = Field(ge=0, description="How many tasks ran in it")


class TableResult(_Document):
    """One published table; a layer of mixed geometries can become several."""

    table: str = Field(description="schema.table")
    geometry_type: str = Field(description="Of its geometry column")
    features_loaded: int = Field(ge=0, description="Features that this job put into it")
    features_total: int = Field(ge=0, description="Features that it holds now")
    stac: StacReference = Field(description="Its STAC item")
    ogc_features_url: str | None = Field(
        None, description="The collection's items in OGC API Features; null: not served"
    )


class VectorResult(_Document):
    """Result of one vector ingest that is done."""

    job_id: str = Field(description="SHA-256 of the source's key and content, and its spec")
    status: Literal["completed"] = Field("completed", description="The job is done")
    source: str = Field(description="container/path of the blob")
    table: str = Field(description="schema.table; the first of tables")
    summary: Summary = Field(description="What became of the features")
    stac: StacReference = Field(description="STAC item of the first table")
    ogc_features_url: str | None = Field(
        description="The collection's items in OGC API Features; null: not served"
    )
    viewer_url: str | None = Field(description="A map of the table; null: not served")
    stages: list[Stage] = Field(description="Stages in the order that they ran in")
    processing_time_seconds: float = Field(ge=0, description="From the first stage to the last")
    tasks_executed: int = Field(ge=0, description="Tasks of all stages")
    parallel_efficiency: float | None = Field(
        description="Time in load tasks / (time of the load stage × processes); null: one task"
    )
    original_crs: str = Field(description="CRS of the source: AUTHORITY:CODE, or WKT")
    geometry_type: str = Field(description="Of the first table's geometry column")
    warnings: list[str] = Field(description="What a person should know")
    tables: list[TableResult] = Field([], description="Every table that was published")
    version: int | None = Field(
        None, ge=1, description="Version of the table that was published; null: not versioned"
    )
    load_method: Literal["replace", "insert", "append", "upsert"] = Field(
        "replace", description="How the features met what was in the table"
    )
    quality_report_url: str | None = Field(
        None, description="The quality report, an HTML page; null: none was written"
    )
    geoparquet: list[str] = Field([], description="Addresses of the GeoParquet copy's files")


class Problem(_Document):
    """Why a job failed, in words."""

    what: str = Field(description="What the error is about: a blob, a table, a setting")
    problem: str = Field(description="What is wrong with it")
    remedy: str = Field(description="What can be done about it")


class FailedResult(_Document):
    """Result of one vector ingest that failed."""

    status: Literal["failed"] = Field("failed", description="The job failed")
    source: str = Field(description="container/path of the blob")
    error: Problem = Field(description="Why")

    @classmethod
    def of(cls, source: str, error: GeoEtlError) -> "FailedResult":
        """The document of a job that an error ended."""
        problem = Problem(what=error.thing, problem=error.problem, remedy=error.remedy)
        return cls(source=source, error=problem)


_DOCUMENT: TypeAdapter[VectorResult | FailedResult] = TypeAdapter(VectorResult | FailedResult)


def result_schema() -> dict[str, Any]:
    """JSON Schema of the result document, of jobs that are done and of those that failed."""
    schema = _DOCUMENT.json_schema(mode="serialization")
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "geo_etl vector result",
        "description": "The one JSON document of a vector job.",
        **schema,
    }
