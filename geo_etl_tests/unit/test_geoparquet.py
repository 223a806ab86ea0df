"""GeoParquet: metadata of every version, every Arrow type, and files that mean harm."""

import datetime as dt
import decimal
import io
import json
import uuid
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from geo_etl.errors import SourceError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.attributes import encode_attributes, plan_columns
from geo_etl.vector.formats import geoparquet
from geo_etl.vector.formats.layer import FID, GEOMETRY, OWN_COLUMNS, PROBLEM, Layer
from geo_etl.vector.source import open_layer

POINT = shapely.to_wkb(shapely.Point(1, 2))


def spec(**values: Any) -> VectorSpec:
    return resolve_vector_spec([SpecLayer("test", values)])


def open_(path: Path, **values: Any) -> Layer:
    return open_layer(path, path.name, spec(**values))


def read(path: Path, **values: Any) -> tuple[pa.Table, list[str]]:
    opened = open_(path, **values)
    batches = list(opened.batches())
    opened.check_complete(sum(batch.num_rows for batch in batches))
    return pa.Table.from_batches(batches), opened.remarks


def refusal(path: Path, **values: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path, **values)
    return caught.value


def geo(**column: Any) -> dict[str, str]:
    """Metadata of a file whose geometry is the column `geom`."""
    described = {"encoding": "WKB", "geometry_types": [], **column}
    metadata = {"version": "1.1.0", "primary_column": "geom", "columns": {"geom": described}}
    return {"geo": json.dumps(metadata)}


def write(path: Path, columns: dict[str, Any], metadata: Any = None, **options: Any) -> Path:
    rows = len(next(iter(columns.values()))) if columns else 1
    table = pa.table({**columns, "geom": columns.get("geom", pa.array([POINT] * rows))})
    table = table.replace_schema_metadata(geo() if metadata is None else metadata)
    pq.write_table(table, path, **options)
    return path


@pytest.fixture
def frame() -> geopandas.GeoDataFrame:
    geometries = [shapely.Point(1, 2), None, shapely.box(0, 0, 1, 1)]
    return geopandas.GeoDataFrame({"n": [1, 2, 3]}, geometry=geometries, crs=25832)


# Metadata


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0", "1.1.0"])
def test_every_version_is_read(tmp_path: Path, frame: geopandas.GeoDataFrame, version: str) -> None:
    path = tmp_path / "roads.v2.parquet"
    frame.to_parquet(path, schema_version=version)
    layer = open_(path)
    assert (layer.format, layer.name, layer.crs) == ("GeoParquet", "roads.v2", "EPSG:25832")
    assert (layer.feature_count, layer.bounds) == (3, (0.0, 0.0, 1.0, 2.0))
    table, remarks = read(path)
    assert table["n"].to_pylist() == [1, 2, 3]
    assert [v and shapely.from_wkb(v) for v in table[GEOMETRY].to_pylist()] == list(frame.geometry)
    assert remarks == []


def test_crs_that_is_left_out_is_longitude_and_latitude(tmp_path: Path) -> None:
    assert open_(write(tmp_path / "a.parquet", {})).crs == "EPSG:4326"


def test_crs84_is_longitude_and_latitude(tmp_path: Path) -> None:
    crs84 = CRS("OGC:CRS84").to_json_dict()
    assert open_(write(tmp_path / "a.parquet", {}, geo(crs=crs84))).crs == "EPSG:4326"


def test_crs_of_null_is_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {}, geo(crs=None))
    assert "which CRS" in refusal(path).problem
    assert open_(path, converter_params={"source_crs": "EPSG:3857"}).crs == "EPSG:3857"


def test_crs_without_a_code_is_kept_whole(tmp_path: Path) -> None:
    own = CRS("+proj=laea +lat_0=10 +lon_0=20 +ellps=GRS80")
    layer = open_(write(tmp_path / "a.parquet", {}, geo(crs=own.to_json_dict())))
    assert CRS(layer.crs).equals(own)


def test_crs_as_text_is_understood(tmp_path: Path) -> None:
    wkt = CRS("EPSG:25832").to_wkt()
    assert open_(write(tmp_path / "a.parquet", {}, geo(crs=wkt))).crs == "EPSG:25832"


def test_crs_that_is_none_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {}, geo(crs={"id": {"authority": "EPSG", "code": 99}}))
    assert "none that PROJ understands" in refusal(path).problem
    assert open_(path, converter_params={"source_crs": "EPSG:3857"}).crs == "EPSG:3857"


