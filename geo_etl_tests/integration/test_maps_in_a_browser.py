"""What a person sees: Chromium, with no network but the site itself."""

import io
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from shapely.geometry import LineString, MultiPoint, Point, box
from tipg.collections import mvt_settings

from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.test_site import rows
from geo_etl_tests.made import write
from geo_etl_tests.raster_sources import write as write_raster

pytestmark = [
    pytest.mark.browser,
    # titiler warns of what it does by itself.
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SIZE = {"width": 900, "height": 600}


class Tab:
    """A page of a browser that reaches nothing but the site, and what went wrong on it."""

    def __init__(self, browser: Any, site: str, **options: Any) -> None:
        self.page = browser.new_page(viewport=SIZE, **options)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("console", lambda said: said.type == "error" and self.wrong.append(said.text))
        self.page.route(
            "**/*",
            lambda route: (
                route.continue_() if route.request.url.startswith(site) else route.abort()
            ),
        )

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED" or "/tiles/" not in request.url:
            self.wrong.append(f"{request.url} {request.failure}")  # not a tile out of sight

    def goto(self, url: str) -> None:
        self.page.goto(url)
        self.page.wait_for_load_state("networkidle")

    def goto_table(self, url: str) -> None:
        self.goto(url)
        self.settle()

    def settle(self) -> None:
        """Wait until a vector map has drawn its tiles."""
        self.page.wait_for_function("document.documentElement.dataset.state === 'done'")
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")

    def picture(self, path: Path) -> np.ndarray:
        """The map alone: rows × columns × RGB."""
        self.page.evaluate(
            "for (const one of document.querySelectorAll('.panel')) one.style.visibility = 'hidden'"
        )
        content = self.page.screenshot(path=path)
        self.page.evaluate(
            "for (const one of document.querySelectorAll('.panel')) one.style.visibility = ''"
        )
        return np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


SHAPES: dict[str, tuple[list[Any], dict[str, Any] | None]] = {
    # A ring around a hole, and a wall beside it.
    "areas": (
        [box(0, 0, 30, 30).difference(box(10, 10, 20, 20)), box(40, 0, 50, 30)],
        {"name": ["Ring <b>", "Wall"], "people": [9_007_199_254_740_993, -5]},
    ),
    "across": ([box(175, -10, 180, 10), box(-180, -10, -170, 10)], None),
    "points": ([Point(0, 0), MultiPoint([(10, 0), (10, 10)])], {"name": ["one", "two"]}),
    "line": ([LineString([(0, 0), (10, 10)])], {"name": ["diagonal"]}),
    "many": ([Point(x, y) for x in range(5) for y in range(5)], None),
}


@pytest.fixture(scope="module")
def names(
    run_asset: Callable[..., Any], stack: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Tables of `SHAPES` and a raster named "ramp", published; their names.

    All before the browser starts: its driver has an event loop in this thread, and so has Dagster.
    """
    token = uuid.uuid4().hex[:8]
    folder = stack.home / "blobs" / "bronze" / token
    folder.mkdir(parents=True)
    for name, (geometries, columns) in SHAPES.items():
        write(folder / f"{name}.gpkg", geometries, columns, crs="EPSG:4326")
        done = run_asset("vector", f"bronze/{token}/{name}.gpkg", table_name=f"{name}_{token}")
        assert done.success, failure_of(done)
    ramp = np.linspace(1, 255, 10_000).reshape(1, 100, 100).astype("uint8")
    write_raster(folder / "ramp.tif", ramp)
    done = run_asset(
        "raster", f"bronze/{token}/ramp.tif", item_id=f"ramp_{token}", data_kind="continuous"
    )
    assert done.success, failure_of(done)
    return {name: f"{name}_{token}" for name in (*SHAPES, "ramp")} | {"all": token}


@pytest.fixture(scope="module")
def browser(names: dict[str, str]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
            + ["--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any, site: str) -> Iterator[Tab]:
    tab = Tab(browser, site)
    yield tab
    tab.page.close()
    assert tab.wrong == []


@pytest.fixture
def map_of(names: dict[str, str], site: str) -> Callable[[str], str]:
    """The address of the map of one of `SHAPES`."""
    return lambda name: f"{site}/features/collections/geo.{names[name]}/viewer.html"


def blue(picture: np.ndarray) -> np.ndarray:
    """Where features are: bluer than the background and what is written on it."""
    red, _, blue = np.moveaxis(picture, 2, 0)
    return blue - red > 31


def test_the_start_page_shows_pictures_and_leads_to_maps(
    tab: Tab, site: str, tmp_path: Path, names: dict[str, str]
) -> None:
    tab.goto(f"{site}/?q={names['all']}")

    assert tab.page.locator("tbody tr").count() == len(SHAPES) + 1
    width = tab.page.locator("tbody img").evaluate("image => image.naturalWidth")
    assert width > 0
    boxes = tab.page.locator("svg.extent rect.box")
    assert boxes.count() == len(SHAPES) + 2  # one is in two parts
    assert boxes.first.bounding_box()["width"] > 1
    tab.page.screenshot(path=tmp_path / "start.png")
    raster = tab.page.locator("tr", has_text="pixels")
    raster.get_by_role("link", name="map").click()
    tab.page.wait_for_function(
        "document.images.length && [...document.images].every(one => one.complete)"
    )
    tab.page.wait_for_load_state("networkidle")
    picture = tab.picture(tmp_path / "raster.png")
    middle = picture[200:400, 350:550].reshape(-1, 3)
    assert len(np.unique(middle, axis=0)) > 20
    tab.page.mouse.click(450, 300)
    tab.page.wait_for_function("document.getElementById('said').textContent.includes(': ')")
    value = float(tab.page.locator("#said").inner_text().rpartition(": ")[2])
    assert value == pytest.approx(128, abs=6)
    tab.page.get_by_role("link", name="All datasets").click()
    tab.page.wait_for_url(f"{site}/")


def test_a_map_of_areas_shows_them_where_they_are_and_what_they_are(
    tab: Tab, map_of: Any, tmp_path: Path
) -> None:
    tab.goto_table(map_of("areas"))

    shown = blue(tab.picture(tmp_path / "areas.png"))
    columns, lines = np.flatnonzero(shown.any(axis=0)), np.flatnonzero(shown.any(axis=1))
    assert columns[0] + columns[-1] == pytest.approx(SIZE["width"], abs=4)
    assert lines[0] + lines[-1] == pytest.approx(SIZE["height"], abs=12)
    degree = (columns[-1] - columns[0]) / 50
    at = lambda lon: int(columns[0] + lon * degree)  # noqa: E731
    middle = (lines[0] + lines[-1]) // 2
    assert shown[middle, at(5)]
    assert shown[middle, at(45)]
    assert not shown[middle, at(15)]
    assert not shown[middle, at(35)]

    tab.page.mouse.click(at(5), int(middle))
    chosen = tab.page.locator("#chosen")
    assert "Ring <b>" in chosen.inner_text()
    assert "9007199254740993" in chosen.inner_text()
    href = chosen.get_by_role("link").get_attribute("href")
    assert httpx.get(href).json()["properties"]["name"] == "Ring <b>"
    tab.page.mouse.click(at(45), int(middle))
    assert "-5" in chosen.inner_text()
    tab.page.mouse.click(at(15), int(middle))
    assert not chosen.is_visible()


def test_a_table_across_the_antimeridian_is_seen_whole(
    tab: Tab, map_of: Any, tmp_path: Path, site: str, names: dict[str, str]
) -> None:
    tab.goto_table(map_of("across"))

    assert "from 175°E to 170°W" in rows(site, names["across"])[0].said
    shown = blue(tab.picture(tmp_path / "antimeridian.png"))
    columns = np.flatnonzero(shown.any(axis=0))
    assert np.ptp(columns) == len(columns) - 1  # they touch
    assert 300 < len(columns) < SIZE["width"]


def test_points_are_drawn_and_found(tab: Tab, map_of: Any, tmp_path: Path) -> None:
    tab.goto_table(map_of("points"))
    shown = blue(tab.picture(tmp_path / "points.png"))
    lines, columns = np.nonzero(shown)
    assert 40 < shown.sum() < 400
    tab.page.mouse.click(int(columns.min()) + 4, int(lines.max()) - 3)
    assert "one" in tab.page.locator("#chosen").inner_text()
    tab.page.keyboard.press("Escape")  # what is told of it lies over the other one
    tab.page.mouse.click(int(columns.max()) - 3, int(lines.min()) + 4)
    assert "two" in tab.page.locator("#chosen").inner_text()


def test_a_line_is_drawn_and_found(tab: Tab, map_of: Any, tmp_path: Path) -> None:
    tab.goto_table(map_of("line"))
    shown = blue(tab.picture(tmp_path / "line.png"))
    assert shown[280:320, 430:470].any()
    assert not shown[200:220, 430:470].any()
    tab.page.mouse.click(450, 300)
    assert "diagonal" in tab.page.locator("#chosen").inner_text()


def test_a_tile_that_does_not_hold_all_says_so_until_all_are_shown(
    tab: Tab, map_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geo_etl.stack import server

    monkeypatch.setattr(mvt_settings, "max_features_per_tile", 2)
    monkeypatch.setitem(server.tipg.templates.env.globals, "most_features", 2)
    tab.goto_table(map_of("many"))
    said = tab.page.locator("#said")
    assert "a tile holds at most 2" in said.inner_text()

    for _ in range(3):
        tab.page.locator("#in").click()
    tab.settle()
    tab.page.wait_for_function("!document.getElementById('said').textContent.includes('at most')")
    assert not said.is_visible() or "No features" in said.inner_text()


def test_the_pages_of_tipg_work_without_the_internet(
    tab: Tab, site: str, names: dict[str, str]
) -> None:
    about = f"{site}/features/collections/geo.{names['areas']}"

    for path in ("", "/items", "/items/1", "/tiles/WebMercatorQuad"):
        tab.goto(f"{about}{path}?f=html")
        assert not tab.page.get_by_text("Loading...").count()
        tab.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        shown = np.array(
            Image.open(io.BytesIO(tab.page.locator("#map").screenshot())).convert("RGB")
        )
        assert blue(shown.astype(int)).sum() > 1000, path
    tab.goto(f"{about}/items?f=html&limit=1")
    assert "Page: 1 of 2" in tab.page.locator("main").inner_text()
    tab.page.get_by_role("link", name="next").click()
    assert "Wall" in tab.page.locator("main").inner_text()
    tab.goto(f"{site}/features/?f=html")
    assert "List of Collections" in tab.page.locator("main").inner_text()


def test_maps_are_dark_for_who_wants_it(
    browser: Any, site: str, map_of: Any, tmp_path: Path
) -> None:
    tab = Tab(browser, site, color_scheme="dark")

    tab.goto_table(map_of("across"))

    picture = tab.picture(tmp_path / "dark.png")
    tab.page.close()
    assert tab.wrong == []
    assert picture[5, 5].max() < 60
    assert blue(picture)[300, 500]


def test_a_table_that_is_not_there_is_told(site: str) -> None:
    answer = httpx.get(f"{site}/features/collections/geo.nothing/viewer.html")

    assert answer.status_code == 404
