"""Attribute rules: what is published, what breaks a rule, and that no value changes on the way."""

import datetime as dt
import json
import math
import pickle
import re
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.errors import GeoEtlError, SourceError, SpecError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.spec.identifiers import check_identifier
from geo_etl.vector.attributes import encode_attributes, plan_columns
from geo_etl.vector.names import RESERVED, TAKEN
from geo_etl.vector.rules import RulePlan, UniqueRule, Violation, apply_rules, plan_rules

UTC = dt.UTC


def spec(rules: dict[str, Any]) -> VectorSpec:
    return resolve_vector_spec([SpecLayer("file", {"attribute_rules": {"columns": rules}})])


def plan(data: pa.RecordBatch | dict[str, Any], rules: dict[str, Any]) -> RulePlan:
    batch = data if isinstance(data, pa.RecordBatch) else pa.record_batch(data)
    return plan_rules(batch.schema, spec(rules), "a.gpkg")


def apply(
    data: pa.RecordBatch | dict[str, Any], rules: dict[str, Any]
) -> tuple[pa.RecordBatch, list[Violation]]:
    """Plan, select what is published, apply."""
    batch = data if isinstance(data, pa.RecordBatch) else pa.record_batch(data)
    planned = plan(batch, rules)
    kept = [column.original for column in planned.columns]
    return apply_rules(batch.select(kept), planned)


def broken(values: Any, rule: dict[str, Any]) -> list[int]:
    """Rows of one column that break a rule."""
    return [violation.row for violation in apply({"a": values}, {"a": rule})[1]]


def converted(values: Any, type_: str) -> list[Any]:
    """One column as another type; `...` where that breaks the rule."""
    batch, violations = apply({"a": values}, {"a": {"type": type_}})
    bad = {violation.row for violation in violations}
    return [... if row in bad else v for row, v in enumerate(batch.column(0).to_pylist())]


def refusal(data: Any, rules: dict[str, Any]) -> GeoEtlError:
    with pytest.raises(GeoEtlError) as caught:
        plan(data, rules)
    return caught.value


def json_array(items: list[str | None]) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(items, pa.string()))


def bad_utf8() -> pa.Array:
    """The text b'\\xff'."""
    buffers = pa.array([b"\xff"], pa.binary()).buffers()
    return pa.Array.from_buffers(pa.string(), 1, buffers)


# Which columns


def test_without_rules_the_plan_is_that_of_the_columns() -> None:
    schema = pa.schema([("A", pa.int32()), ("a", pa.string())])
    assert plan_rules(schema, VectorSpec(), "a.gpkg") == RulePlan(plan_columns(schema))


@pytest.mark.parametrize("rules", [{}, {"a": {"rename": "b"}}, {"a": {"unique": True}}])
def test_without_checks_the_very_same_batch_comes_back(rules: dict[str, Any]) -> None:
    batch = pa.record_batch({"a": [1, 2]})
    result, violations = apply_rules(batch, plan(batch, rules))
    assert result is batch
    assert violations == []


def test_column_that_is_dropped_is_not_published() -> None:
    planned = plan({"A": [1], "b": [2]}, {"a": {"drop": True}})
    assert [(c.original, c.name) for c in planned.columns] == [("b", "b")]


def test_column_of_a_type_that_postgresql_lacks_can_be_dropped() -> None:
    planned = plan({"a": [Decimal("1.5")], "b": [2]}, {"a": {"drop": True}})
    assert [column.name for column in planned.columns] == ["b"]


def test_dropping_a_column_does_not_rename_the_others() -> None:
    planned = plan({"A": [1], "a": [2]}, {"A": {"drop": True}})
    assert [(c.original, c.name) for c in planned.columns] == [("a", "a_2")]


def test_dropping_a_column_that_is_not_there_is_remarked() -> None:
    planned = plan({"a": [1]}, {"note": {"drop": True}})
    assert [column.name for column in planned.columns] == ["a"]
    assert planned.warnings == ["attribute_rules: the source has no column 'note' to drop."]


