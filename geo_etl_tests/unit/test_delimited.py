"""Delimited text: every cell and every geometry, or a clear word on why not."""

import codecs
import csv
import datetime
import io
import random
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.errors import SourceError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.formats import delimited, delimited_text
from geo_etl.vector.formats.delimited_rows import read_rows
from geo_etl.vector.formats.delimited_text import last_row_end, row_pattern
from geo_etl.vector.formats.layer import FID, GEOMETRY, PROBLEM, Layer
from geo_etl.vector.source import open_layer


def spec(limits: Any = None, **converter_params: Any) -> VectorSpec:
    values: dict[str, Any] = {"converter_params": converter_params}
    if limits:
        values["limits"] = limits
    return resolve_vector_spec([SpecLayer("test", values)])


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    """Open text (or bytes) as a layer."""

    def open_(content: str | bytes, **params: Any) -> Layer:
        path = tmp_path / "t.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return open_layer(path, "t.csv", spec(**params))

    return open_


@pytest.fixture
def refusal(opened: Any) -> Any:
    """The error that text (or bytes) gives."""

    def refuse(content: str | bytes, **params: Any) -> str:
        with pytest.raises(SourceError) as caught:
            list(opened(content, **params).batches())
        assert caught.value.thing == "t.csv"
        return str(caught.value)

    return refuse


def rows(layer: Layer) -> list[dict[str, Any]]:
    return [row for batch in layer.batches() for row in batch.to_pylist()]


def column(layer: Layer, name: str) -> list[Any]:
    return [row[name] for row in rows(layer)]


def geometries(layer: Layer) -> list[str | None]:
    return [
        row[GEOMETRY] and shapely.from_wkb(row[GEOMETRY]).wkt.replace(" (", "(")
        for row in rows(layer)
    ]


def problems(layer: Layer) -> list[str | None]:
    return column(layer, PROBLEM)


def types(layer: Layer) -> dict[str, str]:
    (schema,) = {batch.schema for batch in layer.batches()}
    return {field.name: str(field.type) for field in schema if "\ue000" not in field.name}


def table(*cells: str, header: str = "v", delimiter: str = ";") -> str:
    """A table with points and one more column."""
    lines = [delimiter.join(["x", "y", header]), *(delimiter.join(["1", "2", c]) for c in cells)]
    return "\n".join(lines) + "\n"


# Dialect


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_recognised(opened: Any, delimiter: str) -> None:
    layer = opened(table("a", "b", delimiter=delimiter))
    assert column(layer, "v") == ["a", "b"]


def test_delimiter_in_quotes_is_text(opened: Any) -> None:
    layer = opened('x;y;"a,b,c,d"\n1;2;"p,q;r,s"\n')
    assert column(layer, "a,b,c,d") == ["p,q;r,s"]


