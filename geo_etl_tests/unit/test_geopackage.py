"""GeoPackages: which layer, what SQLite really stores, and files that mean harm.

What must come out is read with Python's own sqlite3, or put in with it.
"""

import datetime as dt
import math
import sqlite3
import struct
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_etl.errors import SourceError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.attributes import encode_attributes, plan_columns
from geo_etl.vector.formats import geopackage_views
from geo_etl.vector.formats.layer import FID, GEOMETRY, OWN_COLUMNS, PROBLEM, Layer
from geo_etl.vector.source import open_layer


def spec(**values: Any) -> VectorSpec:
    return resolve_vector_spec([SpecLayer("test", values)])


def open_(path: Path, layer: str | None = None, **values: Any) -> Layer:
    parameters = values.pop("converter_params", {}) | ({"layer_name": layer} if layer else {})
    return open_layer(path, path.name, spec(converter_params=parameters, **values))


def read(path: Path, layer: str | None = None, **values: Any) -> tuple[pa.Table, list[str]]:
    """All features of a layer, and its remarks."""
    opened = open_(path, layer, **values)
    table = pa.Table.from_batches(opened.batches())
    opened.check_complete(table.num_rows)
    return table, opened.remarks


def refusal(path: Path, layer: str | None = None, **values: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path, layer, **values)
    return caught.value


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A GeoPackage with a layer of five points, and what SQL does to it."""
    return maker(tmp_path)


def maker(folder: Path) -> Make:
    def write(sql: str = "", *, layer: str = "t", **columns: Any) -> Path:
        path = folder / "a.gpkg"
        path.write_bytes(plain() if layer == "t" and not columns else new(layer, columns))
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)
            connection.commit()
        return path

    return write


@cache
def plain() -> bytes:
    return new("t", {})


def new(layer: str, columns: dict[str, Any]) -> bytes:
    """A GeoPackage without triggers: they use functions that Python's SQLite has not."""
    points = shapely.points([[i, i] for i in range(5)])
    frame = geopandas.GeoDataFrame(columns or {"n": range(5)}, geometry=points, crs=4326)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.gpkg")
        pyogrio.write_dataframe(frame, path, layer=layer)
        with closing(sqlite3.connect(path)) as connection:
            triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            for (trigger,) in connection.execute(triggers).fetchall():
                quoted = trigger.replace('"', '""')
                connection.execute(f'DROP TRIGGER "{quoted}"')
            connection.commit()
        return path.read_bytes()


def column_of(make: Make, declared: str, *values: Any) -> Path:
    """The layer with a column `c` that holds values, from its first row on."""
    path = make(f"ALTER TABLE t ADD COLUMN c {declared}")
    with closing(sqlite3.connect(path)) as connection:
        for fid, value in enumerate(values, start=1):
            connection.execute("UPDATE t SET c = ? WHERE fid = ?", (value, fid))
        connection.commit()
    return path


def view(query: str) -> str:
    return (
        f"CREATE VIEW v AS {query};"
        "INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('v', 'features', 4326);"
        "INSERT INTO gpkg_geometry_columns VALUES ('v', 'geom', 'POINT', 4326, 0, 0);"
    )


# Layers

NAMES = ["with space", "dots.in.it", "it's", 'quo"te', "semi;colon", "Ümläut", 'x"); DROP TABLE t']


@pytest.mark.parametrize("name", NAMES)
def test_layer_is_read_whatever_its_name(make: Make, name: str) -> None:
    table, _ = read(make(layer=name), name)
    assert table["n"].to_pylist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["a b", "a.b", "a'b", 'a"b', "a;b", "Straße", "select", "A;--"])
def test_column_is_read_whatever_its_name(make: Make, name: str) -> None:
    table, _ = read(make(**{name: range(5)}))
    assert table[name].to_pylist() == [0, 1, 2, 3, 4]


def test_several_layers_are_listed(tmp_path: Path, make: Make) -> None:
    path = make(layer="one")
    frame = geopandas.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(0, 0)], crs=4326)
    pyogrio.write_dataframe(frame, path, layer="it's; two", append=True)
    assert refusal(path).remedy.endswith("one of: 'one', 'it's; two'.")
    assert read(path, "it's; two")[0]["n"].to_pylist() == [1]


