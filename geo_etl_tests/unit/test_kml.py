"""KML and KMZ: what becomes a feature, an attribute, a geometry, and what is refused."""

import datetime
import json
import math
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.errors import SourceError
from geo_etl.spec import SpecLayer, resolve_vector_spec
from geo_etl.vector.formats import kml_geometry, kml_parser
from geo_etl.vector.formats.layer import FID, GEOMETRY, OWN_COLUMNS, PROBLEM, Layer
from geo_etl.vector.source import open_layer

NAMESPACE = "http://www.opengis.net/kml/2.2"
POINT = "<Point><coordinates>1,2</coordinates></Point>"


def document(content: str, root: str = f'kml xmlns="{NAMESPACE}"') -> str:
    return f"<{root}><Document>{content}</Document></{root.split(maxsplit=1)[0]}>"


def placemark(content: str = "", geometry: str = POINT) -> str:
    return f"<Placemark>{content}{geometry}</Placemark>"


def extended(content: str, geometry: str = POINT) -> str:
    return placemark(f"<ExtendedData>{content}</ExtendedData>", geometry)


def data(**values: str) -> str:
    return extended(
        "".join(f"<Data name='{k}'><value>{v}</value></Data>" for k, v in values.items())
    )


def typed(type_: str, *values: str) -> str:
    """Placemarks with one value each of the field `f`, declared in a schema."""
    cell = "<SchemaData schemaUrl='#s'><SimpleData name='f'>{}</SimpleData></SchemaData>"
    schema = f"<Schema id='s'><SimpleField name='f' type='{type_}'/></Schema>"
    return document(schema + "".join(extended(cell.format(value)) for value in values))


def open_(path: Path, **values: Any) -> Layer:
    return open_layer(path, path.name, resolve_vector_spec([SpecLayer("test", values)]))


def read(path: Path, **values: Any) -> pa.Table:
    return pa.Table.from_batches(open_(path, **values).batches())


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a document to a file called `d.kml`."""

    def write_(content: str | bytes) -> Path:
        path = tmp_path / "d.kml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_


def refusal(path: Path, **values: Any) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, **values)
    assert caught.value.thing == path.name
    return str(caught.value)


def attributes(table: pa.Table) -> list[dict[str, Any]]:
    """Attributes of each feature, without those that are null."""
    return [
        {key: value for key, value in row.items() if key not in OWN_COLUMNS and value is not None}
        for row in table.to_pylist()
    ]


def names(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in OWN_COLUMNS]


def geometries(table: pa.Table) -> list[Any]:
    return list(shapely.from_wkb(table.column(GEOMETRY).to_pylist()))


def geometry(write: Any, content: str) -> Any:
    table = read(write(document(placemark(geometry=content))))
    assert table.column(PROBLEM).to_pylist() == [None]
    return geometries(table)[0]


def problem(write: Any, content: str) -> str:
    """Why a geometry can't be read, beside a feature that can."""
    table = read(write(document(placemark(geometry=content) + placemark())))
    assert table.column(GEOMETRY).is_null().to_pylist() == [True, False]
    assert table.column(PROBLEM)[1].as_py() is None
    return str(table.column(PROBLEM)[0].as_py())


def line(coordinates: str) -> str:
    return f"<LineString><coordinates>{coordinates}</coordinates></LineString>"


def polygon(outer: str, *inner: str) -> str:
    ring = "<LinearRing><coordinates>{}</coordinates></LinearRing>"
    holes = "".join(f"<innerBoundaryIs>{ring.format(one)}</innerBoundaryIs>" for one in inner)
    return f"<Polygon><outerBoundaryIs>{ring.format(outer)}</outerBoundaryIs>{holes}</Polygon>"


# Folders and features


def test_every_placemark_of_every_folder_is_a_feature_with_the_path_of_its_folders(
    write: Any,
) -> None:
    inner = f"<Folder><name> B </name>{placemark()}</Folder>"
    table = read(write(document(f"{placemark()}<Folder><name>A</name>{inner}</Folder>")))
    assert table.column("folder").to_pylist() == [None, "A/B"]
    assert table.column(FID).to_pylist() == [1, 2]


def test_folders_without_a_name_make_no_column(write: Any) -> None:
    table = read(write(document(f"<Folder><name/>{placemark('<name>n</name>')}</Folder>")))
    assert attributes(table) == [{"name": "n"}]


def test_a_document_within_the_document_is_a_folder(write: Any) -> None:
    inner = f"<Document><name>inner</name>{placemark()}</Document>"
    table = read(write(document(f"<name>outer</name>{inner}")))
    assert table.column("folder").to_pylist() == ["inner"]


def test_the_name_of_a_folder_may_come_after_its_placemarks(write: Any) -> None:
    path = write(document(f"<Folder>{placemark()}<name>late</name></Folder>" + placemark()))
    assert read(path).column("folder").to_pylist() == ["late", None]
    assert read(path, converter_params={"layer_name": "late"}).num_rows == 1


def test_a_hundred_nested_folders_are_read(shared_data: Path, write: Any) -> None:
    text = (shared_data / "vector/kml/100_nested_folders.kml").read_text()
    depth = text.count("<Folder")
    first_end = text.index("</Folder>")
    table = read(write(text[:first_end] + placemark("<name>deep</name>") + text[first_end:]))
    assert depth >= 100
    assert attributes(table) == [{"name": "deep"}]


