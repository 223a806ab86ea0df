"""Real processes are killed, a real PostgreSQL stopped, a disk filled while rasters are ingested.

After a fault the next ingest of the same source ends complete, readers have only ever seen whole
versions, and nothing is left in silver that is not part of one.
"""

import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geo_etl_tests.e2e.faults import (
    Ended,
    Gate,
    Running,
    Site,
    blocked_by,
    clean_up,
    client_of,
    gone,
    wait_until,
)
from geo_etl_tests.e2e.raster_faults import (
    MEMBERS,
    TILES,
    LayerReader,
    Seen,
    Sent,
    Series,
    assert_no_orphan,
    assert_published,
    assert_unpublished,
    assert_whole,
    done_pieces,
    send,
    send_folder,
    silver_files,
)

POINTS: dict[str, dict[str, Any]] = {
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
def sent(tmp_path: Path, unique: str) -> Sent:
    """A raster of the test's own; it is published as the set UNIQUE."""
    return send(tmp_path / f"{unique}.tif", 0)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """A raster that tests share: each replaces what the one before it has published."""
    return Series(tmp_path_factory.mktemp("series") / f"s{uuid.uuid4().hex[:10]}.tif")


@pytest.fixture
def published(site: Site, series: Series) -> Sent:
    """A version of the shared raster that readers see; never twice the same."""
    with site.connect() as connection:
        seen = LayerReader(site, series.path.stem).look(connection)
    if seen is None or seen.version != series.sent:  # it is the first test, or the last one failed
        assert_whole(site, *ingested(site, series.next()))
    return Sent(series.path, series.sent)


def ingested(site: Site, sent: Sent) -> tuple[Sent, Ended]:
    return sent, sent.ingest(site).wait()


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


def test_killed_task_is_tried_again_by_the_run(site: Site, gate: Gate, sent: Sent) -> None:
    gate.on(**POINTS["task"])
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
    site: Site, gate: Gate, sent: Sent
) -> None:
    gate.on(**POINTS["piece"])
    running = sent.ingest(site, retries=False)
    (backend,) = gate.wait(running)
    client_of(site, backend).kill()
    gate.open()
    failed = running.wait()
    assert failed.code == 1
    assert failed.document["error"]["what"].startswith("step convert[")
    assert_unpublished(site, sent.layer)
    done = done_pieces(site, sent)
    assert set(done) == {0, 2, 3}

    assert_whole(site, *ingested(site, sent))
    assert done.items() <= done_pieces(site, sent).items()


def test_lost_database_session_is_a_transient_fault(site: Site, gate: Gate, sent: Sent) -> None:
    gate.on(**POINTS["record"])
    running = sent.ingest(site)
    (backend,) = gate.wait(running)
    site.one("SELECT pg_terminate_backend(%s)", backend)
    gate.open()
    assert_whole(site, sent, running.wait())


# The whole run


@pytest.mark.parametrize(
    ("point", "cleaned"),
    [
        ("task", True),
        ("piece", False),
        ("files", True),
        ("record", False),
        ("commit", False),
        ("verify", True),
    ],
)
def test_killed_run_leaves_a_whole_version_and_the_next_run_completes(
    point: str, cleaned: bool, site: Site, gate: Gate, series: Series, published: Sent
) -> None:
    before = published
    with LayerReader(site, before.layer) as reader:
        reader.read_on()
        sent = series.next()
        gate.on(**POINTS[point])
        kill(site, gate, sent.ingest(site))
        is_published = point in ("commit", "verify")
        if cleaned:
            clean_up()
            assert_nothing_left(site, sent.layer)
        assert_published(site, sent if is_published else before)
        reader.read_on()
        assert_whole(site, *ingested(site, sent))
        reader.read_on()
    assert reader.problem is None
    assert reader.seen == [
        Seen(version, TILES, TILES) for version in (before.version, sent.version)
    ]


def assert_nothing_left(site: Site, layer: str) -> None:
    """There is no trace of a job that was killed."""
    assert_no_orphan(site, layer)
    assert not site.rows("SELECT 1 FROM geo_etl.raster_load WHERE state = 'making'")
    assert not site.rows("SELECT 1 FROM geo_etl.raster_discard")
    assert not [path for path in site.work.rglob("*") if path.is_file()]