OTHERS = """
    CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER);
    INSERT INTO gpkg_contents (table_name, data_type) VALUES ('numbers', 'attributes');
    CREATE TABLE scratch (a);
"""


def test_tables_without_geometries_are_left_out_and_said_so(make: Make) -> None:
    table, remarks = read(make(OTHERS))
    assert table.num_rows == 5
    assert remarks == [
        "Not read, since it has no geometries: 'numbers' (attributes), 'scratch' (table)."
    ]


@pytest.mark.parametrize("name", ["numbers", "scratch"])
def test_table_without_geometries_can_not_be_the_layer(make: Make, name: str) -> None:
    error = refusal(make(OTHERS), name)
    assert f"'{name}' has no geometries" in error.problem
    assert error.remedy.endswith("'t'.")


def test_geopackage_of_tiles_is_refused(make: Make) -> None:
    path = make("DELETE FROM gpkg_geometry_columns; UPDATE gpkg_contents SET data_type = 'tiles'")
    assert refusal(path).problem == "it has no layer with geometries (it holds tiles)"


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("CREATE TABLE a (b)", "a SQLite database"),
        ("CREATE TABLE tiles (a); CREATE TABLE metadata (b)", "MBTiles"),
        ("CREATE VIEW gpkg_contents AS SELECT 1 AS table_name", "a SQLite database"),
    ],
)
def test_other_sqlite_is_refused(tmp_path: Path, sql: str, kind: str) -> None:
    path = tmp_path / "a.gpkg"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)
    assert f"it is {kind} and no GeoPackage" in refusal(path).problem


@pytest.mark.parametrize(
    ("srs", "definition"),
    [
        (0, "undefined"),
        (-1, "undefined"),
        (0, 'GEOGCS["WGS 84"]'),
        (99999, 'LOCAL_CS["Undefined SRS",UNIT["unknown",0]]'),
    ],
)
def test_undefined_srs_is_no_crs(make: Make, srs: int, definition: str) -> None:
    path = make(
        f"""
        DELETE FROM gpkg_spatial_ref_sys WHERE srs_id = {srs};
        INSERT INTO gpkg_spatial_ref_sys VALUES ('x', {srs}, 'NONE', {srs}, '{definition}', NULL);
        UPDATE gpkg_geometry_columns SET srs_id = {srs};
        """
    )
    assert "which CRS" in refusal(path).problem
    assert open_(path, converter_params={"source_crs": "EPSG:25832"}).crs == "EPSG:25832"


def test_layer_that_gdal_writes_without_crs_has_none(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(0, 0)])
    with pytest.warns(UserWarning, match="crs"):
        pyogrio.write_dataframe(frame, tmp_path / "a.gpkg")
    assert "which CRS" in refusal(tmp_path / "a.gpkg").problem


@pytest.mark.parametrize("count", [0, 1, 10**15, -5])
def test_count_that_the_file_declares_is_not_believed(make: Make, count: int) -> None:
    path = make(f"UPDATE gpkg_ogr_contents SET feature_count = {count}")
    assert open_(path).feature_count == 5
    assert read(path)[0].num_rows == 5


@pytest.mark.parametrize("extent", ["1e999", "'x'", "NULL", "-1e308"])
def test_extent_that_can_not_be_harms_nothing(make: Make, extent: str) -> None:
    path = make(f"UPDATE gpkg_contents SET min_x = {extent}, max_y = {extent}")
    bounds = open_(path).bounds
    assert bounds is None or all(map(math.isfinite, bounds))
    assert read(path)[0].num_rows == 5


def test_gaps_in_the_ids_stay(make: Make) -> None:
    table, _ = read(make("DELETE FROM t WHERE fid = 2; UPDATE t SET fid = 900 WHERE fid = 4"))
    assert table[FID].to_pylist() == table["fid"].to_pylist() == [1, 3, 5, 900]
    assert table["n"].to_pylist() == [0, 2, 4, 3]


def test_file_with_a_write_ahead_log_is_read_without_it(make: Make) -> None:
    path = make("PRAGMA journal_mode = WAL")
    assert read(path)[0].num_rows == 5
    assert [file.name for file in path.parent.iterdir()] == ["a.gpkg"]


