"""FlatGeobuf: what GDAL gives, and what it would lose on the way."""

import datetime as dt
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyogrio.errors import DataSourceError

from geo_etl.errors import SourceError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.formats.layer import FID, GEOMETRY, Layer
from geo_etl.vector.source import open_layer

ROWS = 20
TYPES = {"int64": 7, "uint64": 8, "text": 11, "json": 12}
"""Numbers of column types (header.fbs)."""


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


def write(
    path: Path, columns: dict[str, Any], geometries: Any = None, *, index: bool = False, **more: Any
) -> Path:
    if geometries is None:
        rows = len(next(iter(columns.values())))
        geometries = shapely.to_wkb(shapely.points(np.arange(2.0 * rows).reshape(-1, 2)))
    table = pa.table({**columns, "geom": pa.array(geometries, pa.binary())})
    options = {"geometry_type": "Unknown", "crs": "EPSG:4326", **more}
    pyogrio.write_arrow(
        table,
        path,
        driver="FlatGeobuf",
        geometry_name="geom",
        SPATIAL_INDEX="YES" if index else "NO",
        **options,
    )
    return path


def retyped(path: Path, before: str, after: str) -> Path:
    """Change the type of the only column: the last byte of its kind in the header."""
    content = bytearray(path.read_bytes())
    end = 12 + int.from_bytes(content[8:12], "little")
    content[content.rindex(TYPES[before], 12, end)] = TYPES[after]
    path.write_bytes(content)
    return path


COLUMNS: list[tuple[pa.Array, pa.DataType]] = [
    (pa.array([True, None, False]), pa.bool_()),
    (pa.array([-(2**15), None, 7], pa.int16()), pa.int16()),
    (pa.array([-(2**31), None, 7], pa.int32()), pa.int32()),
    (pa.array([0, None, 2**32 - 1], pa.uint32()), pa.int64()),
    (pa.array([-(2**63), None, 2**63 - 1]), pa.int64()),
    (pa.array([0.5, None, -1.5], pa.float32()), pa.float32()),
    (pa.array([0.1, None, 1e300]), pa.float64()),
    (pa.array(["ä", None, ""]), pa.string()),
    (pa.array([b"\0\xff", None, b"x"]), pa.binary()),
]


@pytest.mark.parametrize(("column", "type_"), COLUMNS, ids=[str(c.type) for c, _ in COLUMNS])
@pytest.mark.parametrize("index", [True, False], ids=["index", "stream"])
def test_column_survives(tmp_path: Path, column: pa.Array, type_: pa.DataType, index: bool) -> None:
    path = write(tmp_path / "a.fgb", {"n": pa.array([1, 2, 3]), "c": column}, index=index)
    table, remarks = read(path)
    found = dict(zip(table["n"].to_pylist(), table["c"].to_pylist(), strict=True))
    assert found == dict(zip([1, 2, 3], column.to_pylist(), strict=True))
    assert table.schema.field("c").type == type_
    assert remarks == []


def test_layer_is_what_the_header_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fgb", {"n": pa.array([1, 2])}, layer="My layer", crs="EPSG:25832")
    layer = open_(path)
    assert (layer.format, layer.name, layer.crs) == ("FlatGeobuf", "My layer", "EPSG:25832")
    assert (layer.feature_count, layer.bounds) == (2, (0.0, 1.0, 2.0, 3.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
def test_bounds_that_can_not_be_are_not_believed(tmp_path: Path, value: float) -> None:
    path = write(tmp_path / "a.fgb", {"n": pa.array([1, 2])})
    largest_x, other = np.float64(2.0).tobytes(), np.float64(value).tobytes()
    content = path.read_bytes()
    path.write_bytes(content.replace(largest_x, other, 1))
    assert open_(path).bounds is None


def test_layer_of_another_name_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fgb", {"n": pa.array([1])}, layer="mine")
    error = refusal(path, converter_params={"layer_name": "yours"})
    assert "'mine'" in error.remedy


def test_json_is_json(tmp_path: Path) -> None:
    texts = ['{"a": [1]}', "null", None]
    path = retyped(write(tmp_path / "a.fgb", {"j": pa.array(texts)}), "text", "json")
    table, _ = read(path)
    assert table.schema.field("j").type.extension_name == "arrow.json"
    assert table["j"].to_pylist() == texts


def test_unsigned_integers_are_integers(tmp_path: Path) -> None:
    values = [0, 2**53 - 1, None]
    path = retyped(write(tmp_path / "a.fgb", {"u": pa.array(values)}), "int64", "uint64")
    table, _ = read(path)
    assert table.schema.field("u").type == pa.int64()
    assert table["u"].to_pylist() == values


def test_unsigned_integers_that_gdal_rounds_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fgb", {"u": pa.array([2**53 + 1])})
    assert "2^53" in refusal(retyped(path, "int64", "uint64")).problem


# Geometries


def test_missing_geometries_are_missing(tmp_path: Path) -> None:
    points = [shapely.Point(0, 0), None, shapely.Point(2, 2), None]
    wkb = [None if point is None else shapely.to_wkb(point) for point in points]
    table, _ = read(write(tmp_path / "a.fgb", {"n": pa.array([1, 2, 3, 4])}, wkb))
    table.validate(full=True)
    assert [v and shapely.from_wkb(v) for v in table[GEOMETRY].to_pylist()] == points
    assert table["n"].to_pylist() == [1, 2, 3, 4]


def test_geometries_of_several_types_are_read(tmp_path: Path) -> None:
    shapes = [shapely.Point(1, 2), shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (1, 1)])]
    table, _ = read(write(tmp_path / "a.fgb", {"n": pa.array([1, 2, 3])}, shapely.to_wkb(shapes)))
    assert all(shapely.equals(shapely.from_wkb(table[GEOMETRY].to_pylist()), shapes))


