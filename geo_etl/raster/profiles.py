"""How each tier is written: tables by tier and by kind of data, and the rules that need facts.

Here belong compression, resampling, types, block sizes and what a tier costs to keep. What a
visualization may show is in `rendering`; the writing in `cog`.
"""

import math
from dataclasses import dataclass

import numpy as np

from geo_etl.errors import RasterError
from geo_etl.raster.facts import RasterFacts, Validity
from geo_etl.raster.manifest import Compression, Profile
from geo_etl.raster.rendering import asked_look, look_of
from geo_etl.spec import RasterSpec
from geo_etl.spec.raster import DataKind, ProfileOverride, Tier


@dataclass(frozen=True)
class TierRule:
    """What holds for a tier whatever its data.

    Attributes:
        compress: DEFLATE for what must come back as it was: every reader of TIFF has it, browsers
            and old GDALs too, which can't be said of ZSTD. ZSTD is read in half the time; files
            are of the same size to a few per cent (a DEM of 38 million floats: 102 and 103 MB).
        allowed: what a spec may ask for instead.
        usd_per_gb_month: see `monthly_cost`.
    """

    compress: Compression
    allowed: tuple[Compression, ...]
    usd_per_gb_month: float


LOSSLESS: tuple[Compression, ...] = ("DEFLATE", "ZSTD", "LZW")
LOSSY: tuple[Compression, ...] = ("JPEG", "WEBP")

TIER_RULES: dict[Tier, TierRule] = {
    "visualization": TierRule("JPEG", LOSSY + LOSSLESS, usd_per_gb_month=0.018),
    "analysis": TierRule("DEFLATE", LOSSLESS, usd_per_gb_month=0.018),
    "archive": TierRule("DEFLATE", LOSSLESS, usd_per_gb_month=0.010),
}


@dataclass(frozen=True)
class KindRule:
    """How pixels of a kind are put together when a grid changes or shrinks.

    Attributes:
        resampling: of a warp.
        overviews: of overviews, but those of a complex type or of a rendered palette.
        interpolates: whether values between values mean something.
        predicts: whether neighbours are alike, so that a predictor makes the file smaller.
    """

    resampling: str
    overviews: str
    interpolates: bool
    predicts: bool


KIND_RULES: dict[DataKind, KindRule] = {
    "imagery": KindRule("cubic", "average", interpolates=True, predicts=True),
    "continuous": KindRule("bilinear", "average", interpolates=True, predicts=True),
    "classes": KindRule("nearest", "mode", interpolates=False, predicts=False),
    "mask": KindRule("nearest", "mode", interpolates=False, predicts=False),
}

QUALITY = 85
"""Of JPEG and WebP, SPEC's figure: the usual one for imagery on the web."""

SELECTING = {"nearest", "mode", "min", "max", "med"}
"""Resamplings whose result is a value of the source."""
OVERSHOOTING = {"cubic", "lanczos"}
"""Resamplings whose result may lie outside the range of the source's values."""
NO_OVERVIEWS = {"min", "max", "med"}
"""Resamplings that GDAL has for warps and not for overviews."""

BLOCKSIZE = 512
SMALLEST_BLOCK = 16
"""TIFF 6.0, section 15: the edge of a tile is a multiple of 16."""
BLOCK_BYTES = 16_000_000
"""Of one block of all bands: several are in memory at once."""

GDAL_ONLY_BYTES = {"complex_int16": 4, "complex_int32": 8}
"""GDAL's types that numpy has not."""


def profile_for(
    tier: Tier, facts: RasterFacts, spec: RasterSpec, warped: bool, name: str
) -> Profile:
    """How a tier of this raster is written.

    Args:
        warped: whether its grid is another than the source's.
        name: of the source, for errors.

    Raises:
        RasterError: the tier is impossible for this data, or the spec asks for what would change
            pixels in silence.
    """
    asked_look(facts, spec.render_params, name)  # the picture of every tier follows it
    override = spec.profiles.get(tier, ProfileOverride())
    resampling = _resampling(facts, spec, name)
    narrow = tier != "archive" and facts.narrow_to and _may_narrow(facts, resampling, warped)
    dtype = facts.narrow_to if narrow and facts.narrow_to else facts.dtype
    if tier == "visualization":
        return _visualization(facts, spec, override, resampling, dtype, warped, name)
    validity, nodata = _validity(facts, dtype, warped)
    return Profile(
        tier=tier,
        lossless=True,
        compress=_compression(tier, override, TIER_RULES[tier].compress, name),
        quality=None,
        predictor=_predictor(facts, dtype, tier),
        blocksize=_blocksize(len(facts.bands), dtype),
        resampling=resampling,
        overview_resampling=_overviews(facts, override, dtype, name),
        dtype=dtype,
        nodata=nodata,
        validity=validity,
        bands=tuple(band.index for band in facts.bands),
    )


def monthly_cost(tier: Tier, size: int) -> float:
    """US dollars a month to keep a file of a tier.

    List prices of Azure Blob Storage, block blobs, locally redundant, East US, first 50 TB, as
    published in 2024: hot 0.018, cool 0.010 dollars a GB and month. What is looked at or computed
    with is counted as hot; an archive as cool, since from Azure's own archive tier nothing could
    be served. Reading and writing cost extra.

    Args:
        size: in bytes; 1 GB is 2³⁰ bytes, as Azure counts.
    """
    return size / 2**30 * TIER_RULES[tier].usd_per_gb_month


