"""Value types of rasters as JSON for jsonb, and back."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.ingest.clock import Span
from geo_etl.raster.facts import Band, Grid, Histogram, RasterFacts, Statistics
from geo_etl.raster.manifest import Made, Piece, PieceReport, Profile, Proof
from geo_etl.raster.records import from_record, to_record
from geo_etl.spec import RasterSpec
from geo_etl_tests.raster_facts import band, facts, made, order

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
numbers = st.floats(allow_nan=False)


def strict(record: object) -> object:
    """A record as a strict JSON parser gives it back: jsonb takes no NaN."""
    return json.loads(json.dumps(record, allow_nan=False))


def resolved(kind: type[object]) -> st.SearchStrategy[object]:
    st.register_type_strategy(Affine, st.builds(Affine, *[numbers] * 6))
    st.register_type_strategy(float, numbers)
    st.register_type_strategy(str, texts)
    return st.from_type(kind)


@pytest.mark.parametrize(
    "kind", [Grid, Statistics, Histogram, Band, RasterFacts, Profile, Proof, Piece, Made, Span]
)
def test_every_value_type_comes_back_as_it_was(kind: type[object]) -> None:
    @given(resolved(kind))
    def round_trip(value: object) -> None:
        assert from_record(kind, strict(to_record(value))) == value

    round_trip()


@pytest.mark.parametrize("nodata", [float("nan"), float("inf"), float("-inf")])
def test_nodata_that_json_has_not_survives(nodata: float) -> None:
    record = strict(to_record(band(nodata=nodata)))

    assert repr(from_record(Band, record).nodata) == repr(nodata)


def test_numbers_of_numpy_are_plain_numbers() -> None:
    statistics = Statistics(np.int64(3), np.float32(0.5))  # type: ignore[arg-type]

    assert to_record(statistics)["valid"] == 3
    assert to_record(statistics)["minimum"] == 0.5
    assert json.dumps(to_record(statistics))


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_text_that_jsonb_does_not_take_is_replaced(text: str) -> None:
    found = facts(tags=(("AREA", text),))

    (_, kept), *_ = to_record(found)["tags"]

    assert "\0" not in kept
    assert kept.encode()
    assert kept[0] + kept[-1] == "ab"


def test_an_order_comes_back_with_its_spec_and_time() -> None:
    modified = datetime(2020, 1, 2, 3, 4, 5, 678, timezone(timedelta(hours=2)))
    one = replace(order(nodata=float("nan"), output_tier="all"), modified=modified)

    back = from_record(type(one), strict(to_record(one)))

    assert back.modified == modified
    assert repr(back.spec) == repr(one.spec)
    assert isinstance(back.spec, RasterSpec)


def test_a_report_comes_back_with_its_files() -> None:
    one = PieceReport(0, (made(), made("archive")), b"\x89PNG", Span(1.5, 2.5))

    assert from_record(PieceReport, strict(to_record(one))) == one


def test_a_record_from_before_a_field_was_there_is_read_with_its_default() -> None:
    @dataclass
    class Then:
        count: int

    @dataclass
    class Now:
        count: int
        names: tuple[str, ...] = ("none",)

    assert from_record(Now, strict(to_record(Then(3)))) == Now(3)


def test_a_record_of_something_else_is_refused() -> None:
    @dataclass
    class One:
        count: int

    with pytest.raises(TypeError, match="count"):
        from_record(One, {"size": 3})


def test_what_has_no_record_is_refused() -> None:
    @dataclass
    class Odd:
        when: object

    with pytest.raises(TypeError, match="object has no record"):
        to_record(Odd(object()))


def test_a_time_keeps_its_offset() -> None:
    assert to_record(datetime(2020, 1, 2, tzinfo=UTC)) == "2020-01-02T00:00:00+00:00"
