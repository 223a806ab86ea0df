"""Clients that are not ours: pystac-client, GDAL's OAPIF driver, GDAL on a COG over HTTP."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import sqlalchemy as sa
from pystac_client import Client

from geo_etl_tests.e2e.counting import counting
from geo_etl_tests.e2e.published import FEATURES, Published

# pystac-client


@pytest.fixture(scope="module")
def client(published: Published) -> Client:
    """The catalogue, opened at its root."""
    return Client.open(f"{published.root}/stac/")


def run_python(script: str, *arguments: str) -> str:
    """Run a script in a process of its own; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ids(client: Client, **search: Any) -> list[str]:
    """Ids of the items that a search finds, in pages of one."""
    return sorted(item.id for item in client.search(limit=1, **search).items())


def test_all_collections_are_found_from_the_root(client: Client, published: Published) -> None:
    found = {collection.id for collection in client.get_collections()}
    assert set(published.collections.values()) <= found


def test_all_items_of_a_collection_are_walked(client: Client, published: Published) -> None:
    tiles = client.get_collection(published.collections["tiles"])
    assert len(list(tiles.get_items())) == published.results["tiles"]["stac"]["items"] == 4


def test_a_search_gives_each_item_once_over_its_pages(client: Client, published: Published) -> None:
    mine = sorted(set(published.collections.values()))
    found = ids(client, collections=mine)
    assert len(found) == len(set(found)) == 10
    assert published.table in found


def test_items_are_found_by_place(client: Client, published: Published) -> None:
    mine = sorted(set(published.collections.values()))
    in_new_zealand = ids(client, collections=mine, bbox=(160, -50, 170, -40))
    assert in_new_zealand == [f"geo.area_{published.name}"]


@pytest.mark.parametrize(
    ("when", "names"),
    [
        ("2011-03-04", [".b"]),
        ("2015-01-01T00:00:00Z/..", [".large"]),
        ("2011-03-04T05:06:08Z/2014-12-31T23:59:59Z", []),
        ("../2012", [".b"]),
    ],
)
def test_rasters_are_found_by_time(
    client: Client, published: Published, when: str, names: list[str]
) -> None:
    mine = [published.collections["raster"]]
    found = ids(client, collections=mine, datetime=when)
    assert found == [f"{published.name}{name}" for name in names]


@pytest.mark.parametrize(
    ("when", "there"),
    [
        ("2001-06-01/2001-06-02", True),  # in the middle, where no end is
        ("2001-06-01T12:00:00Z", True),
        ("2002-03-09T23:59:59Z/2003-01-01", True),  # its last day
        ("2002-03-10/2003-01-01", False),
        ("1999-01-01/2001-02-02", False),
    ],
)
def test_a_table_is_found_by_any_time_of_its_period(
    client: Client, published: Published, when: str, there: bool
) -> None:
    found = ids(client, collections=[published.collections["table"]], datetime=when)
    assert (published.table in found) is there


def test_items_are_found_by_what_they_say_in_cql2(client: Client, published: Published) -> None:
    mine = [published.collections["raster"]]
    text = "\"proj:code\" = 'EPSG:4326' AND geo_etl:datetime_from LIKE 'tag %'"
    tree = {"op": "=", "args": [{"property": "geo_etl:datetime_from"}, "the spec"]}
    found = ids(client, collections=mine, filter=text, filter_lang="cql2-text", method="GET")
    assert found == [f"{published.name}.b"]
    found = ids(client, collections=mine, filter=tree, filter_lang="cql2-json")
    assert found == [f"{published.name}.large"]


def test_the_assets_of_an_item_can_be_opened(client: Client, published: Published) -> None:
    (item,) = client.search(ids=[f"{published.name}.b"]).items()
    assert item.bbox is not None
    for tier in ("analysis", "archive", "visualization"):
        with rasterio.open(item.assets[tier].href) as raster:
            assert list(raster.bounds) == pytest.approx(item.bbox, abs=1e-9)
            assert raster.shape == (400, 400)
            assert raster.read(1).max() > 0


@pytest.mark.parametrize("of", ["tiles", "members"])
def test_a_mosaic_can_be_read_over_http(client: Client, published: Published, of: str) -> None:
    collection = client.get_collection(published.collections[of])
    (west, south, east, north) = collection.extent.spatial.bboxes[0]
    with rasterio.open(collection.assets["mosaic"].href) as mosaic:
        assert list(mosaic.bounds) == pytest.approx([west, south, east, north], abs=1e-3)
        # Each member's file is reached by the relative path that the VRT has.
        assert (mosaic.read().max(axis=0) > 0).mean() > 0.99


def test_a_geoparquet_copy_can_be_read_over_http(client: Client, published: Published) -> None:
    (item,) = client.search(ids=[published.table]).items()
    copy = gpd.read_parquet(item.assets["geoparquet"].href)
    assert len(copy) == FEATURES


# GDAL's OGC API Features driver, which QGIS uses


