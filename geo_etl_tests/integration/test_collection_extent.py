"""A collection's extent is that of its items, whatever becomes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.assets.vector import catalogue_version, uncatalogue_version
from geo_etl.resources import pgstac
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.resources.stac_extents import refresh_extent
from geo_etl.resources.stac_items import delete_items, write_items
from geo_etl.vector.history import rollback, unpublish
from geo_etl.vector.versions import Target
from geo_etl_tests.integration.raster_publishing import Site, manifest
from geo_etl_tests.integration.stac_writing import Document, item, open_collection
from geo_etl_tests.raster_facts import CREATED

WORLD = [-180.0, -90.0, 180.0, 90.0]
Box = list[float]


@pytest.fixture
def collection(engine: sa.Engine, unique: str) -> str:
    open_collection(engine, unique)
    return unique


def extent(engine: sa.Engine, name: str) -> tuple[Box, list[str | None]]:
    """Box and interval that the collection tells."""
    with engine.connect() as connection:
        document = pgstac.get_collection(connection, name)
    assert document is not None
    (box,), (interval,) = (
        document["extent"]["spatial"]["bbox"],
        document["extent"]["temporal"]["interval"],
    )
    return box, interval


def polygon(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def placed(name: str, number: int, box: Box, **properties: Any) -> Document:
    """An item that fills a box; one across the antimeridian in two parts."""
    west, south, east, north = box
    geometry: Document = {"type": "Polygon", "coordinates": polygon(*box)}
    if west > east:
        parts = [polygon(west, south, 180, north), polygon(-180, south, east, north)]
        geometry = {"type": "MultiPolygon", "coordinates": parts}
    return {**item(name, number, **properties), "geometry": geometry, "bbox": box}


def shown(engine: sa.Engine, name: str, *items: Document) -> Box:
    """The box of a collection of these items."""
    with engine.begin() as connection:
        write_items(connection, name, items)
        refresh_extent(connection, name)
    return extent(engine, name)[0]


BOXES = {
    "one": ([[5, 50, 6, 51]], [5, 50, 6, 51]),
    "two": ([[5, 50, 6, 51], [-3, 40, 5, 41]], [-3, 40, 6, 51]),
    "one across the antimeridian": ([[170, -20, -175, -10]], [170, -20, -175, -10]),
    "on both sides of it": ([[170, -20, 175, -10], [-179, -15, -170, -5]], [170, -20, -170, -5]),
    "across it and beside it": ([[170, 0, -175, 1], [160, 0, 161, 1]], [160, 0, -175, 1]),
    "half the Earth and the other": ([[-100, 0, 95, 1], [90, 0, -90, 1]], [-180, 0, 180, 1]),
    "more than half of the Earth": ([[-120, 0, 110, 1]], [-120, 0, 110, 1]),
    "a narrow gap": ([[10.2, 0, 10.1, 1], [10.11, 0, 10.19, 1]], [10.2, 0, 10.19, 1]),
    "the world": ([WORLD, [5, 50, 6, 51]], WORLD),
}


@pytest.mark.parametrize(("boxes", "expected"), BOXES.values(), ids=BOXES)
def test_the_box_holds_all_items_and_little_else(
    engine: sa.Engine, collection: str, boxes: list[Box], expected: Box
) -> None:
    items = [placed(collection, number, box) for number, box in enumerate(boxes)]
    assert shown(engine, collection, *items) == expected


def test_an_item_without_a_box_has_that_of_its_parts(engine: sa.Engine, collection: str) -> None:
    across = placed(collection, 0, [170, -20, -175, -10])
    del across["bbox"]
    assert shown(engine, collection, across) == [170, -20, -175, -10]


def test_heights_do_not_count(engine: sa.Engine, collection: str) -> None:
    across = placed(collection, 0, [170, -20, -175, -10])
    across["bbox"] = [170, -20, 300, -175, -10, 900]
    assert shown(engine, collection, across) == [170, -20, -175, -10]


def test_the_interval_is_from_the_first_start_to_the_last_end(
    engine: sa.Engine, collection: str
) -> None:
    period = {"start_datetime": "2019-03-01T00:00:00Z", "end_datetime": "2022-05-01T02:00:00+02:00"}
    shown(engine, collection, item(collection, 0, **period), item(collection, 1, month=1))
    assert extent(engine, collection)[1] == ["2019-03-01T00:00:00Z", "2022-05-01T00:00:00Z"]


def test_without_items_it_is_the_world_at_any_time(engine: sa.Engine, collection: str) -> None:
    shown(engine, collection, item(collection, 0))
    with engine.begin() as connection:
        delete_items(connection, collection, ["item-0"])
        refresh_extent(connection, collection)
    assert extent(engine, collection) == (WORLD, [None, None])


def test_what_else_the_extent_says_stays(engine: sa.Engine, unique: str) -> None:
    said = {
        "spatial": {"bbox": [WORLD], "note": "rough"},
        "temporal": {"interval": [[None, None]]},
        "vertical": {"top": 1},
    }
    open_collection(engine, unique, extent=said)
    shown(engine, unique, placed(unique, 0, [5, 50, 6, 51]))
    with engine.connect() as connection:
        document = pgstac.get_collection(connection, unique)
    assert document is not None
    assert document["extent"]["vertical"] == {"top": 1}
    assert document["extent"]["spatial"] == {"bbox": [[5, 50, 6, 51]], "note": "rough"}


def test_an_extent_that_is_right_is_not_written(engine: sa.Engine, collection: str) -> None:
    writer = sa.text("SELECT CAST(xmin AS text) FROM pgstac.collections WHERE id = :id")
    shown(engine, collection, item(collection, 0), item(collection, 1))
    with engine.connect() as connection:
        before = connection.execute(writer, {"id": collection}).scalar_one()
    shown(engine, collection, item(collection, 1, title="inside"))
    with engine.connect() as connection:
        assert connection.execute(writer, {"id": collection}).scalar_one() == before


def test_it_follows_rasters_that_are_published_and_unpublished(
    engine: sa.Engine, stack: Any, unique: str
) -> None:
    site = Site(engine, LocalBlobs(stack.home / "blobs"))
    when = CREATED.isoformat().replace("+00:00", "Z")
    for name, content in (("a", "one"), ("b", "one")):
        site.ingest(manifest(f"{unique}/{name}", content, source=f"bronze/{unique}/{name}.tif"))
    assert extent(engine, unique) == ([5.0, 50.0, 5.0, 50.0], [when, when])
    with engine.begin() as connection:  # as an earlier release left it
        connection.execute(
            sa.text(
                "UPDATE pgstac.collections SET content = jsonb_set(content,"
                " '{extent,spatial,bbox}', CAST(:box AS jsonb)) WHERE id = :id"
            ),
            {"box": json.dumps([WORLD]), "id": unique},
        )
    site.rasters.unpublish(f"{unique}/a")
    assert extent(engine, unique) == ([5.0, 50.0, 5.0, 50.0], [when, when])
    site.rasters.unpublish(f"{unique}/b")
    assert extent(engine, unique) == (WORLD, [None, None])


def points(path: Path, *places: tuple[float, float]) -> Path:
    features = [
        {
            "type": "Feature",
            "properties": {"n": n},
            "geometry": {"type": "Point", "coordinates": xy},
        }
        for n, xy in enumerate(places)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_it_follows_tables_that_are_published_rolled_back_and_unpublished(
    engine: sa.Engine, ingest: Any, tmp_path: Path, unique: str
) -> None:
    spec = {"collection_id": unique, "metadata": {"datetime": "2021-06-01T00:00:00Z"}}
    file = tmp_path / "points.geojson"
    ingest(points(file, (5.0, 50.0), (6.0, 51.0)), **spec)
    assert extent(engine, unique) == (
        [5.0, 50.0, 6.0, 51.0],
        ["2021-06-01T00:00:00Z", "2021-06-01T00:00:00Z"],
    )
    ingest(points(file, (5.0, 50.0), (9.0, 55.0)), **spec)
    assert extent(engine, unique)[0] == [5.0, 50.0, 9.0, 55.0]
    table = Target("geo", unique)
    rollback(engine, table, None, catalogue_version)
    assert extent(engine, unique)[0] == [5.0, 50.0, 6.0, 51.0]
    unpublish(engine, table, uncatalogue_version)
    assert extent(engine, unique) == (WORLD, [None, None])
