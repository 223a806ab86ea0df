"""The asset checks of rasters: what was made is proven, whole, catalogued and served.

The asset of one raster and that of a collection have the same ones.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dagster import AssetCheckResult, AssetCheckSpec, MetadataValue

from geo_etl.assets.raster_serving import LayerDrawn
from geo_etl.assets.serving_checks import STAC, TILES, listed, serving_check, skipped, unconfigured
from geo_etl.report.raster_outcome import uncovered
from geo_etl.report.raster_result import CollectionResult, RasterAsset, RasterResult
from geo_etl.resources.probes import PictureProbe, Probe

ASSET, COLLECTION = "raster_cog", "raster_collection"
PROVEN, CONSERVED = "cog_proof", "pixels_conserved"
CATALOGUED = "catalogued"
CHECKS = {
    PROVEN: "Every file is a valid COG; lossless ones equal what they were made from, pixel for "
    "pixel and mask for mask; overviews of classes have no class of their own.",
    CONSERVED: "Every tile is a file or empty, together they cover the grid, and no valid pixel "
    "is missing.",
    CATALOGUED: "The STAC items read back, with the files of this job.",
    TILES: "The tile server draws a tile that is not empty; where a set shows one member alone, "
    "its tile equals the member's.",
    STAC: "The STAC API serves items as they were written; their files open over HTTP.",
}

Result = RasterResult | CollectionResult


def check_specs(asset: str) -> list[AssetCheckSpec]:
    """The checks of an asset: `ASSET` or `COLLECTION`."""
    return [AssetCheckSpec(name, asset=asset, description=text) for name, text in CHECKS.items()]


def proven(result: Result, asset: str = ASSET) -> AssetCheckResult:
    """What was shown about every file after its last write holds."""
    problems = [
        f"{one.tier}: {problem}" for one in result.assets for problem in _proof_problems(one)
    ]
    files = sum(one.files for one in result.assets)
    said = listed(problems) if problems else f"{files} files proven; {_proof_words(result)}"
    return AssetCheckResult(
        asset_key=asset,
        check_name=PROVEN,
        passed=not problems,
        description=f"{result.source}: {said}",
        metadata={
            "files": files,
            **{one.tier: MetadataValue.json(_proof_figures(one)) for one in result.assets},
        },
    )


def _proof_problems(asset: RasterAsset) -> list[str]:
    proof = asset.proof
    if proof is None:
        return []
    found = [] if proof.cog_valid else ["not every file is a valid COG"]
    found += proof.differences
    if asset.lossless and proof.pixels_different is None:
        found.append("it is lossless, and its pixels were not compared")
    if asset.lossless and proof.pixels_different:
        found.append(f"{proof.pixels_different:,} pixels differ")
    if proof.mask_different:
        found.append(f"{proof.mask_different:,} pixels are valid in one and not in the other")
    if proof.new_classes:
        found.append(f"overviews have classes that the data has not: {proof.new_classes}")
    return found


def _proof_words(result: Result) -> str:
    return "; ".join(
        f"{one.tier} {'equal in' if one.lossless else 'compared in'} "
        f"{one.proof.pixels_compared:,} pixels"
        + (f", {one.proof.psnr_db:.1f} dB" if one.proof.psnr_db is not None else "")
        for one in result.assets
        if one.proof is not None
    )


def _proof_figures(asset: RasterAsset) -> dict[str, Any]:
    figures = asset.proof.model_dump(mode="json") if asset.proof else {}
    return {"files": asset.files, "bytes": asset.bytes, "lossless": asset.lossless, **figures}


def conserved(result: Result, asset: str = ASSET) -> AssetCheckResult:
    """Every tile, or every member, is accounted for, and the pixels add up."""
    if isinstance(result, RasterResult):
        problems, said = _missing_pixels(result), _pixel_words(result)
    else:
        problems, said = _missing_members(result), _member_words(result)
    if not result.summary.data_complete:
        problems.append("the job did not account for everything that it planned")
    return AssetCheckResult(
        asset_key=asset,
        check_name=CONSERVED,
        passed=not problems,
        description=f"{result.source}: {'; '.join([said, *problems])}",
        metadata=result.summary.model_dump(mode="json"),
    )


def _pixel_words(result: RasterResult) -> str:
    summary = result.summary
    tiles = (
        f"{summary.total_tiles} tiles planned = {summary.tiles_converted} converted + "
        f"{summary.tiles_empty} empty; "
        if result.form == "tiled"
        else ""
    )
    return f"{tiles}{summary.pixels_valid:,} of {summary.pixels:,} pixels of the source are valid"


def _missing_pixels(result: RasterResult) -> list[str]:
    summary, problems = result.summary, []
    if summary.total_tiles != summary.tiles_converted + summary.tiles_empty:
        problems.append("the tiles do not add up")
    for one in result.assets:
        missing = uncovered(one, result.tiles)
        if missing:
            problems.append(f"{one.tier}: {abs(missing):,} pixels too {_sign(missing)}")
        # A warp has pixels of its own; a lossy tier may leave bands out.
        elsewhere = summary.pixels_valid - one.pixels_valid
        if one.lossless and not one.warped and elsewhere:
            problems.append(f"{one.tier}: {abs(elsewhere):,} valid pixels too {_sign(elsewhere)}")
    return problems


def _sign(missing: int) -> str:
    return "few" if missing > 0 else "many"


def _member_words(result: CollectionResult) -> str:
    summary = result.summary
    return (
        f"{summary.members} rasters = {summary.converted} converted + {summary.unchanged} "
        f"unchanged + {summary.bad} bad; {summary.removed} removed"
    )


def _missing_members(result: CollectionResult) -> list[str]:
    summary = result.summary
    accounted = summary.converted + summary.unchanged + summary.bad
    return [] if accounted == summary.members else ["the members do not add up"]


def catalogued(
    result: Result,
    expected: Mapping[str, str],
    items: Mapping[str, dict[str, Any] | None],
    collection: dict[str, Any] | None,
    asset: str = ASSET,
) -> AssetCheckResult:
    """The catalogue holds the items of what readers see, and they name this job's files.

    Args:
        collection: as pgSTAC gives it back: files of a whole set are its own.
        expected: item id → id of the job that published it, of the layer as it is now.
        items: item id → the item as pgSTAC gives it back; None when it has none.
    """
    place = result.stac.collection_id
    problems = [
        wrong
        for name, job_id in expected.items()
        if (wrong := _item_wrong(f"{place}/{name}", items.get(name), job_id)) is not None
    ]
    if isinstance(result, RasterResult) and set(expected.values()) == {result.job_id}:
        documents = [one for one in (*items.values(), collection) if one is not None]
        there = {one["href"] for each in documents for one in each.get("assets", {}).values()}
        missing = sorted(_hrefs(result) - there)
        problems += [f"no STAC item of {place} has {href}" for href in missing]
    if len(expected) < min(1, result.stac.items):
        problems.append(f"nothing is published in {place}")
    said = listed(problems) if problems else f"{len(expected)} STAC items in {place}"
    return AssetCheckResult(
        asset_key=asset,
        check_name=CATALOGUED,
        passed=not problems,
        description=f"{result.source}: {said}",
        metadata={"collection": place, "items": len(expected), "first": next(iter(expected), "")},
    )


def _item_wrong(name: str, item: dict[str, Any] | None, job_id: str) -> str | None:
    if item is None:
        return f"no STAC item {name}"
    found = item["properties"].get("geo_etl:job_id")
    return None if found == job_id else f"STAC item {name} is of another job"


def _hrefs(result: RasterResult) -> set[str]:
    tiles = {href for tile in result.tiles for href in tile.hrefs.values()}
    return tiles | {one.href for one in result.assets if one.href is not None}


def tiles_served(result: Result, seen: LayerDrawn | None, asset: str = ASSET) -> AssetCheckResult:
    """The tile server draws the layer; skipped, and said so, without a server."""
    if seen is None or not seen.tiles:
        why = unconfigured(TILES) if seen is None else "there is nothing to draw"
        return skipped(asset, TILES, result.source, why)
    probes: list[Probe] = list(seen.tiles)
    said = f"tiles drawn: {len(probes)}, the first of {len(probes[0].answer.body):,} bytes"
    if seen.pair is not None:
        among, alone = seen.pair
        probes += [replace(among, problem=among.problem or _unlike(among, alone)), alone]
        said += "; a tile of the mosaic equals that of the one member on it, pixel for pixel"
    elif result.form != "single":
        said += "; no tile was found that one member covers alone: not compared with the mosaic"
    return serving_check(
        asset, TILES, result.source, probes, said, bytes=len(probes[0].answer.body)
    )


def _unlike(among: PictureProbe, alone: PictureProbe) -> str | None:
    if alone.problem is not None or among.shows_the_same(alone):
        return None
    return f"the mosaic's tile is not that of the one member on it, {alone.answer.url}"
