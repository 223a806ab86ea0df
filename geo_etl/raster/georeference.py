"""Where a raster is: its CRS and its grid, and whether both can be true together."""

import math
from dataclasses import dataclass

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.errors import RasterioError
from rasterio.transform import GCPTransformer, from_gcps

from geo_etl.errors import SourceError
from geo_etl.raster.facts import Georeference, Grid
from geo_etl.spec import RasterSpec

_NORTH = set("degrees_north degree_north degree_N degrees_N degreeN degreesN".split())
_EAST = set("degrees_east degree_east degree_E degrees_E degreeE degreesE".split())
_OUTSIDE_DEGREES = 5.0
"""How far from its area of use a CRS is still used without a word."""


@dataclass(frozen=True)
class Placed:
    """Where a raster is.

    Attributes:
        crs_declared: whether the file says its CRS itself.
        points: with ground control points: (column, row) to x, y, both of shape (n, 2).
        gcps: column, row, x, y of each.
    """

    grid: Grid
    georeference: Georeference
    crs_declared: bool
    points: GCPTransformer | None
    gcps: tuple[tuple[float, float, float, float], ...]
    warnings: tuple[str, ...]

    def place(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """x, y of pixel corners (column, row); shape (n, 2)."""
        if self.points is not None:
            xs, ys = self.points.xy(corners[:, 1], corners[:, 0], offset="ul")
            return np.column_stack([xs, ys])
        a, b, c, d, e, f = self.grid.transform[:6]
        columns, rows = corners[:, 0], corners[:, 1]
        return np.column_stack([a * columns + b * rows + c, d * columns + e * rows + f])


def locate(dataset: rasterio.DatasetReader, name: str, spec: RasterSpec) -> Placed:
    """Find out where a raster is.

    Raises:
        SourceError: nothing says it, or what says it can't be true.
    """
    transform, georeference, points = _transform(dataset, name)
    crs, declared, warnings = _crs(dataset, name, spec, georeference)
    gcps = _gcps(dataset, crs, name) if points is not None else ()
    grid = Grid(_text(crs), transform, dataset.width, dataset.height)
    # By its code, a CRS knows what area it is for.
    warnings += _check_bounds(grid, CRS.from_user_input(grid.crs), name, spec)
    return Placed(grid, georeference, declared, points, gcps, tuple(warnings))


def _transform(
    dataset: rasterio.DatasetReader, name: str
) -> tuple[Affine, Georeference, GCPTransformer | None]:
    transform = dataset.transform
    if not transform.is_identity:
        if not all(map(math.isfinite, transform[:6])) or transform.determinant == 0:
            raise SourceError(
                name,
                f"its geotransform {tuple(transform[:6])} has no area",
                "Correct it, for instance by a world file beside it.",
            )
        return transform, "transform", None
    points, _ = dataset.gcps
    if points:
        return _of_points(points, name)
    if dataset.rpcs:
        raise SourceError(
            name,
            "only rational polynomials (RPC) say where it is, for which a terrain model is needed",
            "Orthorectify it first, for instance by gdalwarp -rpc -to RPC_DEM=….",
        )
    if "GEOLOCATION" in dataset.tag_namespaces():
        raise SourceError(
            name,
            "it lies on a curved grid: only arrays of coordinates say where its pixels are",
            "Warp it to a regular grid first, for instance by gdalwarp -geoloc.",
        )
    raise SourceError(
        name,
        "nothing says where it is: it has no geotransform",
        "Deliver a world file beside it (for instance .tfw, .jgw, .pgw), or a GeoTIFF with a "
        "geotransform or ground control points; and set source_crs where no CRS is declared.",
    )


def _of_points(
    points: list[GroundControlPoint], name: str
) -> tuple[Affine, Georeference, GCPTransformer]:
    """The geotransform that lies nearest to ground control points, and what GDAL makes of them."""
    try:
        nearest: Affine = from_gcps(points)
        solved = GCPTransformer(points)
    except (RasterioError, CPLE_BaseError, ValueError):
        nearest, solved = Affine.scale(0), None
    if solved is None or not math.isfinite(nearest.determinant) or nearest.determinant == 0:
        raise SourceError(
            name,
            f"its {len(points)} ground control points give no position",
            "Deliver at least three that are not on a line.",
        )
    return nearest, "gcps", solved


def _gcps(
    dataset: rasterio.DatasetReader, crs: CRS, name: str
) -> tuple[tuple[float, float, float, float], ...]:
    points = tuple((point.col, point.row, point.x, point.y) for point in dataset.gcps[0])
    xs = [x for *_, x, _ in points]
    if crs.is_geographic and max(xs) - min(xs) > 180 * _per_degree(crs):
        # The polynomial that GDAL makes of them would run once around the globe.
        raise SourceError(
            name,
            "the longitudes of its ground control points jump at 180°",
            "Let them run on beyond 180°, or give the points in a projected CRS.",
        )
    return points


def _crs(
    dataset: rasterio.DatasetReader, name: str, spec: RasterSpec, georeference: Georeference
) -> tuple[CRS, bool, list[str]]:
    if spec.source_crs is not None:
        return *_horizontal(CRS.from_user_input(spec.source_crs), name)[:1], False, []
    declared = dataset.gcps[1] if georeference == "gcps" else dataset.crs
    if not declared and _is_in_degrees(dataset):
        said = "Its coordinates are degrees north and east without a CRS; WGS 84 is assumed."
        return CRS.from_epsg(4326), False, [said]
    if not declared:
        raise SourceError(
            name,
            "nothing that PROJ understands says which CRS its coordinates are in",
            "Set source_crs, for instance EPSG:25832; geo_etl does not guess.",
        )
    try:
        crs = CRS.from_wkt(declared.to_wkt(version="WKT2_2019"))
    except (CRSError, RasterioError) as error:
        raise SourceError(
            name, f"its CRS is none that PROJ understands ({error})", "Set source_crs."
        ) from None
    flat, warnings = _horizontal(crs, name)
    return flat, True, warnings


def _is_in_degrees(dataset: rasterio.DatasetReader) -> bool:
    """Whether a NetCDF says by the units of its axes what they are (CF conventions, 4.1, 4.2)."""
    units = {value for key, value in dataset.tags().items() if key.endswith("#units")}
    is_netcdf = dataset.driver == "netCDF"
    return is_netcdf and bool(units & _NORTH) and bool(units & _EAST)


def _horizontal(crs: CRS, name: str) -> tuple[CRS, list[str]]:
    """The part of a CRS that places pixels, and what is left of it."""
    warnings = []
    if crs.is_compound:
        flat, *others = crs.sub_crs_list
        heights = ", ".join(other.name for other in others)
        warnings.append(f"Values are kept as they are: heights in {heights}, as its CRS says.")
        crs = flat
    elif len(crs.axis_info) == 3 and not crs.is_geocentric:
        crs = crs.to_2d()
    if crs.is_engineering or not (crs.is_geographic or crs.is_projected) or crs.is_geocentric:
        raise SourceError(
            name,
            f"its CRS '{crs.name}' is no place on Earth or another body ({crs.type_name})",
            "Set source_crs to the CRS that its coordinates are in.",
        )
    return crs, warnings


def _text(crs: CRS) -> str:
    authority = crs.to_authority(min_confidence=100)
    if authority is not None and CRS.from_authority(*authority).equals(crs, ignore_axis_order=True):
        return ":".join(authority)
    return str(crs.to_wkt())


def _check_bounds(grid: Grid, crs: CRS, name: str, spec: RasterSpec) -> list[str]:
    west, south, east, north = grid.bounds
    shown = f"{west:g}, {south:g}, {east:g}, {north:g}"
    if crs.is_geographic:
        # Grids are often registered at the pixels' middles, half a pixel beyond the poles.
        pixel = max(abs(grid.transform.a) + abs(grid.transform.b), 1e-9)
        pixel_y = max(abs(grid.transform.d) + abs(grid.transform.e), 1e-9)
        turn = 360 * _per_degree(crs)
        too_far = max(-south, north) > turn / 4 + pixel_y
        # To 540 or from -360: around another meridian than Greenwich, still once around.
        beyond = west < -turn - pixel or east > 1.5 * turn + pixel
        if too_far or beyond or east - west > turn + pixel:
            raise SourceError(
                name,
                f"its bounds ({shown}) are no longitudes and latitudes, as its CRS {_called(crs)} "
                "says",
                "Set source_crs to the CRS that its coordinates are in.",
            )
        return []
    if max(-west, east) <= 360 and max(-south, north) <= 90:
        doubt = f"its bounds ({shown}) look like degrees, but its CRS {_called(crs)} has " + (
            crs.axis_info[0].unit_name + "s" if crs.axis_info else "other units"
        )
        if spec.source_crs is None:
            raise SourceError(
                name,
                doubt,
                "Set source_crs: to EPSG:4326 if they are degrees, else to "
                f"{_called(crs)} to confirm it.",
            )
        return [f"By source_crs, although {doubt}."]
    return _check_area(grid, crs, name, shown)


def _check_area(grid: Grid, crs: CRS, name: str, shown: str) -> list[str]:
    """Whether a projected grid is where its CRS is meant for."""
    try:
        degrees = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    except (ProjError, CRSError):
        return []
    west, south, east, north = grid.bounds
    xs, ys = np.meshgrid(np.linspace(west, east, 9), np.linspace(south, north, 9))
    longitudes, latitudes = degrees.transform(xs, ys)
    known = np.isfinite(longitudes) & np.isfinite(latitudes)
    if not known.any():
        raise SourceError(
            name,
            f"its bounds ({shown}) are nowhere in its CRS {_called(crs)}",
            "Set source_crs to the CRS that its coordinates are in.",
        )
    area = crs.area_of_use
    if area is None:
        return []
    # Of its pixels the nearest to the area; around the globe, the short way.
    width = (area.east - area.west) % 360 or 360.0
    middle = area.west + width / 2
    off = np.abs((longitudes[known] - middle + 180) % 360 - 180) - width / 2
    beyond = np.maximum(area.south - latitudes[known], latitudes[known] - area.north)
    distance = float(np.maximum(off, beyond).min())
    if distance > _OUTSIDE_DEGREES:
        return [
            f"It lies {distance:.0f}° outside the area that its CRS {_called(crs)} is meant for "
            f"({area.name}). If that is wrong, set source_crs."
        ]
    return []


def _per_degree(crs: CRS) -> float:
    """Units of a geographic CRS in a degree: 1, or 1.11 of gradians."""
    factor = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 0.0
    return math.radians(1) / factor if factor else 1.0


def _called(crs: CRS) -> str:
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else f"'{crs.name}'"
