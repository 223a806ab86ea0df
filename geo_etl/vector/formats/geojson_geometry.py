"""From GeoJSON's coordinates to WKB, many geometries at once (RFC 7946, section 3.1).

Nested lists are flattened level by level and every level is checked; the bytes are written from
flat arrays, as OGC 06-103r4 (8.2) lays them out, with ISO's +1000 for Z. What is malformed gets
a reason instead. Not here: validity, which is the same for all formats.
"""

import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

POINT, LINE, POLYGON, COLLECTION = 1, 2, 3, 7
_Z = 1000
MIN_LINE, MIN_RING = 2, 4
"""Fewest positions of a line and of a ring (RFC 7946, 3.1.4 and 3.1.6)."""
MAX_COLLECTIONS = 32
"""Levels of collections in collections that are followed."""

_pack = struct.Struct("<I").pack


@dataclass(frozen=True)
class _Kind:
    """A type of geometry: its WKB code, levels of lists above a position, and WKB of its parts."""

    code: int
    depth: int
    part: int


_KINDS = {
    "Point": _Kind(1, 0, POINT),
    "LineString": _Kind(2, 1, LINE),
    "Polygon": _Kind(3, 2, POLYGON),
    "MultiPoint": _Kind(4, 1, POINT),
    "MultiLineString": _Kind(5, 2, LINE),
    "MultiPolygon": _Kind(6, 3, POLYGON),
}
TYPES = frozenset([*_KINDS, "GeometryCollection"])


@dataclass
class Encoded:
    """Geometries as WKB.

    Attributes:
        wkb: of each geometry (n); None where there is none, or it is malformed. Empty
            coordinates are no geometry (RFC 7946, 3.1).
        problems: row → what is wrong with the geometry.
        bounds: xmin, ymin, xmax, ymax of all; NaN where there are none.
        truncated: geometries with positions of more than three numbers, of which three are kept.
    """

    wkb: list[bytes | None]
    problems: dict[int, str] = field(default_factory=dict)
    bounds: Floats = field(default_factory=lambda: np.full(4, np.nan))
    truncated: int = 0

    def extend(self, positions: Floats) -> None:
        """Widen the bounds."""
        if len(positions):
            self.bounds[:2] = np.fmin(self.bounds[:2], positions[:, :2].min(axis=0))
            self.bounds[2:] = np.fmax(self.bounds[2:], positions[:, :2].max(axis=0))


@dataclass(frozen=True)
class _Flat:
    """Coordinates of several geometries of one kind.

    Attributes:
        counts: numbers of members, a level after the other from the outside.
        positions: all positions (p × 2 or p × 3).
    """

    counts: list[Integers]
    positions: Floats


def encode_geometries(geometries: Sequence[Any], level: int = 0) -> Encoded:
    """WKB of geometry objects as JSON gives them.

    Args:
        geometries: objects, or None for no geometry (n).
        level: how many collections are around them.
    """
    encoded = Encoded([None] * len(geometries))
    by_type: dict[Any, list[int]] = {}
    for row, geometry in enumerate(geometries):
        if type(geometry) is dict:
            kind = geometry.get("type")
            by_type.setdefault(kind if type(kind) is str else None, []).append(row)
        elif geometry is not None:
            encoded.problems[row] = f"its geometry is {_called(geometry)}, not an object"
    for name, rows in by_type.items():
        if name in _KINDS:
            coordinates = [geometries[row].get("coordinates") for row in rows]
            _encode_kind(encoded, _KINDS[name], rows, coordinates)
        elif name == "GeometryCollection":
            for row in rows:
                _encode_collection(encoded, row, geometries[row], level)
        else:
            for row in rows:
                said = geometries[row].get("type", "missing")
                encoded.problems[row] = f"its geometry's type is {said!r}, which is none"
    return encoded


def _encode_kind(encoded: Encoded, kind: _Kind, rows: list[int], coordinates: list[Any]) -> None:
    if not all(coordinates):
        kept = [item != [] for item in coordinates]
        rows, coordinates = list(compress(rows, kept)), list(compress(coordinates, kept))
    if not rows:
        return
    flat = _flatten(coordinates, kind.depth)
    if flat is not None:
        _write(encoded, kind, rows, flat)
        return
    # Something is odd: which of them, and in what way?
    flat_rows: dict[int, tuple[list[int], list[Any]]] = {2: ([], []), 3: ([], [])}
    for row, item in zip(rows, coordinates, strict=True):
        sizes: set[int] = set()
        fault = _fault(item, kind.depth, sizes)
        if fault is not None:
            encoded.problems[row] = f"its geometry is malformed: {fault}"
            continue
        size = min(max(sizes, default=2), 3)
        encoded.truncated += max(sizes, default=2) > 3
        group = flat_rows[size]
        group[0].append(row)
        group[1].append(item if sizes == {size} else _levelled(item, kind.depth, size))
    for own_rows, items in flat_rows.values():
        if own_rows:
            flat = _flatten(items, kind.depth)
            assert flat is not None
            _write(encoded, kind, own_rows, flat)


def _flatten(coordinates: list[Any], depth: int) -> _Flat | None:
    """All positions and the counts of each level; None if anything is not as it should be."""
    counts: list[Integers] = []
    items = coordinates
    if set(map(type, items)) != {list}:
        return None
    for _ in range(depth):
        counts.append(np.fromiter(map(len, items), np.int64, len(items)))
        items = list(chain.from_iterable(items))
        if not set(map(type, items)) <= {list}:
            return None
    sizes = set(map(len, items)) or {2}
    if sizes not in ({2}, {3}):
        return None
    numbers = list(chain.from_iterable(items))
    if not set(map(type, numbers)) <= {int, float}:
        return None
    try:
        positions = np.array(numbers, dtype=np.float64).reshape(-1, *sizes)
    except OverflowError:
        return None
    return _Flat(counts, positions) if np.isfinite(positions).all() else None


