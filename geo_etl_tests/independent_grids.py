"""Grids that are hard to place on the Earth, and where their pixels are, point by point."""

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from shapely.geometry import Polygon

from geo_etl.raster.facts import Grid

Floats = npt.NDArray[np.float64]

UTM = Grid("EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_000_000), 100, 100)
FIJI = Grid("EPSG:4326", Affine(0.01, 0, 176, 0, -0.01, -16), 800, 300)
"""From 176° to 184°, as a grid has it that crosses the antimeridian."""
NORTH = Grid("EPSG:3413", Affine(1000, 0, -200_000, 0, -1000, 200_000), 400, 400)
"""Round the north pole: 200 km to each side."""
MARS = Grid(
    'PROJCS["Equirectangular MARS",GEOGCS["GCS_MARS",DATUM["D_MARS",'
    'SPHEROID["MARS_localRadius",3394813.857975945,0]],PRIMEM["Reference_Meridian",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Equirectangular"],'
    'PARAMETER["standard_parallel_1",-15],PARAMETER["central_meridian",180],UNIT["metre",1]]',
    Affine(0.5, 0, 7_200_000, 0, -0.5, -840_000),
    1000,
    1000,
)
CUSTOM = Grid(
    CRS.from_proj4("+proj=laea +lat_0=10 +lon_0=-81 +ellps=WGS84 +units=m").to_wkt(),
    Affine(1000, 0, 0, 0, -1000, 0),
    100,
    100,
)
NEAR, FAR = 1.0, 5.0
"""Pixels from the edge: at least so far within, or so far outside."""


def inside_and_outside(grid: Grid, valid: Polygon | None = None) -> tuple[Floats, Floats]:
    """Longitudes and latitudes of points within the valid part of a grid, and of some outside.

    Anywhere, and close to the edge on either side.
    """
    random = np.random.default_rng(1)
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    area = valid or Polygon([grid.transform @ corner for corner in corners])
    pixel = np.hypot(grid.transform.a, grid.transform.d)
    sides = random.uniform(-1, 2, (1500, 2)) * [grid.width, grid.height]
    edges = [area.buffer(distance * pixel).exterior for distance in (-NEAR - 0.1, FAR + 0.1)]
    along = [edge.interpolate(np.linspace(0, edge.length, 400)) for edge in edges]
    points = np.concatenate(
        [[grid.transform @ tuple(side) for side in sides], shapely.get_coordinates(along)]
    )
    inside = shapely.contains_xy(area.buffer(-NEAR * pixel), points)
    outside = ~shapely.contains_xy(area.buffer(FAR * pixel), points)
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    degrees = np.stack(to_degrees.transform(*points.T), axis=1)
    degrees[~np.isfinite(degrees)] = np.nan
    degrees[:, 0] = (degrees[:, 0] + 180) % 360 - 180
    back = np.stack(to_degrees.transform(*degrees.T, direction="INVERSE"), axis=1)
    if CRS.from_user_input(grid.crs).is_geographic:
        # On a pole itself there is no longitude.
        degrees = np.where(np.abs(points[:, 1:]) < 89.999, degrees, np.nan)
    else:
        # Outside its domain a projection gives the same place a second time.
        outside &= np.hypot(*(back - points).T) < pixel
    placed = np.isfinite(degrees).all(axis=1)
    return degrees[inside & placed], degrees[outside & placed]
