"""`/downloads`: whole tables, compared with what PostGIS holds."""

import csv
import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pyogrio
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_etl.stack import downloads
from geo_etl_tests.e2e.faults import wait_until
from geo_etl_tests.made import squares, write

WORDS = ["a,b", 'say "so"', "two\nlines", "Zürich 東京", "", None, " ", "\\N", "'"]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few features a page, so that there are many."""
    monkeypatch.setattr(downloads, "PAGE_BYTES", 500)


def in_postgis(engine: sa.Engine, table: str) -> list[Any]:
    with engine.connect() as connection:
        query = f"SELECT gid, n, ST_AsBinary(geom) FROM geo.{table} ORDER BY gid"
        return [(gid, n, bytes(wkb)) for gid, n, wkb in connection.execute(sa.text(query))]


@pytest.mark.usefixtures("small_pages")
def test_geojson_has_every_feature_once_as_postgis_holds_it(
    site: str, engine: sa.Engine, ingest: Any, tmp_path: Path, unique: str
) -> None:
    ingest(write(tmp_path / "a.fgb", squares(300)))

    answer = httpx.get(f"{site}/downloads/geo.{unique}.geojson")

    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    features = answer.json()["features"]
    held = in_postgis(engine, unique)
    assert [(one["id"], one["properties"]) for one in features] == [
        (gid, {"n": n}) for gid, n, _ in held
    ]
    for feature, (_, _, wkb) in zip(features, held, strict=True):
        geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert geometry.equals_exact(shapely.from_wkb(wkb).normalize(), 2e-9, normalize=True)
        assert all(ring.exterior.is_ccw for ring in geometry.geoms)


def test_more_comes_than_a_page_of_features_or_of_ogc_api_features(
    site: str, ingest: Any, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "PAGE_FEATURES", 1_000)
    points = shapely.points([(i % 100, i // 200) for i in range(10_500)])
    ingest(write(tmp_path / "a.fgb", list(points), crs="EPSG:4326"))

    path = tmp_path / "got.geojson"
    path.write_bytes(httpx.get(f"{site}/downloads/geo.{unique}.geojson").content)

    assert pyogrio.read_info(path)["features"] == 10_500
    assert sorted(pyogrio.read_dataframe(path)["n"]) == list(range(1, 10_501))


@pytest.mark.usefixtures("small_pages")
def test_csv_keeps_every_character_and_tells_null_from_empty(
    site: str, ingest: Any, tmp_path: Path, unique: str
) -> None:
    columns = {"n": range(len(WORDS)), "Says": WORDS, "x": [0.1 + 0.2] * len(WORDS)}
    ingest(write(tmp_path / "a.fgb", squares(len(WORDS)), columns))

    answer = httpx.get(f"{site}/downloads/geo.{unique}.csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert list(rows[0]) == ["gid", "n", "says", "x", "WKT"]
    assert {row["n"]: row["says"] for row in rows} == {
        str(n): word or "" for n, word in enumerate(WORDS)
    }
    assert f',{WORDS.index("")},"",0.3' in answer.text
    assert f",{WORDS.index(None)},,0.3" in answer.text
    assert {float(row["x"]) for row in rows} == {0.1 + 0.2}
    assert {shapely.from_wkt(row["WKT"]).geom_type for row in rows} == {"MultiPolygon"}


def test_csv_can_be_ingested_again(
    site: str, engine: sa.Engine, ingest: Any, tmp_path: Path, unique: str
) -> None:
    ingest(write(tmp_path / "a.fgb", squares(5)))
    before = in_postgis(engine, unique)
    path = tmp_path / "again.csv"
    path.write_bytes(httpx.get(f"{site}/downloads/geo.{unique}.csv").content)

    ingest(path, table_name=f"{unique}_again", converter_params={"source_crs": "EPSG:4326"})

    again = in_postgis(engine, f"{unique}_again")
    assert [row[1] for row in again] == [row[1] for row in before]
    for (_, _, was), (_, _, wkb) in zip(before, again, strict=True):
        assert shapely.from_wkb(wkb).equals_exact(shapely.from_wkb(was), 1e-12, normalize=True)


def test_geojson_is_in_wgs84_whatever_the_table_is_in(
    site: str, ingest: Any, tmp_path: Path, unique: str
) -> None:
    ingest(write(tmp_path / "a.fgb", squares(1)), target_srid=32633)

    (feature,) = httpx.get(f"{site}/downloads/geo.{unique}.geojson").json()["features"]

    x, y = feature["geometry"]["coordinates"][0][0][0]
    assert (x, y) == pytest.approx((15.0, 45.15), abs=0.1)
    rows = httpx.get(f"{site}/downloads/geo.{unique}.csv").text.splitlines()
    assert "500010 5000000" in rows[1]


def test_values_that_json_lacks_are_told_as_text(
    site: str, ingest: Any, tmp_path: Path, unique: str
) -> None:
    values = [math.nan, math.inf, 1.5]
    ingest(write(tmp_path / "a.fgb", squares(3), {"x": values}))

    features = httpx.get(f"{site}/downloads/geo.{unique}.geojson").json()["features"]

    assert sorted(str(one["properties"]["x"]) for one in features) == ["1.5", "Infinity", "None"]


def test_a_table_without_attributes(site: str, ingest: Any, tmp_path: Path, unique: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text('{"type": "Point", "coordinates": [7, 46]}')
    ingest(path)

    (feature,) = httpx.get(f"{site}/downloads/geo.{unique}.geojson").json()["features"]

    assert feature["properties"] == {}
    header, row = httpx.get(f"{site}/downloads/geo.{unique}.csv").text.splitlines()
    assert header == "gid,WKT"
    assert shapely.from_wkt(row.removeprefix("1,")) == shapely.MultiPoint([(7, 46)])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "name",
    [
        "geo.not_there.csv",
        "public.spatial_ref_sys.csv",
        "geo_etl.load.csv",
        "x",
        "a.b",
        "..csv",
        "geo.a%00.csv",
        "geo.a%27%3B--.csv",
    ],
)
def test_only_published_tables_can_be_had(site: str, method: str, name: str) -> None:
    assert httpx.request(method, f"{site}/downloads/{name}").status_code == 404


def test_other_formats_are_not_there(site: str, ingest: Any, tmp_path: Path, unique: str) -> None:
    ingest(write(tmp_path / "a.fgb", squares(1)))

    answer = httpx.get(f"{site}/downloads/geo.{unique}.xlsx")

    assert answer.status_code == 404
    assert answer.json()["detail"] == f"there is no table 'geo.{unique}' as 'xlsx'"


def test_a_head_says_the_same_without_reading(
    site: str, ingest: Any, tmp_path: Path, unique: str
) -> None:
    ingest(write(tmp_path / "a.fgb", squares(1)))
    url = f"{site}/downloads/geo.{unique}.csv"

    head, whole = httpx.head(url), httpx.get(url)

    assert head.content == b""
    assert "content-length" not in head.headers
    for name in ("content-type", "content-disposition", "cache-control"):
        assert head.headers[name] == whole.headers[name]


@pytest.fixture
def large(ingest: Any, tmp_path: Path, unique: str) -> str:
    """A table of so many bytes that no socket holds them; its name."""
    columns = {"n": range(3_000), "text": ["x" * 10_000] * 3_000}
    ingest(write(tmp_path / "large.fgb", squares(3_000), columns))
    return f"geo.{unique}"


@pytest.mark.usefixtures("small_pages")
def test_a_publish_is_not_kept_waiting_and_ends_the_answer(
    site: str, stack: Any, ingest: Any, tmp_path: Path, large: str
) -> None:
    with httpx.stream("GET", f"{site}/downloads/{large}.geojson", timeout=60) as answer:
        chunks = answer.iter_bytes(1_000)
        next(chunks)
        with psycopg.connect(stack.database()) as connection:
            connection.execute("SET lock_timeout = '5s'")
            connection.execute(f"LOCK TABLE {large} IN ACCESS EXCLUSIVE MODE")  # type: ignore[arg-type]
        ingest(write(tmp_path / "b.fgb", squares(2)), load_method="append")
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in chunks:
                pass


@pytest.mark.usefixtures("small_pages")
def test_a_page_that_meets_a_publish_does_not_end_the_file_as_if_it_were_whole(
    site: str, stack: Any, ingest: Any, tmp_path: Path, large: str
) -> None:
    def lock(mode: str, *, granted: bool) -> Any:
        query = (
            "SELECT 1 FROM pg_locks WHERE relation = to_regclass(%s) AND mode = %s AND granted = %s"
        )
        return watcher.execute(query, [large, mode, granted]).fetchone()

    with (
        ThreadPoolExecutor() as threads,
        psycopg.connect(stack.database(), autocommit=True) as watcher,
        httpx.stream("GET", f"{site}/downloads/{large}.geojson", timeout=60) as answer,
    ):
        chunks = answer.iter_bytes(1_000)
        next(chunks)
        with psycopg.connect(stack.database()) as blocker:
            # The publish has exchanged the rows, and is about to note the version.
            blocker.execute("LOCK TABLE geo_etl.publication IN SHARE MODE")
            (tmp_path / "large.fgb").unlink()
            columns = {"n": [1, 2], "text": ["", ""]}
            fewer = write(tmp_path / "large.fgb", squares(2), columns)
            replaced = threads.submit(ingest, fewer)
            wait_until(
                lambda: lock("AccessExclusiveLock", granted=True) or replaced.done(), "a publish"
            )
            assert not replaced.done(), replaced.result()
            rest = threads.submit(list, chunks)
            wait_until(lambda: lock("AccessShareLock", granted=False), "a page that waits for it")
        replaced.result(60)
        with pytest.raises(httpx.RemoteProtocolError):
            rest.result(60)


def test_lines_keep_their_direction(site: str, ingest: Any, tmp_path: Path, unique: str) -> None:
    ends = [[(0, 0), (1, 2), (3, 1)], [(5, 5), (4, 4)]]
    lines = [shapely.LineString(line) for line in ends]
    ingest(write(tmp_path / "a.fgb", lines, crs="EPSG:4326"))

    features = httpx.get(f"{site}/downloads/geo.{unique}.geojson").json()["features"]

    found = {one["properties"]["n"]: one["geometry"]["coordinates"] for one in features}
    assert found == {n + 1: [[list(point) for point in line]] for n, line in enumerate(ends)}


@given(st.one_of(st.none(), st.text(st.characters(exclude_characters="\0"), max_size=20)))
@settings(max_examples=300)
def test_a_cell_reads_back_as_it_was(text: str | None) -> None:
    line = downloads._line(["1", text, "z"])

    (row,) = csv.reader(io.StringIO(line, newline=""))
    assert row == ["1", text or "", "z"]
    assert (text is None) == line.startswith("1,,")
