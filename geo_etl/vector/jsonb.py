"""JSON as PostgreSQL's jsonb takes it: from JSON text, from nested Arrow values, from features."""

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

JSONB_VERSION = b"\x01"
"""First byte of a jsonb value on the wire (PostgreSQL source, jsonb_recv)."""
MAX_DIGITS = 4000
"""Of one number in JSON. PostgreSQL's numeric takes 16,383 after the point (manual, 8.1.2)."""

_NUL_ESCAPE = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")
"""A NUL as JSON writes it, with the pairs of backslashes before it."""
_LARGE_EXPONENT = re.compile(r"[eE][+-]?0*[1-9]\d{3}")


def is_json(type_: pa.DataType) -> bool:
    """Whether a column holds JSON text."""
    return getattr(type_, "extension_name", "") == "arrow.json"


def encode_json(array: pa.Array) -> tuple[pa.Array, int]:
    """JSON text, or nested values, as jsonb on the wire.

    Returns:
        The binary array, and how many cells lost a NUL character, which PostgreSQL can't store.

    Raises:
        ValueError: a value is no JSON that PostgreSQL takes.
    """
    text, cells = _text(array)
    version, nothing = pa.scalar(JSONB_VERSION, pa.binary()), pa.scalar(b"", pa.binary())
    return pc.binary_join_element_wise(version, text.cast(pa.binary()), nothing), cells


def _text(array: pa.Array) -> tuple[pa.Array, int]:
    if is_json(array.type):
        text = array.storage.cast(pa.string())
        values = text.to_pylist()
        for value in values:
            if value is not None:
                _check(value)
    else:
        convert = _converter(array.type)
        values = [None if v is None else _dumps(convert(v)) for v in array.to_pylist()]
        text = pa.array(values, pa.string())
    suspects = pc.fill_null(pc.match_substring(text, "\\u0000"), fill_value=False)
    cells = 0
    for row in pc.indices_nonzero(suspects).to_pylist():
        cleaned = _without_nul(values[row])
        cells += cleaned != values[row]
        values[row] = cleaned
    return (pa.array(values, pa.string()) if cells else text), cells


def _without_nul(text: str) -> str:
    # JSON writes NUL as an escape, which jsonb refuses; behind an escaped backslash it is text.
    return _NUL_ESCAPE.sub(r"\1", text)


def _check(text: str) -> None:
    """Refuse what PostgreSQL would refuse: it would end a whole COPY with words of its own."""
    try:
        parsed = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(parsed, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _number(digits: str) -> float:
    if len(digits) > MAX_DIGITS or _LARGE_EXPONENT.search(digits):
        raise ValueError(f"the number {digits[:20]}… is too long")
    return float(digits)


def _constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_constant)


def _converter(type_: pa.DataType) -> Callable[[Any], Any]:
    """From the Python value of a nested type to what JSON has."""
    if is_json(type_):
        return json.loads
    if isinstance(type_, pa.BaseExtensionType):
        return _converter(type_.storage_type)
    if pa.types.is_map(type_):
        item = _converter(type_.item_type)
        return lambda pairs: _mapping([(key, _if(item, value)) for key, value in pairs])
    if pa.types.is_struct(type_):
        fields = {field.name: _converter(field.type) for field in type_}
        return lambda struct: {name: _if(fields[name], value) for name, value in struct.items()}
    if hasattr(type_, "value_type") and not pa.types.is_dictionary(type_):
        items = _converter(type_.value_type)
        return lambda values: [_if(items, value) for value in values]
    return _plain


def _if(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def _mapping(pairs: list[tuple[Any, Any]]) -> Any:
    """An object; where a key comes twice, which JSON has no place for, a list of pairs."""
    keys = [str(_plain(key)) for key, _ in pairs]
    if len(set(keys)) < len(keys):
        return [{"key": _plain(key), "value": value} for key, value in pairs]
    return dict(zip(keys, (value for _, value in pairs), strict=True))


def json_text(values: dict[str, Any]) -> str:
    """Attributes of one feature as JSON that jsonb takes, whatever they hold.

    Numbers that JSON does not have (NaN, infinity) become text, binary becomes hexadecimal, NUL
    characters go.
    """
    return _without_nul(_dumps(_plain(values)))


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Decimal) and Decimal(repr(float(value))) == value:
        return float(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value).encode(errors="replace").decode()
