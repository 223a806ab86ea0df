"""What the start page says of a dataset, and the picture of where it lies."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.catalog.served import Servers
from geo_etl.stack.datasets import Dataset
from geo_etl.stack.extent_picture import extent_svg
from geo_etl.stack.start_page import age, entry_of, human

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOT = "http://site"
SERVERS = Servers(f"{ROOT}/features", f"{ROOT}/tiles", f"{ROOT}/files", "file:///blobs")


def boxes(svg: str) -> list[tuple[float, ...]]:
    """x, y, width, height of the boxes of a picture."""
    found = re.findall(r'<rect class="box" x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', svg)
    return [tuple(float(value) for value in box) for box in found]


def test_a_box_lies_where_it_is() -> None:
    assert boxes(extent_svg([10, 20, 40, 50])) == [(190, 40, 30, 30)]


def test_a_box_across_the_antimeridian_is_two() -> None:
    assert boxes(extent_svg([170, -20, -160, 0])) == [(350, 90, 10, 20), (0, 90, 20, 20)]
    assert "from 170°E to 160°W" in extent_svg([170, -20, -160, 0])


def test_a_point_can_be_seen() -> None:
    ((x, y, width, height),) = boxes(extent_svg([7, 46, 7, 46]))

    assert min(width, height) >= 5
    assert (x + width / 2, y + height / 2) == pytest.approx((187, 44))


def test_a_box_with_heights_is_taken_without() -> None:
    assert boxes(extent_svg([10, 20, 0, 40, 50, 99])) == [(190, 40, 30, 30)]


def test_nothing_is_drawn_of_a_dataset_without_extent() -> None:
    assert boxes(extent_svg(None)) == []


longitudes, latitudes = st.floats(-180, 180), st.floats(-90, 90)


@given(longitudes, longitudes, latitudes, latitudes)
def test_boxes_lie_on_the_world(west: float, east: float, a: float, b: float) -> None:
    found = boxes(extent_svg([west, min(a, b), east, max(a, b)]))

    assert len(found) in (1, 2)
    for x, y, width, height in found:
        assert x >= 0
        assert y >= 0
        assert x + width <= 360.01
        assert y + height <= 180.01
    width = east - west if west <= east else east - west + 360
    assert sum(box[2] for box in found) == pytest.approx(max(width, 7), abs=0.1)


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(seconds=-20), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59, seconds=20), "59 minutes ago"),
        (timedelta(hours=3), "3 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=65), "2 months ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(days=-65), "in 2 months"),
    ],
)
def test_ages_are_in_words(ago: timedelta, said: str) -> None:
    assert age(NOW - ago, NOW) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0"),
        (12_345, "12,345"),
        (1_234_567, "1.23 million"),
        (45_600_000_000, "45.6 billion"),
        (2 * 10**12, "2 trillion"),
    ],
)
def test_large_numbers_are_read_at_a_glance(count: int, said: str) -> None:
    assert human(count) == said


def catalogued(**fields: Any) -> Dataset:
    document = {"type": "Collection", "id": "a b", "links": [], "extent": {}, **fields}
    return Dataset("catalogued", "a b", "", None, 1, document, {"synced_from": None})


def test_a_collection_that_says_nothing_is_listed() -> None:
    entry = entry_of(catalogued(), SERVERS, ROOT, NOW)

    assert (entry.kind, entry.size, entry.age) == ("catalogued collection", "1 item", "unknown")
    assert {link.text: link.href for link in entry.links} == {
        "STAC collection": f"{ROOT}/stac/collections/a%20b",
        "STAC items": f"{ROOT}/stac/collections/a%20b/items",
    }


def test_addresses_of_others_that_a_browser_would_run_are_no_links() -> None:
    evil = {"href": "javascript:alert(1)", "type": "image/tiff", "roles": ["thumbnail"]}
    link = {"rel": "alternate", "href": "javascript:alert(2)", "type": "text/html", "title": "Map"}

    entry = entry_of(catalogued(assets={"a": evil}, links=[link]), SERVERS, ROOT, NOW)

    assert entry.thumbnail is None
    assert not [one for one in (*entry.links, *entry.downloads) if "javascript" in one.href]


def test_files_in_storage_are_downloads() -> None:
    file = {"href": "file:///blobs/silver/a%20b.tif", "type": "image/tiff", "file:size": 1_500_000}

    entry = entry_of(catalogued(assets={"archive": file}), SERVERS, ROOT, NOW)

    (download,) = entry.downloads
    assert (download.text, download.href) == (
        "archive (1.5 MB)",
        f"{ROOT}/files/silver/a%20b.tif",
    )
