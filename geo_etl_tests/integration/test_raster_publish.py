"""Rasters become visible whole and at once, whatever dies on the way, and leave nothing behind."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import sqlalchemy as sa
from dagster import DagsterInstance

from geo_etl.catalog.raster_collections import open_raster_collection
from geo_etl.definitions import build_definitions
from geo_etl.errors import ConservationError, PublishError
from geo_etl.raster.discards import orphans
from geo_etl.raster.manifest import PieceReport
from geo_etl.raster.outputs import Attempt, abandon, finish_piece, reports_of
from geo_etl.raster.ownership import check_layer
from geo_etl.raster.publish import publish
from geo_etl.resources import pgstac
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.resources.rasters import catalogue
from geo_etl.vector.target import check_target
from geo_etl.vector.versions import Target
from geo_etl_tests.integration.raster_publishing import (
    DiedError,
    Mortal,
    Site,
    item,
    manifest,
)
from geo_etl_tests.made import squares, write

ALL_STEPS = 100
"""More than any of the ways here has."""


@pytest.fixture
def site(stack: Any, engine: sa.Engine) -> Site:
    """The stack's database and storage."""
    return Site(engine, LocalBlobs(stack.home / "blobs"))


def local(hrefs: set[str]) -> list[Path]:
    return [Path(unquote(urlsplit(href).path)) for href in hrefs]


def kept(site: Site, layer: str) -> set[str]:
    """Blobs of the versions of a layer that can be restored, by the ledger."""
    with site.engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT o.path FROM geo_etl.raster_output o JOIN geo_etl.raster_publication p"
                " USING (load_id) WHERE p.layer = :layer AND o.kept"
            ),
            {"layer": layer},
        ).scalars()
        return set(found)


def tiles(site: Site, layer: str) -> list[tuple[Any, ...]]:
    """Tile, state and blobs of a layer as `geo.tiles` shows them."""
    with site.engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT tile, state, blobs FROM geo.tiles WHERE layer = :layer ORDER BY tile"),
            {"layer": layer},
        )
        return [tuple(row) for row in found]


