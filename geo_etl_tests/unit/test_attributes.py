"""Attributes: the right PostgreSQL type for every Arrow type, and values that survive."""

import datetime as dt
import decimal
import json
import math
import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from geo_etl.errors import SourceError
from geo_etl.vector.attributes import Column, encode_attributes, plan_columns

UTC = dt.UTC


def encode(array: pa.Array) -> tuple[str, pa.Array, int]:
    """Type, encoded array and count of NUL cells of one column."""
    batch = pa.record_batch({"c": array})
    columns = plan_columns(batch.schema)
    (encoded,), cells = encode_attributes(batch, columns)
    return columns[0].sql_type, encoded, cells


def values(array: pa.Array) -> list[Any]:
    return encode(array)[1].to_pylist()


def json_array(items: list[str | None], storage: pa.DataType | None = None) -> pa.Array:
    storage = storage or pa.string()
    return pa.ExtensionArray.from_storage(pa.json_(storage), pa.array(items, storage))


# Types

TYPES: list[tuple[pa.DataType, str, pa.DataType]] = [
    (pa.bool_(), "boolean", pa.bool_()),
    (pa.int8(), "smallint", pa.int16()),
    (pa.uint8(), "smallint", pa.int16()),
    (pa.int16(), "smallint", pa.int16()),
    (pa.uint16(), "integer", pa.int32()),
    (pa.int32(), "integer", pa.int32()),
    (pa.uint32(), "bigint", pa.int64()),
    (pa.int64(), "bigint", pa.int64()),
    (pa.uint64(), "numeric", pa.decimal128(20, 0)),
    (pa.decimal32(5, 2), "numeric", pa.decimal128(5, 2)),
    (pa.decimal64(15, 2), "numeric", pa.decimal128(15, 2)),
    (pa.decimal128(38, 2), "numeric", pa.decimal128(38, 2)),
    (pa.decimal256(76, 2), "numeric", pa.decimal256(76, 2)),
    (pa.decimal256(10, -2), "numeric", pa.decimal128(10, -2)),
    (pa.float16(), "real", pa.float32()),
    (pa.float32(), "real", pa.float32()),
    (pa.float64(), "double precision", pa.float64()),
    (pa.string(), "text", pa.string()),
    (pa.large_string(), "text", pa.large_string()),
    (pa.string_view(), "text", pa.string()),
    (pa.null(), "text", pa.string()),
    (pa.dictionary(pa.int32(), pa.string()), "text", pa.string()),
    (pa.dictionary(pa.int8(), pa.int64()), "bigint", pa.int64()),
    (pa.run_end_encoded(pa.int32(), pa.float64()), "double precision", pa.float64()),
    (pa.binary(), "bytea", pa.binary()),
    (pa.binary_view(), "bytea", pa.binary()),
    (pa.binary(4), "bytea", pa.binary()),
    (pa.large_binary(), "bytea", pa.large_binary()),
    (pa.date32(), "date", pa.date32()),
    (pa.date64(), "date", pa.date32()),
    (pa.time32("s"), "time without time zone", pa.time64("us")),
    (pa.time32("ms"), "time without time zone", pa.time64("us")),
    (pa.time64("us"), "time without time zone", pa.time64("us")),
    (pa.time64("ns"), "time without time zone", pa.time64("us")),
    *((pa.duration(unit), "interval", pa.duration("us")) for unit in ("s", "ms", "us", "ns")),
    *(
        (pa.timestamp(unit), "timestamp without time zone", pa.timestamp("us"))
        for unit in ("s", "ms", "us", "ns")
    ),
    *(
        (pa.timestamp(unit, "UTC"), "timestamp with time zone", pa.timestamp("us", "UTC"))
        for unit in ("s", "ms", "us", "ns")
    ),
    (pa.timestamp("ms", "+02:00"), "timestamp with time zone", pa.timestamp("us", "+02:00")),
    (pa.json_(), "jsonb", pa.binary()),
    (pa.json_(pa.large_string()), "jsonb", pa.binary()),
    (pa.list_(pa.string()), "text[]", pa.list_(pa.string())),
    (pa.list_(pa.int32()), "integer[]", pa.list_(pa.int32())),
    (pa.list_(pa.int32(), 2), "integer[]", pa.list_(pa.int32())),
    (pa.list_view(pa.int32()), "integer[]", pa.list_(pa.int32())),
    (pa.list_(pa.uint64()), "numeric[]", pa.list_(pa.decimal128(20, 0))),
    (pa.list_(pa.dictionary(pa.int8(), pa.string())), "text[]", pa.list_(pa.string())),
    (pa.struct([("a", pa.int32())]), "jsonb", pa.binary()),
    (pa.map_(pa.string(), pa.int32()), "jsonb", pa.binary()),
    (pa.list_(pa.list_(pa.int32())), "jsonb", pa.binary()),
    (pa.list_(pa.struct([("a", pa.int32())])), "jsonb", pa.binary()),
    (pa.list_(pa.uint8()), "smallint[]", pa.list_(pa.int16())),
    (pa.list_(pa.bool_()), "boolean[]", pa.list_(pa.bool_())),
    (pa.large_list(pa.float64()), "double precision[]", pa.list_(pa.float64())),
    (
        pa.list_(pa.timestamp("ms", "UTC")),
        "timestamp with time zone[]",
        pa.list_(pa.timestamp("us", "UTC")),
    ),
]
IDS = [str(type_) for type_, _, _ in TYPES]


