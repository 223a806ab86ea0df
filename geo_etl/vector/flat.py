"""The short way for plain geometries: from WKB to EWKB on flat arrays, no geometry objects.

Points, lines, and polygons of one ring, also as the only part of a Multi, are rewritten as bytes:
gather the coordinates, prove validity, reproject, write. A polygon goes this way only if it is
star-shaped as seen from the mean of its vertices, which proves that it is simple; parcels and
buildings mostly are. Whatever is not plain, or not proven, is left to GEOS.

Layouts as in OGC 06-103r4 (8.2) and, for EWKB, PostGIS's manual (4.1.2).
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geo_etl.vector.wkb import Headers

SRID_FLAG = 0x20000000
POINT_BYTES = 16
MIN_ANGULAR = 1e-9
"""Smallest cross product of neighbouring vertices that counts as a turn, relative to the
squared radius of the polygon: far above rounding, far below anything drawn on purpose."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Shape:
    """How one plain kind of WKB is laid out.

    Attributes:
        code: WKB type. family: type of its one part (1 point, 2 line, 3 polygon).
        header: bytes before the coordinates.
        fixed: offset → value of the 32-bit integers that make it plain.
        count: offset of the number of points; None for points.
    """

    code: int
    family: int
    header: int
    fixed: tuple[tuple[int, int], ...]
    count: int | None


_SHAPES = (
    _Shape(1, 1, 5, (), None),
    _Shape(2, 2, 9, (), 5),
    _Shape(3, 3, 13, ((5, 1),), 9),
    _Shape(4, 1, 14, ((5, 1), (10, 1)), None),
    _Shape(5, 2, 18, ((5, 1), (10, 2)), 14),
    _Shape(6, 3, 22, ((5, 1), (10, 3), (14, 1)), 18),
)
FAMILIES = {
    "MultiPoint": (1,),
    "MultiLineString": (2,),
    "MultiPolygon": (3,),
    "Geometry": (1, 2, 3),
}
"""Type of a table → families that go into it."""


@dataclass(frozen=True)
class Plain:
    """Plain geometries of a batch, on flat arrays.

    Attributes:
        rows: row in the batch (n).
        families: 1 point, 2 line, 3 polygon (n).
        counts: number of points (n).
        coordinates: x, y of all points, one geometry after the other (sum of counts × 2).
    """

    rows: Integers
    families: Integers
    counts: Integers
    coordinates: Floats

    def only(self, mask: Mask) -> "Plain":
        """Those that a mask over the geometries names."""
        if mask.all():
            return self
        points = np.repeat(mask, self.counts)
        return Plain(
            self.rows[mask], self.families[mask], self.counts[mask], self.coordinates[points]
        )

    def starts(self) -> Integers:
        """Position of each geometry's first point."""
        return (np.cumsum(self.counts) - self.counts).astype(np.int64)


def plain_geometries(wkb: pa.Array, table_type: str) -> Plain:
    """The plain and provably valid geometries of a batch that fit a table."""
    headers = Headers.of(wkb)
    raw = wkb.to_numpy(zero_copy_only=False)
    rows, families, counts, pieces = [], [], [], []
    for shape in _SHAPES:
        if shape.family not in FAMILIES.get(table_type, ()):
            continue
        found, points = _of_shape(headers, shape)
        if len(found):
            rows.append(headers.rows[found])
            families.append(np.full(len(found), shape.family))
            counts.append(points)
            pieces.append(b"".join([raw[row][shape.header :] for row in rows[-1]]))
    if not rows:
        none = np.zeros(0, dtype=np.int64)
        return Plain(none, none, none, np.zeros((0, 2)))
    coordinates = np.frombuffer(b"".join(pieces), "<f8").reshape(-1, 2)
    plain = Plain(
        np.concatenate(rows), np.concatenate(families), np.concatenate(counts), coordinates
    )
    return plain.only(_proven_valid(plain))


