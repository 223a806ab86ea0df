"""The grid of a raster in another CRS holds all of it, in pixels of its own size."""

import math
from pathlib import Path

import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.warp import calculate_default_transform

from geo_etl.errors import RasterError
from geo_etl.raster.facts import Grid
from geo_etl.raster.grid import target_grid, unrolled
from geo_etl_tests.unit.rasters import facts_of, utm

MARS = "+proj=longlat +a=3396190 +b=3376200 +no_defs"
ENGINEERING = 'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'


def in_crs(grid: Grid, crs: str, **more: object) -> tuple[Grid, bool]:
    return target_grid(facts_of(grid, "uint8", **more), crs, "test.tif")


def of_file(path: Path) -> Grid:
    with rasterio.open(path) as dataset:
        crs = dataset.crs.to_wkt()
        return Grid(crs, dataset.transform, dataset.width, dataset.height)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:25832"])
def test_an_ordinary_grid_is_the_one_that_gdal_suggests(crs: str) -> None:
    source = utm(700, 500)
    transform, width, height = calculate_default_transform(
        source.crs, crs, source.width, source.height, *source.bounds
    )
    assert in_crs(source, crs) == (Grid(crs, transform, width, height), True)


@pytest.mark.parametrize("crs", ["native", "EPSG:32633", "+proj=utm +zone=33 +datum=WGS84"])
def test_in_its_own_crs_a_north_up_raster_stays_as_it_is(crs: str) -> None:
    assert in_crs(utm(70, 50), crs) == (utm(70, 50), False)


def test_the_order_of_axes_makes_no_other_crs() -> None:
    source = Grid("OGC:CRS84", Affine(0.1, 0, 5, 0, -0.1, 50), 20, 10)
    assert in_crs(source, "EPSG:4326") == (source, False)


def test_a_south_up_raster_is_turned_over_in_place() -> None:
    south_up = Grid("EPSG:4326", Affine(0.5, 0, -180, 0, 0.5, -90), 720, 360)
    turned, must_warp = in_crs(south_up, "native")
    assert turned.transform == Affine(0.5, 0, -180, 0, -0.5, 90)
    assert (turned.width, turned.height, must_warp) == (720, 360, True)