@pytest.mark.parametrize(("arrow", "sql", "_"), TYPES, ids=IDS)
def test_arrow_type_has_its_postgresql_type(arrow: pa.DataType, sql: str, _: Any) -> None:
    (column,) = plan_columns(pa.schema([("Some Name", arrow)]))
    assert column == Column("Some Name", "some_name", sql)


@pytest.mark.parametrize(("arrow", "_", "wire"), TYPES, ids=IDS)
def test_column_of_nulls_gets_the_type_that_goes_over_the_wire(
    arrow: pa.DataType, _: Any, wire: pa.DataType
) -> None:
    nulls = pa.nulls(2, arrow.storage_type) if "json" in str(arrow) else pa.nulls(2, arrow)
    if "json" in str(arrow):
        nulls = pa.ExtensionArray.from_storage(arrow, nulls)
    encoded = encode(nulls)[1]
    assert encoded.type == wire
    assert encoded.to_pylist() == [None, None]


DDL = {
    "boolean": "BOOLEAN",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "REAL",
    "double precision": "DOUBLE PRECISION",
    "text": "TEXT",
    "bytea": "BYTEA",
    "numeric": "NUMERIC",
    "interval": "INTERVAL",
    "uuid": "UUID",
    "date": "DATE",
    "time without time zone": "TIME WITHOUT TIME ZONE",
    "timestamp without time zone": "TIMESTAMP WITHOUT TIME ZONE",
    "timestamp with time zone": "TIMESTAMP WITH TIME ZONE",
    "jsonb": "JSONB",
    "text[]": "TEXT[]",
    "double precision[]": "DOUBLE PRECISION[]",
}


@pytest.mark.parametrize(("sql", "ddl"), DDL.items())
def test_sql_type_is_written_in_ddl_as_postgresql_calls_it(sql: str, ddl: str) -> None:
    type_ = Column("a", "a", sql).sqlalchemy_type()
    assert type_.compile(dialect=postgresql.dialect()) == ddl


def test_names_of_a_table_are_made_together() -> None:
    columns = plan_columns(pa.schema([("A", pa.int32()), ("a", pa.int32()), ("gid", pa.int32())]))
    assert [column.name for column in columns] == ["a", "a_2", "gid_"]
    assert [column.original for column in columns] == ["A", "a", "gid"]


@pytest.mark.parametrize(
    "type_",
    [
        pa.month_day_nano_interval(),
        pa.dense_union([pa.field("a", pa.int8())]),
        pa.list_(pa.month_day_nano_interval()),
    ],
    ids=str,
)
def test_type_without_counterpart_names_the_column(type_: pa.DataType) -> None:
    with pytest.raises(SourceError, match="has no counterpart in PostgreSQL") as caught:
        plan_columns(pa.schema([("good", pa.int32()), ("Bad One", type_)]))
    assert caught.value.thing == "column 'Bad One'"


# Values

INTEGERS = [(pa.int8(), -(2**7), 2**7 - 1), (pa.uint8(), 0, 2**8 - 1)]
INTEGERS += [(pa.int16(), -(2**15), 2**15 - 1), (pa.uint16(), 0, 2**16 - 1)]
INTEGERS += [(pa.int32(), -(2**31), 2**31 - 1), (pa.uint32(), 0, 2**32 - 1)]
INTEGERS += [(pa.int64(), -(2**63), 2**63 - 1)]


