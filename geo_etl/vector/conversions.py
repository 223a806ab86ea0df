"""Values of a column to another type: each exactly, or not at all."""

import json
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

_MATCHES: dict[str, Callable[[pa.DataType], bool]] = {
    "text": lambda type_: pa.types.is_string(type_) or pa.types.is_large_string(type_),
    "integer": pa.types.is_integer,
    "number": pa.types.is_floating,
    "boolean": pa.types.is_boolean,
    "date": pa.types.is_date,
    "time": pa.types.is_time,
    "timestamp": lambda type_: pa.types.is_timestamp(type_) and type_.tz is None,
    "timestamptz": lambda type_: pa.types.is_timestamp(type_) and type_.tz is not None,
    "decimal": pa.types.is_decimal,
    "json": lambda type_: getattr(type_, "extension_name", "") == "arrow.json",
}

SOURCES: dict[str, frozenset[str]] = {
    "text": frozenset(_MATCHES),
    "integer": frozenset(["text", "integer", "number", "boolean", "decimal"]),
    "number": frozenset(["text", "integer", "number", "decimal"]),
    "boolean": frozenset(["text", "integer", "number", "boolean"]),
    "date": frozenset(["text", "date", "timestamp"]),
    "timestamp": frozenset(["text", "date", "timestamp"]),
    "timestamptz": frozenset(["text", "timestamptz"]),
    "json": frozenset(["text", "json"]),
}
"""Kinds that can become each of the types that a rule may ask for."""

SQL_TYPES = {
    "text": "text",
    "integer": "bigint",
    "number": "double precision",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "json": "jsonb",
}

UNFIT = {
    "text": "no text",
    "integer": "no integer of 64 bits",
    "number": "no number that double precision can hold",
    "boolean": "neither true nor false",
    "date": "no date like 2020-01-31",
    "timestamp": "no timestamp like 2020-01-31T12:00:00, without offset from UTC",
    "timestamptz": "no timestamp like 2020-01-31T12:00:00Z, with offset from UTC",
    "json": "no JSON",
}
"""What a value is that can't become a type: to follow 'it is'."""

# The words that PostgreSQL's boolean takes.
_TRUE = ["true", "t", "yes", "y", "on", "1"]
_FALSE = ["false", "f", "no", "n", "off", "0"]

# As narrow as a pattern can be: what Arrow then refuses (30 February, 9999999999999999999) is rare,
# and costs more to find.
_INTEGER = r"\A[+-]?0*[0-9]{1,19}(?:\.0*)?\z"
_NUMBER = r"\A[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\z"
# At most 15 significant digits: double precision holds these, whatever they are.
_SHORT_NUMBER = r"\A[+-]?[0-9.]{1,15}\z"
# Arrow reads a year 0, which Python has not.
_YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DATE = _YEAR + r"-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_HOUR = r"(?:[01][0-9]|2[0-3])"
_TIME = rf"[T ]{_HOUR}:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{{1,6}})?)?"
_ZONE = rf"(?:Z|[+-]{_HOUR}(?::?[0-5][0-9])?)"
_TEMPORAL = {
    "date": (rf"\A{_DATE}\z", pa.date32()),
    "timestamp": (rf"\A{_DATE}(?:{_TIME})?\z", pa.timestamp("us")),
    "timestamptz": (rf"\A{_DATE}{_TIME}{_ZONE}\z", pa.timestamp("us", "UTC")),
}
_MAX_EXACT = 2.0**53
"""Up to here double precision holds every integer."""


def kind_of(type_: pa.DataType) -> str:
    """The kind of values an Arrow type holds; 'other' for those that no rule is about."""
    return next((kind for kind, matches in _MATCHES.items() if matches(type_)), "other")


def convert(array: pa.Array, kind: str) -> tuple[pa.Array, pa.Array]:
    """Make values of one kind another.

    Blank text becomes null, unless the kind is text.

    Args:
        kind: a key of `SOURCES`; the array's own kind is among its sources.

    Returns:
        The values, null where there is no exact counterpart, and a mask (boolean, no nulls) of
        just these rows.
    """
    source = kind_of(array.type)
    if source == "text" and kind != "text":
        array = pc.utf8_trim_whitespace(array.cast(pa.string()))
        array = pc.if_else(pc.equal(array, ""), None, array)
    converted = _CONVERSIONS[kind](array, source)
    return converted, pc.and_(array.is_valid(), converted.is_null())