def test_a_publish_shows_item_and_files_at_once(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem", tiers=("analysis", "archive"))

    load = site.begin(plan)
    reports = [site.convert(load, plan)]
    before = site.shown(unique, "dem")
    number = site.publish(load, plan, reports)

    assert before == set()
    assert number == 1
    files = local(site.shown(unique, "dem"))
    assert [path.read_text() for path in files] == ["pixels", "pixels"]
    assert site.blobs(plan.layer) == kept(site, plan.layer)


@pytest.mark.parametrize("tile_count", [0, 2], ids=["single", "tiled"])
def test_the_same_job_twice_changes_nothing(site: Site, unique: str, tile_count: int) -> None:
    layer, name = (unique, f"{unique}_0") if tile_count else (f"{unique}/dem", "dem")
    plan = manifest(layer, tiles=tile_count)
    site.ingest(plan)
    shown, blobs = site.shown(unique, name), site.blobs(layer)

    again = site.ingest(plan)

    assert again == 1
    assert shown
    assert (site.shown(unique, name), site.blobs(layer)) == (shown, blobs)


def test_a_forced_second_time_is_a_version_with_files_of_its_own(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    site.ingest(plan)
    first = site.blobs(plan.layer)

    again = site.ingest(plan, force=True)

    assert again == 2
    assert len(site.blobs(plan.layer) - first) == 1
    assert first < site.blobs(plan.layer)


def test_what_is_verified_is_not_published_again(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    site.ingest(plan)
    (version,) = site.rasters.published(layer=plan.layer)
    before = site.rasters.done(plan.order.job_id, site.storage)

    site.rasters.store_result(version, {"status": "done"})

    assert before is None
    assert site.rasters.done(plan.order.job_id, site.storage) == {"status": "done"}


def test_a_job_whose_files_somebody_removed_is_not_done(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    site.ingest(plan)
    (version,) = site.rasters.published(layer=plan.layer)
    site.rasters.store_result(version, {"status": "done"})
    (path,) = local(site.shown(unique, "dem"))

    path.unlink()

    assert site.rasters.done(plan.order.job_id, site.storage) is None


def test_a_piece_is_done_once_however_often_it_is_tried(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    load = site.begin(plan)
    first, second = site.attempt(load, plan), site.attempt(load, plan)
    assert isinstance(first, Attempt)
    assert isinstance(second, Attempt)
    site.write(second, "second")

    won = finish_piece(site.engine, second, site.report(second, plan))
    site.rasters.remove_discarded(site.storage)
    site.write(first, "late")
    lost = finish_piece(site.engine, first, site.report(first, plan))

    assert lost == won
    assert lost.made[0].path == next(iter(second.paths.values()))
    assert site.publish(load, plan, [lost]) == 1
    assert [path.read_text() for path in local(site.shown(unique, "dem"))] == ["second"]
    assert site.blobs(plan.layer) == kept(site, plan.layer)


def test_many_attempts_at_one_piece_agree(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    load = site.begin(plan)

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: site.convert(load, plan), range(8)))

    assert {report.made[0].path for report in reports} == {reports[0].made[0].path}
    site.publish(load, plan, reports[:1])
    assert len(site.blobs(plan.layer)) == 1


def test_a_report_reads_back_as_it_was(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem", tiers=("visualization", "analysis"))
    load = site.begin(plan)

    report = site.convert(load, plan)

    with site.engine.connect() as connection:
        assert reports_of(connection, load.id) == [report]
    assert report.preview == b"png"


def test_a_missing_piece_is_never_published(site: Site, unique: str) -> None:
    plan = manifest(unique, tiles=3)
    load = site.begin(plan)
    reports = [site.convert(load, plan, index) for index in (0, 2)]

    with pytest.raises(
        ConservationError, match="1 pieces are not converted, the first is number 1"
    ):
        site.publish(load, plan, reports)

    assert site.rasters.current(unique) is None


def test_a_file_that_nobody_noted_is_never_published(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    load = site.begin(plan)
    candidate = site.candidate(load, plan, [site.convert(load, plan)])
    stranger = ("silver/elsewhere.tif", *candidate.blobs)

    with pytest.raises(PublishError, match=r"elsewhere.tif is none of those"):
        publish(
            site.engine,
            [type(candidate)(load, candidate.version, candidate.items, stranger)],
            catalogue,
            3,
        )


def test_a_polling_reader_sees_one_version_whole(site: Site, unique: str) -> None:
    plans = [manifest(unique, content, tiles=2) for content in ("one", "two", "three")]
    site.ingest(plans[0])
    seen: set[tuple[str, ...]] = set()
    stop = threading.Event()
    query = sa.text(
        "SELECT array_agg(content->'assets'->'analysis'->>'href' ORDER BY id)"
        " FROM pgstac.items WHERE collection = :collection"
    )

    def poll() -> None:
        with site.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not stop.is_set():
                seen.add(tuple(connection.execute(query, {"collection": unique}).scalar_one()))

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for plan in plans[1:]:
            site.ingest(plan)
    finally:
        stop.set()
        reader.join()

    folders = {tuple(href.split("/")[-3] for href in hrefs) for hrefs in seen}
    assert all(len(set(pair)) == 1 and len(pair) == 2 for pair in folders)
    assert len(folders) >= 2


def test_an_older_run_never_replaces_a_newer_one(site: Site, unique: str) -> None:
    old, new = manifest(f"{unique}/dem", "old"), manifest(f"{unique}/dem", "new")
    load = site.begin(old)
    report = site.convert(load, old)
    site.ingest(new)

    with pytest.raises(PublishError, match="a newer run of the same source took its place"):
        site.publish(load, old, [report])

    (version,) = site.rasters.published(layer=new.layer)
    assert version.fingerprint == new.order.fingerprint
    assert site.blobs(new.layer) == kept(site, new.layer)


def test_a_task_of_a_superseded_run_is_told_so(site: Site, unique: str) -> None:
    old, new = manifest(f"{unique}/dem", "old"), manifest(f"{unique}/dem", "new")
    load = site.begin(old)
    late = site.attempt(load, old)
    assert isinstance(late, Attempt)
    site.begin(new)
    site.write(late)

    with pytest.raises(PublishError, match="took its place"):
        finish_piece(site.engine, late, site.report(late, old))
    abandon(site.engine, late)
    site.rasters.remove_discarded(site.storage)

    assert site.blobs(old.layer) == set()
    with pytest.raises(PublishError, match="took its place"):
        site.attempt(load, old)


def test_an_attempt_that_fails_for_good_leaves_nothing(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    load = site.begin(plan)
    failed = site.attempt(load, plan)
    assert isinstance(failed, Attempt)
    site.write(failed)

    abandon(site.engine, failed)
    site.rasters.remove_discarded(site.storage)

    assert site.blobs(plan.layer) == set()
    again = site.attempt(load, plan)
    assert isinstance(again, Attempt)
    assert not set(again.paths.values()) & set(failed.paths.values())


def test_tiles_are_planned_then_published_or_empty(site: Site, unique: str) -> None:
    plan = manifest(unique, tiles=3)
    load = site.begin(plan)
    planned = tiles(site, unique)

    reports = [site.convert(load, plan, index, empty=index == 1) for index in range(3)]
    converted = tiles(site, unique)
    site.publish(load, plan, reports)

    assert planned == converted == [(index, "planned", None) for index in range(3)]
    assert tiles(site, unique) == [
        (0, "published", {"analysis": reports[0].made[0].path}),
        (1, "empty", {}),
        (2, "published", {"analysis": reports[2].made[0].path}),
    ]


def test_a_tile_lies_where_its_window_is(site: Site, unique: str) -> None:
    site.begin(manifest(unique, tiles=2))

    with site.engine.connect() as connection:
        boxes = connection.execute(
            sa.text(
                "SELECT ST_XMin(geom), ST_YMin(geom), ST_XMax(geom), ST_YMax(geom),"
                " GeometryType(geom), ST_SRID(geom) FROM geo.tiles WHERE layer = :l ORDER BY tile"
            ),
            {"l": unique},
        ).all()

    # The grid: 100 × 100 pixels of 0.01 degrees from 5° east, 51° north.
    assert [tuple(box) for box in boxes] == [
        (pytest.approx(5.0), pytest.approx(50.0), pytest.approx(5.5), 51.0, "MULTIPOLYGON", 4326),
        (pytest.approx(5.5), pytest.approx(50.0), pytest.approx(6.0), 51.0, "MULTIPOLYGON", 4326),
    ]


def test_tiles_of_a_replaced_version_go(site: Site, unique: str) -> None:
    site.ingest(manifest(unique, "one", tiles=3))
    site.ingest(manifest(unique, "two", tiles=2))

    assert [row[:2] for row in tiles(site, unique)] == [(0, "published"), (1, "published")]


def test_items_that_a_new_version_has_not_are_removed(site: Site, unique: str) -> None:
    site.ingest(manifest(unique, "one", tiles=3))
    site.ingest(manifest(unique, "two", tiles=2))

    assert site.shown(unique, f"{unique}_1")
    assert site.shown(unique, f"{unique}_2") == set()


def test_another_sources_layer_is_never_overwritten(site: Site, unique: str) -> None:
    site.ingest(manifest(f"{unique}/dem", source="bronze/first.tif"))

    with pytest.raises(PublishError, match=r"another source, bronze/first.tif. Set item_id or"):
        site.ingest(manifest(f"{unique}/dem", source="bronze/second.tif"))

    (version,) = site.rasters.published(layer=f"{unique}/dem")
    assert version.source == "bronze/first.tif"


def test_an_item_that_geo_etl_did_not_make_is_never_overwritten(site: Site, unique: str) -> None:
    foreign = item(unique, "dem", {"data": "https://example.org/dem.tif"})
    with site.engine.begin() as connection:
        pgstac.ensure_collection(connection, open_raster_collection(unique))
        pgstac.upsert_item(connection, foreign)

    with pytest.raises(PublishError, match=f"STAC item {unique}/dem: it was not made by geo_etl"):
        site.ingest(manifest(f"{unique}/dem"))

    assert site.shown(unique, "dem") == {"https://example.org/dem.tif"}


def test_a_collection_that_geo_etl_did_not_make_is_never_taken_over(
    site: Site, unique: str
) -> None:
    with site.engine.begin() as connection:
        pgstac.ensure_collection(connection, open_raster_collection(unique))

    with pytest.raises(PublishError, match=f"STAC collection {unique}: it is there already"):
        site.ingest(manifest(unique, tiles=2))


def test_a_single_raster_never_goes_among_the_tiles_of_another(site: Site, unique: str) -> None:
    site.ingest(manifest(unique, tiles=2))

    with (
        site.engine.connect() as connection,
        pytest.raises(PublishError, match=r"holds the tiles of bronze/dem.tif, and nothing else"),
    ):
        check_layer(connection, f"{unique}/other", "single", ["other"], "bronze/other.tif")


def test_a_set_never_takes_the_collection_of_another_source(site: Site, unique: str) -> None:
    site.ingest(manifest(f"{unique}/dem", source="bronze/first.tif"))

    with pytest.raises(PublishError, match=r"it holds a layer of another source, bronze/first.tif"):
        site.ingest(manifest(unique, source="bronze/second.tif", tiles=2))


def test_an_item_of_a_table_is_never_overwritten(
    site: Site, unique: str, ingest: Any, tmp_path: Path
) -> None:
    ingest(write(tmp_path / "a.gpkg", squares(2)), collection_id=unique)

    with pytest.raises(PublishError, match=f"it belongs to table geo.{unique}"):
        site.ingest(manifest(f"{unique}/geo.{unique}"))


def test_publishes_into_one_collection_lose_nothing(site: Site, unique: str) -> None:
    names = [f"dem{number}" for number in range(6)]

    with ThreadPoolExecutor(3) as pool:
        ingests = [
            pool.submit(site.ingest, manifest(f"{unique}/{name}", source=f"bronze/{name}.tif"))
            for name in names
        ]

    assert [one.result() for one in ingests] == [1] * len(names)
    assert all(site.shown(unique, name) for name in names)


def test_a_vector_table_never_takes_the_place_of_the_tiles(engine: sa.Engine, stack: Any) -> None:
    with (
        engine.connect() as connection,
        pytest.raises(PublishError, match=r"table geo.tiles: geo_etl itself has the tiles"),
    ):
        check_target(connection, Target("geo", "tiles"), "bronze/tiles.gpkg", "replace", "")


@pytest.mark.parametrize("tile_count", [0, 2], ids=["single", "tiled"])
@pytest.mark.parametrize("after", ["retry", "cleanup"])
def test_whatever_dies_readers_see_a_whole_version_and_nothing_is_left(
    site: Site, unique: str, tile_count: int, after: str
) -> None:
    deaths = []
    layer = unique if tile_count else f"{unique}/dem"
    names = [f"{unique}_{index}" for index in range(tile_count)] or ["dem"]
    for at in range(1, ALL_STEPS):
        old, new = (manifest(layer, f"{age} {at}", tiles=tile_count) for age in ("old", "new"))
        site.ingest(old, keep=1)
        life = Mortal(at)
        with life.living(site) as mortal, suppress(DiedError):
            mortal.ingest(new, keep=1)
        (version,) = site.rasters.published(layer=layer)
        shown = [site.shown(unique, name) for name in names]
        assert all(path.exists() for hrefs in shown for path in local(hrefs)), life.calls
        assert len({href.split("/")[-3] for hrefs in shown for href in hrefs}) == 1, life.calls

        if after == "retry":
            site.ingest(new, keep=1)
            (version,) = site.rasters.published(layer=layer)
            assert version.fingerprint == new.order.fingerprint
        else:
            site.rasters.drop_unfinished_loads(datetime.now(UTC) + timedelta(hours=1), set())
            site.rasters.remove_discarded(site.storage)
            site.rasters.remove_orphans(site.storage, "silver")
        assert site.blobs(layer) == kept(site, layer), life.calls
        assert version.load_id is not None
        if life.steps < at:
            break
        deaths.append(life.calls[-1].split()[0])

    assert life.steps < at
    assert {"commit", "write", "wrote", "delete", "deleted"} <= set(deaths)


def test_the_cleanup_job_removes_what_a_dead_run_left(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    site.convert(site.begin(plan), plan)
    left = site.blobs(plan.layer)
    job = build_definitions().resolve_job_def("cleanup")
    config = {"ops": {"remove_leftovers": {"config": {"older_than_hours": 0}}}}

    with DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, run_config=config)

    assert result.success
    assert len(left) == 1
    assert site.blobs(plan.layer) == set()


def test_cleanup_leaves_what_is_on_its_way(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    load = site.begin(plan)
    report = site.convert(load, plan)
    soon = datetime.now(UTC) + timedelta(hours=1)

    site.rasters.drop_unfinished_loads(soon, {plan.order.job_id})
    site.rasters.remove_orphans(site.storage, "silver")

    assert isinstance(report, PieceReport)
    assert site.publish(load, plan, [report]) == 1


def test_a_blob_that_nothing_knows_is_an_orphan(site: Site, unique: str) -> None:
    plan = manifest(f"{unique}/dem")
    site.ingest(plan)
    (known,) = site.blobs(plan.layer)
    stray = f"silver/rasters/{plan.layer}/stray.tif"

    with site.engine.connect() as connection:
        assert orphans(connection, [known, stray]) == [stray]