def test_delimiter_is_what_makes_rows_as_long_as_the_header(opened: Any) -> None:
    layer = opened("x;y;size (m, ft, km)\n1;2;a\n3;4;b\n")
    assert column(layer, "size (m, ft, km)") == ["a", "b"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_row_ends_and_quoted_row_ends(opened: Any, end: str) -> None:
    layer = opened(f'x,y,v{end}1,2,"a{end}""b"""{end}3,4,c{end}')
    assert column(layer, "v") == [f'a{end}"b"', "c"]


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_byte_order_mark_declares_the_encoding(opened: Any, mark: bytes, encoding: str) -> None:
    layer = opened(mark + table("Ærø", "東京").encode(encoding))
    assert list(types(layer)) == ["x", "y", "v"]
    assert column(layer, "v") == ["Ærø", "東京"]


def test_byte_order_mark_wins_over_the_spec_and_says_so(opened: Any) -> None:
    layer = opened(codecs.BOM_UTF8 + table("Ærø").encode(), encoding="cp1252")
    assert column(layer, "v") == ["Ærø"]
    assert any("cp1252" in remark for remark in layer.remarks)


def test_encoding_of_the_spec_is_used(opened: Any) -> None:
    assert column(opened(table("Łódź").encode("cp1250"), encoding="cp1250"), "v") == ["Łódź"]


def test_text_that_is_not_utf8_is_read_as_cp1252_and_says_so(opened: Any) -> None:
    layer = opened(table("Ærø", "Škoda").encode("cp1252"))
    assert column(layer, "v") == ["Ærø", "Škoda"]
    assert any("not UTF-8" in remark and "cp1252" in remark for remark in layer.remarks)


def test_bytes_in_neither_encoding_are_refused_with_their_place(refusal: Any) -> None:
    content = table("a").encode() + b"1;2;\x81\n"
    assert f"0x81 at offset {content.index(0x81)}" in refusal(content)


def test_utf8_with_a_broken_byte_is_not_taken_for_cp1252(refusal: Any) -> None:
    assert "as most of the text is" in refusal(table("Ærø", "Åbo").encode() + b"1;2;\xe6\n")


def test_declared_encoding_that_does_not_fit_is_refused(refusal: Any) -> None:
    assert "is not in ascii" in refusal(table("Ærø").encode(), encoding="ascii")


def test_blank_rows_are_no_features(opened: Any) -> None:
    layer = opened("\n\nx,y,v\n\n1,2,a\n,,\n\n3,4,b\n\n")
    assert (layer.feature_count, column(layer, "v")) == (2, ["a", "b"])
    assert "4 blank rows were skipped." in layer.remarks


def test_empty_last_cell_of_the_file_is_null(opened: Any) -> None:
    assert column(opened('x,y,v,w\n1,2,"a",'), "w") == [None]


def test_missing_cells_are_null_and_said(opened: Any) -> None:
    layer = opened('x,y,v,w\n1,2\n3,4,a,b\n5,6,"c"\n')
    found = [(row["v"], row["w"]) for row in rows(layer)]
    assert found == [(None, None), ("a", "b"), ("c", None)]
    assert any(remark.startswith("2 rows have fewer cells") for remark in layer.remarks)


def test_row_with_too_many_cells_is_a_problem_and_shifts_nothing(opened: Any) -> None:
    layer = opened("x,y,v\n1,2,a\n3,4,Paris, France\n5,6,c\n")
    assert column(layer, "v") == ["a", None, "c"]
    assert column(layer, FID) == [1, 2, 3]
    assert geometries(layer) == ["POINT(1 2)", None, "POINT(5 6)"]
    reasons = problems(layer)
    assert reasons[1] is not None
    assert "3,4,Paris, France" in reasons[1]
    assert (reasons[0], reasons[2]) == (None, None)


def test_empty_cells_behind_the_last_column_do_no_harm(opened: Any) -> None:
    layer = opened("x,y,v\n1,2,a,,\n3,4,b\n")
    assert (column(layer, "v"), problems(layer)) == (["a", "b"], [None, None])
    assert any("behind the last column" in remark for remark in layer.remarks)


def test_nameless_columns_get_a_name(opened: Any) -> None:
    layer = opened("x,y,,column_3\n1,2,a,b\n")
    assert list(types(layer)) == ["x", "y", "column_3_2", "column_3"]
    assert rows(layer)[0]["column_3_2"] == "a"


def test_columns_of_one_name_survive(opened: Any) -> None:
    layer = opened("x,y,n,n,n_2,n\n1,2,a,b,c,d\n")
    assert [rows(layer)[0][name] for name in types(layer)] == [1, 2, "a", "b", "c", "d"]
    assert any("names twice" in remark for remark in layer.remarks)


def test_columns_named_like_ours_survive(opened: Any) -> None:
    layer = opened(f"x,y,{GEOMETRY},{FID}\n1,2,a,b\n")
    assert list(rows(layer)[0].values())[3:5] == ["a", "b"]


def test_table_without_header_is_refused(refusal: Any) -> None:
    assert "no names of columns" in refusal("1,2,3\n4,5,6\n")


def test_header_without_rows_is_refused(refusal: Any) -> None:
    assert "has no features" in refusal("x,y,v\n")


def test_binary_in_disguise_is_refused(refusal: Any) -> None:
    assert "is not delimited text" in refusal(b"x,y\n1,2\n\x00\x01\x02")


def test_empty_quotes_are_empty_text_and_no_quotes_are_null(opened: Any) -> None:
    assert column(opened(table('""', "", "NULL", "null")), "v") == ["", None, "NULL", "null"]


# The same cells as Python's own reader

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
LIKELY = st.sampled_from(
    ['"', '""', "a,b", ";", "\t", "|", "\r\n", "\n", "\ufeff", " ", "1", "1,5", "-0.50", "007"]
    + ["true", "2020-02-30", "2020-02-29", "1e5", "9223372036854775808", "0.1000000000000000055"]
    + ["2020-01-01T00:00:00Z", "nan", "0x10", "", "1234567890123456.78", "1.5e999", "1.5e-400"]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[str]], str, dict[str, Any]]:
    width = draw(st.integers(1, 3))
    row = st.lists(TEXTS | LIKELY, min_size=width, max_size=width)
    end = draw(st.sampled_from(["\r\n", "\n", "\r"]))
    # The writer leaves a CR unquoted where rows end with LF, which no reader can tell.
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])) if end == "\r\n" else 1
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    dialect = {"lineterminator": end, "quoting": quoting, "delimiter": delimiter}
    return draw(st.lists(row, min_size=1, max_size=6)), delimiter, dialect


