"""Which smaller type holds every pixel as it is."""

import math
from collections.abc import Sequence

import numpy as np

from geo_etl.raster.facts import Band
from geo_etl.raster.tally import Tally

_INTEGERS = ("uint8", "uint16", "int16", "uint32", "int32")


def narrower(bands: Sequence[Band], tallies: Sequence[Tally], nodata: float | None) -> str | None:
    """A type of fewer bytes that holds every value of all bands and nodata; None without.

    Never for values with scale or offset, whose type belongs to their meaning; nor with alpha,
    where the type says what is opaque.
    """
    dtype = bands[0].dtype
    plain = all(
        band.dtype == dtype and band.scale == 1 and band.offset == 0 and band.color != "alpha"
        for band in bands
    )
    known = any(band.statistics.valid for band in bands)
    if not plain or not known or "complex" in dtype or np.dtype(dtype).itemsize == 1:
        return None
    low = min(tally.low for tally in tallies)
    high = max(tally.high for tally in tallies)
    if nodata is not None and not math.isnan(nodata):
        low, high = min(low, nodata), max(high, nodata)
    is_whole = all(tally.whole for tally in tallies) and (
        nodata is None or (math.isfinite(nodata) and nodata == math.floor(nodata))
    )
    for candidate in _INTEGERS if is_whole else ():
        limits = np.iinfo(candidate)
        smaller = np.dtype(candidate).itemsize < np.dtype(dtype).itemsize
        if smaller and limits.min <= low and high <= limits.max:
            return candidate
    if dtype == "float64" and all(tally.single for tally in tallies) and _is_single(nodata):
        return "float32"
    return None


def _is_single(nodata: float | None) -> bool:
    if nodata is None or math.isnan(nodata):
        return True
    with np.errstate(over="ignore"):
        return float(np.float32(nodata)) == nodata
