"""The whole catalogue over HTTP, from its root, as any STAC client could walk it."""

import hashlib
from typing import Any

import httpx
import pystac
import pytest
import shapely
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from geo_etl.catalog.validate import validate
from geo_etl_tests.e2e.crawl import Crawl, addresses_in, crawl
from geo_etl_tests.e2e.published import Published


@pytest.fixture(scope="module")
def crawled(published: Published) -> Crawl:
    """The catalogue of what was published."""
    found = crawl(f"{published.root}/stac/", published.collections.values())
    assert set(found.collections) == set(published.collections.values())
    return found


def assets_of(crawled: Crawl, role: str) -> list[dict[str, Any]]:
    """All assets with a role."""
    assets = [a for one in crawled.documents() for a in one.get("assets", {}).values()]
    return [asset for asset in assets if role in asset["roles"]]


def test_every_link_answers(crawled: Crawl) -> None:
    failed = {one.url: (one.found, one.status) for one in crawled.fetched.values()}
    failed = {url: said for url, said in failed.items() if said[1] != 200}
    count = f"{crawled.links} links to {len(crawled.fetched)} addresses, {crawled.pages} pages"
    assert failed == {}, count
    assert crawled.links >= 200, count
    assert len(crawled.fetched) > 100, count


def test_every_answer_is_of_the_type_that_the_link_says(crawled: Crawl) -> None:
    broken = [
        (one.found, one.promised, one.media_type, one.url)
        for one in crawled.fetched.values()
        if not one.keeps_promise
    ]
    assert broken == []


def test_no_link_leaves_the_site_or_is_relative(crawled: Crawl, published: Published) -> None:
    outside = [url for url in crawled.fetched if not url.startswith(f"{published.root}/")]
    assert outside == []
    texts = [repr(document) for document in crawled.documents()]
    assert not any("file://" in text for text in texts)


def test_every_address_is_legal(crawled: Crawl) -> None:
    # RFC 3986: nothing but ASCII, no space.
    assert [url for url in crawled.fetched if not url.isascii() or " " in url] == []


def test_every_document_is_valid(crawled: Crawl) -> None:
    for document in crawled.documents():
        validate(document)


def prefixes(part: Any) -> set[str]:
    """Prefixes of the names of fields, at any depth."""
    if isinstance(part, list):
        return set().union(*map(prefixes, part))
    if not isinstance(part, dict):
        return set()
    own = {key.partition(":")[0] for key in part if ":" in key}
    return own.union(*map(prefixes, part.values()))


def test_every_extension_that_has_a_field_is_declared(crawled: Crawl) -> None:
    names = {"proj": "projection", "geo_etl": ""}  # the project's own fields have no extension
    used: set[str] = set()
    for document in crawled.documents():
        declared = {uri.split("/")[3] for uri in document.get("stac_extensions", [])}
        for prefix in prefixes({**document, "links": []}):
            name = names.get(prefix, prefix)
            assert name in {"", *declared}, (document["id"], prefix)
            used.add(name)
    assert {"file", "processing", "projection", "raster", "table"} <= used


def test_pystac_finds_every_document_valid(crawled: Crawl) -> None:
    for document in crawled.documents():
        core = {**document, "stac_extensions": []}
        checked = JsonSchemaSTACValidator().validate_core(
            core,
            pystac.STACObjectType.ITEM
            if document["type"] == "Feature"
            else pystac.STACObjectType.COLLECTION,
            document["stac_version"],
        )
        assert checked is not None


def test_each_kind_has_what_its_clients_look_for(crawled: Crawl, published: Published) -> None:
    collections = published.collections
    (table,) = [one for one in crawled.items[collections["table"]] if one["id"] == published.table]
    assert {"source", "features", "quality_report", "geoparquet"} <= set(table["assets"])
    (raster,) = [one for one in crawled.items[collections["raster"]] if one["id"].endswith(".b")]
    tiers = {"analysis", "archive", "visualization"}
    assert tiers | {"source", "thumbnail", "quality_report"} == set(raster["assets"])
    assert "mosaic" in crawled.collections[collections["tiles"]]["assets"]
    for of in ("tiles", "members"):
        rels = {link["rel"] for link in crawled.collections[collections[of]]["links"]}
        assert {"tilejson", "xyz", "alternate"} <= rels
        assert len(crawled.items[collections[of]]) > 1


