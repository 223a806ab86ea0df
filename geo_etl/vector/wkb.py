"""Reading well-known binary without making geometries of it: types and emptiness, in bulk.

Byte order, type codes and counts as in OGC 06-103r4 (8.2); Z and M as ISO's +1000s or as EWKB's
high bits.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FAMILIES = ("Point", "LineString", "Polygon", "GeometryCollection")
"""Kinds of geometry, each with its Multi type; the position is the family's number."""
CURVES = range(8, 15)
"""Types of curves and of surfaces made of curves."""
COLLECTION = 7
_OF_GEOMETRIES = (4, 5, 6, COLLECTION, 9, 10, 11, 12, 15, 16)
"""Types whose parts are geometries with headers of their own.

GEOS reads a part before it asks of which kind it is: even multi-points nest.
"""
_TYPE_BITS, _SRID_FLAG = 0xFFFF, 0x20000000
"""Of a type code. GEOS takes its type from the low 16 bits, whatever stands above them."""
_OF_POINTS, _OF_RINGS = (2, 8), (3, 17)
_ISO_EXTRA = {1: 1, 2: 1, 3: 2}
"""Thousands of an ISO type code → ordinates beyond x and y."""
MAX_DEPTH = 100
"""Collections within collections: no real data nests them at all deep."""
_FAMILY_OF_TYPE = np.array([-1, 0, 1, 2, 0, 1, 2, 3], dtype=np.int8)
_HEADER = 9
"""Bytes of byte order, type, and the count of parts (or the first half of a point's x)."""


def wkb_types(wkb: pa.Array) -> npt.NDArray[np.int64]:
    """WKB type of each geometry without Z and M (1 point … 7 collection), -1 for null."""
    types = np.full(len(wkb), -1, dtype=np.int64)
    headers = Headers.of(wkb)
    types[headers.rows] = headers.types()
    return types


def wkb_families(wkb: pa.Array) -> npt.NDArray[np.int8]:
    """Family of each geometry: a position in `FAMILIES`; -1 for null, empty and unknown types."""
    families = np.full(len(wkb), -1, dtype=np.int8)
    headers = Headers.of(wkb)
    types = headers.types()
    known = (types > 0) & (types < len(_FAMILY_OF_TYPE)) & ~headers.empty(types)
    families[headers.rows[known]] = _FAMILY_OF_TYPE[types[known]]
    return families