@pytest.mark.parametrize("wanted", ["B", "A/B"])
def test_layer_name_takes_what_lies_below_one_folder(write: Any, wanted: str) -> None:
    below = f"<Folder><name>C</name>{data(c='1')}</Folder>"
    b = f"<Folder><name>B</name>{data(b='1')}{below}</Folder>"
    path = write(document(f"{data(top='1')}<Folder><name>A</name>{data(a='1')}{b}</Folder>"))
    layer = open_(path, converter_params={"layer_name": wanted})
    table = pa.Table.from_batches(layer.batches())
    assert layer.feature_count == 2
    assert attributes(table) == [{"folder": "A/B", "b": "1"}, {"folder": "A/B/C", "c": "1"}]
    assert table.column(FID).to_pylist() == [3, 4]


def test_several_folders_of_the_wanted_name_are_all_read_and_that_is_said(write: Any) -> None:
    twice = f"<Folder><name>X</name>{placemark()}</Folder>" * 2
    layer = open_(write(document(twice + placemark())), converter_params={"layer_name": "X"})
    assert layer.feature_count == 2
    assert "2 folders are called 'X'" in " ".join(layer.remarks)


def test_an_unknown_folder_is_refused_with_those_there_are(write: Any) -> None:
    path = write(
        document(f"<Folder><name>A</name><Folder><name>B</name>{data(b='1')}</Folder></Folder>")
    )
    message = refusal(path, converter_params={"layer_name": "C"})
    assert "no folder 'C'" in message
    assert "'A', 'A/B'" in message


def test_overlays_and_links_are_counted_and_never_followed(write: Any) -> None:
    link = "<NetworkLink><Link><href>http://127.0.0.1:9/x.kml</href></Link></NetworkLink>"
    overlay = "<GroundOverlay><name>o</name></GroundOverlay>"
    layer = open_(write(document(link * 2 + overlay + placemark())))
    assert layer.feature_count == 1
    assert any("1 GroundOverlay, 2 NetworkLink" in remark for remark in layer.remarks)


def test_a_file_of_links_only_is_refused_for_that(shared_data: Path) -> None:
    message = refusal(shared_data / "vector/kml/hier.kmz")
    assert "no features" in message
    assert "2 NetworkLink" in message
    assert "'within.kml'" in message


def test_placemarks_where_kml_has_none_are_counted(write: Any) -> None:
    update = (
        f"<NetworkLinkControl><Update><Change>{placemark()}</Change></Update></NetworkLinkControl>"
    )
    layer = open_(write(f"<kml>{update}{placemark()}</kml>"))
    assert layer.feature_count == 1
    assert any("1 placemarks were not loaded" in remark for remark in layer.remarks)


def test_batches_can_be_read_twice(write: Any) -> None:
    path = write(document(f"<Folder>{data(a='1')}<name>late</name></Folder>" * 3))
    layer = open_(path)
    first, second = list(layer.batches()), list(layer.batches())
    assert first == second
    assert sum(batch.num_rows for batch in first) == layer.feature_count == 3


def test_large_documents_come_in_several_batches_of_one_schema(write: Any) -> None:
    text = "x" * 1_000_000
    path = write(document(placemark(f"<name>{text}</name>") * 40 + data(last="1")))
    batches = list(open_(path).batches())
    assert len(batches) > 1
    assert len({str(batch.schema) for batch in batches}) == 1
    assert sum(batch.num_rows for batch in batches) == 41


# Attributes


def test_kml_elements_have_columns_where_they_occur(write: Any) -> None:
    content = (
        "<name>n</name><visibility>0</visibility><open>true</open><address>a</address>"
        "<phoneNumber>tel:1</phoneNumber><Snippet maxLines='1'>s</Snippet>"
        "<description>d</description><styleUrl>#u</styleUrl><LookAt><altitudeMode>x"
        "</altitudeMode></LookAt>"
    )
    geometry_ = (
        "<Point><extrude>1</extrude><altitudeMode>absolute</altitudeMode>"
        "<coordinates>1,2</coordinates></Point>"
    )
    path = write(document(f"<Placemark id='i'>{content}{geometry_}</Placemark>"))
    table = read(path)
    assert attributes(table) == [
        {
            "name": "n",
            "description": "d",
            "id": "i",
            "address": "a",
            "phoneNumber": "tel:1",
            "snippet": "s",
            "styleUrl": "#u",
            "visibility": False,
            "open": True,
            "altitudeMode": "absolute",
            "extrude": True,
        }
    ]
    assert len(names(table)) == 11


def test_columns_are_the_union_in_order_of_first_appearance(write: Any) -> None:
    path = write(document(data(z="1", a="2") + data(a="3", m="4") + placemark("<name>n</name>")))
    table = read(path)
    assert names(table) == ["name", "z", "a", "m"]
    assert attributes(table) == [{"z": "1", "a": "2"}, {"a": "3", "m": "4"}, {"name": "n"}]


