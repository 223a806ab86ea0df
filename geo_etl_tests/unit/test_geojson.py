"""GeoJSON in all its shapes: every value and coordinate as Python's json module reads it."""

import json
import math
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geo_etl.errors import SourceError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.formats import geojson_text
from geo_etl.vector.formats.geojson_cutter import Cutter
from geo_etl.vector.formats.layer import FID, GEOMETRY, PROBLEM, Layer
from geo_etl.vector.source import open_layer

POINT = {"type": "Point", "coordinates": [1.5, 2.5]}
SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]


def spec(**values: Any) -> VectorSpec:
    return resolve_vector_spec([SpecLayer("test", values)])


def feature(properties: Any = None, geometry: Any = POINT, **more: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties, **more}


def collection(*features: Any, **more: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", **more, "features": list(features)}


def open_(path: Path, **values: Any) -> Layer:
    return open_layer(path, path.name, spec(**values))


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Open a document (text, bytes, or anything that json dumps) as a layer."""

    def read(document: Any, name: str = "a.geojson", **values: Any) -> Layer:
        path = tmp_path / name
        if isinstance(document, bytes):
            path.write_bytes(document)
        else:
            text = document if isinstance(document, str) else json.dumps(document)
            path.write_text(text, encoding="utf-8", newline="")
        return open_(path, **values)

    return read


def rows(layer: Layer) -> list[dict[str, Any]]:
    batches = list(layer.batches())
    assert len({batch.schema for batch in batches}) <= 1
    return [row for batch in batches for row in batch.to_pylist()]


def attributes(layer: Layer) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name not in (FID, GEOMETRY, PROBLEM)}
        for row in rows(layer)
    ]


def column(layer: Layer, name: str) -> list[Any]:
    return [row[name] for row in rows(layer)]


def type_of(layer: Layer, name: str) -> str:
    return str(next(layer.batches()).schema.field(name).type)


def problems(layer: Layer) -> list[str | None]:
    return [row.get(PROBLEM) for row in rows(layer)]


def shapes(layer: Layer) -> list[Any]:
    """Geometries as GEOS understands the WKB, as GeoJSON's own nested lists."""
    return [
        None if row[GEOMETRY] is None else nested(shapely.from_wkb(row[GEOMETRY]))
        for row in rows(layer)
    ]


def nested(geometry: Any) -> Any:
    def plain(value: Any) -> Any:
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    said = shapely.geometry.mapping(geometry)
    if said["type"] == "GeometryCollection":
        parts = [nested(part) for part in geometry.geoms]
        return {"type": "GeometryCollection", "geometries": parts}
    return {"type": said["type"], "coordinates": plain(said["coordinates"])}


def refusal(read: Any, document: Any, **values: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        rows(read(document, **values))
    return caught.value


# Shapes of files

THREE = [feature({"n": i, "t": 'q"]},{:\\ é'}, id=f"i{i}") for i in range(3)]
LINES = [json.dumps(one, ensure_ascii=False) for one in THREE]


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.geojsonl", "a.ndjson", "a.jsonl"])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(collection(*THREE)),
        json.dumps(collection(*THREE), indent=2),
        json.dumps({"features": THREE, "bbox": [0, 0, 1, 1], "type": "FeatureCollection"}),
        json.dumps(collection(*THREE)) + "\n\n",
        json.dumps(THREE),
        json.dumps(THREE, indent=2),
        "\n".join(LINES),
        "\n".join(LINES) + "\n",
        "\r\n".join(LINES) + "\r\n",
        "\n\n \n".join(LINES) + "\n\n",
        "".join(f"\x1e{line}\n" for line in LINES),
        "".join(f"\x1e{json.dumps(one, indent=1)}\n" for one in THREE),
        "\n".join(json.dumps(one, indent=1) for one in THREE),
        "".join(LINES),
        "\ufeff" + "\n".join(LINES),
    ],
)
def test_shape_is_known_by_the_content(read: Any, text: str, name: str) -> None:
    layer = read(text, name)
    expected = [{"id": one["id"], **one["properties"]} for one in THREE]
    assert attributes(layer) == expected
    assert shapes(layer) == [POINT] * 3
    assert layer.feature_count == 3
    assert layer.remarks == [] or "bbox" not in text


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_where_the_text_is_cut_into_windows_does_not_matter(
    read: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    texts = ['"', "\\", '\\"', "\\\\", "}],", "{[:", "é\u2028"]
    features = [feature({"t": text, text: [{text: text}]}) for text in texts]
    monkeypatch.setattr(geojson_text, "WINDOW", size)
    assert (
        column(read(collection(*features, crs={"type": "EPSG", "properties": {"code": 4258}})), "t")
        == texts
    )
    assert column(read("\n".join(map(json.dumps, features))), "t") == texts


@pytest.mark.parametrize("size", [1, 3, 50, 1000])
def test_names_of_members_are_counted_at_all_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", size)
    path = tmp_path / "a.json"
    path.write_text('{"a": ":{", "b": {"c": [{"d": 1}, {}], "\\"": ":"}}\n{}{"e": "\\\\"}')
    text = geojson_text.Text.of(path, "a", None)
    cutter = Cutter(text, geojson_text.outline_of(text))
    assert [int(n) for pieces in cutter.pieces() for n in pieces.names] == [5, 0, 1]


def test_single_feature_and_single_geometries_are_sources(read: Any) -> None:
    assert attributes(read(feature({"n": 1}))) == [{"n": 1}]
    assert shapes(read(POINT)) == [POINT]
    assert shapes(read(json.dumps(POINT) + "\n" + json.dumps(POINT))) == [POINT, POINT]
    both = {"type": "GeometryCollection", "geometries": [POINT, POINT]}
    assert shapes(read(both)) == [both]


def test_members_may_come_in_any_order(read: Any) -> None:
    text = '{"geometry": null, "properties": {"type": "x", "n": 1}, "type": "Feature"}'
    assert attributes(
        read(f'{{"properties": {{}}, "features": [{text}], "type": "FeatureCollection"}}')
    ) == [{"type": "x", "n": 1}]
    assert attributes(read(f"{text}\n{text}")) == [{"type": "x", "n": 1}] * 2


def test_batches_can_be_read_again(read: Any) -> None:
    layer = read(collection(*THREE))
    assert rows(layer) == rows(layer)


# Real files


REAL = [
    "colorado-counties.geojson", "complexfields.geo.json", "cycle_hire.geojson",
    "earthquakes.geojson", "escaped.geojson", "featurecollection.json", "kurdish.geojson",
    "landuse.geojson", "null_geom.geojson", "nullisland.json", "sherlock.json",
    "us_regions.geojson",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_file_is_read_as_json_has_it(shared_data: Path, name: str) -> None:
    path = shared_data / "vector/geojson" / name
    document = json.loads(path.read_text(encoding="utf-8-sig"))
    expected = document.get("features", [document])
    layer = open_(path)
    schema = next(layer.batches()).schema
    found = rows(layer)
    assert len(found) == len(expected)
    for row, one in zip(found, expected, strict=True):
        for key, value in (one["properties"] or {}).items():
            cell = row[key]
            if schema.field(key).type == pa.json_():
                cell = cell and json.loads(cell)
            assert cell == value, key
            assert type(cell) is type(value) or schema.field(key).type == pa.float64()
        given = {"id": one.get("id"), **(one["properties"] or {})}
        assert {key for key, value in given.items() if value is not None} == {
            key for key, value in row.items() if key in schema.names[1:-1] and value is not None
        }
    for shape, one in zip(shapes(layer), expected, strict=True):
        assert shape == one["geometry"]


@pytest.mark.parametrize("name", ["point.json", "geometrycollection.json"])
def test_real_geometry_is_read_as_json_has_it(shared_data: Path, name: str) -> None:
    path = shared_data / "vector/geojson" / name
    assert shapes(open_(path)) == [json.loads(path.read_text())]


def test_real_collection_without_features_is_refused(shared_data: Path) -> None:
    with pytest.raises(SourceError, match="no features"):
        open_(shared_data / "vector/geojson/empty_featurecollection.json")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("feature-malformed-1.json", "its type is 'Featur'"),
        ("invalid.geojson", "its content is not GeoJSON"),
        ("points-malformed.geojson", "at line 34, column 2 it is no JSON"),
    ],
)
def test_real_broken_file_is_refused(shared_data: Path, name: str, problem: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_(shared_data / "vector/corrupt" / name)
    assert problem in caught.value.problem


# Malformed features


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"geometry": POINT, "properties": {"n": 2}}, "it has no type"),
        (feature({"n": 2}) | {"type": "feature"}, "its type is 'feature', not 'Feature'"),
        (feature({"n": 2}) | {"type": None}, "its type is None, not 'Feature'"),
        ({"type": "Feature", "properties": {"n": 2}}, "it has no geometry member"),
        (feature({"n": 2}, [1, 2]), "its geometry is a list, not an object"),
        (feature({"n": 2}, "POINT (1 2)"), "its geometry is 'POINT (1 2)', not an object"),
        (feature({"n": 2}, {"coordinates": [1, 2]}), "its geometry's type is 'missing'"),
        (feature({"n": 2}, {"type": "Dot", "coordinates": [1, 2]}), "geometry's type is 'Dot'"),
        (feature({"n": 2}, {"type": "Point"}), "it has no coordinates"),
        (feature({"n": 2}, {"type": "GeometryCollection"}), "it has no list of geometries"),
    ],
)
def test_malformed_feature_comes_with_its_reason_and_attributes(
    read: Any, bad: Any, reason: str
) -> None:
    layer = read(collection(feature({"n": 1}), bad, feature({"n": 3})))
    assert column(layer, "n") == [1, 2, 3]
    first, found, last = problems(layer)
    assert (first, last) == (None, None)
    assert found is not None
    assert reason in found
    assert shapes(layer)[0] == shapes(layer)[2] == POINT


