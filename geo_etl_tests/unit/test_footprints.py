"""Footprints: where pixels are on the Earth, found by looking at single points of the grid."""

import math

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from shapely.geometry import LinearRing, LineString, Point, Polygon, shape

from geo_etl.catalog.footprints import MAX_VERTICES, Footprint, footprint_of, union_of_boxes
from geo_etl.errors import RasterError
from geo_etl.raster.facts import Grid
from geo_etl_tests.independent_grids import CUSTOM, FIJI, MARS, NORTH, UTM, inside_and_outside


def footprint(grid: Grid, valid: shapely.Geometry | None = None) -> Footprint:
    return footprint_of(None if valid is None else valid.wkb, grid, "it")


def square(crs: str, middle: tuple[float, float], pixel: float, pixels: int = 200) -> Grid:
    half = pixel * pixels / 2
    transform = Affine(pixel, 0, middle[0] - half, 0, -pixel, middle[1] + half)
    return Grid(crs, transform, pixels, pixels)


def check(grid: Grid, valid: Polygon | None = None) -> None:
    """Points of the grid within the valid area are in the footprint, those well outside not."""
    drawn = shape(footprint(grid, valid).geometry)
    inside, outside = inside_and_outside(grid, valid)
    assert len(inside)
    assert shapely.intersects_xy(drawn, inside).all()
    assert not shapely.intersects_xy(drawn, outside).any()


@pytest.mark.parametrize(
    "grid",
    [
        pytest.param(UTM, id="UTM"),
        pytest.param(FIJI, id="degrees beyond 180"),
        pytest.param(square("EPSG:4326", (-180, 10), 0.01), id="degrees below -180"),
        pytest.param(square("EPSG:32660", (700_000, 5_700_000), 1000), id="UTM across 180"),
        pytest.param(square("EPSG:3857", (20_037_508, 0), 1000), id="Mercator across 180"),
        pytest.param(NORTH, id="round the north pole"),
        pytest.param(square("EPSG:3031", (0, 0), 25_000), id="round the south pole"),
        pytest.param(square("EPSG:3031", (100_000, 100_000), 1000), id="a corner on the pole"),
        pytest.param(square("EPSG:3031", (0, 100_000), 1000), id="an edge on the pole"),
        pytest.param(square("EPSG:3031", (0, -100_000), 1000), id="the other edge on the pole"),
        pytest.param(square("EPSG:3413", (150_000, 0), 1000), id="beside the pole"),
        pytest.param(square("EPSG:3995", (0, 1_000_000), 1000), id="polar across 180"),
        pytest.param(CUSTOM, id="custom CRS"),
        pytest.param(square("EPSG:6933", (0, 0), 80_000), id="beyond the poles"),
        pytest.param(square("EPSG:3035", (4e6, 4e6), 100, 40_000), id="a continent"),
    ],
)
def test_a_grid_lies_where_its_pixels_do(grid: Grid) -> None:
    check(grid)


@settings(max_examples=30)
@given(
    crs=st.sampled_from(["EPSG:32733", "EPSG:3413", "EPSG:3035", "EPSG:5070", "EPSG:32601"]),
    pixel=st.sampled_from([0.1, 10.0, 1000.0]),
    turn=st.integers(0, 89),
    west=st.floats(0, 1),
    south=st.floats(0, 1),
)
def test_a_rotated_grid_lies_where_its_pixels_do(
    crs: str, pixel: float, turn: int, west: float, south: float
) -> None:
    area = CRS.from_user_input(crs).area_of_use
    assert area is not None
    middle = Transformer.from_crs(4326, crs, always_xy=True).transform(
        area.west + west * (area.east - area.west), area.south + south * (area.north - area.south)
    )
    grid = square(crs, middle, pixel)
    turned = grid.transform @ Affine.rotation(turn, (100, 100))
    check(Grid(crs, turned, 200, 200))


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 200)), min_size=4, max_size=9))
def test_only_the_valid_part_is_in_the_footprint(corners: list[tuple[float, float]]) -> None:
    grid = square("EPSG:32660", (700_000, 5_700_000), 1000)
    valid = shapely.convex_hull(
        shapely.multipoints([grid.transform @ corner for corner in corners])
    )
    if valid.area > 1e3 * 1e6:
        check(grid, valid)


