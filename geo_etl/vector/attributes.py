"""Columns: from Arrow types to PostgreSQL types, and the values to what a binary COPY takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo_etl.errors import SourceError
from geo_etl.vector.jsonb import encode_json, is_json
from geo_etl.vector.names import normalise_names

_SIMPLE: list[tuple[Callable[[pa.DataType], bool], str, pa.DataType]] = [
    (pa.types.is_boolean, "boolean", pa.bool_()),
    (pa.types.is_int8, "smallint", pa.int16()),
    (pa.types.is_uint8, "smallint", pa.int16()),
    (pa.types.is_int16, "smallint", pa.int16()),
    (pa.types.is_uint16, "integer", pa.int32()),
    (pa.types.is_int32, "integer", pa.int32()),
    (pa.types.is_uint32, "bigint", pa.int64()),
    (pa.types.is_int64, "bigint", pa.int64()),
    (pa.types.is_uint64, "numeric", pa.decimal128(20, 0)),
    (pa.types.is_float16, "real", pa.float32()),
    (pa.types.is_float32, "real", pa.float32()),
    (pa.types.is_float64, "double precision", pa.float64()),
    (pa.types.is_string, "text", pa.string()),
    (pa.types.is_large_string, "text", pa.large_string()),
    (pa.types.is_string_view, "text", pa.string()),
    (pa.types.is_null, "text", pa.string()),
    (pa.types.is_binary, "bytea", pa.binary()),
    (pa.types.is_large_binary, "bytea", pa.large_binary()),
    (pa.types.is_binary_view, "bytea", pa.binary()),
    (pa.types.is_fixed_size_binary, "bytea", pa.binary()),
    (pa.types.is_date, "date", pa.date32()),
    (pa.types.is_time, "time without time zone", pa.time64("us")),
    (pa.types.is_duration, "interval", pa.duration("us")),
]
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_DECIMAL128_DIGITS = 38
_MICROSECONDS = 86_400_000_000
_RANGES = {
    # Days and microseconds from 1970; the manual, table 8.9. What is later than Arrow's last
    # microsecond can't come.
    "date": (-2_440_588, 2_145_042_905),
    "timestamp without time zone": (-2_440_588 * _MICROSECONDS, 2**63 - 1),
    "timestamp with time zone": (-2_440_588 * _MICROSECONDS, 2**63 - 1),
    "time without time zone": (0, _MICROSECONDS),
}
_WRAPPED = (
    pa.types.is_dictionary,
    pa.types.is_run_end_encoded,
    lambda type_: isinstance(type_, pa.BaseExtensionType),
)

_SQL_TYPES: dict[str, Any] = {
    "boolean": sa.Boolean(),
    "smallint": sa.SmallInteger(),
    "integer": sa.Integer(),
    "bigint": sa.BigInteger(),
    "numeric": sa.Numeric(),
    "real": sa.REAL(),
    "double precision": sa.Double(),
    "text": sa.Text(),
    "bytea": sa.LargeBinary(),
    "date": sa.Date(),
    "time without time zone": sa.Time(),
    "timestamp without time zone": sa.DateTime(),
    "timestamp with time zone": sa.DateTime(timezone=True),
    "interval": pg.INTERVAL(),
    "uuid": pg.UUID(),
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
    for name in schema.names:
        if "\0" in name:
            shown = name.replace("\0", "\ufffd")
            raise SourceError(
                f"column '{shown}'", "its name has a NUL character", "Rename it in the source."
            )
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
    if is_json(type_) or pa.types.is_struct(type_) or pa.types.is_map(type_):
        return "jsonb", pa.binary()
    if isinstance(type_, pa.UuidType):
        return "uuid", pa.binary()
    if _is_one_of(type_, _WRAPPED):
        return _target(name, getattr(type_, "storage_type", None) or type_.value_type)
    if pa.types.is_timestamp(type_):
        zone = "with" if type_.tz else "without"
        return f"timestamp {zone} time zone", pa.timestamp("us", tz=type_.tz)
    if pa.types.is_decimal(type_):
        wide = pa.decimal256 if type_.precision > _DECIMAL128_DIGITS else pa.decimal128
        return "numeric", wide(type_.precision, type_.scale)
    if _is_one_of(type_, _LISTS):
        sql_type, item = _target(name, type_.value_type)
        if sql_type == "jsonb" or sql_type.endswith("[]"):
            return "jsonb", pa.binary()
        return f"{sql_type}[]", pa.list_(item)
    for matches, sql_type, arrow_type in _SIMPLE:
        if matches(type_):
            return sql_type, arrow_type
    raise SourceError(
        f"column '{name}'",
        f"its type ({type_}) has no counterpart in PostgreSQL",
        "Convert the column to text or numbers in the source.",
    )


def _is_one_of(type_: pa.DataType, kinds: Sequence[Callable[[pa.DataType], bool]]) -> bool:
    return any(matches(type_) for matches in kinds)


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
        array, cells = _encode(batch.column(index), column)
        arrays.append(array)
        without_nul += cells
    return arrays, without_nul


def _encode(array: pa.Array, column: Column) -> tuple[pa.Array, int]:
    _, target = _target(column.original, array.type)
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    if column.sql_type in ("text", "text[]", "jsonb"):
        _check_utf8(array, column)
    if column.sql_type == "jsonb":
        try:
            return encode_json(array)
        except ValueError as error:
            raise _unfit(column, error) from None
    if array.type != target:
        array = _cast(array, target, column)
    if column.sql_type == "text":
        return _without_nul(array)
    if column.sql_type == "text[]":
        return _list_without_nul(array)
    _check_range(array, column)
    return array, 0


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
        raise _unfit(column, error) from None


def _check_range(array: pa.Array, column: Column) -> None:
    """Refuse what Arrow can hold and PostgreSQL can't."""
    limits = _RANGES.get(column.sql_type.removesuffix("[]"))
    if limits is None:
        return
    values = pc.list_flatten(array) if column.sql_type.endswith("[]") else array
    integers = values.view(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
    found = pc.min_max(integers).as_py()
    if found["min"] is not None and not limits[0] <= found["min"] <= found["max"] <= limits[1]:
        raise _unfit(column, "out of range")


def _unfit(column: Column, reason: object) -> SourceError:
    return SourceError(
        f"column '{column.original}'",
        f"a value does not fit PostgreSQL's {column.sql_type} ({reason})",
        "Correct the value, or convert the column to text in the source.",
    )


def _list_without_nul(array: pa.Array) -> tuple[pa.Array, int]:
    if not pc.any(pc.match_substring(pc.list_flatten(array), "\0")).as_py():
        return array, 0
    values = array.to_pylist()
    cleaned = [items and [item and item.replace("\0", "") for item in items] for items in values]
    cells = sum(before != after for before, after in zip(values, cleaned, strict=True))
    return pa.array(cleaned, pa.list_(pa.string())), cells


def _without_nul(array: pa.Array) -> tuple[pa.Array, int]:
    cells = pc.sum(pc.match_substring(array, "\0")).as_py() or 0
    return (pc.replace_substring(array, "\0", "") if cells else array), cells