@pytest.mark.parametrize("properties", [[1], "x", 5, False])
def test_properties_that_are_no_object_are_a_problem(read: Any, properties: Any) -> None:
    layer = read(collection(feature({"n": 1}), feature(properties)))
    said = f"its properties are no object but {json.dumps(properties)}"
    assert problems(layer) == [None, said]


MALFORMED = [
    ("Point", [1], "a position of it has 1 of at least 2 numbers"),
    ("Point", ["1", "2"], "its coordinates hold '1' where a number should be"),
    ("Point", [1, None], "its coordinates hold null where a number should be"),
    ("Point", [1, True], "its coordinates hold true where a number should be"),
    ("Point", [[1, 2]], "its coordinates are nested too deeply for its type"),
    ("Point", "1 2", "its coordinates hold '1 2' where a list should be"),
    ("Point", {"x": 1, "y": 2}, "its coordinates hold an object where a list should be"),
    ("Point", [1, math.nan], "one of its coordinates is not a finite number"),
    ("Point", [1, 10**400], "one of its coordinates is not a finite number"),
    ("LineString", [1, 2], "its coordinates hold 1 where a list should be"),
    ("LineString", [[1, 2]], "a line of it has 1 of at least 2 positions"),
    ("LineString", [SQUARE], "its coordinates are nested too deeply for its type"),
    ("MultiPoint", [1, 2], "its coordinates hold 1 where a list should be"),
    ("Polygon", SQUARE, "its coordinates hold 0.0 where a list should be"),
    ("Polygon", [SQUARE[:3]], "a ring of it has 3 of at least 4 positions"),
    ("Polygon", [[*SQUARE[:3], [9, 9]]], "a ring of it is not closed"),
    ("Polygon", [SQUARE, []], "a ring of it has 0 of at least 4 positions"),
    ("MultiPolygon", [SQUARE], "its coordinates hold 0.0 where a list should be"),
    ("MultiPolygon", [[SQUARE], [[*SQUARE[:3], [9, 9]]]], "a ring of it is not closed"),
    ("MultiLineString", [SQUARE, [[1, 2]]], "a line of it has 1 of at least 2 positions"),
]


