"""How a tile server is to show a raster: entries of `renders`, of STAC's render extension."""

import math
from collections.abc import Sequence
from typing import Any

from geo_etl.raster.facts import Band, RasterFacts, Statistics
from geo_etl.raster.manifest import Made
from geo_etl.raster.rendering import Look, asked_look, class_palette
from geo_etl.spec import RasterSpec, Tier

RENDERS = "https://stac-extensions.github.io/render/v2.0.0/schema.json"
SHOWN_FIRST: tuple[Tier, ...] = ("visualization", "analysis", "archive")
CUT_OFF = 0.02
"""Share of the values at either end that become plain dark and plain bright."""
SEQUENTIAL = "viridis"


def render_of(
    made: Sequence[Made], facts: RasterFacts, spec: RasterSpec, name: str
) -> dict[str, Any] | None:
    """The way to show the files of an item: what the spec says, else by kind and values.

    Ranges of values are those of the whole source, so that its tiles look alike. Bands of a file
    of many stand in `asset_bidx`, which titiler reads, and in `bidx`.

    Returns:
        None for complex numbers, which have no colours.
    """
    shown = min(made, key=lambda one: SHOWN_FIRST.index(one.tier))
    if shown.tier == "visualization":
        return _plain(shown.tier, facts)
    return data_render(shown.tier, shown.profile.bands, shown.profile.dtype, facts, spec, name)


def data_render(
    asset: str, written: Sequence[int], dtype: str, facts: RasterFacts, spec: RasterSpec, name: str
) -> dict[str, Any] | None:
    """The way to show a file of values.

    Args:
        asset: its key in the item.
        written: its bands, by their indexes in the source.
        dtype: of its pixels.

    Returns:
        None for complex numbers.
    """
    if dtype.startswith("complex"):
        return None
    render = _plain(asset, facts)
    look = asked_look(facts, spec.render_params, name) or Look((facts.data_bands[0].index,))
    indexes = [written.index(band) + 1 for band in look.bands]
    unasked = [written.index(band.index) + 1 for band in facts.data_bands]
    if indexes != unasked:
        render["bidx"] = indexes
        render["asset_bidx"] = [f"{asset}|{','.join(map(str, indexes))}"]
    bands = [band for index in look.bands for band in facts.bands if band.index == index]
    if look.palette is None:
        render.update(_colours(look, bands, facts, dtype))
    else:
        # titiler looks at the colour table of a file neither for an item nor for a search.
        used = bands[0].classes
        render["colormap"] = {
            str(value): list(colour)
            for value, colour in look.palette
            if used is None or value in used
        }
    return render


def _plain(asset: str, facts: RasterFacts) -> dict[str, Any]:
    resampling = "nearest" if facts.kind in ("classes", "mask") else "bilinear"
    return {"title": "As it looks best", "assets": [asset], "resampling": resampling}


def _colours(look: Look, bands: list[Band], facts: RasterFacts, dtype: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    colormap = look.colormap_name
    if colormap is None and len(bands) == 1:
        if facts.kind == "classes" and bands[0].classes and not look.rescale:
            palette = class_palette(bands[0].classes)
            return {"colormap": {str(value): list(colour) for value, colour in palette}}
        colormap = SEQUENTIAL if facts.kind in ("continuous", "classes") else None
    if colormap:
        found["colormap_name"] = colormap.lower()
    ranges = list(look.rescale) or _ranges(bands, facts, dtype)
    if ranges:
        found["rescale"] = [list(limits) for limits in ranges]
    return found


def _ranges(bands: list[Band], facts: RasterFacts, dtype: str) -> list[tuple[float, float]]:
    if dtype == "uint8" and facts.kind == "imagery":
        return []
    stretched = [_stretch(band.statistics, facts) for band in bands]
    return [limits for limits in stretched if limits is not None] if all(stretched) else []


def _stretch(statistics: Statistics, facts: RasterFacts) -> tuple[float, float] | None:
    """The values that become darkest and brightest."""
    low, high, histogram = statistics.minimum, statistics.maximum, statistics.histogram
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    if histogram is not None and facts.kind in ("imagery", "continuous"):
        buckets = len(histogram.counts)
        wanted = CUT_OFF * sum(histogram.counts)
        below = _buckets_below(histogram.counts, wanted)
        above = _buckets_below(histogram.counts[::-1], wanted)
        if below + above < buckets:
            width = (histogram.maximum - histogram.minimum) / buckets
            low, high = histogram.minimum + below * width, histogram.maximum - above * width
    low, high = float(f"{low:.9g}"), float(f"{high:.9g}")
    return (low, high) if low < high else (low, low + max(1.0, abs(low) * 1e-6))


def _buckets_below(counts: Sequence[int], wanted: float) -> int:
    """How many buckets from the start hold no more than so many values together."""
    held = 0
    for number, count in enumerate(counts):
        held += count
        if held > wanted:
            return number
    return 0
