"""What is said of tiers: their size, and what was shown about them."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from geo_etl.report.elements import data_table, section, tag
from geo_etl.report.raster_result import RasterAsset
from geo_etl.report.words import file_size


def tier_size(asset: RasterAsset) -> str:
    """How large a tier is, and how much smaller than its pixels."""
    if not asset.bytes:
        return "no file"
    several = f" in {asset.files} files" if asset.files > 1 else ""
    share = asset.bytes_uncompressed / asset.bytes
    return f"{file_size(asset.bytes)}{several} (1 : {share:.1f})"


def monthly_dollars(cost: float) -> str:
    """What storing a tier costs, in figures that mean something."""
    return f"${cost:.2f} a month" if cost >= 0.005 else "less than 1 cent a month"


def proof_words(asset: RasterAsset) -> str:
    """What was shown about a tier, in a sentence."""
    proof = asset.proof
    if proof is None:
        return "no file, nothing to prove"
    parts = ["valid COG" if proof.cog_valid else "NOT a valid COG"]
    if proof.pixels_different is not None:
        parts.append(
            f"{proof.pixels_different:,} of {proof.pixels_compared:,} pixels differ"
            if proof.pixels_different
            else f"all {proof.pixels_compared:,} pixels equal"
        )
    if proof.psnr_db is not None:
        parts.append(f"PSNR {proof.psnr_db:.1f} dB")
    if proof.max_error is not None:
        parts.append(f"largest error {proof.max_error:g}")
    if proof.mask_different:
        parts.append(f"{proof.mask_different:,} pixels valid in only one")
    else:
        parts.append("same valid pixels")
    if proof.new_classes is not None:
        parts.append(f"{len(proof.new_classes)} new classes in overviews")
    return ", ".join([*parts, *proof.differences])


def tier_section(assets: Sequence[RasterAsset]) -> Element:
    """The part of a page about the tiers."""
    heads = ["Tier", "Grid", "Pixels", "Size", "Storage", "Proof"]
    rows: list[list[Element | str]] = [
        [
            tag("b", asset.tier, cls="figures"),
            _figures(f"{asset.width:,} × {asset.height:,}" if asset.width and asset.height else ""),
            f"{pixel_words(asset)}, {compression_words(asset)}",
            _figures(tier_size(asset)),
            monthly_dollars(asset.monthly_cost),
            proof_words(asset),
        ]
        for asset in assets
    ]
    return section("What was made of it", data_table(heads, rows))


def pixel_words(asset: RasterAsset) -> str:
    """For instance 3 × uint8."""
    return f"{asset.bands or '?'} × {asset.dtype or 'several types'}"


def compression_words(asset: RasterAsset) -> str:
    """For instance DEFLATE, lossless."""
    return f"{asset.compression or 'several'}, {'lossless' if asset.lossless else 'lossy'}"


def _figures(text: str) -> Element:
    """Figures that stay on one line."""
    return tag("span", text, cls="figures")