def test_a_rotated_raster_becomes_north_up_around_its_corners() -> None:
    transform = Affine.translation(300_000, 5_600_000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    rotated = Grid("EPSG:32633", transform, 400, 300)
    grid, must_warp = in_crs(rotated, "native")
    assert must_warp
    assert grid.is_north_up
    assert grid.bounds == pytest.approx(rotated.bounds, abs=15)
    assert grid.transform.a == pytest.approx(10, rel=0.3)


@pytest.mark.parametrize("crs", ["native", "EPSG:4326", "EPSG:3857"])
def test_around_control_points_the_grid_is_north_up_and_the_one_that_gdal_suggests(
    crs: str,
) -> None:
    # Seen from a satellite that flies south: columns run to the west, and along a curve.
    points = tuple(
        (col, row, 8 - col * 0.01 - row * 0.002, 50 - row * 0.01 + (col / 100) ** 2 * 0.01)
        for row in (0.0, 100.0, 200.0)
        for col in (0.0, 150.0, 300.0)
    )
    nearest = Grid("EPSG:4326", Affine(-0.01, -0.002, 8, 0.0003, -0.01, 50), 300, 200)
    grid, must_warp = in_crs(nearest, crs, georeference="gcps", gcps=points)
    transform, width, height = calculate_default_transform(
        "EPSG:4326",
        "EPSG:4326" if crs == "native" else crs,
        300,
        200,
        gcps=[GroundControlPoint(row, col, x, y, 0.0) for col, row, x, y in points],
    )
    assert must_warp
    assert grid.is_north_up
    assert (grid.transform, grid.width, grid.height) == (transform, width, height)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_across_180_degrees_x_runs_on(crs: str, shared_data: Path) -> None:
    source = of_file(shared_data / "raster/geotiff/cog_dateline.tif")
    grid, _ = in_crs(source, crs)
    west, south, east, north = grid.bounds
    xs, ys = corners(source, crs)
    around = 360 if crs == "EPSG:4326" else 2 * math.pi * 6378137
    xs = [x % around for x in xs]
    size = grid.transform.a
    assert west == pytest.approx(min(xs), abs=2 * size)
    assert east == pytest.approx(max(xs), abs=2 * size)
    assert south <= min(ys) + size
    assert north >= max(ys) - size
    assert 0.5 < grid.pixels / source.pixels < 2


def test_a_raster_that_ends_at_180_degrees_does_not_run_on() -> None:
    source = Grid("EPSG:32660", Affine(1000, 0, 300_000, 0, -1000, 5_000_000), 100, 100)
    grid, _ = in_crs(source, "EPSG:4326")
    assert grid.bounds[2] < 180


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3031", -90)])
def test_a_raster_around_a_pole_reaches_it_and_goes_around(crs: str, pole: float) -> None:
    source = Grid(crs, Affine(1000, 0, -1.7345e6, 0, -1000, 2.1234e6), 4000, 4000)
    grid, _ = in_crs(source, "EPSG:4326")
    west, south, east, north = grid.bounds
    assert west == pytest.approx(-180, abs=grid.transform.a)
    assert east == pytest.approx(180, abs=grid.transform.a)
    assert (north if pole > 0 else south) == pytest.approx(pole, abs=grid.transform.a)
    assert (north if pole > 0 else -south) >= 90
    farthest = min(abs(y) for y in corners(source, "EPSG:4326")[1])
    assert (south if pole > 0 else -north) <= farthest + grid.transform.a


@pytest.mark.parametrize("crs", ["EPSG:4326", "native"])
def test_a_world_raster_is_left_alone_in_degrees(crs: str) -> None:
    world = Grid("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5, 90), 720, 360)
    assert in_crs(world, crs) == (world, False)


def test_a_world_raster_fills_the_square_of_web_mercator() -> None:
    world = Grid("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5, 90), 720, 360)
    grid, _ = in_crs(world, "EPSG:3857")
    edge, size = math.pi * 6378137, grid.transform.a
    assert grid.bounds == pytest.approx((-edge, -edge, edge, edge), abs=size)
    assert grid.width == pytest.approx(grid.height, abs=2)
    assert 0.5 < grid.pixels / world.pixels < 2


def test_a_disk_seen_from_space_is_covered_to_its_limb(shared_data: Path) -> None:
    source = of_file(shared_data / "raster/geotiff/goes.tif")
    grid, _ = in_crs(source, "EPSG:4326")
    to_degrees = Transformer.from_crs(source.crs, "EPSG:4326", always_xy=True)
    # Middle columns and rows of the disk, pixel by pixel.
    middle = [source.transform @ (source.width / 2, row) for row in range(source.height)]
    across = [source.transform @ (column, source.height / 2) for column in range(source.width)]
    seen = [to_degrees.transform(*place) for place in middle + across]
    seen = [place for place in seen if all(math.isfinite(value) for value in place)]
    west, south, east, north = grid.bounds
    size = grid.transform.a
    assert west - 2 * size < min(x for x, _ in seen)
    assert max(x for x, _ in seen) < east + 2 * size
    assert south - 2 * size < min(y for _, y in seen)
    assert max(y for _, y in seen) < north + 2 * size


def test_longitudes_up_to_360_become_minus_180_to_180() -> None:
    model = Grid("EPSG:4326", Affine(2, 0, -1, 0, -2, 90), 180, 90)
    grid, must_warp = in_crs(model, "EPSG:4326")
    assert must_warp
    assert grid.transform == Affine(2, 0, -181, 0, -2, 90)
    assert (grid.width, grid.height) == (180, 90)
    assert in_crs(model, "native") == (model, False)
    assert unrolled(model)[1] == 90


def test_a_part_of_the_west_given_in_degrees_east_moves_whole() -> None:
    part = Grid("EPSG:4326", Affine(0.5, 0, 200, 0, -0.5, 50), 80, 40)
    grid, must_warp = in_crs(part, "EPSG:4326")
    assert must_warp
    assert grid.bounds == (-160, 30, -120, 50)


def test_a_part_across_180_degrees_stays_in_one_piece() -> None:
    part = Grid("EPSG:4326", Affine(0.5, 0, 170, 0, -0.5, 50), 40, 40)
    assert in_crs(part, "EPSG:4326") == (part, False)


@pytest.mark.parametrize("source", [MARS, ENGINEERING])
def test_what_is_not_on_earth_stays_native(source: str) -> None:
    grid = Grid(source, Affine(0.01, 0, 5, 0, -0.01, 10), 100, 100)
    with pytest.raises(RasterError, match="can't be brought from its CRS") as caught:
        in_crs(grid, "EPSG:4326")
    assert "target_crs: native" in caught.value.remedy
    assert in_crs(grid, "native") == (grid, False)


def test_a_useless_grid_is_refused() -> None:
    needle = Grid("EPSG:32633", Affine(0.5, 0, 500_000, 0, -100, 5_600_000), 4000, 4000)
    with pytest.raises(RasterError, match="4000 × 4000 pixels would become") as caught:
        in_crs(needle, "EPSG:4326")
    assert "target_crs" in caught.value.remedy


@settings(max_examples=40)
@given(
    zone=st.integers(1, 60),
    easting=st.floats(200_000, 700_000),
    northing=st.floats(200_000, 8_500_000),
    size=st.floats(0.1, 1000),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    crs=st.sampled_from(["EPSG:4326", "EPSG:3857", "EPSG:3035", "ESRI:54009"]),
)
def test_every_corner_lies_in_the_new_grid(
    zone: int, easting: float, northing: float, size: float, width: int, height: int, crs: str
) -> None:
    if crs == "EPSG:3035" and not 28 <= zone <= 38:
        zone = 32
    if crs == "ESRI:54009" and zone in (1, 60):
        zone = 2  # its plane ends at 180°
    source = Grid(
        f"EPSG:{32600 + zone}", Affine(size, 0, easting, 0, -size, northing), width, height
    )
    grid, _ = in_crs(source, crs)
    xmin, ymin, xmax, ymax = grid.bounds
    step = grid.transform.a
    around = {"EPSG:4326": 360.0, "EPSG:3857": 2 * math.pi * 6378137}.get(crs)
    for x, y in zip(*corners(source, crs), strict=True):
        while around and x < xmin - around / 2:
            x += around  # noqa: PLW2901
        assert xmin - step <= x <= xmax + step
        assert ymin - step <= y <= ymax + step


def corners(grid: Grid, crs: str) -> tuple[list[float], list[float]]:
    places = [grid.transform @ (c, r) for c in (0, grid.width) for r in (0, grid.height)]
    to_crs = Transformer.from_crs(grid.crs, crs, always_xy=True)
    xs, ys = to_crs.transform(*zip(*places, strict=True))
    return list(xs), list(ys)


def test_rows_of_several_degrees_at_the_poles_do_not_coarsen_web_mercator() -> None:
    world = Grid("EPSG:4326", Affine(5, 0, -180, 0, -5, 90), 72, 36)
    grid, _ = in_crs(world, "EPSG:3857")
    at_the_equator = 5 * math.pi * 6378137 / 180
    assert 0.8 < grid.transform.a / at_the_equator < 1.5


def test_what_lies_beyond_web_mercator_is_refused() -> None:
    arctic = Grid("EPSG:4326", Affine(1, 0, -180, 0, -1, 90), 360, 4)
    with pytest.raises(RasterError, match="nothing of it would be left"):
        in_crs(arctic, "EPSG:3857")


@pytest.mark.parametrize(("west", "columns"), [(-360, 180), (-240, 60), (100, 80)])
def test_a_world_around_any_meridian_becomes_minus_180_to_180(west: int, columns: int) -> None:
    world = Grid("EPSG:4326", Affine(1, 0, west, 0, -1, 90), 360, 180)
    grid, moved = unrolled(world)
    assert grid.bounds == (-180, -90, 180, 90)
    assert moved == columns


def test_a_part_west_of_minus_180_degrees_moves_whole() -> None:
    part = Grid("EPSG:4326", Affine(0.1, 0, -190, 0, -0.1, 10), 200, 200)
    grid, moved = unrolled(part)
    assert grid.bounds == pytest.approx((170, -10, 190, 10))
    assert moved == 0
