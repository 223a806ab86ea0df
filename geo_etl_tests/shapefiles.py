"""Shapefiles byte by byte: a writer for any kind of fault, and a reader that shares no code.

The reader follows the ESRI Shapefile Technical Description (1998) and dBASE III's layout, with
`struct` alone.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

POLYGONS, LINES, POINTS, MULTIPOINTS = (5, 15, 25), (3, 13, 23), (1, 11, 21), (8, 18, 28)


@dataclass(frozen=True)
class DbfField:
    """A field as the header has it."""

    name: bytes
    kind: str
    width: int
    decimals: int = 0

    def packed(self) -> bytes:
        sizes = bytes([self.width % 256, self.decimals or self.width // 256])
        return self.name.ljust(11, b"\0") + self.kind.encode() + bytes(4) + sizes + bytes(14)


def dbf(
    fields: Sequence[DbfField],
    rows: Sequence[Sequence[bytes]],
    *,
    language: int = 0,
    declared: int | None = None,
    deleted: Sequence[int] = (),
) -> bytes:
    """A table; cells are padded with spaces on the right."""
    length = 1 + sum(field.width for field in fields)
    count = len(rows) if declared is None else declared
    head = struct.pack("<BBBBIHH", 3, 125, 1, 1, count, 33 + 32 * len(fields), length)
    head = (head + bytes(17) + bytes([language])).ljust(32, b"\0")
    body = b""
    for number, row in enumerate(rows):
        cells = [cell.ljust(field.width) for cell, field in zip(row, fields, strict=True)]
        body += (b"*" if number in deleted else b" ") + b"".join(cells)
    return head + b"".join(field.packed() for field in fields) + b"\r" + body + b"\x1a"


def point(x: float, y: float) -> bytes:
    """Content of a record."""
    return struct.pack("<i2d", 1, x, y)


def shp(records: Sequence[bytes], kind: int = 1) -> tuple[bytes, bytes]:
    """`.shp` and `.shx` with records of the given content."""
    body, index, position = b"", b"", 100
    for number, content in enumerate(records, 1):
        index += struct.pack(">ii", position // 2, len(content) // 2)
        body += struct.pack(">ii", number, len(content) // 2) + content
        position += 8 + len(content)
    return _header(len(body), kind) + body, _header(len(index), kind) + index


def _header(length: int, kind: int) -> bytes:
    head = struct.pack(">i", 9994) + bytes(20) + struct.pack(">i", (100 + length) // 2)
    return head + struct.pack("<2i", 1000, kind) + struct.pack("<8d", 0, 0, 9, 9, 0, 0, 0, 0)


WGS84 = (
    'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'
)


def write_points(
    folder: Path,
    fields: Sequence[DbfField],
    rows: Sequence[Sequence[bytes]],
    *,
    stem: str = "s",
    cpg: str | None = None,
    **options: Any,
) -> Path:
    """A point for each row, at (number, 10); the `.shp`'s path."""
    main, index = shp([point(number, 10) for number in range(len(rows))])
    files = {"shp": main, "shx": index, "dbf": dbf(fields, rows, **options)}
    files["prj"] = WGS84.encode()
    if cpg is not None:
        files["cpg"] = cpg.encode()
    for extension, content in files.items():
        (folder / f"{stem}.{extension}").write_bytes(content)
    return folder / f"{stem}.shp"


def read_dbf(data: bytes, encoding: str) -> tuple[list[str], list[list[Any]]]:
    """Names and rows. Cells as Python values: None, str, int, float, date."""
    count, header, length = struct.unpack_from("<IHH", data, 4)
    fields, position = [], 32
    while data[position] != 0x0D:
        name = data[position : position + 11].split(b"\0")[0].decode(encoding)
        kind, width, decimals = chr(data[position + 11]), data[position + 16], data[position + 17]
        fields.append((name, kind, width, decimals))
        position += 32
    rows = []
    for number in range(count):
        record = data[header + number * length : header + (number + 1) * length]
        if record[:1] == b"*":
            continue
        row, start = [], 1
        for _, kind, width, decimals in fields:
            row.append(_cell(record[start : start + width], kind, decimals, encoding))
            start += width
        rows.append(row)
    return [name for name, *_ in fields], rows


def _cell(raw: bytes, kind: str, decimals: int, encoding: str) -> Any:
    text = raw.split(b"\0")[0].rstrip(b" ").decode(encoding)
    if kind == "C":
        return text or None
    text = text.strip()
    if not text or set(text) <= {"*"} or (kind == "D" and set(text) == {"0"}):
        return None
    if kind == "D":
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    return float(text) if decimals or not text.lstrip("+-").isdigit() else int(text)


def read_shp(data: bytes) -> list[BaseGeometry | None]:
    """Geometries with x and y, from record to record. Rings are sorted out by their direction."""
    found: list[BaseGeometry | None] = []
    position = 100
    while position + 12 <= len(data):
        _, words = struct.unpack_from(">ii", data, position)
        found.append(_shape(data[position + 8 : position + 8 + 2 * words]))
        position += 8 + 2 * words
    return found


def _shape(content: bytes) -> BaseGeometry | None:
    (kind,) = struct.unpack_from("<i", content)
    if kind == 0:
        return None
    if kind in POINTS:
        return shapely.Point(struct.unpack_from("<2d", content, 4))
    if kind in MULTIPOINTS:
        (count,) = struct.unpack_from("<i", content, 36)
        return shapely.MultiPoint(_pairs(content, 40, count))
    assert kind in LINES + POLYGONS
    parts, points = struct.unpack_from("<2i", content, 36)
    starts = [*struct.unpack_from(f"<{parts}i", content, 44), points]
    pairs = _pairs(content, 44 + 4 * parts, points)
    lines = [pairs[a:b] for a, b in pairwise(starts)]
    if kind in LINES:
        return shapely.MultiLineString(lines)
    return _loops(lines)


def _pairs(content: bytes, start: int, count: int) -> list[tuple[float, float]]:
    values = struct.unpack_from(f"<{2 * count}d", content, start)
    return list(zip(values[::2], values[1::2], strict=True))


def rings(geometry: BaseGeometry) -> BaseGeometry:
    """Rings of a polygon or its parts as lines, to compare with what `read_shp` gives."""
    return _loops(
        [
            list(ring.coords)
            for part in shapely.get_parts(geometry)
            for ring in [part.exterior, *part.interiors]
        ]
    )


def _loops(lines: list[list[tuple[float, float]]]) -> BaseGeometry:
    """Closed lines, each from its lowest vertex on and in one direction, in one order."""
    loops = []
    for line in lines:
        start = line.index(min(line))
        forwards = line[start:-1] + line[: start + 1]
        loops.append(min(forwards, forwards[::-1]))
    return shapely.MultiLineString(sorted(loops))
