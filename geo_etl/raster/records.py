"""Value types of rasters as JSON that PostgreSQL's jsonb takes, and back.

A dataclass is an object with its fields, a tuple an array, a transform its six numbers, bytes are
hexadecimal. JSON has no NaN and no infinities, which nodata often is: they are text.
"""

import dataclasses
import math
import types
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from affine import Affine
from pydantic import BaseModel

T = TypeVar("T")
AFFINE_TERMS = 6
_SIMPLE: dict[Any, Callable[[Any], Any]] = {
    float: float,
    bytes: bytes.fromhex,
    datetime: datetime.fromisoformat,
    Affine: lambda terms: Affine(*map(float, terms)),
}


def to_record(value: object) -> Any:
    """A value as plain JSON.

    Raises:
        TypeError: it is of a type that no value type here has.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        # Texts come from files: jsonb takes neither NUL nor half a surrogate pair.
        return value.replace("\0", "�").encode(errors="replace").decode()
    if isinstance(value, bytes):
        return value.hex()
    return _structure(value)


def _structure(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Affine):
        return [to_record(float(term)) for term in value[:AFFINE_TERMS]]
    if isinstance(value, tuple | list):
        return [to_record(one) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_record(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return to_record(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {str(key): to_record(one) for key, one in value.items()}
    raise TypeError(f"{type(value).__name__} has no record")


def from_record(kind: type[T], record: Any) -> T:
    """The value of a type that a record was made of.

    Raises:
        TypeError, ValueError: the record is of something else.
    """
    value: T = _read(kind, record)
    return value


def _read(kind: Any, record: Any) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if record is None:
            return None
        (kind,) = [one for one in args if one is not types.NoneType]
        return _read(kind, record)
    if origin is tuple:
        of_each = args[:1] * len(record) if args[-1] is Ellipsis else args
        return tuple(_read(one, part) for one, part in zip(of_each, record, strict=True))
    if origin is Literal or kind in (str, int, bool):
        return record
    if kind in _SIMPLE:
        return _SIMPLE[kind](record)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        # A field that came after the record was written has its default.
        return kind(**{name: _read(hints[name], record[name]) for name in hints if name in record})
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_validate(record)
    raise TypeError(f"no record is read as {kind}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}