@pytest.mark.parametrize("moment", ["conversion", "upload"])
def test_run_killed_while_it_writes_leaves_nothing_once_it_is_cleaned_up(
    moment: str,
    site: Site,
    series: Series,
    published: Sent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = silver_files(site, published.layer)
    sent = series.next()
    running = sent.ingest(site)

    def writes() -> bool:
        if moment == "conversion":
            return any(site.scratch.glob("*/analysis.tif"))
        return any("partial" in path for path in silver_files(site, sent.layer))

    caught(running, writes, "a task to write")
    running.kill()
    assert_published(site, published)
    monkeypatch.setattr(tempfile, "tempdir", str(site.scratch))
    clean_up()
    assert_published(site, published)
    assert silver_files(site, sent.layer) == whole
    assert not any(site.scratch.glob("geo_etl-*"))
    assert_whole(site, *ingested(site, sent))


def test_orphaned_task_and_a_new_run_make_each_tile_once(
    site: Site, gate: Gate, sent: Sent
) -> None:
    gate.on(**POINTS["piece"])
    running = sent.ingest(site)
    (backend,) = gate.wait(running)
    running.kill_parent()
    again = sent.ingest(site)
    wait_until(lambda: blocked_by(site, backend), "the new run to wait for the orphan")
    gate.open()
    assert_whole(site, sent, again.wait())


# Re-execution by Dagster


def test_reexecution_never_loses_tiles_in_silence(site: Site, gate: Gate, sent: Sent) -> None:
    gate.on(**POINTS["piece"])
    running = sent.ingest(site, retries=False, GEO_ETL_MAX_CONCURRENT="1")
    backends = gate.wait(running)
    client_of(site, backends[0]).kill()
    gate.open()
    assert running.wait().code == 1
    wait_until(lambda: gone(site, backends), "the sessions of the dead to end")
    assert_unpublished(site, sent.layer)
    assert 1 not in done_pieces(site, sent)

    run = site.runs_of(sent.source)[0]
    module = "geo_etl_tests.e2e.reexecute"
    retried = site.start(run["run_id"], "failure", module=module).wait()
    outcome = retried.document if retried.code == 0 else {"success": False, "failures": []}
    if outcome["success"]:
        assert_published(site, sent)
    else:
        assert_unpublished(site, sent.layer)
        said = " ".join(outcome["failures"]) or retried.err
        lost = sorted(set(range(TILES)) - set(done_pieces(site, sent)))
        assert f"{len(lost)} pieces are not converted, the first is number {lost[0]}" in said

    complete = site.start(run["run_id"], "all", module=module).wait()
    assert complete.document["success"], complete.document["failures"]
    again = sent.ingest(site).wait()  # done already: the stored result
    assert_whole(site, sent, again)


# Many rasters


def test_collection_killed_in_a_task_and_again_in_its_publish_is_whole_in_the_end(
    site: Site, gate: Gate, tmp_path: Path, unique: str
) -> None:
    first = send_folder(tmp_path / unique, 0)
    with LayerReader(site, unique, first.shape) as reader:
        reader.read_on()
        assert first.ingest(site).wait().code == 0
        second = send_folder(tmp_path / unique, 1)
        gate.on("INSERT ON geo_etl.raster_output", "NEW.index = 0 AND NEW.path ~ '/m2/'")
        kill(site, gate, second.ingest(site))
        gate.remove()
        done = members_in_the_making(site, unique)
        assert set(done) == {"m0", "m1"}
        reader.read_on()

        again = Gate(site)
        again.on(**POINTS["record"])
        kill(site, again, second.ingest(site))
        again.remove()
        now = members_in_the_making(site, unique)
        assert set(now) == {"m0", "m1", "m2", "m3"}
        assert done.items() <= now.items()  # none was made twice
        reader.read_on()

        ended = second.ingest(site).wait()
        reader.read_on()
    assert ended.code == 0, ended.err
    assert ended.document["summary"]["converted"] == MEMBERS
    assert reader.problem is None
    assert reader.seen == [None, Seen(0, MEMBERS, 0), Seen(1, MEMBERS, 0)]
    assert_no_orphan(site, unique)


def members_in_the_making(site: Site, collection: str) -> dict[str, str]:
    """Members that are made and not yet published, each with the transaction that said so."""
    rows = site.rows(
        "SELECT split_part(l.layer, '/', 2), p.xmin::text FROM geo_etl.raster_piece p"
        " JOIN geo_etl.raster_load l ON l.id = p.load_id"
        " WHERE l.layer ^@ %s AND l.state = 'making' AND p.report IS NOT NULL",
        f"{collection}/",
    )
    return dict(rows)


# PostgreSQL


@pytest.fixture(scope="module")
def own_series(own_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Series:
    """A raster of which a version is published in a stack that may be broken."""
    series = Series(tmp_path_factory.mktemp("own_series") / "broken.tif")
    assert_whole(own_site, *ingested(own_site, series.next()))
    return series


@pytest.mark.parametrize("point", ["piece", "commit"])
def test_database_restarted_in_mid_run(point: str, own_site: Site, own_series: Series) -> None:
    site, before = own_site, own_series.sent
    sent = own_series.next()
    gate = Gate(site)
    try:
        gate.on(**POINTS[point])
        running = sent.ingest(site)
        gate.wait(running)
        site.stop_database_at_once()
        site.up()
        ended = running.wait()
        if ended.code == 0:
            assert_whole(site, sent, ended)
        else:
            assert ended.code == 1, ended.err
            assert "Traceback" not in ended.err
            with site.connect() as connection:
                seen = LayerReader(site, sent.layer).look(connection)
            assert seen in (Seen(before, TILES, TILES), Seen(sent.version, TILES, TILES))
        assert_whole(site, *ingested(site, sent))
    finally:
        site.kill_all()
        gate.remove()
