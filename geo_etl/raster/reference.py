"""The pixels that the files of a piece are made from, and proven against."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geo_etl.raster.facts import RasterFacts, Window, same_nodata
from geo_etl.raster.manifest import TierPlan
from geo_etl.raster.opening import Opened
from geo_etl.raster.view import view
from geo_etl.raster.warp import warp


@contextmanager
def reference(
    opened: Opened, facts: RasterFacts, plan: TierPlan, window: Window, folder: Path
) -> Iterator[Path | str]:
    """A dataset that rasterio opens, with exactly the pixels of a window of a plan's grid.

    Its type is that of the plan's profile, before any rescale, and nodata, mask or alpha tell
    what the profile says. A warped one is a file in the folder, gone at the end; else it is
    the source itself, or a view of it.

    Raises:
        RasterError: the source can't be warped.
    """
    if not plan.warped:
        yield (
            opened.dataset.name
            if _as_it_is(opened, facts, plan, window)
            else _view(opened, facts, plan, window)
        )
        return
    target = folder / f"warped_{plan.tier}.tif"
    try:
        warp(opened.dataset, facts, plan, window, target, Path(opened.dataset.name).name)
        yield target
    finally:
        target.unlink(missing_ok=True)


def _as_it_is(opened: Opened, facts: RasterFacts, plan: TierPlan, window: Window) -> bool:
    profile, dataset = plan.profile, opened.dataset
    return (
        (window.width, window.height) == (dataset.width, dataset.height)
        and profile.bands == tuple(band.index for band in facts.bands)
        and all(band.dtype == profile.dtype for band in facts.bands)
        and facts.crs_declared
        and profile.validity == facts.validity
        and (profile.validity != "nodata" or same_nodata(dataset.nodata, profile.nodata))
    )


def _view(opened: Opened, facts: RasterFacts, plan: TierPlan, window: Window) -> str:
    return view(
        opened.dataset,
        facts,
        plan.profile.bands,
        nodata=plan.profile.nodata,
        validity=plan.profile.validity,
        dtype=plan.profile.dtype,
        window=window,
    )
