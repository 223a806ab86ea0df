"""Rasters as `geo-etl serve` shows them: tiles of items and of searches, decoded and compared."""

import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio
import sqlalchemy as sa
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy

from geo_etl.catalog.tiles import (
    asset_query,
    collection_path,
    item_path,
    raster_urls,
    render_query,
    search_path,
)
from geo_etl.resources import pgstac
from geo_etl.resources.serving import ServingResource

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
HALF_WORLD = 20037508.342789244
ZOOM, TILE_X, TILE_Y = 12, 2200, 1400
PIXEL = 2 * HALF_WORLD / 2**ZOOM / 256
ON_TILES = Affine(
    PIXEL, 0, TILE_X * 256 * PIXEL - HALF_WORLD, 0, -PIXEL, HALF_WORLD - TILE_Y * 256 * PIXEL
)
"""In EPSG:3857, pixels of the map tiles of a zoom level: what is served is what is in the file."""


def write(
    path: Path,
    data: np.ndarray,
    transform: Affine = ON_TILES,
    crs: str = "EPSG:3857",
    *,
    nodata: float | None = None,
    mask: np.ndarray | None = None,
    alpha: bool = False,
) -> Path:
    """A COG of bands × rows × columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix(".plain")
    profile = {"width": data.shape[2], "height": data.shape[1], "count": len(data)}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(
            plain,
            "w",
            driver="GTiff",
            dtype=data.dtype,
            crs=crs,
            transform=transform,
            nodata=nodata,
            **profile,
        ) as file:
            if alpha:
                file.colorinterp = [*file.colorinterp[:-1], ColorInterp.alpha]
            file.write(data)
            if mask is not None:
                file.write_mask(mask)
        copy(plain, path, driver="COG", compress="DEFLATE", overview_resampling="nearest")
    plain.unlink()
    return path


def outline(path: Path) -> tuple[list[float], dict[str, Any]]:
    """The bounds of a file in degrees, and as a GeoJSON geometry cut at the antimeridian."""
    with rasterio.open(path) as file:
        if file.crs.to_epsg() == 3857:  # one world is 360 degrees, also past its edge
            left, bottom, right, top = file.bounds
            degrees = [x / HALF_WORLD * 180 for x in (left, right)]
            lat = [np.degrees(np.arctan(np.sinh(y / HALF_WORLD * np.pi))) for y in (bottom, top)]
            west, south, east, north = degrees[0], lat[0], degrees[1], lat[1]
        else:
            west, south, east, north = file.bounds
    if west < -180:
        west, east = west + 360, east + 360
    parts = [(west, east)] if east <= 180 else [(west, 180.0), (-180.0, east - 360)]
    rings = [[[[w, south], [e, south], [e, north], [w, north], [w, south]]] for w, e in parts]
    bbox = [west, south, parts[-1][1], north]
    if len(rings) == 1:
        return bbox, {"type": "Polygon", "coordinates": rings[0]}
    return bbox, {"type": "MultiPolygon", "coordinates": rings}


class Catalogue:
    """A collection of the test's own, and what the server shows of it."""

    def __init__(self, engine: sa.Engine, root: str, name: str) -> None:
        self.engine, self.root, self.name = engine, root, name
        collection = {
            "type": "Collection",
            "id": name,
            "stac_version": "1.1.0",
            "description": name,
            "license": "other",
            "links": [],
            "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [[None, None]]},
            },
        }
        with engine.begin() as connection:
            pgstac.ensure_collection(connection, collection)

    def publish(self, item: str, path: Path, **properties: Any) -> str:
        """Write the item of a COG; its path on the server."""
        bbox, geometry = outline(path)
        document = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [],
            "id": item,
            "collection": self.name,
            "bbox": bbox,
            "geometry": geometry,
            "links": [],
            "properties": {"datetime": "2024-01-01T00:00:00Z", **properties},
            "assets": {"analysis": {"href": path.as_uri(), "type": COG, "roles": ["data"]}},
        }
        with self.engine.begin() as connection:
            pgstac.upsert_item(connection, document)
        return item_path(self.name, item)

    def search(self) -> str:
        with self.engine.begin() as connection:
            return search_path(pgstac.register_search(connection, self.name))

    def tile(self, path: str, at: str, query: str = "assets=analysis") -> httpx.Response:
        return httpx.get(
            f"{self.root}/tiles/{path}/tiles/WebMercatorQuad/{at}.png?{query}", timeout=60
        )

    def pixels(self, path: str, at: str, query: str = "assets=analysis") -> np.ndarray:
        """A tile's bands, the last of them its opacity: bands × 256 × 256."""
        answer = self.tile(path, at, query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        return decoded(answer.content)


def decoded(png: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.MemoryFile(png) as memory, memory.open() as file:
            return file.read()


def middle(bbox: list[float]) -> tuple[float, float]:
    west, south, east, north = bbox
    return (west + east) / 2, (south + north) / 2


@pytest.fixture
def catalogue(engine: sa.Engine, served: str, unique: str) -> Catalogue:
    return Catalogue(engine, served, unique)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def at(x: int = 0, y: int = 0) -> str:
    return f"{ZOOM}/{TILE_X + x}/{TILE_Y + y}"


def colours(rng: np.random.Generator, rows: int = 256, columns: int = 256) -> np.ndarray:
    return rng.integers(0, 256, (3, rows, columns), dtype="uint8")


def test_an_image_with_a_mask(
    catalogue: Catalogue, tmp_path: Path, rng: np.random.Generator
) -> None:
    data, mask = colours(rng), np.full((256, 256), 255, "uint8")
    mask[30:70, 100:] = 0
    path = catalogue.publish("a", write(tmp_path / "a.tif", data, mask=mask))

    found = catalogue.pixels(path, at())

    np.testing.assert_array_equal(found[3], mask)
    np.testing.assert_array_equal(found[:3, mask > 0], data[:, mask > 0])


def test_an_image_with_alpha(
    catalogue: Catalogue, tmp_path: Path, rng: np.random.Generator
) -> None:
    data = np.concatenate([colours(rng), np.full((1, 256, 256), 255, "uint8")])
    data[3, :50] = 0
    path = catalogue.publish("a", write(tmp_path / "a.tif", data, alpha=True))

    found = catalogue.pixels(path, at())

    np.testing.assert_array_equal(found[3], data[3])
    np.testing.assert_array_equal(found[:3, 50:], data[:3, 50:])


def test_heights_as_they_are_rendered(catalogue: Catalogue, tmp_path: Path) -> None:
    data = np.linspace(-100, 3000, 256 * 256, dtype="float32").reshape(1, 256, 256).copy()
    data[0, :, :9] = -9999
    path = catalogue.publish("a", write(tmp_path / "a.tif", data, nodata=-9999))
    render = {"assets": ["analysis"], "rescale": [[0, 2550]]}

    found = catalogue.pixels(path, at(), render_query(render))

    assert not found[1][:, :9].any()
    assert found[1][:, 9:].all()
    expected = np.clip(data[0, :, 9:] / 10, 0, 255)
    assert np.abs(found[0][:, 9:] - expected).max() < 1


def test_classes_in_their_colours(
    catalogue: Catalogue, tmp_path: Path, rng: np.random.Generator
) -> None:
    table = {1: (255, 0, 0, 255), 2: (0, 80, 160, 255), 7: (0, 0, 0, 0)}
    data = rng.choice(list(table), (1, 256, 256)).astype("uint8")
    path = catalogue.publish("a", write(tmp_path / "a.tif", data))
    render = {"assets": ["analysis"], "colormap": {str(key): list(table[key]) for key in table}}

    found = catalogue.pixels(path, at(), render_query(render))

    for value, colour in table.items():
        assert (colour == found[:, data[0] == value].T).all()


def test_three_of_many_bands_of_sixteen_bits(
    catalogue: Catalogue, tmp_path: Path, rng: np.random.Generator
) -> None:
    data = rng.integers(0, 2551, (5, 256, 256), dtype="uint16")
    path = catalogue.publish("a", write(tmp_path / "a.tif", data))
    render = {
        "assets": ["analysis"],
        "asset_bidx": ["analysis|4,1,2"],
        "rescale": [[0, 2550]] * 3,
    }

    found = catalogue.pixels(path, at(), render_query(render))

    assert np.abs(found[:3] - data[[3, 0, 1]] / 10).max() < 1


def longitudes_and_latitudes(x: int, y: int, zoom: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the pixel centres of a tile, from the definition of Web Mercator."""
    steps = (np.arange(256) + 0.5) / 256
    longitudes = (x + steps) / 2**zoom * 360 - 180
    latitudes = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (y + steps) / 2**zoom))))
    return longitudes, latitudes


@pytest.mark.parametrize("west", [176.0, -184.0])
def test_both_sides_of_the_antimeridian(catalogue: Catalogue, tmp_path: Path, west: float) -> None:
    # 8° × 8° at 0.01°: bands are tenths of a degree east of 176°, and south of -14°.
    count = np.arange(800)
    data = np.stack(np.broadcast_arrays(count[None, :] // 10, count[:, None] // 10, 9))
    transform = Affine(0.01, 0, west, 0, -0.01, -14)
    file = write(tmp_path / "a.tif", data.astype("uint8"), transform, "EPSG:4326")
    path = catalogue.publish("a", file)
    catalogue.publish("elsewhere", write(tmp_path / "b.tif", np.ones((3, 9, 9), "uint8")))

    for place in (path, catalogue.search(), collection_path(catalogue.name)):
        for x in (0, 63):
            found = catalogue.pixels(place, f"6/{x}/34")
            longitudes, latitudes = longitudes_and_latitudes(x, 34, 6)
            columns, rows = (longitudes % 360 - 176) * 10, (-14 - latitudes) * 10
            # Away from the edges: there a pixel more or less is a question of rounding.
            inside = np.ix_((rows > 0.2) & (rows < 79.8), (columns > 0.2) & (columns < 79.8))
            assert inside[0].size > 100
            assert inside[1].size > 100
            assert found[3][inside].all()
            assert not found[3][:, (columns < -0.2) | (columns > 80.2)].any()
            assert np.abs(found[0][inside] + 0.5 - columns[inside[1]]).max() < 0.8
            assert np.abs(found[1][inside] + 0.5 - rows[inside[0]]).max() < 0.8
        world = catalogue.pixels(place, "0/0/0")[3]
        assert world[:, :4].any()
        assert world[:, -4:].any()


def test_a_mosaic_of_tiles_is_the_untiled_raster(
    catalogue: Catalogue, tmp_path: Path, rng: np.random.Generator
) -> None:
    transform = Affine(0.0005, 0, 13.02, 0, -0.0005, 50.03)
    data, mask = colours(rng, 600, 900), np.full((600, 900), 255, "uint8")
    mask[250:350, 400:500] = 0
    whole = write(tmp_path / "whole.tif", data, transform, "EPSG:4326", mask=mask)
    untiled = Catalogue(catalogue.engine, catalogue.root, f"{catalogue.name}-whole")
    path = untiled.publish("whole", whole)
    for row in (0, 300):
        for col in (0, 450):
            part = (slice(row, row + 300), slice(col, col + 450))
            moved = transform @ Affine.translation(col, row)
            file = tmp_path / f"{row}-{col}.tif"
            write(file, data[:, part[0], part[1]], moved, "EPSG:4326", mask=mask[part])
            catalogue.publish(file.stem, file)
    search = catalogue.search()

    # Around the corner where the four meet, at the zoom of the pixels and above.
    for zoom in (11, 12, 13):
        x = int((13.02 + 0.225 + 180) / 360 * 2**zoom)
        y = int((1 - np.arcsinh(np.tan(np.radians(49.88))) / np.pi) / 2 * 2**zoom)
        one, other = (
            place.pixels(p, f"{zoom}/{x}/{y}")
            for place, p in ((catalogue, search), (untiled, path))
        )
        np.testing.assert_array_equal(one[3], other[3])
        np.testing.assert_array_equal(one[:3, other[3] > 0], other[:3, other[3] > 0])
        assert other[3].any()


def test_a_member_that_covers_a_tile_only_by_its_footprint_hides_no_other(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    mask = np.zeros((256, 256), "uint8")
    mask[:, :128] = 255
    for name, value, valid in (("a", 10, mask), ("b", 20, 255 - mask)):
        file = write(tmp_path / f"{name}.tif", np.full((3, 256, 256), value, "uint8"), mask=valid)
        catalogue.publish(name, file)

    found = catalogue.pixels(catalogue.search(), at())

    assert (found[:3, :, :128] == 10).all()
    assert (found[:3, :, 128:] == 20).all()
    assert found[3].all()


def test_what_is_published_shows_at_once(
    catalogue: Catalogue, tmp_path: Path, engine: sa.Engine
) -> None:
    def show(value: int) -> None:
        file = write(tmp_path / f"{value}.tif", np.full((3, 256, 256), value, "uint8"))
        catalogue.publish("a", file)

    path, search = item_path(catalogue.name, "a"), catalogue.search()
    assert catalogue.tile(path, at()).status_code == 404
    for value in (1, 2):
        show(value)
        assert (catalogue.pixels(path, at())[:3] == value).all()
        assert (catalogue.pixels(search, at())[:3] == value).all()
    assert catalogue.tile(path, at()).headers["cache-control"] == "no-cache"
    with engine.begin() as connection:
        pgstac.delete_item(connection, catalogue.name, "a")

    assert catalogue.tile(path, at()).status_code == 404
    assert catalogue.tile(search, at()).status_code == 204


def test_a_collection_has_one_search_until_it_goes(catalogue: Catalogue, tmp_path: Path) -> None:
    first = catalogue.search()
    catalogue.publish("a", write(tmp_path / "a.tif", np.ones((3, 256, 256), "uint8")))

    assert catalogue.search() == first
    assert catalogue.pixels(collection_path(catalogue.name), at())[3].all()
    with catalogue.engine.begin() as connection:
        pgstac.forget_searches(connection, catalogue.name)

        left = connection.execute(
            sa.text("SELECT count(*) FROM pgstac.searches WHERE search::text LIKE :name"),
            {"name": f"%{catalogue.name}%"},
        )
        assert left.scalar_one() == 0
    assert catalogue.tile(first, at()).status_code == 404


def test_links_lead_through_the_prefix(catalogue: Catalogue, tmp_path: Path) -> None:
    path = catalogue.publish("a", write(tmp_path / "a.tif", np.ones((3, 256, 256), "uint8")))
    urls = raster_urls(f"{catalogue.root}/tiles", path, asset_query("analysis"))

    tilejson = httpx.get(urls.tilejson).json()
    landing = httpx.get(f"{catalogue.root}/tiles", follow_redirects=True).json()

    address = tilejson["tiles"][0].format(z=ZOOM, x=TILE_X, y=TILE_Y)
    assert address.startswith(f"{catalogue.root}/tiles/")
    assert httpx.get(address).status_code == 200
    own = [link["href"] for link in landing["links"] if link["rel"] in ("self", "data")]
    assert own
    assert all(href.startswith(f"{catalogue.root}/tiles/") for href in own)


@pytest.fixture
def probe(served: str) -> Iterator[Callable[..., Any]]:
    with ServingResource(tiles_url=f"{served}/tiles").prober() as prober:
        yield prober.picture_near


def test_a_probe_finds_something_drawn(
    catalogue: Catalogue, tmp_path: Path, probe: Callable[..., Any]
) -> None:
    file = write(tmp_path / "a.tif", np.ones((3, 256, 256), "uint8"))
    path = catalogue.publish("a", file)
    bbox = outline(file)[0]

    found = probe(path, "assets=analysis", bbox, middle(bbox))

    assert found.problem is None
    assert (found.answer.status, found.answer.content_type) == (200, "image/png")
    assert found.answer.body == httpx.get(found.answer.url).content


def test_a_probe_looks_closer_for_scattered_pixels(
    catalogue: Catalogue, tmp_path: Path, probe: Callable[..., Any]
) -> None:
    mask = np.zeros((2048, 2048), "uint8")
    mask[1501, 1101] = 255
    file = write(tmp_path / "a.tif", np.ones((3, 2048, 2048), "uint8"), mask=mask)
    path = catalogue.publish("a", file)
    x, y = ON_TILES @ (1101.5, 1501.5)
    point = x / HALF_WORLD * 180, np.degrees(np.arctan(np.sinh(y / HALF_WORLD * np.pi)))

    found = probe(path, "assets=analysis", tuple(outline(file)[0]), point)

    assert found.problem is None, found


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("assets=analysis", "the tile is empty"),
        ("assets=archive", "HTTP 404"),
        ("assets=analysis|bidx=4", "HTTP "),
    ],
)
def test_a_probe_says_what_is_wrong(
    catalogue: Catalogue,
    tmp_path: Path,
    probe: Callable[..., Any],
    query: str,
    problem: str,
) -> None:
    mask = np.zeros((256, 256), "uint8")
    file = write(tmp_path / "a.tif", np.ones((3, 256, 256), "uint8"), mask=mask)
    path = catalogue.publish("a", file)
    bbox = outline(file)[0]

    found = probe(path, query, bbox, middle(bbox))

    assert found.problem.startswith(problem)


def test_a_probe_finds_the_pole(
    catalogue: Catalogue, tmp_path: Path, probe: Callable[..., Any]
) -> None:
    data, transform = np.ones((3, 64, 64), "uint8"), Affine(2000, 0, -64000, 0, -2000, 64000)
    file = write(tmp_path / "a.tif", data, transform, "EPSG:3413")
    ring = [[[-180, 89], [180, 89], [180, 90], [-180, 90], [-180, 89]]]
    path = item_path(catalogue.name, "a")
    with catalogue.engine.begin() as connection:
        item = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": "a",
            "collection": catalogue.name,
            "bbox": [-180, 89, 180, 90],
            "geometry": {"type": "Polygon", "coordinates": ring},
            "properties": {"datetime": "2024-01-01T00:00:00Z"},
            "assets": {"analysis": {"href": file.as_uri(), "type": COG}},
            "links": [],
        }
        pgstac.upsert_item(connection, item)

    found = probe(path, "assets=analysis", (-180, 89, 180, 90), (0, 89.8))

    assert "WGS1984Quad" in found.answer.url
    assert found.problem is None


@pytest.fixture
def layer(catalogue: Catalogue, tmp_path: Path, engine: sa.Engine) -> Catalogue:
    """A published layer `NAME/a`, of one band, with a render."""
    from geo_etl.raster import ledger

    data = np.linspace(0, 1000, 512 * 512, dtype="float32").reshape(1, 512, 512)
    render = {"assets": ["analysis"], "rescale": [[0, 1000]], "colormap_name": "terrain"}
    catalogue.publish("a", write(tmp_path / "a.tif", data), renders={"heights": render})
    with engine.begin() as connection:
        connection.execute(
            ledger.publication.insert().values(
                layer=f"{catalogue.name}/a",
                version=1,
                current=True,
                form="single",
                source="bronze/<a>.tif",
                sources=[],
                fingerprint="f",
                job_id="j",
                collection_id=catalogue.name,
                item_ids=["a"],
                collection={},
                pixels=512 * 512,
                bytes=1,
            )
        )
        item = pgstac.get_item(connection, catalogue.name, "a")
        connection.execute(
            ledger.item.insert().values(
                layer=f"{catalogue.name}/a", version=1, item_id="a", item=item
            )
        )
    return catalogue


def map_of(layer: Catalogue) -> str:
    """Address of the map that the start page links for a layer."""
    page = httpx.get(f"{layer.root}/", params={"q": layer.name}).text
    (row,) = re.findall(r"<tr>\s*<td>.*?</tr>", page, re.DOTALL)
    assert "262,144" in row
    assert "bronze/&lt;a&gt;.tif" in row
    links = {text: href for href, text in re.findall(r'<a href="([^"]+)">(\w+)<', row)}
    assert httpx.get(links["tiles"].replace("&amp;", "&")).json()["bounds"]
    return links["map"].replace("&amp;", "&")


def test_the_start_page_leads_to_a_map_that_needs_no_other_server(layer: Catalogue) -> None:
    answer = httpx.get(map_of(layer))

    assert answer.status_code == 200
    hosts = set(re.findall(r"https?:(?:\\?/){2}([^/\"'\\]+)", answer.text))
    assert hosts == {layer.root.removeprefix("http://")}
    scripts = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
    assert {httpx.get(f"{layer.root}{path}").status_code for path in scripts} == {200}


@pytest.mark.browser
def test_the_map_shows_the_layer(layer: Catalogue, tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
            + ["--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        page = browser.new_page(viewport={"width": 800, "height": 600})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(map_of(layer))
        expect(page.locator("#map img:visible").first).to_be_visible(timeout=20_000)
        page.locator("#in").click()
        page.mouse.click(400, 300)
        expect(page.locator("#said")).to_contain_text(":", timeout=20_000)
        said = page.locator("#said").inner_text()
        page.wait_for_function(
            "[...document.querySelectorAll('#map img')].every(image => image.complete)"
        )
        picture = decoded(page.screenshot(path=tmp_path / "map.png"))
        browser.close()

    assert wrong == []
    # The middle of a ramp from 0 to 1000; the place is told to five digits.
    assert float(said.rpartition(": ")[2]) == pytest.approx(500, abs=5)
    shown = picture[:3, 200:400, 300:500].reshape(3, -1)
    assert len(np.unique(shown, axis=1).T) > 20