@pytest.mark.parametrize(("kind", "coordinates", "reason"), MALFORMED)
def test_malformed_geometry_is_a_problem_of_its_feature_alone(
    read: Any, kind: str, coordinates: Any, reason: str
) -> None:
    good = {
        "Point": [1.0, 2.0],
        "LineString": SQUARE,
        "MultiPoint": SQUARE,
        "Polygon": [SQUARE],
        "MultiLineString": [SQUARE],
        "MultiPolygon": [[SQUARE]],
    }[kind]
    features = [feature({}, {"type": kind, "coordinates": c}) for c in (good, coordinates, good)]
    layer = read(collection(*features))
    assert problems(layer) == [None, f"its geometry is malformed: {reason}", None]
    found = [row[GEOMETRY] for row in rows(layer)]
    assert nested(shapely.from_wkb(found[0])) == {"type": kind, "coordinates": good}
    assert found[0] == found[2]


def test_malformed_part_of_a_collection_is_a_problem(read: Any) -> None:
    parts = {"type": "GeometryCollection", "geometries": [POINT, {"type": "Point"}]}
    layer = read(feature({}, parts))
    assert problems(layer) == ["its geometry is malformed: it has no coordinates"]
    assert shapes(layer) == [None]


def test_collections_in_one_another_end_somewhere(read: Any) -> None:
    geometry = POINT
    for _ in range(50):
        geometry = {"type": "GeometryCollection", "geometries": [geometry]}
    (problem,) = problems(read(feature({}, geometry)))
    assert problem is not None
    assert "more than 32 collections in one another" in problem


@pytest.mark.parametrize("kind", ["Point", "LineString", "Polygon", "MultiPolygon"])
def test_empty_coordinates_are_no_geometry(read: Any, kind: str) -> None:
    layer = read(collection(feature({}, {"type": kind, "coordinates": []}), feature({})))
    assert (shapes(layer), problems(layer)) == ([None, POINT], [None, None])


def test_heights_are_kept(read: Any) -> None:
    lines = [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[1.0, 2.0], [4.0, 5.0]]]
    features = [feature({}, {"type": "LineString", "coordinates": c}) for c in lines]
    layer = read(collection(*features))
    found = [shapely.from_wkb(row[GEOMETRY]) for row in rows(layer)]
    assert [shapely.get_coordinates(f, include_z=f.has_z).tolist() for f in found] == lines


def test_height_of_a_part_of_the_positions_is_kept(read: Any) -> None:
    geometry = {"type": "LineString", "coordinates": [[1, 2], [3, 4, 5]]}
    (row,) = rows(read(feature({}, geometry)))
    line = shapely.from_wkb(row[GEOMETRY])
    assert shapely.get_coordinates(line, include_z=True).tolist() == [[1, 2, 0], [3, 4, 5]]


def test_fourth_number_of_a_position_goes_with_a_remark(read: Any) -> None:
    layer = read({"type": "Point", "coordinates": [1, 2, 3, 4]})
    (row,) = rows(layer)
    assert shapely.from_wkb(row[GEOMETRY]).wkt == "POINT Z (1 2 3)"
    assert len(layer.remarks) == 1
    assert "more than three numbers" in layer.remarks[0]


