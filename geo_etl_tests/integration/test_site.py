"""The site of `geo-etl serve`: its start page, and that all of it shows what is there now."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from geo_etl.cli import main
from geo_etl.raster import ledger as raster_ledger
from geo_etl.resources import pgstac
from geo_etl.vector import ledger
from geo_etl_tests.made import squares, write
from geo_etl_tests.raster_sources import write as write_raster

# titiler warns of what it does by itself.
pytestmark = pytest.mark.filterwarnings("ignore:No `assets` option passed:UserWarning")

EVIL = "<script>alert('x')</script>&\"'"


class Row(HTMLParser):
    """One dataset of the page: its text, its links by their words, its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.said, self.links, self.images, self._href = "", {}, [], None
        self.titles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a":
            self._href = found["href"]
        elif tag == "img":
            self.images.append(found["src"])
        elif tag == "time":
            self.titles.append(str(found["title"]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._href = None

    def handle_data(self, data: str) -> None:
        self.said += data + " "
        if self._href:
            self.links[data] = self._href


def rows(site: str, words: str, **query: Any) -> list[Row]:
    """The datasets that a search finds."""
    answer = httpx.get(f"{site}/", params={"q": words, **query})
    assert answer.status_code == 200, answer.text
    body = answer.text.partition("<tbody>")[2].partition("</tbody>")[0]
    return [Row(row) for row in body.split("<tr>")[1:]]


def status(url: str) -> int:
    return httpx.get(url, follow_redirects=True, timeout=60).status_code


def test_a_table_is_listed_with_its_facts_and_every_link_leads_somewhere(
    site: str, ingest: Any, tmp_path: Path, unique: str
) -> None:
    ingest(write(tmp_path / f"{unique}.gpkg", squares(3)), geoparquet=True)

    (row,) = rows(site, unique)

    assert f"geo.{unique}" in row.said
    assert "table · MultiPolygon, EPSG:4326" in " ".join(row.said.split())
    assert "3 features" in row.said
    assert re.search(r"just now|minute", row.said)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", row.titles[0])
    wanted = {"map", "features", "tiles", "STAC item", "quality report"}
    assert wanted | {"GeoJSON", "CSV", "GeoParquet"} == set(row.links)
    assert {status(href) for href in row.links.values()} == {200}
    features = httpx.get(row.links["GeoJSON"]).json()["features"]
    assert len(features) == 3
    assert httpx.get(row.links["CSV"]).text.count("\n") == 1 + 3


def test_a_raster_is_listed_with_its_facts_and_every_link_leads_somewhere(
    site: str, process: Any, tmp_path: Path, unique: str, pixels: Any
) -> None:
    process(write_raster(tmp_path / f"{unique}.tif", pixels))

    (row,) = rows(site, unique)

    assert "10,000 pixels" in row.said
    assert re.search(r"raster · \w+, 1 band, uint8", " ".join(row.said.split()))
    assert {"map", "tiles", "STAC item", "quality report"} <= set(row.links)
    assert any(text.startswith("analysis (") for text in row.links)
    assert {status(href) for href in [*row.links.values(), *row.images]} == {200}
    assert len(row.images) == 1


@pytest.fixture
def pixels() -> Any:
    import numpy as np

    return (np.arange(10_000).reshape(1, 100, 100) % 200 + 20).astype("uint8")


def published(name: str, **fields: Any) -> dict[str, Any]:
    """A row of the ledger, of a table that is not there."""
    item = {"type": "Feature", "id": name, "collection": "system-vectors", "links": []}
    return {
        "schema_name": "geo", "table_name": name, "version": 1, "current": True,
        "source": f"bronze/{name}.gpkg", "fingerprint": "f", "job_id": "j",
        "load_method": "replace", "loads": [], "sources": [], "jobs": [],
        "collection_id": "system-vectors", "item_id": f"geo.{name}",
        "item": {**item, "assets": {}, "properties": {"table:row_count": 1}},
        "columns": [], "geometry_type": "Point", "srid": 4326, "indexes": [], "features": 1,
        **fields,
    }  # fmt: skip


@pytest.fixture
def listed(engine: sa.Engine) -> Any:
    """Put rows into the ledger for as long as the test lasts."""
    names: list[str] = []

    def put(*entries: dict[str, Any]) -> None:
        names.extend(entry["table_name"] for entry in entries)
        with engine.begin() as connection:
            connection.execute(ledger.publication.insert(), list(entries))

    yield put
    with engine.begin() as connection:
        table = ledger.publication
        connection.execute(sa.delete(table).where(table.c.table_name.in_(names)))


def test_names_are_text_whatever_is_in_them(site: str, listed: Any, unique: str) -> None:
    name = f"{unique}{EVIL}"
    entry = published(name, source=f"bronze/{EVIL}.gpkg")
    entry["item"]["properties"]["title"] = f"A title {EVIL}"
    listed(entry)

    page = httpx.get(f"{site}/", params={"q": name}).text

    assert EVIL not in page
    assert "<script" not in page
    (row,) = rows(site, name)
    assert f"A title {EVIL}" in html.unescape(row.said)
    assert f"bronze/{EVIL}.gpkg" in row.said
    assert '"' not in row.links["map"]


def test_a_search_goes_by_name_title_and_source(site: str, listed: Any, unique: str) -> None:
    one, two, three = (published(f"{unique}_{n}") for n in range(3))
    two["item"]["properties"]["title"] = f"Rivers of {unique} Müll 100%"
    three["source"] = f"bronze/{unique}/folder/lakes.gpkg"
    listed(one, two, three)

    assert len(rows(site, unique.upper())) == 3
    assert "Rivers" in rows(site, f"{unique} müll")[0].said
    assert len(rows(site, f"{unique} Müll 100%")) == 1
    assert f"{unique}_2" in rows(site, f"{unique}/folder/LAKES")[0].said
    assert (
        rows(site, f"{unique}%") == rows(site, f"{unique}\\") == rows(site, f"' OR {unique}") == []
    )
    assert "No dataset has" in httpx.get(f"{site}/", params={"q": f"{unique}%"}).text


def test_many_datasets_are_on_pages_latest_first(site: str, listed: Any, unique: str) -> None:
    listed(
        *(
            published(
                f"{unique}_{n:03d}", published_at=f"2026-01-01 00:{n // 60:02d}:{n % 60:02d}+00"
            )
            for n in range(120)
        )
    )
    found = [row.said for number in (1, 2, 3) for row in rows(site, unique, page=number)]
    page = httpx.get(f"{site}/", params={"q": unique, "page": 2}).text

    assert [re.search(rf"{unique}_(\d+)", said)[1] for said in found] == [
        f"{n:03d}" for n in reversed(range(120))
    ]
    assert "120 datasets found: 120 tables" in page
    assert "page 2 of 3" in page
    links = {
        rel: html.unescape(href) for rel, href in re.findall(r'rel="(\w+)" href="(.*?)"', page)
    }
    assert len(rows_of(links["prev"])) == 50
    assert len(rows_of(links["next"])) == 20
    assert len(rows(site, unique, page=99)) == 20
    assert httpx.get(f"{site}/", params={"page": 0}).status_code == 422


def rows_of(url: str) -> list[str]:
    return re.findall("<tr>\\s*<td>", httpx.get(url).text)


def test_a_collection_of_others_is_listed_and_synced_ones_say_so(
    site: str, engine: sa.Engine, unique: str
) -> None:
    collection = {
        "type": "Collection", "id": unique, "stac_version": "1.1.0", "description": "d",
        "title": f"Scenes {unique}", "license": "other", "links": [],
        "extent": {
            "spatial": {"bbox": [[170, -10, -170, 10]]}, "temporal": {"interval": [[None, None]]}
        },
    }  # fmt: skip
    item = {
        "type": "Feature", "stac_version": "1.1.0", "id": "a", "collection": unique, "links": [],
        "bbox": [170, -10, -170, 10], "assets": {},
        "geometry": {"type": "Point", "coordinates": [175, 0]},
        "properties": {"datetime": "2020-05-06T07:08:09Z"},
    }  # fmt: skip
    with engine.begin() as connection:
        pgstac.ensure_collection(connection, collection)
    assert rows(site, unique) == []  # nothing is in it
    with engine.begin() as connection:
        pgstac.upsert_item(connection, item)
    (row,) = rows(site, unique)
    said = " ".join(row.said.split())
    assert f"Scenes {unique}" in said
    assert "catalogued collection" in said
    assert "1 item" in said
    assert row.titles == ["2020-05-06 07:08:09 UTC"]
    assert "from 170°E to 170°W" in said
    assert {status(href) for href in row.links.values()} == {200}

    item["properties"]["geo_etl:synced_from"] = f"{unique}/scenes"
    with engine.begin() as connection:
        pgstac.upsert_item(connection, item)
    (row,) = rows(site, unique)
    assert "synced collection" in row.said
    assert f"{unique}/scenes" in row.said


def test_new_versions_show_at_once_everywhere_and_what_is_gone_does_not(
    site: str, ingest: Any, tmp_path: Path, unique: str, stack: Any
) -> None:
    features = f"{site}/features/collections/geo.{unique}"
    item = f"{site}/stac/collections/system-vectors/items/geo.{unique}"
    path = tmp_path / f"{unique}.geojson"

    def seen() -> tuple[Any, ...]:
        answers = [httpx.get(f"{features}/items?f=geojson"), httpx.get(item), httpx.get(f"{site}/")]
        assert {answer.headers.get("cache-control", "no-cache") for answer in answers} == {
            "no-cache"
        }
        found = rows(site, unique)
        shown = re.search(r"(\d+) feature", found[0].said)[1] if found else None
        return (
            answers[0].json().get("numberMatched"),
            answers[1].json().get("properties", {}).get("table:row_count"),
            shown and int(shown),
        )

    for count in (3, 5):
        path.unlink(missing_ok=True)
        ingest(write(path, squares(count)))
        assert seen() == (count, count, count)
    cli = CliRunner()
    assert cli.invoke(main, ["rollback", f"geo.{unique}"]).exit_code == 0
    assert seen() == (3, 3, 3)
    assert cli.invoke(main, ["unpublish", f"geo.{unique}", "--yes"]).exit_code == 0
    assert seen() == (None, None, None)
    assert status(features) == 404
    assert status(item) == 404
    assert str(stack.home) not in httpx.get(item).text


def test_the_start_page_is_there_at_head_too(site: str) -> None:
    answer = httpx.head(f"{site}/")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_where_nothing_is_a_browser_is_shown_the_way_and_a_program_told(site: str) -> None:
    path = "/<script>alert(1)</script>"
    page = httpx.get(f"{site}{path}", headers={"accept": "text/html,*/*"})
    told = httpx.get(f"{site}{path}")

    assert (page.status_code, told.status_code) == (404, 404)
    assert f'<a href="{site}/">' in page.text
    assert "<script" not in page.text
    assert told.json() == {"detail": "Not Found"}


@pytest.mark.parametrize("server", ["features", "stac", "tiles"])
def test_servers_are_found_without_the_slash(site: str, server: str) -> None:
    answer = httpx.get(f"{site}/{server}", headers={"accept": "application/json"})

    assert answer.headers["location"] == f"/{server}/"
    assert status(f"{site}/{server}/") == 200


def test_values_of_features_are_text_on_the_pages_of_tipg(
    site: str, ingest: Any, tmp_path: Path, unique: str
) -> None:
    ingest(write(tmp_path / f"{unique}.gpkg", squares(1), {"name": [EVIL]}))
    items = f"{site}/features/collections/geo.{unique}/items"

    for url in (f"{items}?f=html", f"{items}/1?f=html"):
        page = httpx.get(url).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    "path", ["/features/?f=html", "/features/collections?f=html", "/tiles/?f=html"]
)
def test_pages_of_the_servers_load_nothing_from_elsewhere(path: str, site: str) -> None:
    page = httpx.get(f"{site}{path}").text

    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', page)
    assert loaded
    assert [url for url in loaded if not url.startswith(("/", "data:"))] == []


def test_a_raster_of_a_collection_is_listed_once(site: str, engine: sa.Engine, unique: str) -> None:
    table = raster_ledger.publication
    common = {
        "version": 1, "current": True, "source": f"bronze/{unique}/", "sources": [],
        "fingerprint": "f", "job_id": "j", "collection_id": unique, "pixels": 3_000_000, "bytes": 1,
        "collection": {
            "type": "Collection", "id": unique, "title": f"Tiles {unique}", "links": [],
            "extent": {"spatial": {"bbox": [[1, 2, 3, 4]]}},
        },
    }  # fmt: skip
    names = {unique: ("collection", ["a", "b"]), f"{unique}/a": ("single", ["a"])}
    with engine.begin() as connection:
        for layer, (form, ids) in names.items():
            connection.execute(
                table.insert(), {**common, "layer": layer, "form": form, "item_ids": ids}
            )
    try:
        (row,) = rows(site, unique)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.collection_id == unique))

    assert "raster collection" in row.said
    assert "3 million pixels in 2 rasters" in row.said