def test_equal_names_do_not_overwrite_each_other(write: Any) -> None:
    schema = "<SchemaData><SimpleData name='name'>schema</SimpleData></SchemaData>"
    twice = "".join(f"<Data name='name'><value>data {n}</value></Data>" for n in (1, 2))
    content = f"<name>own</name><ExtendedData>{twice}{schema}</ExtendedData>"
    table = read(write(document(placemark(content))))
    (row,) = attributes(table)
    assert row["name"] == "own"
    assert Counter(row.values()) == Counter(["own", "data 1", "data 2", "schema"])


def test_an_attribute_called_folder_stays_beside_the_folder(write: Any) -> None:
    path = write(document(f"<Folder><name>A</name>{data(folder='mine')}</Folder>"))
    assert sorted(attributes(read(path))[0].values()) == ["A", "mine"]


def test_html_stays_as_it_was_written(write: Any) -> None:
    html = "\n <b>1 &lt; 2</b><br> &nbsp; "
    table = read(write(document(placemark(f"<description><![CDATA[{html}]]></description>"))))
    assert attributes(table) == [{"description": html}]


def test_markup_without_cdata_stays_markup(write: Any) -> None:
    path = write(document(placemark("<description>a &lt; <b class='x'>bold</b> c</description>")))
    assert attributes(read(path)) == [{"description": 'a &lt; <b class="x">bold</b> c'}]


def test_elements_of_other_namespaces_in_extended_data_are_attributes(write: Any) -> None:
    content = "<camp:number>14</camp:number><camp:site>x</camp:site>"
    path = write(
        document(
            f"<Placemark><ExtendedData xmlns:camp='http://campsites.com'>{content}</ExtendedData>"
            "</Placemark>" + placemark()
        )
    )
    assert attributes(read(path))[0] == {"number": "14", "site": "x"}


def test_elements_of_other_namespaces_are_not_taken_for_kml(write: Any) -> None:
    path = write(
        document(
            "<Placemark xmlns:atom='http://www.w3.org/2005/Atom'><atom:name>author</atom:name>"
            f"<name>n</name>{POINT}</Placemark>"
        )
    )
    assert attributes(read(path)) == [{"name": "n"}]


def test_elements_that_a_schema_derives_from_placemark_are_features(write: Any) -> None:
    schema = "<Schema name='Town' parent='Placemark'><SimpleField name='pop' type='int'/></Schema>"
    town = f"<Town><name>n</name><pop>12</pop>{POINT}</Town>"
    assert attributes(read(write(document(schema + town)))) == [{"name": "n", "pop": 12}]


@pytest.mark.parametrize(
    ("type_", "texts", "arrow", "values"),
    [
        ("int", ["1", " -2 ", ""], pa.int32(), [1, -2, None]),
        ("int", ["1", "3000000000"], pa.int64(), [1, 3_000_000_000]),
        ("uint", ["4294967295"], pa.uint32(), [4_294_967_295]),
        ("short", ["-32768"], pa.int16(), [-32_768]),
        ("ushort", ["65535"], pa.uint16(), [65_535]),
        ("float", ["1.1"], pa.float64(), [1.1]),
        ("double", ["1e3", "-.5", "-INF"], pa.float64(), [1000.0, -0.5, -math.inf]),
        ("xsd:double", ["1"], pa.float64(), [1.0]),
        ("bool", ["1", "false", "True"], pa.bool_(), [True, False, True]),
        ("string", ["007", ""], pa.string(), ["007", ""]),
        ("date", ["2024-02-29"], pa.date32(), [datetime.date(2024, 2, 29)]),
    ],
)
def test_schema_data_has_its_declared_type(
    write: Any, type_: str, texts: list[str], arrow: pa.DataType, values: list[Any]
) -> None:
    column = read(write(typed(type_, *texts))).column("f")
    assert column.type == arrow
    assert column.to_pylist() == values


@pytest.mark.parametrize(
    ("type_", "right", "wrong"),
    [
        ("int", "1", "1.5"),
        ("int", "1", "9223372036854775808"),
        ("int", "1", "1_0"),
        ("double", "1", "1,5"),
        ("double", "1", "1e999"),
        ("bool", "1", "yes"),
        ("date", "2024-02-29", "29.2.2024"),
    ],
)
def test_a_value_that_is_not_of_its_type_makes_the_column_text_and_is_named(
    write: Any, type_: str, right: str, wrong: str
) -> None:
    layer = open_(write(typed(type_, right, wrong)))
    table = pa.Table.from_batches(layer.batches())
    assert table.column("f").to_pylist() == [right, wrong]
    assert any("'f' is text" in remark and wrong in remark for remark in layer.remarks)


def test_schemas_may_come_after_what_they_declare_and_be_named_by_url(write: Any) -> None:
    cell = (
        "<SchemaData schemaUrl='http://x/y.kml#s'><SimpleData name='f'>5</SimpleData></SchemaData>"
    )
    schema = "<Schema id='s'><SimpleField name='f' type='int'/></Schema>"
    assert attributes(read(write(document(extended(cell) + schema)))) == [{"f": 5}]


def test_a_field_that_schemas_declare_differently_is_text(write: Any) -> None:
    schemas = "".join(
        f"<Schema id='{type_}'><SimpleField name='f' type='{type_}'/></Schema>"
        for type_ in ("int", "string")
    )
    cells = "".join(
        extended(
            f"<SchemaData schemaUrl='#{type_}'><SimpleData name='f'>07</SimpleData></SchemaData>"
        )
        for type_ in ("int", "string")
    )
    layer = open_(write(document(schemas + cells)))
    assert attributes(pa.Table.from_batches(layer.batches())) == [{"f": "07"}, {"f": "07"}]
    assert any("int and string" in remark for remark in layer.remarks)


