"""One column of a batch against what is asked of it: conversion, default, checks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from geo_etl.errors import SourceError
from geo_etl.spec.rules import whole
from geo_etl.vector.conversions import UNFIT, convert, kind_of

Value = bool | int | float | str | date | datetime
Broken = list[tuple[int, str]]
"""Rows, from 0, and the reason for each; a row may come more than once."""

MAX_VALUE_LENGTH = 80
"""Characters of a value in a reason."""

_COMPARABLE = {
    "integer": pa.int64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True)
class ColumnCheck:
    """What is done to one column, in this order: convert, default, the checks.

    Attributes:
        index: position among the published columns.
        column: name in the source.
        key: name in the spec.
        kind: of the values once converted, as `kind_of` calls it.
    """

    index: int
    column: str
    key: str
    kind: str
    converts: bool = False
    default: Value | None = None
    required: bool = False
    minimum: Value | None = None
    maximum: Value | None = None
    allowed: tuple[Value, ...] | None = None
    pattern: str | None = None
    stops: bool = False


def apply_check(check: ColumnCheck, array: pa.Array) -> tuple[pa.Array, Broken]:
    """Convert, fill and check the values of one column.

    Returns:
        The values and what is broken. A value without exact counterpart is null, or the default.

    Raises:
        SourceError: the text is not in the encoding that the source declares.
    """
    _check_encoding(check, array)
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())  # Arrow does not compare half floats
    broken: Broken = []
    unfit: pa.Array | None = None
    if check.converts:
        source = array
        array, unfit = convert(source, check.kind)
        broken += _reasons(source, unfit, lambda value: f"{value} is {UNFIT[check.kind]}")
    if check.default is not None and array.null_count:
        array = _filled(array, check)
    if check.required and array.null_count:
        missing = array.is_null()
        if unfit is not None:
            missing = pc.and_not(missing, unfit)
        rows = pc.indices_nonzero(missing).to_pylist()
        broken += [(row, "it has no value, and must have one") for row in rows]
    return array, broken + _out_of_bounds(check, array)


def _out_of_bounds(check: ColumnCheck, array: pa.Array) -> Broken:
    """What is not among the values that a rule admits; null is not its business."""
    array = array.cast(_COMPARABLE.get(check.kind, array.type), safe=False)
    broken: Broken = []

    def note(mask: pa.Array, problem: str) -> None:
        broken.extend(_reasons(array, mask, lambda value: f"{value} {problem}"))

    if check.minimum is not None:
        below = pc.less(array, pa.scalar(check.minimum, array.type))
        note(below, f"is below the minimum {check.minimum}")
    if check.maximum is not None:
        above = pc.greater(array, pa.scalar(check.maximum, array.type))
        note(above, f"is above the maximum {check.maximum}")
    if check.kind == "number" and (check.minimum, check.maximum) != (None, None):
        note(pc.is_nan(array), "is neither above nor below any limit")
    if check.allowed is not None:
        found = pc.is_in(array, pa.array(check.allowed, array.type))
        listed = shortened(", ".join(map(str, check.allowed)))
        note(pc.and_not(array.is_valid(), found), f"is none of the allowed values ({listed})")
    if check.pattern is not None:
        matches = pc.match_substring_regex(array, whole(check.pattern))
        note(pc.invert(matches), f"does not match {shortened(check.pattern)}")
    return broken


def _filled(array: pa.Array, check: ColumnCheck) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        storage = array.storage.fill_null(pa.scalar(check.default, array.storage.type))
        return pa.ExtensionArray.from_storage(array.type, storage)
    # By a cast: made at once in a type with a coarser unit, a scalar would lose the rest.
    default = pa.scalar(check.default, _COMPARABLE.get(check.kind, array.type))
    return array.fill_null(default.cast(array.type))


def _reasons(array: pa.Array, mask: pa.Array, say: Callable[[str], str]) -> Broken:
    rows = pc.indices_nonzero(mask)
    if not len(rows):
        return []
    values = array.take(rows)
    shown = values.cast(pa.string()).to_pylist()
    if kind_of(array.type) == "text":
        shown = [repr(shortened(value)) for value in shown]
    return [(row, say(value)) for row, value in zip(rows.to_pylist(), shown, strict=True)]


def shortened(text: str) -> str:
    """At most `MAX_VALUE_LENGTH` characters of a text, for a message."""
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"


def _check_encoding(check: ColumnCheck, array: pa.Array) -> None:
    if kind_of(array.type) != "text":
        return
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raise SourceError(
            f"column '{check.column}'",
            "its text is not in the encoding that the source declares",
            "Set converter_params.encoding, for instance cp1252.",
        ) from None
