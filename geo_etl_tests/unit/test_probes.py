"""What is asked of servers, and what is wrong with an answer in itself."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geo_etl.catalog.tiles import TileAddress
from geo_etl.resources import answers
from geo_etl.resources.answers import Answer, asker
from geo_etl.resources.probes import PictureProbe, Probe, Prober
from geo_etl_tests.servers import Reply, Scripted, scripted

BOX, POINT = (5.0, 50.0, 6.0, 51.0), (5.5, 50.5)
TILE = TileAddress("WebMercatorQuad", 3, 4, 2)
ITEM = {"type": "Feature", "id": "a", "properties": {}, "assets": {"cog": {"href": "x"}}}
FULL, NONE = b"\x1a\x06\x12\x04\x18\x01\x22\0", b"\x1a\x02\x78\x02"
"""Vector tiles with a feature, and with a layer that has none."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "RETRY_SECONDS", ())


@contextmanager
def asking(*replies: Reply) -> Iterator[tuple[Prober, Scripted]]:
    with scripted(*replies) as server, asker() as asks:
        root = server.root
        yield Prober(asks, f"{root}/features", f"{root}/stac", f"{root}/tiles"), server


def png(alpha: int | None, size: int = 8) -> bytes:
    bands = [Image.new("L", (size, size), 40)] * 3
    bands += [] if alpha is None else [Image.new("L", (size, size), alpha)]
    out = io.BytesIO()
    Image.merge("RGB" if alpha is None else "RGBA", bands).save(out, "PNG")
    return out.getvalue()


def features(*found: Any, **changes: Any) -> Reply:
    document = {"type": "FeatureCollection", "features": list(found), "numberMatched": 7}
    return Reply(json.dumps({**document, **changes}).encode())


def test_a_table_has_a_first_feature_and_a_count() -> None:
    first = {"type": "Feature", "geometry": None}
    with asking(features(first)) as (prober, server):
        probe = prober.table("geo.höhe #1")
        assert server.asked[0][0] == (
            "/features/collections/geo.h%C3%B6he%20%231/items?limit=1&f=geojson"
        )
    assert probe is not None
    assert (probe.problem, probe.matched, probe.first) == (None, 7, first)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>hello</html>", content_type="text/html"),
        Reply(b"[]"),
        Reply(b"null"),
        Reply(b'{"features": []}'),
        features(numberMatched=None),
        features(features=3),
        features("x"),
        features(3),
    ],
)
def test_garbage_is_no_feature_collection(reply: Reply) -> None:
    with asking(reply) as (prober, _):
        probe = prober.table("geo.a")
    assert probe is not None
    assert probe.problem == "the answer is no GeoJSON feature collection"
    assert "/collections/geo.a/items?limit=1&f=geojson gave HTTP 200 " in probe.told
    assert probe.answer.text in probe.told


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (FULL, None),
        (NONE, "the tile is empty"),
        (b"", "the tile is empty"),
        (b"<html>", "the answer is no vector tile: a field of it is of kind 4"),
    ],
)
def test_a_vector_tile_has_features(body: bytes, problem: str | None) -> None:
    with asking(Reply(body, content_type="application/vnd.mapbox-vector-tile")) as (prober, server):
        probe = prober.table_tile("geo.a", BOX, POINT)
        assert server.asked[0][0] == "/features/collections/geo.a/tiles/WebMercatorQuad/8/131/86"
    assert probe is not None
    assert probe.problem == problem


def test_a_point_is_looked_at_from_some_height() -> None:
    with asking(Reply(FULL)) as (prober, server):
        prober.table_tile("geo.a", (*POINT, *POINT), POINT)
        assert "/tiles/WebMercatorQuad/18/" in server.asked[0][0]


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(png(255)), None),
        (Reply(png(None)), None),
        (Reply(png(0)), "the tile is empty"),
        (Reply(b"", 204), "the tile is empty"),
        (Reply(b"GIF89a", content_type="image/gif"), "the answer is no PNG image"),
        (Reply(png(255)[:20]), "the answer is no PNG image"),
        (Reply(b"no such file", 500, "text/plain"), "HTTP 500 text/plain: no such file"),
    ],
)
def test_a_picture_has_something_on_it(reply: Reply, problem: str | None) -> None:
    with asking(reply) as (prober, server):
        probe = prober.picture("collections/c/items/i", "assets=a", TILE)
        assert server.asked[0][0] == (
            "/tiles/collections/c/items/i/tiles/WebMercatorQuad/3/4/2.png?assets=a"
        )
    assert probe is not None
    assert probe.problem == problem