def times(*whens: str) -> str:
    return document(
        "".join(placemark(f"<TimeStamp><when>{when}</when></TimeStamp>") for when in whens)
    )


@pytest.mark.parametrize(
    ("whens", "type_"),
    [
        (["2024-01-02", "2023-12-31"], pa.date32()),
        (["2024-01-02T03:04:05Z", "2024-01-02T03:04:05+02:00"], pa.timestamp("us", "UTC")),
        (["2024-01-02T03:04:05", "2024-01-02T03:04:05.25"], pa.timestamp("us")),
    ],
)
def test_times_have_a_type_where_all_of_them_have_it(
    write: Any, whens: list[str], type_: pa.DataType
) -> None:
    column = read(write(times(*whens))).column("timestamp")
    assert column.type == type_
    assert str(column[0]).startswith(whens[0][:10])


@pytest.mark.parametrize("other", ["2024", "2024-01", "2024-01-02T03:04:05", "-0044-03-15", "noon"])
def test_times_of_several_precisions_stay_text(write: Any, other: str) -> None:
    column = read(write(times("2024-01-02", other))).column("timestamp")
    assert column.to_pylist() == ["2024-01-02", other]


def test_the_offset_of_a_time_is_accounted_for(write: Any) -> None:
    (value,) = read(write(times("2024-01-02T03:04:05+02:00"))).column("timestamp").to_pylist()
    assert value == datetime.datetime(2024, 1, 2, 1, 4, 5, tzinfo=datetime.UTC)


def test_time_spans_have_two_columns(write: Any) -> None:
    span = "<TimeSpan><begin>1959</begin><end>1960</end></TimeSpan>"
    assert attributes(read(write(document(placemark(span))))) == [{"begin": "1959", "end": "1960"}]


def test_more_attributes_than_a_table_has_columns_are_refused(write: Any) -> None:
    path = write(document("".join(data(**{f"c{n}": "1"}) for n in range(1_600))))
    assert "different attributes" in refusal(path)


# Geometry


@pytest.mark.parametrize(
    ("content", "wkt"),
    [
        (POINT, "POINT (1 2)"),
        ("<Point><coordinates> 1,2,3 </coordinates></Point>", "POINT Z (1 2 3)"),
        (line("1,2,0 3,4,0"), "LINESTRING (1 2, 3 4)"),
        (line("1,2,0 3,4,5"), "LINESTRING Z (1 2 0, 3 4 5)"),
        ("<LinearRing><coordinates>0,0 1,0 1,1 0,0</coordinates></LinearRing>",
         "LINESTRING (0 0, 1 0, 1 1, 0 0)"),
        (polygon("0,0 9,0 9,9 0,0", "2,1 3,1 3,2 2,1", "5,1 6,1 6,2 5,1"),
         "POLYGON ((0 0, 9 0, 9 9, 0 0), (2 1, 3 1, 3 2, 2 1), (5 1, 6 1, 6 2, 5 1))"),
        (polygon("0,0 1,0 1,1"), "POLYGON ((0 0, 1 0, 1 1, 0 0))"),
        (f"<MultiGeometry>{POINT}{POINT}</MultiGeometry>", "MULTIPOINT ((1 2), (1 2))"),
        (f"<MultiGeometry>{POINT}</MultiGeometry>", "MULTIPOINT ((1 2))"),
        (f"<MultiGeometry>{line('0,0 1,1,7')}{line('2,2 3,3')}</MultiGeometry>",
         "MULTILINESTRING Z ((0 0 0, 1 1 7), (2 2 0, 3 3 0))"),
        (f"<MultiGeometry><MultiGeometry>{POINT}</MultiGeometry>{line('0,0 1,1')}</MultiGeometry>",
         "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 1 1))"),
        (POINT + POINT, "MULTIPOINT ((1 2), (1 2))"),
        (f"<MultiGeometry>{polygon('0,0 1,0 1,1 0,0')}<Polygon/></MultiGeometry>",
         "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"),
    ],
)  # fmt: skip
def test_geometries(write: Any, content: str, wkt: str) -> None:
    assert geometry(write, content).wkt == shapely.from_wkt(wkt).wkt


@pytest.mark.parametrize(
    "coordinates",
    [
        "\n\t1,2,3\n\n  4,5,6\r\n",
        "1,2,3, 4,5,6,",
        "1, 2, 3 4, 5, 6",
        "1 ,2 ,3 4 , 5,6",
        "1,2,3 , 4,5,6",
        "+1.0,2e0,03 4.,5,6",
    ],
)
def test_untidy_coordinates_are_read(write: Any, coordinates: str) -> None:
    assert geometry(write, line(coordinates)).wkt == "LINESTRING Z (1 2 3, 4 5 6)"


def test_a_missing_altitude_is_zero(write: Any) -> None:
    assert geometry(write, line("1,2 3,4,5 6,7,")).wkt == "LINESTRING Z (1 2 0, 3 4 5, 6 7 0)"


