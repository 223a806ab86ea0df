"""Which value is no data, where the file does not say it: inferred from the pixels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_STRONG = (-9999.0, -99999.0, -32768.0, -32767.0, -2147483648.0, -3.4e38, -1e38, 1e20, 1e30)
"""Values that hardly mean anything else: no measurement comes near them."""
_WEAK = (-999.0, -128.0, 32767.0, 65535.0, 2147483647.0, 4294967295.0)
"""Values that also occur as data: they must lie along the border, or cover much."""
_NETCDF_FILL = 9.969209968386869e36
"""NC_FILL_FLOAT and NC_FILL_DOUBLE of netcdf.h."""
BORDER_SHARE = 0.05
"""Of the border's pixels: no data is mostly around data."""
AREA_SHARE = 0.2
"""Of all pixels: else no data covers much."""


@dataclass(frozen=True)
class Lone:
    """How often a value occurs that may be no data, and what the other values are.

    Attributes:
        count: pixels of the band with the value.
        border: of them, at the edges of the raster.
        low, high: of all other valid pixels; None when there are none.
    """

    value: float
    count: int
    border: int
    low: float | None
    high: float | None


def candidates(dtype: str) -> tuple[float, ...]:
    """Values of a type that may be no data without being declared; none for bytes.

    In bytes 0 and 255 are black and white more often than nothing.
    """
    kind = np.dtype(dtype)
    if kind == np.uint8 or kind.kind not in "iuf":
        return ()
    wanted = [*_STRONG, *_WEAK]
    if kind.kind == "f":
        limits = np.finfo(kind)
        wanted += [_NETCDF_FILL, float(limits.min), float(limits.max)]
        return tuple(dict.fromkeys(float(kind.type(value)) for value in wanted))
    limits_i = np.iinfo(kind)
    return tuple(value for value in wanted if limits_i.min <= value <= limits_i.max)


def infer(
    bands: Sequence[Mapping[float, Lone]], pixels: int, border: int, dtype: str
) -> tuple[float, str] | None:
    """The value that is no data in all bands, and why; None where nothing says so.

    It must lie out of the range of all other values, by more than that range is wide.

    Args:
        bands: of each band the candidates that occur in it.
        pixels: of one band.
        border: pixels along its edges.
    """
    strong = {float(np.dtype(dtype).type(value)) for value in _STRONG if _fits(value, dtype)}
    if np.dtype(dtype).kind == "f":
        limits = np.finfo(dtype)
        fills = (_NETCDF_FILL, limits.min, limits.max)
        strong |= {float(np.dtype(dtype).type(value)) for value in fills}
    found = {value for band in bands for value in band}
    for value in sorted(found, key=lambda one: (one not in strong, -abs(one))):
        lone = [band[value] for band in bands if value in band]
        if not all(_is_apart(one, value in strong) for one in lone):
            continue
        count = sum(one.count for one in lone) / len(bands)
        edge = sum(one.border for one in lone) / len(bands)
        if value in strong or edge >= BORDER_SHARE * border or count >= AREA_SHARE * pixels:
            others = [one for one in lone if one.low is not None and one.high is not None]
            ranges = (
                f"all others are from {min(o.low for o in others if o.low is not None):g} to "
                f"{max(o.high for o in others if o.high is not None):g}"
                if others
                else "there is no other value"
            )
            return value, f"{count / pixels:.1%} of the pixels are {value:g}, {ranges}"
    return None


def _fits(value: float, dtype: str) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    return bool(np.iinfo(kind).min <= value <= np.iinfo(kind).max)


def _is_apart(lone: Lone, is_strong: bool) -> bool:
    if lone.low is None or lone.high is None:
        return is_strong
    gap = lone.low - lone.value if lone.value < lone.low else lone.value - lone.high
    return gap > 0 and gap > lone.high - lone.low


def fits_type(value: float, dtype: str) -> bool:
    """Whether a type can hold a value exactly as a pixel would."""
    kind = np.dtype("complex64" if dtype == "complex_int16" else dtype)
    if kind.kind in "fc":
        real = np.dtype(kind.type(0).real.dtype)
        # Written with fewer digits than it has: still the same pixel.
        return math.isnan(value) or math.isinf(value) or abs(value) <= float(np.finfo(real).max)
    limits = np.iinfo(kind)
    return not math.isnan(value) and value == int(value) and limits.min <= value <= limits.max
