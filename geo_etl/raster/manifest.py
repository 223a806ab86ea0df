"""What the ops of a raster ingest hand each other: small references and figures, never pixels."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from geo_etl.ingest.clock import Span
from geo_etl.raster.facts import Grid, RasterFacts, Statistics, Validity, Window
from geo_etl.spec import RasterSpec, SourceRef, Tier

Compression = Literal["JPEG", "WEBP", "DEFLATE", "ZSTD", "LZW"]
Form = Literal["single", "tiled", "collection"]
"""What a published layer is: one item, a set of tiles, or many rasters."""


@dataclass(frozen=True)
class RasterOrder:
    """What is to be ingested: a source as it is now, and its spec."""

    source: SourceRef
    fingerprint: str
    modified: datetime
    bytes: int
    job_id: str
    spec: RasterSpec


@dataclass(frozen=True)
class Profile:
    """How one tier is written.

    Attributes:
        lossless: whether every pixel comes back as it was.
        predictor: of DEFLATE, ZSTD and LZW: 1 none, 2 integers, 3 floats (TIFF 6.0, section 14;
            Adobe Photoshop TIFF Technical Note 3).
        blocksize: edge of a block in pixels.
        resampling: of the warp.
        overview_resampling: of the overviews.
        dtype: of the file's pixels.
        nodata: of the file; None where a mask or alpha tells, or all is valid.
        validity: what tells valid pixels in the file.
        bands: source bands that are written, by index, alpha among them.
        rescale: of each band that is written but alpha, (low, high) → (0, 255); empty: as they are.
        colormap_name: of matplotlib, to make colours of one band.
    """

    tier: Tier
    lossless: bool
    compress: Compression
    quality: int | None
    predictor: int | None
    blocksize: int
    resampling: str
    overview_resampling: str
    dtype: str
    nodata: float | None
    validity: Validity
    bands: tuple[int, ...]
    rescale: tuple[tuple[float, float], ...] = ()
    colormap_name: str | None = None

    @property
    def count(self) -> int:
        """Bands of the file; of a visualization red, green, blue, and alpha where it tells."""
        if self.tier == "visualization":
            return 4 if self.validity == "alpha" else 3
        return len(self.bands)


@dataclass(frozen=True)
class TierPlan:
    """One tier: on which grid, written how.

    Attributes:
        warped: whether the grid is another than the source's.
    """

    tier: Tier
    grid: Grid
    warped: bool
    profile: Profile


@dataclass(frozen=True)
class Piece:
    """One task: a window of a grid, and the tiers to make of it.

    Attributes:
        row, col: of the tile in its tile grid; 0, 0 for a whole raster.
        window: in the grid of its tiers, which is the same for all of them.
        is_tile: whether there are others beside it.
    """

    index: int
    row: int
    col: int
    window: Window
    tiers: tuple[Tier, ...]
    is_tile: bool


@dataclass(frozen=True)
class Proof:
    """What was shown about one file after its last write.

    Attributes:
        cog_valid: strict validation found nothing.
        cog_problems: what it found.
        pixels_compared: of one band, all of them.
        pixels_different: of them, in any band, at full resolution (lossless: must be 0).
        mask_different: pixels that are valid in one and not in the other (must be 0).
        psnr_db: peak signal-to-noise ratio over valid pixels (lossy); None when lossless or
            nothing differs.
        max_error: largest difference of a valid value (lossy).
        new_classes: values in overviews that the full resolution does not have.
        differences: what the file says of itself (CRS, transform, type, nodata …) otherwise than
            planned.
    """

    cog_valid: bool
    cog_problems: tuple[str, ...]
    pixels_compared: int
    pixels_different: int | None
    mask_different: int
    psnr_db: float | None
    max_error: float | None
    new_classes: tuple[int, ...] | None
    differences: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """Why the file must not become visible; empty for a good one."""
        found = [f"it is no valid COG: {problem}" for problem in self.cog_problems]
        found += self.differences
        if self.pixels_different:
            found.append(f"{self.pixels_different} of {self.pixels_compared} pixels differ")
        if self.mask_different:
            found.append(f"{self.mask_different} pixels are valid in one and not in the other")
        if self.new_classes:
            found.append(f"its overviews have classes that the data has not: {self.new_classes}")
        if not self.cog_valid and not found:
            found.append("it is no valid COG")
        return found


@dataclass(frozen=True)
class Made:
    """One COG file that was written and proven.

    Attributes:
        path: its blob, `container/path`.
        size: in bytes.
        sha256: of the file, hexadecimal.
        grid: of the file.
        statistics: of its data bands, of valid pixels.
        footprint: WKB in the CRS of the grid, around its valid pixels; None when there are none.
    """

    tier: Tier
    path: str
    size: int
    sha256: str
    grid: Grid
    profile: Profile
    proof: Proof
    statistics: tuple[Statistics, ...]
    footprint: bytes | None
    valid_pixels: int


@dataclass(frozen=True)
class PieceReport:
    """What one convert task did.

    Attributes:
        made: a file a tier; none for a tile without a valid pixel.
        preview: PNG of at most 512 × 512 pixels; None for an empty tile.
    """

    index: int
    made: tuple[Made, ...]
    preview: bytes | None
    span: Span


@dataclass(frozen=True)
class RasterManifest:
    """What the plan found and decided: all that later stages need.

    Attributes:
        layer: name of what is published: `collection/item`, or the collection of a set.
        form: single or tiled.
        tiers: in the order visualization, analysis, archive.
    """

    order: RasterOrder
    facts: RasterFacts
    layer: str
    form: Form
    collection_id: str
    item_id: str
    tiers: tuple[TierPlan, ...]
    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...]
    span: Span

    def plan_of(self, tier: Tier) -> TierPlan:
        """The plan of a tier."""
        return next(plan for plan in self.tiers if plan.tier == tier)