@pytest.mark.parametrize(
    ("coordinates", "why"),
    [
        ("1,2 x,4", "'x,4'"),
        ("1,2 3", "'3'"),
        ("1,2,3,4 5,6,7,8", "'1,2,3,4'"),
        ("1,,3 4,5,6", "'1,,3'"),
        (",2,3 4,5,6", "',2,3'"),
        ("1_0,2 3,4", "'1_0,2'"),
        ("nan,2 3,4", "finite"),
        ("1e999,2 3,4", "finite"),
        ("1,2", "one position only"),
    ],
)
def test_coordinates_that_can_not_be_read_are_a_problem_of_their_feature(
    write: Any, coordinates: str, why: str
) -> None:
    assert why in problem(write, line(coordinates))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<Point><coordinates>1,2 3,4</coordinates></Point>", "2 positions"),
        (polygon("0,0 1,1"), "fewer than three"),
        (polygon("", "0,0 1,0 1,1 0,0"), "0 outer rings"),
        (f"<MultiGeometry>{POINT}{line('1,2 3')}</MultiGeometry>", "'3'"),
    ],
)
def test_geometries_that_can_not_be_are_a_problem_of_their_feature(
    write: Any, content: str, why: str
) -> None:
    assert why in problem(write, content)


@pytest.mark.parametrize(
    "content", ["", "<Point/>", line(""), line(" \n "), "<MultiGeometry/>", "<Polygon/>"]
)
def test_a_placemark_without_a_position_has_no_geometry_and_no_problem(
    write: Any, content: str
) -> None:
    assert geometry(write, content) is None


def test_tracks_are_lines_and_what_is_left_out_is_said(write: Any) -> None:
    track = (
        "<gx:Track><when>2010</when><when>2011</when><gx:coord>1 2 3</gx:coord>"
        "<gx:coord>4 5 6</gx:coord></gx:Track>"
    )
    several = f"<gx:MultiTrack>{track}{track}</gx:MultiTrack>"
    layer = open_(write(document(placemark(geometry=track) + placemark(geometry=several))))
    single, multi = geometries(pa.Table.from_batches(layer.batches()))
    assert single.wkt == "LINESTRING Z (1 2 3, 4 5 6)"
    assert multi.wkt == shapely.MultiLineString([single, single]).wkt
    assert any("2 placemarks" in remark and "times" in remark for remark in layer.remarks)


def test_models_are_points_and_that_is_said(write: Any) -> None:
    location = "<longitude>1</longitude><latitude>2</latitude><altitude>3</altitude>"
    model = f"<Model><Location>{location}</Location></Model>"
    layer = open_(write(document(placemark(geometry=model))))
    assert [g.wkt for g in geometries(pa.Table.from_batches(layer.batches()))] == [
        "POINT Z (1 2 3)"
    ]
    assert any("models" in remark for remark in layer.remarks)


def test_long_lines_are_the_same_when_they_are_read_in_slices(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [(n / 7, n / 11, float(n)) for n in range(500)]
    content = line("\n".join(f"{x!r},{y!r},{z!r}" for x, y, z in expected))
    monkeypatch.setattr(kml_geometry, "SLICE", 50)
    assert list(geometry(write, content).coords) == expected


def test_the_crs_is_wgs_84(write: Any) -> None:
    assert open_(write(document(placemark()))).crs == "EPSG:4326"


# Dialects and encodings


@pytest.mark.parametrize(
    "root",
    [
        "kml",
        'kml xmlns="http://earth.google.com/kml/2.0"',
        'kml xmlns="http://earth.google.com/kml/2.1"',
        'kml xmlns="http://www.opengis.net/kml/2.2"',
        'kml xmlns="http://www.opengis.net/kml/2.2" xsi:schemaLocation="a b"',
    ],
)
def test_every_namespace_of_kml_is_read(write: Any, root: str) -> None:
    assert attributes(read(write(document(data(a="1"), root)))) == [{"a": "1"}]


def test_prefixes_are_read_whatever_they_are(write: Any) -> None:
    content = "<k:Placemark><k:name>n</k:name><k:Point><k:coordinates>1,2</k:coordinates></k:Point>"
    path = write(f'<k:kml xmlns:k="{NAMESPACE}">{content}</k:Placemark></k:kml>')
    table = read(path)
    assert attributes(table) == [{"name": "n"}]
    assert geometries(table)[0].wkt == "POINT (1 2)"


@pytest.mark.parametrize("root", ["Folder", "Document", "Placemark"])
def test_the_root_may_be_any_feature(write: Any, root: str) -> None:
    inner = POINT if root == "Placemark" else placemark()
    assert read(write(f'<{root} xmlns="{NAMESPACE}">{inner}</{root}>')).num_rows == 1


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("UTF-16", "utf-16"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("windows-1250", "cp1250"),
        ("GB18030", "gb18030"),
        ("utf-16", "utf-8"),  # as .NET writes strings to files
    ],
)
def test_text_follows_the_declared_encoding(write: Any, declared: str, codec: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?>{document(data(a="ä – é"))}'
    if codec == "latin-1":
        text = text.replace("–", "ß")
    if codec == "cp1250":
        text = text.replace("ä", "ő")
    (row,) = attributes(read(write(text.encode(codec))))
    assert row["a"] in text
    assert len(row["a"]) == 5


@pytest.mark.parametrize("codec", ["cp1252", "shift_jis", "utf-8-sig"])
def test_a_given_encoding_overrides_the_declared_one(write: Any, codec: str) -> None:
    word = "カナ" if codec == "shift_jis" else "Zürich"
    content = f'<?xml version="1.0" encoding="UTF-8"?>{document(data(a=word))}'.encode(codec)
    path = write(content)
    assert attributes(read(path, converter_params={"encoding": codec})) == [{"a": word}]


def test_text_in_another_encoding_than_declared_is_refused_with_the_place(write: Any) -> None:
    path = write(f"<?xml version='1.0'?>\n{document(data(a='Zürich'))}".encode("cp1252"))
    message = refusal(path)
    assert "line 2, column" in message
    assert "converter_params.encoding" in message


def test_an_unknown_encoding_is_refused(write: Any) -> None:
    message = refusal(write(f"<?xml version='1.0' encoding='klingon'?>{document(placemark())}"))
    assert "klingon" in message
    assert "converter_params.encoding" in message


def test_an_empty_line_before_the_declaration_does_no_harm(write: Any) -> None:
    path = write(f"\n \n<?xml version='1.0'?>\n{document(data(a='1'))}")
    assert attributes(read(path)) == [{"a": "1"}]


# Refusals


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x01\x02\x03" * 100,
        b'{"type": "FeatureCollection"}',
        b"PK\x03\x04 a zip",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"<html><body>404</body></html>",
        b'<gpx xmlns="http://www.topografix.com/GPX/1/1"><wpt lat="1" lon="2"/></gpx>',
        b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.03"><a/></Document>',
        b"   \n ",
    ],
)
def test_what_is_no_kml_is_refused_as_that(write: Any, content: bytes) -> None:
    assert "is not KML" in refusal(write(content))


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("<kml>\n<Document>\n  <Placemark></Document></kml>", "line 3, column 16"),
        ("<kml>\n<Document><Placemark>", "line 2, column 22"),
        ("<kml><Document><name>a & b</name></Document></kml>", "line 1, column 25"),
        ("\n<?xml version='1.0'?>\n<kml><a></b></kml>", "line 3, column 11"),
        ("<kml></kml>\n<kml/>", "line 2, column 1"),
    ],
)
def test_what_is_not_well_formed_is_refused_with_the_place(
    write: Any, content: str, place: str
) -> None:
    message = refusal(write(content))
    assert "no well-formed XML" in message
    assert place in message


