"""The spec of one vector source."""

import codecs
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
)
from pyproj import CRS
from pyproj.exceptions import CRSError

from geo_etl.spec.identifiers import Identifier, check_identifier
from geo_etl.spec.rules import ColumnRule

OWN_SCHEMAS = frozenset(
    ["geo_etl", "geo_loads", "geo_quarantine", "dagster", "pgstac", "topology", "tiger"]
)


def _schema(value: str) -> str:
    check_identifier(value)
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


_ENCODINGS = re.compile(
    r"utf-(8(-sig)?|16|32)|ascii|cp\d{3,4}|iso8859-\d+|koi8-[rtu]|mac-(roman|cyrillic)"
    r"|gbk|gb2312|gb18030|big5(hkscs)?|shift_jis|euc_(jp|kr)|johab|tis-620"
)
"""Python's names of what is an encoding of text elsewhere too: base64 and idna are none."""


def _encoding(value: str) -> str:
    problem = "is no known encoding of text; give one like UTF-8, cp1252 or cp852"
    try:
        name = codecs.lookup(value).name
    except (LookupError, ValueError):
        raise ValueError(problem) from None
    if not _ENCODINGS.fullmatch(name):
        raise ValueError(problem)
    for ours, common in (("mac-roman", "macintosh"), ("euc_", "euc-"), ("utf-8-sig", "utf-8")):
        name = name.replace(ours, common)
    return name


def _extension(value: str) -> str:
    if not re.fullmatch(r"\w+", value):
        raise ValueError("is written without a dot, for instance gpkg")
    return value


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
    lat_name: str | None = Field(None, description="CSV: column with latitudes, or northings (y)")
    lon_name: str | None = Field(None, description="CSV: column with longitudes, or eastings (x)")
    wkt_column: str | None = Field(None, description="CSV: column with geometries as WKT")

    @field_validator("lon_name", "wkt_column")
    @classmethod
    def _one_geometry(cls, value: str | None, info: ValidationInfo) -> str | None:
        latitudes = info.data.get("lat_name")
        if info.field_name == "lon_name" and (value is None) != (latitudes is None):
            raise ValueError("lat_name and lon_name go together")
        if info.field_name == "wkt_column" and value is not None and latitudes is not None:
            raise ValueError("excludes lat_name and lon_name")
        return value

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


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
    mixed_geometry: Literal["error", "split", "any"] = Field(
        "error",
        description="Points, lines and polygons in one layer: refuse, a table for each kind "
        "(_point, _line, _polygon), or one table for all",
    )
    split_antimeridian: bool = Field(
        False, description="Cut lines and polygons that cross 180° into parts; degrees only"
    )


class AttributeRules(_Part):
    """What may happen to attributes."""

    schema_change: Literal["stop", "allow"] = Field(
        "stop", description="On re-delivery: columns that are missing or have another type"
    )
    columns: dict[str, ColumnRule | None] = Field(
        {}, description="Rules by column: its name in the source, or its published name"
    )


class Grid(_Part):
    """Cells over the extent of a source."""

    rows: int = Field(ge=1, le=14)
    cols: int = Field(ge=1, le=14)


class Metadata(_Part):
    """What the catalogue says of the dataset beyond what its data says."""

    title: str | None = Field(None, description="Default: the table's name")
    description: str | None = Field(None, description="For people, in a few sentences")
    license: str | None = Field(None, description="SPDX identifier, or 'other'")
    provider: str | None = Field(None, description="Who the data is from")
    datetime: AwareDatetime | None = Field(
        None,
        description="Of the data; default: from a column in indexes.temporal, else the time that "
        "the source was last written",
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
    chunk_by: Literal["features", "grid", "attribute"] = Field(
        "features", description="What the features of a task have in common"
    )
    chunk_grid: Grid | None = Field(None, description="With chunk_by: grid")
    chunk_attribute: str | None = Field(
        None, description="With chunk_by: attribute; a column of the source"
    )
    converter_params: ConverterParams = ConverterParams()
    indexes: Indexes = Indexes()
    geometry_params: GeometryParams = GeometryParams()
    attribute_rules: AttributeRules = AttributeRules()
    load_method: Literal["replace", "insert", "append", "upsert"] = Field(
        "replace",
        description="insert: only into a table that does not exist yet; append: add to what is "
        "there; upsert: replace the features with the same key_columns, add the others",
    )
    key_columns: list[str] = Field(
        [], description="With load_method: upsert; columns (published names) that tell features"
    )
    target_srid: Annotated[int, AfterValidator(_srid)] = Field(4326, description="EPSG code")
    collection_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = "system-vectors"
    metadata: Metadata = Metadata()
    render_params: dict[str, JsonValue] = Field(
        {}, description="Kept with the STAC item as `renders`"
    )
    geoparquet: bool = Field(
        False, description="A GeoParquet copy in silver, attached to the STAC item"
    )
    limits: Limits = Limits()
    access: Literal["internal"] = "internal"

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=False,
        validate_default=True,
        title="geo_etl vector spec",
    )

    @field_validator("chunk_grid", "chunk_attribute", "key_columns")
    @classmethod
    def _goes_with(cls, value: Any, info: ValidationInfo) -> Any:
        choice, needed_by = {
            "chunk_grid": ("chunk_by", "grid"),
            "chunk_attribute": ("chunk_by", "attribute"),
            "key_columns": ("load_method", "upsert"),
        }[str(info.field_name)]
        chosen = info.data.get(choice) == needed_by
        if chosen and not value:
            raise ValueError(f"is needed with {choice}: {needed_by}")
        if value and not chosen:
            raise ValueError(f"goes with {choice}: {needed_by} only")
        return value

    @field_validator("target_srid")
    @classmethod
    def _can_split(cls, value: int, info: ValidationInfo) -> int:
        geometry = info.data.get("geometry_params")
        splits = geometry is not None and geometry.split_antimeridian
        if splits and not CRS.from_epsg(value).is_geographic:
            raise ValueError("split_antimeridian needs a CRS in degrees, for instance 4326")
        return value

    def canonical(self) -> dict[str, Any]:
        """The spec as plain values with every default filled in: what the job id is made of."""
        return self.model_dump(mode="json", by_alias=True)
