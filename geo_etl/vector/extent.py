"""Where and when a loaded table lies: its bounds in degrees, and its span in time.

Bounds follow RFC 7946, section 5.2: where the data lies on both sides of the antimeridian,
west is greater than east.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import sqlalchemy as sa

from geo_etl.vector.attributes import Column

BBox = tuple[float, float, float, float]
Floats = npt.NDArray[np.float64]

EXACT_FEATURES = 5000
"""Up to this many features each box counts; of more, those in the same grid cells together."""
CELLS = 24
EDGE_POINTS = 16
POLE_DEGREES = 1e-9

_MOMENT = {
    "date": sa.DateTime(),
    "timestamp without time zone": sa.DateTime(),
    "timestamp with time zone": sa.DateTime(timezone=True),
}


@dataclass(frozen=True)
class _Extent:
    """Plain extent of a table, in its own CRS."""

    srid: int
    features: int
    west: float
    south: float
    east: float
    north: float


_PLAIN = """
    SELECT srid, features, ST_XMin(box) AS west, ST_YMin(box) AS south,
        ST_XMax(box) AS east, ST_YMax(box) AS north
    FROM (
        SELECT ST_Extent(geom) AS box, count(geom) AS features, max(ST_SRID(geom)) AS srid
        FROM features
    ) AS extent
"""

# Two numbers tell the cells of a box: sorting by four takes twice the time. Without OFFSET its
# corners would be computed again for each use.
_BOXES = """
    SELECT min(x0) AS x0, min(y0) AS y0, max(x1) AS x1, max(y1) AS y1
    FROM (
        SELECT ST_XMin(geom) AS x0, ST_YMin(geom) AS y0, ST_XMax(geom) AS x1, ST_YMax(geom) AS y1
        FROM (
            SELECT geom FROM features WHERE ST_XMax(geom) - ST_XMin(geom) <= :half
            UNION ALL
            SELECT (ST_Dump(geom)).geom FROM features WHERE ST_XMax(geom) - ST_XMin(geom) > :half
        ) AS parts
        OFFSET 0
    ) AS boxes
    GROUP BY
        floor((x0 - :west) / :across) * :cells + floor((x1 - :west) / :across),
        floor((y0 - :south) / :along) * :cells + floor((y1 - :south) / :along)
"""


def reading(statement: str, schema: str, table: str, **columns: str) -> sa.TextualSelect:
    """A statement on `features`: a table's columns, under the names that the statement uses."""
    names: list[sa.Label[Any]] = [sa.column(name).label(alias) for alias, name in columns.items()]
    rows = sa.select(*names).select_from(sa.table(table, schema=schema))
    # Read twice it would be copied to disk first.
    features = rows.cte("features").prefix_with("NOT MATERIALIZED", dialect="postgresql")
    return sa.text(statement).columns().add_cte(features)


def extent_wgs84(
    connection: sa.Connection, schema: str, table: str, geom: str = "geom"
) -> BBox | None:
    """Bounds of a table: west, south, east, north in degrees (WGS 84).

    The smallest box round the Earth that holds every feature's own box: the largest empty gap
    between them is left out. Parts of wide multi-geometries count one by one.

    Returns:
        None for a table without geometries, or one whose CRS can't place them on the Earth.
    """
    row = connection.execute(reading(_PLAIN, schema, table, geom=geom)).one()
    if row.west is None:
        return None
    plain = _Extent(**row._mapping)
    inside = plain.west >= -180 and plain.east <= 180 and plain.east - plain.west <= 180
    if plain.srid == 4326 and inside:
        return plain.west, max(plain.south, -90.0), plain.east, min(plain.north, 90.0)
    cells = CELLS if plain.features > EXACT_FEATURES else 1_000_000
    width, height = plain.east - plain.west, plain.north - plain.south
    boxes = connection.execute(
        reading(_BOXES, schema, table, geom=geom),
        {
            "half": width / 2,
            "west": plain.west,
            "south": plain.south,
            "cells": float(cells + 1),
            "across": max(width, 1e-12) / cells,
            "along": max(height, 1e-12) / cells,
        },
    ).all()
    # NULL of an empty geometry becomes NaN: a place that is none.
    return bounds_of_boxes(np.array([tuple(box) for box in boxes], dtype=np.float64), plain.srid)