def test_codes_of_a_domain_are_not_replaced_by_their_labels(make: Make) -> None:
    path = make(
        """
        CREATE TABLE gpkg_data_columns (table_name TEXT, column_name TEXT, name TEXT, title TEXT,
            description TEXT, mime_type TEXT, constraint_name TEXT);
        CREATE TABLE gpkg_data_column_constraints (constraint_name TEXT, constraint_type TEXT,
            value TEXT, min NUMERIC, min_is_inclusive BOOLEAN, max NUMERIC,
            max_is_inclusive BOOLEAN, description TEXT);
        CREATE TABLE IF NOT EXISTS gpkg_extensions (table_name TEXT, column_name TEXT,
            extension_name TEXT, definition TEXT, scope TEXT);
        INSERT INTO gpkg_extensions VALUES ('gpkg_data_columns', NULL, 'gpkg_schema', '', '');
        INSERT INTO gpkg_data_columns VALUES ('t', 'n', NULL, NULL, NULL, NULL, 'd');
        INSERT INTO gpkg_data_column_constraints VALUES
            ('d', 'enum', '0', NULL, NULL, NULL, NULL, 'none'),
            ('d', 'enum', '1', NULL, NULL, NULL, NULL, 'one');
        """,
        n=pa.array([0, 1, 7, None, 1], pa.int32()).to_pandas(types_mapper=lambda _: "Int32"),
    )
    assert read(path)[0]["n"].to_pylist() == [0, 1, 7, None, 1]


# Values that are what their column says

EXACT: list[tuple[str, list[Any], pa.DataType]] = [
    ("BOOLEAN", [0, 1, None], pa.bool_()),
    ("TINYINT", [-128, 127, 255], pa.int32()),
    ("SMALLINT", [-(2**15), 2**15 - 1], pa.int16()),
    ("MEDIUMINT", [-(2**31), 2**31 - 1], pa.int32()),
    ("INT", [-(2**63), 2**63 - 1], pa.int64()),
    ("INTEGER", [-(2**63), 2**63 - 1, None], pa.int64()),
    ("FLOAT", [0.5, 1.5, None, 0.0, struct.unpack("f", b"\xcd\xcc\xcc=")[0]], pa.float32()),
    ("DOUBLE", [0.1, 1e300], pa.float64()),
    ("REAL", [0.1, -1e-300, None], pa.float64()),
    ("TEXT", ["ä", "", None], pa.string()),
    ("TEXT(2)", ["longer than declared"], pa.string()),
    ("BLOB", [b"", b"\0\xff", None], pa.binary()),
    ("DATE", ["2020-02-29", None], pa.date32()),
    ("DATETIME", ["2020-02-29T23:59:59Z", "1900-01-31T00:00:00.123Z"], pa.timestamp("ms", "UTC")),
]


@pytest.mark.parametrize(("declared", "values", "type_"), EXACT, ids=[e[0] for e in EXACT])
def test_column_of_its_own_type_keeps_it(
    make: Make, declared: str, values: list[Any], type_: pa.DataType
) -> None:
    table, remarks = read(column_of(make, declared, *values))
    convert = {
        "BOOLEAN": bool,
        "DATE": dt.date.fromisoformat,
        "DATETIME": dt.datetime.fromisoformat,
    }.get(declared, lambda value: value)
    expected = [None if value is None else convert(value) for value in values]
    assert table["c"].to_pylist()[: len(values)] == expected
    assert table.schema.field("c").type == type_
    assert remarks == []


JSON = """
    CREATE TABLE gpkg_data_columns (table_name TEXT, column_name TEXT, name TEXT, title TEXT,
        description TEXT, mime_type TEXT, constraint_name TEXT);
    CREATE TABLE IF NOT EXISTS gpkg_extensions (table_name TEXT, column_name TEXT,
        extension_name TEXT, definition TEXT, scope TEXT);
    INSERT INTO gpkg_extensions VALUES ('gpkg_data_columns', NULL, 'gpkg_schema', '', '');
    INSERT INTO gpkg_data_columns VALUES ('t', 'j', NULL, NULL, NULL, 'application/json', NULL);
    ALTER TABLE t ADD COLUMN j TEXT;
"""


