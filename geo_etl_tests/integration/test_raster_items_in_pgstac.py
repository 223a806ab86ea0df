"""Items and collections of rasters in a real pgSTAC: given back as written, and found."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.catalog.raster_collections import (
    CollectionFacts,
    open_raster_collection,
    raster_collection,
)
from geo_etl.catalog.rasters import RasterItemFacts, raster_item
from geo_etl.resources import pgstac
from geo_etl_tests.independent_grids import CUSTOM, FIJI, MARS, NORTH, UTM
from geo_etl_tests.raster_facts import CREATED, item_facts, made

ITEMS = {
    "single": item_facts(made(), made("archive", UTM), made("visualization")),
    "tile": item_facts(tile=(3, 4)),
    "across_180": item_facts(made(grid=FIJI)),
    "pole": item_facts(made(grid=NORTH)),
    "mars": item_facts(made(grid=MARS)),
    "custom_crs": item_facts(made(grid=CUSTOM), made("visualization")),
}


@pytest.fixture
def connection(engine: sa.Engine, unique: str) -> Iterator[sa.Connection]:
    """A transaction with a collection of the test's own, taken back at the end."""
    with engine.connect() as connection, connection.begin() as transaction:
        pgstac.ensure_collection(connection, open_raster_collection(unique))
        yield connection
        transaction.rollback()


def in_collection(facts: RasterItemFacts, collection: str, item_id: str = "dem") -> dict[str, Any]:
    return raster_item(replace(facts, collection_id=collection, item_id=item_id))


def found(connection: sa.Connection, collection: str, bbox: list[float]) -> list[str]:
    """Ids of the items that a search of STAC finds in a box."""
    connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
    query = json.dumps({"collections": [collection], "bbox": bbox})
    answer = connection.execute(
        sa.text("SELECT pgstac.search(CAST(:query AS jsonb))"), {"query": query}
    ).scalar_one()
    return [feature["id"] for feature in answer["features"]]


@pytest.mark.parametrize("name", ITEMS)
def test_an_item_reads_back_as_written(connection: sa.Connection, unique: str, name: str) -> None:
    item = in_collection(ITEMS[name], unique)

    pgstac.upsert_item(connection, item)

    held = pgstac.get_item(connection, unique, "dem")
    assert held is not None
    assert {key: held[key] for key in item} == item


def test_an_item_reads_back_from_a_collection_that_describes_its_assets(
    connection: sa.Connection, unique: str
) -> None:
    whole = in_collection(ITEMS["single"], unique, "whole")
    part = in_collection(ITEMS["tile"], unique, "part")
    set_id = f"{unique}_set"
    collection = raster_collection(
        CollectionFacts(set_id, "bronze/x", [whole, part], "ab", CREATED)
    )
    pgstac.ensure_collection(connection, collection)

    for item in (whole, part):
        pgstac.upsert_item(connection, {**item, "collection": set_id})

    held = pgstac.get_item(connection, set_id, "part")
    assert held is not None
    assert held["assets"] == part["assets"]


@pytest.mark.parametrize("west", [177.0, -179.0], ids=["west of it", "east of it"])
def test_an_item_across_the_antimeridian_is_found_on_either_side(
    connection: sa.Connection, unique: str, west: float
) -> None:
    pgstac.upsert_item(connection, in_collection(ITEMS["across_180"], unique))
    assert found(connection, unique, [west, -18.0, west + 1, -17.0]) == ["dem"]


def test_an_item_across_the_antimeridian_is_not_found_elsewhere(
    connection: sa.Connection, unique: str
) -> None:
    pgstac.upsert_item(connection, in_collection(ITEMS["across_180"], unique))
    assert found(connection, unique, [-170.0, -18.0, 170.0, -17.0]) == []


@pytest.mark.parametrize("longitude", [-170.0, -50.0, 0.0, 90.0, 179.0])
def test_an_item_round_the_pole_is_found_at_every_longitude(
    connection: sa.Connection, unique: str, longitude: float
) -> None:
    pgstac.upsert_item(connection, in_collection(ITEMS["pole"], unique))
    assert found(connection, unique, [longitude, 89.0, longitude + 0.5, 89.5]) == ["dem"]


def test_an_item_round_the_pole_is_not_found_further_south(
    connection: sa.Connection, unique: str
) -> None:
    pgstac.upsert_item(connection, in_collection(ITEMS["pole"], unique))
    assert found(connection, unique, [-180.0, 0.0, 180.0, 87.0]) == []
