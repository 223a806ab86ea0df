"""Preparing geometries: every step, its order, and that nothing disappears."""

import math
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.vector.geometry import GeometryPlan, Prepared, prepare
from geo_etl.vector.reproject import (
    same_crs,
    transformation_warnings,
    union_wgs84,
)
from geo_etl.vector.wkb import wkb_families

SQUARE = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))"
BOW_TIE = "POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))"
NAN, INF = float("nan"), float("inf")


def plan(geometry_type: str = "MultiPolygon", **changes: Any) -> GeometryPlan:
    values: dict[str, Any] = {
        "source_crs": None,
        "target_srid": 4326,
        "geometry_type": geometry_type,
        "max_repair_change": 0.1,
    }
    return GeometryPlan(**{**values, **changes})


def wkb(*geometries: Any) -> pa.Array:
    """WKB of WKT texts and geometries; bytes and None stay as they are."""

    def encode(item: Any) -> bytes | None:
        if isinstance(item, str):
            item = shapely.from_wkt(item)
        return item.wkb if isinstance(item, shapely.Geometry) else item

    return pa.array([encode(item) for item in geometries], pa.binary())


def loaded(prepared: Prepared) -> list[shapely.Geometry]:
    return [shapely.from_wkb(item) for item in prepared.ewkb.to_pylist()]


def raw_wkb(code: int, *numbers: float, count: int | None = None) -> bytes:
    """Little-endian WKB of one type code, an optional count, and coordinates."""
    head = struct.pack("<BI", 1, code) + (b"" if count is None else struct.pack("<I", count))
    return head + struct.pack(f"<{len(numbers)}d", *numbers)


# Accounting

good = st.sampled_from(
    [
        SQUARE,
        BOW_TIE,
        "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))",
        "POLYGON Z ((0 0 1, 1 0 1, 1 1 1, 0 0 1))",
        "POLYGON M ((0 0 1, 1 0 1, 1 1 1, 0 0 1))",
        "MULTIPOLYGON ZM (((0 0 1 2, 1 0 1 2, 1 1 1 2, 0 0 1 2)))",
    ]
)
gone = st.sampled_from([None, "POLYGON EMPTY", "MULTIPOLYGON EMPTY", "POINT EMPTY"])
bad = st.sampled_from(
    [
        "POLYGON ((0 0, 1 0, 0 0, 0 0))",
        "MULTIPOLYGON (((0 0, 9 0, 9 9, 0 9, 0 0)), ((0 0, 9 0, 9 9, 0 9, 0 0)))",
        "POINT (1 1)",
        "LINESTRING (0 0, 1 1)",
        "GEOMETRYCOLLECTION (POINT (0 0))",
        b"\x01",
        b"not a geometry",
        raw_wkb(3, count=1),
    ]
)


@given(st.lists(good | gone | bad, max_size=20))
def test_every_row_is_loaded_dropped_or_refused(items: list[Any]) -> None:
    prepared = prepare(wkb(SQUARE, *items), plan())
    assert len(prepared.rows) + prepared.dropped + len(prepared.refusals) == len(items) + 1


@given(st.lists(good | gone | bad, max_size=20))
def test_no_row_is_counted_twice(items: list[Any]) -> None:
    prepared = prepare(wkb(SQUARE, *items), plan())
    rows = [*prepared.rows.tolist(), *(refusal.row for refusal in prepared.refusals)]
    assert len(rows) == len(set(rows))


@given(st.lists(good | gone | bad, max_size=20))
def test_loaded_rows_keep_the_order_of_the_source(items: list[Any]) -> None:
    prepared = prepare(wkb(SQUARE, *items), plan())
    assert prepared.rows.tolist() == sorted(prepared.rows.tolist())
    assert prepared.rows.dtype == np.int64
    assert len(prepared.ewkb) == len(prepared.rows)


@given(st.lists(good | gone | bad, max_size=20))
def test_whatever_is_loaded_is_valid_flat_and_of_the_tables_type(items: list[Any]) -> None:
    for geometry in loaded(prepare(wkb(SQUARE, *items), plan())):
        assert geometry.geom_type == "MultiPolygon"
        assert geometry.is_valid
        assert not geometry.has_z


@given(st.lists(gone, max_size=20))
def test_null_and_empty_are_dropped_and_nothing_else(items: list[Any]) -> None:
    prepared = prepare(wkb(*items, SQUARE), plan())
    assert prepared.dropped == len(items)
    assert prepared.rows.tolist() == [len(items)]