def test_json_is_json(make: Make) -> None:
    table, _ = read(make(JSON + """UPDATE t SET j = '{"a":' || n || '}' WHERE n > 0"""))
    assert table.schema.field("j").type.extension_name == "arrow.json"
    assert table["j"].to_pylist() == [None, *(f'{{"a":{n}}}' for n in range(1, 5))]


def test_json_that_is_none_is_text(make: Make) -> None:
    table, remarks = read(make(JSON + "UPDATE t SET j = '{}'; UPDATE t SET j = '{' WHERE n = 2"))
    assert table["j"].to_pylist() == ["{}", "{}", "{", "{}", "{}"]
    assert remarks == [
        "Column 'j': It is declared JSON and holds other values, such as '{'; it was read as text."
    ]


# Values that are something else

LOOSE: list[tuple[str, list[Any], list[Any], pa.DataType]] = [
    ("INTEGER", [1, "abc", None], ["1", "abc", None], pa.string()),
    ("INTEGER", [1, 1.5], [1.0, 1.5], pa.float64()),
    ("INTEGER", [2**60, 1.5], [str(2**60), "1.5"], pa.string()),
    ("INTEGER", [1, b"\xab"], ["1", "ab"], pa.string()),
    ("BOOLEAN", [0, 1, 2], [0, 1, 2], pa.int64()),
    ("BOOLEAN", [1, "yes"], ["1", "yes"], pa.string()),
    ("SMALLINT", [1, 100_000], [1, 100_000], pa.int64()),
    ("MEDIUMINT", [2**40, None], [2**40, None], pa.int64()),
    ("FLOAT", [0.1, 0.5], [0.1, 0.5], pa.float64()),
    ("FLOAT", [1e300], [1e300], pa.float64()),
    ("REAL", [0.1, "n/a"], ["0.1", "n/a"], pa.string()),
    ("BLOB", ["text", "more"], ["text", "more"], pa.string()),
    ("TEXT", [b"\x01", "a"], ["01", "a"], pa.string()),
    ("DATE", ["2020-02-30", "2020-02-28"], ["2020-02-30", "2020-02-28"], pa.string()),
    ("DATE", ["01.02.2020"], ["01.02.2020"], pa.string()),
    ("DATETIME", ["soon"], ["soon"], pa.string()),
    ("DATETIME", [5], [5], pa.int64()),
]
LOOSE_IDS = [f"{declared}-{values}" for declared, values, _, _ in LOOSE]


@pytest.mark.parametrize(("declared", "values", "expected", "type_"), LOOSE, ids=LOOSE_IDS)
def test_value_of_another_type_survives_and_is_said(
    make: Make, declared: str, values: list[Any], expected: list[Any], type_: pa.DataType
) -> None:
    table, (remark,) = read(column_of(make, declared, *values))
    assert table["c"].to_pylist()[: len(values)] == expected
    assert table.schema.field("c").type == type_
    assert remark.startswith(f"Column 'c': It is declared {declared} and holds other values")


UNKNOWN: list[tuple[str, list[Any], pa.DataType]] = [
    ("VARCHAR(10)", ["a", "b"], pa.string()),
    ("", [1, 2], pa.int64()),
    ("BIGINT", [2**62, None], pa.int64()),
    ("NUMERIC", [1, 0.5], pa.float64()),
    ("WHATEVER", [b"\0"], pa.binary()),
    ("POINT", [b"GP"], pa.binary()),
]


@pytest.mark.parametrize(("declared", "values", "type_"), UNKNOWN, ids=[u[0] for u in UNKNOWN])
def test_column_of_a_type_that_the_format_does_not_have_is_not_lost(
    make: Make, declared: str, values: list[Any], type_: pa.DataType
) -> None:
    table, remarks = read(column_of(make, declared, *values))
    assert table["c"].to_pylist()[: len(values)] == values
    assert table.schema.field("c").type == type_
    assert remarks == []