def bounds_of_boxes(boxes: Floats, srid: int) -> BBox | None:
    """Bounds in degrees of boxes (n × 4: xmin, ymin, xmax, ymax) in a CRS; None: nowhere."""
    longitudes, latitudes = _outlines(boxes, srid)
    placed = np.isfinite(longitudes).all(axis=1) & np.isfinite(latitudes).all(axis=1)
    if not placed.any():
        return None
    longitudes, latitudes = longitudes[placed], latitudes[placed]
    # Along an outline a longitude never jumps: a step over 180 degrees is one the other way.
    steps = np.diff(longitudes, axis=1)
    steps -= 360 * np.round(steps / 360)
    run = np.concatenate([longitudes[:, :1], steps], axis=1).cumsum(axis=1)
    south, north = latitudes.min(axis=1), latitudes.max(axis=1)
    turns = np.abs(run[:, -1] - run[:, 0]) > 180
    north = np.where(turns & (south + north > 0), 90.0, north)
    south = np.where(turns & (south + north <= 0), -90.0, south)
    round_pole = turns | (north >= 90 - POLE_DEGREES) | (south <= -90 + POLE_DEGREES)
    if pyproj.CRS.from_epsg(srid).is_projected and round_pole.any():
        west, east = -180.0, 180.0
    else:
        west, east = smallest_arc(run.min(axis=1), run.max(axis=1))
    return west, max(float(south.min()), -90.0), east, min(float(north.max()), 90.0)


def _outlines(boxes: Floats, srid: int) -> tuple[Floats, Floats]:
    """Longitudes and latitudes of points along the outline of each box, start to start."""
    along = np.linspace(0, 1, EDGE_POINTS, endpoint=False)
    zero, one = np.zeros(EDGE_POINTS), np.ones(EDGE_POINTS)
    right = np.concatenate([along, one, 1 - along, zero, [0.0]])
    up = np.concatenate([zero, along, one, 1 - along, [0.0]])
    x = boxes[:, [0]] + (boxes[:, [2]] - boxes[:, [0]]) * right
    y = boxes[:, [1]] + (boxes[:, [3]] - boxes[:, [1]]) * up
    if srid == 4326:
        return x, y
    to_degrees = pyproj.Transformer.from_crs(f"EPSG:{srid}", "EPSG:4326", always_xy=True)
    longitudes, latitudes = to_degrees.transform(x, y)
    return np.asarray(longitudes), np.asarray(latitudes)


def smallest_arc(starts: Floats, ends: Floats) -> tuple[float, float]:
    """The smallest arc of the circle of longitudes that holds all arcs given, in degrees.

    Args:
        starts, ends: of each arc, ends not below starts; any multiple of 360 may be added.

    Returns:
        West and east, in -180 … 180; west > east when it crosses the antimeridian.
    """
    widths = ends - starts
    if widths.max() >= 360:
        return -180.0, 180.0
    starts = np.where(np.abs(starts) <= 180, starts, (starts + 180) % 360 - 180)
    # An arc that only begins at 180 is one that begins at -180.
    starts = np.where((starts == 180) & (widths > 0), -180.0, starts)
    ends = starts + widths
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    # What reaches beyond 180 covers the beginning of the circle as well.
    reach = np.maximum.accumulate(np.concatenate([[ends.max() - 360], ends[:-1]]))
    gaps = starts - reach
    # At equal gaps the one over the antimeridian is left out: the box stays an ordinary one.
    gaps[0] = starts[0] - (ends.max() - 360)
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 0:
        return -180.0, 180.0
    west, east = float(starts[widest]), float(reach[widest])
    if widest == 0:
        east = float(ends.max())
    if east > 180:
        east -= 360
    return west, (180.0 if east == -180 and west > east else east)


def time_columns(named: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """The columns that may tell the time of a table's features, the first with values does.

    Args:
        named: by the spec. Without any, it is the one column of dates or timestamps; of several
            nobody knows which is meant.
    """
    if named:
        return list(named)
    found = [column.name for column in columns if column.sql_type in _MOMENT]
    return found if len(found) == 1 else []


def temporal_extent(
    connection: sa.Connection, schema: str, table: str, column: str
) -> tuple[datetime, datetime] | None:
    """First and last moment of a date or timestamp column.

    A date stands for its whole day; a timestamp without zone is taken as UTC. Infinite values,
    and those outside the years 1 to 9999, are left out.

    Returns:
        None when no value is left, or the column holds times of day.
    """
    value: sa.ColumnClause[object] = sa.column(column)
    source = sa.table(table, value, schema=schema)
    named = connection.execute(
        sa.select(sa.cast(sa.func.pg_typeof(value), sa.Text)).select_from(source).limit(1)
    ).scalar_one_or_none()
    if named not in _MOMENT:
        return None
    first, last = connection.execute(
        sa.select(
            sa.cast(sa.func.min(value), _MOMENT[named]),
            sa.cast(sa.func.max(value), _MOMENT[named]),
        )
        .select_from(source)
        .where(value >= sa.text("'0001-01-02'"), value < sa.text("'9999-12-31'"))
    ).one()
    if first is None:
        return None
    if named == "date":
        last = datetime.combine(last, time.max.replace(microsecond=0))
    return _in_utc(first), _in_utc(last)


def _in_utc(moment: date) -> datetime:
    assert isinstance(moment, datetime)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
