"""Readers of our own for real files, to hold the program's results against.

Each follows the format's specification with Python's standard library and makes geometries by
shapely: no GDAL, nothing of geo_etl. They read what the test files have, and stop at what they
do not know. Not here: what ought to become of the features (`expectations.py`).
"""

import csv
import json
import math
import re
import sqlite3
import struct
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import shapely

Coordinates = list[tuple[float, float]]


@dataclass(frozen=True)
class Feature:
    """One feature: values by their names in the source, and the geometry, two-dimensional.

    Attributes:
        readable: whether what stands for its geometry is one.
    """

    attributes: dict[str, Any]
    geometry: shapely.Geometry | None
    readable: bool = True


# Shapefile (ESRI Shapefile Technical Description, 1998; dBASE III+)


def read_shapefile(path: Path, encoding: str) -> list[Feature]:
    """A shapefile with its .dbf beside it."""
    return _shapefile(path.read_bytes(), path.with_suffix(".dbf").read_bytes(), encoding)


def read_zipped_shapefile(path: Path, encoding: str, member: str) -> list[Feature]:
    """The shapefile `member` (without its suffix) of an archive."""
    with zipfile.ZipFile(path) as archive:
        return _shapefile(archive.read(f"{member}.shp"), archive.read(f"{member}.dbf"), encoding)


def read_prj(path: Path) -> str:
    """The CRS (WKT) beside a shapefile."""
    return path.with_suffix(".prj").read_text()


def _shapefile(shp: bytes, dbf: bytes, encoding: str) -> list[Feature]:
    shapes, rows = list(_shapes(shp)), list(_dbf_rows(dbf, encoding))
    return [Feature(row, shape) for row, shape in zip(rows, shapes, strict=True)]


def _shapes(shp: bytes) -> Iterator[shapely.Geometry | None]:
    (words,) = struct.unpack_from(">i", shp, 24)
    position = 100
    while position + 12 <= 2 * words:  # a record has a header and a type at least
        _, length = struct.unpack_from(">ii", shp, position)
        yield _shape(shp[position + 8 : position + 8 + 2 * length])
        position += 8 + 2 * length


def _shape(record: bytes) -> shapely.Geometry | None:
    (kind,) = struct.unpack_from("<i", record)
    if kind == 0:
        return None
    flat = kind % 10  # 11 to 18 have Z, 21 to 28 have M, behind what the flat kinds have
    if flat == 1:
        return shapely.Point(struct.unpack_from("<2d", record, 4))
    if flat == 8:
        (count,) = struct.unpack_from("<i", record, 36)
        return shapely.MultiPoint(list(struct.iter_unpack("<2d", record[40 : 40 + 16 * count])))
    parts, points = struct.unpack_from("<2i", record, 36)
    starts = [*struct.unpack_from(f"<{parts}i", record, 44), points]
    first = 44 + 4 * parts
    xy = list(struct.iter_unpack("<2d", record[first : first + 16 * points]))
    lines = [xy[a:b] for a, b in pairwise(starts)]
    if flat == 3:
        return shapely.MultiLineString(lines)
    assert flat == 5, kind
    return _polygons(lines)


def _polygons(rings: list[Coordinates]) -> shapely.Geometry:
    """Clockwise rings are shells; the others are holes of the smallest shell around them."""
    areas = [_signed_area(ring) for ring in rings]
    shells: list[tuple[Coordinates, list[Coordinates]]] = [
        (ring, []) for ring, area in zip(rings, areas, strict=True) if area < 0
    ]
    for ring, area in zip(rings, areas, strict=True):
        if area < 0:
            continue
        hole = shapely.Polygon(ring)
        around = [
            shell
            for shell in shells
            if len(rings) > 1 and shapely.Polygon(shell[0]).buffer(0).covers(hole.boundary)
        ]
        if around:
            min(around, key=lambda shell: abs(_signed_area(shell[0])))[1].append(ring)
        else:
            shells.append((ring, []))
    return shapely.MultiPolygon(shells)


def _signed_area(ring: Coordinates) -> float:
    x0, y0 = ring[0]
    return 0.5 * math.fsum(
        (a[0] - x0) * (b[1] - y0) - (b[0] - x0) * (a[1] - y0) for a, b in pairwise(ring)
    )


def _dbf_rows(dbf: bytes, encoding: str) -> Iterator[dict[str, Any]]:
    count, header, width = struct.unpack_from("<IHH", dbf, 4)
    fields, position = [], 32
    while dbf[position] != 0x0D:
        name = dbf[position : position + 11].split(b"\0")[0].decode(encoding)
        fields.append((name, chr(dbf[position + 11]), dbf[position + 16], dbf[position + 17]))
        position += 32
    for row in range(count):
        start = header + row * width
        assert dbf[start : start + 1] == b" ", "a deleted record"
        start += 1
        values = {}
        for name, kind, length, decimals in fields:
            raw = dbf[start : start + length]
            values[name] = _dbf_value(raw, kind, decimals, encoding)
            start += length
        yield values