@pytest.mark.parametrize(
    "rule",
    [{"required": True}, {"unique": True}, {"default": 1}, {"min": 0}, {"rename": "b"}, {}],
    ids=str,
)
def test_rule_for_a_column_that_is_not_there_lists_those_that_are(rule: dict[str, Any]) -> None:
    error = refusal({"Pop": [1], "name": ["x"]}, {"population": rule})
    assert isinstance(error, SourceError)
    assert error.thing == "a.gpkg"
    assert "'population'" in error.problem
    assert "Its columns: Pop, name." in error.remedy


def test_rule_that_was_taken_back_asks_for_nothing() -> None:
    assert plan({"a": [1]}, {"population": None}).checks == []


def test_rule_finds_its_column_by_the_published_name() -> None:
    _, violations = apply({"BoroName": [None, "x"]}, {"boro_name": {"required": True}})
    assert violations == [Violation(0, "BoroName: it has no value, and must have one")]


def test_name_in_the_source_wins_over_a_published_name() -> None:
    # 'A' is published as 'a', and 'a' as 'a_2'.
    _, violations = apply({"A": [1], "a": [2]}, {"a": {"max": 0}})
    assert violations == [Violation(0, "a: 2 is above the maximum 0")]


def test_columns_of_one_name_are_told_apart_by_their_published_names() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    _, violations = apply_rules(batch, plan(batch, {"a_2": {"max": 0}}))
    assert violations == [Violation(0, "a: 2 is above the maximum 0")]


def test_two_rules_for_one_column_are_refused() -> None:
    error = refusal({"aB": [1]}, {"aB": {"min": 1}, "a_b": {"max": 2}})
    assert error.thing == "a.gpkg: key 'attribute_rules.columns.a_b'"
    assert "'aB'" in error.problem


def test_column_is_renamed() -> None:
    (column,) = plan({"Pop 2020": [1]}, {"Pop 2020": {"rename": "population"}}).columns
    assert (column.original, column.name) == ("Pop 2020", "population")


def test_columns_may_swap_names() -> None:
    planned = plan({"a": [1], "b": [2]}, {"a": {"rename": "b"}, "b": {"rename": "a"}})
    assert [column.name for column in planned.columns] == ["b", "a"]


def test_the_name_of_a_dropped_column_is_free() -> None:
    planned = plan({"a": [1], "b": [2]}, {"a": {"rename": "b"}, "b": {"drop": True}})
    assert [column.name for column in planned.columns] == ["b"]


@pytest.mark.parametrize(
    "rules", [{"a": {"rename": "b"}}, {"a": {"rename": "c"}, "b": {"rename": "c"}}]
)
def test_two_columns_of_one_published_name_are_refused(rules: dict[str, Any]) -> None:
    error = refusal({"a": [1], "b": [2]}, rules)
    assert isinstance(error, SpecError)
    assert error.thing == "a.gpkg: columns 'a' and 'b'"
    assert "rename" in error.remedy


@pytest.mark.parametrize("name", ["gid", "geom", "ctid", "order", "user"])
def test_renaming_to_a_word_of_postgresql_or_geo_etl_is_refused(name: str) -> None:
    error = refusal({"a": [1]}, {"a": {"rename": name}})
    assert error.thing == "a.gpkg: key 'attribute_rules.columns.a.rename'"


def test_unique_columns_are_exposed_with_what_a_violation_does() -> None:
    rules = {
        "A": {"unique": True, "rename": "code"},
        "b": {"unique": True, "on_violation": "stop"},
    }
    planned = plan({"A": ["x"], "b": [1], "c": [2]}, rules)
    assert planned.unique == [UniqueRule("code", "quarantine"), UniqueRule("b", "stop")]


def test_plan_survives_pickling() -> None:
    rules = {
        "a": {"type": "integer", "min": 0, "default": 1, "unique": True},
        "b": {"min": dt.date(2020, 1, 1), "allowed": ["2020-02-01"]},
        "c": {"pattern": "[a-z]+"},
    }
    planned = plan({"a": ["1"], "b": [dt.date(2020, 1, 1)], "c": ["x"]}, rules)
    assert pickle.loads(pickle.dumps(planned)) == planned