@given(tables())
def test_any_table_comes_back_cell_for_cell(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[list[list[str]], str, dict[str, Any]]
) -> None:
    cells, _, dialect = made
    text = io.StringIO(newline="")
    writer = csv.writer(text, **dialect)
    names = [f"c{number}" for number in range(len(cells[0]))]
    writer.writerow(["x", "y", *names])
    writer.writerows([["1", "2", *row] for row in cells])
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes(text.getvalue().encode())

    layer = open_layer(path, "t.csv", spec())

    found = rows(layer)
    assert len(found) == len(cells)
    for row, expected in zip(found, cells, strict=True):
        assert row[PROBLEM] is None
        for name, cell in zip(names, expected, strict=True):
            assert means_the_same(row[name], cell), (row[name], cell, types(layer)[name])


def means_the_same(value: Any, cell: str) -> bool:
    """Whether a value says all that its cell did."""
    cell = cell if isinstance(value, str) else cell.strip()
    if value is None or isinstance(value, str):
        return (value or "") == cell
    if isinstance(value, bool):
        return str(value).lower() == cell.lower()
    if isinstance(value, int):
        return str(value) == cell
    if isinstance(value, float):
        digits = len(cell.replace(",", ".").partition(".")[2])
        return float(cell.replace(",", ".")) == value and (
            "e" in cell or f"{value:.{digits}f}" == cell.replace(",", ".")
        )
    if isinstance(value, datetime.datetime):
        return value == datetime.datetime.fromisoformat(cell)
    return isinstance(value, datetime.date) and value.isoformat() == cell


MESSY = st.text(st.sampled_from('ab",;\r\n'), max_size=40)


@given(MESSY, st.integers(0, 40))
def test_rows_are_cut_where_pythons_reader_ends_them(text: str, size: int) -> None:
    """Stray quotes, lone CRs, quotes left open: a cut must never fall into a row."""
    head = text[:size].encode()
    end, _ = last_row_end(head, ",")

    def read(part: str) -> list[list[str]]:
        return [row for row in csv.reader(io.StringIO(part, newline="")) if row]

    assert read(text[:end]) + read(text[end:]) == read(text)


@given(MESSY)
def test_open_quotes_at_the_end_are_seen(text: str) -> None:
    """The reference: a row end put behind becomes part of the last cell."""
    _, is_open = last_row_end(text.encode(), ",")
    found = list(csv.reader(io.StringIO(text + "\n|", newline="")))
    assert is_open == (found[-1] != ["|"])


@given(MESSY)
def test_row_pattern_finds_the_rows_of_pythons_reader(text: str) -> None:
    text += "\n"
    expected = [row for row in csv.reader(io.StringIO(text + "x\n", newline="")) if row]
    found, start = [], 0
    while match := row_pattern(",").match(text.encode(), start):
        start = match.end()
        (row,) = csv.reader(io.StringIO(match.group().decode(), newline="")) or [[]]
        found += [row] if row else []
    if start == len(text):
        assert [*found, ["x"]] == expected


