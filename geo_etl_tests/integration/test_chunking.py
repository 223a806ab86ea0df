"""How features are spread over tasks and tables; each ends up in exactly one place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
import sqlalchemy as sa
from shapely.geometry import LineString, Point, Polygon, box

from geo_etl.vector.quarantine import export_quarantine, quarantine_reasons
from geo_etl.vector.versions import Target
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.made import squares, write


@pytest.fixture
def read(engine: sa.Engine) -> Callable[..., list[Any]]:
    def rows(statement: str, **values: Any) -> list[Any]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement), values)]

    return rows


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
def test_a_grid_loads_each_feature_once_in_the_task_of_its_cell(
    suffix: str, tmp_path: Path, ingest: Any, read: Any, unique: str
) -> None:
    cells = [box(x, y, x + 1.2, y + 1.2) for x in range(4) for y in range(4)]
    path = write(tmp_path / f"cells.{suffix}", cells, crs="EPSG:4326")

    result = ingest(path, chunk_by="grid", chunk_grid={"rows": 2, "cols": 2})

    assert result["summary"]["total_chunks"] == 4
    found = read(f"SELECT n, gid FROM geo.{unique} ORDER BY n")
    assert found == [(n, n) for n in range(1, 17)]


def test_chunks_by_attribute_have_one_value_each(
    tmp_path: Path, ingest: Any, read: Any, unique: str
) -> None:
    kinds = ["a", "b", "c", None, "a", "b"]
    path = write(tmp_path / "kinds.gpkg", squares(6), {"kind": kinds})

    result = ingest(path, chunk_by="attribute", chunk_attribute="kind")

    assert result["summary"]["total_chunks"] == 4
    assert [row[0] for row in read(f"SELECT kind FROM geo.{unique} ORDER BY gid")] == kinds


def test_a_chunk_attribute_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, run_job: Any, deliver: Any
) -> None:
    key = deliver(write(tmp_path / "a.gpkg", squares(1)))

    failed = run_job(key, chunk_by="attribute", chunk_attribute="kind")

    assert "no attribute 'kind'" in failure_of(failed)
    assert "n" in failure_of(failed)


MIXED = [Point(1, 1), LineString([(0, 0), (1, 1)]), box(0, 0, 1, 1), None, Point(2, 2)]


def test_a_mixed_layer_is_split_into_a_table_for_each_kind(
    tmp_path: Path, ingest: Any, read: Any, unique: str, engine: sa.Engine
) -> None:
    path = write(tmp_path / "mixed.geojson", MIXED, crs="EPSG:4326")

    result = ingest(path, geometry_params={"mixed_geometry": "split"})

    tables = {table["table"]: table["features_loaded"] for table in result["tables"]}
    assert tables == {
        f"geo.{unique}_point": 2,
        f"geo.{unique}_line": 1,
        f"geo.{unique}_polygon": 1,
    }
    summary = result["summary"]
    assert (summary["features_read"], summary["features_loaded"]) == (5, 4)
    assert summary["features_dropped"] == 1
    assert read(f"SELECT gid, n FROM geo.{unique}_point ORDER BY 1") == [(1, 1), (5, 5)]
    assert read(f"SELECT gid, n FROM geo.{unique}_line") == [(2, 2)]
    items = read(
        "SELECT id FROM pgstac.items WHERE id LIKE :name ORDER BY id", name=f"geo.{unique}%"
    )
    assert [item for (item,) in items] == sorted(tables)


def test_a_split_layer_that_is_done_runs_nothing_again(
    tmp_path: Path, deliver: Any, run_job: Any, unique: str
) -> None:
    key = deliver(write(tmp_path / "mixed.geojson", MIXED, crs="EPSG:4326"))
    spec = {"table_name": unique, "geometry_params": {"mixed_geometry": "split"}}
    first = run_job(key, **spec).output_for_node("vector_table.verify", "result")

    again = run_job(key, **spec)

    assert again.output_for_node("vector_table.verify", "result") == first
    assert not [event for event in again.all_events if "load[" in (event.step_key or "")]


def test_a_layer_of_one_kind_is_not_split(tmp_path: Path, ingest: Any, unique: str) -> None:
    path = write(tmp_path / "plain.gpkg", squares(2))

    result = ingest(path, geometry_params={"mixed_geometry": "split"})

    assert [table["table"] for table in result["tables"]] == [f"geo.{unique}"]


def test_a_kind_that_is_no_longer_delivered_is_said(
    tmp_path: Path, ingest: Any, unique: str
) -> None:
    path = tmp_path / "mixed.geojson"
    ingest(write(path, MIXED[:3], crs="EPSG:4326"), geometry_params={"mixed_geometry": "split"})
    path.unlink()

    result = ingest(
        write(path, MIXED[:2], crs="EPSG:4326"), geometry_params={"mixed_geometry": "split"}
    )

    assert any(f"geo.{unique}_polygon, published from this source" in w for w in result["warnings"])


def test_a_repeated_value_of_a_unique_column_is_quarantined(
    tmp_path: Path, ingest: Any, read: Any, unique: str
) -> None:
    path = write(tmp_path / "codes.gpkg", squares(5), {"code": ["a", "b", "a", None, "a"]})

    result = ingest(path, attribute_rules={"columns": {"code": {"unique": True}}})

    summary = result["summary"]
    assert (summary["features_loaded"], summary["features_quarantined"]) == (3, 2)
    assert read(f"SELECT gid, code FROM geo.{unique} ORDER BY gid") == [
        (1, "a"),
        (2, "b"),
        (4, None),
    ]
    lost = read(f"SELECT source_fid, reason, attributes->>'code' FROM geo_quarantine.{unique}")
    assert sorted(lost) == [
        (3, "code: the value 'a' is there already", "a"),
        (5, "code: the value 'a' is there already", "a"),
    ]


def test_a_repeated_value_stops_the_job_when_the_rule_says_so(
    tmp_path: Path, run_job: Any, deliver: Any, unique: str
) -> None:
    key = deliver(write(tmp_path / "codes.gpkg", squares(2), {"code": ["a", "a"]}))
    rule = {"columns": {"code": {"unique": True, "on_violation": "stop"}}}

    failed = run_job(key, table_name=unique, attribute_rules=rule)

    assert "1 features repeat a value (for instance a)" in failure_of(failed)


def test_a_row_that_breaks_a_rule_is_quarantined_with_all_its_attributes(
    tmp_path: Path, ingest: Any, read: Any, unique: str
) -> None:
    path = write(
        tmp_path / "people.gpkg", squares(3), {"people": [5, -5, None], "note": ["x", "y", "z"]}
    )
    rules = {"people": {"min": 0, "default": 1, "rename": "population"}, "note": {"drop": True}}

    result = ingest(path, attribute_rules={"columns": rules})

    assert result["summary"]["features_quarantined"] == 1
    assert read(f"SELECT gid, population FROM geo.{unique} ORDER BY gid") == [(1, 5), (3, 1)]
    lost = read(f"SELECT reason, attributes->>'note' FROM geo_quarantine.{unique}")
    assert len(lost) == 1
    assert "people" in lost[0][0] or "population" in lost[0][0]
    assert lost[0][1] == "y"


def test_corrected_features_are_ingested_alone(
    tmp_path: Path,
    ingest: Any,
    deliver: Any,
    run_job: Any,
    read: Any,
    unique: str,
    engine: sa.Engine,
) -> None:
    target, rule = Target("geo", unique), {"columns": {"people": {"min": 0}}}
    path = tmp_path / "people.gpkg"
    people = {"people": [5, -5, 7, -6], "name": ["a", "b", "c", "d"]}
    ingest(write(path, squares(4), people), attribute_rules=rule)
    export = tmp_path / "wrong.gpkg"

    assert export_quarantine(engine, target, export) == 2
    frame = pyogrio.read_dataframe(export)
    assert frame["people"].tolist() == [-5, -6]
    assert "minimum" in frame["geo_etl_reason"][0]
    assert frame.crs.to_epsg() == 32633
    frame["people"] = [9, -7]
    corrected = tmp_path / "corrected.gpkg"
    frame.to_file(corrected, engine="pyogrio")
    result = run_job(
        deliver(corrected), table_name=unique, load_method="append", attribute_rules=rule
    )

    assert result.success, failure_of(result)
    rows = f"SELECT people, name FROM geo.{unique} ORDER BY people"
    assert read(rows) == [(5, "a"), (7, "c"), (9, "b")]
    # The one that is still wrong waits, once, and the corrected one no longer.
    lost = f"SELECT source_fid, attributes->>'people' FROM geo_quarantine.{unique}"
    assert read(lost) == [(4, "-7")]
    assert sum(count for _, count in quarantine_reasons(engine, target)) == 1
    # The source may still replace its table.
    path.unlink()
    again = ingest(write(path, squares(1), {"people": [1], "name": ["e"]}), attribute_rules=rule)
    assert again["tables"][0]["features_total"] == 1
    assert read(lost) == []


def test_what_crosses_the_antimeridian_is_cut_when_asked(
    tmp_path: Path, ingest: Any, read: Any, unique: str
) -> None:
    ring = Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)])
    path = write(tmp_path / "fiji.geojson", [ring, box(0, 0, 1, 1)], crs="EPSG:4326")

    result = ingest(path, geometry_params={"split_antimeridian": True})

    (first,) = read(f"SELECT ST_AsBinary(geom), ST_Area(geom) FROM geo.{unique} WHERE gid = 1")
    assert first[1] == pytest.approx(2.0)
    parts = shapely.get_parts(shapely.from_wkb(bytes(first[0])))
    assert sorted(part.bounds for part in parts) == [(-180, 0, -179, 1), (179, 0, 180, 1)]
    assert result["geometry_type"] == "MultiPolygon"


def test_a_dataset_across_the_antimeridian_has_a_box_that_says_so(
    tmp_path: Path, ingest: Any
) -> None:
    path = write(tmp_path / "two.geojson", [Point(179, 0), Point(-179, 1)], crs="EPSG:4326")

    result = ingest(path)

    assert result["stac"]["bbox"] == [179, 0, -179, 1]


def test_a_geoparquet_copy_has_the_rows_of_the_table(
    tmp_path: Path, ingest: Any, read: Any, unique: str, stack: Any
) -> None:
    import geopandas

    columns = {"n": [1, 2, 3], "name": ["a", None, "c"], "when": ["2020-01-01", None, "2021-05-06"]}
    path = write(tmp_path / "a.gpkg", squares(3), columns)

    result = ingest(path, geoparquet=True)

    (href,) = result["geoparquet"]
    file = Path(href.removeprefix("file://"))
    assert file.is_relative_to(stack.home / "blobs" / "silver" / "geoparquet")
    frame = geopandas.read_parquet(file)
    assert frame.crs.to_epsg() == 4326
    assert frame["n"].tolist() == [1, 2, 3]
    assert pq.read_schema(file).field("n").type == "int64"
    stored = read(f"SELECT ST_AsBinary(geom) FROM geo.{unique} ORDER BY gid")
    expected = shapely.from_wkb([bytes(wkb) for (wkb,) in stored])
    assert shapely.equals_exact(frame.geometry.to_numpy(), expected).all()


def test_the_copies_of_versions_that_are_gone_go_too(
    tmp_path: Path, ingest: Any, stack: Any, unique: str
) -> None:
    path = tmp_path / "a.gpkg"
    for count in range(1, 6):
        path.unlink(missing_ok=True)
        ingest(write(path, squares(count)), geoparquet=True)

    folder = stack.home / "blobs" / "silver" / "geoparquet" / f"geo.{unique}"
    assert len(list(folder.iterdir())) == 3


def test_a_rule_that_stops_the_job_in_a_later_batch_says_so_at_once(
    tmp_path: Path, run_job: Any, deliver: Any, unique: str
) -> None:
    many = 100_000  # more than a batch
    points = shapely.points([[i % 180, 1] for i in range(many)])
    path = write(tmp_path / "many.gpkg", points, {"n": [*range(many - 1), -1]}, crs="EPSG:4326")
    rule = {"columns": {"n": {"min": 0, "on_violation": "stop"}}}

    failed = run_job(deliver(path), table_name=unique, attribute_rules=rule, chunk_size=many)

    assert "-1" in failure_of(failed)
    assert "minimum" in failure_of(failed)
    assert not [event for event in failed.all_events if event.is_step_up_for_retry]


@pytest.mark.parametrize("depth", [50, 200_000])
def test_collections_nested_beyond_reason_are_quarantined(
    depth: int, tmp_path: Path, ingest: Any, read: Any, unique: str
) -> None:
    level = b"\x01\x07\x00\x00\x00\x01\x00\x00\x00"
    nested = level * depth + shapely.to_wkb(Point(1, 2))
    plain = level + shapely.to_wkb(Point(3, 4))
    table = pa.table({"n": [1, 2], "geometry": pa.array([nested, plain], pa.binary())})
    path = tmp_path / "deep.parquet"
    pq.write_table(table, path)

    result = ingest(path, converter_params={"source_crs": "EPSG:4326"})

    summary = result["summary"]
    expected = (2, 0) if depth < 100 else (1, 1)
    assert (summary["features_loaded"], summary["features_quarantined"]) == expected
