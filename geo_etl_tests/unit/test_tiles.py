"""Addresses of tiles: that they cover what they are asked for."""

from urllib.parse import parse_qs

import morecantile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.catalog.tiles import covering_tile, item_path, raster_urls, render_query

longitudes = st.floats(-180, 180)
latitudes = st.floats(-90, 90)


@given(
    point=st.tuples(longitudes, latitudes),
    width=st.floats(0, 360),
    height=st.floats(0, 90),
    deeper=st.integers(0, 6),
)
def test_a_tile_covers_its_point(
    point: tuple[float, float], width: float, height: float, deeper: int
) -> None:
    longitude, latitude = point
    bbox = (longitude, max(latitude - height, -90), longitude + width, latitude)

    tile = covering_tile(bbox, point, deeper)

    matrices = morecantile.tms.get(tile.matrix_set)
    bounds = matrices.bounds(morecantile.Tile(tile.x, tile.y, tile.zoom))
    slack = 1e-6
    assert bounds.bottom - slack <= latitude <= bounds.top + slack
    assert any(
        bounds.left - slack <= around <= bounds.right + slack
        for around in (longitude - 360, longitude, longitude + 360)
    )


def test_a_tile_is_about_as_large_as_the_box() -> None:
    tile = covering_tile((10.0, 50.0, 10.6, 50.4), (10.3, 50.2))

    bounds = morecantile.tms.get("WebMercatorQuad").bounds(tile.x, tile.y, tile.zoom)
    assert 0.6 <= bounds.right - bounds.left < 1.2


def test_a_box_across_the_antimeridian_is_narrow() -> None:
    tile = covering_tile((176.0, -22.0, -176.0, -14.0), (-179.0, -18.0))

    assert (tile.zoom, tile.x) == (5, 0)


@pytest.mark.parametrize("latitude", [89.9, 85.2, -85.2, -90.0])
def test_beyond_mercator_the_tile_is_a_geographic_one(latitude: float) -> None:
    south, north = sorted((latitude, latitude - 0.5 if latitude > 0 else latitude + 0.5))

    assert covering_tile((0, south, 1, north), (0.5, latitude)).matrix_set == "WGS1984Quad"


def test_a_render_becomes_a_query() -> None:
    render = {
        "title": "Elevation",
        "assets": ["analysis"],
        "asset_bidx": ["analysis|4,3,2"],
        "rescale": [[0, 10.5], [1, 2], [3, 4]],
        "colormap_name": "viridis",
        "resampling": "nearest",
    }

    assert parse_qs(render_query(render)) == {
        "assets": ["analysis|bidx=4,3,2"],
        "rescale": ["0,10.5", "1,2", "3,4"],
        "colormap_name": ["viridis"],
        "resampling": ["nearest"],
    }


def test_names_are_quoted() -> None:
    urls = raster_urls("http://x/tiles", item_path("a b", "c/d?e"), "assets=f")

    assert urls.tilejson == (
        "http://x/tiles/collections/a%20b/items/c%2Fd%3Fe/WebMercatorQuad/tilejson.json?assets=f"
        "&tile_format=png"
    )
