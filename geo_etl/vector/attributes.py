"""Columns: from Arrow types to PostgreSQL types, and the values to what a binary COPY takes."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo_etl.errors import SourceError
from geo_etl.vector.names import normalise_names

JSONB_VERSION = b"\x01"
"""First byte of a jsonb value on the wire (PostgreSQL source, jsonb_recv)."""

_NUL_ESCAPE = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")
"""A NUL as JSON writes it, with the pairs of backslashes before it."""

_SIMPLE: list[tuple[Callable[[pa.DataType], bool], str, pa.DataType]] = [
    (pa.types.is_boolean, "boolean", pa.bool_()),
    (pa.types.is_int8, "smallint", pa.int16()),
    (pa.types.is_uint8, "smallint", pa.int16()),
    (pa.types.is_int16, "smallint", pa.int16()),
    (pa.types.is_uint16, "integer", pa.int32()),
    (pa.types.is_int32, "integer", pa.int32()),
    (pa.types.is_uint32, "bigint", pa.int64()),
    (pa.types.is_int64, "bigint", pa.int64()),
    (pa.types.is_float16, "real", pa.float32()),
    (pa.types.is_float32, "real", pa.float32()),
    (pa.types.is_float64, "double precision", pa.float64()),
    (pa.types.is_string, "text", pa.string()),
    (pa.types.is_large_string, "text", pa.large_string()),
    (pa.types.is_binary, "bytea", pa.binary()),
    (pa.types.is_large_binary, "bytea", pa.large_binary()),
    (pa.types.is_date, "date", pa.date32()),
    (pa.types.is_time, "time without time zone", pa.time64("us")),
]

_SQL_TYPES: dict[str, Any] = {
    "boolean": sa.Boolean(),
    "smallint": sa.SmallInteger(),
    "integer": sa.Integer(),
    "bigint": sa.BigInteger(),
    "real": sa.REAL(),
    "double precision": sa.Double(),
    "text": sa.Text(),
    "bytea": sa.LargeBinary(),
    "date": sa.Date(),
    "time without time zone": sa.Time(),
    "timestamp without time zone": sa.DateTime(),
    "timestamp with time zone": sa.DateTime(timezone=True),
    "jsonb": pg.JSONB(),
}


@dataclass(frozen=True)
class Column:
    """One attribute on its way from the source to the table.

    Attributes:
        original: name in the source.
        name: name in the table.
        sql_type: PostgreSQL's own name of the type, for instance `text[]`.
    """

    original: str
    name: str
    sql_type: str

    def sqlalchemy_type(self) -> Any:
        """The type for SQLAlchemy's DDL."""
        if self.sql_type.endswith("[]"):
            return pg.ARRAY(_SQL_TYPES[self.sql_type.removesuffix("[]")])
        return _SQL_TYPES[self.sql_type]


def plan_columns(schema: pa.Schema) -> list[Column]:
    """Name and type every attribute of a source.

    Raises:
        SourceError: a type has no counterpart in PostgreSQL.
    """
    names = normalise_names(schema.names)
    return [
        Column(field.name, name, _sql_type(field))
        for field, name in zip(schema, names, strict=True)
    ]


def _sql_type(field: pa.Field) -> str:
    sql_type, _ = _target(field.name, field.type)
    return sql_type


def _target(name: str, type_: pa.DataType) -> tuple[str, pa.DataType]:
    """PostgreSQL's type and the Arrow type that ADBC writes into it."""
    if _is_json(type_):
        return "jsonb", pa.binary()
    if pa.types.is_timestamp(type_):
        zone = "with" if type_.tz else "without"
        return f"timestamp {zone} time zone", pa.timestamp("us", tz=type_.tz)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        sql_type, item = _target(name, type_.value_type)
        if not sql_type.endswith("[]"):
            return f"{sql_type}[]", pa.list_(item)
    for matches, sql_type, arrow_type in _SIMPLE:
        if matches(type_):
            return sql_type, arrow_type
    raise SourceError(
        f"column '{name}'",
        f"its type ({type_}) has no counterpart in PostgreSQL",
        "Convert the column to text or numbers in the source.",
    )


def _is_json(type_: pa.DataType) -> bool:
    return getattr(type_, "extension_name", "") == "arrow.json"


def encode_attributes(
    batch: pa.RecordBatch, columns: Sequence[Column]
) -> tuple[list[pa.Array], int]:
    """Cast attribute columns for binary COPY.

    Args:
        batch: has a column for each of `columns`, in that order, and nothing else.

    Returns:
        The arrays, and how many cells lost a NUL character, which PostgreSQL can't store.
    """
    arrays: list[pa.Array] = []
    without_nul = 0
    for index, column in enumerate(columns):
        array = batch.column(index)
        _, target = _target(column.original, batch.schema.field(index).type)
        cells = 0
        if column.sql_type == "jsonb":
            array, cells = _jsonb(array)
        elif column.sql_type == "text":
            _check_utf8(array, column)
            array, cells = _without_nul(array)
        elif column.sql_type == "text[]":
            array, cells = _list_without_nul(array)
        elif array.type != target:
            array = _cast(array, target, column)
        arrays.append(array)
        without_nul += cells
    return arrays, without_nul


def _check_utf8(array: pa.Array, column: Column) -> None:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raise SourceError(
            f"column '{column.original}'",
            "its text is not in the encoding that the source declares",
            "Set converter_params.encoding, for instance cp1252.",
        ) from None


def _cast(array: pa.Array, target: pa.DataType, column: Column) -> pa.Array:
    try:
        return array.cast(target)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"column '{column.original}'",
            f"a value does not fit PostgreSQL's {column.sql_type} ({error})",
            "Correct the value, or convert the column to text in the source.",
        ) from None


def _jsonb(array: pa.Array) -> tuple[pa.Array, int]:
    text = array.storage.cast(pa.string())
    # JSON writes NUL as an escape, which jsonb refuses; behind an escaped backslash it is text.
    suspects = pc.fill_null(pc.match_substring(text, "\\u0000"), fill_value=False)
    cells = 0
    if pc.any(suspects).as_py():
        values = text.to_pylist()
        for row in pc.indices_nonzero(suspects).to_pylist():
            cleaned = _NUL_ESCAPE.sub(r"\1", values[row])
            cells += cleaned != values[row]
            values[row] = cleaned
        text = pa.array(values, pa.string())
    version, nothing = pa.scalar(JSONB_VERSION, pa.binary()), pa.scalar(b"", pa.binary())
    return pc.binary_join_element_wise(version, text.cast(pa.binary()), nothing), cells


def _list_without_nul(array: pa.Array) -> tuple[pa.Array, int]:
    lists = array.cast(pa.list_(pa.string()))
    if not pc.any(pc.match_substring(lists.flatten(), "\0")).as_py():
        return lists, 0
    values = lists.to_pylist()
    cleaned = [items and [item and item.replace("\0", "") for item in items] for items in values]
    cells = sum(before != after for before, after in zip(values, cleaned, strict=True))
    return pa.array(cleaned, pa.list_(pa.string())), cells


def _without_nul(array: pa.Array) -> tuple[pa.Array, int]:
    cells = pc.sum(pc.match_substring(array, "\0")).as_py() or 0
    return (pc.replace_substring(array, "\0", "") if cells else array), cells


def json_text(values: dict[str, Any]) -> str:
    """Attributes of one feature as JSON that jsonb takes, whatever they hold.

    Numbers that JSON does not have (NaN, infinity) become text, binary becomes hexadecimal, NUL
    characters go.
    """
    return json.dumps(_plain(values), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value).replace("\0", "").encode(errors="replace").decode()