# Rules that do not suit their column


@pytest.mark.parametrize(
    ("values", "rule", "key"),
    [
        ([1], {"pattern": "x"}, "pattern"),
        ([True], {"min": 0}, "min"),
        (["x"], {"max": 0}, "max"),
        ([[1]], {"allowed": [1]}, "allowed"),
        ([b"x"], {"default": "x"}, "default"),
        ([1], {"min": "2020-01-01"}, "min"),
        ([1], {"max": 0.5}, "max"),
        ([1], {"max": 10**30}, "max"),
        ([0.5], {"max": 10**400}, "max"),
        ([dt.date(2020, 1, 1)], {"min": 5}, "min"),
        ([dt.date(2020, 1, 1)], {"max": "2020-01-01T12:00:00"}, "max"),
        ([dt.datetime(2020, 1, 1)], {"max": "2020-01-01T12:00:00Z"}, "max"),
        ([dt.datetime(2020, 1, 1, tzinfo=UTC)], {"max": "2020-01-01T12:00:00"}, "max"),
        ([1], {"default": "x"}, "default"),
        ([1], {"default": 1.5}, "default"),
        ([1], {"default": True}, "default"),
        ([1.5], {"default": True}, "default"),
        ([True], {"default": 1}, "default"),
        (["x"], {"default": 1}, "default"),
        (["x"], {"allowed": ["a", False]}, "allowed"),
        (["x"], {"type": "integer", "pattern": "x"}, "pattern"),
        (["x"], {"type": "json", "default": "{"}, "default"),
        (["x"], {"type": "json", "allowed": ["{}"]}, "allowed"),
        ([1], {"default": 5, "max": 3}, "default"),
        ([1], {"default": 5, "allowed": [3]}, "default"),
        (["x"], {"default": "x", "pattern": "y"}, "default"),
        (pa.array([1], pa.int16()), {"default": 50_000}, "default"),
        (pa.array([1], pa.timestamp("s")), {"default": "2020-01-01T00:00:00.5"}, "default"),
        ([[1]], {"type": "text"}, "type"),
        ([b"x"], {"type": "text"}, "type"),
        ([1], {"type": "date"}, "type"),
        ([1.5], {"type": "json"}, "type"),
        ([dt.datetime(2020, 1, 1)], {"type": "timestamptz"}, "type"),
        ([dt.datetime(2020, 1, 1, tzinfo=UTC)], {"type": "timestamp"}, "type"),
        ([dt.datetime(2020, 1, 1, tzinfo=UTC)], {"type": "date"}, "type"),
    ],
    ids=str,
)
def test_rule_that_does_not_suit_its_column_is_refused_with_its_key(
    values: Any, rule: dict[str, Any], key: str
) -> None:
    error = refusal({"a": values}, {"a": rule})
    assert isinstance(error, SpecError)
    assert error.thing == f"a.gpkg: key 'attribute_rules.columns.a.{key}'"


def test_yaml_word_among_allowed_texts_is_told_to_be_quoted() -> None:
    rules = SpecLayer.from_yaml("x", "attribute_rules: {columns: {c: {allowed: [DE, NO]}}}")
    with pytest.raises(SpecError, match=r"False is no text.*Text is put in quotes"):
        plan_rules(pa.schema([("c", pa.string())]), resolve_vector_spec([rules]), "a.gpkg")


def test_message_about_a_huge_limit_stays_short() -> None:
    assert len(str(refusal({"a": [1.5]}, {"a": {"max": 10**400}}))) < 300


# Checks


def test_required_refuses_null_and_only_null() -> None:
    assert broken(["", None, "x"], {"required": True}) == [1]


def test_default_takes_the_place_of_null_before_required_is_checked() -> None:
    batch, violations = apply({"a": [1, None]}, {"a": {"default": 7, "required": True}})
    assert batch.column(0).to_pylist() == [1, 7]
    assert violations == []


