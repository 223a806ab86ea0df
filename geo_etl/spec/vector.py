"""The spec of one vector source."""

import codecs
import re
from typing import Annotated, Any, Literal
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pyproj import CRS
from pyproj.exceptions import CRSError

MAX_IDENTIFIER_BYTES = 63
OWN_SCHEMAS = frozenset(
    ["geo_etl", "geo_loads", "geo_quarantine", "dagster", "pgstac", "topology", "tiger"]
)


def _identifier(value: str) -> str:
    legal = all(char == "_" or char.isalnum() or category(char)[0] == "M" for char in value)
    starts = value[:1].isidentifier() and not value[:1].isnumeric()
    if not (legal and starts) or value != value.lower():
        raise ValueError(
            "must be lower-case letters, digits and underscores, starting with no digit"
        )
    if len(value.encode()) > MAX_IDENTIFIER_BYTES:
        raise ValueError(f"must be at most {MAX_IDENTIFIER_BYTES} bytes (PostgreSQL's limit)")
    return value


def _schema(value: str) -> str:
    _identifier(value)
    if value in OWN_SCHEMAS or value.startswith("pg_") or value == "information_schema":
        raise ValueError("is reserved; choose another schema, 'geo' by default")
    return value


def _crs(value: str) -> str:
    try:
        CRS.from_user_input(value)
    except CRSError:
        raise ValueError("PROJ knows no such CRS; give one like EPSG:25832") from None
    return value


def _srid(value: int) -> int:
    _crs(f"EPSG:{value}")
    if len(CRS.from_epsg(value).axis_info) != 2:
        raise ValueError("must be a CRS with two axes, projected or geographic")
    return value


def _encoding(value: str) -> str:
    try:
        codecs.lookup(value)
    except LookupError:
        raise ValueError("is no known encoding; give one like UTF-8, cp1252 or cp852") from None
    return value


def _extension(value: str) -> str:
    if not re.fullmatch(r"\w+", value):
        raise ValueError("is written without a dot, for instance gpkg")
    return value


Identifier = Annotated[str, AfterValidator(_identifier)]
Schema = Annotated[str, AfterValidator(_schema)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConverterParams(_Part):
    """How to read the source."""

    layer_name: str | None = Field(None, description="Layer, where a source has several")
    encoding: Annotated[str, AfterValidator(_encoding)] | None = Field(
        None, description="Of text; default: what the source declares"
    )
    source_crs: Annotated[str, AfterValidator(_crs)] | None = Field(
        None, description="CRS of the source; overrides what the source declares"
    )


class Indexes(_Part):
    """Indexes of the published table, beside its primary key."""

    spatial: bool = Field(True, description="GiST on the geometry")
    attributes: list[str] = Field([], description="Columns (published names) to get a B-tree")
    temporal: list[str] = Field([], description="Date or time columns to get a B-tree")


class GeometryParams(_Part):
    """Optional changes to geometries, in units of the target CRS."""

    simplify_tolerance: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Douglas-Peucker tolerance, topology of each feature preserved",
    )
    quantize: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Grid size coordinates are snapped to"
    )
    mixed_geometry: Literal["error", "any"] = Field(
        "error", description="What to do with points, lines and polygons in one layer"
    )


class AttributeRules(_Part):
    """What may happen to attributes."""

    schema_change: Literal["stop", "allow"] = Field(
        "stop", description="On re-delivery: columns that are missing or have another type"
    )


class Limits(_Part):
    """Circuit breakers."""

    max_features: int = Field(10_000_000, gt=0)
    max_file_size_gb: float = Field(50.0, gt=0, description="1 GB = 10⁹ bytes, uncompressed")
    max_repair_change: float = Field(
        0.1, ge=0, description="Largest relative change of area or length by a repair"
    )


class VectorSpec(_Part):
    """What one vector source asks for. Every key has a default."""

    table_name: Identifier | None = Field(None, description="Default: from the source's name")
    schema_name: Schema = Field("geo", alias="schema", description="Schema of the table")
    file_extension: Annotated[str, AfterValidator(_extension)] | None = Field(
        None, description="Default: from the source's name"
    )
    container_name: str | None = Field(None, description="Default: the source's own container")
    chunk_size: int | None = Field(None, gt=0, description="Features a task; default: automatic")
    chunk_by: Literal["features"] = "features"
    converter_params: ConverterParams = ConverterParams()
    indexes: Indexes = Indexes()
    geometry_params: GeometryParams = GeometryParams()
    attribute_rules: AttributeRules = AttributeRules()
    load_method: Literal["replace", "insert"] = Field(
        "replace", description="insert: only into a table that does not exist yet"
    )
    target_srid: Annotated[int, AfterValidator(_srid)] = Field(4326, description="EPSG code")
    collection_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = "system-vectors"
    render_params: dict[str, JsonValue] = Field(
        {}, description="Kept with the STAC item as `renders`"
    )
    limits: Limits = Limits()
    access: Literal["internal"] = "internal"

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=False, title="geo_etl vector spec"
    )

    def canonical(self) -> dict[str, Any]:
        """The spec as plain values with every default filled in: what the job id is made of."""
        return self.model_dump(mode="json", by_alias=True)