def test_small_blocks_give_the_same_rows(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(1)
    lines = [
        "x,y,v",
        *(f'{n},{n},"{n}{draw.choice(["", chr(10), ", ", "é", "  "])}"' for n in range(80)),
    ]
    content = "\r\n".join(lines).encode()
    layer = opened(content)
    whole, remarks = rows(layer), layer.remarks
    for size in (7, 16, 33):
        monkeypatch.setattr(delimited_text, "BLOCK_BYTES", size)
        layer = opened(content)
        assert (rows(layer), layer.remarks) == (whole, remarks)
    assert [row[FID] for row in whole] == list(range(1, 81))


def test_byte_order_marks_inside_the_text_stay() -> None:
    found = read_rows("\ufeffa,b\n".encode(), ",", 2)
    assert found.cells[0].to_pylist() == ["\ufeffa"]


# Types

DAY = datetime.date(2020, 2, 29)
NOON = datetime.datetime(2020, 2, 29, 12, 0, 0, 500000)


@pytest.mark.parametrize(
    ("cells", "type_", "values"),
    [
        (["1", "-20", "", " 0 "], "int64", [1, -20, None, 0]),
        (["9223372036854775807", "-9223372036854775808"], "int64", [2**63 - 1, -(2**63)]),
        (["9223372036854775808", "1"], "string", ["9223372036854775808", "1"]),
        (["007", "8"], "string", ["007", "8"]),
        (["+49", "49"], "string", ["+49", "49"]),
        (["-0", "1"], "double", [-0.0, 1.0]),
        (["1.50", "2", ".5", "-1."], "double", [1.5, 2.0, 0.5, -1.0]),
        (["00.5"], "string", ["00.5"]),
        (["1.5e7", "1e+07", "1e-7"], "double", [1.5e7, 1e7, 1e-7]),
        (["12E4", "1"], "string", ["12E4", "1"]),
        (["1.5e999", "1"], "string", ["1.5e999", "1"]),
        (["NaN", "1.5"], "string", ["NaN", "1.5"]),
        (["inf", "1.5"], "string", ["inf", "1.5"]),
        (["0x10", "1"], "string", ["0x10", "1"]),
        (["1478464.087426564656198", "1"], "double", [1478464.087426564656198, 1.0]),
        (["1234567890123456.78", "1"], "string", ["1234567890123456.78", "1"]),
        (["9007199254740993", "0.5"], "string", ["9007199254740993", "0.5"]),
        (["0.1", "0.30000000000000004"], "double", [0.1, 0.30000000000000004]),
        (["true", "FALSE", "True"], "bool", [True, False, True]),
        (["true", "yes"], "string", ["true", "yes"]),
        (["true", "1"], "string", ["true", "1"]),
        (["2020-02-29", ""], "date32[day]", [DAY, None]),
        (["2020-02-30"], "string", ["2020-02-30"]),
        (["2020-02-29T12:00:00.5"], "timestamp[us]", [NOON]),
        (["2020-02-29 12:00:00.1234567"], "string", ["2020-02-29 12:00:00.1234567"]),
        (
            ["2020-02-29T12:00:00.5Z", "2020-02-29 14:00:00.5+02:00"],
            "timestamp[us, tz=UTC]",
            [NOON.replace(tzinfo=datetime.UTC)] * 2,
        ),
        (
            ["2020-02-29T12:00:00Z", "2020-02-29T12:00:00"],
            "string",
            ["2020-02-29T12:00:00Z", "2020-02-29T12:00:00"],
        ),
        (["2020-02-29", "2020-02-29T12:00:00"], "string", ["2020-02-29", "2020-02-29T12:00:00"]),
        (["12:13:14"], "string", ["12:13:14"]),
        (["1,5", "2", "-0,25"], "double", [1.5, 2.0, -0.25]),
        (["1,500", "12,345"], "string", ["1,500", "12,345"]),
        (["1,5", "1.5"], "string", ["1,5", "1.5"]),
        (["", ""], "string", [None, None]),
    ],
)
def test_types_that_every_value_reads_as(
    opened: Any, cells: list[str], type_: str, values: list[Any]
) -> None:
    layer = opened(table(*cells))
    assert (types(layer)["v"], column(layer, "v")) == (type_, values)


def test_commas_are_no_decimal_ones_where_they_delimit(opened: Any) -> None:
    assert column(opened('x,y,v\n1,2,"1,5"\n'), "v") == ["1,5"]


def test_decimal_comma_is_said(opened: Any) -> None:
    assert "Numbers with a decimal comma in 'v'." in opened(table("1,5")).remarks


def test_one_value_at_the_very_end_decides(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited_text, "BLOCK_BYTES", 1000)
    cells = [str(n) for n in range(2000)]
    assert column(opened(table(*cells, "007")), "v") == [*cells, "007"]
    assert column(opened(table(*cells, "0.5")), "v") == [*map(float, cells), 0.5]
    monkeypatch.setattr(delimited_text, "BLOCK_BYTES", 4)  # each row is a block
    large = ["9007199254740993", "0.5"]
    assert column(opened(table(*large)), "v") == large


# Columns


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("lon", "lat"),
        ("Longitude", "LATITUDE"),
        ("lng", "latitude"),
        ("geo_longitude", "geo_latitude"),
        ("decimalLongitude", "decimalLatitude"),
        ("lon_dd", "lat_dd"),
        ("X", "Y"),
        ("xcoord", "ycoord"),
        ("POINT_X", "POINT_Y"),
        ("easting", "northing"),
        (" lon", "lat "),
    ],
)
def test_usual_names_are_recognised_and_said(opened: Any, x: str, y: str) -> None:
    layer = opened(f"{y};{x}\n50;10\n")
    assert geometries(layer) == ["POINT(10 50)"]
    assert layer.remarks[0] == f"Geometry from columns '{x}' and '{y}', by their names."
    assert rows(layer)[0][y] == 50


