"""How tile servers are told to show classes: in the colours of their own table."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from affine import Affine

from geo_etl.catalog.raster_collections import CollectionFacts, raster_collection
from geo_etl.catalog.renders import render_of
from geo_etl.raster.facts import Grid, RasterFacts
from geo_etl.raster.manifest import Made, Proof
from geo_etl.spec import RasterSpec
from geo_etl_tests.unit.rasters import facts_of, plan_of

GRID = Grid("EPSG:4326", Affine(1, 0, 10, 0, -1, 50), 4, 4)
TABLE = ((0, (0, 0, 0, 0)), (1, (255, 0, 0, 255)), (2, (0, 255, 0, 255)), (9, (9, 9, 9, 255)))


def render_with(*classes: int, table: Any = TABLE) -> dict[str, Any]:
    plain = facts_of(GRID, "uint8", kind="classes")
    band = replace(plain.bands[0], color="palette", colormap=table, classes=classes)
    facts: RasterFacts = replace(plain, bands=(band,))
    plan = plan_of(facts)
    proof = Proof(True, (), 16, 0, 0, None, None, ())
    made = Made("analysis", "silver/a", 1, "0", GRID, plan.profile, proof, (), None, 16)
    render = render_of([made], facts, RasterSpec(), "a.tif")
    assert render is not None
    return render


def collection_of(*renders: dict[str, Any]) -> dict[str, Any]:
    items = [
        {
            "id": str(number),
            "bbox": [10.0, 46.0, 14.0, 50.0],
            "properties": {
                "datetime": "2024-01-01T00:00:00+00:00",
                "gsd": 1.0,
                "renders": {"default": render},
            },
            "assets": {},
        }
        for number, render in enumerate(renders)
    ]
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    return raster_collection(CollectionFacts("c", "bronze/c", items, "job", moment))


def test_classes_have_the_colours_of_their_table() -> None:
    render = render_with(1, 9)

    assert render["colormap"] == {"1": [255, 0, 0, 255], "9": [9, 9, 9, 255]}
    assert "rescale" not in render
    assert render["resampling"] == "nearest"


def test_a_collection_has_the_colours_of_all_its_members() -> None:
    collection = collection_of(render_with(1, 9), render_with(1, 2))

    assert collection["renders"]["default"]["colormap"] == {
        "1": [255, 0, 0, 255],
        "2": [0, 255, 0, 255],
        "9": [9, 9, 9, 255],
    }


@pytest.mark.parametrize("value", [1, 2])
def test_members_that_colour_a_class_differently_have_no_common_colours(value: int) -> None:
    other = tuple((key, (7, 7, 7, 255) if key == value else colour) for key, colour in TABLE)

    assert "renders" not in collection_of(render_with(1, 2), render_with(1, 2, table=other))