def _dbf_value(raw: bytes, kind: str, decimals: int, encoding: str) -> Any:
    """Blanks at the end are padding; a field of blanks, or of stars for a number, has no value."""
    if kind == "C":
        return raw.rstrip(b" \0").decode(encoding) or None
    text = raw.decode("ascii").strip(" \0")
    if not text or text.startswith("*") or (kind == "D" and not text.strip("0")):
        return None
    if kind == "D":
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    assert kind in "NF", kind
    return float(text) if decimals or not text.lstrip("+-").isdigit() else int(text)


# GeoPackage (OGC 12-128r18)

LINE_STRING, POLYGON, COMPOUND_CURVE, CURVE_POLYGON = 2, 3, 9, 10


def read_geopackage(path: Path, layer: str) -> list[Feature]:
    """A feature table, in the order of its ids; the id is one of the attributes."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        (geometry,) = connection.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        ).fetchone()
        columns = connection.execute(f'PRAGMA table_info("{layer}")').fetchall()
        types = {column[1]: column[2] for column in columns}
        (key,) = (column[1] for column in columns if column[5])
        json_columns = _json_columns(connection, layer)
        cursor = connection.execute(f'SELECT * FROM "{layer}" ORDER BY "{key}"')
        features = []
        for row in cursor:
            values = dict(zip(types, row, strict=True))
            blob = values.pop(geometry)
            for name, value in values.items():
                if types[name] == "BOOLEAN" and value is not None:
                    values[name] = bool(value)
                elif name in json_columns and value is not None:
                    values[name] = json.loads(value)
            features.append(Feature(values, None if blob is None else _blob_geometry(blob)))
        return features


def _json_columns(connection: sqlite3.Connection, layer: str) -> set[str]:
    """Columns that the schema extension says hold JSON."""
    try:
        rows = connection.execute(
            "SELECT column_name FROM gpkg_data_columns"
            " WHERE table_name = ? AND mime_type = 'application/json'",
            (layer,),
        ).fetchall()
    except sqlite3.OperationalError:
        return set()
    return {name for (name,) in rows}


def _blob_geometry(blob: bytes) -> shapely.Geometry:
    """GeoPackageBinary: magic, version, flags (bits 1 to 3: size of the envelope), SRS id, WKB."""
    assert blob[:2] == b"GP"
    wkb = blob[8 + {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}[blob[3] >> 1 & 7] :]
    if wkb[1] in (COMPOUND_CURVE, CURVE_POLYGON):
        wkb = _without_curves(wkb)
    return shapely.force_2d(shapely.from_wkb(wkb))


def _without_curves(wkb: bytes) -> bytes:
    """A curve of one line, or a curve polygon of one ring of lines, as what it is (ISO 13249-3).

    Both are a count of 1 and the WKB of a line: the test files have no arcs.
    """
    assert wkb[0] == 1
    assert struct.unpack_from("<I", wkb, 5) == (1,)
    line = wkb[9:]
    assert struct.unpack_from("<I", line, 1) == (LINE_STRING,)
    if wkb[1] == COMPOUND_CURVE:
        return line
    return struct.pack("<BII", 1, POLYGON, 1) + line[5:]


# GeoJSON (RFC 7946)


def read_geojson(path: Path) -> list[Feature]:
    """A FeatureCollection, a Feature or a bare geometry."""
    document = json.loads(path.read_text("utf-8"))
    if document["type"] == "FeatureCollection":
        return [_geojson_feature(feature) for feature in document["features"]]
    if document["type"] == "Feature":
        return [_geojson_feature(document)]
    return [Feature({}, shapely.force_2d(shapely.from_geojson(json.dumps(document))))]


def _geojson_feature(feature: dict[str, Any]) -> Feature:
    assert feature["type"] == "Feature"
    geometry = feature["geometry"]
    made = None if geometry is None else shapely.from_geojson(json.dumps(geometry))
    values = dict(feature["properties"] or {})
    if "id" in feature:
        values.setdefault("id", feature["id"])
    return Feature(values, shapely.force_2d(made))


# CSV (RFC 4180)


DEGREES = re.compile(
    r"\s*([+-]?)(\d{1,3})[ d](\d\d?(?:\.\d+)?)(?:[ m](\d\d?(?:\.\d+)?))?([+-]?)\s*"
)
"""Degrees, minutes and perhaps seconds; a sign before or behind."""


def read_csv_points(path: Path, x: str, y: str, delimiter: str = ",") -> list[Feature]:
    """Lines with a coordinate in a column each, which stay among the attributes."""
    features = []
    for row in _csv_rows(path, delimiter):
        easting, northing = _coordinate(row[x]), _coordinate(row[y])
        readable = easting is not None and northing is not None
        features.append(
            Feature(row, shapely.Point(easting, northing) if readable else None, readable)
        )
    return features


def _coordinate(text: str | None) -> float | None:
    """A number, or degrees in parts; None for neither (letters of the other axis, 60 minutes)."""
    match = DEGREES.fullmatch(text or "")
    if match is None:
        try:
            return float(text or "")
        except ValueError:
            return None
    before, degrees, minutes, seconds, behind = match.groups("0")
    if float(minutes) >= 60 or float(seconds) >= 60:
        return None
    size = int(degrees) + float(minutes) / 60 + float(seconds) / 3600
    return -size if "-" in (before, behind) else size


def read_csv_wkt(path: Path, column: str) -> list[Feature]:
    """Lines with a WKT geometry; its column is no attribute."""
    rows = list(_csv_rows(path, ","))
    geometries = [row.pop(column) for row in rows]
    return [
        Feature(row, wkt and shapely.from_wkt(wkt))
        for row, wkt in zip(rows, geometries, strict=True)
    ]


def _csv_rows(path: Path, delimiter: str) -> Iterator[dict[str, str | None]]:
    """Lines that are not empty; an empty cell is None; a column without a name has its number."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = (line for line in csv.reader(file, delimiter=delimiter) if line)
        header = [name or f"column_{number}" for number, name in enumerate(next(lines), start=1)]
        for line in lines:
            yield {name: value or None for name, value in zip(header, line, strict=True)}


