"""Hostile and broken files: a clear error with a way out, in bounded time, and nothing left."""

import json
import resource
import sqlite3
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
import sqlalchemy as sa

from geo_etl_tests.conftest import failure_of
from geo_etl_tests.made import squares, write

SECONDS = 60
MEGABYTES = 700
"""By how much the process may grow over a refused file."""
VRT = (
    "<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>{secret}</SrcDataSource>"
    "</OGRVRTLayer></OGRVRTDataSource>"
)
POINT = '{"type": "Point", "coordinates": [1, 2]}'


def text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_text(content)
        return path

    return make


def binary(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def disguised_vrt(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        secret = write(folder / "other.gpkg", squares(1), {"kept": ["secret"]})
        path = folder / name
        path.write_text(VRT.format(secret=secret))
        return path

    return make


def zipped(name: str, *members: tuple[str, bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members:
                archive.writestr(member, content)
        return path

    return make


def plain_sqlite(folder: Path) -> Path:
    path = folder / "plain.gpkg"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER)")
    connection.commit()
    connection.close()
    return path


def endless_view(folder: Path) -> Path:
    """A layer that is a view without an end."""
    path = write(folder / "endless.gpkg", squares(1))
    connection = sqlite3.connect(path)
    (layer,) = connection.execute("SELECT table_name FROM gpkg_contents").fetchone()
    connection.executescript(
        f'ALTER TABLE "{layer}" RENAME TO kept;'
        f'CREATE VIEW "{layer}" AS WITH RECURSIVE c(fid) AS (SELECT 1 UNION ALL SELECT fid + 1'
        " FROM c) SELECT c.fid, kept.geom, kept.n FROM c, kept;"
    )
    connection.close()
    return path


def billion_features(folder: Path) -> Path:
    """A shapefile's table that says it has 2³¹ records."""
    path = folder / "many.zip"
    write(folder / "many.shp", squares(1))
    table = bytearray((folder / "many.dbf").read_bytes())
    table[4:8] = struct.pack("<I", 2**31)
    with zipfile.ZipFile(path, "w") as archive:
        for suffix in ("shp", "shx", "prj"):
            archive.write(folder / f"many.{suffix}", f"many.{suffix}")
        archive.writestr("many.dbf", bytes(table))
    return path


KML_BOMB = (
    '<?xml version="1.0"?><!DOCTYPE kml [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{("&" + a + ";") * 10}">'
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><kml><Placemark><name>&i;</name><Point><coordinates>1,2</coordinates></Point>"
    "</Placemark></kml>"
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE kml [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    "<kml><Placemark><name>&a;</name><Point><coordinates>1,2</coordinates></Point></Placemark></kml>"
)
FILES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "deep json": (text("deep.geojson", "[" * 100_000), {}),
    "deep coordinates": (
        text(
            "deep.json",
            '{"type": "Polygon", "coordinates": ' + "[" * 100_000 + "]" * 100_000 + "}",
        ),
        {},
    ),
    "deep properties": (
        text(
            "deep.geojsonl",
            f'{{"type": "Feature", "geometry": {POINT}, "properties": {{"a": '
            + '{"b": ' * 100_000
            + "1"
            + "}" * 100_000
            + "}}",
        ),
        {},
    ),
    "vrt as json": (disguised_vrt("x.geojson"), {}),
    "vrt as geopackage": (disguised_vrt("x.gpkg"), {}),
    "vrt as csv": (disguised_vrt("x.csv"), {}),
    "vrt as kml": (disguised_vrt("x.kml"), {}),
    "vrt as flatgeobuf": (disguised_vrt("x.fgb"), {}),
    "vrt as parquet": (disguised_vrt("x.parquet"), {}),
    "vrt as shapefile": (disguised_vrt("x.shp"), {}),
    "vrt in a zip": (zipped("x.zip", ("x.vrt", VRT.format(secret="/etc/passwd").encode())), {}),
    "gdalg as json": (
        text("x.json", '{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline"}'),
        {},
    ),
    "sqlite that is no geopackage": (plain_sqlite, {}),
    "view without an end": (endless_view, {}),
    "zip bomb": (
        zipped("bomb.zip", ("a.shp", bytes(300_000_000)), ("a.dbf", b""), ("a.shx", b"")),
        {"limits": {"max_file_size_gb": 0.1}},
    ),
    "zip that leads outside": (
        zipped("out.zip", ("../../etc/x.shp", b"x"), ("../../etc/x.dbf", b"x")),
        {},
    ),
    "kmz bomb": (
        zipped("bomb.kmz", ("doc.kml", b"<kml>" + bytes(300_000_000))),
        {"limits": {"max_file_size_gb": 0.1}},
    ),
    "entity bomb": (text("bomb.kml", KML_BOMB), {}),
    "entity that reads a file": (text("out.kml", OUTSIDE), {}),
    "deep kml": (text("deep.kml", "<kml>" + "<Folder>" * 100_000), {}),
    "csv without an end": (text("quote.csv", 'x,y,t\n1,2,"' + "a" * 50_000_000), {}),
    "csv of a million columns": (text("wide.csv", "x,y" + ",c" * 1_000_000 + "\n1,2\n"), {}),
    "noise as geopackage": (binary("n.gpkg", bytes(range(256)) * 40), {}),
    "noise behind a geopackage's beginning": (
        binary("m.gpkg", b"SQLite format 3\x00" + bytes(range(256)) * 40),
        {},
    ),
    "noise as flatgeobuf": (binary("n.fgb", b"fgb\x03fgb\x00" + b"\xff" * 4000), {}),
    "noise as parquet": (binary("n.parquet", b"PAR1" + b"\xff" * 4000 + b"PAR1"), {}),
    "noise as zip": (binary("n.zip", b"PK\x03\x04" + b"\xff" * 4000), {}),
    "noise as kmz": (binary("n.kmz", b"PK\x03\x04" + b"\xff" * 4000), {}),
    "nothing": (binary("n.geojson", b""), {}),
    "far away": (
        text("far.geojson", '{"type": "Point", "coordinates": [1e300, 1e300]}'),
        {"target_srid": 3857},
    ),
    "not a number": (text("nan.csv", "x,y\nnan,nan\n"), {}),
}


def left_behind(stack: Any, engine: sa.Engine) -> tuple[set[str], set[str]]:
    """Tables of loads, and files of chunks."""
    with engine.connect() as connection:
        tables = set(sa.inspect(connection).get_table_names("geo_loads"))
    work = stack.home / "blobs" / "work"
    return tables, {str(path) for path in work.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_with_a_way_out_and_leaves_nothing(
    name: str,
    tmp_path: Path,
    deliver: Any,
    run_job: Any,
    stack: Any,
    engine: sa.Engine,
    unique: str,
) -> None:
    make, spec = FILES[name]
    source = make(tmp_path)
    key = deliver(source)
    before = left_behind(stack, engine)
    started, memory = time.monotonic(), peak_megabytes()

    result = run_job(key, table_name=unique, **spec)

    said = failure_of(result)
    assert not result.success
    assert "Unexpected" not in said
    assert said.startswith(key) or "column" in said or "table" in said, said
    assert len(said) < 1000
    assert said.rstrip().endswith(".")
    assert "secret" not in said
    assert "root:" not in said
    assert time.monotonic() - started < SECONDS
    assert peak_megabytes() - memory < MEGABYTES
    after = left_behind(stack, engine)
    if "could be loaded" not in said:  # then the reasons are kept for a while, with the load
        assert after == before
    with engine.connect() as connection:
        assert not sa.inspect(connection).has_table(unique, schema="geo")


def peak_megabytes() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def test_a_shapefile_that_declares_more_records_than_it_has_is_read_as_it_is(
    tmp_path: Path, ingest: Any
) -> None:
    result = ingest(billion_features(tmp_path))

    assert result["summary"]["features_loaded"] == 1
    assert any("2147483648" in warning for warning in result["warnings"]), result["warnings"]


NAMES = [
    "robert'); DROP TABLE geo_etl.load; --",
    'a"b',
    "x;y",
    "%(id)s",
    ":bind",
    "ünïcödé 漢字",
    "1 2",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_with_anything_in_them_are_only_names(
    name: str, tmp_path: Path, ingest: Any, engine: sa.Engine, unique: str
) -> None:
    columns = {name: ["v"], f"{name} 2": [None], "n": [1]}
    layer = name if not set(name) & set("%:") else "plain"  # GDAL writes no layer called so
    path = write(tmp_path / "names.gpkg", squares(1), columns, layer=layer)

    result = ingest(
        path,
        converter_params={"layer_name": layer},
        chunk_by="attribute",
        chunk_attribute=name,
        geoparquet=True,
        attribute_rules={"columns": {name: {"unique": True, "pattern": "v"}}},
    )

    assert result["summary"]["features_loaded"] == 1
    with engine.connect() as connection:
        comments = {
            column["comment"]: column["name"]
            for column in sa.inspect(connection).get_columns(unique, "geo")
        }
        column = connection.dialect.identifier_preparer.quote_identifier(comments[name])
        value = connection.exec_driver_sql(f"SELECT {column} FROM geo.{unique}").scalar_one()
        assert sa.inspect(connection).has_table("load", schema="geo_etl")
    assert value == "v"


@pytest.mark.parametrize(
    "file", ["a'b.geojson", "a;b.geojson", "a b!c.geojson", "%s.geojson", "[a].geojson"]
)
def test_file_names_with_anything_in_them_are_only_names(
    file: str, tmp_path: Path, deliver: Any, run_job: Any, unique: str
) -> None:
    path = write(tmp_path / "a.geojson", [shapely.Point(1, 2)], crs="EPSG:4326")

    result = run_job(deliver(path, file), table_name=unique)

    assert result.success, failure_of(result)
    document = result.output_for_node("vector_table.verify", "result")
    assert json.loads(json.dumps(document))["source"].endswith(file)
