"""From two columns of text to points: decimal degrees, metres, degrees-minutes-seconds."""

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]

_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
_DECIMAL_COMMA = r"^[+-]?[0-9]+,[0-9]+$"
_PROOF = r"^[+-]?(?:0[0-9]*|[0-9]{4,}),[0-9]+$|^[+-]?[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})$"
"""Commas that can't separate thousands."""
_THOUSANDS = r"^[+-]?[0-9]{1,3}(?:,[0-9]{3}){2,}$|^[+-]?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]*$"
_NONE = pa.scalar(None, pa.string())
_SHOWN = 80

_SEXAGESIMAL = re.compile(
    r"""(?P<before>[NSEWnsew]|[+-])?\s*
    (?P<degrees>\d{1,3}(?:[.,]\d+)?)\s*(?:[°º˚:]\s*|\s|(?=\D)|$)
    (?:(?P<minutes>\d{1,2}(?:[.,]\d+)?)\s*(?:['′’´:]\s*|\s|(?=\D)|$)
    (?:(?P<seconds>\d{1,2}(?:[.,]\d+)?)\s*(?:["″”]|''|′′)?)?)?
    \s*(?P<after>[NSEWnsew]|[+-])?""",
    re.VERBOSE,
)
_UNITS = re.compile(r"(\d)\s*d\s*([\d.,]+)\s*m(?:\s*([\d.,]+)\s*s)?")


@dataclass(frozen=True)
class Axis:
    """One of the two columns.

    Attributes:
        column: its name. index: its position.
        letters: hemispheres it can name, positive first: `EW` or `NS`.
        limit: of degrees, either side of 0.
    """

    column: str
    index: int
    letters: str
    limit: float


def x_axis(column: str, index: int) -> Axis:
    """The column with longitudes or eastings."""
    return Axis(column, index, "EW", 180.0)


def y_axis(column: str, index: int) -> Axis:
    """The column with latitudes or northings."""
    return Axis(column, index, "NS", 90.0)


@dataclass(frozen=True)
class Values:
    """Coordinates of one axis.

    Attributes:
        numbers: NaN where there is none (n). missing: the cell is empty (n).
        problems: row → why its cell is no coordinate.
    """

    numbers: Floats
    missing: npt.NDArray[np.bool_]
    problems: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Commas:
    """What the commas in coordinates can be.

    Attributes:
        any: there are some. decimal: one can't separate thousands. thousands: one does.
        points: there are decimal points.
    """

    any: bool = False
    decimal: bool = False
    thousands: bool = False
    points: bool = False

    @classmethod
    def of(cls, cells: pa.Array) -> "Commas":
        """Look at the cells of one axis."""
        points = _any(pc.match_substring(cells, "."))
        if not _any(pc.match_substring(cells, ",")):
            return cls(points=points)
        cells = pc.utf8_trim_whitespace(cells)
        return cls(
            any=_any(pc.match_substring_regex(cells, _DECIMAL_COMMA)),
            decimal=_any(pc.match_substring_regex(cells, _PROOF)),
            thousands=_any(pc.match_substring_regex(cells, _THOUSANDS)),
            points=points,
        )

    def and_(self, other: "Commas") -> "Commas":
        """Both together."""
        return Commas(
            self.any or other.any,
            self.decimal or other.decimal,
            self.thousands or other.thousands,
            self.points or other.points,
        )


def _any(mask: pa.Array) -> bool:
    return bool(pc.any(mask).as_py())


def read_axis(cells: pa.Array, axis: Axis, *, decimal_comma: bool) -> Values:
    """Read the cells of one axis.

    Args:
        cells: strings.
        decimal_comma: `52,5` is a number.
    """
    text = pc.utf8_trim_whitespace(cells)
    missing = pc.fill_null(pc.equal(pc.binary_length(text), 0), fill_value=True)
    values = _numbers(pc.if_else(missing, _NONE, text), decimal_comma=decimal_comma)
    is_missing = missing.to_numpy(zero_copy_only=False)
    unread = np.flatnonzero(~np.isfinite(values) & ~is_missing)
    problems = {}
    if len(unread):
        for row, cell in zip(unread.tolist(), text.take(pa.array(unread)).to_pylist(), strict=True):
            values[row], problem = _sexagesimal(cell, axis)
            if problem:
                problems[row] = f"'{shortened(cell)}' in column '{axis.column}' {problem}"
    return Values(values, is_missing, problems)


