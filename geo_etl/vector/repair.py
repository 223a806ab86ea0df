"""Repairing one invalid geometry, keeping to its dimension."""

from contextlib import suppress
from dataclasses import dataclass

import shapely
from shapely.errors import GEOSException


@dataclass(frozen=True)
class Repair:
    """One repaired geometry: row in the batch, GEOS's reason, measures and types before and after.

    The measure is the area (polygons, units of the source CRS squared) or the length (lines).
    """

    row: int
    reason: str
    before: float
    after: float
    type_before: str
    type_after: str


SAME = 1e-9
"""Relative difference up to which two areas are the same."""
LARGE_VERTICES = 50_000
"""Above this, a polygon's even-odd area is not worth its time: minutes, where it has many holes."""


def repair_one(
    geometry: shapely.Geometry,
) -> tuple[shapely.Geometry | None, float, float]:
    """The repaired geometry (None if nothing is left), and its measure before and after.

    A self-crossing polygon has no area of its own. Where the plain area of its rings is not the
    repaired one, 'before' is the area that they enclose by the even-odd rule, which is what
    `make_valid`'s linework method builds, at ten times the cost.
    """
    dimension = int(shapely.get_dimensions(geometry))
    repaired = _structured(geometry)
    if geometry.geom_type != "GeometryCollection":
        repaired = _of_dimension(repaired, dimension)
    if shapely.is_empty(repaired):
        return None, 0.0, 0.0
    if dimension != 2:
        return repaired, float(shapely.length(geometry)), float(shapely.length(repaired))
    before, after = float(shapely.area(geometry)), float(shapely.area(repaired))
    is_small = shapely.get_num_coordinates(geometry) < LARGE_VERTICES
    if is_small and differs(before, after, SAME):
        # What the linework method can't build keeps its plain area.
        with suppress(GEOSException):
            before = float(shapely.area(shapely.make_valid(geometry, method="linework")))
    return repaired, before, after


def differs(before: float, after: float, max_change: float) -> bool:
    """Whether a measure changed by more than a share of the larger one."""
    return abs(after - before) > max_change * max(before, after)


def _structured(geometry: shapely.Geometry) -> shapely.Geometry:
    """Make a geometry valid; of many polygons first those alone that are not."""
    if geometry.geom_type == "MultiPolygon":
        parts = shapely.get_parts(geometry)
        invalid = ~shapely.is_valid(parts)
        parts[invalid] = shapely.make_valid(
            parts[invalid], method="structure", keep_collapsed=False
        )
        polygons = shapely.get_parts(shapely.get_parts(parts))
        together = shapely.multipolygons(polygons[shapely.get_dimensions(polygons) == 2])
        if not shapely.is_empty(together) and shapely.is_valid(together):
            return together
    return shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def _of_dimension(geometry: shapely.Geometry, dimension: int) -> shapely.Geometry:
    """Only the points (0), lines (1) or polygons (2) of a geometry."""
    if geometry.geom_type != "GeometryCollection":
        same = int(shapely.get_dimensions(geometry)) == dimension
        return geometry if same else shapely.GeometryCollection()
    parts = shapely.get_parts(shapely.get_parts(geometry))
    parts = parts[shapely.get_dimensions(parts) == dimension]
    return shapely.union_all(parts) if len(parts) else shapely.GeometryCollection()
