"""The type of a text column: what every value of it reads as, and writes back as.

A column is typed when no cell's meaning changes by it, over the whole file:

- bigint: digits without leading zeros or a plus sign, that fit 64 bits.
- double precision: no leading zeros or plus sign, an exponent only as programs write it (`1.5e7`,
  `1e+07`; `12E4` may be a code), and no digit that a double can't give back. Trailing zeros
  (`1.50`) count for nothing. NaN and inf are text.
- double precision with a decimal comma: the same with a comma, where the comma is not the
  delimiter and a value shows that it does not separate thousands (`1,5`; not `1,500`).
- boolean: true and false. date, timestamp: ISO 8601 to the microsecond; all with a zone or none.

Blanks around a value, and empty cells, quoted or not, do not matter for a typed column. Of a text
column every character stays, and `""` is empty text.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

import pyarrow as pa
import pyarrow.compute as pc


class Kind(Enum):
    """What a column can be. Of several the first is taken."""

    BOOLEAN = "boolean"
    BIGINT = "bigint"
    DOUBLE = "double precision"
    DECIMAL_COMMA = "double precision, written with a decimal comma"
    DATE = "date"
    TIMESTAMP = "timestamp without time zone"
    ZONED_TIMESTAMP = "timestamp with time zone"
    TEXT = "text"


_TYPES = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.BIGINT: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.DECIMAL_COMMA: pa.float64(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.ZONED_TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.TEXT: pa.string(),
}

_WHOLE = r"(?:0|[1-9][0-9]*)"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_PATTERNS = {
    Kind.BOOLEAN: r"true|false|TRUE|FALSE|True|False",
    Kind.BIGINT: r"0|-?[1-9][0-9]*",
    Kind.DOUBLE: rf"-?(?:{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-][0-9]{{1,3}})?"
    rf"|-?{_WHOLE}?\.[0-9]+[eE][0-9]{{1,3}}",
    Kind.DECIMAL_COMMA: rf"-?{_WHOLE}(?:,[0-9]+)?",
    Kind.DATE: r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    Kind.TIMESTAMP: _TIME,
    Kind.ZONED_TIMESTAMP: rf"{_TIME}(?:Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)",
}
_THOUSANDS = r"^-?[1-9][0-9]{0,2},[0-9]{3}$"
_GLANCE = 64
_EXACT_DIGITS = 15
"""Decimal digits that every double gives back (IEEE 754 binary64; C's DBL_DIG)."""
_EXACT_INTEGER = 2**53
_MAX_DIGITS = 800
"""More than the longest exact decimal expansion of a double has."""


@dataclass(frozen=True)
class Evidence:
    """What the values seen so far allow.

    Attributes:
        kinds: that all of them read as.
        values: whether there was any.
        decimal_comma: whether one has a comma that can't separate thousands.
    """

    kinds: frozenset[Kind]
    values: bool = False
    decimal_comma: bool = False

    def and_(self, other: "Evidence") -> "Evidence":
        """What both allow."""
        return Evidence(
            self.kinds & other.kinds,
            self.values or other.values,
            self.decimal_comma or other.decimal_comma,
        )

    def kind(self) -> Kind:
        """The type of the column."""
        kinds = self.kinds if self.values else frozenset[Kind]()
        if not self.decimal_comma:
            kinds -= {Kind.DECIMAL_COMMA}
        return next((kind for kind in Kind if kind in kinds), Kind.TEXT)


def no_evidence(delimiter: str) -> Evidence:
    """Before any value was seen."""
    without = {Kind.TEXT} | ({Kind.DECIMAL_COMMA} if delimiter == "," else set())
    return Evidence(frozenset(Kind) - without)


def weigh(cells: pa.Array, among: frozenset[Kind]) -> Evidence:
    """What some cells of a column read as.

    Args:
        cells: strings.
        among: kinds that are still possible: others are not looked for.
    """
    if not among:
        return Evidence(among)
    values = _values(cells).drop_null()
    if not len(values):
        return Evidence(among)
    glance = values.slice(0, _GLANCE)
    kinds = {kind for kind in among if _matches(glance, kind)}
    if Kind.BIGINT in kinds:
        if _matches(values, Kind.BIGINT):
            return Evidence(among & _integers(values), values=True)
        kinds.remove(Kind.BIGINT)
    kinds = {kind for kind in kinds if _reads(values, kind)}
    proof = Kind.DECIMAL_COMMA in kinds and _decimal_comma(values)
    return Evidence(frozenset(kinds), values=True, decimal_comma=proof)


def typed(cells: pa.Array, kind: Kind) -> pa.Array:
    """Cells as the type that all of them read as."""
    if kind is Kind.TEXT:
        return cells
    values = _values(cells)
    if kind is Kind.DECIMAL_COMMA:
        values = pc.replace_substring(values, ",", ".")
    return values.cast(_TYPES[kind])


def _values(cells: pa.Array) -> pa.Array:
    """Without blanks around them; empty ones null."""
    trimmed = pc.ascii_trim_whitespace(cells)
    empty = pc.equal(pc.binary_length(trimmed), 0)
    return pc.if_else(empty, pa.scalar(None, pa.string()), trimmed)


def _matches(values: pa.Array, kind: Kind) -> bool:
    found = pc.match_substring_regex(values, f"^(?:{_PATTERNS[kind]})$")
    return bool(pc.all(found).as_py())


def _reads(values: pa.Array, kind: Kind) -> bool:
    if not _matches(values, kind):
        return False
    if kind is Kind.DOUBLE:
        return _doubles_give_back(values)
    if kind is Kind.DECIMAL_COMMA:
        return _doubles_give_back(pc.replace_substring(values, ",", "."))
    try:
        values.cast(_TYPES[kind])
    except pa.ArrowInvalid:
        return False
    return True


def _integers(values: pa.Array) -> set[Kind]:
    """Which numbers some integers can be."""
    try:
        ends = pc.min_max(values.cast(pa.int64()))
    except pa.ArrowInvalid:
        return set()
    if max(-ends["min"].as_py(), ends["max"].as_py()) > _EXACT_INTEGER:
        return {Kind.BIGINT}
    return {Kind.BIGINT, Kind.DOUBLE, Kind.DECIMAL_COMMA}


def _doubles_give_back(values: pa.Array) -> bool:
    """Whether each number, read as a double and rounded to its own digits, is what it was."""
    doubtful = pc.or_(
        pc.greater(pc.binary_length(values), _EXACT_DIGITS),
        pc.match_substring(values, "e", ignore_case=True),
    )
    doubtful_values = values.filter(doubtful)
    if not len(doubtful_values):
        return True
    try:
        numbers = doubtful_values.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    written = numbers.cast(pa.string())
    others = doubtful_values.filter(pc.not_equal(written, doubtful_values))
    return all(_gives_back(text) for text in others.to_pylist())


def _gives_back(text: str) -> bool:
    if len(text) > _MAX_DIGITS:
        return False
    exact = Decimal(text)
    digits = len(exact.as_tuple().digits)
    return Decimal(f"{float(text):.{digits - 1}e}") == exact


def _decimal_comma(values: pa.Array) -> bool:
    with_comma = values.filter(pc.match_substring(values, ","))
    return bool(pc.any(pc.invert(pc.match_substring_regex(with_comma, _THOUSANDS))).as_py())