def test_generated_column_is_read(make: Make) -> None:
    table, _ = read(make("ALTER TABLE t ADD COLUMN c INTEGER AS (n * 2)"))
    assert table["c"].to_pylist() == [0, 2, 4, 6, 8]


Z, PLUS, NONE = "2020-01-02T03:04:05Z", "2020-01-02T05:04:05+02:00", "2020-01-02T03:04:05"
MOMENT = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def test_timestamps_of_several_zones_are_the_same_moments(make: Make) -> None:
    table, remarks = read(column_of(make, "DATETIME", Z, PLUS, None, "2020-01-02 03:04:05Z"))
    assert table["c"].to_pylist() == [MOMENT, MOMENT, None, MOMENT, None]
    assert remarks == []


def test_timestamps_without_zone_get_none(make: Make) -> None:
    table, _ = read(column_of(make, "DATETIME", NONE, "2020-01-02 03:04"))
    assert table.schema.field("c").type == pa.timestamp("us")
    assert table["c"].to_pylist()[:2] == [
        dt.datetime(2020, 1, 2, 3, 4, 5),
        dt.datetime(2020, 1, 2, 3, 4),
    ]


def test_timestamps_of_which_some_have_a_zone_are_text(make: Make) -> None:
    table, (remark,) = read(column_of(make, "DATETIME", Z, NONE, PLUS))
    assert table["c"].to_pylist()[:3] == [Z, NONE, PLUS]
    assert remark.startswith("Of the 3 timestamps in column 'c' 2 have a zone and 1 have none")


def test_microseconds_survive(make: Make) -> None:
    table, _ = read(column_of(make, "DATETIME", "2020-01-02T03:04:05.123456Z"))
    assert table["c"].to_pylist()[0] == MOMENT.replace(microsecond=123456)


@pytest.mark.parametrize(
    "value", ["2020-01-02T03:04:05.1234567Z", "2020-01-02T24:00:00Z", "2020-02-30T00:00:00Z"]
)
def test_timestamp_that_can_not_be_kept_is_text(make: Make, value: str) -> None:
    assert read(column_of(make, "DATETIME", Z, value))[0]["c"].to_pylist()[:2] == [Z, value]


def test_text_goes_on_behind_a_nul(make: Make) -> None:
    table, remarks = read(column_of(make, "TEXT", "a\0b", "c"))
    assert table["c"].to_pylist()[:2] == ["a\0b", "c"]
    assert remarks == []


def test_feature_with_text_that_is_no_utf8_has_a_problem(make: Make) -> None:
    path = make("ALTER TABLE t ADD COLUMN c TEXT; UPDATE t SET c = CAST(x'6D9F' AS TEXT) WHERE n=2")
    table, _ = read(path)
    assert table["c"].to_pylist() == [None, None, "m\\x9f", None, None]
    assert table[PROBLEM].to_pylist() == [
        *(None, None, "its text in column 'c' is not UTF-8", None, None)
    ]


def test_text_in_another_encoding_is_read_in_the_one_given(make: Make) -> None:
    path = make("ALTER TABLE t ADD COLUMN c TEXT; UPDATE t SET c = CAST(x'6DFC' AS TEXT)")
    table, _ = read(path, converter_params={"encoding": "cp1252"})
    assert table["c"].to_pylist() == ["mü"] * 5
    assert table[PROBLEM].null_count == 5


stored = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.binary()
stored |= st.text(st.characters(codec="utf-8"))
DECLARED = ["INTEGER", "SMALLINT", "BOOLEAN", "REAL", "FLOAT", "TEXT", "BLOB", "DATE", "DATETIME"]
DECLARED += ["", "NUMERIC", "VARCHAR(3)"]


def same(found: Any, value: Any) -> bool:
    """Whether a value came out, if need be as text of it."""
    if isinstance(found, str) and not isinstance(value, str):
        if isinstance(value, bytes):
            return bytes.fromhex(found) == value
        return bool(value is not None and type(value)(found) == value)
    if isinstance(found, dt.date):
        return found.isoformat()[:10] == str(value)[:10]
    return bool(found == value)


