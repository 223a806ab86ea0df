"""Repairing one invalid geometry, keeping to its dimension."""

from dataclasses import dataclass

import shapely


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


def repair_one(
    geometry: shapely.Geometry,
) -> tuple[shapely.Geometry | None, float, float]:
    """The repaired geometry (None if nothing is left), and its measure before and after.

    A self-crossing polygon has no area of its own: 'before' is the area its rings enclose by
    the even-odd rule, which is what `make_valid`'s linework method builds.
    """
    dimension = int(shapely.get_dimensions(geometry))
    repaired = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    if geometry.geom_type != "GeometryCollection":
        repaired = _of_dimension(repaired, dimension)
    if shapely.is_empty(repaired):
        return None, 0.0, 0.0
    if dimension == 2:
        reference = _of_dimension(shapely.make_valid(geometry, method="linework"), 2)
        return repaired, float(shapely.area(reference)), float(shapely.area(repaired))
    return repaired, float(shapely.length(geometry)), float(shapely.length(repaired))


def _of_dimension(geometry: shapely.Geometry, dimension: int) -> shapely.Geometry:
    """Only the points (0), lines (1) or polygons (2) of a geometry."""
    if geometry.geom_type != "GeometryCollection":
        same = int(shapely.get_dimensions(geometry)) == dimension
        return geometry if same else shapely.GeometryCollection()
    parts = shapely.get_parts(shapely.get_parts(geometry))
    parts = parts[shapely.get_dimensions(parts) == dimension]
    return shapely.union_all(parts) if len(parts) else shapely.GeometryCollection()
