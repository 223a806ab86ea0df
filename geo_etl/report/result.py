"""The result document: one JSON document a job, whether it was done or failed.

`docs/vector-result.schema.json` is its JSON Schema.
"""

from typing import Any, Literal

from pydantic import Field, TypeAdapter

from geo_etl.report.documents import Document, FailedResult, StacReference, Stage, schema_of


class Summary(Document):
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


class TableResult(Document):
    """One published table; a layer of mixed geometries can become several."""

    table: str = Field(description="schema.table")
    geometry_type: str = Field(description="Of its geometry column")
    features_loaded: int = Field(ge=0, description="Features that this job put into it")
    features_total: int = Field(ge=0, description="Features that it holds now")
    stac: StacReference = Field(description="Its STAC item")
    ogc_features_url: str | None = Field(
        None, description="The collection's items in OGC API Features; null: not served"
    )


class VectorResult(Document):
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


_DOCUMENT: TypeAdapter[VectorResult | FailedResult] = TypeAdapter(VectorResult | FailedResult)


def result_schema() -> dict[str, Any]:
    """JSON Schema of the result document, of jobs that are done and of those that failed."""
    return schema_of(_DOCUMENT, "geo_etl vector result", "The one JSON document of a vector job.")