def test_files_have_the_size_and_hash_that_their_assets_say(crawled: Crawl) -> None:
    told = [
        asset
        for document in crawled.documents()
        for asset in document.get("assets", {}).values()
        if "file:size" in asset
    ]
    for asset in told:
        content = httpx.get(asset["href"]).content
        assert len(content) == asset["file:size"], asset["href"]
        if "file:checksum" in asset:
            assert asset["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"
    assert len(told) > 15
    assert sum("file:checksum" in asset for asset in told) > 12


def test_a_source_of_several_blobs_names_each(crawled: Crawl, published: Published) -> None:
    sources = [asset["href"].rpartition("/")[2] for asset in assets_of(crawled, "source")]
    parts = [f"%C3%84rea.{suffix}" for suffix in ("shp", "shx", "dbf", "prj", "cpg")]
    assert set(parts) <= set(sources)


def test_extents_are_those_of_the_items(crawled: Crawl) -> None:
    for name, items in crawled.items.items():
        extent = crawled.collections[name]["extent"]
        (found,) = extent["spatial"]["bbox"]
        boxes = shapely.box(*zip(*(item["bbox"] for item in items), strict=True))
        assert found == pytest.approx(list(shapely.total_bounds(boxes))), name
        times = [item["properties"] for item in items]
        first = min(time.get("start_datetime", time["datetime"]) for time in times)
        last = max(time.get("end_datetime", time["datetime"]) for time in times)
        assert [pystac.utils.str_to_datetime(one) for one in extent["temporal"]["interval"][0]] == [
            pystac.utils.str_to_datetime(first),
            pystac.utils.str_to_datetime(last),
        ], name


def test_summaries_are_those_of_the_items(crawled: Crawl, published: Published) -> None:
    for of in ("tiles", "members"):
        name = published.collections[of]
        summaries, items = crawled.collections[name]["summaries"], crawled.items[name]
        sizes = [item["properties"]["gsd"] for item in items]
        assert summaries["gsd"] == {"minimum": min(sizes), "maximum": max(sizes)}
        codes = {item["properties"]["proj:code"] for item in items}
        assert set(summaries["proj:code"]) == codes


def test_items_say_where_their_time_is_from(crawled: Crawl, published: Published) -> None:
    said = {
        item["id"]: (item["properties"]["geo_etl:datetime_from"], item["properties"]["datetime"])
        for items in crawled.items.values()
        for item in items
    }
    mine = published.name
    assert said[f"{mine}.b"] == ("tag TIFFTAG_DATETIME", "2011-03-04T05:06:07Z")
    assert said[f"{mine}.large"] == ("the spec", "2015-01-01T00:00:00Z")
    assert said[published.table] == ("column day", "2001-02-03T00:00:00Z")
    assert said[f"geo.area_{mine}"] == ("column tag", "2001-02-03T00:00:00Z")
    members = crawled.items[published.collections["members"]]
    assert {said[item["id"]][0] for item in members} == {"the source's modification time"}


def test_every_link_of_the_start_page_answers(published: Published) -> None:
    # Other tests publish too, and break what they have published.
    answer = httpx.get(f"{published.root}/", params={"q": published.name})
    assert answer.status_code == 200
    links = set(addresses_in(answer.text, str(answer.url)))
    assert all(link.startswith(f"{published.root}/") for link in links)
    for service in ("features", "stac", "tiles"):
        assert any(link.startswith(f"{published.root}/{service}/") for link in links)
    assert sum(published.name in link for link in links) > 2 * len(published.results)
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        failed = [link for link in links if client.get(link).status_code != 200]
    assert failed == []
