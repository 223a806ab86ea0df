"""Which column of a Parquet file is the geometry, in which CRS, and as what it is stored.

Said by GeoParquet's `geo` metadata (0.4 to 1.1), by Parquet's own logical types GEOMETRY and
GEOGRAPHY (Parquet format, Geospatial), or by no more than a name.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely import GeometryType

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged

CRS84 = "EPSG:4326"
"""What an absent CRS means, OGC:CRS84, by the name of which x is the longitude here anyway."""
USUAL_NAMES = ("geometry", "geom", "wkb_geometry", "wkb", "the_geom")
NATIVE = {
    "point": GeometryType.POINT,
    "linestring": GeometryType.LINESTRING,
    "polygon": GeometryType.POLYGON,
    "multipoint": GeometryType.MULTIPOINT,
    "multilinestring": GeometryType.MULTILINESTRING,
    "multipolygon": GeometryType.MULTIPOLYGON,
}
"""GeoArrow's encodings of GeoParquet 1.1: coordinates in lists in lists."""
_DEPTHS = {
    GeometryType.POINT: 0,
    GeometryType.LINESTRING: 1,
    GeometryType.POLYGON: 2,
    GeometryType.MULTIPOINT: 1,
    GeometryType.MULTILINESTRING: 2,
    GeometryType.MULTIPOLYGON: 3,
}
UNREADABLE = "its geometry is unreadable"
SPHERICAL = "Edges are declared to be on the sphere; they were loaded as straight lines."


@dataclass(frozen=True)
class GeometryColumn:
    """The column that geometries are read from.

    Attributes:
        position: among the columns of the schema.
        crs: as in `Layer`.
        native: type of its geometries, when they are no WKB.
        covering: name of the column that holds each feature's bounds.
        bounds: as in `Layer`.
        declared: whether the file says that it is a geometry.
    """

    position: int
    crs: str | None
    native: GeometryType | None = None
    covering: tuple[str, ...] = ()
    bounds: tuple[float, float, float, float] | None = None
    declared: bool = True
    remarks: tuple[str, ...] = ()


def find_geometry(file: pq.ParquetFile, name: str) -> GeometryColumn:
    """The geometry column of a file.

    Raises:
        SourceError: nothing is a geometry, or the metadata are not what they should be.
    """
    metadata = file.schema_arrow.metadata or {}
    if b"geo" in metadata:
        return _from_metadata(file.schema_arrow, metadata[b"geo"], name)
    logical = _from_logical_type(file, metadata)
    if logical is not None:
        return logical
    for position, field in enumerate(file.schema_arrow):
        if field.name.lower() in USUAL_NAMES and _is_binary(field.type):
            said = (
                f"Nothing says that column '{field.name}' holds geometries: it was read as WKB "
                "because of its name."
            )
            return GeometryColumn(position, None, declared=False, remarks=(said,))
    raise SourceError(
        name,
        "it has no geometry: no GeoParquet metadata, and no binary column with one of the names "
        + ", ".join(USUAL_NAMES),
        "Deliver it as GeoParquet.",
    )


def _from_metadata(schema: pa.Schema, text: bytes, name: str) -> GeometryColumn:
    try:
        geo = json.loads(text)
        primary = geo["primary_column"]
        column = geo["columns"][primary]
        others = [other for other in geo["columns"] if other != primary]
        encoding = str(column.get("encoding", "WKB")).lower()
        declared = column.get("crs", CRS84)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(name, f"its GeoParquet metadata are not valid ({error!r})") from None
    positions = [index for index, field in enumerate(schema) if field.name == primary]
    if not positions:
        raise damaged(name, f"its geometry column '{primary}' is missing")
    native = NATIVE.get(encoding)
    stored = schema.field(positions[0]).type
    fits = _is_binary(stored) if encoding == "wkb" else _is_native(stored, native)
    if not fits:
        raise SourceError(
            name,
            f"its geometries are encoded as '{encoding}' in {stored!s:.60}",
            "Deliver them as WKB.",
        )
    remarks = [SPHERICAL] if column.get("edges") == "spherical" else []
    if others:
        listed = ", ".join(f"'{other}'" for other in others)
        remarks.append(
            f"The table's geometry is '{primary}'; other geometry columns became plain ones: "
            f"{listed}."
        )
    return GeometryColumn(
        positions[0],
        None if declared is None else _crs(declared),
        native=native,
        covering=_covering(column.get("covering")),
        bounds=_bounds(column.get("bbox")),
        remarks=tuple(remarks),
    )