def test_bounds_of_each_feature_are_left_out(tmp_path: Path, frame: Any) -> None:
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, write_covering_bbox=True, schema_version="1.1.0")
    assert "bbox" in pq.read_schema(path).names
    table, remarks = read(path)
    assert table.schema.names == [FID, "n", GEOMETRY]
    assert remarks == []


def test_edges_on_the_sphere_are_said(tmp_path: Path) -> None:
    (remark,) = read(write(tmp_path / "a.parquet", {}, geo(edges="spherical")))[1]
    assert "sphere" in remark


def test_other_geometries_stay_as_columns_and_are_said(tmp_path: Path, frame: Any) -> None:
    path = tmp_path / "a.parquet"
    frame["centre"] = geopandas.GeoSeries(frame.geometry.centroid, crs=25832)
    frame.to_parquet(path)
    table, (remark,) = read(path)
    assert "'centre'" in remark
    centres = [value and shapely.from_wkb(value) for value in table["centre"].to_pylist()]
    assert centres == list(frame["centre"])


@pytest.mark.parametrize("name", ["geometry", "GEOM", "wkb_geometry"])
def test_column_of_a_usual_name_is_the_geometry_and_it_is_said(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [1], name: [POINT]}), path)
    assert "which CRS" in refusal(path).problem
    table, (remark,) = read(path, converter_params={"source_crs": "EPSG:3857"})
    assert f"'{name}'" in remark
    assert table[GEOMETRY].to_pylist() == [POINT]


def test_file_without_geometry_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1], "geom": ["POINT (1 2)"]}), tmp_path / "a.parquet")
    assert "it has no geometry" in refusal(tmp_path / "a.parquet").problem


class Wkb(pa.ExtensionType):
    """What pyarrow writes as Parquet's own type GEOMETRY or GEOGRAPHY."""

    def __init__(self, metadata: bytes = b"{}") -> None:
        self._metadata = metadata
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return self._metadata

    @classmethod
    def __arrow_ext_deserialize__(cls, _: pa.DataType, metadata: bytes) -> "Wkb":
        return cls(metadata)


def logical(path: Path, metadata: bytes, **more: str) -> Path:
    pa.register_extension_type(Wkb())
    try:
        shapes = pa.ExtensionArray.from_storage(Wkb(metadata), pa.array([POINT, None]))
        table = pa.table({"n": [1, 2], "anything": shapes}).replace_schema_metadata(more)
        pq.write_table(table, path, store_schema=bool(more))
    finally:
        pa.unregister_extension_type("geoarrow.wkb")
    return path


@pytest.mark.parametrize(
    ("metadata", "crs"),
    [
        (b"{}", "EPSG:4326"),
        (b'{"crs": "EPSG:25832"}', "EPSG:25832"),
        (b'{"crs": "srid:25832"}', "EPSG:25832"),
        (b'{"crs": "OGC:CRS84"}', "EPSG:4326"),
    ],
)
def test_parquets_own_geometry_is_read(tmp_path: Path, metadata: bytes, crs: str) -> None:
    path = logical(tmp_path / "a.parquet", metadata)
    assert open_(path).crs == crs
    assert read(path)[0][GEOMETRY].to_pylist() == [POINT, None]


def test_parquets_own_geography_is_on_the_sphere(tmp_path: Path) -> None:
    (remark,) = read(logical(tmp_path / "a.parquet", b'{"edges": "spherical"}'))[1]
    assert "sphere" in remark


# GeoArrow

