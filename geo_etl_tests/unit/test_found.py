"""What a search found, outside its catalogue."""

import json
from typing import Any

import pytest

from geo_etl.catalog.found import feature_collection, lone_item, row_of, servers_of
from geo_etl.catalog.served import Servers

ROOT = "http://host"
STAC = f"{ROOT}/stac"


@pytest.fixture
def item() -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "a b",
        "collection": "c#",
        "bbox": [1.0, 2.123456, 3.0, 4.0],
        "properties": {"datetime": "2024-01-01T00:00:00Z", "title": "T"},
        "links": [
            {"rel": "collection", "href": "../../c"},
            {"rel": "license", "href": "https://example.com/license"},
        ],
        "assets": {"data": {"href": "file:///blobs/silver/x.tif"}},
    }


def servers() -> Servers:
    found = servers_of(STAC, f"{ROOT}/features", f"{ROOT}/tiles", "file:///blobs")
    assert found is not None
    return found


def test_links_are_absolute_where_servers_run(item: dict[str, Any]) -> None:
    found = lone_item(item, STAC, servers())

    links = {link["rel"]: link["href"] for link in found["links"]}
    assert links["self"] == f"{STAC}/collections/c%23/items/a%20b"
    assert links["collection"] == links["parent"] == f"{STAC}/collections/c%23"
    assert links["root"] == f"{STAC}/"
    assert links["license"] == "https://example.com/license"
    assert found["assets"]["data"]["href"] == f"{ROOT}/files/silver/x.tif"


def test_without_servers_an_item_is_as_it_is_stored_but_for_relative_links(
    item: dict[str, Any],
) -> None:
    found = lone_item(item, None, None)

    assert [link["rel"] for link in found["links"]] == ["license"]
    assert {**found, "links": item["links"]} == item


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_servers_are_known_only_together(lacking: int) -> None:
    roots: list[str | None] = [STAC, f"{ROOT}/features", f"{ROOT}/tiles"]
    roots[lacking] = None

    assert servers_of(*roots, "file:///blobs") is None


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_feature_collection_is_one_document(item: dict[str, Any], count: int) -> None:
    items = [{**item, "id": f"\udcff{number}"} for number in range(count)]

    text = "".join(feature_collection(iter(items), 7))

    document = json.loads(text.encode())
    assert document["features"] == items
    assert (document["numberMatched"], document["numberReturned"]) == (7, count)


def test_a_row_has_the_item_in_short(item: dict[str, Any]) -> None:
    assert row_of(item) == ("a b", "c#", "2024-01-01T00:00:00Z", "1, 2.12346, 3, 4", "T")


def test_a_row_of_an_item_without_box_and_title_is_empty_there(item: dict[str, Any]) -> None:
    bare = {**item, "bbox": None, "properties": {"datetime": None}}

    assert row_of(bare) == ("a b", "c#", "", "", "")