def _fault(item: Any, depth: int, sizes: set[int]) -> str | None:
    """What is wrong with coordinates, if anything; collects the lengths of positions."""
    if item is None:
        return "it has no coordinates"
    if type(item) is not list:
        return f"its coordinates hold {_called(item)} where a list should be"
    if depth:
        return next(filter(None, (_fault(part, depth - 1, sizes) for part in item)), None)
    if any(type(number) is list for number in item):
        return "its coordinates are nested too deeply for its type"
    for number in item:
        if type(number) not in (int, float):
            return f"its coordinates hold {_called(number)} where a number should be"
        if not abs(number) <= sys.float_info.max:
            return "one of its coordinates is not a finite number"
    if len(item) < 2:
        return f"a position of it has {len(item)} of at least 2 numbers"
    sizes.add(len(item))
    return None


def _levelled(item: Any, depth: int, size: int) -> Any:
    """Coordinates whose positions all have one length; a height that is missing is 0."""
    if depth:
        return [_levelled(part, depth - 1, size) for part in item]
    return [*item[:size], *[0.0] * (size - len(item))]


def _called(value: Any) -> str:
    """A JSON value of the wrong kind, for a person."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value)[:40]


def _write(encoded: Encoded, kind: _Kind, rows: list[int], flat: _Flat) -> None:
    encoded.extend(flat.positions)
    problems: dict[int, str] = {}
    if kind.part == LINE:
        problems = _short(flat, MIN_LINE, "a line of it", _owners(flat, len(rows)))
    elif kind.part == POLYGON:
        owners = _owners(flat, len(rows))
        problems = _open_rings(flat, owners) | _short(flat, MIN_RING, "a ring of it", owners)
    for position, problem in problems.items():
        encoded.problems[rows[position]] = problem
    for row, wkb in zip(rows, _wkb(kind, flat), strict=True):
        encoded.wkb[row] = wkb


def _owners(flat: _Flat, geometries: int) -> Integers:
    """Position of the geometry that each line or ring belongs to."""
    owners = np.arange(geometries)
    for counts in flat.counts[:-1]:
        owners = np.repeat(owners, counts)
    return owners


def _short(flat: _Flat, least: int, what: str, owners: Integers) -> dict[int, str]:
    counts = flat.counts[-1]
    short = np.flatnonzero(counts < least)
    return {
        int(owners[i]): f"its geometry is malformed: {what} has {counts[i]} of at least {least} "
        "positions"
        for i in short
    }


def _open_rings(flat: _Flat, owners: Integers) -> dict[int, str]:
    counts = flat.counts[-1]
    ends = np.cumsum(counts)
    filled = np.flatnonzero(counts)
    first, last = (ends - counts)[filled], ends[filled] - 1
    unlike = (flat.positions[first, :2] != flat.positions[last, :2]).any(axis=1)
    return {
        int(owners[i]): "its geometry is malformed: a ring of it is not closed"
        for i in filled[unlike]
    }


def _wkb(kind: _Kind, flat: _Flat) -> list[bytes]:
    size = flat.positions.shape[1]
    z = _Z if size == 3 else 0
    head, part = _head(kind.code + z), _head(kind.part + z)
    body = flat.positions.astype("<f8", copy=False).tobytes()
    if kind.part == POINT:
        stride = 8 * size
        points = [part + body[at : at + stride] for at in range(0, len(body), stride)]
        return points if kind.code == POINT else _nested(points, flat.counts[0], head)
    ends = (8 * size * np.cumsum(flat.counts[-1])).tolist()
    start = b"" if kind.part == POLYGON else part
    lines = [
        start + _pack(count) + body[a:b]
        for count, a, b in zip(flat.counts[-1].tolist(), [0, *ends], ends, strict=False)
    ]
    if kind.code == LINE:
        return lines
    if kind.part == POLYGON:
        lines = _nested(lines, flat.counts[-2], part)
        if kind.code == POLYGON:
            return lines
    return _nested(lines, flat.counts[0], head)


def _nested(parts: list[bytes], counts: Integers, head: bytes) -> list[bytes]:
    ends = np.cumsum(counts).tolist()
    return [
        b"".join((head, _pack(count), *parts[end - count : end]))
        for count, end in zip(counts.tolist(), ends, strict=True)
    ]


def _head(code: int) -> bytes:
    return b"\x01" + _pack(code)


def _encode_collection(encoded: Encoded, row: int, geometry: Any, level: int) -> None:
    parts = geometry.get("geometries")
    if type(parts) is not list:
        encoded.problems[row] = "its geometry is malformed: it has no list of geometries"
        return
    if level >= MAX_COLLECTIONS:
        encoded.problems[row] = (
            f"its geometry is malformed: more than {MAX_COLLECTIONS} collections in one another"
        )
        return
    inner = encode_geometries(parts, level + 1)
    for problem in inner.problems.values():
        encoded.problems[row] = problem
    encoded.truncated += inner.truncated
    present = [wkb for wkb in inner.wkb if wkb is not None]
    if present and all(inner.wkb[part] is not None for part in inner.problems):
        z = any(int.from_bytes(wkb[1:5], "little") > _Z for wkb in present)
        code = COLLECTION + (_Z if z else 0)
        encoded.wkb[row] = b"".join((_head(code), _pack(len(present)), *present))
        encoded.extend(inner.bounds.reshape(2, 2))