@pytest.mark.parametrize(
    ("items", "dropped", "refused"),
    [([], 0, 0), ([None, "POLYGON EMPTY"], 2, 0), (["POINT (0 0)"], 0, 1), ([b"x"], 0, 1)],
)
def test_batch_of_which_nothing_is_loaded_has_no_bounds(
    items: list[Any], dropped: int, refused: int
) -> None:
    prepared = prepare(wkb(*items), plan())
    assert (len(prepared.ewkb), prepared.dropped, len(prepared.refusals)) == (0, dropped, refused)
    assert np.isnan(prepared.bounds).all()


@pytest.mark.parametrize("item", [b"", b"\x01", b"not a geometry", raw_wkb(3, count=1)])
def test_unreadable_geometry_is_refused(item: bytes) -> None:
    prepared = prepare(wkb(SQUARE, item), plan())
    assert [(r.row, r.reason) for r in prepared.refusals] == [(1, "its geometry is unreadable")]


def test_curve_is_refused_and_its_neighbours_are_loaded() -> None:
    curve = raw_wkb(8, 0, 0, 1, 1, 2, 0, count=3)
    prepared = prepare(wkb("LINESTRING (0 0, 1 1)", curve), plan("MultiLineString"))
    assert prepared.rows.tolist() == [0]
    assert [refusal.row for refusal in prepared.refusals] == [1]


def test_large_binary_is_taken_too() -> None:
    assert prepare(wkb(SQUARE).cast(pa.large_binary()), plan()).rows.tolist() == [0]


def test_rows_of_a_slice_are_counted_from_its_start() -> None:
    prepared = prepare(wkb(None, None, SQUARE, None, SQUARE).slice(2), plan())
    assert (prepared.rows.tolist(), prepared.dropped) == ([0, 2], 1)


# Repair


def test_valid_geometry_is_not_listed_as_repaired() -> None:
    assert prepare(wkb(SQUARE), plan()).repairs == []


def test_bow_tie_becomes_its_two_triangles() -> None:
    prepared = prepare(wkb(SQUARE, BOW_TIE), plan())
    wings = shapely.from_wkt("MULTIPOLYGON (((0 0, 0 2, 1 1, 0 0)), ((1 1, 2 2, 2 0, 1 1)))")
    assert shapely.equals(loaded(prepared)[1], wings)


def test_repair_is_recorded_with_row_reason_and_area() -> None:
    (repair,) = prepare(wkb(SQUARE, BOW_TIE), plan()).repairs
    assert (repair.row, repair.before, repair.after) == (1, 2.0, 2.0)
    assert repair.reason == "Self-intersection[1 1]"


def test_repair_of_a_line_is_measured_by_length() -> None:
    line = "MULTILINESTRING ((0 0, 0 0), (0 0, 3 4))"
    prepared = prepare(wkb(line), plan("MultiLineString"))
    assert [(r.row, r.before, r.after) for r in prepared.repairs] == [(0, 5.0, 5.0)]
    assert loaded(prepared)[0].wkt == "MULTILINESTRING ((0 0, 3 4))"


def test_spike_is_cut_off_and_the_polygon_kept() -> None:
    spiked = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 5, -5 5, 0 5, 0 0))"
    prepared = prepare(wkb(spiked), plan())
    assert shapely.equals(loaded(prepared)[0], shapely.from_wkt(SQUARE))
    assert [repair.after for repair in prepared.repairs] == [100.0]


def test_collapsed_hole_is_taken_out() -> None:
    holed = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (1 1, 1 1, 1 1, 1 1))"
    assert shapely.equals(loaded(prepare(wkb(holed), plan()))[0], shapely.from_wkt(SQUARE))


@pytest.mark.parametrize(
    ("geometry", "type_"),
    [
        ("POLYGON ((0 0, 1 0, 0 0, 0 0))", "MultiPolygon"),
        ("POLYGON ((0 0, 1 1, 2 2, 0 0))", "MultiPolygon"),
        ("MULTIPOLYGON (((5 5, 5 5, 5 5, 5 5)))", "MultiPolygon"),
        ("LINESTRING (3 3, 3 3)", "MultiLineString"),
    ],
)
def test_collapsed_geometry_is_refused_with_its_reason(geometry: str, type_: str) -> None:
    whole = SQUARE if type_ == "MultiPolygon" else "LINESTRING (0 0, 1 1)"
    prepared = prepare(wkb(geometry, whole), plan(type_))
    (refusal,) = prepared.refusals
    assert refusal.row == 0
    assert refusal.reason.endswith("; a repair leaves nothing of its dimension")
    assert prepared.rows.tolist() == [1]
    assert prepared.repairs == []


