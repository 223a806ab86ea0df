"""What a person should look at: things about pixels that may not be meant."""

from collections.abc import Sequence

from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.tally import Tally

_EDGE_SHARE = 0.1
"""Of the pixels at the edges that are 0: a collar, unless the data is so."""
_FEW = 32
_ENOUGH_PIXELS = 1024


def suspicions(facts: RasterFacts, tallies: Sequence[Tally], partial: int) -> list[str]:
    """Warnings, as sentences.

    Args:
        tallies: of all bands.
        partial: pixels that are valid in some bands and not in others.
    """
    data = [
        tally for tally, band in zip(tallies, facts.bands, strict=True) if band.color != "alpha"
    ]
    return [
        *_about_nodata(facts, data, partial),
        *_about_values(facts, data),
        *_about_edges(facts, data),
    ]


def _about_nodata(facts: RasterFacts, data: Sequence[Tally], partial: int) -> list[str]:
    found = []
    if facts.valid_pixels == 0:
        found.append("It has no valid pixel.")
    if facts.validity == "nodata" and facts.nodata_from in {"declared", "spec"}:
        is_default = facts.driver == "netCDF"  # it declares its fill value where nobody did
        if not is_default and all(
            one.valid + one.nan + one.infinite == facts.grid.pixels for one in data
        ):
            found.append(f"Its nodata value {facts.nodata:g} does not occur.")
        if facts.kind == "imagery" and partial:
            found.append(
                f"Its nodata value {facts.nodata:g} is suspicious: {partial:,} pixels have it in "
                "some bands and not in others, so it occurs inside the picture too."
            )
    return found


def _about_values(facts: RasterFacts, data: Sequence[Tally]) -> list[str]:
    found = []
    nan, infinite = sum(one.nan for one in data), sum(one.infinite for one in data)
    if nan and facts.nodata_from != "inferred":
        found.append(f"{nan:,} values are NaN beside what is declared; they are not valid.")
    elif nan and facts.nodata == facts.nodata:
        found.append(f"{nan:,} values are NaN; they are not valid either.")
    if infinite:
        found.append(f"{infinite:,} values are infinite; they are in no statistics.")
    for number, (tally, band) in enumerate(zip(data, facts.data_bands, strict=True), 1):
        classes = tally.classes(facts.nodata) if "float" in band.dtype else None
        is_much = band.statistics.valid >= _ENOUGH_PIXELS
        if facts.kind == "continuous" and classes and 1 < len(classes) <= _FEW and is_much:
            found.append(
                f"The floats of band {number} are only {len(classes)} whole numbers: if they are "
                "classes, set data_kind: classes."
            )
            break
    return found


def _about_edges(facts: RasterFacts, data: Sequence[Tally]) -> list[str]:
    if facts.validity != "none" or facts.kind not in {"imagery", "continuous"}:
        return []
    edges = 2 * (facts.grid.width + facts.grid.height)
    zero = min(one.border.get(0.0, 0) for one in data)
    if zero < _EDGE_SHARE * edges:
        return []
    return [
        f"{zero / edges:.0%} of the pixels at its edges are 0, and nothing says that they are no "
        "data: if they are, set nodata: 0."
    ]
