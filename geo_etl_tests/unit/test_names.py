"""Names of columns and tables: legal, unique and still readable."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.vector.names import MAX_BYTES, RESERVED, TAKEN, normalise_name, normalise_names

IDENTIFIER = re.compile(r"^[^\W\d]\w*\Z", re.UNICODE)

# Any text, and texts that are more likely to meet each other or a limit.
originals = st.lists(
    st.text(max_size=80)
    | st.text("aA_1 é道ß", max_size=5)
    | st.text("x道𐐨", min_size=15, max_size=70)
    | st.sampled_from(["select", "Order", "GID", "geom", "xmin", "column_1", "a_2", "A 2", "İ"]),
    max_size=12,
)


@given(originals)
def test_names_are_unique(names: list[str]) -> None:
    result = normalise_names(names)
    assert len(result) == len(names)
    assert len(set(result)) == len(names)


@given(originals)
def test_names_have_at_most_63_bytes(names: list[str]) -> None:
    assert all(len(name.encode()) <= 63 for name in normalise_names(names))


@given(originals)
def test_names_are_lower_case(names: list[str]) -> None:
    result = normalise_names(names)
    assert result == [name.lower() for name in result]


@given(originals)
def test_names_are_legal_identifiers(names: list[str]) -> None:
    result = normalise_names(names)
    assert [name for name in result if not IDENTIFIER.match(name)] == []


@given(originals)
def test_names_are_neither_reserved_nor_taken(names: list[str]) -> None:
    assert set(normalise_names(names)) & (RESERVED | TAKEN) == set()


@given(originals)
def test_names_are_in_composed_form(names: list[str]) -> None:
    assert all(unicodedata.is_normalized("NFC", name) for name in normalise_names(names))


@given(originals)
def test_names_come_out_the_same_every_time(names: list[str]) -> None:
    assert normalise_names(names) == normalise_names(list(names))


@given(originals, originals)
def test_columns_added_at_the_end_leave_the_others_names_alone(
    names: list[str], added: list[str]
) -> None:
    assert normalise_names(names + added)[: len(names)] == normalise_names(names)


@given(st.from_regex(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", fullmatch=True))
def test_a_legal_name_stays_as_it_is(name: str) -> None:
    if name not in RESERVED | TAKEN and len(name) <= MAX_BYTES:
        assert normalise_name(name) == name


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("name", "name"),
        ("BoroName", "boro_name"),
        ("ShapeLENG", "shape_leng"),
        ("HTTPServer", "http_server"),
        ("OBJECTID", "objectid"),
        ("campo e", "campo_e"),
        ("campo-f", "campo_f"),
        ("ADDR:CITY", "addr_city"),
        ("a.b/c", "a_b_c"),
        ("a__b", "a_b"),
        ("  padded  ", "padded_"),
        ("_private", "private"),
        ("2020", "_2020"),
        ("2nd floor", "_2nd_floor"),
        ("½", "_½"),
        ("order", "order_"),
        ("ORDER", "order_"),
        ("User", "user_"),
        ("left", "left_"),
        ("gid", "gid_"),
        ("GEOM", "geom_"),
        ("ctid", "ctid_"),
        ("Straße", "straße"),
        ("ÉTÉ", "été"),
        ("e\u0301te\u0301", "été"),
        ("道路名", "道路名"),
        ("Ελλάδα", "ελλάδα"),
        ("НазваниеУлицы", "названиеулицы"),
        ("a\0b", "a_b"),
        ("tab\tand\nline", "tab_and_line"),
        ("\ud800x", "x"),
        ('a"; drop table b; --', "a_drop_table_b_"),
        ("", "column_"),
        ("!!!", "column_"),
        ("_", "column_"),
    ],
)
def test_name_is_normalised(original: str, expected: str) -> None:
    assert normalise_name(original) == expected


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("x" * 63, "x" * 63),
        ("x" * 64, "x" * 63),
        ("é" * 40, "é" * 31),
        ("道" * 40, "道" * 21),
        ("x" + "道" * 40, "x" + "道" * 20),
        ("𐐨" * 20, "𐐨" * 15),
        ("9" * 70, "_" + "9" * 62),
    ],
)
def test_long_name_is_cut_between_characters(original: str, expected: str) -> None:
    assert normalise_name(original) == expected


def test_dotted_capital_i_leaves_no_gap() -> None:
    assert normalise_name("İstanbul") == "istanbul"


def test_empty_column_is_called_by_its_number() -> None:
    assert normalise_names(["a", "", "!!!"]) == ["a", "column_2", "column_3"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "A", "a ", "a-"], ["a", "a_2", "a_", "a__2"]),
        (["a b", "a-b", "a.b"], ["a_b", "a_b_2", "a_b_3"]),
        (["a", "a_2", "a"], ["a", "a_2", "a_3"]),
        (["order", "ORDER"], ["order_", "order__2"]),
        (["column_2", ""], ["column_2", "column_2_2"]),
        (["x" * 63, "x" * 64, "x" * 65], ["x" * 63, "x" * 61 + "_2", "x" * 61 + "_3"]),
        (["道" * 30, "道" * 31], ["道" * 21, "道" * 20 + "_2"]),
    ],
)
def test_name_met_before_gets_a_number(names: list[str], expected: list[str]) -> None:
    assert normalise_names(names) == expected


def test_the_eleventh_of_equal_names_still_fits() -> None:
    names = normalise_names(["x" * 80] * 11)
    assert names[-1] == "x" * 60 + "_11"


def test_no_columns_give_no_names() -> None:
    assert normalise_names([]) == []
