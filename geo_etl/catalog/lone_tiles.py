"""Map tiles on which a mosaic shows one of its members alone, so that the two must be equal."""

from collections.abc import Mapping, Sequence
from math import atan, ceil, degrees, floor, log2, pi, sinh, sqrt
from typing import Any

import shapely

from geo_etl.catalog import tiles

MARGIN = 0.1
"""Of a tile, on each side: what is that close to an edge may be drawn by both."""

Item = Mapping[str, Any]


def lone_tile(member: Item, others: Sequence[Item]) -> tiles.TileAddress | None:
    """The largest tile found that lies within one item's footprint, and in no other's.

    Args:
        member: a STAC item; others: those that are shown with it.

    Returns:
        None when the others cover it, or it is a place that Web Mercator has not.
    """
    place = _footprint(member)
    west, south, east, north = member["bbox"]
    near = [
        _footprint(other)
        for other in others
        if south <= other["bbox"][3]
        and other["bbox"][1] <= north
        and (west > east or _overlaps(west, east, other["bbox"]))
    ]
    region = _largest(shapely.difference(place, shapely.union_all(near)))
    if region is None:
        return None
    circle = shapely.maximum_inscribed_circle(region)
    centre, radius = circle.coords[0], circle.length
    first = max(floor(log2(180.0 / max(radius, 1e-9))), 0)
    # Whatever tile holds the centre is within the circle from this zoom on.
    last = ceil(log2(360.0 * (1 + 2 * MARGIN) * sqrt(2) / max(radius, 1e-9)))
    for zoom in range(first, min(last, tiles.MAX_ZOOM) + 1):
        tile = _tile_at(centre, zoom)
        if region.contains(_outline(tile)):
            return tile
    return None


def _overlaps(west: float, east: float, box: Sequence[float]) -> bool:
    return box[0] > box[2] or (west <= box[2] and box[0] <= east)


def _footprint(item: Item) -> shapely.Geometry:
    return shapely.make_valid(shapely.geometry.shape(item["geometry"]))


def _largest(geometry: shapely.Geometry) -> shapely.Polygon | None:
    """The largest polygon of a geometry, of where Web Mercator is."""
    end = tiles.MERCATOR_LATITUDE
    within = shapely.intersection(geometry, shapely.box(-180, -end, 180, end))
    polygons = [one for one in shapely.get_parts(within) if one.area > 0]
    return max(polygons, key=lambda one: one.area) if polygons else None


def _tile_at(point: Sequence[float], zoom: int) -> tiles.TileAddress:
    x, y = point
    return tiles.covering_tile((x, y, x, y), (x, y), most=zoom)


def _outline(tile: tiles.TileAddress) -> shapely.Polygon:
    """A tile and its margin, in degrees."""
    across = 2**tile.zoom
    west, east = ((tile.x + edge) / across * 360.0 - 180.0 for edge in (-MARGIN, 1 + MARGIN))
    north, south = (
        degrees(atan(sinh(pi * (1.0 - 2.0 * (tile.y + edge) / across))))
        for edge in (-MARGIN, 1 + MARGIN)
    )
    return shapely.box(west, south, east, north)