@pytest.mark.parametrize("header", ["platform,longing", "my_lat,my_lon", "lat,x", "a,b"])
def test_part_of_a_word_is_no_name(refusal: Any, header: str) -> None:
    text = refusal(f"{header}\n1,2\n")
    assert all(f"'{name}'" in text for name in header.split(","))
    assert "lat_name" in text
    assert "wkt_column" in text


@pytest.mark.parametrize("header", ["lat,lon,x,y", "lat,lon,longitude", "lat,lat,lon"])
def test_several_pairs_are_refused_with_the_way_out(refusal: Any, header: str) -> None:
    text = refusal(f"{header}\n{','.join('1' * len(header.split(',')))}\n")
    assert "several pairs" in text
    assert "lon_name" in text


def test_named_columns_are_taken(opened: Any) -> None:
    layer = opened("lat,lon,a,b\n1,2,3,4\n", lon_name="b", lat_name="A")
    assert geometries(layer) == ["POINT(4 3)"]


@pytest.mark.parametrize("params", [{"wkt_column": "q"}, {"lat_name": "q", "lon_name": "a"}])
def test_named_column_that_is_not_there_is_refused(refusal: Any, params: Any) -> None:
    text = refusal("a,b\n1,2\n", **params)
    assert "no column 'q'" in text
    assert "'a', 'b'" in text


def test_wkt_goes_before_coordinates_and_says_so(opened: Any) -> None:
    layer = opened("the_geom,lat,lon\nPOINT(3 4),1,2\n")
    assert geometries(layer) == ["POINT(3 4)"]
    assert list(types(layer)) == ["lat", "lon"]
    assert "'lon' and 'lat' are attributes" in layer.remarks[0]


def test_shape_that_is_no_geometry_is_an_attribute(opened: Any) -> None:
    assert column(opened("shape,lat,lon\ncircle,1,2\n"), "shape") == ["circle"]


def test_two_columns_of_wkt_are_refused(refusal: Any) -> None:
    assert "wkt_column" in refusal("wkt,geom\nPOINT(3 4),POINT(1 2)\n")


def test_one_column_of_wkt_needs_no_delimiter(opened: Any) -> None:
    layer = opened('wkt\nLINESTRING(1 2,3 4)\n"POINT(1 2)"\n\n')
    assert geometries(layer) == ["LINESTRING(1 2, 3 4)", "POINT(1 2)"]


# Coordinates


@pytest.mark.parametrize(
    ("cell", "degrees"),
    [
        ("45°12'30\"N", 45 + 12 / 60 + 30 / 3600),
        ("45 12 30 S", -(45 + 12 / 60 + 30 / 3600)),
        ("N45 12.5", 45 + 12.5 / 60),
        ("45º 12′ 30,6″ N", 45 + 12 / 60 + 30.6 / 3600),
        ("45d12m30s S", -(45 + 12 / 60 + 30 / 3600)),
        ("45:12:30", 45 + 12 / 60 + 30 / 3600),
        ("-0 30 0", -0.5),
        ("45.5 N", 45.5),
        ("45.5°", 45.5),
        ("+45.5", 45.5),
        (" 45.5 ", 45.5),
        ("4.55e1", 45.5),
    ],
)
def test_latitudes_in_many_ways(opened: Any, cell: str, degrees: float) -> None:
    (row,) = rows(opened(f"lat;lon\n{cell.replace(chr(34), chr(34))};0\n"))
    assert row[PROBLEM] is None
    assert struct.unpack("<BIdd", row[GEOMETRY])[3] == pytest.approx(degrees, abs=1e-12)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("north", "no coordinate"),
        ("nan", "no coordinate"),
        ("inf", "no coordinate"),
        ("0x10", "no coordinate"),
        ("1,000,000", "no coordinate"),
        ("45 60 0", "60 or more"),
        ("45 12 30 E", "no latitude"),
        ("-45 12 30 S", "two signs"),
        ("45.5 12 30", "fractions"),
        ("91", "not between -90 and 90"),
        ("", "column 'lat' is empty, column 'lon' is not"),
    ],
)
def test_what_is_no_latitude_is_a_problem(opened: Any, cell: str, reason: str) -> None:
    layer = opened(f"lat;lon;n\n1;2;a\n{cell};0;b\n3;4;c\n")
    found = rows(layer)
    assert [row["n"] for row in found] == ["a", "b", "c"]
    assert found[1][GEOMETRY] is None
    assert reason in found[1][PROBLEM]
    assert cell == "" or cell in found[1][PROBLEM] or "91.0" in found[1][PROBLEM]
    assert [row[PROBLEM] for row in found[::2]] == [None, None]


