"""Where the valid pixels of a raster lie on the Earth: polygons and boxes in degrees.

From a polygon in the CRS of a grid to GeoJSON after RFC 7946: WGS 84, cut at the antimeridian,
closed round the poles, counter-clockwise. Nothing valid is left out by more than a pixel.
Places outside of what a CRS can describe (space beside a disk seen from orbit) are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry import LinearRing, MultiPolygon, Polygon, mapping

from geo_etl.catalog.lineage import BBox
from geo_etl.catalog.planes import EARTH, Floats, Plane, plane_of
from geo_etl.errors import RasterError
from geo_etl.raster.facts import Grid
from geo_etl.vector.extent import smallest_arc

PIECES = 64
"""A ring is cut into at least so many, so that no step between two is near half a turn."""
MAX_POINTS = 20_000
ROUNDS = 16
MAX_VERTICES = 400
"""Of a footprint: a catalogue of 100,000 tiles reads each of them in a search."""
TOO_RAGGED = 4 * MAX_VERTICES
"""Simplifying more takes seconds: its time grows with the square of the vertices."""
TRIES = 8
DECIMALS = 9
"""Of degrees: 0.1 mm."""
MITRE_LIMIT = 2.0
"""How far a sharp corner may grow, in distances grown."""
WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True)
class Footprint:
    """A place on a celestial body.

    Attributes:
        geometry: GeoJSON Polygon or MultiPolygon, longitude and latitude in degrees.
        bbox: west, south, east, north in degrees; west > east across the antimeridian.
        body: Earth, or the name of another body, whose degrees these are then.
    """

    geometry: dict[str, Any]
    bbox: BBox
    body: str

    @property
    def on_earth(self) -> bool:
        """Whether the degrees are of WGS 84."""
        return self.body == EARTH


def footprint_of(valid: bytes | None, grid: Grid, name: str) -> Footprint:
    """The footprint of a raster.

    Args:
        valid: WKB polygon or multipolygon in the CRS of the grid around the valid pixels; None
            when there are none: then it is the outline of the grid.
        name: of the raster, for the error.

    Raises:
        RasterError: the CRS can't place it on any body.
    """
    plane = plane_of(grid.crs, name)
    pixel = min(
        float(np.hypot(grid.transform.a, grid.transform.d)),
        float(np.hypot(grid.transform.b, grid.transform.e)),
    )
    outline = _outline(grid) if valid is None else shapely.from_wkb(valid)
    outline = _bounded(outline, pixel)
    regions = [_region(polygon, plane, pixel) for polygon in shapely.get_parts(outline)]
    placed = _tidy(shapely.union_all(regions), plane.degrees_of(pixel, outline))
    if placed.is_empty:
        raise RasterError(
            name,
            f"its CRS ({plane.name}) has no longitude and latitude for where its pixels are",
            "Correct its georeference, or give the right source_crs in the spec.",
        )
    return Footprint(_geojson(placed), _bbox(placed), plane.body)


def union_of_boxes(boxes: Iterable[BBox]) -> BBox | None:
    """The smallest box round the Earth that holds all boxes; None without any."""
    held = np.array(list(boxes), dtype=np.float64).reshape(-1, 4)
    if not len(held):
        return None
    starts, ends = held[:, 0], held[:, 2] + np.where(held[:, 0] > held[:, 2], 360.0, 0.0)
    west, east = smallest_arc(starts, ends)
    return west, float(held[:, 1].min()), east, float(held[:, 3].max())


def _outline(grid: Grid) -> Polygon:
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    return Polygon([grid.transform @ corner for corner in corners])


def _bounded(outline: shapely.Geometry, pixel: float) -> shapely.Geometry:
    """The same or more, of a bounded number of vertices: at worst a convex hull."""
    ragged = shapely.get_num_coordinates(outline) > TOO_RAGGED
    few = _of_few_vertices(shapely.convex_hull(outline) if ragged else outline, pixel)
    if shapely.get_num_coordinates(few) <= MAX_VERTICES:
        return few
    return _of_few_vertices(shapely.convex_hull(outline), pixel)


def _of_few_vertices(outline: shapely.Geometry, step: float) -> shapely.Geometry:
    """The same or a little more; many small parts and holes may keep too many vertices.

    Args:
        step: first tolerance.
    """
    few = outline
    for _ in range(TRIES):
        if shapely.get_num_coordinates(few) <= MAX_VERTICES:
            break
        few = _grown(shapely.simplify(outline, step), step)
        step *= 4
    return few


def _grown(area: shapely.Geometry, distance: float) -> shapely.Geometry:
    return shapely.buffer(area, distance, join_style="mitre", mitre_limit=MITRE_LIMIT)


def _region(polygon: Polygon, plane: Plane, pixel: float) -> shapely.Geometry:
    """A polygon of the plane in degrees, its longitudes within ±180."""
    region = _filled(polygon.exterior, plane, pixel, pixel)
    holes = [_filled(ring, plane, pixel, -pixel) for ring in polygon.interiors]
    return shapely.difference(region, shapely.union_all(holes)) if holes else region


def _filled(ring: LinearRing, plane: Plane, pixel: float, outwards: float) -> shapely.Geometry:
    """What a ring encloses, in degrees.

    Args:
        outwards: a pixel; negative for a hole, which must not grow.
    """
    area = Polygon(ring)
    # On a pole there is no longitude: a ring that runs over one is moved to its outside.
    if any(area.exterior.distance(pole) <= pixel for pole in plane.poles.values()):
        area = _grown(area, 2 * outwards)
        if area.is_empty or area.geom_type != "Polygon":
            return shapely.Polygon()
    enclosed = [latitude for latitude, pole in plane.poles.items() if area.contains(pole)]
    run = _trace(area, plane, pixel)
    if run is None:
        return shapely.Polygon()
    turns = round(float(run[-1, 0] - run[0, 0]) / 360)
    if turns == 0 and not enclosed:
        return _within_the_world(Polygon(run))
    if abs(turns) == 1 and len(enclosed) == 1:
        over = np.array([[run[-1, 0], enclosed[0]], [run[0, 0], enclosed[0]]])
        return _within_the_world(Polygon(np.concatenate([run, over])))
    # The CRS is torn somewhere inside: all longitudes, between the parallels that it reaches.
    latitudes = [*run[:, 1], *enclosed]
    return shapely.box(-180.0, min(latitudes), 180.0, max(latitudes))


def _trace(area: Polygon, plane: Plane, pixel: float) -> Floats | None:
    """Longitudes and latitudes along the ring of an area, start to start; None: nowhere.

    Longitudes go on beyond ±180 instead of jumping. The points are so close that straight lines
    between them in degrees stay within half a pixel of the ring.
    """
    ring = shapely.segmentize(area.exterior, area.exterior.length / PIECES)
    points = plane.drawn_in(shapely.get_coordinates(ring), area)
    if points is None:
        return None
    for _ in range(ROUNDS):
        run = _continuous(plane.to_degrees(points))
        middles = (points[:-1] + points[1:]) / 2
        far = plane.off_by(middles, run, points) > pixel / 2
        if not far.any() or len(points) > MAX_POINTS:
            break
        points = np.insert(points, np.flatnonzero(far) + 1, middles[far], axis=0)
    run = _continuous(plane.to_degrees(points))
    return run[np.isfinite(run).all(axis=1)]


def _continuous(degrees: Floats) -> Floats:
    run = degrees.copy()
    run[1:, 0] -= 360 * np.cumsum(np.round(np.diff(run[:, 0]) / 360))
    return run


def _within_the_world(area: Polygon) -> shapely.Geometry:
    """Cut at every meridian that is the antimeridian, each part brought within ±180."""
    if not area.is_valid:
        area = shapely.make_valid(area, method="structure", keep_collapsed=False)
    west, _, east, _ = area.bounds if not area.is_empty else (0.0, 0.0, 0.0, 0.0)
    parts = []
    for world in range(int((west + 180) // 360), int((east + 180) // 360) + 1):
        window = shapely.box(world * 360 - 180, -90, world * 360 + 180, 90)
        cut = shapely.intersection(area, window)
        parts.append(shapely.transform(cut, lambda xy, turn=360 * world: xy - [turn, 0.0]))
    return shapely.union_all(parts)


def _tidy(area: shapely.Geometry, pixel: float) -> shapely.Geometry:
    """Polygons alone, counter-clockwise, without superfluous vertices."""
    simple = _of_few_vertices(shapely.simplify(area, pixel / 4), pixel / 2)
    simple = shapely.set_precision(shapely.intersection(simple, WORLD), 10.0**-DECIMALS)
    polygons = [
        part
        for one in shapely.get_parts(simple)
        for part in shapely.get_parts(one)
        if part.geom_type == "Polygon" and part.area > 0
    ]
    placed = polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)
    placed = shapely.transform(placed, lambda xy: np.round(xy, DECIMALS))
    return shapely.orient_polygons(placed)


def _geojson(area: shapely.Geometry) -> dict[str, Any]:
    drawn = mapping(area)
    return {"type": drawn["type"], "coordinates": _lists(drawn["coordinates"])}


def _lists(value: Any) -> Any:
    return [_lists(one) for one in value] if isinstance(value, tuple | list) else value


def _bbox(area: shapely.Geometry) -> BBox:
    bounds = shapely.bounds(shapely.get_parts(area))
    west, east = smallest_arc(bounds[:, 0], bounds[:, 2])
    _, south, _, north = shapely.bounds(area)
    return round(west, DECIMALS), float(south), round(east, DECIMALS), float(north)
