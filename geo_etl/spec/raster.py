"""The spec of one raster source, or of a collection of them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from pyproj import CRS
from pyproj.exceptions import CRSError

from geo_etl.spec.vector import Metadata

Tier = Literal["visualization", "analysis", "archive"]
TIERS: tuple[Tier, ...] = ("visualization", "analysis", "archive")
Resampling = Literal[
    "nearest",
    "bilinear",
    "cubic",
    "cubic_spline",
    "lanczos",
    "average",
    "mode",
    "min",
    "max",
    "med",
]
DataKind = Literal["imagery", "continuous", "classes", "mask"]
NATIVE = "native"
StacId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=200)]


def _crs(value: str) -> str:
    try:
        CRS.from_user_input(value)
    except CRSError:
        raise ValueError("PROJ knows no such CRS; give one like EPSG:25832") from None
    return value


def _target_crs(value: str) -> str:
    if value == NATIVE:
        return value
    crs = CRS.from_user_input(_crs(value))
    if len(crs.axis_info) != 2 or not (crs.is_geographic or crs.is_projected):
        raise ValueError(
            f"'{crs.name}' is no CRS of a map: it must be projected, or longitude and latitude"
        )
    return value


def _extension(value: str) -> str:
    if not value.isalnum():
        raise ValueError("is written without a dot, for instance tif")
    return value.lower()


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RenderParams(_Part):
    """How the data becomes a picture: for tiles, previews and the visualization tier."""

    bands: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="Bands to show, numbered from 1: one, or three for red, green, blue"
    )
    rescale: list[tuple[float, float]] | None = Field(
        None, description="Value that becomes darkest and value that becomes brightest, by band"
    )
    colormap_name: str | None = Field(
        None, description="Of matplotlib, for one band, for instance viridis"
    )

    @field_validator("bands")
    @classmethod
    def _one_or_three(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and len(value) not in (1, 3):
            raise ValueError("must be one band, or three")
        return value

    @field_validator("rescale")
    @classmethod
    def _ascends(cls, value: list[tuple[float, float]] | None) -> list[tuple[float, float]] | None:
        if value is not None and (not value or any(not low < high for low, high in value)):
            raise ValueError("must be pairs [low, high] with low < high")
        return value


class ProfileOverride(_Part):
    """What a tier is to do otherwise than the table of profiles says."""

    compress: Literal["JPEG", "WEBP", "DEFLATE", "ZSTD", "LZW"] | None = None
    quality: int | None = Field(None, ge=1, le=100, description="JPEG and WebP")
    overview_resampling: Resampling | None = None


class Members(_Part):
    """How a folder becomes one collection."""

    on_bad: Literal["stop", "skip"] = Field(
        "stop", description="A member that can't be converted: stop, or publish the others"
    )
    on_mixed: Literal["stop", "allow"] = Field(
        "stop", description="Members that differ in bands, type or (with target_crs: native) CRS"
    )


class RasterLimits(_Part):
    """Circuit breakers."""

    max_file_size_gb: float = Field(
        200.0, gt=0, description="1 GB = 10⁹ bytes, of the file, unpacked"
    )
    max_uncompressed_gb: float = Field(
        500.0, gt=0, description="Pixels × bands × bytes, as the file declares them"
    )
    max_expansion: float = Field(
        1000.0,
        gt=1,
        description="Declared bytes of pixels per byte of the file, above 1 GB declared",
    )
    max_bands: int = Field(1000, gt=0)


class RasterSpec(_Part):
    """What one raster source asks for. Every key has a default."""

    output_tier: tuple[Tier, ...] = Field(
        ("analysis",), description="One tier, a list of them, or 'all'"
    )
    target_crs: Annotated[str, AfterValidator(_target_crs)] = Field(
        "EPSG:4326", description="Of visualization and analysis; 'native': that of the source"
    )
    resampling: Resampling | None = Field(None, description="Default: by kind of data")
    data_kind: DataKind | None = Field(None, description="Default: what the pixels say")
    nodata: float | None = Field(
        None, description="Of the source; overrides what it declares. NaN is written as .nan"
    )
    source_crs: Annotated[str, AfterValidator(_crs)] | None = Field(
        None, description="CRS of the source; overrides what the source declares"
    )
    subdataset: str | None = Field(None, description="Variable of a NetCDF, where it has several")
    file_extension: Annotated[str, AfterValidator(_extension)] | None = Field(
        None, description="Default: from the source's name"
    )
    container_name: str | None = Field(None, description="Default: the source's own container")
    band_names: list[str] | None = Field(None, description="In the order of the bands")
    max_raster_size_gb: float = Field(
        2.0, gt=0, description="Pixels of more bytes than this become a set of tiles (10⁹ bytes)"
    )
    target_tile_size_gb: float = Field(
        1.0, gt=0, description="Bytes of pixels of one tile, about (10⁹ bytes)"
    )
    profiles: dict[Tier, ProfileOverride] = Field({}, description="Changes to the tiers' profiles")
    collection_id: StacId | None = Field(
        None, description="Default: system-rasters; of a set, from its name"
    )
    item_id: StacId | None = Field(None, description="Default: from the source's name")
    datetime: AwareDatetime | None = Field(
        None, description="Of the data; default: from its tags, else when it was last written"
    )
    metadata: Metadata = Metadata()
    render_params: RenderParams = RenderParams()
    collection: bool = Field(
        False, description="In _ingest.yaml: the rasters of this folder are one collection"
    )
    members: Members = Members()
    limits: RasterLimits = RasterLimits()
    access: Literal["internal"] = "internal"

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, title="geo_etl raster spec"
    )

    @field_validator("output_tier", mode="before")
    @classmethod
    def _tiers(cls, value: Any) -> Any:
        if value == "all":
            return TIERS
        wanted = [value] if isinstance(value, str) else value
        if not isinstance(wanted, list | tuple) or not wanted:
            raise ValueError(f"must be one of {', '.join(TIERS)}, a list of them, or 'all'")
        # One order, so that ['archive', 'analysis'] is the same job as the other way round.
        known = [tier for tier in TIERS if tier in wanted]
        return (*known, *(tier for tier in wanted if tier not in TIERS))

    def canonical(self) -> dict[str, Any]:
        """The spec as plain values with every default filled in: what the job id is made of."""
        return self.model_dump(mode="json")