def test_row_without_coordinates_has_no_geometry_and_no_problem(opened: Any) -> None:
    layer = opened('lat,lon,n\n1,2,a\n,,b\n"",  ,c\n')
    assert geometries(layer) == ["POINT(2 1)", None, None]
    assert problems(layer) == [None] * 3


def test_decimal_commas_in_coordinates(opened: Any) -> None:
    layer = opened("lat;lon\n52,5;13,25\n53;9\n")
    assert geometries(layer) == ["POINT(13.25 52.5)", "POINT(9 53)"]
    assert any("decimal comma" in remark for remark in layer.remarks)


def test_commas_that_may_separate_thousands_are_refused(refusal: Any) -> None:
    assert "thousands" in refusal("x;y\n389,123;817,456\n", source_crs="EPSG:25832")


def test_commas_beside_points_are_no_decimal_ones(opened: Any) -> None:
    layer = opened("x;y\n1.5;2.5\n1,234;3\n")
    assert geometries(layer) == ["POINT(1.5 2.5)", None]
    assert "1,234" in (problems(layer)[1] or "")


# CRS


def test_latitudes_and_longitudes_are_wgs84_and_said(opened: Any) -> None:
    layer = opened("lat,lon\n1,2\n3,4\n99,1\n")
    assert layer.crs == "EPSG:4326"
    assert any("EPSG:4326" in remark for remark in layer.remarks)
    assert layer.bounds == (1.0, 1.0, 4.0, 99.0)


def test_metres_have_no_crs(refusal: Any) -> None:
    for content in ("x,y\n1,2\n500000,3\n", "lat,lon\n5e6,5e5\n", "wkt\nPOINT(500000 1)\n"):
        assert "source_crs" in refusal(content)


def test_given_crs_wins(opened: Any) -> None:
    layer = opened("x,y\n500000,5000000\n", source_crs="EPSG:25832")
    assert (layer.crs, geometries(layer)) == ("EPSG:25832", ["POINT(500000 5000000)"])
    assert not any("EPSG:4326" in remark for remark in layer.remarks)


def test_given_crs_in_degrees_keeps_out_what_is_none(opened: Any) -> None:
    layer = opened("x,y\n1,2\n500,3\n", source_crs="EPSG:4258")
    assert geometries(layer) == ["POINT(1 2)", None]
    assert "not between -180 and 180" in (problems(layer)[1] or "")


# WKT


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("point(1 2)", "POINT(1 2)"),
        ("POINT Z (1 2 3)", "POINT Z(1 2 3)"),
        ("  POINT (1 2)  ", "POINT(1 2)"),
        ("SRID=4326;POINT(1 2)", "POINT(1 2)"),
        ("srid=4326; Point(1 2)", "POINT(1 2)"),
        ("0101000000000000000000F03F0000000000000040", "POINT(1 2)"),
        ("0101000020E6100000000000000000F03F0000000000000040", "POINT(1 2)"),
        ("\\x0101000000000000000000f03f0000000000000040", "POINT(1 2)"),
        ("MULTIPOINT(1 2|3 4)", "MULTIPOINT((1 2),(3 4))"),
        ("POINT EMPTY", "POINT EMPTY"),
    ],
)
def test_geometries_as_text(opened: Any, cell: str, expected: str) -> None:
    layer = opened(f'wkt;n\n"{cell.replace("|", ",")}";1\n')
    assert (geometries(layer), problems(layer)) == ([expected], [None])
    assert list(types(layer)) == ["n"]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("POINT (a b)", "is no WKT"),
        ("POINT (1 2", "is no WKT"),
        ("POLYGON ((0 0,1 1))", "is no WKT"),
        ("CIRCULARSTRING(0 0,1 1,2 0)", "has curves"),
        ("GEOMETRYCOLLECTION(CIRCULARSTRING(0 0,1 1,2 0))", "has curves"),
        ("0101000000", "is no WKT"),
        ("01ZZ", "is no WKT"),
        ("GEOMETRYCOLLECTION(" * 100_000 + "POINT(1 2)" + ")" * 100_000, "too deeply"),
        (
            (
                (b"\1" + struct.pack("<II", 7, 1)) * 100_000 + b"\1" + struct.pack("<Idd", 1, 1, 2)
            ).hex(),
            "too deeply",
        ),
    ],
    ids=lambda text: text[:20],
)
def test_bad_wkt_is_a_problem_and_not_lost(opened: Any, cell: str, reason: str) -> None:
    layer = opened(f'n;wkt\na;POINT(1 2)\nb;"{cell}"\nc;\n')
    assert geometries(layer) == ["POINT(1 2)", None, None]
    first, second, third = problems(layer)
    assert (first, third) == (None, None)
    assert second is not None
    assert reason in second
    assert cell[:80] in second
    assert len(second) < 200