# Timestamps

UTC = dt.UTC
MOMENT = dt.datetime(2020, 1, 2, 3, 4, 5)


def stamps(path: Path, *texts: str | None) -> Path:
    """Timestamps as they are written in the file, by way of GeoJSON."""
    features = ",".join(
        '{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"t":'
        + (f'"{text}"' if text else "null")
        + "}}"
        for text in texts
    )
    source = path.with_suffix(".geojson")
    source.write_text(f'{{"type":"FeatureCollection","features":[{features}]}}')
    _, table = pyogrio.read_arrow(source, datetime_as_string=True)
    pyogrio.write_arrow(
        table, path, driver="FlatGeobuf", geometry_name="wkb_geometry",
        geometry_type="Point", crs="EPSG:4326", SPATIAL_INDEX="NO",
    )  # fmt: skip
    return path


def test_timestamps_keep_their_zone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fgb", {"t": pa.array([MOMENT, None], pa.timestamp("ms", "UTC"))})
    table, _ = read(path)
    assert table["t"].to_pylist() == [MOMENT.replace(tzinfo=UTC), None]


def test_timestamps_without_zone_get_none(tmp_path: Path) -> None:
    table, _ = read(write(tmp_path / "a.fgb", {"t": pa.array([MOMENT], pa.timestamp("ms"))}))
    assert table["t"].to_pylist() == [MOMENT]


def test_timestamps_of_which_some_have_a_zone_are_text(tmp_path: Path) -> None:
    texts = ["2020-01-02T03:04:05Z", "2020-01-02T03:04:05", None, "2020-01-02T03:04:05+02:00"]
    table, (remark,) = read(stamps(tmp_path / "a.fgb", *texts))
    assert table["t"].to_pylist() == texts
    assert remark.startswith("Of the 3 timestamps in column 't' 2 have a zone and 1 have none")


def test_timestamps_of_several_zones_are_moments(tmp_path: Path) -> None:
    path = stamps(tmp_path / "a.fgb", "2020-01-02T03:04:05Z", "2020-01-02T05:04:05+02:00")
    assert read(path)[0]["t"].to_pylist() == [MOMENT.replace(tzinfo=UTC)] * 2


def test_digits_that_gdal_cuts_from_a_timestamp_are_said(tmp_path: Path) -> None:
    path = stamps(tmp_path / "a.fgb", "2020-01-02T03:04:05.123Z")
    assert read(path)[1] == []
    content = path.read_bytes().replace(b"04:05.123Z", b"05.12345Z\0")
    path.write_bytes(content)
    assert open_(path).remarks == []
    layer = open_(path)
    list(layer.batches())
    assert layer.remarks[0].startswith("Timestamps were read to the millisecond")


# Damage


@pytest.mark.parametrize("index", [True, False], ids=["index", "stream"])
def test_file_that_is_cut_anywhere_is_refused(tmp_path: Path, index: bool) -> None:
    path = write(tmp_path / "a.fgb", {"n": pa.array(range(ROWS))}, index=index)
    content = path.read_bytes()
    refused = 0
    for cut in range(1, len(content), 41):
        path.write_bytes(content[:cut])
        refused += bool(refusal(path).remedy)
    assert refused == len(range(1, len(content), 41))


def test_cut_file_that_does_not_declare_its_features_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fgb", {"n": pa.array(range(ROWS))})
    content = path.read_bytes()
    header = content[12 : 12 + int.from_bytes(content[8:12], "little")]
    count = ROWS.to_bytes(8, "little")
    assert header.count(count) == 1
    streamed = content.replace(count, bytes(8), 1)
    path.write_bytes(streamed)
    assert open_(path).feature_count == -1
    assert read(path)[0].num_rows == ROWS
    path.write_bytes(streamed[:-1])
    assert "cut off after feature" in refusal(path).problem


def test_empty_layer_has_no_features(tmp_path: Path) -> None:
    layer = open_(write(tmp_path / "a.fgb", {"n": pa.array([], pa.int64())}, []))
    assert sum(batch.num_rows for batch in layer.batches()) == 0
    layer.check_complete(0)


@settings(max_examples=60)
@given(place=st.floats(0, 1), value=st.integers(0, 255))
def test_damaged_file_is_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int
) -> None:
    path = write(tmp_path_factory.mktemp("f") / "a.fgb", {"n": pa.array(range(ROWS))}, index=True)
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] = value
    path.write_bytes(content)
    try:
        table, _ = read(path)
    except SourceError:
        return
    assert table.num_rows == ROWS
    assert sorted(table[FID].to_pylist()) == list(range(ROWS))


@pytest.mark.parametrize("content", [b"fgb", b"PAR1", b"fgb\x02fgb\x00aaaaaaaa", b"{}"])
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.fgb"
    path.write_bytes(content)
    assert "its content is not FlatGeobuf" in refusal(path).problem


# GDAL


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A web server's address, and what was asked of it."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("handler", ["/vsicurl/", "/vsicurl_streaming/"])
def test_gdal_reaches_no_network(asked: tuple[str, list[str]], handler: str) -> None:
    address, paths = asked
    with pytest.raises(DataSourceError):
        pyogrio.read_info(f"{handler}{address}/a.fgb")
    assert paths == []