BOX, HOLE = shapely.box(0, 0, 9, 9), shapely.box(1, 1, 2, 2)
LINE = shapely.LineString([(0, 0), (1, 1), (2, 0)])
SHAPES = {
    "point": [shapely.Point(1, 2), None, shapely.Point(3, 4)],
    "point z": [shapely.Point(1, 2, 3)],
    "linestring": [LINE, None, LINE.reverse()],
    "polygon": [BOX.difference(HOLE), None, HOLE],
    "multipoint": [shapely.MultiPoint([(1, 2), (3, 4)]), None, shapely.MultiPoint([(5, 6)])],
    "multilinestring": [None, shapely.MultiLineString([LINE, LINE.reverse()])],
    "multipolygon": [shapely.MultiPolygon([BOX.difference(HOLE), shapely.box(20, 20, 21, 21)])],
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_geoarrow_becomes_wkb(tmp_path: Path, shapes: list[Any]) -> None:
    path = tmp_path / "a.parquet"
    frame = geopandas.GeoDataFrame({"n": range(len(shapes))}, geometry=shapes, crs=4326)
    frame.to_parquet(path, geometry_encoding="geoarrow", schema_version="1.1.0")
    table, _ = read(path)
    found = [value and shapely.from_wkb(value) for value in table[GEOMETRY].to_pylist()]
    assert [shape and shape.wkt for shape in found] == [shape and shape.wkt for shape in shapes]
    assert table[PROBLEM].null_count == len(shapes)


def test_ring_that_is_none_is_a_problem_of_its_feature_alone(tmp_path: Path) -> None:
    def ring(*points: tuple[float, float]) -> list[dict[str, float]]:
        return [{"x": x, "y": y} for x, y in points]

    good = [ring((0, 0), (1, 0), (1, 1), (0, 0))]
    bad = [ring((0, 0), (1, 0))]
    type_ = pa.list_(pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())])))
    shapes = pa.array([good, bad, None, good], type_)
    table, _ = read(write(tmp_path / "a.parquet", {"geom": shapes}, geo(encoding="polygon")))
    assert [value is None for value in table[GEOMETRY].to_pylist()] == [False, True, True, False]
    assert table[PROBLEM].to_pylist() == [None, "its geometry is unreadable", None, None]


@pytest.mark.parametrize("encoding", ["point", "polygon", "wkt", "GEOARROW", ""])
def test_geometry_that_is_not_what_its_encoding_says_is_refused(
    tmp_path: Path, encoding: str
) -> None:
    error = refusal(write(tmp_path / "a.parquet", {"n": [1]}, geo(encoding=encoding)))
    assert f"encoded as '{encoding.lower()}'" in error.problem


# Attributes

D = decimal.Decimal
INSTANT = dt.datetime(2020, 1, 2, 3, 4, 5, 678901)
COLUMNS: list[tuple[pa.Array, str, list[Any]]] = [
    (pa.array([2**64 - 1, None], pa.uint64()), "numeric", [D(2**64 - 1), None]),
    (pa.array([D("1.50"), None]), "numeric", [D("1.50"), None]),
    (pa.array([D("1e50")], pa.decimal256(76, 2)), "numeric", [D("1e50")]),
    (pa.array([D("1.5")], pa.decimal32(5, 1)), "numeric", [D("1.5")]),
    (pa.array([0.5], pa.float16()), "real", [0.5]),
    (pa.array(["a", None, "a"]).dictionary_encode(), "text", ["a", None, "a"]),
    (pa.array(["a", None], pa.large_string()), "text", ["a", None]),
    (pa.array(["a", None], pa.string_view()), "text", ["a", None]),
    (pa.array([b"\0", None], pa.binary_view()), "bytea", [b"\0", None]),
    (pa.array([b"abcd", None], pa.binary(4)), "bytea", [b"abcd", None]),
    (pa.nulls(2), "text", [None, None]),
    (pa.array([dt.date(2020, 1, 2)], pa.date64()), "date", [dt.date(2020, 1, 2)]),
    (pa.array([dt.time(1, 2)], pa.time32("s")), "time without time zone", [dt.time(1, 2)]),
    (pa.array([INSTANT], pa.timestamp("us")), "timestamp without time zone", [INSTANT]),
    (pa.array([INSTANT], pa.timestamp("ns")), "timestamp without time zone", [INSTANT]),
    (
        pa.array([INSTANT.replace(tzinfo=dt.UTC)], pa.timestamp("us", "Europe/Berlin")),
        "timestamp with time zone",
        [INSTANT.replace(tzinfo=dt.UTC)],
    ),
    (pa.array([dt.timedelta(5)], pa.duration("s")), "interval", [dt.timedelta(5)]),
    (
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0123456789abcdef"], pa.binary(16))),
        "uuid",
        [b"0123456789abcdef"],
    ),
    (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), "smallint[]", [[1, 2], None]),
    (pa.array([["a"]], pa.large_list(pa.large_string())), "text[]", [["a"]]),
    (pa.array([{"a": 1, "b": None}]), "jsonb", [b'\1{"a": 1, "b": null}']),
    (
        pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
        "jsonb",
        [b'\1{"k": 1}', None],
    ),
    (pa.array([[[1], None], None]), "jsonb", [b"\1[[1], null]", None]),
]


@pytest.mark.parametrize(
    ("column", "sql", "values"), COLUMNS, ids=[str(c[0].type) for c in COLUMNS]
)
def test_column_reaches_postgresql(
    tmp_path: Path, column: pa.Array, sql: str, values: list[Any]
) -> None:
    table, remarks = read(write(tmp_path / "a.parquet", {"c": column}))
    batch = table.select(["c"]).combine_chunks().to_batches()[0]
    planned = plan_columns(batch.schema)
    (encoded,), _ = encode_attributes(batch, planned)
    assert planned[0].sql_type == sql
    found = encoded.to_pylist()
    assert found == values
    assert remarks == []