@pytest.mark.parametrize(("type_", "low", "high"), INTEGERS, ids=str)
def test_integers_survive_to_the_ends_of_their_range(
    type_: pa.DataType, low: int, high: int
) -> None:
    assert values(pa.array([low, None, 0, high], type_)) == [low, None, 0, high]


@given(st.lists(st.none() | st.floats()))
def test_double_precision_survives_bit_by_bit(items: list[float | None]) -> None:
    result = values(pa.array(items, pa.float64()))
    assert [item is None for item in result] == [item is None for item in items]
    for one, other in zip(result, items, strict=True):
        if other is not None:
            assert math.isnan(one) if math.isnan(other) else one == other


@given(st.lists(st.none() | st.floats(width=32, allow_nan=False)))
def test_single_precision_survives(items: list[float | None]) -> None:
    assert values(pa.array(items, pa.float32())) == items


@given(st.lists(st.none() | st.floats(width=16, allow_nan=False)))
def test_half_precision_survives(items: list[float | None]) -> None:
    assert values(pa.array(items, pa.float16())) == items


@given(st.lists(st.none() | st.booleans()))
def test_booleans_survive(items: list[bool | None]) -> None:
    assert values(pa.array(items, pa.bool_())) == items


@given(st.lists(st.none() | st.binary()))
def test_bytes_survive_with_their_nuls(items: list[bytes | None]) -> None:
    sql, encoded, cells = encode(pa.array(items, pa.binary()))
    assert (sql, encoded.to_pylist(), cells) == ("bytea", items, 0)


@given(st.lists(st.none() | st.dates()))
def test_dates_survive(items: list[dt.date | None]) -> None:
    assert values(pa.array(items, pa.date64())) == items


@given(st.lists(st.none() | st.times()))
def test_times_survive_to_the_microsecond(items: list[dt.time | None]) -> None:
    assert values(pa.array(items, pa.time64("us"))) == items


@given(st.lists(st.none() | st.datetimes()))
def test_timestamps_survive_to_the_microsecond(items: list[dt.datetime | None]) -> None:
    assert values(pa.array(items, pa.timestamp("us"))) == items


STEPS = {"s": 1_000_000, "ms": 1_000, "us": 1}


@pytest.mark.parametrize("zone", [None, "UTC", "+02:00"])
@pytest.mark.parametrize("unit", STEPS)
@pytest.mark.parametrize("count", [-1, 0, 1, 1_700_000_000])
def test_timestamp_of_every_unit_is_the_same_moment(
    unit: str, zone: str | None, count: int
) -> None:
    encoded = encode(pa.array([count, None], pa.timestamp(unit, zone)))[1]
    assert encoded.cast(pa.int64()).to_pylist() == [count * STEPS[unit], None]


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_timestamp_in_nanoseconds_becomes_microseconds(zone: str | None) -> None:
    encoded = encode(pa.array([1_700_000_000_123_456_000, None], pa.timestamp("ns", zone)))[1]
    assert encoded.cast(pa.int64()).to_pylist() == [1_700_000_000_123_456, None]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1_001], pa.timestamp("ns")),
        pa.array([1_001], pa.timestamp("ns", "UTC")),
        pa.array([1_001], pa.time64("ns")),
    ],
    ids=lambda array: str(array.type),
)
def test_nanoseconds_that_postgresql_can_not_hold_are_refused(array: pa.Array) -> None:
    with pytest.raises(SourceError, match="column 'c': a value does not fit PostgreSQL's time"):
        encode(array)


def test_timestamp_out_of_range_names_the_column() -> None:
    with pytest.raises(SourceError, match="column 'c'"):
        encode(pa.array([2**60], pa.timestamp("s")))


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string()], ids=str)
def test_nul_characters_are_removed_and_their_cells_counted(type_: pa.DataType) -> None:
    array = pa.array(["a\0b", "plain", None, "\0", "\0x\0y\0"], type_)
    sql, encoded, cells = encode(array)
    assert (sql, encoded.to_pylist(), cells) == ("text", ["ab", "plain", None, "", "xy"], 3)


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8") | st.just("\0"))))
def test_text_survives_but_for_nul_characters(items: list[str | None]) -> None:
    _, encoded, cells = encode(pa.array(items, pa.string()))
    assert encoded.to_pylist() == [item and item.replace("\0", "") for item in items]
    assert cells == sum("\0" in (item or "") for item in items)