READ_FEATURES = """
import sys, pyogrio
source, layer, to = sys.argv[1:]
whole = pyogrio.read_dataframe(source, layer=layer)
assert pyogrio.list_layers(source)[:, 0].tolist().count(layer) == 1
about = pyogrio.read_info(source, layer=layer)
assert about["driver"] == "OAPIF"
assert len(whole) == about["features"]
boxed = pyogrio.read_dataframe(source, layer=layer, bbox=(7, 48, 9, 50))
named = pyogrio.read_dataframe(source, layer=layer, where="word = 'Łódź'")
whole["in_box"] = whole["number"].isin(boxed["number"])
whole["is_named"] = whole["number"].isin(named["number"])
assert (len(boxed), len(named)) == (whole["in_box"].sum(), whole["is_named"].sum())
whole.to_parquet(to)
"""
"""Not in this process: ingests have unloaded GDAL's drivers of it that reach the network."""


@pytest.fixture(scope="module")
def read(published: Published, tmp_path_factory: pytest.TempPathFactory) -> gpd.GeoDataFrame:
    """All features of the table as GDAL gets them, and which of them with a filter."""
    to = tmp_path_factory.mktemp("oapif") / "features.parquet"
    source = f"OAPIF:{published.root}/features"
    run_python(READ_FEATURES, source, published.table, str(to))
    return gpd.read_parquet(to).sort_values("number").reset_index(drop=True)


@pytest.fixture(scope="module")
def stored(engine: sa.Engine, published: Published) -> pd.DataFrame:
    """All features of the table as PostGIS has them."""
    schema, _, table = published.table.partition(".")
    query = (
        "SELECT gid, number, word, ratio, flag, day, seen, ST_AsBinary(geom) AS geom"
        f' FROM "{schema}"."{table}" ORDER BY number'
    )
    with engine.connect() as connection:
        return pd.read_sql(sa.text(query), connection)


def test_gdal_reads_every_feature_once_over_many_pages(
    read: gpd.GeoDataFrame, stored: pd.DataFrame
) -> None:
    assert len(read) == len(stored) == FEATURES
    assert list(read["gid"]) == list(stored["gid"])


@pytest.mark.parametrize("column", ["number", "word", "ratio", "flag", "day", "seen"])
def test_gdal_gets_the_attributes_that_postgis_holds(
    read: gpd.GeoDataFrame, stored: pd.DataFrame, column: str
) -> None:
    found, held = read[column], stored[column]
    assert list(found.isna()) == list(held.isna())
    found, held = found.dropna(), held.dropna()
    if column in ("day", "seen"):
        found, held = pd.to_datetime(found, utc=True), pd.to_datetime(held, utc=True)
    assert list(found) == list(held)


def test_gdal_gets_the_geometries_that_postgis_holds(
    read: gpd.GeoDataFrame, stored: pd.DataFrame
) -> None:
    expected = shapely.from_wkb([bytes(wkb) for wkb in stored["geom"]])
    assert shapely.equals(read.geometry.to_numpy(), expected).all()
    assert read.crs == "EPSG:4326"


def test_gdal_reads_what_lies_in_a_box(read: gpd.GeoDataFrame, stored: pd.DataFrame) -> None:
    points = shapely.from_wkb([bytes(wkb) for wkb in stored["geom"]])
    inside = shapely.intersects(points, shapely.box(7, 48, 9, 50))
    assert 50 < inside.sum() < FEATURES
    assert list(read["in_box"]) == list(inside)


def test_gdal_reads_what_has_an_attribute(read: gpd.GeoDataFrame, stored: pd.DataFrame) -> None:
    assert list(read["is_named"]) == list(stored["word"] == "Łódź")


# GDAL on a Cloud-Optimized GeoTIFF


OPEN, WINDOW, OVERVIEW = (
    "pass",
    "pixels = file.read(1, window=((1024, 1536), (2048, 2560)))",
    "pixels = file.read(1, out_shape=(256, 256))",
)
SCRIPT = """
import sys, rasterio
with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(sys.argv[1]) as file:
    pixels = None
    {work}
    print(0 if pixels is None else int(pixels.sum()))
"""


@pytest.fixture(scope="module")
def counted(published: Published) -> Iterator[Any]:
    """Runs GDAL in a process of its own on the large COG; what it printed, what it asked for."""
    asset = next(one for one in published.results["large"]["assets"] if one["tier"] == "analysis")
    path = asset["href"].rpartition("/blobs/")[2]
    with counting(published.root) as server:

        def run(work: str) -> tuple[int, list[Any]]:
            said = run_python(SCRIPT.format(work=work), f"{server.url}/files/{path}")
            return int(said), server.taken()

        yield run


def test_gdal_opens_a_cog_with_two_requests(counted: Any) -> None:
    _, asked = counted(OPEN)
    assert len(asked) <= 2, asked
    assert sum(one.bytes for one in asked if one.method == "GET") < 100_000


def test_gdal_reads_a_window_of_a_cog_with_few_requests(counted: Any, published: Published) -> None:
    total, asked = counted(WINDOW)
    assert total == published.pixels[1024:1536, 2048:2560].sum(dtype=np.int64)
    assert len(asked) <= 3, asked
    assert sum(one.bytes for one in asked if one.method == "GET") < 600_000
    assert all(one.status == 206 for one in asked if one.method == "GET")


def test_gdal_reads_an_overview_of_a_cog_with_few_requests(counted: Any) -> None:
    total, asked = counted(OVERVIEW)
    assert total > 0
    assert len(asked) <= 3, asked
    assert sum(one.bytes for one in asked if one.method == "GET") < 600_000
