"""`geo-etl result` for raster layers."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from geo_etl.cli import main
from geo_etl.report.raster_result import RasterResult, read_result
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl_tests.integration.raster_publishing import Site, manifest
from geo_etl_tests.unit.raster_jobs import result, tiled


@pytest.fixture
def site(stack: Any, engine: sa.Engine) -> Site:
    """The stack's database and storage."""
    return Site(engine, LocalBlobs(stack.home / "blobs"))


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["result", *arguments], catch_exceptions=False)


def finish(site: Site, layer: str, document: RasterResult) -> None:
    """As the op `verify`: the newest version of a layer gets its result."""
    version = site.rasters.named(layer)
    site.rasters.store_result(version, document.model_dump(mode="json"))


def test_the_result_of_a_single_raster_is_shown(site: Site, unique: str) -> None:
    site.ingest(manifest(f"system-rasters/{unique}"))
    finish(site, f"system-rasters/{unique}", result())

    shown = command(f"system-rasters/{unique}")

    assert shown.exit_code == 0
    assert read_result(json.loads(shown.stdout)) == result()


def test_the_result_of_a_set_is_shown_by_its_collection(site: Site, unique: str) -> None:
    site.ingest(manifest(unique, tiles=2))
    finish(site, unique, tiled())

    assert read_result(json.loads(command(unique).stdout)) == tiled()


def test_a_layer_whose_job_is_not_done_has_no_result(site: Site, unique: str) -> None:
    site.ingest(manifest(f"system-rasters/{unique}"))

    shown = command(f"system-rasters/{unique}")

    assert shown.exit_code == 2
    assert "has not come to its end" in shown.stderr


def test_a_layer_that_is_not_published_is_named(site: Site, unique: str) -> None:
    shown = command(f"system-rasters/{unique}")

    assert shown.exit_code == 2
    assert f"raster layer system-rasters/{unique}" in shown.stderr


def test_the_schema_of_either_kind_is_shown() -> None:
    titles = [
        json.loads(command("--schema", *kind).stdout)["title"]
        for kind in ((), ("--kind", "raster"))
    ]
    assert titles == ["geo_etl vector result", "geo_etl raster result"]
