"""The result documents of rasters: of one raster, and of a collection of many.

`docs/raster-result.schema.json` is their JSON Schema. `raster_outcome.py` fills them in.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from geo_etl.raster.manifest import Compression
from geo_etl.report.documents import Bounds, Document, FailedResult, Stage, schema_of
from geo_etl.spec.raster import DataKind, Tier

Number = Annotated[float, Field(allow_inf_nan=False)] | Literal["nan", "inf", "-inf"]
"""JSON has no NaN and no infinity: they are words, as in STAC."""


class ProofFigures(Document):
    """What was shown about files after their last write, against what they were made from."""

    cog_valid: bool = Field(description="Strict validation of every file found nothing")
    pixels_compared: int = Field(ge=0, description="Of one band")
    pixels_different: int | None = Field(
        ge=0, description="Of them, in any band at full resolution; null: lossy, see psnr_db"
    )
    mask_different: int = Field(ge=0, description="Pixels that are valid in only one of the two")
    psnr_db: float | None = Field(
        description="Peak signal-to-noise ratio of the worst file; null: nothing differs"
    )
    max_error: float | None = Field(
        description="Largest difference of a valid value; null: lossless"
    )
    new_classes: list[int] | None = Field(
        description="Values that only overviews have; null: they are no classes"
    )
    differences: list[str] = Field(
        description="What files say of themselves otherwise than planned: CRS, type, nodata …"
    )

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the files."""
        differ = (
            self.pixels_different,
            self.mask_different,
            self.new_classes,
            self.differences,
        )
        return self.cog_valid and not any(differ)


class RasterAsset(Document):
    """One tier: a COG file, or the files of all tiles or members together."""

    tier: Tier = Field(description="visualization, analysis or archive")
    href: str | None = Field(description="Address of the file; null: there are several, or none")
    files: int = Field(ge=0, description="How many there are")
    bytes: int = Field(ge=0, description="Of all files")
    bytes_uncompressed: int = Field(
        ge=0, description="Of their pixels at full resolution: width × height × bands × type"
    )
    width: int | None = Field(gt=0, description="Columns of the grid; null: many rasters")
    height: int | None = Field(gt=0, description="Rows of the grid; null: many rasters")
    crs: str | None = Field(description="AUTHORITY:CODE, or WKT; null: the members differ")
    bands: int | None = Field(description="With an alpha band; null: no file, or members differ")
    dtype: str | None = Field(description="Of the pixels; null: the members differ")
    compression: Compression | None = Field(description="Null: the members differ")
    lossless: bool = Field(description="Whether every pixel comes back as it was")
    warped: bool = Field(description="Whether pixels were moved to another grid")
    monthly_cost: float = Field(ge=0, description="US dollars to store it for a month, list price")
    pixels_valid: int = Field(ge=0, description="Pixels that are valid")
    proof: ProofFigures | None = Field(description="Null: there is no file")


class TileWindow(Document):
    """Where a tile is in the grid of its set, in pixels from the top left corner."""

    col: int = Field(ge=0, description="First column")
    row: int = Field(ge=0, description="First row")
    width: int = Field(gt=0, description="Columns")
    height: int = Field(gt=0, description="Rows")

    @property
    def pixels(self) -> int:
        """Of one band."""
        return self.width * self.height


class TileResult(Document):
    """One tile of a set."""

    index: int = Field(ge=0, description="Number of its task")
    row: int = Field(ge=0, description="Of the tile grid, from the north")
    col: int = Field(ge=0, description="Of the tile grid, from the west")
    window: TileWindow = Field(description="In the grid of the set")
    empty: bool = Field(description="No pixel is valid: there are no files")
    item_id: str | None = Field(description="STAC item; null: it is empty")
    bbox: Bounds | None = Field(description="Of its item; null: it is empty")
    bytes: int = Field(ge=0, description="Of its files")
    hrefs: dict[Tier, str] = Field(description="Address of its file by tier")


class RasterStac(Document):
    """Where the catalogue has the raster."""

    collection_id: str = Field(description="STAC collection")
    item_id: str | None = Field(description="STAC item in it; null: a set has an item a tile")
    items: int = Field(ge=0, description="How many items there are")
    bbox: Bounds | None = Field(description="Of all of them; null: there is no extent")


class Mosaic(Document):
    """A set of files as one layer."""

    vrt: str | None = Field(description="Address of a VRT over the files; null: there is none")
    search_id: str | None = Field(description="The search that pgSTAC has registered")
    tilejson_url: str | None = Field(description="TileJSON of its tiles; null: not served")


class RasterSummary(Document):
    """Every pixel accounted for."""

    pixels: int = Field(ge=0, description="Of the source's grid, of one band")
    pixels_valid: int = Field(ge=0, description="Of them: valid in at least one band")
    bands: int = Field(ge=0, description="Of the source, with an alpha band")
    total_tiles: int = Field(ge=0, description="Tiles that it was cut into; 1: it was not cut")
    tiles_converted: int = Field(ge=0, description="Tiles that became files")
    tiles_empty: int = Field(ge=0, description="Tiles without a valid pixel: they have no file")
    data_complete: bool = Field(
        description="total_tiles = tiles_converted + tiles_empty, and they cover the whole grid"
    )


