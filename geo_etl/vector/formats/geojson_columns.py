"""Columns from JSON values that nobody declared a type for.

Types show only at the end of a file, so each batch is encoded by what it holds itself, and every
column remembers what it has seen; `ColumnType.settle` brings the batches to the one type that
holds every value as it was written. Where there is none, that type is JSON.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

EXACT = 2**53
"""Up to here every integer is a float64."""
JSON = pa.json_()

_SCALARS = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
_NAMES = {bool: "booleans", int: "integers", float: "numbers", str: "text", list: "lists"}
_DAY = r"^(?:\d{3}[1-9]|\d{2}[1-9]\d|\d[1-9]\d{2}|[1-9]\d{3})-\d{2}-\d{2}"
_CLOCK = r"\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?"
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})$"


@dataclass(frozen=True)
class _Moment:
    """A way to write dates or times (ISO 8601) that PostgreSQL gives back the same.

    Years are 1 to 9999, fractions of seconds at most microseconds.
    """

    pattern: str
    type: pa.DataType


_MOMENTS = (
    _Moment(rf"{_DAY}$", pa.date32()),
    _Moment(rf"{_DAY}[T ]{_CLOCK}$", pa.timestamp("us")),
    _Moment(rf"{_DAY}[T ]{_CLOCK}{_ZONE}", pa.timestamp("us", tz="UTC")),
    _Moment(rf"^{_CLOCK}$", pa.time64("us")),
)


@dataclass
class _Numbers:
    """What is known of the numbers among some values."""

    kinds: set[type] = field(default_factory=set)
    low: int = 0
    high: int = 0

    def add(self, kinds: set[type], integers: Iterable[int]) -> None:
        self.kinds |= kinds
        if int in kinds:
            self.low, self.high = min(self.low, *integers), max(self.high, *integers)

    def type(self) -> pa.DataType | None:
        """The Arrow type of values of these kinds; None: there is none that holds all exactly."""
        if self.kinds == {int}:
            if self.low >= -(2**31) and self.high < 2**31:
                return pa.int32()
            return pa.int64() if self.low >= -(2**63) and self.high < 2**63 else None
        if self.kinds == {int, float}:
            return pa.float64() if self.low >= -EXACT and self.high <= EXACT else None
        return _SCALARS.get(next(iter(self.kinds))) if len(self.kinds) == 1 else None


@dataclass
class Column:
    """What one attribute has held so far."""

    name: str
    values: _Numbers = field(default_factory=_Numbers)
    items: _Numbers = field(default_factory=_Numbers)
    moments: list[_Moment] = field(default_factory=lambda: list(_MOMENTS))
    zones: set[str] = field(default_factory=set)

    def encode(self, values: Sequence[Any]) -> pa.Array:
        """Values of one batch as an array, of the simplest type that holds them as they are."""
        kinds = set(map(type, values)) - {type(None)}
        self.values.add(kinds, [value for value in values if type(value) is int] or [0])
        if not kinds:
            return pa.nulls(len(values))
        if len(kinds) == 1:
            (kind,) = kinds
            if kind is list:
                return self._encode_lists(values)
            if kind in _SCALARS and (kind is not int or self._fits(values)):
                array = pa.array(values, _SCALARS[kind])
                if kind is str and self.moments:
                    self._look_for_moments(array)
                return array
        return self._encode_json(values)

    def _encode_lists(self, values: Sequence[Any]) -> pa.Array:
        items = list(chain.from_iterable(value for value in values if value is not None))
        kinds = set(map(type, items)) - {type(None)}
        self.items.add(kinds, [item for item in items if type(item) is int] or [0])
        if len(kinds) == 1:
            (kind,) = kinds
            if kind in _SCALARS and (kind is not int or self._fits(items)):
                return pa.array(values, pa.list_(_SCALARS[kind]))
        return self._encode_json(values)

    def _fits(self, values: Sequence[int | None]) -> bool:
        numbers = [value for value in values if value is not None]
        return min(numbers) >= -(2**63) and max(numbers) < 2**63

    def _encode_json(self, values: Sequence[Any]) -> pa.Array:
        texts = [None if value is None else _dumps(value) for value in values]
        return pa.ExtensionArray.from_storage(JSON, pa.array(texts, pa.string()))

    def _look_for_moments(self, array: pa.Array) -> None:
        texts = array.drop_null()
        for moment in list(self.moments):
            if not re.match(moment.pattern, texts[0].as_py()) or not _are(texts, moment):
                self.moments.remove(moment)
            elif pa.types.is_timestamp(moment.type) and moment.type.tz:
                found = pc.struct_field(pc.extract_regex(texts, f"(?P<zone>{_ZONE})"), "zone")
                self.zones.update(_zone(text) for text in pc.unique(found).to_pylist())

    def type(self) -> "ColumnType":
        """The type that holds all that was seen."""
        kinds = self.values.kinds
        if not kinds:
            return ColumnType(self.name, pa.string())
        if kinds == {str} and self.moments:
            (moment,) = self.moments
            type_ = moment.type
            if len(self.zones) == 1:
                type_ = pa.timestamp("us", tz=next(iter(self.zones)))
            return ColumnType(self.name, type_, self._zone_remark())
        if kinds == {list}:
            item = self.items.type() if self.items.kinds else None
            return ColumnType(self.name, JSON if item is None else pa.list_(item))
        type_ = self.values.type()
        if type_ is not None:
            return ColumnType(self.name, type_)
        return ColumnType(self.name, JSON, self._json_remark())

    def _zone_remark(self) -> str | None:
        if len(self.zones) < 2:
            return None
        return (
            f"Column '{self.name}' has times in {len(self.zones)} time zones "
            f"({_listed(sorted(self.zones))}): it keeps the instants, in UTC."
        )

    def _json_remark(self) -> str | None:
        kinds = self.values.kinds
        if kinds == {dict}:
            return None
        if kinds <= {int, float}:
            return (
                f"Column '{self.name}' has integers that no number type holds exactly: it became "
                "JSON."
            )
        named = {_NAMES.get(kind, "objects") for kind in kinds}
        return f"Column '{self.name}' mixes {_listed(sorted(named))}: it became JSON."


@dataclass(frozen=True)
class ColumnType:
    """The type of a column in all batches, and what a person should know of it."""

    name: str
    type: pa.DataType
    remark: str | None = None

    def settle(self, array: pa.Array | None, rows: int) -> pa.Array:
        """An array of `Column.encode` in this type; None: no feature of the batch has it."""
        if array is None or pa.types.is_null(array.type):
            nothing = pa.nulls(rows, pa.string() if self.type == JSON else self.type)
            return pa.ExtensionArray.from_storage(JSON, nothing) if self.type == JSON else nothing
        if self.type == JSON:
            return _as_json(array)
        if array.type == self.type:
            return array
        if array.type == JSON:
            # Of several kinds in this batch, which one type holds nevertheless.
            texts = array.storage.to_pylist()
            return pa.array([text and json.loads(text) for text in texts], self.type)
        if pa.types.is_time(self.type):
            return _times(array)
        return array.cast(self.type)


def _as_json(array: pa.Array) -> pa.Array:
    if array.type == JSON:
        texts = array.storage
        # JSON has no NaN and no infinity: they stay as text.
        suspects = pc.match_substring_regex(texts, "NaN|Infinity")
        if not pc.any(suspects).as_py():
            return array
        values = [None if text is None else json.loads(text) for text in texts.to_pylist()]
    else:
        values = array.to_pylist()
    texts = [None if value is None else json_text(value) for value in values]
    return pa.ExtensionArray.from_storage(JSON, pa.array(texts, pa.string()))


def json_text(value: Any) -> str:
    """A value as JSON; NaN and infinities, which JSON does not have, as text."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _are(texts: pa.Array, moment: _Moment) -> bool:
    if not pc.all(pc.match_substring_regex(texts, moment.pattern)).as_py():
        return False
    try:
        _ = _times(texts) if pa.types.is_time(moment.type) else texts.cast(moment.type)
    except pa.ArrowInvalid:
        return False
    return True


def _times(texts: pa.Array) -> pa.Array:
    # Arrow reads times of day only behind a date.
    return (
        pc.binary_join_element_wise("1970-01-01T", texts, "")
        .cast(pa.timestamp("us"))
        .cast(pa.time64("us"))
    )


def _zone(text: str) -> str:
    if text in ("Z", "+0000", "+00:00", "-0000", "-00:00"):
        return "UTC"
    return text if ":" in text else f"{text[:3]}:{text[3:]}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