def test_nanoseconds_that_postgresql_does_not_have_are_text(tmp_path: Path) -> None:
    columns = {
        "a": pa.array([1_000, 1_000_000_001, None], pa.timestamp("ns", "UTC")),
        "b.c": pa.array([1_001, None, 0], pa.timestamp("ns")),
        "d": pa.array([1_000, 2_000, None], pa.timestamp("ns")),
    }
    table, remarks = read(write(tmp_path / "a.parquet", columns))
    assert table["a"].to_pylist() == [
        *("1970-01-01T00:00:00.000001000Z", "1970-01-01T00:00:01.000000001Z", None)
    ]
    assert table["b.c"].to_pylist() == [
        *("1970-01-01T00:00:00.000001001", None, "1970-01-01T00:00:00.000000000")
    ]
    assert pa.types.is_timestamp(table.schema.field("d").type)
    assert [remark.split("'")[1] for remark in remarks] == ["a", "b.c"]


def test_old_timestamps_of_96_bits_do_not_wrap_around(tmp_path: Path) -> None:
    moment = dt.datetime(3020, 1, 2)
    column = pa.array([moment], pa.timestamp("us"))
    path = write(tmp_path / "a.parquet", {"c": column}, use_deprecated_int96_timestamps=True)
    assert read(path)[0]["c"].to_pylist() == [moment]


scalars: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(st.characters(codec="utf-8", min_codepoint=1)),
    pa.binary(): st.binary(),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.decimal128(20, 4): st.decimals("-1e15", "1e15", places=4),
    pa.list_(pa.int32()): st.lists(st.integers(-(2**31), 2**31 - 1)),
}
names = st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=1, max_size=30)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, pa.Array]:
    rows = draw(st.integers(1, 20))
    chosen = draw(st.lists(names.filter(lambda name: name not in OWN_COLUMNS), unique=True))
    columns = {}
    for name in chosen:
        type_ = draw(st.sampled_from(list(scalars)))
        items = st.lists(st.none() | scalars[type_], min_size=rows, max_size=rows)
        columns[name] = pa.array(draw(items), type_)
    return columns | {"geom": pa.array([POINT] * rows)}


@given(columns=tables(), group=st.integers(1, 7))
def test_any_table_survives(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, pa.Array], group: int
) -> None:
    path = write(tmp_path_factory.mktemp("p") / "a.parquet", columns, row_group_size=group)
    table, _ = read(path)
    names_ = [name for name in columns if name != "geom"]
    assert table.schema.names == [FID, *names_, GEOMETRY]
    batch = table.select(names_).combine_chunks().to_batches()[0]
    arrays, _ = encode_attributes(batch, plan_columns(batch.schema))
    for name, array in zip(names_, arrays, strict=True):
        assert array.to_pylist() == columns[name].to_pylist()
    assert table[FID].to_pylist() == list(range(len(columns["geom"])))


def test_attribute_called_like_a_column_of_the_layer_keeps_its_values(tmp_path: Path) -> None:
    table, _ = read(write(tmp_path / "a.parquet", {FID: ["x"], GEOMETRY: ["y"]}))
    assert table[f"{FID}_"].to_pylist() == ["x"]
    assert table[f"{GEOMETRY}_"].to_pylist() == ["y"]


# Limits and harm


def test_size_is_that_of_the_unpacked_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"c": pa.array([0.0] * 1_000_000)}, compression="zstd")
    assert path.stat().st_size < 1_000_000
    assert open_(path).bytes >= 8_000_000
    assert "the limit is" in refusal(path, limits={"max_file_size_gb": 0.005}).problem


def test_small_file_with_terabytes_of_text_comes_in_small_batches(tmp_path: Path) -> None:
    rows, text = 300, "x" * 1_000_000
    zeros = pa.array(np.zeros(rows, dtype=np.int32))
    column = pa.DictionaryArray.from_arrays(zeros, pa.array([text]))
    path = write(tmp_path / "a.parquet", {"c": column, "l": column}, compression="zstd")
    assert path.stat().st_size < 10_000
    seen = 0
    for batch in open_(path).batches():
        assert batch.nbytes < 1.1 * geoparquet.BATCH_LIMIT
        assert set(batch.column("c").to_pylist()) == {text}
        seen += batch.num_rows
    assert seen == rows