@pytest.mark.parametrize(
    ("values", "default", "filled"),
    [
        (pa.array([None], pa.string()), "x", "x"),
        (pa.array([None], pa.large_string()), "x", "x"),
        (pa.array([None], pa.int16()), 7, 7),
        (pa.array([None], pa.float64()), 7, 7.0),
        (pa.array([None], pa.bool_()), False, False),
        (pa.array([None], pa.date32()), dt.date(2020, 1, 2), dt.date(2020, 1, 2)),
        (pa.array([None], pa.timestamp("ms")), "2020-01-02", dt.datetime(2020, 1, 2)),
        (
            pa.array([None], pa.timestamp("ms", "UTC")),
            "2020-01-02T03:00:00+01:00",
            dt.datetime(2020, 1, 2, 2, tzinfo=UTC),
        ),
        (json_array([None]), '{"a": 1}', '{"a": 1}'),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_default_of_every_type_is_filled_in_and_keeps_the_type(
    values: pa.Array, default: Any, filled: Any
) -> None:
    batch, _ = apply({"a": values}, {"a": {"default": default}})
    assert batch.column(0).to_pylist() == [filled]
    assert batch.column(0).type == values.type


@pytest.mark.parametrize(
    "type_", [pa.uint8(), pa.int16(), pa.int64(), pa.float16(), pa.float32(), pa.float64()], ids=str
)
def test_limits_are_inclusive(type_: pa.DataType) -> None:
    values = pa.array([1, 2, 5, 6, None], type_)
    assert broken(values, {"min": 2, "max": 5}) == [0, 3]


def test_limit_beyond_the_size_of_the_column_is_compared_all_the_same() -> None:
    assert broken(pa.array([1, 255], pa.uint8()), {"min": -1000, "max": 1000}) == []


def test_limit_of_a_real_column_is_the_real_nearest_to_it() -> None:
    values = pa.array([0.1, 0.2], pa.float32())
    assert broken(values, {"max": 0.1}) == [1]


def test_not_a_number_is_within_no_limits() -> None:
    assert broken([float("nan"), 1.0, None], {"min": 0}) == [0]
    assert broken([float("nan"), 1.0, None], {"max": 2}) == [0]


def test_infinity_is_above_every_maximum() -> None:
    assert broken([math.inf, -math.inf], {"max": 1e300, "min": -1e300}) == [0, 1]


DAYS = [dt.date(2019, 12, 31), dt.date(2020, 1, 1), dt.date(2020, 1, 2), None]


@pytest.mark.parametrize("type_", [pa.date32(), pa.date64()], ids=str)
def test_dates_have_limits(type_: pa.DataType) -> None:
    rule = {"min": dt.date(2020, 1, 1), "max": "2020-01-01"}
    assert broken(pa.array(DAYS, type_), rule) == [0, 2]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_have_limits(unit: str) -> None:
    values = pa.array([day and dt.datetime(day.year, day.month, day.day, 12) for day in DAYS])
    rule = {"min": "2020-01-01", "max": dt.datetime(2020, 1, 1, 12)}
    assert broken(values.cast(pa.timestamp(unit)), rule) == [0, 2]


def test_moments_are_compared_whatever_their_offset() -> None:
    values = pa.array([dt.datetime(2020, 1, 1, 11), dt.datetime(2020, 1, 1, 12)])
    values = values.cast(pa.timestamp("ms")).cast(pa.timestamp("ms", "+02:00"))
    assert broken(values, {"min": "2020-01-01T13:30:00+02:00"}) == [0]


@pytest.mark.parametrize(
    ("values", "allowed", "rows"),
    [
        (["a", "b", None], ["a"], [1]),
        (pa.array(["a", "b"], pa.large_string()), ["a"], [1]),
        (pa.array([1, 2], pa.int8()), [2, 1000], [0]),
        (pa.array([0.1, 0.2], pa.float32()), [0.1], [1]),
        ([True, False], [True], [1]),
        (DAYS, ["2020-01-01", dt.date(2020, 1, 2)], [0]),
    ],
    ids=str,
)
def test_only_allowed_values_and_null_pass(
    values: Any, allowed: list[Any], rows: list[int]
) -> None:
    assert broken(values, {"allowed": allowed}) == rows


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [("[A-Z]{2}", [1, 2, 3, 4, 5]), ("^[A-Z]{2}$", [1, 2, 3, 4, 5]), ("DE|x", [1, 2, 3, 4, 5])],
)
def test_pattern_is_matched_by_the_whole_text(pattern: str, rows: list[int]) -> None:
    values = ["DE", "DEU", "xDE", "de", "DE\n", "", None]
    assert broken(values, {"pattern": pattern}) == rows


@given(st.lists(st.none() | st.text("ab\n", max_size=4), max_size=6))
def test_pattern_means_what_python_means_by_it(values: list[str | None]) -> None:
    pattern = "a+b?|b.a"
    expected = [
        row
        for row, value in enumerate(values)
        if value is not None and not re.fullmatch(pattern, value)
    ]
    assert broken(pa.array(values, pa.string()), {"pattern": pattern}) == expected


def test_pattern_that_makes_other_engines_backtrack_is_done_at_once() -> None:
    assert broken(["a" * 50_000 + "!"], {"pattern": "(a+)+"}) == [0]


def test_reason_names_the_column_the_value_and_the_limit() -> None:
    _, violations = apply({"population": [5, -5]}, {"population": {"min": 0}})
    assert violations == [Violation(1, "population: -5 is below the minimum 0")]


def test_reasons_of_one_row_are_joined_and_rows_are_in_order() -> None:
    data = {"n": [1, 9, None], "code": ["DE", "xx", "yy"]}
    rules = {"n": {"max": 5, "required": True}, "code": {"pattern": "[A-Z]+", "allowed": ["DE"]}}
    _, violations = apply(data, rules)
    assert [violation.row for violation in violations] == [1, 2]
    assert violations[0].reason.startswith("n: 9 is above the maximum 5; code: 'xx' ")
    assert violations[0].reason.count("; ") == 2


def test_reason_with_a_long_value_stays_short() -> None:
    _, violations = apply({"a": ["x" * 10_000]}, {"a": {"allowed": ["y" * 10_000, "z"]}})
    assert len(violations[0].reason) < 300


def test_reason_has_no_nul_character_which_postgresql_refuses() -> None:
    _, violations = apply({"a": ["x\0y"]}, {"a": {"allowed": ["z"]}})
    assert "\0" not in violations[0].reason


def test_rows_of_a_slice_are_counted_from_its_start() -> None:
    batch = pa.record_batch({"a": ["x", "1", "y", None]}).slice(1)
    rule = {"type": "integer", "required": True}
    assert [violation.row for violation in apply(batch, {"a": rule})[1]] == [1, 2]


def test_batch_without_rows_passes() -> None:
    rules = {"a": {"type": "integer", "min": 0, "default": 1, "required": True, "allowed": [1]}}
    batch, violations = apply({"a": pa.array([], pa.string())}, rules)
    assert (batch.num_rows, batch.schema.field("a").type, violations) == (0, pa.int64(), [])


def test_broken_rule_that_stops_names_column_value_count_and_remedy() -> None:
    rule = {"min": 0, "on_violation": "stop"}
    with pytest.raises(SourceError) as caught:
        apply({"Pop": [1, -5, -6]}, {"pop": rule})
    error = caught.value
    assert error.thing == "column 'Pop'"
    assert error.problem.startswith("-5 is below the minimum 0 (2 of 3 rows ")
    assert "attribute_rules.columns.pop.on_violation: quarantine" in error.remedy


def test_value_that_can_not_be_converted_stops_the_job_when_the_rule_says_so() -> None:
    with pytest.raises(SourceError, match="column 'a': 'x' is no integer"):
        apply({"a": ["x"]}, {"a": {"type": "integer", "on_violation": "stop"}})


def test_text_that_is_not_in_its_encoding_is_a_clear_error() -> None:
    with pytest.raises(SourceError, match=r"column 'a': its text.*converter_params\.encoding"):
        apply({"a": bad_utf8()}, {"a": {"type": "integer"}})


# Types


@pytest.mark.parametrize(
    ("type_", "sql", "arrow"),
    [
        ("text", "text", pa.string()),
        ("integer", "bigint", pa.int64()),
        ("number", "double precision", pa.float64()),
        ("boolean", "boolean", pa.bool_()),
        ("date", "date", pa.date32()),
        ("timestamp", "timestamp without time zone", pa.timestamp("us")),
        ("timestamptz", "timestamp with time zone", pa.timestamp("us", "UTC")),
        ("json", "jsonb", pa.json_()),
    ],
)
def test_text_becomes_the_type_that_is_asked_for(type_: str, sql: str, arrow: pa.DataType) -> None:
    data = {"a": pa.array([None], pa.string())}
    planned = plan(data, {"a": {"type": type_}})
    batch, violations = apply(data, {"a": {"type": type_}})
    assert [column.sql_type for column in planned.columns] == [sql]
    assert [column.sql_type for column in plan_columns(batch.schema)] == [sql]
    assert (batch.column(0).type, violations) == (arrow, [])


BAD = ...


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        (["12", " 12 ", "+5", "-3", "007", "12.0"], "integer", [12, 12, 5, -3, 7, 12]),
        (["1.5", "1,5", "0x1F", "1e3", "x", "1 2"], "integer", [BAD] * 6),
        (["9223372036854775807", "9223372036854775808"], "integer", [2**63 - 1, BAD]),
        (["-9223372036854775808", "9" * 40], "integer", [-(2**63), BAD]),
        ([2.0, 1.5, 1e19, math.nan, math.inf, None], "integer", [2, BAD, BAD, BAD, BAD, None]),
        ([-(2.0**63), 2.0**63], "integer", [-(2**63), BAD]),
        ([True, False, None], "integer", [1, 0, None]),
        (pa.array([1, 2**64 - 1], pa.uint64()), "integer", [1, BAD]),
        ([Decimal("2.00"), Decimal("1.50")], "integer", [2, BAD]),
        (["1.5", ".5", "5.", "1e5", "-2E-1"], "number", [1.5, 0.5, 5.0, 1e5, -0.2]),
        (["1,5", "nan", "inf", "1e400", "1e-400", "x"], "number", [BAD] * 6),
        (["0.30000000000000004", "12345678901234567890"], "number", [0.1 + 0.2, BAD]),
        (["0.10000000000000000000", "9007199254740993"], "number", [0.1, BAD]),
        ([2**53, 2**53 + 1, 2**60, 3], "number", [2.0**53, BAD, 2.0**60, 3.0]),
        ([Decimal("1.50")], "number", [1.5]),
        (
            ["T", "yes", "1", "oFF", "0", "oui", "2"],
            "boolean",
            [True] * 3 + [False] * 2 + [BAD] * 2,
        ),
        ([1, 0, 2, None], "boolean", [True, False, BAD, None]),
        ([1.0, 0.5], "boolean", [True, BAD]),
        (["2020-02-29", "2021-02-29", "2020-13-01"], "date", [dt.date(2020, 2, 29), BAD, BAD]),
        (["31.12.2020", "2020-1-1", "20200101", "0000-01-01"], "date", [BAD] * 4),
        (
            [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, 12), None],
            "date",
            [dt.date(2020, 1, 1), BAD, None],
        ),
        (
            ["2020-01-01", "2020-01-01 12:30", "2020-01-01T12:30:01.25"],
            "timestamp",
            [
                dt.datetime(2020, 1, 1),
                dt.datetime(2020, 1, 1, 12, 30),
                dt.datetime(2020, 1, 1, 12, 30, 1, 250_000),
            ],
        ),
        (
            ["2020-01-01T12:00:00Z", "2020-01-01 25:00", "2020-01-01T00:00:00.1234567"],
            "timestamp",
            [BAD] * 3,
        ),
        ([dt.date(2020, 1, 1)], "timestamp", [dt.datetime(2020, 1, 1)]),
        (
            ["2020-01-01T12:00:00Z", "2020-01-01 12:00+02", "2020-01-01T12:00:00-0230"],
            "timestamptz",
            [
                dt.datetime(2020, 1, 1, 12, tzinfo=UTC),
                dt.datetime(2020, 1, 1, 10, tzinfo=UTC),
                dt.datetime(2020, 1, 1, 14, 30, tzinfo=UTC),
            ],
        ),
        (["2020-01-01T12:00:00", "2020-01-01"], "timestamptz", [BAD] * 2),
        (['{"a": 1}', "[1", "NaN", '"\\ud800"', "word"], "json", ['{"a": 1}'] + [BAD] * 4),
        (["[" * 100_000], "json", [BAD]),
        ([1, -2, None], "text", ["1", "-2", None]),
        ([1.5, 0.1], "text", ["1.5", "0.1"]),
        ([True], "text", ["true"]),
        ([dt.date(2020, 1, 1)], "text", ["2020-01-01"]),
        ([Decimal("1.50")], "text", ["1.50"]),
        (json_array(['{"a": 1}', None]), "text", ['{"a": 1}', None]),
        (json_array(["1", None]), "json", ["1", None]),
    ],
    ids=str,
)
def test_value_becomes_another_type_exactly_or_breaks_the_rule(
    values: Any, type_: str, expected: list[Any]
) -> None:
    assert converted(values, type_) == expected


