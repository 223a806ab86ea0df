"""One task: the files of one piece of a raster, made and proven."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import rasterio
from rasterio.windows import Window as RasterioWindow

from geo_etl.errors import ProofError
from geo_etl.raster.cog import write_cog
from geo_etl.raster.compare import PART_BYTES
from geo_etl.raster.facts import Grid, RasterFacts
from geo_etl.raster.manifest import Made, Piece, TierPlan
from geo_etl.raster.opening import Opened
from geo_etl.raster.preview import preview
from geo_etl.raster.profiles import pixel_bytes, profile_for
from geo_etl.raster.prove import prove
from geo_etl.raster.reference import reference
from geo_etl.raster.rewarp import misplaced
from geo_etl.raster.windows import parts
from geo_etl.spec import RasterSpec


@dataclass(frozen=True)
class Converted:
    """What a task made: files in its folder, whose `path` is local, and a picture.

    Attributes:
        files: one a tier; none for a tile without a valid pixel.
        preview: PNG; None without files.
    """

    files: tuple[Made, ...]
    preview: bytes | None


def convert(
    opened: Opened,
    facts: RasterFacts,
    plans: Sequence[TierPlan],
    piece: Piece,
    spec: RasterSpec,
    name: str,
    folder: Path,
) -> Converted:
    """Make the COGs of a piece, and prove each after its last write.

    Args:
        plans: of the tiers of the piece, on one grid or, for a whole raster, on several.
        name: of the source, for errors.
        folder: for scratch files and results; empty.

    Raises:
        ProofError: a file is not what it should be.
        RasterError: the source can't be warped.
    """
    files: dict[str, Made] = {}
    picture: bytes | None = None
    for lossless, sharing in _by_reference(plans, facts, spec, name):
        grid = lossless.grid.window(piece.window)
        with reference(opened, facts, lossless, piece.window, folder) as pixels:
            if piece.is_tile and not _any_valid(pixels, lossless):
                continue
            if lossless.warped:
                wrong = misplaced(opened, facts, lossless, piece.window, pixels)
                if wrong:
                    raise _proof_error(name, sharing[0], wrong)
            for plan in sharing:
                made = _make(pixels, grid, plan, facts, name, folder)
                files[plan.tier] = made
                if picture is None:
                    picture = preview(made.path, plan.profile, facts, spec)
    ordered = tuple(files[plan.tier] for plan in plans if plan.tier in files)
    return Converted(ordered, picture)


def _by_reference(
    plans: Sequence[TierPlan], facts: RasterFacts, spec: RasterSpec, name: str
) -> list[tuple[TierPlan, list[TierPlan]]]:
    """Plans that can share a reference, each group with the plan that the reference is made by.

    A visualization is made from what the analysis tier holds, or would hold.
    """
    groups: list[tuple[TierPlan, list[TierPlan]]] = []
    for plan in plans:
        lossless = plan
        if plan.tier == "visualization":
            profile = profile_for("analysis", facts, spec, plan.warped, name)
            lossless = replace(plan, tier="analysis", profile=profile)
        for known, sharing in groups:
            if _same_pixels(known, lossless):
                sharing.append(plan)
                break
        else:
            groups.append((lossless, [plan]))
    return groups


def _same_pixels(one: TierPlan, other: TierPlan) -> bool:
    return (one.grid, one.warped) == (other.grid, other.warped) and _content(one) == _content(other)


def _content(plan: TierPlan) -> tuple[object, ...]:
    profile = plan.profile
    # As text: NaN is not equal to itself.
    return profile.dtype, repr(profile.nodata), profile.validity, profile.resampling, profile.bands


def _any_valid(pixels: Path | str, plan: TierPlan) -> bool:
    """Whether a dataset has a valid pixel; reads until it finds one."""
    if plan.profile.validity == "none":
        return True
    depth = len(plan.profile.bands) * pixel_bytes(plan.profile.dtype)
    with rasterio.open(pixels) as dataset:
        for part in parts(dataset.width, dataset.height, depth, PART_BYTES):
            window = RasterioWindow(part.col, part.row, part.width, part.height)
            if dataset.dataset_mask(window=window).any():
                return True
    return False


def _make(
    pixels: Path | str,
    grid: Grid,
    plan: TierPlan,
    facts: RasterFacts,
    name: str,
    folder: Path,
) -> Made:
    target = folder / f"{plan.tier}.tif"
    content = write_cog(pixels, grid, plan.profile, facts, target)
    proven = prove(target, content, grid, plan, facts)
    if content.dataset != pixels:
        Path(content.dataset).unlink()
    problems = proven.proof.problems()
    if problems:
        raise _proof_error(name, plan, problems)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Made(
        tier=plan.tier,
        path=str(target),
        size=target.stat().st_size,
        sha256=digest,
        grid=grid,
        profile=plan.profile,
        proof=proven.proof,
        statistics=proven.statistics,
        footprint=proven.footprint,
        valid_pixels=proven.valid_pixels,
    )


def _proof_error(name: str, plan: TierPlan, problems: Sequence[str]) -> ProofError:
    return ProofError(
        f"{plan.tier} of {name}",
        f"the file that was made is not what it should be: {'; '.join(problems)}",
        "Nothing was published. Please report this with the source; leaving the tier out of "
        "output_tier, or another value of resampling or profiles, may be a way round it.",
    )