@pytest.mark.parametrize("window", [50, 4_000_000])
def test_bounds_are_those_of_all_geometries(
    read: Any, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", window)
    points = [{"type": "Point", "coordinates": c} for c in ([1, 5], [-3, 2], [4, -7])]
    many = {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [9, 0]}]}
    layer = read(collection(*[feature({}, g) for g in [*points, many, None]]))
    assert layer.bounds == (-3, -7, 9, 5)


# Other JSON, and broken JSON


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"type": "Topology", "objects": {}, "arcs": []}, "it is TopoJSON"),
        ({"objects": {}, "arcs": [], "type": "Topology"}, "it is TopoJSON"),
        (
            {"geometryType": "esriGeometryPoint", "features": [{"attributes": {"a": 1}}]},
            "it is Esri's JSON",
        ),
        ({"features": [{"attributes": {}, "geometry": {"x": 1, "y": 2}}]}, "it is Esri's JSON"),
        ({"spatialReference": {}, "features": []}, "it is Esri's JSON"),
        ({"a": 1}, "it is JSON but not GeoJSON"),
        ({}, "it is JSON but not GeoJSON"),
        ([{"lat": 1, "lon": 2}], "it is JSON but not GeoJSON"),
        ({"type": "Collection"}, "its type is 'Collection'"),
        ({"type": 5}, "it is JSON but not GeoJSON"),
        ({"type": ["Feature"]}, "it is JSON but not GeoJSON"),
        ([collection(feature())], "a collection stands where a feature should"),
        ([1, 2], "'1, 2]' stands where a feature or a comma should"),
        ([[1, 2]], "stands where a feature or a comma should"),
        ("x", "its content is not GeoJSON"),
        (5, "its content is not GeoJSON"),
    ],
)
def test_other_json_is_refused_as_what_it_is(read: Any, document: Any, problem: str) -> None:
    assert problem in refusal(read, json.dumps(document)).problem


COMPLETE = json.dumps(collection(feature({"t": 'a"b\\'}), feature({"t": None}), name="x"))


@pytest.mark.parametrize("text", [COMPLETE, json.dumps(THREE), LINES[0]])
def test_text_that_is_cut_off_anywhere_is_refused(read: Any, text: str) -> None:
    for length in range(1, len(text)):
        problem = refusal(read, text[:length]).problem
        assert "cut off" in problem or "not GeoJSON" in problem, text[:length]


def test_lines_that_are_cut_off_in_the_last_are_refused(read: Any) -> None:
    text = "\n".join(LINES)
    assert "line 3, column 1 never ends" in refusal(read, text[:-1]).problem


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (COMPLETE + "}", "line 1, "),
        (COMPLETE + "\n" + COMPLETE, "line 2, column 1"),
        (COMPLETE + ";", "line 1, "),
        (json.dumps(THREE) + "x", "line 1, "),
        (f"{LINES[0]},\n{LINES[1]}", "line 1, "),
        (f"{LINES[0]}\nnull\n{LINES[1]}", "line 2, column 1"),
        (f"{LINES[0]}\n{LINES[1]}}}", "line 2, "),
        (f"[{LINES[0]}\n{LINES[1]}]", "line 2, column 1"),
        (f"[{LINES[0]},\n,{LINES[1]}]", "line 1, "),
        (f"[{LINES[0]},]", "line 1, "),
        (f"[{LINES[0]},\nnull]", "line 1, "),
        ('{"type": "FeatureCollection", "features": [\n{"type": Feature}]}', "line 2, column 10"),
        (LINES[0] + '\n{"type": "Feature", "geometry": nul}', "line 2, column 33"),
    ],
)
def test_broken_json_is_refused_with_the_place(read: Any, text: str, where: str) -> None:
    assert where in refusal(read, text).problem


@pytest.mark.parametrize("name", ["features", "type"])
def test_collection_with_a_member_twice_is_refused(read: Any, name: str) -> None:
    text = COMPLETE[:-1] + f', "{name}": []}}'
    assert f"'{name}' twice" in refusal(read, text).problem


