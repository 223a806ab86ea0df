"""Links from STAC documents to servers, and documents as clients get them."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from geo_etl.catalog.links import linked
from geo_etl.catalog.served import Servers, served_collection, served_item
from geo_etl.catalog.validate import validate
from geo_etl.catalog.vectors import vector_collection, vector_item
from geo_etl.errors import CatalogueError
from geo_etl_tests.raster_facts import item_facts
from geo_etl_tests.unit.test_raster_items import collection
from geo_etl_tests.unit.test_raster_items import item as raster
from geo_etl_tests.unit.test_vector_items import FACTS
from geo_etl_tests.unit.test_vector_items import item as table

SERVERS = Servers(
    features="https://a.example/features",
    tiles="https://a.example/tiles",
    files="https://a.example/files",
    storage="file:///blobs",
)


def hrefs(document: dict[str, Any]) -> dict[tuple[str, str | None], str]:
    """Addresses by relation and title."""
    found = {(link["rel"], link.get("title")): link["href"] for link in document["links"]}
    assert len(found) == len(document["links"])
    return found


def test_a_table_is_linked_to_features_a_map_and_tiles() -> None:
    about = "http://localhost/features/collections/geo.h%C3%B6he"
    found = hrefs(table(table="geo.höhe"))
    assert found["alternate", "Features"] == f"{about}/items"
    assert found["alternate", "Map"] == f"{about}/viewer.html"
    assert found["tilejson", "Vector tiles"] == f"{about}/tiles/WebMercatorQuad/tilejson.json"


def test_a_collection_with_one_look_is_linked_to_its_tiles() -> None:
    found = hrefs(collection(raster("tile"), tiles_url="http://localhost/tiles"))
    assert found["xyz", "Raster tiles"].startswith("http://localhost/tiles/collections/heights/")


def test_serving_replaces_the_links_of_another_address() -> None:
    never, elsewhere = served_item(table(features_url=None), SERVERS), served_item(table(), SERVERS)
    assert elsewhere == never
    assert all(href.startswith(("https://a.example/", "../")) for href in hrefs(never).values())
    assert never["assets"]["features"]["href"].startswith("https://a.example/features/")


def test_links_of_others_are_left() -> None:
    theirs = {"rel": "alternate", "href": "https://b.example/", "title": "Somebody's"}
    stored = table()
    stored["links"].append(theirs)
    assert theirs in served_item(stored, SERVERS)["links"]


@pytest.mark.parametrize(
    "document",
    [
        linked(table(), "http://localhost/features", None),
        linked(raster("tile"), None, "http://localhost/tiles"),
        linked(raster("mars"), None, "http://localhost/tiles"),
        linked(collection(raster("tile")), None, "http://localhost/tiles"),
    ],
)
def test_web_map_links_are_declared_where_there_are_some(document: dict[str, Any]) -> None:
    has_some = any(link["rel"] in ("tilejson", "xyz") for link in document["links"])
    declared = [uri for uri in document["stac_extensions"] if "web-map-links" in uri]
    assert len(declared) == has_some
    validate(document)


@pytest.mark.parametrize(
    ("rel", "changed"),
    [
        ("xyz", {"href": "http://localhost/{z}/{x}.png"}),
        ("xyz", {"href": "http://localhost/{z}/{x}/{y}{r}.png"}),
        ("xyz", {"type": "application/json"}),
        ("tilejson", {"type": "text/html"}),
    ],
)
def test_a_wrong_web_map_link_is_refused(rel: str, changed: dict[str, str]) -> None:
    document = raster("tile")
    document["links"] = [
        {**link, **changed} if link["rel"] == rel else link for link in document["links"]
    ]
    with pytest.raises(CatalogueError, match="web-map-links"):
        validate(document)


def test_the_template_of_tiles_has_no_braces_but_its_places() -> None:
    classes = {"renders": {"default": {"assets": ["analysis"], "colormap": {"1": [0, 0, 0, 255]}}}}
    stored = raster("tile")
    stored["properties"].update(classes)
    template = hrefs(served_item(stored, SERVERS))["xyz", "Raster tiles"]
    filled = template.format(z=1, x=2, y=3)
    assert "/1/2/3.png?" in filled
    assert dict(parse_qsl(urlsplit(filled).query))["colormap"] == '{"1":[0,0,0,255]}'


def test_blobs_are_served_over_http_and_other_addresses_as_they_are() -> None:
    stored = table(report_url="file:///blobs/silver/a%20b.html", geoparquet=["https://b.example/p"])
    assets = served_item(stored, SERVERS)["assets"]
    assert assets["quality_report"]["href"] == "https://a.example/files/silver/a%20b.html"
    assert assets["geoparquet"]["href"] == "https://b.example/p"


def test_a_storage_whose_name_begins_alike_is_not_served() -> None:
    stored = table(report_url="file:///blobs2/report.html")
    assets = served_item(stored, SERVERS)["assets"]
    assert assets["quality_report"]["href"] == "file:///blobs2/report.html"


@pytest.mark.parametrize("name", ["a b", "höhe", "50%", "what?", "x.y"])
def test_ids_are_percent_encoded_in_links_between_documents(name: str) -> None:
    plain = f"https://a.example/stac/collections/{name}"
    links = [
        {"rel": "self", "href": f"{plain}/items/{name}"},
        {"rel": "parent", "href": plain},
        {"rel": "root", "href": "https://a.example/stac/"},
    ]
    stored = {**vector_item(FACTS), "id": name, "collection": name, "links": links}
    found = {link["rel"]: link["href"] for link in served_item(stored, SERVERS)["links"]}
    of_collection = served_collection({**vector_collection(name), "links": links[1:]}, SERVERS)
    *_, collection_id, _, item_id = found["self"].split("/")
    assert [dict(parse_qsl(f"id={part}"))["id"] for part in (collection_id, item_id)] == [name] * 2
    assert urlsplit(found["self"]).query == ""
    assert found["self"].isascii()
    assert found["parent"] == of_collection["links"][0]["href"] == found["self"].rsplit("/", 2)[0]
    assert found["root"] == "https://a.example/stac/"


@pytest.mark.parametrize("missing", ["links", "assets", "properties", "collection", "id", "type"])
@pytest.mark.parametrize("kind", ["table", "raster"])
def test_an_item_of_which_some_fields_were_asked_for_stays_so(kind: str, missing: str) -> None:
    stored = table() if kind == "table" else raster("tile")
    del stored[missing]
    assert missing not in served_item(stored, SERVERS)


def test_what_is_stored_names_no_server_that_is_not_configured() -> None:
    assert item_facts().tiles_url is not None
    assert {rel for rel, _ in hrefs(raster("nothing beside"))} == {"collection"}
    assert {rel for rel, _ in hrefs(table(features_url=None))} == {"collection"}