def _to_text(array: pa.Array, source: str) -> pa.Array:
    if source == "json":
        return array.storage.cast(pa.string())
    return array if source == "text" else array.cast(pa.string())


def _to_integer(array: pa.Array, source: str) -> pa.Array:
    if source == "number":
        array = array.cast(pa.float64())
        fits = pc.and_(pc.greater_equal(array, -(2.0**63)), pc.less(array, 2.0**63))
        fits = pc.and_(fits, pc.equal(pc.floor(array), array))
        return pc.if_else(fits, array, None).cast(pa.int64())
    if source in ("text", "decimal"):
        text = _matching(array.cast(pa.string()), _INTEGER)
        array = pc.replace_substring_regex(text, r"\A\+|\.0*\z", "")
    return _cast_each(array, pa.int64())


def _to_number(array: pa.Array, source: str) -> pa.Array:
    if source == "number":
        return array.cast(pa.float64())
    if source == "integer":
        numbers = array.cast(pa.float64(), safe=False)
        doubtful = pc.greater_equal(pc.abs(numbers), _MAX_EXACT)
        return _without(numbers, array, doubtful, lambda value, number: value == number)
    text = _matching(array.cast(pa.string()), _NUMBER)
    numbers = _cast_each(text, pa.float64())
    same = pc.match_substring_regex(text, _SHORT_NUMBER)
    if not pc.all(same).as_py():
        same = pc.or_(same, pc.equal(numbers.cast(pa.string()), text))
    return _without(numbers, text, pc.invert(same), _keeps_digits)


def _keeps_digits(text: str, number: float) -> bool:
    """Whether a number, written with as many digits as the text has, is the same again."""
    exact = Decimal(text)
    digits = "".join(map(str, exact.as_tuple().digits)).strip("0")
    return Decimal(f"{number:.{max(len(digits), 1) - 1}e}") == exact


def _without(
    numbers: pa.Array,
    values: pa.Array,
    doubtful: pa.Array,
    holds: Callable[..., bool],
) -> pa.Array:
    """Null among the doubtful what does not hold."""
    rows = pc.indices_nonzero(pc.fill_null(doubtful, fill_value=False))
    if not len(rows):
        return numbers
    pairs = zip(values.take(rows).to_pylist(), numbers.take(rows).to_pylist(), strict=True)
    kept = pc.if_else(pa.array([holds(*pair) for pair in pairs]), numbers.take(rows), None)
    return pc.replace_with_mask(numbers, pc.fill_null(doubtful, fill_value=False), kept)


def _to_boolean(array: pa.Array, source: str) -> pa.Array:
    if source == "boolean":
        return array
    if source == "text":
        words = pc.utf8_lower(array)
        true, false = (pc.is_in(words, pa.array(spelt)) for spelt in (_TRUE, _FALSE))
    else:
        true, false = pc.equal(array, 1), pc.equal(array, 0)
    return pc.if_else(pc.or_(true, false), true, None)


def _to_temporal(kind: str) -> Callable[[pa.Array, str], pa.Array]:
    pattern, type_ = _TEMPORAL[kind]

    def to_temporal(array: pa.Array, source: str) -> pa.Array:
        if source == "text":
            return _cast_each(_matching(array, pattern), type_)
        if source == kind:
            return array
        if kind == "date":
            dates = array.cast(type_, safe=False)
            midnight = pc.equal(_cast_each(dates, array.type), array)
            return pc.if_else(midnight, dates, None)
        return _cast_each(array.cast(pa.date32(), safe=False), type_)

    return to_temporal


def _to_json(array: pa.Array, source: str) -> pa.Array:
    if source == "json":
        return array
    texts = [text if text is None or _is_json(text) else None for text in array.to_pylist()]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts, pa.string()))


def _is_json(text: str) -> bool:
    """Whether PostgreSQL would take it: no NaN, no half of a surrogate pair."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _matching(text: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(text, pattern), text, None)


def _cast_each(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Cast; null where that fails. Arrow refuses a whole array: what it refuses is halved."""
    try:
        return array.cast(type_)
    except pa.ArrowInvalid:
        if len(array) == 1:
            return pa.nulls(1, type_)
    middle = len(array) // 2
    halves = [_cast_each(half, type_) for half in (array[:middle], array[middle:])]
    return pa.concat_arrays(halves)


_CONVERSIONS: dict[str, Callable[[pa.Array, str], pa.Array]] = {
    "text": _to_text,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    **{kind: _to_temporal(kind) for kind in _TEMPORAL},
    "json": _to_json,
}
