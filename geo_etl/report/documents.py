"""What the result documents of vectors and of rasters have in common."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from geo_etl.errors import GeoEtlError

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Bounds = Annotated[
    tuple[float, float, float, float],
    Field(description="west, south, east, north in degrees; west > east across the antimeridian"),
]


class Document(BaseModel):
    """A document, or a part of one: it is written once, and has no other fields."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_serialization_defaults_required=True
    )


class StacReference(Document):
    """Where the catalogue has the dataset."""

    collection_id: str = Field(description="STAC collection")
    item_id: str = Field(description="STAC item in it")
    bbox: Bounds | None = Field(description="Of the item; null: it has no extent")


class Stage(Document):
    """One stage of the job, from its first task's start to its last task's end."""

    name: Literal["plan", "load", "convert", "publish", "verify"] = Field(description="The stage")
    seconds: float = Field(ge=0, description="How long it took")
    tasks: int = Field(ge=0, description="How many tasks ran in it")


class Problem(Document):
    """Why a job failed, in words."""

    what: str = Field(description="What the error is about: a blob, a table, a setting")
    problem: str = Field(description="What is wrong with it")
    remedy: str = Field(description="What can be done about it")

    @classmethod
    def of(cls, error: GeoEtlError) -> "Problem":
        """The words of an error."""
        return cls(what=error.thing, problem=error.problem, remedy=error.remedy)


class FailedResult(Document):
    """Result of one ingest that failed."""

    status: Literal["failed"] = Field("failed", description="The job failed")
    source: str = Field(description="container/path of the blob")
    error: Problem = Field(description="Why")

    @classmethod
    def of(cls, source: str, error: GeoEtlError) -> "FailedResult":
        """The document of a job that an error ended."""
        return cls(source=source, error=Problem.of(error))


def schema_of(documents: TypeAdapter[Any], title: str, description: str) -> dict[str, Any]:
    """JSON Schema of documents as they are written."""
    schema = documents.json_schema(mode="serialization")
    return {"$schema": SCHEMA_DIALECT, "title": title, "description": description, **schema}
