"""Geometries that cross 180° of longitude, cut there as RFC 7946 (3.1.9) asks for."""

import numpy as np
import numpy.typing as npt
import shapely

Geometries = npt.NDArray[np.object_]

HALF, FULL = 180.0, 360.0


def split_at_antimeridian(geometries: Geometries) -> Geometries:
    """Cut lines and polygons that cross ±180° into parts on either side.

    An edge that spans more than 180° is taken to go the short way round, across the
    antimeridian. Longitudes beyond ±180° are brought back. Others stay as they are.

    Args:
        geometries: 2D, longitude and latitude in degrees.
    """
    if not len(geometries):
        return geometries
    coordinates, owners = shapely.get_coordinates(geometries, return_index=True)
    x = coordinates[:, 0]
    same = owners[1:] == owners[:-1]
    # From one ring or part to the next is no edge, but costs only a look at the geometry.
    jumps = np.flatnonzero(same & (np.abs(np.diff(x)) > HALF))
    suspects = np.union1d(owners[jumps], owners[np.abs(x) > HALF])
    if not len(suspects):
        return geometries
    result = geometries.copy()
    for position in suspects:
        result[position] = _split(geometries[position])
    return result


def _split(geometry: shapely.Geometry) -> shapely.Geometry:
    dimension = int(shapely.get_dimensions(geometry))
    pieces: list[shapely.Geometry] = []
    for part in shapely.get_parts(shapely.get_parts(geometry)):
        pieces.extend(_pieces(part))
    wanted = [piece for piece in pieces if int(shapely.get_dimensions(piece)) == dimension]
    if geometry.geom_type == "GeometryCollection":
        return shapely.GeometryCollection(pieces)
    if not wanted:
        return geometry
    build = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)[dimension]
    return wanted[0] if len(wanted) == 1 else build(wanted)


def _pieces(part: shapely.Geometry) -> list[shapely.Geometry]:
    """A single point, line or polygon within ±180°, in one or more parts."""
    unwrapped = _unwrapped(part)
    west, south, east, north = shapely.bounds(unwrapped)
    if west >= -HALF and east <= HALF:
        return [part]
    if unwrapped.geom_type == "Polygon" and not shapely.is_valid(unwrapped):
        unwrapped = shapely.make_valid(unwrapped, method="structure", keep_collapsed=False)
    pieces: list[shapely.Geometry] = []
    for world in range(int((west + HALF) // FULL), int((east + HALF) // FULL) + 1):
        window = shapely.box(world * FULL - HALF, south - 1, world * FULL + HALF, north + 1)
        cut = shapely.intersection(unwrapped, window)
        if world:
            cut = shapely.transform(cut, lambda xy, world=world: xy - [world * FULL, 0.0])
        pieces.extend(
            piece for piece in shapely.get_parts(shapely.get_parts(cut)) if not piece.is_empty
        )
    return pieces


def _unwrapped(part: shapely.Geometry) -> shapely.Geometry:
    """The same, with longitudes that go on beyond ±180° instead of jumping."""
    if part.geom_type == "Polygon":
        shell = _continuous(part.exterior.coords)
        holes = [_beside(_continuous(hole.coords), shell) for hole in part.interiors]
        return shapely.Polygon(shell, holes)
    if part.geom_type == "LineString":
        return shapely.LineString(_continuous(part.coords))
    return part


def _continuous(coords: object) -> npt.NDArray[np.float64]:
    points = np.array(coords, dtype=np.float64)
    turns = np.round(np.diff(points[:, 0]) / FULL)
    points[1:, 0] -= FULL * np.cumsum(turns)
    return points


def _beside(
    hole: npt.NDArray[np.float64], shell: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """A hole in the same world as its shell."""
    hole[:, 0] -= FULL * np.round((hole[:, 0].mean() - shell[:, 0].mean()) / FULL)
    return hole
