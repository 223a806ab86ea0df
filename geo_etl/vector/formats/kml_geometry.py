"""Geometries of KML placemarks as WKB (OGC 07-147r2, clause 10; WKB: OGC 06-103r4, 8.2)."""

import re
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from xml.etree.ElementTree import Element

COLLECTIONS = frozenset(
    ["MultiGeometry", "MultiTrack", "MultiPoint", "MultiLineString", "MultiPolygon"]
)
LEAVES = frozenset(["Point", "LineString", "LinearRing", "Polygon", "Track", "Model"])

POINT, LINE, POLYGON, COLLECTION = 1, 2, 3, 7
MULTI = 3
"""What makes the type of a single geometry that of its Multi type."""
Z = 1000
BYTE_ORDER = int(sys.byteorder == "little")
"""This machine's, as WKB marks it."""

SLICE = 1_000_000
"""Characters that are split into numbers at a time: as Python's, they need ten times the memory."""
MAX_IRREGULAR = 20_000_000
"""Characters of irregular coordinates, which can't be read in slices."""
_LOOSE_COMMA = re.compile(r"\s*,\s*")
_SPACE = re.compile(r"\s")


class UnreadableGeometryError(Exception):
    """Why a placemark's geometry can't be read, as a clause."""


@dataclass(frozen=True)
class _Positions:
    """Longitude, latitude, and altitude in metres where `width` is 3, one after the other."""

    values: "array[float]"
    width: int

    def __len__(self) -> int:
        return len(self.values) // self.width

    def closed(self) -> "_Positions":
        """With the first position repeated at the end, unless it is there."""
        first = self.values[: self.width]
        if first[:2] == self.values[-self.width :][:2]:
            return self
        return _Positions(self.values + first, self.width)

    def wkb(self, width: int) -> bytes:
        """The numbers, with the altitudes that are wanted."""
        if self.width == width:
            return self.values.tobytes()
        padded = array("d", bytes(24 * len(self)))
        padded[0::3], padded[1::3] = self.values[0::2], self.values[1::2]
        return padded.tobytes()


@dataclass(frozen=True)
class _Part:
    """A point, line or polygon (its rings, the outer one first)."""

    type: int
    positions: list[_Positions]

    def wkb(self, width: int) -> bytes:
        head = struct.pack("=BI", BYTE_ORDER, self.type + (Z if width == 3 else 0))
        if self.type == POINT:
            return head + self.positions[0].wkb(width)
        lines = (struct.pack("=I", len(line)) + line.wkb(width) for line in self.positions)
        if self.type == LINE:
            return head + next(lines)
        return head + struct.pack("=I", len(self.positions)) + b"".join(lines)


def leaves(placemark: Element) -> Iterator[Element]:
    """The points, lines, polygons, tracks and models of a placemark, in order, however nested."""
    waiting = list(placemark)[::-1]
    while waiting:
        element = waiting.pop()
        if element.tag in LEAVES:
            yield element
        elif element.tag in COLLECTIONS:
            waiting.extend(list(element)[::-1])


def wkb_of(placemark: Element) -> bytes | None:
    """The geometry of a placemark as WKB; None when it has none, or no position in it.

    Altitudes are kept unless all are absent or 0. Rings are closed. A MultiGeometry is a Multi
    type when its parts are of one kind, else a collection.

    Raises:
        UnreadableGeometryError: with the reason.
    """
    parts = [part for leaf in leaves(placemark) if (part := _part(leaf)) is not None]
    if not parts:
        return None
    width = max(line.width for part in parts for line in part.positions)
    if len(parts) == 1 and not any(child.tag in COLLECTIONS for child in placemark):
        return parts[0].wkb(width)
    types = {part.type for part in parts}
    type_ = types.pop() + MULTI if len(types) == 1 else COLLECTION
    head = struct.pack("=BII", BYTE_ORDER, type_ + (Z if width == 3 else 0), len(parts))
    return head + b"".join(part.wkb(width) for part in parts)


def _part(leaf: Element) -> _Part | None:
    if leaf.tag == "Point":
        return _point(_coordinates(leaf))
    if leaf.tag == "Model":
        return _model(leaf)
    if leaf.tag == "Polygon":
        return _polygon(leaf)
    positions = _track(leaf) if leaf.tag == "Track" else _coordinates(leaf)
    if positions is None:
        return None
    if len(positions) < 2:
        raise UnreadableGeometryError(f"a {leaf.tag} has one position only")
    return _Part(LINE, [positions])


