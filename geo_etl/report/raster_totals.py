"""The tiers of a raster, or of many, as a result document counts them: files, bytes, proofs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from geo_etl.raster.manifest import Made, PieceReport, Proof, RasterManifest, TierPlan
from geo_etl.raster.profiles import monthly_cost
from geo_etl.raster.tiling import itemsize
from geo_etl.report.raster_result import ProofFigures, RasterAsset
from geo_etl.spec.raster import TIERS, Tier

T = TypeVar("T")


def tier_asset(
    plan: TierPlan,
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    hrefs: Mapping[str, str],
) -> RasterAsset:
    """One tier of a raster, the files of all its tiles together.

    Args:
        hrefs: address of each file, by its blob.
    """
    files = [file for report in reports for file in report.made if file.tier == plan.tier]
    is_cut = any(piece.is_tile and plan.tier in piece.tiers for piece in manifest.pieces)
    profile, size = plan.profile, sum(file.size for file in files)
    bands = {_bands(file) for file in files}
    return RasterAsset(
        tier=plan.tier,
        href=hrefs[files[0].path] if files and not is_cut else None,
        files=len(files),
        bytes=size,
        bytes_uncompressed=sum(
            file.grid.pixels * _bands(file) * itemsize(profile.dtype) for file in files
        ),
        width=plan.grid.width,
        height=plan.grid.height,
        crs=plan.grid.crs,
        bands=bands.pop() if len(bands) == 1 else None,
        dtype=profile.dtype,
        compression=profile.compress,
        lossless=profile.lossless,
        warped=plan.warped,
        monthly_cost=monthly_cost(plan.tier, size),
        pixels_valid=sum(file.valid_pixels for file in files),
        proof=merged(_figures(file.proof) for file in files),
    )


def _bands(made: Made) -> int:
    """Of a file: colours that were made of one band are several."""
    return max(len(made.profile.bands), len(made.statistics))


def _figures(proof: Proof) -> ProofFigures:
    return ProofFigures(
        cog_valid=proof.cog_valid and not proof.cog_problems,
        pixels_compared=proof.pixels_compared,
        pixels_different=proof.pixels_different,
        mask_different=proof.mask_different,
        psnr_db=proof.psnr_db,
        max_error=proof.max_error,
        new_classes=None if proof.new_classes is None else list(proof.new_classes),
        differences=list(proof.differences),
    )


def merged(figures: Iterable[ProofFigures]) -> ProofFigures | None:
    """Figures of several files as one: sums, and the worst of them; None for no file."""
    all_ = list(figures)
    if not all_:
        return None
    different = [one.pixels_different for one in all_ if one.pixels_different is not None]
    ratios = [one.psnr_db for one in all_ if one.psnr_db is not None]
    errors = [one.max_error for one in all_ if one.max_error is not None]
    classes = [one.new_classes for one in all_ if one.new_classes is not None]
    return ProofFigures(
        cog_valid=all(one.cog_valid for one in all_),
        pixels_compared=sum(one.pixels_compared for one in all_),
        pixels_different=sum(different) if different else None,
        mask_different=sum(one.mask_different for one in all_),
        psnr_db=min(ratios) if ratios else None,
        max_error=max(errors) if errors else None,
        new_classes=sorted({value for one in classes for value in one}) if classes else None,
        differences=list(dict.fromkeys(text for one in all_ for text in one.differences)),
    )


def together(assets: Sequence[RasterAsset]) -> list[RasterAsset]:
    """The tiers of many rasters, one asset a tier."""
    return [_sum(tier, same) for tier in TIERS if (same := [a for a in assets if a.tier == tier])]


def _sum(tier: Tier, assets: Sequence[RasterAsset]) -> RasterAsset:
    return RasterAsset(
        tier=tier,
        href=None,
        files=sum(asset.files for asset in assets),
        bytes=sum(asset.bytes for asset in assets),
        bytes_uncompressed=sum(asset.bytes_uncompressed for asset in assets),
        width=None,
        height=None,
        crs=_common(asset.crs for asset in assets),
        bands=_common(asset.bands for asset in assets),
        dtype=_common(asset.dtype for asset in assets),
        compression=_common(asset.compression for asset in assets),
        lossless=all(asset.lossless for asset in assets),
        warped=any(asset.warped for asset in assets),
        monthly_cost=sum(asset.monthly_cost for asset in assets),
        pixels_valid=sum(asset.pixels_valid for asset in assets),
        proof=merged(asset.proof for asset in assets if asset.proof is not None),
    )


def _common(values: Iterable[T]) -> T | None:
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else None