# Two squares of 4 that share 1: the union has 7, the even-odd rule gives 6.
OVERLAP = "MULTIPOLYGON (((0 0, 2 0, 2 2, 0 2, 0 0)), ((1 1, 3 1, 3 3, 1 3, 1 1)))"


def test_repair_that_changes_too_much_is_refused_with_both_areas() -> None:
    prepared = prepare(wkb(OVERLAP, SQUARE), plan(max_repair_change=0.14))
    assert prepared.rows.tolist() == [1]
    assert prepared.refusals[0].reason.endswith(
        "; a repair would change its area or length from 6 to 7"
    )


def test_repair_within_the_limit_is_loaded() -> None:
    prepared = prepare(wkb(OVERLAP), plan(max_repair_change=0.15))
    assert [(repair.before, repair.after) for repair in prepared.repairs] == [(6.0, 7.0)]


def test_repair_of_a_geometry_refused_later_is_not_listed() -> None:
    prepared = prepare(wkb(BOW_TIE, "POINT (0 0)"), plan("MultiPoint"))
    assert prepared.repairs == []
    assert [refusal.row for refusal in prepared.refusals] == [0]


def test_reason_names_the_place_in_coordinates_of_the_source() -> None:
    bow_tie = (
        "POLYGON ((500000 5500000, 500002 5500002, 500002 5500000, 500000 5500002, 500000 5500000))"
    )
    prepared = prepare(wkb(bow_tie), plan(source_crs="EPSG:25832"))
    assert prepared.repairs[0].reason == "Self-intersection[500001 5500001]"
    assert prepared.repairs[0].before == 2.0


# Coordinates that are no numbers

POINT = raw_wkb(1, 1, 2)
LINE = raw_wkb(2, 0, 0, 1, 1, count=2)
RING = struct.pack("<BII", 1, 3, 1)


@pytest.mark.parametrize(
    ("item", "whole", "type_"),
    [
        (raw_wkb(1, NAN, 1), POINT, "MultiPoint"),
        (raw_wkb(1, INF, 1), POINT, "MultiPoint"),
        (raw_wkb(1, 1, -INF), POINT, "MultiPoint"),
        (raw_wkb(2, NAN, 1, 0, 0, count=2), LINE, "MultiLineString"),
        (RING + struct.pack("<I8d", 4, 0, 0, INF, 0, 1, 1, 0, 0), SQUARE, "MultiPolygon"),
        (RING + struct.pack("<I8d", 4, 0, 0, 1, NAN, 1, 1, 0, 0), SQUARE, "MultiPolygon"),
    ],
    ids=["nan point", "inf point", "-inf point", "nan line", "inf ring", "nan ring"],
)
def test_coordinate_that_is_no_number_is_refused(item: bytes, whole: Any, type_: str) -> None:
    prepared = prepare(wkb(item, whole), plan(type_))
    assert [refusal.row for refusal in prepared.refusals] == [0]
    assert "not a finite number" in prepared.refusals[0].reason
    assert prepared.rows.tolist() == [1]


@pytest.mark.parametrize("number", [NAN, INF])
def test_line_with_a_vertex_nowhere_is_refused(number: float) -> None:
    item = raw_wkb(2, 0, 0, 1, number, 1, 1, count=3)
    prepared = prepare(wkb(item, LINE), plan("MultiLineString"))
    assert [refusal.row for refusal in prepared.refusals] == [0]


def test_multipoint_with_a_point_nowhere_is_refused() -> None:
    item = struct.pack("<BII", 1, 4, 2) + raw_wkb(1, NAN, 1) + POINT
    prepared = prepare(wkb(item, POINT), plan("MultiPoint"))
    assert [refusal.row for refusal in prepared.refusals] == [0]


def test_line_that_begins_nowhere_gives_no_warning() -> None:
    item = raw_wkb(2, NAN, 1, 0, 0, count=2)
    assert len(prepare(wkb(item, LINE), plan("MultiLineString")).refusals) == 1