@dataclass(frozen=True)
class Headers:
    """Rows of an array that are long enough to be a geometry.

    Attributes:
        rows: row in the array (n). starts, lengths: where in `data`, in bytes (n).
    """

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, wkb: pa.Array) -> "Headers":
        """Look into a binary array."""
        rows = np.flatnonzero(wkb.is_valid().to_numpy(zero_copy_only=False))
        _, offsets_buffer, data_buffer = wkb.buffers()
        if not len(rows) or data_buffer is None:
            return cls(rows[:0], rows[:0], rows[:0], np.zeros(0, dtype=np.uint8))
        offset_type = np.int64 if pa.types.is_large_binary(wkb.type) else np.int32
        offsets: npt.NDArray[Any] = np.frombuffer(offsets_buffer, offset_type)
        offsets = offsets[wkb.offset : wkb.offset + len(wkb) + 1].astype(np.int64)
        lengths = (offsets[1:] - offsets[:-1])[rows]
        rows, lengths = rows[lengths >= _HEADER], lengths[lengths >= _HEADER]
        return cls(rows, offsets[:-1][rows], lengths, np.frombuffer(data_buffer, np.uint8))

    def codes(self) -> npt.NDArray[np.int64]:
        """Type code of each row as it stands, with its flags; -1 for big-endian rows."""
        little = self.data[self.starts] == 1
        return np.where(little, self._integers(1), -1)

    def little_integers(
        self, positions: npt.NDArray[np.int64], offset: int
    ) -> npt.NDArray[np.int64]:
        """Little-endian unsigned 32-bit integers at an offset of some rows."""
        octets = self._octets(positions, offset, 4)
        return octets.view("<u4")[:, 0].astype(np.int64)

    def types(self) -> npt.NDArray[np.int64]:
        """Base type of each row."""
        return (self._integers(1) & _TYPE_BITS) % 1000

    def single_part(self) -> npt.NDArray[np.bool_]:
        """Whether each row is certainly a geometry of one simple part (EWKB's SRID is not)."""
        long = self.lengths >= 2 * _HEADER
        inner = (self._integers(_HEADER + 1) & _TYPE_BITS) % 1000
        plain = (self._integers(1) & _SRID_FLAG) == 0
        same_order = (
            self._octets(np.arange(len(self.rows)), _HEADER, 1)[:, 0] == self.data[self.starts]
        )
        one: npt.NDArray[np.bool_] = (
            long & plain & same_order & (self._integers(5) == 1) & (inner >= 1) & (inner <= 3)
        )
        return one

    def empty(self, types: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether each row has no parts; an empty point has NaN as its x."""
        empty: npt.NDArray[np.bool_] = (types != 1) & (self._integers(5) == 0)
        points = np.flatnonzero(types == 1)
        if len(points):
            octets = self._octets(points, 5, 8)
            little = self.data[self.starts[points]] == 1
            x = np.where(little, octets.view("<f8")[:, 0], octets.view(">f8")[:, 0])
            empty[points] = np.isnan(x)
        return empty

    def _octets(
        self, positions: npt.NDArray[np.int64], start: int, count: int
    ) -> npt.NDArray[np.uint8]:
        where = self.starts[positions][:, None] + np.arange(start, start + count)
        octets: npt.NDArray[np.uint8] = self.data[np.minimum(where, len(self.data) - 1)]
        return octets

    def _integers(self, start: int) -> npt.NDArray[np.int64]:
        """Unsigned 32-bit integers at a position, in each row's own byte order."""
        octets = self._octets(np.arange(len(self.rows)), start, 4)
        little = self.data[self.starts] == 1
        values: npt.NDArray[np.int64] = np.where(
            little, octets.view("<u4")[:, 0], octets.view(">u4")[:, 0]
        ).astype(np.int64)
        return values


def too_deep(wkb: pa.Array) -> npt.NDArray[np.int64]:
    """Rows whose parts are nested beyond `MAX_DEPTH`: GEOS would run out of stack on them."""
    return np.array([row for row, walk in _walks(wkb) if walk.deep], dtype=np.int64)


def unreadable(wkb: pa.Array) -> npt.NDArray[np.bool_]:
    """Which geometries shapely can't take: too deep, or with curves anywhere in them (n)."""
    found = np.isin(wkb_types(wkb), CURVES)
    found[[row for row, walk in _walks(wkb) if walk.deep or walk.curved]] = True
    return found


@dataclass(frozen=True)
class _Walk:
    """What is within one geometry."""

    deep: bool
    curved: bool


def _walks(wkb: pa.Array) -> Iterator[tuple[int, _Walk]]:
    """Rows with parts that may have parts."""
    headers = Headers.of(wkb)
    nesting = np.isin(headers.types(), _OF_GEOMETRIES) & ~headers.single_part()
    for row in headers.rows[nesting].tolist():
        yield row, _walk(wkb[row].as_py())


def _walk(data: bytes) -> _Walk:
    """Go through all parts of a geometry, without recursion."""
    waiting, position, curved = [1], 0, False
    while waiting and position + _HEADER + 4 <= len(data):
        order = "<" if data[position] == 1 else ">"
        (code,) = struct.unpack_from(f"{order}I", data, position + 1)
        position += 9 if code & _SRID_FLAG else 5
        (count,) = struct.unpack_from(f"{order}I", data, position)
        kind = (code & _TYPE_BITS) % 1000
        curved = curved or kind in CURVES
        waiting[-1] -= 1
        if kind in _OF_GEOMETRIES:
            position += 4
            waiting.append(count)
        else:
            position = _behind(data, position, kind, _ordinates(code), order)
        while waiting and waiting[-1] <= 0:
            waiting.pop()
        if len(waiting) > MAX_DEPTH:
            return _Walk(True, curved)
    return _Walk(False, curved)


def _ordinates(code: int) -> int:
    """Bytes of one vertex."""
    extra = (code >> 31) + (code >> 30 & 1) + _ISO_EXTRA.get((code & _TYPE_BITS) // 1000, 0)
    return 8 * (2 + extra)


def _behind(data: bytes, position: int, kind: int, vertex: int, order: str) -> int:
    """Where a geometry without parts ends; the end of the data for one that nobody knows.

    Args:
        position: behind its type.
        vertex: bytes of one.
    """
    if kind == 1:
        return position + vertex
    (count,) = struct.unpack_from(f"{order}I", data, position)
    if kind in _OF_POINTS:
        return position + 4 + int(count) * vertex
    if kind not in _OF_RINGS:
        return len(data)
    position += 4
    for _ in range(count):
        if position + 4 > len(data):
            break
        position += 4 + vertex * int(struct.unpack_from(f"{order}I", data, position)[0])
    return position