def pixel_bytes(dtype: str) -> int:
    """Of one pixel of one band."""
    return GDAL_ONLY_BYTES.get(dtype) or np.dtype(dtype).itemsize


def significant_bits(facts: RasterFacts) -> int | None:
    """Bits that all bands use, where they are fewer than their type has."""
    bits = {band.significant_bits for band in facts.bands}
    return next(iter(bits)) if len(bits) == 1 else None


def _visualization(
    facts: RasterFacts,
    spec: RasterSpec,
    override: ProfileOverride,
    resampling: str,
    dtype: str,
    warped: bool,
    name: str,
) -> Profile:
    look = look_of(facts, dtype, spec.render_params, name)
    alpha = facts.alpha
    validity: Validity = "none"
    if alpha is not None:
        validity = "alpha"
    elif warped or facts.validity != "none" or look.has_gaps:
        validity = "mask"
    compress = _compression(
        "visualization", override, "WEBP" if validity == "alpha" else "JPEG", name
    )
    if compress == "JPEG" and validity == "alpha":
        raise RasterError(
            name,
            "has an alpha band, which JPEG has not",
            "Set profiles.visualization.compress to WEBP.",
        )
    lossless = compress in LOSSLESS
    overviews = _overviews(facts, override, "uint8", name)
    if look.palette and overviews == "mode":
        # The most frequent red and the most frequent green need not be one colour.
        overviews = "nearest"
    return Profile(
        tier="visualization",
        lossless=lossless,
        compress=compress,
        quality=None if lossless else override.quality or QUALITY,
        predictor=_predictor(facts, "uint8", "visualization") if lossless else None,
        blocksize=BLOCKSIZE,
        resampling=resampling,
        overview_resampling=overviews,
        dtype="uint8",
        nodata=None,
        validity=validity,
        bands=look.bands if alpha is None else (*look.bands, alpha),
        rescale=look.rescale,
        colormap_name=look.colormap_name,
    )


def _compression(
    tier: Tier, override: ProfileOverride, default: Compression, name: str
) -> Compression:
    compress = override.compress or default
    allowed = TIER_RULES[tier].allowed
    if compress not in allowed:
        raise RasterError(
            name,
            f"{compress} is not lossless, and the {tier} tier is",
            f"Set profiles.{tier}.compress to one of {', '.join(allowed)}.",
        )
    if override.quality is not None and compress in LOSSLESS:
        raise RasterError(
            name,
            f"{compress} has no quality: every pixel comes back as it was",
            f"Leave out profiles.{tier}.quality.",
        )
    return compress


def _resampling(facts: RasterFacts, spec: RasterSpec, name: str) -> str:
    rule = KIND_RULES[facts.kind]
    chosen = spec.resampling or rule.resampling
    if not rule.interpolates:
        _refuse_invented(chosen, "resampling", facts, name)
    return chosen


def _overviews(facts: RasterFacts, override: ProfileOverride, dtype: str, name: str) -> str:
    rule = KIND_RULES[facts.kind]
    chosen = override.overview_resampling
    if chosen is None:
        return "nearest" if dtype.startswith("complex") else rule.overviews
    if chosen in NO_OVERVIEWS:
        raise RasterError(
            name,
            f"overviews can't be made by {chosen}",
            "Set overview_resampling in profiles to nearest, mode, average, bilinear, cubic, "
            "cubic_spline or lanczos.",
        )
    if not rule.interpolates:
        _refuse_invented(chosen, "overview_resampling", facts, name)
    return chosen


def _refuse_invented(chosen: str, key: str, facts: RasterFacts, name: str) -> None:
    if chosen not in SELECTING:
        raise RasterError(
            name,
            f"{chosen} would invent values between those of {facts.kind} ({facts.kind_because})",
            f"Set {key} to nearest or mode, or data_kind to continuous if that is what they are.",
        )


def _may_narrow(facts: RasterFacts, resampling: str, warped: bool) -> bool:
    """Whether a warp leaves in the smaller type what it would leave in the source's.

    Between whole numbers that are kept as floats there are others; and a kernel that overshoots
    leaves the range that the smaller type has.
    """
    if not warped or resampling in SELECTING:
        return True
    was, becomes = np.dtype(facts.dtype).kind, np.dtype(facts.narrow_to).kind
    if was == "f":
        return becomes == "f"
    return resampling not in OVERSHOOTING


def _validity(facts: RasterFacts, dtype: str, warped: bool) -> tuple[Validity, float | None]:
    """What tells valid pixels, and nodata: a warped grid has pixels that the source has not."""
    if facts.validity == "nodata":
        return "nodata", facts.nodata
    if facts.validity == "none" and warped:
        floats = not dtype.startswith("complex") and np.dtype(dtype).kind == "f"
        return ("nodata", math.nan) if floats else ("mask", None)
    return facts.validity, None


def _predictor(facts: RasterFacts, dtype: str, tier: Tier) -> int:
    """None where neighbours are not alike; GDAL has none for complex numbers and packed bits."""
    if not KIND_RULES[facts.kind].predicts or dtype.startswith("complex"):
        return 1
    if tier == "archive" and significant_bits(facts):
        return 1
    return 3 if np.dtype(dtype).kind == "f" else 2


def _blocksize(bands: int, dtype: str) -> int:
    size = BLOCKSIZE
    while size > SMALLEST_BLOCK and size * size * bands * pixel_bytes(dtype) > BLOCK_BYTES:
        size //= 2
    return size