def _point(positions: _Positions | None) -> _Part | None:
    if positions is None:
        return None
    if len(positions) > 1:
        raise UnreadableGeometryError(f"a Point has {len(positions)} positions")
    return _Part(POINT, [positions])


def _model(model: Element) -> _Part | None:
    location = model.find("Location")
    if location is None:
        return None
    names = ("longitude", "latitude", "altitude")
    x, y, z = ((location.findtext(name) or "").strip() for name in names)
    return _point(_positions(f"{x},{y},{z}" if x or y else ""))


def _polygon(polygon: Element) -> _Part | None:
    outer = _rings(polygon, "outerBoundaryIs")
    inner = _rings(polygon, "innerBoundaryIs")
    if not outer and not inner:
        return None
    if len(outer) != 1:
        raise UnreadableGeometryError(f"a Polygon has {len(outer)} outer rings")
    for ring in outer + inner:
        if len(ring) < 4:
            raise UnreadableGeometryError("a ring has fewer than three positions")
    return _Part(POLYGON, outer + inner)


def _rings(polygon: Element, boundary: str) -> list[_Positions]:
    rings = (
        _coordinates(ring)
        for child in polygon
        if child.tag == boundary
        for ring in child
        if ring.tag == "LinearRing"
    )
    return [ring.closed() for ring in rings if ring is not None]


def _track(track: Element) -> _Positions | None:
    # gx:coord has spaces where coordinates have commas.
    coords = (",".join((child.text or "").split()) for child in track if child.tag == "coord")
    return _positions(" ".join(coords))


def _coordinates(geometry: Element) -> _Positions | None:
    texts = [child.text or "" for child in geometry if child.tag == "coordinates"]
    return _positions(texts[0] if len(texts) == 1 else " ".join(texts))


def _positions(text: str) -> _Positions | None:
    """Read `lon,lat[,alt]` tuples between white space; None when there is none."""
    if "_" in text:  # Python takes it as a part of numbers
        raise _unreadable(next(one for one in text.split() if "_" in one))
    values, widths = array("d"), set[int]()
    for part in _slices(text):
        tuples = part.split()
        widths.update(one.count(",") + 1 for one in tuples)
        if len(widths) > 1 or not widths <= {2, 3}:
            return _irregular(text)
        try:
            values.extend(map(float, ",".join(tuples).split(",") if tuples else ()))
        except ValueError:
            return _irregular(text)
    return _checked(values, widths.pop()) if values else None


def _slices(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        space = _SPACE.search(text, start + SLICE)
        end = space.start() if space else len(text)
        yield text[start:end]
        start = end


def _irregular(text: str) -> _Positions | None:
    """Tuples with stray commas, white space within, or an altitude here and there."""
    if len(text) > MAX_IRREGULAR:
        raise UnreadableGeometryError(
            f"its coordinates are irregular, and above {MAX_IRREGULAR:,} characters"
        )
    first_wrong = ""
    for reading in (text.split(), _LOOSE_COMMA.sub(",", text).split()):
        values = array("d")
        for one in (stripped for raw in reading if (stripped := raw.rstrip(","))):
            try:
                numbers = [float(number) for number in one.split(",")]
            except ValueError:
                numbers = []
            if len(numbers) not in (2, 3):
                first_wrong = first_wrong or one
                break
            values.extend(numbers if len(numbers) == 3 else [*numbers, 0.0])
        else:
            return _checked(values, 3) if values else None
    raise _unreadable(first_wrong)


def _unreadable(tuple_: str) -> UnreadableGeometryError:
    shown = tuple_ if len(tuple_) <= 40 else f"{tuple_[:40]}…"
    return UnreadableGeometryError(f"its coordinates can't be read: '{shown}'")


def _checked(values: "array[float]", width: int) -> _Positions:
    if not isfinite(sum(values)) and not all(map(isfinite, values)):
        raise UnreadableGeometryError("its coordinates are not all finite numbers")
    if width == 3 and not any(values[2::3]):
        flat = array("d", bytes(len(values) // 3 * 16))
        flat[0::2], flat[1::2] = values[0::3], values[1::3]
        return _Positions(flat, 2)
    return _Positions(values, width)
