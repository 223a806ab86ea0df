"""The short way for plain geometries gives what the long way by geometry objects gives."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.vector.flat import FAMILIES, plain_geometries, write_ewkb
from geo_etl.vector.geometry import GeometryPlan, _prepare_objects, prepare

TABLES = sorted(FAMILIES)
coordinate = st.floats(-80, 80) | st.integers(-5, 5).map(float)
point = st.tuples(coordinate, coordinate)
rings = st.lists(point, min_size=3, max_size=9).map(lambda ring: [*ring, ring[0]])
geometries = st.one_of(
    st.none(),
    point.map(shapely.Point),
    st.lists(point, min_size=2, max_size=6).map(shapely.LineString),
    rings.map(shapely.Polygon),
    st.lists(point, min_size=1, max_size=2).map(shapely.MultiPoint),
    st.lists(rings, min_size=1, max_size=2).map(
        lambda parts: shapely.MultiPolygon([shapely.Polygon(part) for part in parts])
    ),
    st.sampled_from(
        [shapely.Polygon(), shapely.Point(), shapely.Point(1, 2, 3), shapely.GeometryCollection()]
    ),
)


def wkb(items: list[shapely.Geometry | None], **options: object) -> pa.Array:
    return pa.array(
        [None if item is None else shapely.to_wkb(item, **options) for item in items], pa.binary()
    )


def plan(table: str, source: str | None = "EPSG:4326", target: int = 3857) -> GeometryPlan:
    return GeometryPlan(source, target, table, max_repair_change=0.1)


@given(st.lists(geometries, max_size=12), st.sampled_from(TABLES))
def test_both_ways_give_the_same(items: list[shapely.Geometry | None], table: str) -> None:
    array = wkb(items)

    short = prepare(array, plan(table))
    long = _prepare_objects(array, np.arange(len(array)), plan(table))

    assert short.rows.tolist() == long.rows.tolist()
    assert short.ewkb.to_pylist() == long.ewkb.to_pylist()
    assert short.dropped == long.dropped
    assert sorted((r.row, r.reason) for r in short.refusals) == sorted(
        (r.row, r.reason) for r in long.refusals
    )
    assert [r.row for r in short.repairs] == [r.row for r in long.repairs]
    np.testing.assert_array_equal(short.bounds, long.bounds)


@given(st.lists(rings, min_size=1, max_size=20))
def test_what_is_taken_as_valid_is_valid(items: list[list[tuple[float, float]]]) -> None:
    polygons = [shapely.Polygon(item) for item in items]

    taken = plain_geometries(wkb(polygons), "MultiPolygon")

    assert all(shapely.is_valid(polygons[row]) for row in taken.rows)


@pytest.mark.parametrize(
    ("ring", "taken"),
    [
        ([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], True),
        ([(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)], True),
        ([(0, 0), (2, 2), (2, 0), (0, 2), (0, 0)], False),
        ([(0, 0), (1, 0), (1, 0), (1, 1), (0, 1), (0, 0)], False),
        ([(0, 0), (1, 0), (2, 0), (0, 0)], False),
    ],
    ids=["square", "clockwise", "bow-tie", "doubled vertex", "flat"],
)
def test_star_shaped_rings_are_taken(ring: list[tuple[float, float]], *, taken: bool) -> None:
    found = plain_geometries(wkb([shapely.Polygon(ring)]), "MultiPolygon")

    assert len(found.rows) == taken


def test_a_ring_that_winds_twice_is_not_taken() -> None:
    angles = np.linspace(0, 4 * np.pi, 11)[:-1]
    pentagram = np.column_stack([np.cos(angles), np.sin(angles)])
    found = plain_geometries(wkb([shapely.Polygon(pentagram)]), "MultiPolygon")

    assert not shapely.is_valid(shapely.Polygon(pentagram))
    assert len(found.rows) == 0


@pytest.mark.parametrize("options", [{"byte_order": 0}, {"output_dimension": 3}])
def test_other_byte_orders_and_dimensions_take_the_long_way(options: dict[str, int]) -> None:
    array = wkb(
        [shapely.Point(1, 2, 3) if "output_dimension" in options else shapely.Point(1, 2)],
        **options,
    )

    assert len(plain_geometries(array, "MultiPoint").rows) == 0
    assert len(prepare(array, plan("MultiPoint")).rows) == 1


def test_the_srid_is_in_the_ewkb() -> None:
    plain = plain_geometries(wkb([shapely.Point(1, 2)]), "MultiPoint")

    geometry = shapely.from_wkb(write_ewkb(plain, 25832)[0].as_py())

    assert (shapely.get_srid(geometry), geometry.wkt) == (25832, "MULTIPOINT ((1 2))")


def test_a_slice_of_a_batch_is_read_from_its_own_rows() -> None:
    array = wkb([shapely.Point(n, n) for n in range(5)]).slice(2, 2)

    plain = plain_geometries(array, "MultiPoint")

    assert plain.coordinates.tolist() == [[2, 2], [3, 3]]
