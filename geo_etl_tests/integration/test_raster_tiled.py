"""A large raster as a set of tiles: seamless, recorded, one layer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
import sqlalchemy as sa
from rasterio.transform import from_origin

from geo_etl_tests.conftest import failure_of

SIDE = 4200
"""More than two steps of the tile grid."""


@pytest.fixture(scope="module")
def dem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 MB of float32 in UTM, with a hole, smooth enough that a wrong pixel shows."""
    path = tmp_path_factory.mktemp("dem") / "dem.tif"
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype("float32")
    pixels = np.sin(x / 90) * 300 + np.cos(y / 70) * 200 + x / 10
    pixels[1900:2300, 1800:2500] = -9999
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=1,
        dtype="float32",
        crs="EPSG:32633",
        transform=from_origin(500000, 5500000, 10, 10),
        nodata=-9999,
        tiled=True,
    ) as out:
        out.write(pixels, 1)
    return path


TILED = {"max_raster_size_gb": 0.02, "target_tile_size_gb": 0.02}


def local(href: str) -> Path:
    return Path(href.removeprefix("file://"))


@pytest.mark.parametrize("crs", ["EPSG:4326", "native"])
def test_the_mosaic_equals_the_untiled_raster(
    process: Any, dem: Path, crs: str, unique: str
) -> None:
    tiled = process(dem, target_crs=crs, **TILED)
    whole = process(dem, target_crs=crs, item_id=f"{unique}_whole", collection_id=f"{unique}_c")
    assert tiled["form"] == "tiled"
    assert whole["form"] == "single"
    assert tiled["summary"]["total_tiles"] > 3
    with (
        rasterio.open(local(tiled["mosaic"]["vrt"])) as mosaic,
        rasterio.open(local(whole["assets"][0]["href"])) as single,
    ):
        assert mosaic.profile["transform"] == single.profile["transform"]
        assert mosaic.nodata == single.nodata == -9999
        np.testing.assert_array_equal(mosaic.read(1), single.read(1))


def test_tiles_are_recorded_without_gap_or_overlap(
    process: Any, dem: Path, engine: sa.Engine, unique: str
) -> None:
    result = process(dem, target_crs="native", **TILED)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT state, window_col, window_row, width, height, ST_AsBinary(geom) AS geom"
                " FROM geo.tiles WHERE layer = :layer"
            ),
            {"layer": unique},
        ).all()
    assert len(rows) == result["summary"]["total_tiles"]
    assert {row.state for row in rows} == {"published"}
    windows = [
        shapely.box(r.window_col, r.window_row, r.window_col + r.width, r.window_row + r.height)
        for r in rows
    ]
    assert sum(window.area for window in windows) == SIDE * SIDE
    assert shapely.union_all(windows).equals(shapely.box(0, 0, SIDE, SIDE))
    assert all(shapely.from_wkb(bytes(row.geom)).is_valid for row in rows)


def test_the_archive_of_a_set_is_one_file(process: Any, dem: Path) -> None:
    result = process(dem, output_tier=["analysis", "archive"], **TILED)
    archive = next(one for one in result["assets"] if one["tier"] == "archive")
    assert archive["files"] == 1
    with rasterio.open(local(archive["href"])) as made, rasterio.open(dem) as source:
        assert (made.crs, made.transform) == (source.crs, source.transform)
        np.testing.assert_array_equal(made.read(1), source.read(1))


def test_the_job_is_done_when_it_is_asked_for_again(
    run_asset: Any, deliver: Any, dem: Path, unique: str
) -> None:
    key = deliver(dem)
    first = run_asset("raster", key, item_id=unique, **TILED)
    again = run_asset("raster", key, item_id=unique, **TILED)
    assert again.success, failure_of(again)
    assert not any("convert" in (event.step_key or "") for event in again.all_events)
    assert again.output_for_node("raster_cog.verify", "result") == first.output_for_node(
        "raster_cog.verify", "result"
    )


def test_tiles_can_be_asked_for_whatever_the_size(process: Any, dem: Path) -> None:
    result = process(dem, config={"tile": True}, target_tile_size_gb=0.05)
    assert result["form"] == "tiled"