def test_a_document_without_placemarks_has_no_features(shared_data: Path) -> None:
    assert "no features" in refusal(shared_data / "vector/kml/100_nested_folders.kml")


ENTITIES = {
    "laughs": '<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">',
    "external": '<!ENTITY a SYSTEM "file:///etc/passwd">',
    "parameter": '<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;',
}


@pytest.mark.parametrize("declaration", ENTITIES.values(), ids=ENTITIES)
def test_entities_are_refused_before_they_are_looked_at(write: Any, declaration: str) -> None:
    path = write(f"<!DOCTYPE kml [{declaration}]>{document(data(a='&a;'))}")
    assert "document type declaration" in refusal(path)


@pytest.mark.parametrize(
    "before",
    ["", "<Style>", "<Placemark>", "<Placemark><description>", "<Placemark><MultiGeometry>"],
)
@pytest.mark.parametrize("element", ["Folder", "a"])
def test_endless_nesting_is_refused(write: Any, before: str, element: str) -> None:
    path = write(f"<kml><Document>{before}{f'<{element}>' * 100_000}")
    assert "nested deeper than 500" in refusal(path)


@pytest.mark.parametrize(
    ("start", "fill", "end"),
    [
        ("<Placemark id='", "x", "'/>"),
        ("<Style id='", "x", "'/>"),
        ("<!--", "x", "-->"),
        ("<Placemark ", "a='1' ", "/>"),
    ],
)
def test_endless_tags_and_comments_are_refused(write: Any, start: str, fill: str, end: str) -> None:
    endless = fill * (2 * kml_parser.MAX_TOKEN_BYTES // len(fill))
    assert "tags or comments" in refusal(write(f"<kml><Document>{start}{endless}{end}"))


def test_endless_text_that_nobody_asked_for_is_passed_over(write: Any) -> None:
    endless = "x" * (2 * kml_parser.MAX_TOKEN_BYTES)
    path = write(document(f"<Style>{endless}</Style>{placemark()}"))
    assert read(path).num_rows == 1


def test_a_placemark_beyond_what_is_held_in_memory_is_refused(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kml_parser, "MAX_ELEMENT_BYTES", 1_000_000)
    path = write(document(placemark() + placemark(f"<name>{'x' * 2_000_000}</name>")))
    assert "placemark 2 has more than 1,000,000 bytes" in refusal(path)


def test_a_placemark_of_endless_parts_is_refused(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kml_parser, "MAX_ELEMENT_PARTS", 1_000)
    path = write(document(placemark(geometry="<Point/>" * 1_001)))
    assert "placemark 1 has more than 1,000 elements" in refusal(path)


@pytest.mark.parametrize("pattern", ["<e{}/>", "<e a{}=''/>", "<Placemark><b{}/></Placemark>"])
def test_endlessly_many_names_are_refused(
    write: Any, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.setattr(kml_parser, "MAX_NAMES", 1_000)
    path = write(document("".join(pattern.format(n) for n in range(1_010))))
    assert "more than 1,000 kinds of" in refusal(path)


def test_more_features_than_the_limit_are_refused_while_reading(write: Any) -> None:
    rest = " " * 3 * kml_parser.CHUNK_BYTES + "not well-formed"
    path = write(document(placemark() * 20) + rest)
    assert "limit is 10" in refusal(path, limits={"max_features": 10})


# KMZ


def pack(path: Path, members: dict[str, str | bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["doc.kml"], "doc.kml"),
        (["a.kml", "doc.kml"], "doc.kml"),
        (["sub/doc.kml", "a.kml", "b.kml"], "a.kml"),
        (["sub/a.kml", "DOC.KML"], "DOC.KML"),
        (["images/x.png", "sub/a.KML"], "sub/a.KML"),
        (["__MACOSX/a/doc.kml", "._doc.kml", "sub/b.kml"], "sub/b.kml"),
    ],
)
def test_the_main_document_of_a_kmz_is_read(
    tmp_path: Path, members: list[str], expected: str
) -> None:
    path = pack(tmp_path / "a.kmz", {name: document(data(member=name)) for name in members})
    assert attributes(read(path)) == [{"member": expected}]


def test_other_documents_of_a_kmz_are_named(tmp_path: Path) -> None:
    content = document(placemark())
    layer = open_(pack(tmp_path / "a.kmz", {"doc.kml": content, "other.kml": content}))
    assert any("'other.kml'" in remark for remark in layer.remarks)


def test_what_is_no_kmz_is_refused_as_that(shared_data: Path) -> None:
    assert "is not KMZ" in refusal(shared_data / "vector/corrupt/bad.kmz")


def test_a_kmz_without_a_document_is_refused(tmp_path: Path) -> None:
    message = refusal(pack(tmp_path / "a.kmz", {"photo.jpg": b"x"}))
    assert "no .kml" in message
    assert "photo.jpg" in message


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_cut_kmz_is_refused(tmp_path: Path, cut: float) -> None:
    path = pack(tmp_path / "a.kmz", {"doc.kml": document(placemark() * 100)})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    assert "zip archive" in refusal(path)


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    content = document("".join(data(a=str(math.sin(n))) for n in range(5_000)))
    path = pack(tmp_path / "a.kmz", {"doc.kml": content}, compression=zipfile.ZIP_DEFLATED)
    octets = bytearray(path.read_bytes())
    middle = len(octets) // 2
    octets[middle : middle + 50] = bytes(50)
    path.write_bytes(octets)
    message = refusal(path)
    assert "archive is damaged" in message or "well-formed" in message


@pytest.mark.parametrize("member", ["../doc.kml", "/doc.kml", "a/../../doc.kml", "..\\doc.kml"])
def test_paths_out_of_a_kmz_are_refused(tmp_path: Path, member: str) -> None:
    assert "outside" in refusal(pack(tmp_path / "a.kmz", {member: document(placemark())}))


def test_an_encrypted_kmz_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.kmz", {"doc.kml": document(placemark())})
    octets = bytearray(path.read_bytes())
    # General purpose flags: 6 bytes into the local header, 8 into the directory's entry.
    octets[6] |= 1
    octets[octets.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(octets)
    assert "without a password" in refusal(path)


def test_a_kmz_that_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    content = "no KML" + " " * 5_000_000
    path = pack(tmp_path / "a.kmz", {"doc.kml": content}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    assert "limit is 0.001 GB" in refusal(path, limits={"max_file_size_gb": 0.001})


def test_the_size_that_a_kmz_declares_is_not_relied_upon(tmp_path: Path) -> None:
    content = document(placemark() + "<Style>" + " " * 5_000_000 + "</Style>").encode()
    path = pack(tmp_path / "a.kmz", {"doc.kml": content}, compression=zipfile.ZIP_DEFLATED)
    true, false = len(content).to_bytes(4, "little"), (1_000).to_bytes(4, "little")
    octets = path.read_bytes()
    assert octets.count(true) == 2
    path.write_bytes(octets.replace(true, false))
    assert "archive is damaged" in refusal(path, limits={"max_file_size_gb": 0.001})


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_can_not_be_bounded_is_refused(tmp_path: Path, method: int) -> None:
    path = pack(tmp_path / "a.kmz", {"doc.kml": document(placemark())}, compression=method)
    assert "compress" in refusal(path)


# Independent readings of real files


def plain(element: ElementTree.Element) -> str:
    return element.tag.split("}", maxsplit=1)[-1]


def by_hand(text: bytes) -> list[dict[str, Any]]:
    """Name, description, ExtendedData and coordinates of each placemark, by another parser."""
    features = []
    for feature in ElementTree.fromstring(text).iter():
        if plain(feature) != "Placemark":
            continue
        row: dict[str, Any] = {"coordinates": [], "data": {}}
        for element in feature:
            if plain(element) in ("name", "description"):
                row[plain(element)] = element.text or ""
        for element in feature.iter():
            if plain(element) == "coordinates":
                for one in (element.text or "").split():
                    x, y, *z = map(float, one.split(","))
                    row["coordinates"].append((x, y, *z) if any(z) else (x, y, 0.0))
            elif plain(element) == "Data":
                row["data"][element.get("name")] = element[0].text or ""
            elif plain(element) == "SimpleData":
                row["data"][element.get("name")] = element.text or ""
        features.append(row)
    return features


def unpacked(path: Path) -> bytes:
    if path.suffix == ".kml":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read("doc.kml")


REAL = [
    "extendeddata.kml",
    "points-puntas.kmz",
    "polygons2d.kml",
    "samples.kml",
    "schemadata.kml",
    "states.kml",
]


@pytest.mark.parametrize("file", REAL)
def test_real_files_have_every_placemark_coordinate_and_value(shared_data: Path, file: str) -> None:
    path = shared_data / "vector/kml" / file
    expected = by_hand(unpacked(path))
    table = read(path)
    assert table.num_rows == len(expected)
    assert table.column(PROBLEM).null_count == table.num_rows
    for row, wanted in zip(table.to_pylist(), expected, strict=True):
        found = shapely.from_wkb(row[GEOMETRY])
        coordinates = shapely.get_coordinates(found, include_z=True).tolist()
        coordinates = [(x, y, 0.0 if math.isnan(z) else z) for x, y, z in coordinates]
        assert coordinates == wanted["coordinates"]
        assert row.get("name") == wanted.get("name")
        assert row.get("description") == wanted.get("description")
        assert {key: str(row[key]) for key in wanted["data"]} == wanted["data"]


GDAL = """
import json, sys, pyogrio, shapely
def parts(wkb):
    waiting, simple = [shapely.force_2d(shapely.from_wkb(wkb))], []
    while waiting:
        geometry = waiting.pop(0)
        inner = list(getattr(geometry, "geoms", []))
        waiting = inner + waiting
        simple += [] if inner else [geometry.wkt]
    return simple

features = []
for layer, _ in pyogrio.list_layers(sys.argv[1]):
    frame = pyogrio.raw.read(sys.argv[1], layer=layer)
    names = dict(zip(frame[0]["fields"], frame[3]))["Name"]
    for name, wkb in zip(names, frame[2]):
        features.append([name, parts(wkb)])
print(json.dumps(features))
"""


@pytest.mark.parametrize("file", ["points-puntas.kmz", "polygons2d.kml", "states.kml"])
def test_real_files_are_what_libkml_reads(shared_data: Path, file: str) -> None:
    # In a process of its own: GDAL's driver for KML is not loaded in this one.
    path = shared_data / "vector/kml" / file
    said = subprocess.run(
        [sys.executable, "-c", GDAL, str(path)], capture_output=True, text=True, check=True
    )
    expected = sorted(json.loads(said.stdout))
    table = read(path)
    found = [
        [shapely.force_2d(part).wkt for part in shapely.get_parts(one)] for one in geometries(table)
    ]
    together = zip(table.column("name").to_pylist(), found, strict=True)
    assert sorted(map(list, together)) == expected


def test_samples_have_the_paths_of_their_folders(shared_data: Path) -> None:
    table = read(shared_data / "vector/kml/samples.kml")
    counts = Counter(table.column("folder").to_pylist())
    assert counts["Paths"] == 6
    assert counts["Placemarks"] == 3
    assert counts["Polygons/Google Campus"] == 4


# Anything at all

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=20)
NUMBER = st.floats(-180, 180, allow_subnormal=False)
POSITION = st.tuples(NUMBER, NUMBER, NUMBER | st.none())


@given(
    values=st.lists(st.dictionaries(TEXT.filter(bool), TEXT, max_size=4), min_size=1, max_size=4),
    positions=st.lists(POSITION, min_size=2, max_size=6),
    space=st.sampled_from([" ", "\n", "\t  ", "\r\n"]),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[dict[str, str]],
    positions: list[tuple[float, float, float | None]],
    space: str,
) -> None:
    tuples = [",".join(repr(n) for n in position if n is not None) for position in positions]
    content = "".join(
        extended(
            "".join(
                f"<Data name={quoteattr(key)}><value>{escape(value)}</value></Data>"
                for key, value in row.items()
            ),
            line(space.join(tuples)),
        )
        for row in values
    )
    path = tmp_path_factory.mktemp("any") / "d.kml"
    path.write_bytes(document(content).encode())
    table = read(path)
    assert attributes(table) == values
    for found in geometries(table):
        coordinates = shapely.get_coordinates(found, include_z=True).tolist()
        assert [(x, y, 0.0 if math.isnan(z) else z) for x, y, z in coordinates] == [
            (x, y, z or 0.0) for x, y, z in positions
        ]


SEED = document(
    typed("int", "1", "2") + times("2024") + data(a="1") + placemark(geometry=line("1,2 3,4"))
)


@given(
    place=st.integers(0, len(SEED)),
    length=st.integers(0, 30),
    junk=st.binary(max_size=12)
    | st.sampled_from([b"<", b"</kml>", b"<Placemark>", b"&x;", b"]]>"]),
)
def test_damage_never_ends_in_anything_but_features_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, length: int, junk: bytes
) -> None:
    octets = SEED.encode()
    path = tmp_path_factory.mktemp("any") / "d.kml"
    path.write_bytes(octets[:place] + junk + octets[place + length :])
    try:
        rows = read(path).num_rows
    except SourceError:
        rows = None
    assert rows != 0
