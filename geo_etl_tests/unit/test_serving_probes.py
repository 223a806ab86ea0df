"""What of a table or a set is asked for, and when answers belong together."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.assets.serving_probes import probe_stac, spread, undisturbed
from geo_etl.assets.table_serving import TableServed, probe_table
from geo_etl.resources.answers import asker
from geo_etl.resources.probes import Prober
from geo_etl_tests.servers import Reply, Scripted, scripted

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
TILE = Reply(b"\x1a\x06\x12\x04\x18\x01\x22\0")


@contextmanager
def asking(*replies: Reply) -> Iterator[tuple[Prober, Scripted]]:
    with scripted(*replies) as server, asker() as asks:
        yield Prober(asks, server.root, server.root, server.root), server


# At one moment


def test_what_is_seen_at_one_version_is_taken() -> None:
    versions = iter([1, 1])

    assert undisturbed(lambda: "seen", lambda: next(versions)) == "seen"


def test_what_another_job_came_into_is_looked_at_again() -> None:
    seen, versions = iter(["half", "whole"]), iter([1, 2, 2, 2])

    assert undisturbed(lambda: next(seen), lambda: next(versions)) == "whole"


def test_endless_publishing_ends_the_looking() -> None:
    versions, looks = iter(range(100)), iter("abcdef")

    assert undisturbed(lambda: next(looks), lambda: next(versions)) == "c"


# Some of many


@given(count=st.integers(0, 20_000), most=st.integers(2, 10))
def test_the_first_and_the_last_are_looked_at(count: int, most: int) -> None:
    places = spread(count, most)

    assert len(places) == min(count, most)
    assert places == sorted(set(places))
    assert places[:1] == [0][:count]
    assert places[-1:] == [count - 1][:count]


# Tables


def seen(geometry: Any) -> tuple[TableServed, list[str]]:
    first = {"type": "Feature", "geometry": geometry, "properties": {}}
    document = {"type": "FeatureCollection", "features": [first], "numberMatched": 1}
    with asking(Reply(json.dumps(document).encode()), TILE) as (prober, server):
        found = probe_table(prober, "geo.a")
    assert found is not None
    return found, [path for path, _ in server.asked[1:]]


@pytest.mark.parametrize(
    ("geometry", "tile"),
    [
        ({"type": "Point", "coordinates": [5.5, 50.5]}, "WebMercatorQuad/18/135076/88335"),
        ({"type": "LineString", "coordinates": [[0, 1], [10, 1]]}, "WebMercatorQuad/5/16/15"),
        # Of both sides of the world, and of the Pacific, a part.
        (
            {"type": "MultiPoint", "coordinates": [[-170, 0.1], [170, 0.1]]},
            "WebMercatorQuad/18/7281/130999",
        ),
        ({"type": "Point", "coordinates": [0.1, 89]}, "WGS1984Quad/17/131144/728"),
    ],
)
def test_a_tile_around_the_first_feature_is_asked_for(geometry: Any, tile: str) -> None:
    found, asked = seen(geometry)

    assert asked == [f"/collections/geo.a/tiles/{tile}"]
    assert found.tile is not None
    assert found.tile.problem is None


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        3,
        {"type": "Blob"},
        {"type": "Point", "coordinates": []},
        {"type": "Point", "coordinates": "x"},
        {"type": "MultiPolygon", "coordinates": []},
        {"coordinates": [0, 0]},
    ],
)
def test_what_is_nowhere_has_no_tile(geometry: Any) -> None:
    found, asked = seen(geometry)

    assert (found.geometry, found.tile, asked) == (None, None, [])


def test_maps_end_at_180_degrees() -> None:
    found, asked = seen({"type": "Point", "coordinates": [190, 0]})

    assert found.geometry is not None
    assert asked == []


# Items and files


def test_only_cogs_are_opened() -> None:
    assets = {
        "analysis": {"href": "file:///silver/a.tif", "type": COG},
        "source": {"href": "file:///bronze/a.tif", "type": "image/tiff"},
    }
    item = {"id": "a", "collection": "c", "assets": assets}
    with scripted(Reply()) as server, asker() as asks:
        served = {key: {**one, "href": f"{server.root}/{key}"} for key, one in assets.items()}
        document = Reply(json.dumps({**item, "assets": served}).encode())
        server.replies[:] = [document, Reply(b"II*\0", 206, "image/tiff")]
        found = probe_stac(Prober(asks, None, server.root, None), [item], 9)
        assert server.asked == [("/collections/c/items/a", None), ("/analysis", "bytes=0-3")]
    assert found is not None
    assert [probe.problem for probe in found.files] == [None]
    assert (found.published, found.collection) == (9, None)


def test_a_set_is_asked_for_with_its_collection() -> None:
    collection = {"id": "c d", "type": "Collection"}
    with asking(Reply(json.dumps(collection).encode())) as (prober, server):
        found = probe_stac(prober, [], 0, collection)
        assert server.asked == [("/collections/c%20d", None)]
    assert found is not None
    assert found.collection is not None
    assert found.collection[1].document == collection
