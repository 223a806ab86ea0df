"""Tiles on which one member of a mosaic is alone."""

from typing import Any

import morecantile
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.catalog.lone_tiles import lone_tile
from geo_etl.catalog.tiles import TileAddress

MERCATOR = morecantile.tms.get("WebMercatorQuad")


def item(*boxes: tuple[float, float, float, float], shape: Any = None) -> dict[str, Any]:
    """An item of boxes; of several, they lie on both sides of the antimeridian."""
    place = shape or shapely.union_all([shapely.box(*box) for box in boxes])
    west, east = (boxes[0][0], boxes[-1][2]) if boxes else (place.bounds[0], place.bounds[2])
    return {
        "geometry": shapely.geometry.mapping(place),
        "bbox": [west, place.bounds[1], east, place.bounds[3]],
    }


def outline(tile: TileAddress | None) -> shapely.Polygon:
    assert tile is not None
    assert tile.matrix_set == "WebMercatorQuad"
    return shapely.box(*MERCATOR.bounds(morecantile.Tile(tile.x, tile.y, tile.zoom)))


def place(of: dict[str, Any]) -> shapely.Geometry:
    return shapely.geometry.shape(of["geometry"])


def test_a_member_among_neighbours_is_alone_in_its_middle() -> None:
    row = [item((x, 50, x + 1, 51)) for x in range(5)]

    found = outline(lone_tile(row[2], [*row[:2], *row[3:]]))

    assert place(row[2]).contains(found)
    assert found.area > 0.01  # it shows more than a few pixels


def test_what_others_cover_is_left_out() -> None:
    member, other = item((0, 0, 4, 4)), item((1, 0, 4, 4))

    found = outline(lone_tile(member, [other]))

    assert place(member).contains(found)
    assert not place(other).intersects(found)


def test_a_member_under_others_is_nowhere_alone() -> None:
    member = item((0, 0, 4, 4))

    assert lone_tile(member, [item((0, 0, 4, 4))]) is None
    assert lone_tile(member, [item((-1, -1, 2, 5)), item((2, -1, 5, 5))]) is None


def test_a_member_at_the_pole_is_not_on_the_map() -> None:
    assert lone_tile(item((0, 86, 90, 90)), []) is None


def test_a_member_across_the_antimeridian_is_alone_on_one_side() -> None:
    member = item((176, -20, 180, -10), (-180, -20, -170, -10))
    other = item((-180, -30, -160, 0))

    found = outline(lone_tile(member, [other]))

    assert shapely.box(176, -20, 180, -10).contains(found)


def test_a_ring_has_no_tile_in_its_hole() -> None:
    ring = shapely.Point(10, 50).buffer(2).difference(shapely.Point(10, 50).buffer(1.5))
    member = item(shape=ring)

    assert ring.contains(outline(lone_tile(member, [])))


@given(
    boxes=st.lists(
        st.tuples(
            st.floats(-170, 160), st.floats(-80, 70), st.floats(0.001, 10), st.floats(0.001, 10)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_tile_shows_its_member_alone(boxes: list[tuple[float, ...]]) -> None:
    member, *others = [item((x, y, x + width, y + height)) for x, y, width, height in boxes]

    tile = lone_tile(member, others)

    if tile is None:  # nothing of it is larger than the smallest tile
        left = place(member).difference(shapely.union_all([place(other) for other in others]))
        assert max((part.area for part in shapely.get_parts(left)), default=0) < 1e-6
    else:
        found = outline(tile)
        assert place(member).contains(found)
        assert not any(place(other).intersects(found) for other in others)