def test_collection_with_a_member_twice_before_its_features_is_refused(read: Any) -> None:
    text = '{"name": "a", "name": "b", ' + COMPLETE[1:]
    assert "'name' twice" in refusal(read, text).problem


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"type":"Feature","properties":{"a":['])
@pytest.mark.parametrize("closed", [False, True])
def test_deep_nesting_is_refused(read: Any, opening: str, closed: bool) -> None:
    text = opening * 100_000
    if closed:
        text += "".join({"[": "]", "{": "}"}[c] for c in reversed(text) if c in "[{")
    assert refusal(read, text).remedy
    assert refusal(read, f'{{"type":"FeatureCollection","features":[{text}]}}').remedy


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deeply_nested_property_is_refused_as_such(read: Any, opening: str) -> None:
    closing = {"[": "]", "{": "}"}[opening[0]]
    value = f"{opening * 5000}1{closing * 5000}"
    text = json.dumps(collection(feature({"a": "?"}))).replace('"?"', value)
    assert "nested too deeply" in refusal(read, text).problem


def test_value_of_a_hundred_levels_is_read(read: Any) -> None:
    value: Any = 1
    for _ in range(50):
        value = [{"a": value}]
    (cell,) = column(read(feature({"v": value})), "v")
    assert json.loads(cell) == value


def test_feature_that_takes_too_much_memory_is_refused(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geo_etl.vector.formats.geojson_cutter.MAX_MEMORY", 100_000)
    monkeypatch.setattr(geojson_text, "WINDOW", 1000)
    line = {"type": "LineString", "coordinates": [[i, i] for i in range(1000)]}
    assert "too large for one feature" in refusal(read, feature({}, line)).problem
    assert len(rows(read([feature()] * 1000))) == 1000


def test_more_columns_than_a_table_takes_are_refused(read: Any) -> None:
    features = [feature({f"key{i}": 1}) for i in range(1601)]
    assert "more than 1,600 different properties" in refusal(read, features).problem


# Values


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([True, None, False], "bool"),
        ([1, None, -(2**31)], "int32"),
        ([1, 2**31], "int64"),
        ([-(2**63), 2**63 - 1], "int64"),
        ([0.1, 2.0, None], "double"),
        ([1, 0.5, 2**53], "double"),
        (["a", "", None], "string"),
        ([None, None], "string"),
        ([[1, None], [], None], "list<item: int32>"),
        ([[1], [2**40]], "list<item: int64>"),
        ([[1, 0.5], [2]], "list<item: double>"),
        ([["a", None], ["b"]], "list<item: string>"),
        ([[True]], "list<item: bool>"),
    ],
)
@pytest.mark.parametrize("window", [50, 4_000_000])
def test_values_of_one_kind_get_its_type(
    read: Any, monkeypatch: pytest.MonkeyPatch, values: list[Any], type_: str, window: int
) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", window)
    layer = read(collection(*[feature({"v": value}) for value in values]))
    assert column(layer, "v") == values
    assert type_of(layer, "v") == type_
    assert layer.remarks == []


@pytest.mark.parametrize(
    ("values", "remark"),
    [
        ([1, "1", 1.0], "mixes integers, numbers, text"),
        ([True, 1], "mixes booleans, integers"),
        (["a", ["a"]], "mixes lists, text"),
        ([{"a": 1}, 5], "mixes integers, objects"),
        ([1, 2**63], "integers that no number type holds exactly"),
        ([-(2**63) - 1], "integers that no number type holds exactly"),
        ([2**53 + 1, 0.5], "integers that no number type holds exactly"),
        ([12345678901234567890123456789], "integers that no number type holds exactly"),
        ([{"a": [1, None]}, {"b": {}}], None),
        ([[1, "1"], [True]], None),
        ([[[1]], [[2.0]]], None),
        ([[], []], None),
        ([["a"], [1]], None),
        ([[2**63], [1]], None),
        ([["2020-01-01"], "2020-01-01"], "mixes lists, text"),
    ],
)
@pytest.mark.parametrize("window", [50, 4_000_000])
def test_values_of_several_kinds_become_json(
    read: Any,
    monkeypatch: pytest.MonkeyPatch,
    values: list[Any],
    remark: str | None,
    window: int,
) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", window)
    layer = read(collection(*[feature({"v": value}) for value in values]))
    found = [json.loads(cell) for cell in column(layer, "v")]
    assert list(map(repr, found)) == list(map(repr, values))
    assert type_of(layer, "v") == "extension<arrow.json>"
    assert (len(layer.remarks) == 1) is (remark is not None)
    assert remark is None or remark in layer.remarks[0]


PLUS2 = "+02:00"
MOMENTS = [
    (["2020-02-29", "0001-01-01", "9999-12-31"], "date32[day]",
     [date(2020, 2, 29), date.min, date.max]),
    (["2020-01-01T12:00:00", "2020-01-01 12:00:00.25"], "timestamp[us]",
     [datetime(2020, 1, 1, 12), datetime(2020, 1, 1, 12, 0, 0, 250_000)]),
    (["2020-01-01T12:00:00Z", "2020-01-01T12:00:00.123456+00:00"], "timestamp[us, tz=UTC]",
     [datetime(2020, 1, 1, 12, tzinfo=UTC), datetime(2020, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)]),
    (["2020-01-01T00:00:00+02:00", "2020-07-01T12:00:00+0200"], "timestamp[us, tz=+02:00]",
     [datetime(2019, 12, 31, 22, tzinfo=UTC), datetime(2020, 7, 1, 10, tzinfo=UTC)]),
    (["08:30:00", "23:59:59.5"], "time64[us]", [time(8, 30), time(23, 59, 59, 500_000)]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "type_", "expected"), MOMENTS)
@pytest.mark.parametrize("window", [50, 4_000_000])
def test_dates_and_times_are_known_when_all_values_are(
    read: Any,
    monkeypatch: pytest.MonkeyPatch,
    values: list[str],
    type_: str,
    expected: list[Any],
    window: int,
) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", window)
    layer = read(collection(*[feature({"v": value}) for value in [*values, None]]))
    assert column(layer, "v") == [*expected, None]
    assert type_of(layer, "v") == type_
    assert layer.remarks == []


@pytest.mark.parametrize(
    "values",
    [
        ["2020-01-01", "soon"],
        ["2020-01-01", ""],
        ["2020-01-01", "2020-01-01T00:00:00"],
        ["2020-02-30"],
        ["0000-01-01"],
        ["2020-1-1"],
        ["2020/01/01"],
        ["20200101"],
        ["2020-01-01\n"],
        ["2020-01-01T12:00:00", "2020-01-01T12:00:00Z"],
        ["2020-01-01T12:00:00.1234567Z"],
        ["2020-01-01T23:59:60Z"],
        ["2020-01-01T24:00:00Z"],
        ["2020-01-01T12:00:00+99:00"],
        ["24:00:00"],
        ["12:30"],
        ["٢٠٢٠-٠١-٠١"],
    ],
)
def test_text_that_a_date_would_not_give_back_stays_text(read: Any, values: list[str]) -> None:
    layer = read(collection(*[feature({"v": value}) for value in values]))
    assert column(layer, "v") == values
    assert type_of(layer, "v") == "string"


def test_times_of_several_zones_keep_their_instants_with_a_remark(read: Any) -> None:
    values = ["2020-01-01T12:00:00+01:00", "2020-01-01T12:00:00Z", "2020-01-01T12:00:00-05:30"]
    layer = read(collection(*[feature({"v": value}) for value in values]))
    assert column(layer, "v") == [datetime.fromisoformat(value) for value in values]
    assert layer.remarks == [
        "Column 'v' has times in 3 time zones (+01:00, -05:30, UTC): it keeps the instants, in UTC."
    ]


def test_property_that_only_some_features_have_is_null_in_the_others(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", 100)
    given = [{"a": 1}, {}, None, {"b": [1]}, {"c": {"x": 1}}, {"d": "2020-01-01"}]
    found = attributes(read(collection(*map(feature, given))))
    assert found[0] == {"a": 1, "b": None, "c": None, "d": None}
    assert found[1] == found[2] == dict.fromkeys("abcd")
    assert [found[3]["b"], found[4]["c"], found[5]["d"]] == [[1], '{"x": 1}', date(2020, 1, 1)]


def test_nan_and_infinity_of_properties_are_read(read: Any) -> None:
    text = json.dumps(collection(*[feature({"v": v}) for v in (math.nan, -math.inf, 1.5)]))
    found = column(read(text), "v")
    assert math.isnan(found[0])
    assert found[1:] == [-math.inf, 1.5]


def test_nan_where_a_column_becomes_json_is_text(read: Any) -> None:
    values = [math.nan, {"a": [math.inf]}]
    layer = read(json.dumps(collection(*[feature({"v": v}) for v in values])))
    assert [json.loads(cell) for cell in column(layer, "v")] == ["NaN", {"a": ["Infinity"]}]


def test_number_too_large_for_any_float_is_a_problem(read: Any) -> None:
    text = json.dumps(collection(feature({"v": 1.5}), feature({"v": "?"}))).replace('"?"', "1e400")
    layer = read(text)
    assert column(layer, "v") == [1.5, None]
    assert problems(layer) == [None, "the number in its property 'v' is too large"]


@pytest.mark.parametrize("window", [7, 4_000_000])
def test_name_that_comes_twice_with_different_values_is_a_problem(
    read: Any, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", window)
    one = json.dumps(feature({"a": 1}))
    texts = [
        one.replace('"a": 1', '"a": 1, "a": 2'),
        one.replace('"a": 1', '"a": 1, "a": 1'),
        one.replace('"a": 1', '"a": 1, "b": {"c": 1, "c": 2}'),
        one.replace('"type": "Feature"', '"type": "Feature", "geometry": null'),
        one.replace('"a": 1', '"a": 1, "b": [5, {"c": 1}]'),
    ]
    assert problems(read("\n".join(texts))) == [
        "it has 'a' twice, with different values",
        None,
        "it has 'c' twice, with different values",
        "it has 'geometry' twice, with different values",
        None,
    ]


def test_half_a_character_is_a_problem(read: Any) -> None:
    layer = read('[{"type":"Feature","geometry":null,"properties":{"v":"a\\ud800b"}}]')
    assert column(layer, "v") == ["a\\ud800b"]
    assert problems(layer) == ["its text holds half a character (an escaped surrogate on its own)"]


def test_raw_tab_and_line_end_in_text_are_read(read: Any) -> None:
    text = json.dumps(feature({"v": "?"})).replace("?", "a\tb\nc")
    assert column(read(text), "v") == ["a\tb\nc"]


@pytest.mark.parametrize("name", [FID, GEOMETRY, PROBLEM, "\ue000id"])
def test_property_called_like_an_own_column_is_told_apart(read: Any, name: str) -> None:
    (row,) = rows(read(feature({name: "mine"}, id=5)))
    assert "mine" in row.values()
    assert row[FID] == 5
    assert shapely.from_wkb(row[GEOMETRY]).wkt == "POINT (1.5 2.5)"


# Ids


def ids_of(layer: Layer) -> list[Any]:
    return column(layer, FID)


@pytest.mark.parametrize(
    ("ids", "type_"),
    [(["a7", "b"], "string"), ([7, 2**40], "int64"), ([7, "a"], "extension<arrow.json>")],
)
def test_feature_ids_are_a_column(read: Any, ids: list[Any], type_: str) -> None:
    layer = read(collection(*[feature({"n": 1}, id=i) for i in ids]))
    found = column(layer, "id")
    assert (list(map(json.loads, found)) if type_.startswith("ext") else found) == ids
    assert type_of(layer, "id") == type_
    assert next(layer.batches()).schema.names == [FID, "id", "n", GEOMETRY]


def test_integer_ids_are_the_feature_ids(read: Any) -> None:
    assert ids_of(read([feature({}, id=7), feature({}, id=-5)])) == [7, -5]


@pytest.mark.parametrize("ids", [["a", "b"], [7, None], [7, 2**70], [True, False]])
def test_rows_are_numbered_where_ids_are_not_all_integers(read: Any, ids: list[Any]) -> None:
    assert ids_of(read([feature({}, id=i) for i in ids])) == [0, 1]


def test_property_called_id_stays_beside_the_feature_id(read: Any) -> None:
    layer = read([feature({"id": "p"}, id="f"), feature({"id": "q"}, id="g")])
    assert attributes(layer) == [
        {"feature_id": "f", "id": "p"}, {"feature_id": "g", "id": "q"}
    ]  # fmt: skip


@pytest.mark.parametrize("window", [50, 4_000_000])
def test_property_that_repeats_the_feature_id_is_enough(
    read: Any, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", window)
    assert attributes(read([feature({"id": i}, id=i) for i in (3, 4)])) == [{"id": 3}, {"id": 4}]
    with_id, without = feature({"id": 1}, id=1), feature({"id": 5})
    assert column(read([with_id, without]), "feature_id") == [1, None]
    assert column(read([without, with_id]), "feature_id") == [None, 1]


def test_other_members_go_with_one_remark(read: Any) -> None:
    layer = read(
        collection(
            feature({}, bbox=[0, 0, 1, 1], title="x"),
            {"type": "Feature", "geometry": None, "title": "y"},
        )
    )
    assert layer.remarks == ["Members outside of properties were left out: bbox, title."]


# CRS

CRS84 = "urn:ogc:def:crs:OGC:1.3:CRS84"


@pytest.mark.parametrize(
    ("crs", "expected"),
    [
        ({"type": "name", "properties": {"name": CRS84}}, "EPSG:4326"),
        ({"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4269"}}, "EPSG:4269"),
        ({"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG:9.8:4269"}}, "EPSG:4269"),
        ({"type": "name", "properties": {"name": "EPSG:25832"}}, "EPSG:25832"),
        (
            {"type": "name", "properties": {"name": "http://www.opengis.net/def/crs/EPSG/0/25832"}},
            "EPSG:25832",
        ),
        ({"type": "EPSG", "properties": {"code": 25832}}, "EPSG:25832"),
    ],
)
def test_crs_member_is_heeded_wherever_it_stands(read: Any, crs: Any, expected: str) -> None:
    assert read(collection(feature(), crs=crs)).crs == expected
    assert read({"features": [feature()], "type": "FeatureCollection", "crs": crs}).crs == expected
    assert read(feature(crs=crs)).crs == expected
    assert read({**POINT, "crs": crs}).crs == expected
    assert read(collection(feature(), crs=crs)).remarks == []


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "link", "properties": {"href": "http://127.0.0.1:9/crs", "type": "proj4"}},
        {"type": "name", "properties": {"name": "no such thing"}},
        {"type": "name", "properties": {}},
        "EPSG:25832",
        None,
    ],
)
def test_crs_that_says_nothing_needs_the_setting(read: Any, crs: Any) -> None:
    assert "converter_params.source_crs" in refusal(read, collection(feature(), crs=crs)).remedy
    given = {"source_crs": "EPSG:25832"}
    assert read(collection(feature(), crs=crs), converter_params=given).crs == "EPSG:25832"