def test_height_that_is_no_number_is_left_out() -> None:
    line = raw_wkb(1002, 0, 0, NAN, 1, 1, NAN, count=2)
    prepared = prepare(wkb(line), plan("MultiLineString"))
    assert loaded(prepared)[0].wkt == "MULTILINESTRING ((0 0, 1 1))"


# Two dimensions


@pytest.mark.parametrize(
    "geometry",
    [
        "POLYGON Z ((0 0 5, 1 0 5, 1 1 5, 0 0 5))",
        "POLYGON M ((0 0 5, 1 0 5, 1 1 5, 0 0 5))",
        "POLYGON ZM ((0 0 5 6, 1 0 5 6, 1 1 5 6, 0 0 5 6))",
    ],
)
def test_heights_and_measures_are_left_out_and_counted(geometry: str) -> None:
    prepared = prepare(wkb(SQUARE, geometry), plan())
    assert prepared.had_z == 1
    assert loaded(prepared)[1].wkt == "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"


def test_flat_geometries_are_not_counted_as_having_heights() -> None:
    assert prepare(wkb(SQUARE, SQUARE), plan()).had_z == 0


# Reprojection

# Figures that do not come from PROJ: the false easting and 0.9996 of the meridian's arc (UTM),
# the worked example of EPSG's guidance note 7-2 (LAEA), and the sphere's formula (Web Mercator).
UTM = ((9.0, 50.0), (500_000.0, 5_538_630.70))
LAEA = ((5.0, 50.0), (3_962_799.45, 2_999_718.85))
RADIUS = 6_378_137.0
WEB = (
    (9.0, 50.0),
    (RADIUS * math.radians(9), RADIUS * math.log(math.tan(math.radians(45 + 50 / 2)))),
)
PLACES = [
    ("EPSG:4326", 25832, *UTM),
    ("EPSG:4258", 25832, *UTM),
    ("EPSG:25832", 4326, *reversed(UTM)),
    ("EPSG:25832", 4258, *reversed(UTM)),
    ("EPSG:4326", 3035, *LAEA),
    ("EPSG:3035", 4326, *reversed(LAEA)),
    ("EPSG:4326", 3857, *WEB),
    ("EPSG:3857", 4326, *reversed(WEB)),
    ("OGC:CRS84", 4326, (9.0, 50.0), (9.0, 50.0)),
    ("EPSG:4258", 4326, (9.0, 50.0), (9.0, 50.0)),
]


@pytest.mark.parametrize(("source", "target", "given_", "expected"), PLACES)
def test_x_comes_before_y_on_both_sides(
    source: str, target: int, given_: tuple[float, float], expected: tuple[float, float]
) -> None:
    point = shapely.Point(given_)
    prepared = prepare(wkb(point), plan("MultiPoint", source_crs=source, target_srid=target))
    tolerance = 1e-6 if target in (4326, 4258) else 0.01
    assert shapely.get_coordinates(loaded(prepared))[0] == pytest.approx(expected, abs=tolerance)


def test_without_a_source_crs_coordinates_stay_exactly() -> None:
    prepared = prepare(wkb("POINT (0.1 0.2)"), plan("MultiPoint"))
    assert loaded(prepared)[0].wkt == "MULTIPOINT ((0.1 0.2))"


@pytest.mark.parametrize(
    ("source", "target", "point"),
    [
        ("EPSG:4326", 3857, "POINT (0 91)"),
        ("EPSG:4326", 25832, "POINT (90 0)"),
        ("EPSG:4326", 2154, "POINT (0 -90)"),
        ("EPSG:25832", 4326, "POINT (-30000000 -30000000)"),
    ],
)
def test_projection_to_infinity_is_refused(source: str, target: int, point: str) -> None:
    here = "POINT (9.5 49.5)" if source == "EPSG:4326" else "POINT (536197 5483132)"
    plan_ = plan("MultiPoint", source_crs=source, target_srid=target)
    prepared = prepare(wkb(point, here), plan_)
    assert [(r.row, r.reason) for r in prepared.refusals] == [
        (0, f"its coordinates have no place in EPSG:{target}")
    ]
    assert prepared.rows.tolist() == [1]
    assert np.isfinite(prepared.bounds).all()


def test_pole_is_refused_in_web_mercator() -> None:
    plan_ = plan("MultiPoint", source_crs="EPSG:4326", target_srid=3857)
    prepared = prepare(wkb("POINT (0 90)", "POINT (0 50)"), plan_)
    assert [refusal.row for refusal in prepared.refusals] == [0]


