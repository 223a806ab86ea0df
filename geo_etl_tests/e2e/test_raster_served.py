"""Each kind of raster, published and then drawn by the tile server: the colours that were meant.

A tile is asked for as a map client does: by the links of the STAC item or the result document.
"""

import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from affine import Affine
from PIL import Image

from geo_etl_tests.conftest import failed_checks, failure_of
from geo_etl_tests.e2e.raster_kinds import COLOURS, KINDS, QUARTERS, RED

ENOUGH = 10
"""A zoom at which quarters are large, where the map goes further still."""


def shown_at(tilejson: str, place: tuple[float, float]) -> tuple[int, ...]:
    """Red, green, blue and opacity of a map at a longitude and latitude."""
    answer = httpx.get(tilejson, timeout=60)
    assert answer.status_code == 200, answer.text
    (template,), zoom = answer.json()["tiles"], min(answer.json()["maxzoom"], ENOUGH)
    x = (place[0] + 180) / 360 * 2**zoom
    y = (1 - math.asinh(math.tan(math.radians(place[1]))) / math.pi) / 2 * 2**zoom
    tile = httpx.get(template.format(z=zoom, x=int(x), y=int(y)), timeout=60)
    if tile.status_code == 204:  # nothing is there
        return (0, 0, 0, 0)
    assert tile.status_code == 200, tile.text
    picture = Image.open(io.BytesIO(tile.content)).convert("RGBA")
    return tuple(np.array(picture)[int(y % 1 * picture.height), int(x % 1 * picture.width)])


def value_at(served: str, result: dict[str, Any], place: tuple[float, float]) -> float | None:
    """The value of the one band that the tile server gives at a longitude and latitude."""
    stac, (longitude, latitude) = result["stac"], place
    item = f"{served}/tiles/collections/{stac['collection_id']}/items/{stac['item_id']}"
    answer = httpx.get(f"{item}/point/{longitude},{latitude}?assets=analysis", timeout=60)
    (value,) = answer.json()["values"]
    return value


def links_of(engine: sa.Engine, result: dict[str, Any]) -> dict[str, str]:
    """The links of the item of a raster, or of the collection of a set."""
    stac = result["stac"]
    with engine.connect() as connection:
        if stac["item_id"] is None:
            query = "SELECT pgstac.get_collection(:collection)"
        else:
            query = "SELECT pgstac.get_item(:item, :collection)"
        found = connection.execute(
            sa.text(query), {"collection": stac["collection_id"], "item": stac["item_id"]}
        ).scalar_one()
    return {link["rel"]: link["href"] for link in found["links"]}


@pytest.mark.parametrize("name", KINDS)
def test_a_map_shows_what_was_drawn(
    name: str, process: Any, served: str, engine: sa.Engine, tmp_path: Path
) -> None:
    kind = KINDS[name]

    result = process(kind.write(tmp_path / f"{name}.tif"), **kind.spec)

    tilejson = links_of(engine, result)["tilejson"]
    assert tilejson.startswith(f"{served}/tiles/")
    found = {quarter: shown_at(tilejson, place) for quarter, place in kind.middles().items()}
    for quarter, colour in kind.shown.items():
        if colour is None:
            assert found[quarter][3] == 0, quarter
        else:
            np.testing.assert_allclose(found[quarter][:3], colour, atol=kind.tolerance)
    drawn = [quarter for quarter in QUARTERS if kind.shown.get(quarter, RED) is not None]
    assert all(found[quarter][3] == 255 for quarter in drawn), found
    # Other values look otherwise, the same ones the same.
    values = {kind.values[quarter][:3] for quarter in drawn}
    assert len({found[quarter] for quarter in drawn}) == len(values), found
    if len(kind.values["nw"]) == 1:
        assert {q: value_at(served, result, place) for q, place in kind.middles().items()} == {
            quarter: None if value == kind.nodata else value
            for quarter, (value,) in kind.values.items()
        }


def test_a_map_of_a_collection_shows_all_of_its_members(
    run_asset: Any, served: str, bronze: Path, engine: sa.Engine, unique: str
) -> None:
    west = KINDS["rgb"]
    swapped = dict(zip(QUARTERS, reversed(list(west.values.values())), strict=True))
    east = dataclasses.replace(
        west, values=swapped, transform=Affine.translation(0.4, 0) @ west.transform
    )
    folder = bronze / unique
    folder.mkdir()
    west.write(folder / "west.tif")
    east.write(folder / "east.tif")

    run = run_asset("collection", f"bronze/{unique}/")

    assert run.success, failure_of(run)
    assert failed_checks(run) == []
    assert (
        "a tile of the mosaic equals that of the one member on it" in tiles_served(run).description
    )
    result = run.output_for_node("raster_collection.verify", "result")
    tilejson = links_of(engine, result)["tilejson"]
    mirrored = dict(zip(QUARTERS, reversed(list(COLOURS.values())), strict=True))
    for member, colours in ((west, COLOURS), (east, mirrored)):
        for quarter, place in member.middles().items():
            assert shown_at(tilejson, place)[:3] == colours[quarter]


def tiles_served(run: Any) -> Any:
    """What the check of the tile server found in a run."""
    (check,) = [
        event.asset_check_evaluation_data
        for event in run.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
        and event.asset_check_evaluation_data.check_name == "tiles_served"
    ]
    return check


def test_the_check_says_which_tile_it_saw(
    run_asset: Any, deliver: Any, served: str, tmp_path: Path, unique: str
) -> None:
    key = deliver(KINDS["rgb"].write(tmp_path / "rgb.tif"))

    run = run_asset("raster", key, item_id=unique)

    check = tiles_served(run)
    assert check.passed
    tile = httpx.get(check.metadata["url"].value)
    assert check.metadata["url"].value.startswith(served)
    assert tile.headers["content-type"] == check.metadata["content_type"].value == "image/png"
    assert len(tile.content) == check.metadata["bytes"].value


def test_a_raster_of_mars_is_not_put_on_a_map_of_the_earth(
    process: Any, served: str, shared_data: Path
) -> None:
    result = process(shared_data / "raster/geotiff/cog_hirise_mars.tif", target_crs="native")

    assert result["tiles_url"] is None
    assert result["viewer_url"] is None