def _from_logical_type(
    file: pq.ParquetFile, metadata: Mapping[bytes, bytes]
) -> GeometryColumn | None:
    found = []
    for index in range(len(file.schema)):
        column = file.schema.column(index)
        if column.logical_type.type in ("GEOMETRY", "GEOGRAPHY") and "." not in column.path:
            found.append((column.path, json.loads(column.logical_type.to_json())))
    if not found:
        return None
    first, logical = found[0]
    remarks = [SPHERICAL] if logical["Type"] == "Geography" else []
    if len(found) > 1:
        listed = ", ".join(f"'{other}'" for other, _ in found[1:])
        remarks.append(
            f"The table's geometry is '{first}'; other geometry columns became plain ones: "
            f"{listed}."
        )
    declared = logical.get("crs")
    if declared:
        key, _, value = str(declared).partition(":")
        if key == "srid":
            declared = f"EPSG:{value}"
        elif key == "projjson":
            declared = metadata.get(value.encode(), b"").decode(errors="replace")
    return GeometryColumn(
        file.schema_arrow.get_field_index(first),
        _crs(declared) if declared else CRS84,
        remarks=tuple(remarks),
    )


def _crs(declared: Any) -> str:
    """`AUTH:CODE`, or WKT where the CRS has no code; what PROJ does not understand as it stands.

    PROJJSON, or a text in older files.
    """
    try:
        if isinstance(declared, str) and declared.lstrip().startswith("{"):
            declared = json.loads(declared)
        crs = CRS.from_json_dict(declared) if isinstance(declared, dict) else CRS(declared)
        identifier = declared.get("id") if isinstance(declared, dict) else None
        if isinstance(identifier, dict):
            code = f"{identifier['authority']}:{identifier['code']}"
        else:
            code = ":".join(crs.to_authority(min_confidence=100) or ())
    except (CRSError, ValueError, KeyError, TypeError, RecursionError):
        return str(declared)
    return CRS84 if code == "OGC:CRS84" else code or crs.to_wkt()


def _covering(covering: Any) -> tuple[str, ...]:
    """Name of the column with each feature's bounds (1.1, bbox covering)."""
    try:
        paths = {path[0] for path in covering["bbox"].values()}
    except (TypeError, KeyError, AttributeError, IndexError):
        return ()
    return tuple(path for path in paths if isinstance(path, str))


def _bounds(bbox: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(bbox, list) or len(bbox) not in (4, 6):
        return None
    half = len(bbox) // 2
    values = [bbox[0], bbox[1], bbox[half], bbox[half + 1]]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return None
    xmin, ymin, xmax, ymax = values
    # Across the antimeridian xmin is the larger one.
    return (xmin, ymin, xmax, ymax) if xmin <= xmax and ymin <= ymax else None


def _is_binary(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return _is_binary(type_.value_type)
    return bool(
        pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or _is_binary_view(type_)
    )


def _is_binary_view(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary_view(type_))


def _is_native(type_: pa.DataType, kind: GeometryType | None) -> bool:
    """Whether a column is as GeoArrow lays out this kind: coordinates, in lists as deep."""
    depth = 0
    while pa.types.is_list(type_) or pa.types.is_large_list(type_):
        type_, depth = type_.value_type, depth + 1
    if kind is None or depth != _DEPTHS[kind]:
        return False
    if pa.types.is_fixed_size_list(type_):
        return bool(pa.types.is_floating(type_.value_type) and 2 <= type_.list_size <= 3)
    if not pa.types.is_struct(type_):
        return False
    fields = {field.name: field.type for field in type_}
    return all(pa.types.is_floating(fields.get(name, pa.null())) for name in "xy")


def native_wkb(array: pa.Array, kind: GeometryType) -> tuple[pa.Array, pa.Array]:
    """Geometries in GeoArrow's encoding as WKB.

    Returns:
        WKB, and the reason for each one that can't be made (null: nothing is wrong).
    """
    present = pc.indices_nonzero(array.is_valid())
    geometries = np.full(len(array), None, dtype=object)
    reasons: list[str | None] = [None] * len(array)
    rows = present.to_numpy().astype(np.int64)
    try:
        geometries[rows] = _geometries(array.take(present), kind)
    except (shapely.GEOSException, ValueError):
        for row in rows.tolist():
            try:
                geometries[row] = _geometries(array.take(pa.array([row])), kind)[0]
            except (shapely.GEOSException, ValueError):
                reasons[row] = UNREADABLE
    wkb = shapely.to_wkb(geometries, flavor="iso")
    return pa.array(wkb, pa.binary()), pa.array(reasons, pa.string())


def _geometries(array: pa.Array, kind: GeometryType) -> npt.NDArray[np.object_]:
    offsets: list[npt.NDArray[np.int64]] = []
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        offsets.insert(0, (array.offsets.to_numpy() - array.offsets[0].as_py()).astype(np.int64))
        array = array.flatten()
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        coordinates = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
    else:
        names = [name for name in "xyz" if array.type.get_field_index(name) >= 0]
        coordinates = np.column_stack(
            [pc.struct_field(array, name).to_numpy(zero_copy_only=False) for name in names]
        )
    made: npt.NDArray[np.object_] = shapely.from_ragged_array(
        kind, coordinates.astype(float), tuple(offsets) or None
    )
    return made