def test_a_hole_round_the_pole_stays_a_hole() -> None:
    ring = Point(0, 0).buffer(90_000).difference(Point(0, 0).buffer(30_000))
    check(square("EPSG:3413", (0, 0), 1000), ring)


def test_the_edge_of_a_disk_seen_from_orbit_is_the_limb() -> None:
    # A geostationary satellite at 0° sees as far as arccos(R / (R + h)) = 81.3° from below it.
    crs = CRS.from_proj4("+proj=geos +h=35786000 +lon_0=-170 +R=6378137").to_wkt()
    drawn = shape(footprint(square(crs, (0, 0), 60_000)).geometry)
    limb = math.degrees(math.acos(6378137 / (6378137 + 35786000)))
    assert shapely.intersects(drawn, Point(-170, limb - 0.5))
    assert not shapely.intersects(drawn, Point(-170, limb + 0.5))
    # Across the antimeridian too.
    assert shapely.intersects(drawn, Point(-170 - limb + 360 + 0.5, 0))
    assert not shapely.intersects(drawn, Point(-170 - limb + 360 - 0.5, 0))


def test_the_edge_at_the_pole_of_another_datum_keeps_its_length() -> None:
    # The poles of DHDN and WGS 84 are 600 m apart: at that of the one the other has one longitude.
    drawn = shape(footprint(square("EPSG:4314", (10, 85), 0.05)).geometry)
    at_the_pole = drawn.intersection(LineString([(-180, 89.9999), (180, 89.9999)]))
    assert at_the_pole.length == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize(
    "transform",
    [
        pytest.param(Affine(1, 0, -180, 0, -1, 90), id="from -180"),
        pytest.param(Affine(1, 0, 0, 0, -1, 90), id="from 0"),
        pytest.param(Affine(1, 0, -180.5, 0, -1, 90.5), id="centres on the edge"),
    ],
)
def test_the_whole_world_is_one_box(transform: Affine) -> None:
    height = 181 if transform.f > 90 else 180
    found = footprint(Grid("EPSG:4326", transform, 361 if height == 181 else 360, height))
    assert found.bbox == (-180.0, -90.0, 180.0, 90.0)
    assert shapely.equals(shape(found.geometry), shapely.box(-180, -90, 180, 90))


def test_across_the_antimeridian_there_are_two_polygons_and_west_is_above_east() -> None:
    found = footprint(FIJI)
    assert found.geometry["type"] == "MultiPolygon"
    assert found.bbox == (176.0, -19.0, -176.0, -16.0)
    assert shape(found.geometry).bounds == (-180.0, -19.0, 180.0, -16.0)


def test_round_the_pole_the_box_has_all_longitudes() -> None:
    west, south, east, north = footprint(NORTH).bbox
    assert (west, east, north) == (-180.0, 180.0, 90.0)
    # Metres are true at 70°, and at the pole longer by 2 / (1 + sin 70°) (Snyder, 21-7, sphere).
    corner = math.hypot(200_000, 200_000) * 2 / (1 + math.sin(math.radians(70)))
    assert Geod(ellps="WGS84").inv(0, 90, 0, south)[2] == pytest.approx(corner, rel=1e-3)


def test_exterior_rings_are_counter_clockwise() -> None:
    found = footprint(FIJI)
    rings = [LinearRing(part[0]) for part in found.geometry["coordinates"]]
    assert all(ring.is_ccw for ring in rings)