def test_srid_gives_the_crs(opened: Any) -> None:
    layer = opened("wkt,n\nSRID=25832;POINT(500000 5000000),1\nPOINT(500001 5000000),2\n")
    assert layer.crs == "EPSG:25832"
    assert any("1 geometries declare no SRID" in remark for remark in layer.remarks)


def test_several_srids_are_refused(refusal: Any) -> None:
    text = refusal("wkt,n\nSRID=25832;POINT(1 2),1\nSRID=25833;POINT(1 2),2\n")
    assert "25832, 25833" in text


# Hostile


def test_quote_that_is_never_closed_is_refused_with_its_line(refusal: Any) -> None:
    text = refusal('x,y,v\n1,2,a\n1,2,"b\n' + "1,2,c\n" * 5)
    assert "never closed" in text
    assert "line 3" in text


def test_row_without_end_is_refused_early(refusal: Any) -> None:
    begin = time.monotonic()
    assert "longer than 64 MB" in refusal(b"x,y,v\n1,2," + b"a" * 80_000_000)
    assert "longer than 64 MB" in refusal(b'x,y,v\n1,2,"' + b"a,\n" * 27_000_000)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("columns", [2_000, 1_000_000])
def test_too_many_columns_are_refused(refusal: Any, columns: int) -> None:
    text = refusal("x,y" + ",a" * columns + "\n")
    assert "2,002 columns" in text or "too long for a header" in text


def test_row_of_a_million_cells_is_a_problem(opened: Any) -> None:
    layer = opened("x,y\n1,2\n" + "1," * 1_000_000 + "1\n")
    first, second = problems(layer)
    assert first is None
    assert second is not None
    assert "1000001 cells" in second
    assert len(second) < 2200


def test_blank_rows_count_for_the_limit(refusal: Any) -> None:
    text = refusal("x,y\n1,2\n" + "\n" * 1000, limits={"max_features": 100})
    assert "the limit is 100" in text


def test_reading_can_be_given_up(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited_text, "BLOCK_BYTES", 100)
    batches = opened(table(*"abc" * 500)).batches()
    assert next(batches).num_rows > 0
    batches.close()
    assert next(batches, None) is None


# Real files


def reference(path: Path) -> tuple[list[str], list[list[str]]]:
    """What Python's csv module reads."""
    delimiters = {"tabs.tsv": "\t", "unicode.tsv": "\t", "pipe_delimiters.csv": "|"}
    delimiter = delimiters.get(path.name, ";" if path.name.startswith("semicolon") else ",")
    csv.field_size_limit(10**8)
    with path.open(newline="", encoding="utf-8") as file:
        header, *found = [row for row in csv.reader(file, delimiter=delimiter) if any(row)]
    return [name or f"column_{number}" for number, name in enumerate(header, 1)], found


# file, columns of x and y or the one of WKT, CRS to give
REAL = [
    ("cycle_hire_xy.csv", ("X", "Y"), None),
    ("delimited_wkt.csv", ("wkt",), None),
    ("rg_cities1000.csv", ("lon", "lat"), None),
    ("roads.csv", ("WKT",), "EPSG:3857"),
    ("world_wkt.csv", ("WKT",), None),
    ("mapnik/64bit_int.csv", ("x", "y"), None),
    ("mapnik/blank_rows.csv", ("x", "y"), None),
    ("mapnik/long_lat.csv", ("long", "lat"), None),
    ("mapnik/mac_newlines.csv", ("x", "y"), None),
    ("mapnik/missing_header.csv", ("x", "y"), None),
    ("mapnik/nulls_and_booleans_as_strings.csv", ("x", "y"), None),
    ("mapnik/nypd.csv", ("geo_longitude", "geo_latitude"), None),
    ("mapnik/pipe_delimiters.csv", ("x", "y"), None),
    ("mapnik/semicolon_delimiters.csv", ("x", "y"), None),
    ("mapnik/tabs.tsv", ("x", "y"), None),
    ("mapnik/unicode.tsv", ("longitude", "latitude"), None),
    ("mapnik/wkt.csv", ("WKT",), None),
    ("mapnik/x_y.csv", ("x", "y"), None),
]


