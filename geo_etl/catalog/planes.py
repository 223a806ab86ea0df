"""The plane of a CRS and the degrees of the body it is of."""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from shapely.geometry import Point, Polygon

from geo_etl.errors import RasterError

Floats = npt.NDArray[np.float64]

EARTH = "Earth"
EARTH_RADII = (6.3e6, 6.4e6)
"""Every ellipsoid of the Earth has its semi-major axis between them, in metres."""
BISECTIONS = 40
SAMPLES = 33
POLE_DEGREES, POLE_METRES = 1e-3, 100.0
"""So close to a pole is on it."""


@dataclass(frozen=True)
class Plane:
    """What of a CRS it takes to place polygons.

    Attributes:
        name: of the CRS.
        body: celestial body.
        transformer: from x, y to longitude, latitude in degrees (WGS 84 on the Earth).
        quarter: 90 degrees in the unit of a geographic CRS; None for others.
        poles: by latitude, where a pole is a single place of the plane.
    """

    name: str
    body: str
    transformer: Transformer
    quarter: float | None
    poles: dict[float, Point]

    def to_degrees(self, points: Floats) -> Floats:
        """Longitudes and latitudes (n × 2); not finite where the CRS has none."""
        longitudes, latitudes = self.transformer.transform(points[:, 0], points[:, 1])
        degrees = np.stack([longitudes, latitudes], axis=1).astype(np.float64)
        degrees[~np.isfinite(degrees).all(axis=1)] = np.nan
        if self.quarter is not None:
            # A shift of the datum moves the pole, and all longitudes close to it; and pixels round
            # a pole reach half of their height beyond it.
            own = points * (90 / self.quarter)
            polar = np.abs(own[:, 1]) > 90 - POLE_DEGREES
            degrees[polar, 0] = own[polar, 0]
            degrees[polar, 1] = np.clip(own[polar, 1], -90, 90)
        return degrees

    def drawn_in(self, points: Floats, area: Polygon) -> Floats | None:
        """Points along an area's ring, those without a place moved inwards until they have one.

        Returns:
            None when no point of the area has a place.
        """
        if self._have_places(points).all():
            return points
        inside = self._some_place(area)
        if inside is None:
            return None
        points = self._with_crossings(points)
        return self._last_place(np.broadcast_to(inside, points.shape), points)

    def _have_places(self, points: Floats) -> npt.NDArray[np.bool_]:
        """Which points have longitude and latitude (n × 1)."""
        placed: npt.NDArray[np.bool_] = np.isfinite(self.to_degrees(points).sum(axis=1))
        return placed[:, None]

    def _with_crossings(self, points: Floats) -> Floats:
        """The same, and the points where lines between them leave or enter what has places."""
        there = self._have_places(points)[:, 0]
        edges = np.flatnonzero(there[:-1] != there[1:])
        ends = np.where(there[edges, None], edges[:, None] + [0, 1], edges[:, None] + [1, 0])
        crossings = self._last_place(points[ends[:, 0]], points[ends[:, 1]])
        return np.insert(points, edges + 1, crossings, axis=0)

    def _last_place(self, good: Floats, wanted: Floats) -> Floats:
        """The points nearest to those wanted that have places, on lines from good points."""
        bad = wanted
        for _ in range(BISECTIONS):
            middle = (good + bad) / 2
            placed = self._have_places(middle)
            good, bad = np.where(placed, middle, good), np.where(placed, bad, middle)
        return np.where(self._have_places(wanted), wanted, good)

    def _some_place(self, area: Polygon) -> Floats | None:
        """A point of an area with longitude and latitude, far from those without."""
        west, south, east, north = area.bounds
        x, y = np.meshgrid(np.linspace(west, east, SAMPLES), np.linspace(south, north, SAMPLES))
        tried = np.stack([x.ravel(), y.ravel()], axis=1)
        tried = np.concatenate([shapely.get_coordinates(area.representative_point()), tried])
        tried = tried[shapely.contains_xy(area, tried)]
        held = tried[self._have_places(tried)[:, 0]]
        if not len(held):
            return None
        middle: Floats = held[np.argmin(np.hypot(*(held - held.mean(axis=0)).T))]
        return middle

    def off_by(self, middles: Floats, run: Floats, points: Floats) -> Floats:
        """How far straight lines in degrees pass from the middles of lines of the plane.

        Args:
            middles: of points and their next ones (n - 1 × 2).
            run: longitudes and latitudes of the points (n × 2), without jumps.
            points: in the plane (n × 2).

        Returns:
            Distances in units of the plane (n - 1).
        """
        missed = _chord(self.to_degrees(middles), (run[:-1] + run[1:]) / 2)
        lengths = np.hypot(*np.diff(points, axis=0).T)
        chords = _chord(run[:-1], run[1:])
        scale = np.divide(lengths, chords, out=np.zeros_like(chords), where=chords > 0)
        return np.nan_to_num(missed * scale)

    def degrees_of(self, length: float, area: shapely.Geometry) -> float:
        """About how many degrees of a great circle a short length of the plane is; 0 nowhere."""
        inside = self._some_place(shapely.box(*area.bounds))
        if inside is None:
            return 0.0
        ends = self.to_degrees(np.array([inside, inside + [length, 0], inside + [0, length]]))
        chords = _chord(ends[[0, 0]], ends[1:])
        finite = chords[np.isfinite(chords) & (chords > 0)]
        return float(np.degrees(finite.min())) if len(finite) else 0.0