@settings(max_examples=60)
@given(declared=st.sampled_from(DECLARED), values=st.lists(stored, min_size=5, max_size=5))
def test_whatever_sqlite_stores_comes_out_unchanged(
    tmp_path_factory: pytest.TempPathFactory, declared: str, values: list[Any]
) -> None:
    path = column_of(maker(tmp_path_factory.mktemp("g")), declared, *values)
    with closing(sqlite3.connect(path)) as connection:
        expected = [value for (value,) in connection.execute("SELECT c FROM t ORDER BY fid")]
    table, _ = read(path)
    found = table["c"].to_pylist()
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))
    (batch,) = table.drop_columns(list(OWN_COLUMNS)).combine_chunks().to_batches()
    columns = plan_columns(batch.schema)
    arrays, _ = encode_attributes(batch, columns)
    assert [column.original for column in columns] == ["fid", "n", "c"]
    assert arrays[2].null_count == expected.count(None)


# Geometries

HEADER = b"GP\0\x01" + struct.pack("<i", 4326)
WKB = shapely.to_wkb(shapely.Point(1, 2))


@pytest.mark.parametrize(
    "blob", [b"", b"GP", "text", 7, b"XX" + HEADER[2:] + WKB, HEADER], ids=repr
)
def test_geometry_that_is_none_is_a_problem_and_not_missing(make: Make, blob: Any) -> None:
    path = make()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE t SET geom = ? WHERE fid = 2", (blob,))
        connection.execute("UPDATE t SET geom = NULL WHERE fid = 3")
        connection.commit()
    table, _ = read(path)
    nothing = [None] * 3
    assert table[PROBLEM].to_pylist() == [None, "its geometry is unreadable", *nothing]
    assert [value is None for value in table[GEOMETRY].to_pylist()] == [False, True, True] + [
        False
    ] * 2


def test_reading_says_nothing_on_standard_error(make: Make, capfd: Any) -> None:
    read(make(view("SELECT fid, CAST('xx' AS BLOB) AS geom FROM t")), "v")
    assert capfd.readouterr() == ("", "")


# Views


def test_view_is_read_like_a_table(make: Make) -> None:
    query = "SELECT fid, geom, n, n * 2.5 AS half, upper('a' || n) AS u FROM t WHERE n > 1"
    table, _ = read(make(view(query)), "v")
    assert table[FID].to_pylist() == [3, 4, 5]
    assert table["half"].to_pylist() == [5.0, 7.5, 10.0]
    assert table["u"].to_pylist() == ["A2", "A3", "A4"]


def test_geometry_that_a_view_makes_of_nothing_is_a_problem(make: Make) -> None:
    table, _ = read(make(view("SELECT fid, CAST('GP' AS BLOB) AS geom FROM t")), "v")
    assert table[PROBLEM].to_pylist() == ["its geometry is unreadable"] * 5


BOMB = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"
HOSTILE = [
    (f"{BOMB} SELECT n AS fid, (SELECT geom FROM t) AS geom FROM r", "is recursive"),
    ("SELECT fid, geom, zeroblob(1000000000) AS z FROM t", "calls the function zeroblob"),
    ("SELECT fid, geom, load_extension('x') AS z FROM t", "load_extension"),
    ("SELECT fid, geom, value FROM t, json_each('[1]')", "reads 'json_each'"),
    ("SELECT fid, geom, id FROM t, rtree_t_geom", "unsafe use of virtual table"),
    ("SELECT fid, geom FROM nowhere", "can't be read"),
    ("SELECT geom, n FROM t", "without a column of unique whole numbers"),
    ("SELECT t.fid, t.geom FROM t, t AS u", "without a column of unique whole numbers"),
]


@pytest.mark.parametrize(("query", "problem"), HOSTILE, ids=[why for _, why in HOSTILE])
def test_view_that_does_more_than_select_is_refused(make: Make, query: str, problem: str) -> None:
    assert problem in refusal(make(view(query)), "v").problem


def test_view_behind_a_view_is_looked_at_too(make: Make) -> None:
    sql = f"CREATE VIEW w AS {BOMB} SELECT n FROM r;" + view("SELECT fid, geom, w.n FROM t, w")
    assert "is recursive" in refusal(make(sql), "v").problem