def test_one_lost_vertex_refuses_its_whole_feature() -> None:
    plan_ = plan("MultiLineString", source_crs="EPSG:4326", target_srid=25832)
    lines = wkb("LINESTRING (9 50, 90 0)", "LINESTRING (9 50, 10 50)")
    prepared = prepare(lines, plan_)
    assert [refusal.row for refusal in prepared.refusals] == [0]
    assert prepared.rows.tolist() == [1]


def test_lost_vertex_of_a_hole_refuses_the_polygon() -> None:
    shell = [(86, -10), (94, -10), (94, 10), (86, 10)]
    holed = shapely.Polygon(shell, [[(90, 0), (91, 1), (89, 1)]])
    plan_ = plan(source_crs="EPSG:4326", target_srid=25832)
    prepared = prepare(wkb(holed, shapely.box(9, 50, 10, 51)), plan_)
    assert [refusal.row for refusal in prepared.refusals] == [0]


# Simplify, quantize


def test_simplify_leaves_out_vertices_within_the_tolerance() -> None:
    line = "LINESTRING (0 0, 5 0.4, 10 0)"
    prepared = prepare(wkb(line), plan("MultiLineString", simplify_tolerance=0.5))
    assert loaded(prepared)[0].wkt == "MULTILINESTRING ((0 0, 10 0))"


def test_simplify_keeps_vertices_beyond_the_tolerance() -> None:
    line = "LINESTRING (0 0, 5 0.6, 10 0)"
    prepared = prepare(wkb(line), plan("MultiLineString", simplify_tolerance=0.5))
    assert loaded(prepared)[0].wkt == "MULTILINESTRING ((0 0, 5 0.6, 10 0))"


def test_simplify_never_makes_a_polygon_vanish() -> None:
    prepared = prepare(wkb(SQUARE), plan(simplify_tolerance=1000))
    (polygon,) = loaded(prepared)
    assert polygon.area > 0


def test_tolerance_is_in_units_of_the_target() -> None:
    line = "LINESTRING (9 50, 9.5 50.0001, 10 50)"
    plan_ = plan(
        "MultiLineString", source_crs="EPSG:4326", target_srid=3857, simplify_tolerance=100.0
    )
    assert len(shapely.get_coordinates(loaded(prepare(wkb(line), plan_)))) == 2


def test_quantize_snaps_to_the_grid() -> None:
    prepared = prepare(wkb("POINT (1.26 -3.74)"), plan("MultiPoint", quantize=0.5))
    assert loaded(prepared)[0].wkt == "MULTIPOINT ((1.5 -3.5))"


def test_what_quantize_makes_vanish_is_refused() -> None:
    sliver = "POLYGON ((0 0, 10 0, 10 0.1, 0 0.1, 0 0))"
    prepared = prepare(wkb(sliver, SQUARE), plan(quantize=1.0))
    assert [(r.row, r.reason) for r in prepared.refusals] == [
        (0, "nothing is left of it at quantize 1")
    ]
    assert prepared.rows.tolist() == [1]


# Promotion and EWKB


@pytest.mark.parametrize(
    ("single", "multi", "type_"),
    [
        ("POINT (1 2)", "MULTIPOINT ((1 2))", "MultiPoint"),
        ("LINESTRING (0 0, 1 1)", "MULTILINESTRING ((0 0, 1 1))", "MultiLineString"),
        (
            "POLYGON ((0 0, 1 0, 1 1, 0 0))",
            "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))",
            "MultiPolygon",
        ),
    ],
)
def test_single_geometry_becomes_multi_and_multi_stays(single: str, multi: str, type_: str) -> None:
    prepared = prepare(wkb(single, multi, single), plan(type_))
    assert [geometry.wkt for geometry in loaded(prepared)] == [multi, multi, multi]


def test_any_table_takes_every_kind() -> None:
    items = ["POINT (1 2)", "LINESTRING (0 0, 1 1)", SQUARE, "GEOMETRYCOLLECTION (POINT (0 0))"]
    prepared = prepare(wkb(*items), plan("Geometry"))
    assert [geometry.geom_type for geometry in loaded(prepared)] == [
        "MultiPoint",
        "MultiLineString",
        "MultiPolygon",
        "GeometryCollection",
    ]


def test_other_kind_is_refused_with_both_types() -> None:
    prepared = prepare(wkb("POINT (1 2)", SQUARE), plan())
    assert prepared.refusals[0].reason == "it is a MultiPoint in a MultiPolygon table"


