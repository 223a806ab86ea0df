"""STAC items of tables, and their validation without a network."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPoint, Point, box, shape

from geo_etl.catalog.lineage import SourceBlob, bbox_geometry
from geo_etl.catalog.validate import validate
from geo_etl.catalog.vectors import Period, TableFacts, vector_collection, vector_item
from geo_etl.errors import CatalogueError
from geo_etl.spec import Metadata
from geo_etl.vector.attributes import Column
from geo_etl.vector.extent import time_columns

CONTENT = b"delivered"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FACTS = TableFacts(
    table="geo.roads",
    collection_id="system-vectors",
    source="bronze/a b/roads ü.gpkg",
    fingerprint=SHA256,
    job_id="ab" * 32,
    columns=[("gid", "bigint", "feature number"), ("name", "text", "Náme"), ("geom", "g", "g")],
    features=7,
    bbox=(5.0, 50.0, 6.0, 51.0),
    srid=4326,
    geometry_type="MultiPolygon",
    modified=datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC),
    created=datetime(2026, 1, 1, tzinfo=UTC),
    features_url="http://localhost/features",
    source_blobs=[SourceBlob("source", "file:///roads.gpkg", "Delivered", len(CONTENT), SHA256)],
    original_crs="EPSG:32633",
    software={"GDAL": "3.12.4", "PostGIS": "3.3.2"},
    report_url="reports/geo.roads/ab.html",
    geoparquet=["silver/geo.roads/part.parquet"],
)


def item(**changes: Any) -> dict[str, Any]:
    return vector_item(replace(FACTS, **changes))


# Validity


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bbox": None},
        {"bbox": (177.0, -19.0, -178.0, -16.0)},
        {"bbox": (5.0, 50.0, 5.0, 50.0)},
        {"bbox": (5.0, 50.0, 5.0, 51.0)},
        {"srid": 32633},
        {"geoparquet": ["a.parquet", "b.parquet"]},
        {"geoparquet": (), "report_url": None, "features_url": None},
        {"software": {}, "source_blobs": (), "original_crs": None},
        {"period": Period(FACTS.modified, FACTS.created, "observed")},
        {"renders": {"plain": {"color": "#fff"}}},
        {"features": 0, "columns": []},
    ],
)
def test_an_item_validates(changes: dict[str, Any]) -> None:
    validate(item(**changes))


@given(
    table=st.text(min_size=1),
    columns=st.lists(st.tuples(st.text(min_size=1), st.text(), st.text()), max_size=4),
    moment=st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)),
)
def test_an_item_validates_whatever_the_names(
    table: str, columns: list[tuple[str, str, str]], moment: datetime
) -> None:
    validate(item(table=table, columns=columns, modified=moment))


@pytest.mark.parametrize("collection_id", ["system-vectors", "roads.2026"])
def test_a_collection_validates(collection_id: str) -> None:
    validate(vector_collection(collection_id))


@pytest.mark.parametrize(
    ("extension", "path"),
    [
        ("file", ("assets", "source", "file:checksum")),
        ("file", ("assets", "source", "file:size")),
        ("table", ("properties", "table:row_count")),
        ("projection", ("properties", "proj:code")),
        ("processing", ("properties", "processing:software")),
    ],
)
def test_a_wrong_field_of_an_extension_is_named(extension: str, path: tuple[str, ...]) -> None:
    document: Any = item()
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = ["neither text nor number"]

    with pytest.raises(CatalogueError) as caught:
        validate(document)
    assert path[-1] in caught.value.problem
    assert f"stac-extensions.github.io/{extension}/" in caught.value.problem


def test_a_wrong_core_field_is_named_with_its_path() -> None:
    document = item()
    document["assets"]["features"]["href"] = 5
    with pytest.raises(CatalogueError, match=r"\$\.assets\.features\.href"):
        validate(document)


def test_an_item_without_its_own_id_is_refused() -> None:
    document = item()
    del document["id"]
    with pytest.raises(CatalogueError, match="'id' is a required property"):
        validate(document)


def test_an_extension_without_a_schema_here_is_refused() -> None:
    document = item()
    document["stac_extensions"].append("https://example.com/v1.0.0/schema.json")
    with pytest.raises(CatalogueError, match="example"):
        validate(document)


def test_another_version_of_stac_is_refused() -> None:
    with pytest.raises(CatalogueError, match=r"1\.0\.0"):
        validate({**item(), "stac_version": "1.0.0"})


def test_a_projection_in_projjson_is_validated() -> None:
    document = item()
    document["properties"]["proj:projjson"] = {"type": "NoSuchCRS"}
    with pytest.raises(CatalogueError, match="projjson"):
        validate(document)


# Content


def test_the_geometry_over_the_antimeridian_is_cut_there() -> None:
    geometry = shape(item(bbox=(177.0, -19.0, -178.0, -16.0))["geometry"])
    assert geometry.geom_type == "MultiPolygon"
    assert geometry.bounds == (-180.0, -19.0, 180.0, -16.0)
    assert geometry.covers(Point(179, -17))
    assert geometry.covers(Point(-179, -17))
    assert not geometry.intersects(Point(0, -17))


def test_the_bbox_over_the_antimeridian_has_west_above_east() -> None:
    assert item(bbox=(177.0, -19.0, -178.0, -16.0))["bbox"] == [177.0, -19.0, -178.0, -16.0]


def tenths(limit: int) -> st.SearchStrategy[float]:
    return st.integers(-10 * limit, 10 * limit).map(lambda value: value / 10)


@given(west=tenths(180), east=tenths(180), south=tenths(90), north=tenths(90))
def test_the_geometry_lies_where_the_bbox_does(
    west: float, east: float, south: float, north: float
) -> None:
    south, north = min(south, north), max(south, north)
    geometry = shape(bbox_geometry((west, south, east, north)))
    corners = [Point(x, y) for x in (west, east) for y in (south, north)]
    # A place on the antimeridian is the same at 180 and at -180.
    twins = [Point(-corner.x, corner.y) if abs(corner.x) == 180 else corner for corner in corners]
    assert all(geometry.intersects(MultiPoint(pair)) for pair in zip(corners, twins, strict=True))
    assert geometry.is_valid
    assert box(-180, -90, 180, 90).covers(geometry)


def test_a_single_place_is_a_point() -> None:
    geometry = shape(bbox_geometry((5.0, 50.0, 5.0, 50.0)))
    assert shapely.equals(geometry, Point(5, 50))


def test_without_a_period_the_time_is_the_sources() -> None:
    properties = item()["properties"]
    assert properties["datetime"] == "2020-02-03T04:05:06Z"
    assert "modification time" in properties["geo_etl:datetime_from"]


def test_a_time_of_the_spec_is_told_in_utc() -> None:
    document = item(about=Metadata(datetime=datetime.fromisoformat("2020-06-01T02:00:00+02:00")))
    assert document["properties"]["datetime"] == "2020-06-01T00:00:00Z"
    validate(document)


def test_a_period_gives_start_and_end_and_names_its_column() -> None:
    start, end = datetime(2019, 1, 1, tzinfo=UTC), datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC)
    properties = item(period=Period(start, end, "observed"))["properties"]
    assert properties["datetime"] == "2019-01-01T00:00:00Z"
    assert properties["start_datetime"] == "2019-01-01T00:00:00Z"
    assert properties["end_datetime"] == "2019-12-31T23:59:59Z"
    assert properties["geo_etl:datetime_from"] == "column observed"


@pytest.mark.parametrize(
    ("named", "types", "expected"),
    [
        ([], ["text", "date"], ["c1"]),
        ([], ["timestamp with time zone"], ["c0"]),
        ([], ["date", "date"], []),
        (["c1", "c0"], ["date", "date"], ["c1", "c0"]),
        ([], ["time without time zone", "integer"], []),
    ],
)
def test_the_one_column_of_dates_tells_the_time_unless_the_spec_names_others(
    named: list[str], types: list[str], expected: list[str]
) -> None:
    columns = [Column(f"c{i}", f"c{i}", sql_type) for i, sql_type in enumerate(types)]
    assert time_columns(named, columns) == expected


def test_the_source_asset_has_size_and_multihash() -> None:
    source = item()["assets"]["source"]
    assert source["href"] == "file:///roads.gpkg"
    assert source["roles"] == ["source"]
    assert source["file:size"] == len(CONTENT)
    # Multihash: code 0x12 is SHA-256, 0x20 its length in bytes.
    code, length, digest = (
        source["file:checksum"][:2],
        source["file:checksum"][2:4],
        source["file:checksum"][4:],
    )
    assert (code, int(length, 16)) == ("12", len(bytes.fromhex(digest)))
    assert bytes.fromhex(digest) == hashlib.sha256(CONTENT).digest()


def test_lineage_names_source_hash_job_and_table() -> None:
    lineage = item()["properties"]["processing:lineage"]
    for part in (FACTS.source, FACTS.fingerprint, FACTS.job_id, FACTS.table, "EPSG:32633"):
        assert part in lineage


def test_software_versions_are_kept() -> None:
    assert item()["properties"]["processing:software"] == FACTS.software


def test_outputs_are_assets() -> None:
    document = item(geoparquet=["a.parquet", "b.parquet"])
    hrefs = {key: asset["href"] for key, asset in document["assets"].items()}
    assert hrefs["features"] == "http://localhost/features/collections/geo.roads/items"
    assert hrefs["quality_report"] == FACTS.report_url
    assert {"a.parquet", "b.parquet"} <= set(hrefs.values())


def test_columns_keep_their_names_in_the_source() -> None:
    columns = item()["properties"]["table:columns"]
    assert {"name": "name", "type": "text", "description": "Náme"} in columns