class RasterResult(Document):
    """Result of one raster ingest that is done."""

    job_id: str = Field(description="SHA-256 of the source's key and content, and its spec")
    status: Literal["completed"] = Field("completed", description="The job is done")
    source: str = Field(description="container/path of the blob")
    layer: str = Field(description="collection/item; of a set of tiles: its collection")
    form: Literal["single", "tiled"] = Field(description="One item, or a set of tiles")
    summary: RasterSummary = Field(description="What became of the pixels")
    assets: list[RasterAsset] = Field(description="The tiers, all tiles together")
    tiles: list[TileResult] = Field([], description="Of a set: every tile, by index")
    mosaic: Mosaic | None = Field(None, description="Of a set: its tiles as one layer")
    stac: RasterStac = Field(description="STAC collection and item")
    tiles_url: str | None = Field(None, description="TileJSON of its map tiles; null: not served")
    viewer_url: str | None = Field(None, description="A map of the layer; null: not served")
    preview_url: str | None = Field(None, description="A small picture; null: there is none")
    quality_report_url: str | None = Field(
        None, description="The quality report, an HTML page; null: none was written"
    )
    data_kind: DataKind = Field(description="What the pixels are")
    data_kind_because: str = Field(description="Why it was taken for that")
    nodata: Number | None = Field(description="Value that is no data in the source; null: none")
    nodata_from: Literal["declared", "spec", "inferred"] | None = Field(
        description="Where that value is from; null: there is none"
    )
    narrowed_to: str | None = Field(
        description="Smaller type that holds every pixel without loss, and was used; null: none"
    )
    original_crs: str = Field(description="CRS of the source: AUTHORITY:CODE, or WKT")
    target_crs: str = Field(description="CRS of the first tier: AUTHORITY:CODE, or WKT")
    stages: list[Stage] = Field(description="Stages in the order that they ran in")
    processing_time_seconds: float = Field(ge=0, description="From the first stage to the last")
    tasks_executed: int = Field(ge=0, description="Tasks of all stages")
    parallel_efficiency: float | None = Field(
        description="Time in convert tasks / (time of that stage × processes); null: one task"
    )
    version: int | None = Field(
        None, ge=1, description="Version of the layer that was published; null: not versioned"
    )
    warnings: list[str] = Field(description="What a person should know")


MemberStatus = Literal["converted", "unchanged", "bad", "removed"]


class MemberResult(Document):
    """One raster of a collection, and what became of it."""

    source: str = Field(description="container/path of the blob")
    item_id: str | None = Field(description="STAC item; null: it has none")
    status: MemberStatus = Field(
        description="Made by this job; published before, as it is now; not published; taken away"
    )
    problem: str | None = Field(description="What is wrong with a bad one; null: nothing")
    bbox: Bounds | None = Field(description="Of its item; null: it has none")
    bytes: int = Field(ge=0, description="Of its published files")


class CollectionSummary(Document):
    """Every member accounted for: members = converted + unchanged + bad."""

    members: int = Field(ge=0, description="Rasters that are there")
    converted: int = Field(ge=0, description="Of them: made by this job")
    unchanged: int = Field(ge=0, description="Of them: published before, and still as they were")
    bad: int = Field(ge=0, description="Of them: not published, each with its problem")
    removed: int = Field(ge=0, description="Rasters that were taken away: no longer there")
    pixels: int = Field(ge=0, description="Of the members' own grids, of one band")
    pixels_valid: int = Field(ge=0, description="Of them: valid in at least one band")
    data_complete: bool = Field(
        description="Whether the sum above holds, and so it does for every member"
    )


class CollectionResult(Document):
    """Result of the ingest of many rasters as one collection that is done."""

    job_id: str = Field(description="SHA-256 of the members' jobs, and the spec")
    status: Literal["completed"] = Field("completed", description="The job is done")
    source: str = Field(description="container/folder of the rasters")
    layer: str = Field(description="STAC collection")
    form: Literal["collection"] = Field("collection", description="Many rasters")
    summary: CollectionSummary = Field(description="What became of the members")
    members: list[MemberResult] = Field(description="Every raster, by its source")
    assets: list[RasterAsset] = Field(description="The tiers, all published members together")
    mosaic: Mosaic | None = Field(None, description="Its members as one layer")
    stac: RasterStac = Field(description="STAC collection")
    tiles_url: str | None = Field(None, description="TileJSON of its map tiles; null: not served")
    viewer_url: str | None = Field(None, description="A map of the layer; null: not served")
    quality_report_url: str | None = Field(
        None, description="The quality report, an HTML page; null: none was written"
    )
    stages: list[Stage] = Field(description="Stages in the order that they ran in")
    processing_time_seconds: float = Field(ge=0, description="From the first stage to the last")
    tasks_executed: int = Field(ge=0, description="Tasks of all stages")
    parallel_efficiency: float | None = Field(
        description="Time in convert tasks / (time of that stage × processes); null: one task"
    )
    version: int | None = Field(
        None, ge=1, description="Version of the layer that was published; null: not versioned"
    )
    warnings: list[str] = Field(description="What a person should know")


_DOCUMENT: TypeAdapter[RasterResult | CollectionResult | FailedResult] = TypeAdapter(
    RasterResult | CollectionResult | FailedResult
)
_DONE: TypeAdapter[RasterResult | CollectionResult] = TypeAdapter(RasterResult | CollectionResult)


def read_result(document: dict[str, Any]) -> RasterResult | CollectionResult:
    """A stored document of a job that is done."""
    return _DONE.validate_python(document)


def raster_result_schema() -> dict[str, Any]:
    """JSON Schema of the result documents, of jobs that are done and of those that failed."""
    return schema_of(_DOCUMENT, "geo_etl raster result", "The one JSON document of a raster job.")