def test_invalid_collection_keeps_all_its_parts() -> None:
    collection = f"GEOMETRYCOLLECTION ({BOW_TIE}, POINT (0 0))"
    (result,) = loaded(prepare(wkb(collection), plan("GeometryCollection")))
    assert sorted(part.geom_type for part in result.geoms) == ["MultiPolygon", "Point"]
    assert result.area == 2.0


def test_ewkb_carries_the_srid_of_the_target() -> None:
    prepared = prepare(wkb("POINT (9 50)"), plan("MultiPoint", target_srid=25832))
    assert shapely.get_srid(loaded(prepared)).tolist() == [25832]
    # Byte order, type 4 with the SRID flag, SRID.
    assert prepared.ewkb[0].as_py()[:9] == struct.pack("<BII", 1, 0x20000004, 25832)


def test_srid_of_the_source_geometry_is_overwritten() -> None:
    item = shapely.to_wkb(shapely.set_srid(shapely.Point(1, 2), 31467), include_srid=True)
    prepared = prepare(wkb(item), plan("MultiPoint", target_srid=3857))
    assert shapely.get_srid(loaded(prepared)).tolist() == [3857]


def test_bounds_are_those_of_all_loaded_rows_in_the_target() -> None:
    prepared = prepare(wkb("POINT (1 -2)", None, "POINT (-3 4)", SQUARE), plan("MultiPoint"))
    assert prepared.bounds.tolist() == [-3.0, -2.0, 1.0, 4.0]


# WKB headers

KINDS = {
    "POINT": 0,
    "LINESTRING": 1,
    "POLYGON": 2,
    "MULTIPOINT": 0,
    "MULTILINESTRING": 1,
    "MULTIPOLYGON": 2,
    "GEOMETRYCOLLECTION": 3,
}
FAMILY_OF_TYPE_ID = {0: 0, 1: 1, 3: 2, 4: 0, 5: 1, 6: 2, 7: 3}
BODIES = {
    "POINT": "(1 2{})",
    "LINESTRING": "(1 2{}, 3 4{})",
    "POLYGON": "((0 0{}, 1 0{}, 1 1{}, 0 0{}))",
    "MULTIPOINT": "((1 2{}))",
    "MULTILINESTRING": "((1 2{}, 3 4{}))",
    "MULTIPOLYGON": "(((0 0{}, 1 0{}, 1 1{}, 0 0{})))",
}


def example(kind: str, dimension: str) -> shapely.Geometry:
    body = BODIES.get(kind, "(POINT {dimension} (1 2{}))".replace("{dimension}", dimension))
    return shapely.from_wkt(f"{kind} {dimension} {body.replace('{}', ' 9' * len(dimension))}")


@pytest.mark.parametrize("order", [0, 1], ids=["big", "little"])
@pytest.mark.parametrize("flavor", ["iso", "extended"])
@pytest.mark.parametrize("dimension", ["", "Z", "M", "ZM"])
@pytest.mark.parametrize("kind", KINDS)
def test_family_is_read_off_every_kind_of_header(
    kind: str, dimension: str, flavor: str, order: int
) -> None:
    geometry = example(kind, dimension)
    data = shapely.to_wkb(geometry, flavor=flavor, byte_order=order, output_dimension=4)
    assert data[0] == order
    assert wkb_families(pa.array([data], pa.binary())).tolist() == [KINDS[kind]]
    assert FAMILY_OF_TYPE_ID[int(shapely.get_type_id(geometry))] == KINDS[kind]


def test_family_is_read_with_an_srid_in_the_header() -> None:
    data = shapely.to_wkb(shapely.set_srid(shapely.box(0, 0, 1, 1), 4326), include_srid=True)
    assert wkb_families(pa.array([data], pa.binary())).tolist() == [2]


@given(
    st.lists(st.sampled_from([*KINDS, None]), max_size=12),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([pa.binary(), pa.large_binary()]),
)
def test_families_of_a_slice_are_those_of_its_rows(
    kinds: list[str | None], start: int, length: int, type_: pa.DataType
) -> None:
    geometries = [None if kind is None else example(kind, "").wkb for kind in kinds]
    families = [-1 if kind is None else KINDS[kind] for kind in kinds]
    found = wkb_families(pa.array(geometries, type_).slice(start, length))
    assert found.tolist() == families[start : start + length]