@pytest.mark.parametrize("type_", ["integer", "number", "boolean", "date", "timestamp", "json"])
def test_blank_text_is_no_value_where_text_is_not_what_is_asked_for(type_: str) -> None:
    assert converted(["", "  ", "\t"], type_) == [None, None, None]


def test_blank_text_in_a_required_integer_breaks_the_rule_as_missing() -> None:
    _, violations = apply({"a": [""]}, {"a": {"type": "integer", "required": True}})
    assert violations == [Violation(0, "a: it has no value, and must have one")]


def test_value_that_can_not_be_converted_is_not_also_called_missing() -> None:
    _, violations = apply({"a": ["x"]}, {"a": {"type": "integer", "required": True}})
    assert [violation.reason.count("; ") for violation in violations] == [0]


def test_checks_are_on_the_converted_value() -> None:
    assert broken(["9", "10", "x"], {"type": "integer", "min": 10}) == [0, 2]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_integers_survive_as_text_and_back(values: list[int | None]) -> None:
    texts = converted(pa.array(values, pa.int64()), "text")
    assert texts == [value if value is None else str(value) for value in values]
    assert converted(pa.array(texts, pa.string()), "integer") == values


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_survive_as_text_and_back(values: list[float | None]) -> None:
    texts = converted(pa.array(values, pa.float64()), "text")
    assert converted(pa.array(texts, pa.string()), "number") == values