def test_nul_cells_of_all_columns_are_added_up() -> None:
    batch = pa.record_batch({"a": ["x\0", "y"], "b": ["\0", "\0"], "n": [1, 2]})
    arrays, cells = encode_attributes(batch, plan_columns(batch.schema))
    assert cells == 3
    assert [array.to_pylist() for array in arrays] == [["x", "y"], ["", ""], [1, 2]]


def test_nul_characters_in_lists_are_removed_and_counted() -> None:
    _, encoded, cells = encode(pa.array([["a\0b", "c"], None]))
    assert (encoded.to_pylist(), cells) == ([["ab", "c"], None], 1)


def test_nul_characters_in_json_are_removed_and_counted() -> None:
    _, encoded, cells = encode(json_array(['{"a":"x\\u0000y"}', '{"a":"\\\\u0000"}']))
    texts = [json.loads(item[1:]) for item in encoded.to_pylist()]
    assert (texts, cells) == ([{"a": "xy"}, {"a": "\\u0000"}], 1)


# JSON and lists


@pytest.mark.parametrize("storage", [pa.string(), pa.large_string()], ids=str)
def test_json_gets_the_version_byte_that_jsonb_wants(storage: pa.DataType) -> None:
    array = json_array(['{"a":1}', None, "[]"], storage)
    assert values(array) == [b'\x01{"a":1}', None, b"\x01[]"]


def test_json_of_a_slice_is_that_of_its_rows() -> None:
    assert values(json_array(["1", "2", None, "4"]).slice(1, 2)) == [b"\x012", None]


json_texts = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="utf-8", min_codepoint=1)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abü"), inner),
    max_leaves=5,
).map(lambda value: json.dumps(value, ensure_ascii=False))


@given(st.lists(st.none() | json_texts))
def test_json_survives_byte_by_byte(items: list[str | None]) -> None:
    expected = [None if item is None else b"\x01" + item.encode() for item in items]
    assert values(json_array(items)) == expected


@given(st.lists(st.none() | st.lists(st.none() | st.integers(0, 255))))
def test_lists_survive_with_their_nulls(items: list[Any]) -> None:
    sql, encoded, _ = encode(pa.array(items, pa.large_list(pa.uint8())))
    assert (sql, encoded.to_pylist()) == ("smallint[]", items)


def test_lists_of_a_slice_are_those_of_its_rows() -> None:
    array = pa.array([[1], [2, 3], None, [4]], pa.list_(pa.uint8())).slice(1, 2)
    assert values(array) == [[2, 3], None]


def test_columns_of_one_name_are_told_apart_by_their_place() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array(["x"])], names=["a", "a"])
    arrays, _ = encode_attributes(batch, plan_columns(batch.schema))
    assert [array.to_pylist() for array in arrays] == [[1], ["x"]]


def test_bit_pattern_of_a_signed_zero_survives() -> None:
    (value,) = values(pa.array([-0.0], pa.float64()))
    assert struct.pack("<d", value) == struct.pack("<d", -0.0)


def test_moment_with_an_offset_is_the_same_in_utc() -> None:
    moment = dt.datetime(2024, 5, 1, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    (result,) = values(pa.array([moment], pa.timestamp("ms", "+02:00")))
    assert result.astimezone(UTC) == dt.datetime(2024, 5, 1, 10, 30, tzinfo=UTC)


# Nested values


def nested(array: pa.Array) -> list[Any]:
    """What jsonb gets, parsed."""
    _, encoded, _ = encode(array)
    return [None if item is None else json.loads(item[1:]) for item in encoded.to_pylist()]


def test_nested_values_become_json() -> None:
    items = [{"a": 1, "b": [{"c": "x"}, None]}, None, {"a": None, "b": []}]
    assert nested(pa.array(items)) == items


def test_scalars_that_json_does_not_have_become_text_in_nested_values() -> None:
    moment = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    items = [{"t": moment, "f": math.nan, "d": dt.date(2020, 1, 2), "b": b"\x01\xff"}]
    assert nested(pa.array(items)) == [
        {"t": "2020-01-02 03:04:05+00:00", "f": "nan", "d": "2020-01-02", "b": "01ff"}
    ]


@pytest.mark.parametrize(
    ("value", "expected"), [("1.50", 1.5), ("0.1", 0.1), ("1234567890.1234567891",) * 2]
)
def test_decimal_in_a_nested_value_is_a_number_only_where_it_is_exact(
    value: str, expected: Any
) -> None:
    array = pa.array([[[decimal.Decimal(value)]]], pa.list_(pa.list_(pa.decimal128(30, 10))))
    ((found,),) = nested(array)[0]
    assert decimal.Decimal(str(found)) == decimal.Decimal(str(expected))
    assert type(found) is type(expected)


def test_map_is_an_object_with_text_as_keys() -> None:
    assert nested(pa.array([[(1, "a"), (2, None)]], pa.map_(pa.int8(), pa.string()))) == [
        {"1": "a", "2": None}
    ]


def test_map_with_a_key_twice_loses_none() -> None:
    assert nested(pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int8()))) == [
        [{"key": "k", "value": 1}, {"key": "k", "value": 2}]
    ]


