"""The checks of servers against the real ones: what is well, and faults of every kind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
import sqlalchemy as sa
from dagster import AssetCheckResult

from geo_etl.assets.checks import features_served
from geo_etl.assets.raster_checks import tiles_served
from geo_etl.assets.raster_gathered import catalogued_members
from geo_etl.assets.raster_places import catalogued_items
from geo_etl.assets.raster_serving import LayerSeen, see_layer
from geo_etl.assets.serving_checks import stac_served
from geo_etl.assets.table_serving import TablesSeen, see_tables
from geo_etl.report.raster_result import read_result
from geo_etl.report.result import VectorResult
from geo_etl.resources import pgstac
from geo_etl.resources.postgis import PostGISResource, engine_for
from geo_etl.resources.serving import ServingResource
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.e2e.published import Published

POSTGIS, SERVING = PostGISResource(), ServingResource()


@dataclass(frozen=True)
class Looked:
    """A result document, and what the checks of servers say of it now."""

    seen: TablesSeen | LayerSeen
    checks: dict[str, AssetCheckResult]

    def said(self, check: str) -> str:
        return str(self.checks[check].description)

    def shown(self, check: str) -> dict[str, Any]:
        return {key: value.value for key, value in self.checks[check].metadata.items()}

    @property
    def failed(self) -> set[str]:
        return {name for name, check in self.checks.items() if not check.passed}


def look(document: dict[str, Any], serving: ServingResource = SERVING) -> Looked:
    """Check a result as the last op of its job does."""
    if "tables" in document:
        return judge_tables(document, see_tables([document["table"]], POSTGIS, serving))
    result = read_result(document)
    found = catalogued_members if result.form == "collection" else catalogued_items
    seen = see_layer(result.layer, found, POSTGIS, serving)
    tiles, stac = tiles_served(result, seen.drawn), stac_served("a", result.source, seen.stac)
    return Looked(seen, {"tiles": tiles, "stac": stac})


def judge_tables(document: dict[str, Any], seen: TablesSeen) -> Looked:
    result = VectorResult.model_validate(document)
    features = features_served(result, seen.stored, seen.served)
    return Looked(seen, {"features": features, "stac": stac_served("a", result.source, seen.stac)})


# What is well


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("table", "numberMatched 2300, first feature read, in the bbox of its item and on a"),
        ("shapefile", "numberMatched 3, first feature read, in the bbox of its item and on a"),
    ],
)
def test_a_table_is_served(published: Published, kind: str, words: str) -> None:
    looked = look(published.results[kind])

    assert looked.failed == set()
    assert words in looked.said("features")
    assert looked.said("stac").endswith(": STAC items read back as written: 1 of 1")
    assert looked.shown("features")["url"].startswith(f"{published.root}/features/collections/")
    assert looked.shown("stac")["url"].startswith(f"{published.root}/stac/collections/")


@pytest.mark.parametrize(
    ("kind", "tiles", "stac"),
    [
        ("raster", "tiles drawn: 1", "read back as written: 1 of 1; files {}: 3"),
        ("large", "tiles drawn: 1", "read back as written: 1 of 1; files {}: 1"),
        ("tiles", "mosaic equals that of the one member", ", and their collection; files {}: 4"),
        # Both lie in the same place.
        ("members", "no tile was found that one member", "2 of 2, and their collection; files {}"),
    ],
)
def test_a_raster_is_served(published: Published, kind: str, tiles: str, stac: str) -> None:
    looked = look(published.results[kind])

    assert looked.failed == set()
    assert tiles in looked.said("tiles")
    assert stac.format("opened at the addresses that they give") in looked.said("stac")


# Faults


@pytest.fixture(scope="module")
def table(run_asset: Callable[..., Any], bronze: Path, served: str) -> dict[str, Any]:
    """The result of a small table."""
    squares = gpd.GeoDataFrame({"n": range(3)}, geometry=shapely.box(range(3), 0, range(1, 4), 1))
    squares.set_crs(4326).to_file(bronze / "checked.gpkg", layer="a", driver="GPKG")
    run = run_asset("vector", "bronze/checked.gpkg", table_name="checked")
    assert run.success, failure_of(run)
    return run.output_for_node("vector_table.verify", "result")


def test_a_table_emptied_behind_the_server(table: dict[str, Any], engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE public.kept AS SELECT * FROM geo.checked"))
        connection.execute(sa.text("DELETE FROM geo.checked"))
    try:
        looked = look(table)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO geo.checked SELECT * FROM public.kept"))
            connection.execute(sa.text("DROP TABLE public.kept"))

    assert looked.failed == {"features"}
    assert "numberMatched is 0, 3 features are published (http://" in looked.said("features")
    assert "HTTP 200 application/geo+json: {" in looked.said("features")
    shown = looked.shown("features")
    assert (shown["status"], shown["number_matched"]) == (200, 0)
    assert '"numberMatched":0' in shown["answer"]
    assert look(table).failed == set()


def test_a_first_feature_elsewhere_than_the_item_says(table: dict[str, Any]) -> None:
    seen = look(table).seen
    assert isinstance(seen, TablesSeen)
    ((name, shown),) = seen.stored.items()
    assert shown.version is not None
    item = {**shown.version.item, "bbox": [10, 0, 13, 1]}
    elsewhere = replace(shown, version=replace(shown.version, item=item))

    looked = judge_tables(table, replace(seen, stored={name: elsewhere}))

    assert looked.failed == {"features"}
    assert "does not lie in the bbox of the STAC item, [10, 0, 13, 1]" in looked.said("features")


def test_an_item_changed_behind_the_job(table: dict[str, Any], engine: sa.Engine) -> None:
    place = (table["stac"]["collection_id"], table["stac"]["item_id"])
    with engine.begin() as connection:
        before = pgstac.get_item(connection, *place)
        assert before is not None
        changed = {**before["properties"], "table:row_count": 4}
        pgstac.upsert_item(connection, {**before, "properties": changed})
    try:
        looked = look(table)
    finally:
        with engine.begin() as connection:
            pgstac.upsert_item(connection, before)

    assert looked.failed == {"stac"}
    assert "properties.table:row_count is 4, 3 was written (http://" in looked.said("stac")
    assert "HTTP 200 application/geo+json: {" in looked.said("stac")
    assert look(table).failed == set()


@contextmanager
def moved_away(href: str) -> Iterator[None]:
    path = Path(href.removeprefix("file://"))
    aside = path.rename(path.with_suffix(".aside"))
    try:
        yield
    finally:
        aside.rename(path)


def test_a_file_removed_from_silver(published: Published) -> None:
    result = published.results["large"]
    with moved_away(result["assets"][0]["href"]):
        looked = look(result)

    assert looked.failed == {"tiles", "stac"}
    stac, tiles = looked.shown("stac"), looked.shown("tiles")
    assert stac["status"] == 404
    assert stac["url"].startswith(f"{published.root}/files/silver/")
    assert "HTTP 404 " in looked.said("stac")
    assert tiles["status"] >= 400
    assert tiles["url"] in looked.said("tiles")
    assert tiles["answer"] in looked.said("tiles")


def test_a_mosaic_that_shows_something_else_than_its_member(published: Published) -> None:
    looked = look(published.results["tiles"])
    assert isinstance(looked.seen, LayerSeen)
    drawn = looked.seen.drawn
    assert drawn is not None
    assert drawn.pair is not None
    among, alone = drawn.pair
    assert among.pixels is not None
    one_off = among.pixels.copy()
    one_off[0, 100, 100] ^= 1

    check = tiles_served(
        read_result(published.results["tiles"]),
        replace(drawn, pair=(replace(among, pixels=one_off), alone)),
    )

    assert not check.passed
    assert f"the mosaic's tile is not that of the one member on it, {alone.answer.url}" in str(
        check.description
    )
    assert check.metadata["url"].value == among.answer.url


def test_a_server_of_another_database(
    run_asset: Any, table: dict[str, Any], engine: sa.Engine, served: str
) -> None:
    """Servers that were not told of the database that the job wrote to."""
    from geo_etl.stack.migrate import migrate

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CREATE DATABASE elsewhere"))
    url = engine.url.set(drivername="postgresql", database="elsewhere").render_as_string(False)
    migrate(url)
    other = PostGISResource(url=url)

    run = run_asset(
        "vector", "bronze/checked.gpkg", resources={"postgis": other}, table_name="only_there"
    )

    engine_for(url).dispose()
    assert run.success, failure_of(run)
    found = {
        event.asset_check_evaluation_data.check_name: event.asset_check_evaluation_data
        for event in run.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    }
    assert {name for name, check in found.items() if not check.passed} == {
        "features_served",
        "stac_served",
    }
    for name in ("features_served", "stac_served"):
        shown = found[name].metadata
        assert shown["status"].value == 404
        assert shown["url"].value in found[name].description
        assert shown["url"].value.startswith(served)
        assert "only_there" in shown["answer"].value