@given(st.integers(-(10**30), 10**30))
def test_integer_as_text_is_taken_just_when_64_bits_hold_it(value: int) -> None:
    expected = value if -(2**63) <= value < 2**63 else BAD
    assert converted([str(value)], "integer") == [expected]


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=6)
    | st.decimals(-(10**6), 10**6, allow_nan=False, places=20)
)
def test_number_that_is_taken_has_the_digits_of_its_text(value: Decimal) -> None:
    (result,) = converted([f"{value:f}"], "number")
    with localcontext(prec=1000):
        shortest = value.normalize()
        if len(shortest.as_tuple().digits) <= 15:
            assert result == float(value)
        if result is not BAD:
            assert Decimal(result).quantize(shortest) == value


@given(st.lists(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))))
def test_timestamps_written_by_python_are_read(values: list[dt.datetime]) -> None:
    texts = pa.array([value.isoformat() for value in values], pa.string())
    assert converted(texts, "timestamp") == values


@given(st.lists(st.dates()))
def test_dates_written_by_python_are_read(values: list[dt.date]) -> None:
    texts = pa.array([value.isoformat() for value in values], pa.string())
    assert converted(texts, "date") == values


@given(
    st.text(max_size=12),
    st.sampled_from(["integer", "number", "boolean", "date", "timestamp", "timestamptz", "json"]),
)
def test_no_text_whatever_makes_a_conversion_fail(text: str, type_: str) -> None:
    assert len(converted([text], type_)) == 1