@pytest.mark.parametrize(("file", "columns", "crs"), REAL, ids=[real[0] for real in REAL])
def test_every_cell_and_geometry_of_a_real_file(
    file: str, columns: tuple[str, ...], crs: str | None, shared_data: Path
) -> None:
    path = shared_data / "vector" / "csv" / file
    header, expected = reference(path)

    layer = open_layer(path, path.name, spec(**({"source_crs": crs} if crs else {})))

    found = rows(layer)
    assert layer.crs == (crs or "EPSG:4326")
    assert [row[FID] for row in found] == list(range(1, len(expected) + 1))
    assert layer.feature_count == len(expected)
    attributes = [name for name in header if len(columns) > 1 or name != columns[0]]
    assert list(types(layer)) == attributes
    drawn = []
    for row, cells in zip(found, expected, strict=True):
        by_name = dict(zip(header, cells, strict=True))
        assert row[PROBLEM] is None
        for name in attributes:
            assert means_the_same(row[name], by_name[name]), (row[name], by_name[name])
            assert not isinstance(row[name], str) or row[name] != ""
        if len(columns) > 1:
            x, y = (float(by_name[name]) for name in columns)
            assert row[GEOMETRY] == struct.pack("<BIdd", 1, 1, x, y)
            drawn.append((x, y, x, y))
        else:
            text = by_name[columns[0]]
            assert (row[GEOMETRY] is None) == (text == "")
            if text:
                geometry = shapely.from_wkt(text)
                assert shapely.equals_identical(shapely.from_wkb(row[GEOMETRY]), geometry)
                drawn.append(geometry.bounds)
    low, high = [*zip(*drawn, strict=True)][:2], [*zip(*drawn, strict=True)][2:]
    assert layer.bounds == (*map(min, low), *map(max, high))


def test_degrees_minutes_seconds_of_a_real_file(shared_data: Path) -> None:
    """The file has the letters of latitudes in `lon`: such rows contradict themselves."""
    path = shared_data / "vector" / "csv" / "testdms.csv"
    _, expected = reference(path)

    found = rows(open_layer(path, path.name, spec()))

    degrees = {  # worked out by hand, in seconds: longitude, latitude
        "1": (3930.6, 129080), "2": (3930.6005, 129080), "3": (3930.6, 129549.99),
        "8": (3930.6, 129080), "9": (-3930.6, -129080), "14": (3930.6, 129080),
        "15": (-3930.6, -129080), "16": (3930.6, 129080), "19": (3913.8, 17701.8),
        "24": (12.234 * 3600, 129080),
    }  # fmt: skip
    for row, cells in zip(found, expected, strict=True):
        assert (str(row["id"]), row["description"], row["lon"], row["lat"]) == tuple(cells)
        if cells[0] in degrees:
            x, y = struct.unpack("<BIdd", row[GEOMETRY])[2:]
            assert (x * 3600, y * 3600) == pytest.approx(degrees[cells[0]], abs=1e-8)
            assert row[PROBLEM] is None
        else:
            letters = set("NSEW") & {letter.upper() for letter in cells[2]}
            assert ("is no longitude" in row[PROBLEM]) == bool(letters)
            assert row[GEOMETRY] is None


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("blank.csv", "blank rows"),
        ("latitude_longitude_substring.csv", "'this_is_longitude_yo', 'this_is_latitude_yo'"),
        ("mixed_separators.csv", "one column"),
        ("no_geometry.csv", "no column has a usual name"),
    ],
)
def test_real_files_that_are_refused(file: str, reason: str, shared_data: Path) -> None:
    path = shared_data / "vector" / "csv" / "mapnik" / file
    with pytest.raises(SourceError, match=reason):
        open_layer(path, path.name, spec())


def test_bad_wkt_of_a_real_file(shared_data: Path) -> None:
    path = shared_data / "vector" / "csv" / "mapnik" / "invalid_wkt.csv"
    (row,) = rows(open_layer(path, path.name, spec()))
    assert (row["name"], row[GEOMETRY]) == ("one", None)
    assert "POINT (a b)" in row[PROBLEM]


def test_several_threads_keep_the_order() -> None:
    def later_ones_first(number: int) -> int:
        return sum(range(100_000 // (number + 1))) * 0 + number

    assert list(delimited.in_order(later_ones_first, range(50))) == list(range(50))
