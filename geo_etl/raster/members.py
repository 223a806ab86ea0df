"""Files of a set as members of its mosaic."""

import posixpath
from collections.abc import Sequence

from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.manifest import Made, PieceReport, RasterManifest
from geo_etl.raster.mosaic import Member, MosaicBand, vrt
from geo_etl.spec import Tier

SHOWN: tuple[Tier, ...] = ("analysis", "visualization")
"""Whose files are a mosaic: those to compute with, or else those to look at."""


def mosaic_of(manifest: RasterManifest, reports: Sequence[PieceReport], path: str) -> str:
    """The VRT over the tiles of a set, on the grid of all of them.

    Args:
        path: `container/path` of the VRT; its members are named from there.
    """
    tier = next(tier for tier in SHOWN if any(plan.tier == tier for plan in manifest.tiers))
    made = [one for report in reports for one in report.made if one.tier == tier]
    members = [member_of(one, manifest.facts, path) for one in made]
    return vrt(members, manifest.plan_of(tier).grid, manifest.layer)


def member_of(made: Made, facts: RasterFacts, path: str) -> Member:
    """One file of a mosaic.

    Args:
        path: `container/path` of the VRT.
    """
    return Member(
        path=posixpath.relpath(made.path, posixpath.dirname(path)),
        grid=made.grid,
        validity=made.profile.validity,
        bands=_bands(made, facts),
    )


def _bands(made: Made, facts: RasterFacts) -> tuple[MosaicBand, ...]:
    profile = made.profile
    nodata = profile.nodata if profile.validity == "nodata" else None
    if made.tier == "visualization":
        colours = ["red", "green", "blue"] if len(made.statistics) == 3 else ["gray"]
        if profile.validity == "alpha":
            colours.append("alpha")
        return tuple(MosaicBand(profile.dtype, colour, nodata) for colour in colours)
    return tuple(
        MosaicBand(
            dtype=profile.dtype,
            color=band.color,
            nodata=nodata,
            name=band.name,
            scale=band.scale,
            offset=band.offset,
            unit=band.unit,
            colormap=band.colormap,
        )
        for band in facts.bands
        if band.index in profile.bands
    )