def test_features_with_different_crs_are_refused(read: Any) -> None:
    features = [feature(crs={"type": "EPSG", "properties": {"code": c}}) for c in (4326, 25832)]
    assert "different CRSs" in refusal(read, features).problem


def test_coordinates_too_large_for_degrees_are_remarked_on(read: Any) -> None:
    metres = {"type": "Point", "coordinates": [500_000, 5_700_000]}
    (remark,) = read(metres).remarks
    assert "converter_params.source_crs" in remark
    assert read(metres, converter_params={"source_crs": "EPSG:25832"}).remarks == []


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_mark_tells_the_encoding(read: Any, encoding: str) -> None:
    text = json.dumps(collection(feature({"größe": "道路"})), ensure_ascii=False)
    assert attributes(read(text.encode(encoding))) == [{"größe": "道路"}]


def test_encoding_of_the_spec_is_used(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geojson_text, "WINDOW", 20)
    text = json.dumps(
        collection(feature({"größe": "Öl"}), feature({"größe": "€"})), ensure_ascii=False
    )
    found = read(text.encode("cp1252"), converter_params={"encoding": "cp1252"})
    assert attributes(found) == [{"größe": "Öl"}, {"größe": "€"}]


@pytest.mark.parametrize("text", ["{}", "[{}]", '{{"type":"FeatureCollection","features":[\n{}]}}'])
def test_text_that_is_no_utf8_is_refused_with_the_place(read: Any, text: str) -> None:
    one = json.dumps(feature({"v": "Straße"}), ensure_ascii=False)
    content = (text[:-1].replace("{}", one) + text[-1] if text != "{}" else one).replace("{{", "{")
    error = refusal(read, content.encode("cp1252"))
    assert "its text is not utf-8" in error.problem
    assert "column " in error.problem
    assert "converter_params.encoding" in error.remedy