@lru_cache(maxsize=256)
def plane_of(crs: str, name: str) -> Plane:
    """The plane of a CRS.

    Raises:
        RasterError: it belongs to no celestial body.
    """
    known = CRS.from_user_input(crs)
    geodetic, ellipsoid = known.geodetic_crs, known.ellipsoid
    if geodetic is None or ellipsoid is None:
        raise RasterError(
            name,
            f"its CRS ({known.name}) belongs to no celestial body, so it has no longitude and "
            "latitude",
            "Give its source_crs in the spec.",
        )
    on_earth = EARTH_RADII[0] < ellipsoid.semi_major_metre < EARTH_RADII[1]
    target = CRS.from_epsg(4326) if on_earth else geodetic
    transformer = Transformer.from_crs(known, target, always_xy=True)
    quarter = None
    if known.is_geographic and not known.is_derived:
        quarter = float(np.radians(90) / known.axis_info[0].unit_conversion_factor)
    body = EARTH if on_earth else _body(geodetic)
    return Plane(known.name, body, transformer, quarter, {} if quarter else _poles(transformer))


def _poles(transformer: Transformer) -> dict[float, Point]:
    """Poles that all meridians lead to.

    Not those that a projection draws as a line, nor those on the far side of what it shows.
    """
    poles = {}
    for latitude in (90.0, -90.0):
        near = latitude * (1 - 1e-9)
        x, y = transformer.transform(
            [0.0, 0.0, 90.0, 180.0, -90.0], [latitude, *[near] * 4], direction="INVERSE"
        )
        places = np.stack([x, y], axis=1)
        if not np.isfinite(places).all() or np.ptp(places, axis=0).max() > POLE_METRES:
            continue
        if abs(transformer.transform(*places[0])[1] - latitude) < POLE_DEGREES:
            poles[latitude] = Point(places[0])
    return poles


def _body(geodetic: CRS) -> str:
    """A celestial body from the name of its datum, like D_Mars_2000 or Moon (2015) - Sphere."""
    words = re.findall(r"[^\W\d_]{2,}", geodetic.datum.name if geodetic.datum else geodetic.name)
    return words[0].capitalize() if words else geodetic.name


def _chord(one: Floats, other: Floats) -> Floats:
    """Straight distance between places of a unit sphere."""
    distance: Floats = np.linalg.norm(_unit(one) - _unit(other), axis=1)
    return distance


def _unit(degrees: Floats) -> Floats:
    longitude, latitude = np.radians(degrees).T
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=1,
    )
