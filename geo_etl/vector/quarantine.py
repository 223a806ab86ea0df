"""Quarantined features, handed back to be corrected."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import shapely
import sqlalchemy as sa

from geo_etl.errors import PublishError, SourceError
from geo_etl.vector.attributes import Column
from geo_etl.vector.chunk import FROM_QUARANTINE
from geo_etl.vector.publish import quarantine_table
from geo_etl.vector.reproject import transformer_between
from geo_etl.vector.versions import Target, published_version
from geo_etl.vector.wkb import unreadable

FID, JOB_ID, SOURCE_FID, REASON = FROM_QUARANTINE
_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}


def quarantine_reasons(engine: sa.Engine, target: Target) -> list[tuple[str, int]]:
    """Reasons and how many features each has, the most frequent first.

    Raises:
        PublishError: geo_etl publishes no such table.
    """
    table = quarantine_table(target)
    with engine.connect() as connection:
        published_version(connection, target)
        if not sa.inspect(connection).has_table(table.name, schema=table.schema):
            return []
        count = sa.func.count()
        rows = connection.execute(
            sa.select(table.c.reason, count)
            .group_by(table.c.reason)
            .order_by(count.desc(), table.c.reason)
        )
        return [(row.reason, int(row[1])) for row in rows]


def export_quarantine(engine: sa.Engine, target: Target, path: Path) -> int:
    """Write a table's quarantined features to a GeoPackage, in their source's CRS.

    Columns have the source's names, and those of `FROM_QUARANTINE`, which are not loaded when the
    corrected file is ingested.

    Returns:
        How many there are.

    Raises:
        PublishError: geo_etl publishes no such table, or nothing of it is quarantined.
        SourceError: the file is there already, or can't be written.
    """
    if path.suffix.lower() != ".gpkg" or path.exists():
        problem = "it exists already" if path.exists() else "it is no GeoPackage by its name"
        raise SourceError(str(path), problem, "Name a new file that ends with .gpkg.")
    table = quarantine_table(target)
    with engine.connect() as connection:
        version = published_version(connection, target)
        has = sa.inspect(connection).has_table(table.name, schema=table.schema)
        rows = connection.execute(sa.select(table)).all() if has else []
    if not rows:
        raise PublishError(f"table {target}", "nothing of it is quarantined", "All is well.")
    crs = (version.result or {}).get("original_crs") or f"EPSG:{version.srid}"
    arrays: dict[str, pa.Array] = {
        JOB_ID: pa.array([row.job_id for row in rows], pa.string()),
        SOURCE_FID: pa.array([row.source_fid for row in rows], pa.int64()),
        REASON: pa.array([row.reason for row in rows], pa.string()),
    }
    attributes = [row.attributes for row in rows]
    types = {column.original: column for column in version.columns}
    for name in dict.fromkeys(name for values in attributes for name in values):
        arrays[name] = _column([values.get(name) for values in attributes], types.get(name))
    arrays["geom"] = pa.array(_in_crs([row.geometry for row in rows], crs), pa.binary())
    try:
        pyogrio.write_arrow(
            pa.table(arrays),
            path,
            layer=target.table,
            driver="GPKG",
            geometry_name="geom",
            geometry_type="Unknown",
            crs=crs,
            layer_options={"FID": FID},
        )
    except pyogrio.errors.DataSourceError as error:
        raise SourceError(
            str(path), f"it can't be written ({error})", "Choose another folder."
        ) from None
    return len(rows)


def _column(values: Sequence[Any], column: Column | None) -> pa.Array:
    """Values from JSON in the type that their column has, or as text if one does not fit."""
    kind = _TYPES.get(column.sql_type) if column is not None else None
    try:
        if kind is not None:
            return pa.array([_parsed(value, kind) for value in values], kind)
    except (ValueError, TypeError, pa.ArrowException):
        pass
    return pa.array(
        [
            v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False)
            for v in values
        ],
        pa.string(),
    )


def _parsed(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, str) and pa.types.is_date(kind):
        return date.fromisoformat(value)
    if isinstance(value, str) and pa.types.is_timestamp(kind):
        return datetime.fromisoformat(value)
    return value


def _in_crs(geometries: Sequence[bytes | None], crs: str) -> list[bytes | None]:
    """WKB in one CRS: what comes from a table carries its own SRID."""
    odd = unreadable(pa.array(geometries, pa.binary()))
    straight = np.array(geometries, dtype=object)
    straight[odd] = None
    shapes = shapely.from_wkb(straight, on_invalid="ignore")
    srids = shapely.get_srid(shapes)
    for position in np.flatnonzero(srids > 0):
        change = transformer_between(f"EPSG:{srids[position]}", crs)
        shapes[position] = shapely.transform(
            shapes[position], lambda xy, t=change: np.column_stack(t.transform(*xy.T))
        )
    # What shapely can't read, curves, a GeoPackage takes as it is.
    return [
        raw if shape is None else shape.wkb for raw, shape in zip(geometries, shapes, strict=True)
    ]
