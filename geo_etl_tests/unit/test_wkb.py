"""Geometries that would end the process of whoever reads them without care."""

import struct

import pyarrow as pa
import pytest
import shapely

from geo_etl.report.picture import Marked, map_picture
from geo_etl.vector.geometry import GeometryPlan, prepare
from geo_etl.vector.wkb import too_deep, unreadable

LEAF = struct.pack("<BIdd", 1, 1, 1.0, 2.0)
CURVE = struct.pack("<BII6d", 1, 8, 3, 0, 0, 1, 1, 2, 0)
SRID = 0x20000000


def within(kind: int, depth: int, order: str = "<", flags: int = 0) -> bytes:
    """A point in parents of a WKB type, each in the next."""
    srid = b"\0\0\0\0" if flags == SRID else b""
    parent = struct.pack(order + "BI", int(order == "<"), kind + flags) + srid
    return (parent + struct.pack(order + "I", 1)) * depth + LEAF


@pytest.mark.parametrize("kind", [4, 5, 6, 7, 9, 10, 11, 12])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("flags", [0, 0x80000000, 0x40000000, 1000, 2000, 3000, SRID, 0x10000])
def test_geometries_that_nest_deep_are_found(kind: int, order: str, flags: int) -> None:
    """GEOS reads a part before it asks for its kind, and types by their low 16 bits."""
    deep = within(kind, 200, order, flags)
    rows = [
        deep,
        within(kind, 5, order, flags),
        struct.pack("<BII", 1, 7, 2) + CURVE + deep,
        None,
        b"",
        struct.pack("<BII", 1, kind, 2) + LEAF + deep,
    ]
    assert too_deep(pa.array(rows, pa.binary())).tolist() == [0, 2, 5]
    assert too_deep(pa.array([None, *rows], pa.large_binary())[1:]).tolist() == [0, 2, 5]


def test_curves_are_found_wherever_they_are() -> None:
    collection = struct.pack("<BII", 1, 7, 1) + CURVE
    rows = pa.array([CURVE, collection, within(7, 3), None], pa.binary())
    assert unreadable(rows).tolist() == [True, True, False, False]


def test_a_curve_in_a_collection_is_refused_alone() -> None:
    collection = struct.pack("<BII", 1, 7, 1) + CURVE
    rows = pa.array([collection, LEAF], pa.binary())
    prepared = prepare(rows, GeometryPlan(None, 4326, "Geometry", 0.1))
    assert prepared.rows.tolist() == [1]
    assert [refusal.row for refusal in prepared.refusals] == [0]


def test_quarantined_curves_and_nests_do_not_hinder_the_picture() -> None:
    feature = shapely.box(0, 0, 1, 1).wkb
    marked = Marked([], [CURVE, within(4, 200_000), LEAF], "EPSG:4326")
    assert map_picture([feature], 4326, "t", marked)