def test_what_is_empty_is_looked_at_from_nearer() -> None:
    with asking(Reply(b"", 204), Reply(png(0)), Reply(png(9))) as (prober, server):
        probe = prober.picture_near("searches/s", "assets=a", BOX, POINT)
        zooms = [path.split("/")[6] for path, _ in server.asked]
    assert probe is not None
    assert probe.problem is None
    assert zooms == ["8", "11", "14"]


def picture(pixels: Any) -> PictureProbe:
    return PictureProbe(Answer("http://h/"), None, np.array(pixels, "uint8").reshape(-1, 1, 2))


def test_pictures_are_the_same_where_they_are_visible() -> None:
    one = picture([[1, 2], [3, 4], [5, 6], [255, 0]])
    assert one.shows_the_same(picture([[1, 9], [3, 9], [5, 9], [255, 0]]))
    assert not one.shows_the_same(picture([[1, 2], [3, 4], [5, 7], [255, 255]]))
    assert not one.shows_the_same(picture([[1, 2], [3, 4], [5, 6]]))
    assert not one.shows_the_same(PictureProbe(Answer("http://h/"), "the tile is empty"))
    assert picture([[7, 8], [9, 0]]).shows_the_same(picture([[7, 1], [9, 0]]))


def test_a_document_is_read() -> None:
    with asking(Reply(json.dumps(ITEM).encode())) as (prober, server):
        item, collection = prober.item("a/b", "ü"), prober.collection("a/b")
        assert [path for path, _ in server.asked] == [
            "/stac/collections/a%2Fb/items/%C3%BC",
            "/stac/collections/a%2Fb",
        ]
    assert item is not None
    assert collection is not None
    assert (item.problem, item.document, collection.document) == (None, ITEM, ITEM)


@pytest.mark.parametrize(
    "document", [[], "x", None, {"properties": 3}, {"assets": []}, {"assets": {"a": 3}}]
)
def test_garbage_is_no_document(document: Any) -> None:
    with asking(Reply(json.dumps(document).encode())) as (prober, _):
        probe = prober.item("c", "i")
    assert probe is not None
    assert (probe.problem, probe.document) == ("the answer is no STAC document", None)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(b"II*\0", 206, "image/tiff"), None),
        (Reply(b"MM\0+", 206, "image/tiff"), None),
        (Reply(b"<htm", 206, "text/html"), "the file is no TIFF"),
        (Reply(b"", 206), "the file is no TIFF"),
        (
            Reply(b"II*\0" + b"x" * 9999, content_type="image/tiff"),
            "the whole file comes where a range of its bytes was asked for",
        ),
        (Reply(b"gone", 404, "text/plain"), "HTTP 404 text/plain: gone"),
    ],
)
def test_a_file_is_opened_by_its_first_bytes(reply: Reply, problem: str | None) -> None:
    with asking(reply) as (prober, server):
        probe = prober.file(f"{server.root}/files/a.tif")
        assert server.asked == [("/files/a.tif", "bytes=0-3")]
    assert probe.problem == problem


def test_an_address_in_storage_is_none_that_a_client_can_use() -> None:
    with asking(Reply()) as (prober, _):
        probe = prober.file("file:///silver/a.tif")
    assert probe.told == "no answer (it is no HTTP address) (file:///silver/a.tif)"


def test_without_servers_nothing_is_asked() -> None:
    with asker() as asks:
        prober = Prober(asks, None, None, None)
        assert prober.table("geo.a") is None
        assert prober.table_tile("geo.a", BOX, POINT) is None
        assert prober.picture_near("searches/s", "", BOX, POINT) is None
        assert prober.item("c", "i") is None
        assert prober.collection("c") is None


def test_a_failure_is_told_once_with_its_address() -> None:
    broken = Answer("http://h/x", 500, "text/plain", b"boom")
    silent = Answer("http://h/x", fault="Connection refused")
    assert Probe(broken, str(broken)).told == "HTTP 500 text/plain: boom (http://h/x)"
    assert Probe(silent, str(silent)).told == "no answer (Connection refused) (http://h/x)"
    wrong = Answer("http://h/x", 200, "application/json", b"{}")
    assert Probe(wrong, "it is odd").told == (
        "it is odd (http://h/x gave HTTP 200 application/json: {})"
    )