def test_text_that_is_not_in_the_encoding_of_the_spec_is_refused(read: Any) -> None:
    text = json.dumps(feature({"v": "Straße"}), ensure_ascii=False).encode("cp1252")
    error = refusal(read, text, converter_params={"encoding": "ascii"})
    assert "is not ascii" in error.problem


# Anything that json writes

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
position = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2)
ring = st.lists(position, min_size=3, max_size=6).map(lambda points: [*points, points[0]])
line = st.lists(position, min_size=2, max_size=5)
simple = st.one_of(
    *[
        st.fixed_dictionaries({"type": st.just(kind), "coordinates": coordinates})
        for kind, coordinates in {
            "Point": position,
            "LineString": line,
            "Polygon": st.lists(ring, min_size=1, max_size=3),
            "MultiPoint": st.lists(position, min_size=1, max_size=4),
            "MultiLineString": st.lists(line, min_size=1, max_size=3),
            "MultiPolygon": st.lists(st.lists(ring, min_size=1, max_size=2), min_size=1,
                                     max_size=3),
        }.items()
    ]
)  # fmt: skip
geometries = st.none() | st.recursive(
    simple,
    lambda inner: st.fixed_dictionaries(
        {
            "type": st.just("GeometryCollection"),
            "geometries": st.lists(inner, min_size=1, max_size=3),
        }
    ),
    max_leaves=4,
)


