"""Searches as people write them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.catalog.query import Query, Sort, parse_bbox, parse_filter, parse_period
from geo_etl.errors import SpecError

LONGITUDES = st.floats(-180, 180)
LATITUDES = st.floats(-90, 90)


@given(LONGITUDES, LATITUDES, LONGITUDES, LATITUDES, st.sampled_from([",", " ", ", ", "  "]))
def test_a_box_is_read_as_it_is_written(
    west: float, first: float, east: float, second: float, between: str
) -> None:
    box = (west, min(first, second), east, max(first, second))

    assert parse_bbox(between.join(map(repr, box))) == box


@given(st.text("0123456789.,- einfa", max_size=40))
def test_a_text_is_a_box_on_the_earth_or_refused(text: str) -> None:
    try:
        west, south, east, north = parse_bbox(text)
    except SpecError:
        return
    assert -180 <= west <= 180
    assert -180 <= east <= 180
    assert -90 <= south <= north <= 90


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "four numbers"),
        ("1,2,3", "four numbers"),
        ("1,2,3,4,5,6", "four numbers"),
        ("1,2,x,4", "four numbers"),
        ("nan,0,1,1", "finite"),
        ("-inf,0,1,1", "finite"),
        ("-181,0,1,1", "beyond"),
        ("0,-91,1,1", "beyond"),
        ("0,2,1,1", "north of"),
    ],
)
def test_what_is_no_box_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem) as caught:
        parse_bbox(text)
    assert "WEST,SOUTH,EAST,NORTH" in caught.value.remedy


def test_a_box_over_the_antimeridian_is_searched_in_two_parts() -> None:
    search = Query(10, bbox=(170.0, -10.0, -170.0, 10.0)).as_search()

    edges = [
        (min(x for x, _ in ring), max(x for x, _ in ring))
        for (ring,) in search["intersects"]["coordinates"]
    ]
    assert edges == [(170.0, 180.0), (-180.0, -170.0)]


MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(
    lambda moment: moment.isoformat()
)
DAYS = st.dates().map(date.isoformat)
OPEN = st.sampled_from(["", ".."])


@given(st.one_of(MOMENTS, DAYS))
def test_a_moment_or_a_day_is_read_as_it_is_written(text: str) -> None:
    assert parse_period(text) == text


@given(st.one_of(MOMENTS, DAYS), OPEN)
def test_either_end_may_be_open(text: str, end: str) -> None:
    assert parse_period(f"{text}/{end}") == f"{text}/.."
    assert parse_period(f"{end}/{text}") == f"../{text}"


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC)),
    st.timedeltas(timedelta(seconds=1), timedelta(days=300)),
)
def test_an_interval_ends_after_it_begins(begin: datetime, length: timedelta) -> None:
    ends = begin.isoformat(), (begin + length).isoformat()

    assert parse_period("/".join(ends)) == "/".join(ends)
    with pytest.raises(SpecError, match="ends before it begins"):
        parse_period("/".join(reversed(ends)))


def test_a_day_at_the_end_is_all_of_it() -> None:
    assert parse_period("2024-05-01T12:00:00Z/2024-05-01") == "2024-05-01T12:00:00Z/2024-05-01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "../..",
        "..",
        "today",
        "2024",
        "2024-13-01",
        "2024-02-30",
        "20240501",
        "2024-05-01T12:00:00",
        "2024-05-01 12:00:00Z",
        "2024-05-01T25:00:00Z",
        "P1D/2024-05-01",
        "2024-05-01/2024-05-02/2024-05-03",
    ],
)
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="datetime"):
        parse_period(text)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("gsd < 10", {"op": "<", "args": [{"property": "gsd"}, 10]}),
        ("gsd < 1.5", {"op": "<", "args": [{"property": "gsd"}, 1.5]}),
        (
            "\"geo_etl:data_kind\" = 'imagery'",
            {"op": "=", "args": [{"property": "geo_etl:data_kind"}, "imagery"]},
        ),
        ("gsd IN (5, 10)", {"op": "in", "args": [{"property": "gsd"}, [5, 10]]}),
    ],
)
def test_a_filter_is_read_as_cql2(text: str, parsed: dict[str, Any]) -> None:
    assert parse_filter(text) == parsed


def test_a_filter_tells_its_properties() -> None:
    query = Query.parse(
        1,
        cql2="gsd < 1 AND (NOT title LIKE 'a%' OR casei(title) = casei('B'))",
        sort=["-created"],
    )

    assert query.properties == ("gsd", "title", "created")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "character 1:"),
        ("gsd <", "character 6:"),
        ("gsd\n<", "line 2, character"),
        ("gsd", "true or false"),
        ("'gsd'", "true or false"),
        ("T_AFTER(datetime, 'soon')", "true or false"),
        ("S_INTERSECTS(geometry, POLYGON((0 0,1 0)))", "true or false"),
        ("datetime > DATE('2024-05-01')", "compares with a DATE"),
        ("datetime IN (DATE('2024-05-01'))", "compares with a DATE"),
    ],
)
def test_what_is_no_filter_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem) as caught:
        parse_filter(text)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "NOT " * 5000 + "a = 1",
        "NOT " * 40 + "a = 1",
        "(" * 10_000 + "a = 1" + ")" * 10_000,
        "a = " + "-" * 5000 + "1",
        "a = " + "1 + " * 5000 + "1",
        "a = " + "casei(" * 150 + "'x'" + ")" * 150,
        "a = 1" + " OR a = 1" * 20_000,
    ],
)
def test_a_filter_that_is_too_deep_is_refused_at_once(text: str) -> None:
    with pytest.raises(SpecError, match=r"too large or too deep|in one another"):
        parse_filter(text)


def test_brackets_in_a_text_are_no_depth() -> None:
    text = "(" * 1000
    assert parse_filter(f"title = '{text}'")["args"][1] == text


@pytest.mark.parametrize(
    ("text", "sort"),
    [("gsd", Sort("gsd", False)), ("+gsd", Sort("gsd", False)), ("-gsd", Sort("gsd", True))],
)
def test_a_dash_sorts_the_largest_first(text: str, sort: Sort) -> None:
    assert Sort.parse(text) == sort


@pytest.mark.parametrize("text", ["", "-", "+", " "])
def test_a_sort_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="names no property"):
        Sort.parse(text)