def _of_shape(headers: Headers, shape: _Shape) -> tuple[Integers, Integers]:
    """Positions of the geometries of one shape, and their numbers of points."""
    sizes = headers.lengths - shape.header
    candidates = np.flatnonzero(
        (headers.codes() == shape.code) & (sizes >= POINT_BYTES) & (sizes % POINT_BYTES == 0)
    )
    points = sizes[candidates] // POINT_BYTES
    fits = np.ones(len(candidates), dtype=bool)
    for offset, value in shape.fixed:
        fits &= headers.little_integers(candidates, offset) == value
    if shape.count is None:
        fits &= points == 1
    else:
        fits &= headers.little_integers(candidates, shape.count) == points
    return candidates[fits], points[fits]


def _proven_valid(plain: Plain) -> Mask:
    starts = plain.starts()
    x, y = plain.coordinates.T
    finite = np.logical_and.reduceat(np.isfinite(x) & np.isfinite(y), starts)
    valid = finite.copy()
    lines = plain.families == 2
    if lines.any():
        # A line is valid as soon as two of its points differ.
        first = np.repeat(starts, plain.counts)
        differs = (x != x[first]) | (y != y[first])
        valid &= ~lines | np.logical_or.reduceat(differs, starts)
    polygons = (plain.families == 3) & finite & (plain.counts >= 4)
    valid &= (plain.families != 3) | polygons
    if polygons.any():
        valid[polygons] = _star_shaped(plain.only(polygons))
    return valid


def _star_shaped(rings: Plain) -> Mask:
    """Which rings are closed and wind once, without turning back, around their mean vertex.

    Such a ring is simple: every ray from that point meets it exactly once.
    """
    starts, counts, points = rings.starts(), rings.counts, rings.coordinates
    last = starts + counts - 1
    closed = (points[starts] == points[last]).all(axis=1)
    centre = (np.add.reduceat(points, starts) - points[last]) / (counts - 1)[:, None]
    x, y = (points - np.repeat(centre, counts, axis=0)).T
    radius = np.maximum.reduceat(np.maximum(np.abs(x), np.abs(y)), starts)
    largest = np.maximum.reduceat(np.maximum(*np.abs(points).T), starts)
    rounding = 8 * np.finfo(np.float64).eps * largest * radius
    least = np.repeat(MIN_ANGULAR * radius**2 + rounding, counts)
    turn = x * np.roll(y, -1) - y * np.roll(x, -1)
    rising = (y < 0) & (np.roll(y, -1) >= 0)
    falling = (y >= 0) & (np.roll(y, -1) < 0)
    # From a ring's last point to the next ring's first is no edge.
    turn[last], rising[last], falling[last] = np.inf, False, False
    left = np.logical_and.reduceat(turn > least, starts)
    turn[last] = -np.inf
    right = np.logical_and.reduceat(turn < -least, starts)
    once = (np.add.reduceat(rising, starts, dtype=np.int64) == 1) & (
        np.add.reduceat(falling, starts, dtype=np.int64) == 1
    )
    return np.asarray(closed & (left | right) & once, dtype=bool)


def write_ewkb(plain: Plain, srid: int) -> pa.Array:
    """EWKB of geometries, each as a Multi of one part, with the SRID."""
    flat = plain.coordinates.astype("<f8").tobytes()
    prefixes = {
        (family, count): _prefix(family, count, srid)
        for family, count in set(zip(plain.families.tolist(), plain.counts.tolist(), strict=True))
    }
    starts = plain.starts() * POINT_BYTES
    ends = starts + plain.counts * POINT_BYTES
    kinds = zip(plain.families.tolist(), plain.counts.tolist(), strict=True)
    heads = [prefixes[kind] for kind in kinds]
    bodies = [flat[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    data = b"".join(chain.from_iterable(zip(heads, bodies, strict=True)))
    sizes = plain.counts * POINT_BYTES + np.fromiter(map(len, heads), np.int64, len(heads))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(plain.rows), buffers)


def _prefix(family: int, count: int, srid: int) -> bytes:
    outer = [family + 3 | SRID_FLAG, srid, 1]
    inner = {1: [1], 2: [2, count], 3: [3, 1, count]}[family]
    return b"\x01" + np.array(outer, "<u4").tobytes() + b"\x01" + np.array(inner, "<u4").tobytes()
