"""The short way for plain geometries: from WKB to EWKB on flat arrays, no geometry objects.

Points, lines, and polygons of one ring, also as the only part of a Multi, are rewritten as bytes:
gather the coordinates, prove validity, reproject, write. A polygon goes this way only if it is
star-shaped as seen from the mean of its vertices, which proves that it is simple; parcels and
buildings mostly are. Whatever is not plain, or not proven, is left to GEOS.

Layouts as in OGC 06-103r4 (8.2) and, for EWKB, PostGIS's manual (4.1.2).
"""

from dataclasses import dataclass

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
    points = _at_any_octet(headers.data, POINT_BYTES)
    rows, families, counts, pieces = [], [], [], []
    for shape in _SHAPES:
        if shape.family not in FAMILIES.get(table_type, ()):
            continue
        found, number = _of_shape(headers, shape)
        if len(found):
            rows.append(headers.rows[found])
            families.append(np.full(len(found), shape.family))
            counts.append(number)
            pieces.append(points[_places(headers.starts[found] + shape.header, number)])
    if not rows:
        none = np.zeros(0, dtype=np.int64)
        return Plain(none, none, none, np.zeros((0, 2)))
    coordinates = np.concatenate(pieces).view("<f8").reshape(-1, 2)
    plain = Plain(
        np.concatenate(rows), np.concatenate(families), np.concatenate(counts), coordinates
    )
    return plain.only(_proven_valid(plain))


def _at_any_octet(data: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.void]:
    """A view of a buffer in which item i is the `size` octets from octet i on."""
    room = max(len(data) - size + 1, 0)
    return np.ndarray((room,), dtype=f"V{size}", buffer=data if room else None, strides=(1,))


def _places(starts: Integers, counts: Integers) -> Integers:
    """Octet where each point of each geometry is, from the first point's and their number."""
    before = np.cumsum(counts) - counts
    places: Integers = np.repeat(starts - before * POINT_BYTES, counts)
    places += POINT_BYTES * np.arange(len(places))
    return places


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
    starts, counts = rings.starts(), rings.counts
    last = starts + counts - 1
    x, y = np.ascontiguousarray(rings.coordinates.T)
    closed = (x[starts] == x[last]) & (y[starts] == y[last])
    largest = np.maximum.reduceat(np.maximum(np.abs(x), np.abs(y)), starts)
    x, y = (
        values - np.repeat((np.add.reduceat(values, starts) - values[last]) / (counts - 1), counts)
        for values in (x, y)
    )
    radius = np.maximum.reduceat(np.maximum(np.abs(x), np.abs(y)), starts)
    rounding = 8 * np.finfo(np.float64).eps * largest * radius
    least = np.repeat(MIN_ANGULAR * radius**2 + rounding, counts)
    following = np.roll(y, -1)
    turn = x * following - y * np.roll(x, -1)
    rising = (y < 0) & (following >= 0)
    falling = (y >= 0) & (following < 0)
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
    sizes = _HEAD_BYTES[plain.families] + plain.counts * POINT_BYTES
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    data = np.zeros(offsets[-1], dtype=np.uint8)
    for family in np.unique(plain.families).tolist():
        these = plain.families == family
        heads = _heads(family, plain.counts[these], srid)
        _at_any_octet(data, heads.dtype.itemsize)[offsets[:-1][these]] = heads.view(
            f"V{heads.dtype.itemsize}"
        )
    points = np.ascontiguousarray(plain.coordinates, dtype="<f8").view(f"V{POINT_BYTES}")
    starts = offsets[:-1] + _HEAD_BYTES[plain.families]
    _at_any_octet(data, POINT_BYTES)[_places(starts, plain.counts)] = points.reshape(-1)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32).tobytes()), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(plain.rows), buffers)


_INNER = {1: (), 2: ("points",), 3: ("rings", "points")}
"""Family → counts between the type of the one part and its coordinates."""
_HEAD_BYTES = np.array([0, *(18 + 4 * len(_INNER[family]) for family in (1, 2, 3))])
"""Family → octets before the coordinates: 13 of the Multi, 5 of its part, and the counts."""


def _heads(family: int, counts: Integers, srid: int) -> npt.NDArray[np.void]:
    """What stands before the coordinates of geometries of one family."""
    fields = [("order", "u1"), ("type", "<u4"), ("srid", "<u4"), ("parts", "<u4")]
    fields += [("part_order", "u1"), ("part_type", "<u4")]
    heads = np.ones(len(counts), dtype=[*fields, *((name, "<u4") for name in _INNER[family])])
    heads["type"] = family + 3 | SRID_FLAG
    heads["srid"] = srid
    heads["part_type"] = family
    if "points" in _INNER[family]:
        heads["points"] = counts
    return heads