def test_nul_characters_in_nested_values_are_removed_and_counted() -> None:
    _, encoded, cells = encode(pa.array([{"a": "x\0y"}, {"a": "\\u0000"}]))
    assert [json.loads(item[1:])["a"] for item in encoded.to_pylist()] == ["xy", "\\u0000"]
    assert cells == 1


trees: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {
        "s": st.none() | st.text(st.characters(codec="utf-8", min_codepoint=1)),
        "l": st.none() | st.lists(st.none() | st.lists(st.integers(-(2**63), 2**63 - 1))),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    }
)
TREE = pa.struct([("s", pa.string()), ("l", pa.list_(pa.list_(pa.int64()))), ("f", pa.float64())])


@given(st.lists(st.none() | trees))
def test_nested_values_survive(items: list[Any]) -> None:
    assert nested(pa.array(items, TREE)) == items


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[1],[2]", '{"a": NaN}', "Infinity", '"\\ud800"', "1e99999", "[" * 100_000],
    ids=lambda text: text[:10],
)
def test_json_that_jsonb_would_refuse_names_the_column(text: str) -> None:
    with pytest.raises(SourceError, match="does not fit PostgreSQL's jsonb") as caught:
        encode(json_array(["{}", text]))
    assert caught.value.thing == "column 'c'"


def test_json_with_a_pair_of_surrogates_is_json() -> None:
    assert nested(json_array(['"\\ud83d\\ude00"'])) == ["😀"]


# Ranges: PostgreSQL's manual, table 8.9

OUTSIDE = [
    pa.array([-2_440_589], pa.date32()),
    pa.array([2_145_042_906], pa.date32()),
    pa.array([-2_440_588 * 86_400_000_000 - 1], pa.timestamp("us")),
    pa.array([-(2**62), None], pa.timestamp("us", "UTC")),
    pa.array([[0, -(2**62)]], pa.list_(pa.timestamp("us"))),
    pa.array([-1], pa.time64("us")),
    pa.array([86_400_000_001], pa.time64("us")),
]


@pytest.mark.parametrize("array", OUTSIDE, ids=[str(array.type) for array in OUTSIDE])
def test_value_outside_postgresqls_range_names_the_column(array: pa.Array) -> None:
    with pytest.raises(SourceError, match="out of range") as caught:
        encode(array)
    assert caught.value.thing == "column 'c'"


INSIDE = [
    pa.array([-2_440_588, None, 2_145_042_905], pa.date32()),
    pa.array([-2_440_588 * 86_400_000_000, 2**63 - 1], pa.timestamp("us")),
    pa.array([0, 86_400_000_000], pa.time64("us")),
]


@pytest.mark.parametrize("array", INSIDE, ids=[str(array.type) for array in INSIDE])
def test_ends_of_postgresqls_range_are_kept(array: pa.Array) -> None:
    assert encode(array)[1].equals(array)


def test_text_in_a_list_that_is_no_utf8_names_the_column() -> None:
    raw = pa.array([[b"\xff"]]).cast(pa.list_(pa.string()), safe=False)
    with pytest.raises(SourceError, match="not in the encoding"):
        encode(raw)


def test_dictionaries_are_unpacked() -> None:
    sql, encoded, _ = encode(pa.array(["a", None, "a"]).dictionary_encode())
    assert (sql, encoded.to_pylist()) == ("text", ["a", None, "a"])


@given(st.lists(st.none() | st.decimals(-(10**20), 10**20, places=5)))
def test_decimals_survive_digit_by_digit(items: list[decimal.Decimal | None]) -> None:
    sql, encoded, _ = encode(pa.array(items, pa.decimal128(38, 5)))
    assert (sql, encoded.to_pylist()) == ("numeric", items)
