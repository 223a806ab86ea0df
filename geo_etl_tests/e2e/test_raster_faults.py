"""Real processes are killed, a real PostgreSQL stopped, a disk filled while rasters are ingested.

After a fault the next ingest of the same source ends complete, readers have only ever seen whole
versions, and nothing is left in silver that is not part of one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geo_etl_tests.e2e.faults import (
    Gate,
    Running,
    Site,
    clean_up,
    client_of,
    gone,
    wait_until,
)
from geo_etl_tests.e2e.raster_faults import (
    TILES,
    LayerReader,
    Seen,
    Sent,
    assert_no_orphan,
    assert_published,
    assert_unpublished,
    assert_whole,
    done_pieces,
    scratch,
    send,
    silver_files,
)

FIRST, SECOND = 0, 1

POINTS: dict[str, dict[str, Any]] = {
    # All is read and decided; nothing is noted.
    "plan": {"event": "INSERT ON geo_etl.raster_load"},
    # A task is about to note what it will write.
    "task": {"event": "INSERT ON geo_etl.raster_output", "when": "NEW.index = 1"},
    # The file of a task lies in silver; the task is about to say so.
    "piece": {"event": "UPDATE ON geo_etl.raster_piece", "when": "NEW.index = 1"},
    # All tasks are done; the publish is about to note the mosaic and the preview.
    "files": {"event": "INSERT ON geo_etl.raster_output", "when": "NEW.index IS NULL"},
    # In the publish transaction, its STAC items are written.
    "record": {"event": "INSERT ON geo_etl.raster_publication"},
    # PostgreSQL works on the COMMIT of the publish transaction.
    "commit": {"event": "INSERT ON geo_etl.raster_publication", "at_commit": True},
    # The publish is committed; verify is about to store the result.
    "verify": {
        "event": "UPDATE ON geo_etl.raster_publication",
        "when": "OLD.result IS NULL AND NEW.result IS NOT NULL",
    },
}


@pytest.fixture
def put(tmp_path: Path, unique: str) -> Callable[[int], Sent]:
    """Write a version of the test's own raster; it is published as the set UNIQUE."""
    return lambda version: send(tmp_path / f"{unique}.tif", version)


def kill(site: Site, gate: Gate, running: Running) -> None:
    """Kill a run and all its processes at the gate; returns when their sessions are gone."""
    backends = gate.wait(running)
    running.kill()
    gate.open()
    wait_until(lambda: gone(site, backends), "the sessions of the dead to end")


def caught(running: Running, condition: Callable[[], bool], what: str) -> None:
    """Stop the processes of a run in a state that lasts only for a moment."""

    def arrived() -> bool:
        assert running.process.poll() is None, running.wait().err
        if not condition():
            return False
        for process in running.members():
            process.suspend()
        if condition():
            return True
        for process in running.members():
            process.resume()
        return False

    wait_until(arrived, what)


# Convert tasks


@pytest.mark.parametrize("point", ["task", "piece"])
def test_killed_task_is_tried_again_by_the_run(
    point: str, site: Site, gate: Gate, put: Any, unique: str
) -> None:
    sent = put(FIRST)
    gate.on(**POINTS[point])
    running = sent.ingest(site)
    (backend,) = gate.wait(running)
    step = client_of(site, backend)
    assert step.pid != running.process.pid
    step.kill()
    gate.open()
    ended = running.wait()
    assert "retry" in ended.err
    assert_whole(site, sent, ended)


def test_task_that_stays_dead_fails_the_run_and_the_next_makes_only_the_rest(
    site: Site, gate: Gate, put: Any, unique: str
) -> None:
    sent = put(FIRST)
    gate.on(**POINTS["piece"])
    running = sent.ingest(site, retries=False)
    (backend,) = gate.wait(running)
    client_of(site, backend).kill()
    gate.open()
    failed = running.wait()
    assert failed.code == 1
    assert failed.document["error"]["what"].startswith("step convert[")
    assert_unpublished(site, unique)
    done = done_pieces(site, sent)
    assert set(done) == {0, 2, 3}

    assert_whole(site, sent, sent.ingest(site).wait())
    assert done.items() <= done_pieces(site, sent).items()


@pytest.mark.parametrize("point", ["piece", "record", "verify"])
def test_lost_database_session_is_a_transient_fault(
    point: str, site: Site, gate: Gate, put: Any, unique: str
) -> None:
    sent = put(FIRST)
    gate.on(**POINTS[point])
    running = sent.ingest(site)
    (backend,) = gate.wait(running)
    site.one("SELECT pg_terminate_backend(%s)", backend)
    gate.open()
    assert_whole(site, sent, running.wait())


# The whole run


@pytest.mark.parametrize("point", POINTS)
def test_killed_run_leaves_a_whole_version_and_the_next_run_completes(
    point: str, site: Site, gate: Gate, put: Any, unique: str
) -> None:
    with LayerReader(site, unique) as reader:
        reader.read_on()
        first = put(FIRST)
        assert_whole(site, first, first.ingest(site).wait())
        second = put(SECOND)
        gate.on(**POINTS[point])
        kill(site, gate, second.ingest(site))
        assert_published(site, second if point in ("commit", "verify") else first)
        reader.read_on()
        assert_whole(site, second, second.ingest(site).wait())
        reader.read_on()
    assert reader.problem is None
    assert reader.seen == [None, Seen(FIRST, TILES, TILES), Seen(SECOND, TILES, TILES)]