@pytest.mark.parametrize("teeth", [3, 500, 5000])
def test_a_ragged_footprint_keeps_few_vertices_and_loses_nothing(teeth: int) -> None:
    grid = square("EPSG:32632", (500_000, 5_000_000), 10, 1000)
    left, top = grid.transform.c, grid.transform.f
    tips = [(left + 10_000 * i / teeth, top - (2000 if i % 2 else 100)) for i in range(teeth + 1)]
    ragged = Polygon([*tips, (left + 10_000, top - 9000), (left, top - 9000)])
    drawn = shape(footprint(grid, ragged).geometry)
    to_degrees = Transformer.from_crs("EPSG:32632", 4326, always_xy=True)
    longitudes, latitudes = to_degrees.transform(*np.array(tips[:: max(teeth // 50, 1)]).T)
    places = shapely.points(longitudes, latitudes)
    pixel = 1e-4
    assert shapely.get_num_coordinates(drawn) <= MAX_VERTICES
    assert drawn.is_valid
    assert (shapely.distance(drawn, places) < pixel).all()


def test_no_valid_pixel_gives_the_outline_of_the_grid() -> None:
    whole = shapely.box(*UTM.bounds)
    assert shapely.equals(shape(footprint(UTM).geometry), shape(footprint(UTM, whole).geometry))


def test_a_place_on_mars_is_in_the_degrees_of_mars() -> None:
    found = footprint(MARS)
    assert (found.body, found.on_earth) == ("Mars", False)
    # Plate carrée with standard parallel 15° on a sphere of 3394813.86 m: one degree of latitude
    # is 59.25 km.
    degree = math.pi * 3394813.857975945 / 180
    assert found.bbox[3] == pytest.approx(-840_000 / degree, abs=1e-6)
    assert found.bbox[3] - found.bbox[1] == pytest.approx(500 / degree, rel=1e-3)


def test_a_crs_of_no_body_is_refused() -> None:
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]').to_wkt()
    with pytest.raises(RasterError, match="source_crs"):
        footprint(square(local, (0, 0), 1))


def test_pixels_beside_the_world_are_refused() -> None:
    crs = CRS.from_proj4("+proj=geos +h=35786000 +lon_0=0 +ellps=WGS84").to_wkt()
    with pytest.raises(RasterError, match="no longitude and latitude"):
        footprint(square(crs, (9e6, 9e6), 10))


# Boxes together

BOXES = st.tuples(
    st.integers(-1800, 1799), st.integers(1, 3000), st.integers(-900, 899), st.integers(1, 900)
).map(
    lambda t: (
        t[0] / 10,
        t[2] / 10,
        ((t[0] + t[1] + 1800) % 3600 - 1800) / 10,
        min(t[2] + t[3], 900) / 10,
    )
)


def holds(box: tuple[float, ...], longitude: float) -> bool:
    west, _, east, _ = box
    return west <= longitude <= east if west <= east else longitude >= west or longitude <= east


@given(st.lists(BOXES, min_size=1, max_size=5))
def test_a_box_round_boxes_holds_each_of_them(boxes: list[tuple[float, ...]]) -> None:
    found = union_of_boxes(boxes)  # type: ignore[arg-type]
    assert found is not None
    held = [
        longitude
        for longitude in np.arange(-179.95, 180, 1.7)
        if any(holds(box, longitude) for box in boxes)
    ]
    assert all(holds(found, longitude) for longitude in held)
    assert found[1] == min(box[1] for box in boxes)
    assert found[3] == max(box[3] for box in boxes)


def test_boxes_on_both_sides_of_the_antimeridian_make_a_box_across_it() -> None:
    box = union_of_boxes([(170.0, -10.0, 175.0, 0.0), (-178.0, -5.0, -170.0, 5.0)])
    assert box == (170.0, -10.0, -170.0, 5.0)


def test_no_boxes_make_no_box() -> None:
    assert union_of_boxes([]) is None
