"""`geo-etl search` as a person uses it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.catalog.vectors import vector_collection
from geo_etl_tests.e2e.conftest import Said


@pytest.fixture
def catalogue(engine: sa.Engine, unique: str) -> str:
    """A collection with an item at each of ten longitudes."""
    items = [
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": f"at{west}",
            "collection": unique,
            "geometry": {"type": "Point", "coordinates": [west, 10]},
            "bbox": [west, 10, west, 10],
            "properties": {"datetime": "2024-05-01T12:00:00Z", "title": f"[{west}]", "gsd": west},
            "links": [],
            "assets": {"data": {"href": f"https://example.com/{west}.tif"}},
        }
        for west in range(-50, 50, 10)
    ]
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
        for function, document in (
            ("create_collection", vector_collection(unique)),
            ("create_items", items),
        ):
            connection.execute(
                sa.text(f"SELECT pgstac.{function}(CAST(:content AS jsonb))"),
                {"content": json.dumps(document)},
            )
    return unique


def test_a_search_is_shown_as_a_table(geo_etl: Callable[..., Said], catalogue: str) -> None:
    said = geo_etl(
        *("search", "--collection", catalogue, "--bbox", "-25", "-90", "25", "90"),
        *("--datetime", "2024-05-01", "--filter", "gsd >= -10", "--sort", "-gsd", "--limit", "3"),
    )

    assert said.code == 0, said.err
    head, *rows = [line.split() for line in said.out.splitlines()]
    assert head == ["id", "collection", "datetime", "bbox", "title"]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("at20", catalogue, "[20]"),
        ("at10", catalogue, "[10]"),
        ("at0", catalogue, "[0]"),
    ]
    assert "3 of 4 items" in said.err


def test_geojson_is_all_that_is_on_stdout(geo_etl: Callable[..., Said], catalogue: str) -> None:
    servers: dict[str, Any] = {
        f"GEO_ETL_{name}_URL": f"http://host/{name.lower()}"
        for name in ("STAC", "FEATURES", "TILES")
    }
    said = geo_etl(
        "search", "--bbox", "-25,-90,25,90", "--collection", catalogue, "--geojson", **servers
    )

    assert said.code == 0, said.err
    assert (said.json["numberMatched"], said.json["numberReturned"]) == (5, 5)
    found = {item["id"]: item for item in said.json["features"]}
    assert set(found) == {"at-20", "at-10", "at0", "at10", "at20"}
    links = {link["rel"]: link["href"] for link in found["at0"]["links"]}
    assert links["self"] == f"http://host/stac/collections/{catalogue}/items/at0"


def test_a_bad_search_is_bad_use(geo_etl: Callable[..., Said], catalogue: str) -> None:
    said = geo_etl("search", "--collection", catalogue, "--filter", "gsdd < 1")

    assert said.code == 2
    assert said.out == ""
    assert "property 'gsdd'" in said.err
    assert "geo_etl:data_kind" in said.err
    assert "Traceback" not in said.err