# KML (OGC 12-007r2)

FOLDERS = ("Folder", "Document")
GEOMETRIES = ("Point", "LineString", "LinearRing", "Polygon", "MultiGeometry")


def read_kml(path: Path, member: str | None = None) -> list[Feature]:
    """All placemarks, in the document's order, with the values that they have.

    `folder` is the path of the named folders around it, below the document.

    Args:
        member: the document in a KMZ.
    """
    if member is None:
        content = path.read_bytes()
    else:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(member)
    (document,) = ET.fromstring(content)
    return list(_placemarks(document, ""))


def _placemarks(parent: ET.Element, folder: str) -> Iterator[Feature]:
    for element in parent:
        kind = _tag(element)
        if kind == "Placemark":
            yield _placemark(element, folder)
        elif kind in FOLDERS:
            path = "/".join(filter(None, [folder, _text(element, "name")]))
            yield from _placemarks(element, path)


def _placemark(element: ET.Element, folder: str) -> Feature:
    values: dict[str, Any] = {
        "name": _text(element, "name"),
        "description": _text(element, "description"),
        "folder": folder,
    }
    values = {name: value for name, value in values.items() if value}
    for data in element.iter():
        if _tag(data) == "Data":
            values[data.attrib["name"]] = _text(data, "value")
        elif _tag(data) == "SimpleData":
            values[data.attrib["name"]] = data.text
    found = [child for child in element if _tag(child) in GEOMETRIES]
    assert len(found) <= 1
    return Feature(values, _kml_geometry(found[0]) if found else None)


def _kml_geometry(element: ET.Element) -> shapely.Geometry:
    kind = _tag(element)
    if kind == "Point":
        return shapely.Point(_kml_coordinates(element)[0])
    if kind in ("LineString", "LinearRing"):
        return shapely.LineString(_kml_coordinates(element))
    if kind == "Polygon":
        rings: dict[str, list[Coordinates]] = {"outerBoundaryIs": [], "innerBoundaryIs": []}
        for child in element:
            if _tag(child) in rings:
                rings[_tag(child)].append(_kml_coordinates(child))
        return shapely.Polygon(rings["outerBoundaryIs"][0], rings["innerBoundaryIs"])
    parts = [_kml_geometry(child) for child in element if _tag(child) in GEOMETRIES]
    if {part.geom_type for part in parts} == {"Polygon"}:
        return shapely.MultiPolygon(parts)
    return shapely.GeometryCollection(parts)


def _kml_coordinates(element: ET.Element) -> Coordinates:
    (found,) = (child for child in element.iter() if _tag(child) == "coordinates")
    tuples = [triple.split(",") for triple in (found.text or "").split()]
    return [(float(values[0]), float(values[1])) for values in tuples]


def _text(parent: ET.Element, name: str) -> str | None:
    """Text of a child; None without the child."""
    for child in parent:
        if _tag(child) == name:
            return (child.text or "").strip()
    return None


def _tag(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]