def test_view_with_endless_work_is_stopped(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geopackage_views, "MAX_STEPS", 3_000_000)
    tables = ", ".join(f"t AS t{i}" for i in range(12))
    total = " + ".join(f"t{i}.n" for i in range(12))
    path = make(view(f"SELECT t.fid, t.geom FROM t, {tables} WHERE {total} < 0"))
    assert "takes too long" in refusal(path, "v").problem


def test_view_with_more_rows_than_allowed_is_not_read(make: Make) -> None:
    path = make(view("SELECT t.fid, t.geom FROM t, t AS u, t AS v, t AS w"))
    assert "at least 101 features" in refusal(path, "v", limits={"max_features": 100}).problem


# Files that mean harm


def test_expression_that_makes_huge_values_is_refused(make: Make) -> None:
    path = make("ALTER TABLE t ADD COLUMN z BLOB AS (zeroblob(300000000))")
    assert "too big" in refusal(path).problem


def test_trigger_is_never_run(make: Make) -> None:
    path = make("CREATE TRIGGER x AFTER UPDATE ON t BEGIN DELETE FROM t; END")
    before = path.read_bytes()
    assert read(path)[0].num_rows == 5
    assert path.read_bytes() == before


def test_layer_that_is_a_virtual_table_is_no_layer(make: Make) -> None:
    path = make(
        "CREATE VIRTUAL TABLE f USING fts5(geom);"
        "INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('f', 'features', 4326);"
        "INSERT INTO gpkg_geometry_columns VALUES ('f', 'geom', 'POINT', 4326, 0, 0);"
    )
    assert "virtual table" in refusal(path, "f").problem


@settings(max_examples=60)
@given(place=st.floats(0, 1), value=st.integers(0, 255))
def test_damaged_file_is_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int
) -> None:
    path = maker(tmp_path_factory.mktemp("g"))()
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] = value
    path.write_bytes(content)
    try:
        table, _ = read(path)
    except SourceError:
        return
    assert table.num_rows == 5


# Real files


def real(shared_data: Path, name: str) -> Path:
    return shared_data / "vector" / "gpkg" / name


def test_real_file_with_undefined_srs_asks_for_a_crs(shared_data: Path) -> None:
    path = real(shared_data, "test_json.gpkg")
    assert "which CRS" in refusal(path).problem
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        expected = connection.execute("SELECT fid, EAS_ID, AREA FROM foo ORDER BY fid").fetchall()
    table, _ = read(path, converter_params={"source_crs": "EPSG:27700"})
    columns = [table[name].to_pylist() for name in ("fid", "EAS_ID", "AREA")]
    assert list(zip(*columns, strict=True)) == expected


REAL = [
    ("bubenec.gpkg", "plots"),
    ("bubenec.gpkg", "tessellation"),
    ("bug_21100-wierd_field_names.gpkg", "prova2"),
    ("geopackage.gpkg", "geopackage"),
    ("invalid.gpkg", "INVALID LAYER_name"),
    ("nc.gpkg", "nc.gpkg"),
    ("test_gpkg_nulls.gpkg", "test_gpkg_nulls"),
]


@pytest.mark.parametrize(("name", "layer"), REAL, ids=[f"{n}:{la}" for n, la in REAL])
def test_real_layer_has_the_values_that_sqlite_reads(
    shared_data: Path, name: str, layer: str
) -> None:
    path = real(shared_data, name)
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        cursor = connection.execute(f'SELECT * FROM "{layer}" ORDER BY fid')
        names = [column[0] for column in cursor.description]
        expected = [dict(zip(names, row, strict=True)) for row in cursor]
    table, remarks = read(path, layer)
    found = table.to_pylist()
    assert remarks == [] or all(remark.startswith("Not read") for remark in remarks)
    assert len(found) == len(expected)
    for feature, row in zip(found, expected, strict=True):
        geometry = row.pop("geom", row.pop("geometry", None))
        assert (feature[GEOMETRY] is None) == (geometry is None)
        for column, value in row.items():
            moment = isinstance(feature[column], dt.datetime)
            shown = feature[column].isoformat()[:19] if moment else feature[column]
            shown = shown.isoformat() if isinstance(shown, dt.date) else shown
            assert shown == (value[:19] if moment else value), (column, row)
