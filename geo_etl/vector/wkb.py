"""Reading well-known binary without making geometries of it: types and emptiness, in bulk.

Byte order, type codes and counts as in OGC 06-103r4 (8.2); Z and M as ISO's +1000s or as EWKB's
high bits.
"""

import struct
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
_OF_GEOMETRIES = (4, 5, 6, COLLECTION)
"""Types whose parts are geometries with headers of their own."""
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
        return (self._integers(1) & 0x0FFFFFFF) % 1000

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
    """Rows whose collections are nested beyond `MAX_DEPTH`: GEOS would run out of stack on them."""
    collections = np.flatnonzero(wkb_types(wkb) == COLLECTION)
    deep = [row for row in collections.tolist() if _is_deep(wkb[row].as_py())]
    return np.array(deep, dtype=np.int64)


def _is_deep(data: bytes) -> bool:
    """Whether some geometry in a collection lies deeper than `MAX_DEPTH`."""
    waiting, position = [1], 0
    while waiting and position + _HEADER <= len(data):
        order = "<" if data[position] == 1 else ">"
        code, count = struct.unpack_from(f"{order}II", data, position + 1)
        kind = (code & 0x0FFFFFFF) % 1000
        size = 8 * (2 + (code >> 31) + (code >> 30 & 1) + _ISO_EXTRA.get(code % 10_000 // 1000, 0))
        position += 5 + (4 if code & 0x20000000 else 0)
        waiting[-1] -= 1
        if kind in _OF_GEOMETRIES:
            position += 4
            waiting.append(count)
        elif kind == 1:
            position += size
        elif kind == 2:
            position += 4 + count * size
        elif kind == 3:
            position += 4
            for _ in range(count):
                if position + 4 > len(data):
                    break
                position += 4 + size * struct.unpack_from(f"{order}I", data, position)[0]
        else:
            return False
        while waiting and waiting[-1] <= 0:
            waiting.pop()
        if len(waiting) > MAX_DEPTH:
            return True
    return False