@pytest.mark.parametrize("type_", ["integer", "number", "date", "timestamp", "timestamptz"])
@given(text=st.text("0123456789-+:.TZ eE", max_size=24))
def test_no_text_of_digits_and_signs_makes_a_conversion_fail(type_: str, text: str) -> None:
    assert len(converted([text], type_)) == 1


# The whole path

columns = st.one_of(
    *(
        st.lists(st.none() | items, min_size=3, max_size=3).map(
            lambda values, type_=type_: pa.array(values, type_)
        )
        for items, type_ in [
            (st.integers(-(2**31), 2**31 - 1), pa.int32()),
            (st.integers(-(2**63), 2**63 - 1), pa.int64()),
            (st.integers(0, 255), pa.uint8()),
            (st.floats(allow_nan=False), pa.float64()),
            (st.floats(width=32, allow_nan=False), pa.float32()),
            (st.booleans(), pa.bool_()),
            (st.text(st.characters(codec="utf-8", min_codepoint=1)), pa.string()),
            (st.dates(), pa.date32()),
            (st.datetimes(), pa.timestamp("us")),
            (st.binary(), pa.binary()),
            (st.lists(st.integers(-5, 5)), pa.list_(pa.int64())),
        ]
    )
)
titles = st.text(st.characters(codec="utf-8", min_codepoint=1), max_size=70)
"""Without NUL, which is refused."""
tables = st.lists(st.tuples(titles, columns), min_size=1, max_size=6)