def lines_or_collection(features: list[Any], lines: bool) -> str:
    if lines:
        return "\n".join(map(json.dumps, features))
    return json.dumps(collection(*features), ensure_ascii=False, indent=1)


anywhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@anywhere
@given(
    st.lists(st.dictionaries(texts, values, max_size=4), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from([40, 300, 4_000_000]),
)
def test_any_properties_come_back_equal(
    tmp_path: Path, given_: list[dict[str, Any]], lines: bool, window: int
) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(lines_or_collection(list(map(feature, given_)), lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geojson_text, "WINDOW", window)
        layer = open_(path)
        schema = next(layer.batches()).schema
        found = attributes(layer)
    assert problems(layer) == [None] * len(given_)
    for row, properties in zip(found, given_, strict=True):
        for name, cell in row.items():
            value = properties.get(name)
            if schema.field(name).type == pa.json_():
                assert repr(None if cell is None else json.loads(cell)) == repr(value)
            elif not isinstance(cell, date | time):
                assert cell == value
                assert isinstance(cell, bool) == isinstance(value, bool)


@anywhere
@given(st.lists(geometries, min_size=1, max_size=8), st.booleans())
def test_any_geometries_come_back_equal(tmp_path: Path, given_: list[Any], lines: bool) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(lines_or_collection([feature({}, g) for g in given_], lines))
    layer = open_(path)
    assert problems(layer) == [None] * len(given_)
    assert shapes(layer) == given_


@anywhere
@given(st.lists(values, min_size=1, max_size=4))
def test_anything_in_place_of_a_geometry_is_read_or_a_problem(
    tmp_path: Path, given_: list[Any]
) -> None:
    path = tmp_path / "a.geojson"
    features = [
        feature({}, {"type": kind, "coordinates": value})
        for kind in ("Point", "LineString", "Polygon", "MultiPoint", "MultiPolygon")
        for value in given_
    ]
    path.write_text(json.dumps([feature(), *features, *[feature({}, v) for v in given_]]))
    found = rows(open_(path))
    assert len(found) == 1 + 6 * len(given_)
    for row, one in zip(found, [feature(), *features], strict=False):
        empty = one["geometry"]["coordinates"] == []
        assert (row[GEOMETRY] is not None) or row.get(PROBLEM) or empty


@anywhere
@given(st.binary(max_size=60), st.integers(0, 400))
def test_bytes_in_the_middle_of_a_file_never_end_in_anything_but_a_clear_error(
    tmp_path: Path, noise: bytes, at: int
) -> None:
    path = tmp_path / "a.geojson"
    text = json.dumps(collection(*THREE)).encode()
    path.write_bytes(text[:at] + noise + text[at:])
    try:
        found = rows(open_(path))
    except SourceError:
        return
    assert len(found) == 3