def _numbers(text: pa.Array, *, decimal_comma: bool) -> Floats:
    """Decimal numbers; others NaN or infinite."""
    try:
        numbers = text.cast(pa.float64())
    except pa.ArrowInvalid:
        numeric = pc.match_substring_regex(text, _NUMBER)
        if decimal_comma:
            numeric = pc.or_(numeric, pc.match_substring_regex(text, _DECIMAL_COMMA))
            text = pc.replace_substring(text, ",", ".")
        numbers = pc.if_else(numeric, text, _NONE).cast(pa.float64())
    # A copy: Arrow's own memory is read-only.
    floats: Floats = np.array(numbers.to_numpy(zero_copy_only=False))
    return floats


def _sexagesimal(text: str, axis: Axis) -> tuple[float, str | None]:
    """Degrees, minutes and seconds as degrees; NaN and why not."""
    match = _SEXAGESIMAL.fullmatch(_UNITS.sub(_with_signs, text))
    if match is None:
        return np.nan, "is no coordinate"
    signs = [sign.upper() for sign in (match["before"], match["after"]) if sign]
    if len(signs) > 1:
        return np.nan, "has two signs"
    parts = [part for part in match.group("degrees", "minutes", "seconds") if part]
    numbers = [float(part.replace(",", ".")) for part in parts]
    if len(numbers) == 1 and (not signs or signs[0] in "+-") and "°" not in text:
        # A number with a comma that is not taken for a decimal one, or a sign behind it.
        return np.nan, "is no coordinate"
    if any(
        not number.is_integer() or "." in part or "," in part
        for number, part in zip(numbers[:-1], parts[:-1], strict=True)
    ):
        return np.nan, "has fractions of more than its last part"
    if any(number >= 60 for number in numbers[1:]):
        return np.nan, "has 60 or more minutes or seconds"
    sign = signs[0] if signs else "+"
    if sign not in f"+-{axis.letters}":
        kind = "longitude" if axis.letters == "EW" else "latitude"
        return np.nan, f"is no {kind}"
    degrees = sum(number / 60**power for power, number in enumerate(numbers))
    return (-degrees if sign in f"-{axis.letters[1]}" else degrees), None


def _with_signs(match: re.Match[str]) -> str:
    degree, minutes, seconds = match.groups()
    return f"{degree}°{minutes}'" + (f'{seconds}"' if seconds else "")


def shortened(text: str) -> str:
    """A cell as a reason quotes it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@dataclass(frozen=True)
class Points:
    """Points of some rows.

    Attributes:
        x, y: NaN where there is no point (n). problems: row → why there is none.
    """

    x: Floats
    y: Floats
    problems: dict[int, str]

    def wkb(self) -> pa.Array:
        """As WKB (little-endian, type 1); null where there is none."""
        there = np.isfinite(self.x) & np.isfinite(self.y)
        records = np.zeros(
            int(there.sum()), dtype=[("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")]
        )
        records["order"], records["type"] = 1, 1
        records["x"], records["y"] = self.x[there], self.y[there]
        offsets = np.concatenate([[0], np.cumsum(there) * records.itemsize]).astype(np.int32)
        validity = np.packbits(there, bitorder="little")
        return pa.Array.from_buffers(
            pa.binary(),
            len(there),
            [pa.py_buffer(validity), pa.py_buffer(offsets), pa.py_buffer(records.tobytes())],
        )


def read_points(
    x_cells: pa.Array, y_cells: pa.Array, x: Axis, y: Axis, *, decimal_comma: bool
) -> Points:
    """Points from two columns; a row with neither coordinate has none, and no problem."""
    xs = read_axis(x_cells, x, decimal_comma=decimal_comma)
    ys = read_axis(y_cells, y, decimal_comma=decimal_comma)
    problems = {**ys.problems, **xs.problems}
    for row in np.flatnonzero(xs.missing != ys.missing).tolist():
        empty, other = (x, y) if xs.missing[row] else (y, x)
        problems.setdefault(
            row, f"column '{empty.column}' is empty, column '{other.column}' is not"
        )
    return Points(xs.numbers, ys.numbers, problems)


def outside_degrees(points: Points, x: Axis, y: Axis) -> dict[int, str]:
    """Row → why its coordinates can't be degrees."""
    found = {}
    for numbers, axis in ((points.x, x), (points.y, y)):
        for row in np.flatnonzero(np.abs(numbers) > axis.limit).tolist():
            found[row] = (
                f"{float(numbers[row])!r} in column '{axis.column}' is not between "
                f"-{axis.limit:g} and {axis.limit:g} degrees"
            )
    return found