@pytest.mark.parametrize("moment", ["conversion", "upload"])
def test_run_killed_while_it_writes_leaves_nothing_once_it_is_cleaned_up(
    moment: str, site: Site, put: Any, unique: str
) -> None:
    first = put(FIRST)
    assert_whole(site, first, first.ingest(site).wait())
    whole, second = silver_files(site, unique), put(SECOND)
    running = second.ingest(site)

    def writes() -> bool:
        if moment == "conversion":
            return any(path.suffix == ".tif" for path in scratch(site).glob("geo_etl-*/*"))
        return any("partial" in path for path in silver_files(site, unique))

    caught(running, writes, "a task to write")
    running.kill()
    assert_published(site, first)
    assert any(scratch(site).iterdir())
    clean_up()
    assert_published(site, first)
    assert silver_files(site, unique) == whole
    assert_whole(site, second, second.ingest(site).wait())


def test_orphaned_task_and_a_new_run_make_each_tile_once(
    site: Site, gate: Gate, put: Any, unique: str
) -> None:
    sent = put(FIRST)
    gate.on(**POINTS["piece"])
    running = sent.ingest(site)
    gate.wait(running)
    running.kill_parent()
    again = sent.ingest(site)
    gate.wait(again, 2)
    gate.open()
    assert_whole(site, sent, again.wait())


# Re-execution by Dagster


@pytest.mark.parametrize("killed", ["step", "run"])
def test_reexecution_never_loses_tiles_in_silence(
    killed: str, site: Site, gate: Gate, put: Any, unique: str
) -> None:
    sent = put(FIRST)
    gate.on(**POINTS["piece"])
    running = sent.ingest(site, retries=False, GEO_ETL_MAX_CONCURRENT="1")
    backends = gate.wait(running)
    if killed == "run":
        running.kill()
        gate.open()
    else:
        client_of(site, backends[0]).kill()
        gate.open()
        assert running.wait().code == 1
    wait_until(lambda: gone(site, backends), "the sessions of the dead to end")
    assert_unpublished(site, unique)
    missing = set(range(TILES)) - set(done_pieces(site, sent))
    assert 1 in missing

    run = site.runs_of(sent.source)[0]
    module = "geo_etl_tests.e2e.reexecute"
    retried = site.start(run["run_id"], "failure", module=module).wait()
    outcome = retried.document if retried.code == 0 else {"success": False, "failures": []}
    if outcome["success"]:
        assert_published(site, sent)
    else:
        assert_unpublished(site, unique)
        said = " ".join(outcome["failures"]) or retried.err
        lost = sorted(set(range(TILES)) - set(done_pieces(site, sent)))
        assert f"{len(lost)} pieces are not converted, the first is number {lost[0]}" in said

    complete = site.start(run["run_id"], "all", module=module).wait()
    assert complete.document["success"], complete.document["failures"]
    again = sent.ingest(site).wait()  # done already: the stored result
    assert_whole(site, sent, again)


# Housekeeping


@pytest.mark.parametrize("point", ["task", "piece", "files"])
def test_cleanup_removes_what_a_killed_job_left_and_nothing_published(
    point: str, site: Site, gate: Gate, put: Any, unique: str
) -> None:
    first = put(FIRST)
    assert_whole(site, first, first.ingest(site).wait())
    second = put(SECOND)
    gate.on(**POINTS[point])
    kill(site, gate, second.ingest(site))
    before = site.rows("SELECT * FROM geo_etl.raster_publication ORDER BY layer, version")
    clean_up()
    assert site.rows("SELECT * FROM geo_etl.raster_publication ORDER BY layer, version") == before
    assert_published(site, first)
    assert_no_orphan(site, unique)
    assert not site.rows("SELECT 1 FROM geo_etl.raster_load WHERE state = 'making'")
    assert not site.rows("SELECT 1 FROM geo_etl.raster_discard")
    assert not any(site.work.rglob("*.*"))


# PostgreSQL


@pytest.mark.parametrize("point", ["piece", "record", "commit"])
def test_database_restarted_in_mid_run(
    point: str, own_site: Site, tmp_path: Path, unique: str
) -> None:
    site = own_site
    path = tmp_path / f"{unique}.tif"
    first = send(path, FIRST)
    assert_whole(site, first, first.ingest(site).wait())
    second = send(path, SECOND)
    gate = Gate(site)
    try:
        gate.on(**POINTS[point])
        running = second.ingest(site)
        gate.wait(running)
        site.stop_database_at_once()
        site.up()
        ended = running.wait()
        if ended.code == 0:
            assert_whole(site, second, ended)
        else:
            assert ended.code == 1, ended.err
            assert "Traceback" not in ended.err
            with site.connect() as connection:
                seen = LayerReader(site, unique).look(connection)
            assert seen is not None
            assert_published(site, first if seen.version == FIRST else second)
        assert_whole(site, second, second.ingest(site).wait())
    finally:
        site.kill_all()
        gate.remove()
