"""What crosses 180° of longitude is cut there; what does not stays as it is."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.vector.antimeridian import split_at_antimeridian


def split(wkt: str) -> shapely.Geometry:
    return split_at_antimeridian(np.array([shapely.from_wkt(wkt)]))[0]


@pytest.mark.parametrize(
    ("crossing", "cut"),
    [
        (
            "POLYGON ((179 0, -179 0, -179 1, 179 1, 179 0))",
            "MULTIPOLYGON (((179 0, 180 0, 180 1, 179 1, 179 0)),"
            " ((-180 0, -179 0, -179 1, -180 1, -180 0)))",
        ),
        (
            "POLYGON ((179 0, 181 0, 181 1, 179 1, 179 0))",
            "MULTIPOLYGON (((179 0, 180 0, 180 1, 179 1, 179 0)),"
            " ((-180 0, -179 0, -179 1, -180 1, -180 0)))",
        ),
        (
            "LINESTRING (170 0, -170 10)",
            "MULTILINESTRING ((170 0, 180 5), (-180 5, -170 10))",
        ),
        ("MULTIPOINT (190 0, 10 0)", "MULTIPOINT (-170 0, 10 0)"),
        (
            "POLYGON ((170 0, -170 0, -170 10, 170 10, 170 0), (175 1, 176 1, 176 2, 175 1))",
            "MULTIPOLYGON (((170 0, 180 0, 180 10, 170 10, 170 0), (175 1, 176 1, 176 2, 175 1)),"
            " ((-180 0, -170 0, -170 10, -180 10, -180 0)))",
        ),
    ],
)
def test_what_crosses_is_cut_into_parts_on_either_side(crossing: str, cut: str) -> None:
    assert shapely.equals(split(crossing), shapely.from_wkt(cut))


@pytest.mark.parametrize(
    "wkt",
    [
        "POINT (180 0)",
        "LINESTRING (170 0, 180 1)",
        "POLYGON ((0 0, 10 0, 10 1, 0 0))",
        "MULTIPOLYGON (((179 0, 180 0, 180 1, 179 0)), ((-180 0, -179 0, -180 1, -180 0)))",
    ],
)
def test_what_does_not_cross_is_left_alone(wkt: str) -> None:
    assert split(wkt) == shapely.from_wkt(wkt)


@given(
    west=st.floats(100, 179),
    width=st.floats(1, 100),
    south=st.floats(-80, 79),
    height=st.floats(0.5, 5),
)
def test_parts_have_the_area_of_the_whole_and_lie_within_180_degrees(
    west: float, width: float, south: float, height: float
) -> None:
    whole = shapely.box(west, south, west + width, south + height)
    wrapped = (
        shapely.transform(whole, lambda xy: (xy + [180, 0]) % [360, 1e9] - [180, 0])
        if (south >= 0)
        else whole
    )

    parts = split_at_antimeridian(np.array([wrapped]))[0]

    assert shapely.area(parts) == pytest.approx(shapely.area(whole), rel=1e-9)
    assert shapely.bounds(parts)[0] >= -180
    assert shapely.bounds(parts)[2] <= 180