def test_text_in_lists_counts_too(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet", {"c": pa.array([["x" * 1000] * 1000] * 200)}, compression="zstd"
    )
    sizes = [batch.nbytes for batch in open_(path).batches()]
    assert len(sizes) > 1
    assert max(sizes) < 1.1 * geoparquet.BATCH_LIMIT


def test_single_feature_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoparquet, "BATCH_LIMIT", 1000)
    assert "1,001" in refusal(write(tmp_path / "a.parquet", {"c": ["x" * 980]})).problem


def deep(levels: int) -> pa.DataType:
    type_: pa.DataType = pa.int8()
    for _ in range(levels):
        type_ = pa.struct([("a", type_)])
    return type_


def test_schema_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    error = refusal(write(tmp_path / "a.parquet", {"c": pa.nulls(1, deep(1000))}))
    assert "nested" in error.problem


METADATA = [
    b"",
    b"nonsense",
    b"[]",
    b"[" * 100_000,
    b'{"primary_column": "geom"}',
    b'{"primary_column": "geom", "columns": []}',
    b'{"primary_column": "geom", "columns": {"geom": "WKB"}}',
    b'{"primary_column": ["geom"], "columns": {}}',
    b'{"primary_column": "gone", "columns": {"gone": {"encoding": "WKB"}}}',
]


@pytest.mark.parametrize("metadata", METADATA, ids=[text[:50].decode() for text in METADATA])
def test_metadata_that_are_not_valid_are_refused(tmp_path: Path, metadata: bytes) -> None:
    error = refusal(write(tmp_path / "a.parquet", {"n": [1]}, {"geo": metadata}))
    assert "metadata" in error.problem or "is missing" in error.problem


@pytest.mark.parametrize(
    "bbox", [[1, 2], ["a", 0, 1, 1], [170, 0, -170, 1], None, [0, 0, 1e999, 1]]
)
def test_bounds_that_can_not_be_are_not_believed(tmp_path: Path, bbox: Any) -> None:
    assert open_(write(tmp_path / "a.parquet", {"n": [1]}, geo(bbox=bbox))).bounds is None


def test_bounds_with_height_are_those_in_the_plane(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"n": [1]}, geo(bbox=[1, 2, -9, 3, 4, 9]))
    assert open_(path).bounds == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PAR1", "it is cut off"),
        (b"PAR1 and more", "it is cut off"),
        (b"fgb\3fgb\0", "its content is not Parquet"),
        (b"PARE....PARE", "its content is not Parquet"),
        (b"P", "its content is not Parquet"),
        (b"PAR1" + b"\xff" * 8 + b"PAR1", "can't read it"),
        (b"PAR1" + b"\0" * 8 + b"PAR1", "can't read it"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    assert problem in refusal(tmp_path / "a.parquet").problem


def test_file_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"n": range(100)})
    content = path.read_bytes()
    for cut in range(1, len(content), 97):
        path.write_bytes(content[:cut])
        assert refusal(path).remedy


ROWS = 200
_buffer = io.BytesIO()
pq.write_table(
    pa.table(
        {"n": range(ROWS), "l": [[i] for i in range(ROWS)], "geom": [POINT] * ROWS}
    ).replace_schema_metadata(geo()),
    _buffer,
    row_group_size=50,
    write_page_checksum=True,
)
WHOLE = _buffer.getvalue()


@settings(max_examples=300)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_file_is_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(WHOLE)
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    path.write_bytes(content)
    try:
        table, _ = read(path)
    except SourceError:
        return
    assert table.num_rows == ROWS


def test_file_that_another_part_of_the_project_writes_is_read(tmp_path: Path) -> None:
    identifier = uuid.uuid4()
    frame = geopandas.GeoDataFrame(
        {"id": [str(identifier)], "tags": [["a", "b"]]}, geometry=[LINE], crs=3857
    )
    frame.to_parquet(tmp_path / "a.parquet", compression="zstd")
    table, _ = read(tmp_path / "a.parquet")
    assert table["id"].to_pylist() == [str(identifier)]
    assert table["tags"].to_pylist() == [["a", "b"]]


@pytest.mark.parametrize("features", [0, 2, 4])
def test_other_number_of_rows_than_declared_is_damage(tmp_path: Path, features: int) -> None:
    layer = open_(write(tmp_path / "a.parquet", {"n": [1, 2, 3]}))
    with pytest.raises(SourceError, match="declares 3 rows"):
        layer.check_complete(features)
