"""Whether what servers give is what was written."""

import copy
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.catalog.read_back import differences, is_within


def item() -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
        "id": "dem",
        "collection": "rasters",
        "geometry": {"type": "Point", "coordinates": [5.0, 50.0]},
        "bbox": [5.0, 50.0, 5.0, 50.0],
        "properties": {"datetime": "2024-01-01T00:00:00Z", "title": "Höhen", "rows": 3},
        "assets": {"analysis": {"href": "file:///a.tif", "file:size": 10, "roles": ["data"]}},
        "links": [{"rel": "collection", "href": "../rasters"}],
    }


def test_the_server_has_its_own_addresses_and_links() -> None:
    served = item()
    served["assets"]["analysis"]["href"] = "http://localhost/files/a.tif"
    served["assets"]["features"] = {"href": "http://localhost/features"}
    served["links"] = [{"rel": "self", "href": "http://localhost/stac"}]
    served["stac_extensions"].append("https://example.com/links.json")

    assert differences(item(), served) == []


def test_of_nothing_a_server_need_not_speak() -> None:
    written = item()
    written["properties"]["end_datetime"] = None
    written["extra"] = []

    assert differences(written, item()) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("id",), "dom", 'id is "dom", "dem" was written'),
        (("collection",), "x", "collection is"),
        (("bbox",), [5.0, 50.0, 5.0, 50.1], "bbox is [5.0, 50.0, 5.0, 50.1], [5.0, 50.0, 5.0"),
        (("geometry",), None, "geometry is null"),
        (("properties", "rows"), 4, "properties.rows is 4, 3 was written"),
        (("properties", "mood"), "new", 'properties.mood is "new", null was written'),
        (("assets", "analysis", "file:size"), 11, "assets.analysis is"),
        (("assets",), {}, "asset analysis is missing"),
        (("stac_extensions",), [], "extension https://stac-extensions.github.io/file"),
    ],
)
def test_a_difference_is_named(path: tuple[str, ...], value: Any, words: str) -> None:
    served = copy.deepcopy(item())
    inside = served
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value

    (said,) = differences(item(), served)

    assert said.startswith(words)


def test_a_lost_property_is_named() -> None:
    served = item()
    del served["properties"]["title"]

    assert differences(item(), served) == ['properties.title is null, "Höhen" was written']


# Places


@pytest.mark.parametrize(
    ("bbox", "inside", "outside"),
    [
        ((5, 50, 6, 51), [(5, 50), (6, 51), (5.5, 50.5)], [(4.9, 50.5), (5.5, 51.1), (185.5, 50)]),
        ((170, -20, -170, -10), [(175, -15), (-175, -15), (180, -15)], [(0, -15), (165, -15)]),
        ((-180, -90, 180, 90), [(180, 90), (-180, -90), (0, 0)], []),
        ((5, 50, 5, 50), [(5, 50), (5.0000005, 50)], [(5.00001, 50)]),
        ((190, 0, 200, 5), [(195, 3), (-165, 3)], [(-175, 3)]),
    ],
)
def test_points_in_boxes(
    bbox: tuple[float, ...], inside: list[tuple[float, float]], outside: list[tuple[float, float]]
) -> None:
    assert [point for point in inside if not is_within(shapely.Point(point), bbox)] == []
    assert [point for point in outside if is_within(shapely.Point(point), bbox)] == []


def test_all_of_a_geometry_has_to_be_inside() -> None:
    assert not is_within(shapely.LineString([(5.5, 50.5), (7, 50.5)]), (5, 50, 6, 51))


@given(
    west=st.floats(-180, 180),
    width=st.floats(0, 359),
    along=st.floats(0, 1),
    south=st.floats(-90, 80),
)
def test_whatever_is_between_the_edges_is_inside(
    west: float, width: float, along: float, south: float
) -> None:
    east = west + width
    bbox = (west, south, east if east <= 180 else east - 360, south + 10)
    longitude = west + along * width
    place = shapely.Point(longitude if longitude <= 180 else longitude - 360, south + 10 * along)

    assert is_within(place, bbox)