def made(table: Iterable[tuple[str, pa.Array]]) -> pa.RecordBatch:
    names, arrays = zip(*table, strict=True)
    return pa.RecordBatch.from_arrays(list(arrays), names=list(names))


@given(tables, st.data())
def test_whatever_the_columns_no_value_changes_and_every_name_is_legal(
    table: list[tuple[str, pa.Array]], data: st.DataObject
) -> None:
    batch = made(table)
    # Published names are unique; one that is also another column's own name would mean that one.
    names = [
        column.name
        for column in plan_columns(batch.schema)
        if column.name == column.original or column.name not in batch.schema.names
    ]
    ruled = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    planned = plan(batch, {name: {"required": True} for name in ruled})
    result, violations = apply_rules(batch, planned)
    encoded, cells = encode_attributes(result, planned.columns)
    assert [array.to_pylist() for array in encoded] == [a.to_pylist() for a in batch.columns]
    assert cells == 0
    published = [column.name for column in planned.columns]
    assert len(set(published)) == len(published)
    assert [check_identifier(name) for name in published] == published
    assert not set(published) & (RESERVED | TAKEN)
    checked = [batch.column(check.index).to_pylist() for check in planned.checks]
    expected = [row for row in range(3) if any(values[row] is None for values in checked)]
    assert [violation.row for violation in violations] == expected
    assert len(planned.checks) == len(ruled)


@given(tables)
def test_columns_as_text_still_say_the_same(table: list[tuple[str, pa.Array]]) -> None:
    simple = [
        (f"c{i}", array)
        for i, (_, array) in enumerate(table)
        if not pa.types.is_list(array.type) and not pa.types.is_binary(array.type)
    ]
    batch = made([*simple, ("last", pa.array([1, 2, 3]))])
    rules = {name: {"type": "text"} for name in batch.schema.names}
    result, violations = apply(batch, rules)
    (*encoded, _), _ = encode_attributes(result, plan(batch, rules).columns)
    assert violations == []
    for before, after in zip(batch.columns, encoded, strict=False):
        back = [None if v is None else _read(v, before.type) for v in after.to_pylist()]
        assert back == before.to_pylist()


def _read(text: str, type_: pa.DataType) -> Any:
    """Python's own reading of a value's text."""
    if pa.types.is_boolean(type_):
        return json.loads(text)
    if pa.types.is_integer(type_):
        return int(text)
    if pa.types.is_float32(type_):
        return pa.scalar(float(text), pa.float32()).as_py()
    if pa.types.is_floating(type_):
        return float(text)
    if pa.types.is_date(type_):
        return dt.date.fromisoformat(text)
    return dt.datetime.fromisoformat(text) if pa.types.is_timestamp(type_) else text