def test_empty_geometries_have_no_family() -> None:
    array = wkb("POINT EMPTY", "POLYGON EMPTY", "GEOMETRYCOLLECTION EMPTY", "POINT (1 2)")
    assert wkb_families(array).tolist() == [-1, -1, -1, 0]


@pytest.mark.parametrize("item", [b"", b"\x01\x01\x00\x00", raw_wkb(8, count=0), raw_wkb(0)])
def test_what_has_no_family_is_as_without_geometry(item: bytes) -> None:
    assert wkb_families(pa.array([item, example("POINT", "").wkb], pa.binary())).tolist() == [-1, 0]


# Systems of reference


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [
        ("EPSG:4326", 4326, True),
        ("OGC:CRS84", 4326, True),
        ("EPSG:25832", 4326, False),
        ("EPSG:4258", 4326, False),
        ("EPSG:3857", 3857, True),
    ],
)
def test_same_crs_looks_beyond_the_order_of_axes(source: str, target: int, same: bool) -> None:
    assert same_crs(source, target) is same


def test_exact_reprojection_gives_no_warning() -> None:
    assert transformation_warnings("EPSG:25832", 4258, (500000, 5400000, 500001, 5400001)) == []


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], None),
        ([(1, 2, 3, 4)], (1, 2, 3, 4)),
        ([(0, 0, 1, 1), (5, -1, 6, 2)], (0, -1, 6, 2)),
        ([(170, 0, 179, 1), (-179, 0, -170, 1)], (170, 0, -170, 1)),
        ([(179, 0, -179, 1), (-178, 0, -177, 1)], (179, 0, -177, 1)),
        ([(-180, -90, 180, 90), (0, 0, 1, 1)], (-180, -90, 180, 90)),
    ],
)
def test_boxes_are_joined_the_short_way_round(boxes: Any, expected: Any) -> None:
    assert union_wgs84(boxes) == expected


def test_a_repair_says_what_became_of_the_type() -> None:
    prepared = prepare(wkb(BOW_TIE), plan())

    (repair,) = prepared.repairs
    assert (repair.type_before, repair.type_after) == ("Polygon", "MultiPolygon")


def test_an_open_ring_is_closed_and_counted_as_a_repair() -> None:
    ring = shapely.to_wkb(shapely.from_wkt(SQUARE))
    open_ring = ring[:9] + struct.pack("<I", 4) + ring[13:-16]

    prepared = prepare(wkb(SQUARE, open_ring), plan())

    assert prepared.rows.tolist() == [0, 1]
    assert [(repair.row, repair.reason) for repair in prepared.repairs] == [
        (1, "Ring is not closed")
    ]
    assert shapely.from_wkb(prepared.ewkb[1].as_py()).equals(shapely.from_wkt(SQUARE))


def test_a_collapsed_part_does_not_keep_the_others_from_being_repaired() -> None:
    parts = (
        "MULTIPOLYGON (((5051 8250, 5051 8250, 5051 8250, 5051 8250)),"
        " ((5059 8252, 5062 8248, 5056 8248, 5059 8252)))"
    )

    prepared = prepare(wkb(parts), plan())

    assert not prepared.refusals
    (repair,) = prepared.repairs
    assert repair.after == 12.0


def test_a_polygon_of_many_holes_is_repaired_in_bounded_time() -> None:
    places = [(x, y) for x in range(2, 200, 2) for y in range(2, 300, 2)]
    holes = [[(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for x, y in places]
    # The first hole is there twice: invalid, and too large to be measured exactly.
    polygon = shapely.Polygon([(0, 0), (400, 0), (400, 400), (0, 400)], [holes[0], *holes])

    prepared = prepare(wkb(polygon), plan())

    assert len(prepared.repairs) + len(prepared.refusals) == 1


def test_kinds_that_go_into_one_table_keep_the_order_of_the_batch() -> None:
    singles = [f"POLYGON (({n} 0, {n + 1} 0, {n + 1} 1, {n} 0))" for n in range(4)]
    mixed = [singles[0], singles[1].replace("POLYGON ", "MULTIPOLYGON (") + ")", *singles[2:]]

    prepared = prepare(wkb(*mixed), plan())

    assert prepared.rows.tolist() == [0, 1, 2, 3]
    bounds = shapely.bounds(shapely.from_wkb(prepared.ewkb.to_pylist()))
    assert bounds[:, 0].tolist() == [0, 1, 2, 3]
