"""Real processes are killed and a real PostgreSQL is stopped: nothing is lost, nothing doubled.

After a fault the next ingest of the same source ends complete, and readers have only ever seen
a whole version of the table.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from geo_etl_tests.e2e.faults import (
    CHUNK_SIZE,
    CHUNKS,
    Delivery,
    Ended,
    Gate,
    Reader,
    Running,
    Site,
    blocked_by,
    clean_up,
    client_of,
    deliver,
    gone,
    wait_until,
)

A, B = 4100, 5700
"""Features of the first delivery and of the one that replaces it: 3 and 4 chunks."""


@pytest.fixture
def write(tmp_path: Path, unique: str) -> Callable[[int, str], Delivery]:
    """Write a delivery of the test's own source; it is published as geo.UNIQUE."""
    return lambda features, version: deliver(tmp_path / f"{unique}.gpkg", features, version)


def assert_whole(site: Site, table: str, delivery: Delivery, ended: Ended) -> None:
    """A delivery is published once and completely, and nothing is left over."""
    assert ended.code == 0, ended.err
    summary = ended.document["summary"]
    assert summary["features_read"] == summary["features_loaded"] == delivery.features
    assert summary["data_complete"]
    assert_published(site, table, delivery)
    (((load_id,), job_id, result),) = site.rows(
        "SELECT loads, job_id, result FROM geo_etl.publication WHERE table_name = %s AND current",
        table,
    )
    assert job_id == ended.document["job_id"]
    assert result == ended.document
    chunks = site.rows(
        "SELECT index, loaded FROM geo_etl.chunk WHERE load_id = %s ORDER BY index", load_id
    )
    expected = -(-delivery.features // CHUNK_SIZE)
    assert [index for index, _ in chunks] == list(range(expected))
    assert sum(loaded for _, loaded in chunks) == delivery.features
    source = f"bronze/{delivery.path.name}"
    loads = site.rows("SELECT id, state FROM geo_etl.load WHERE source = %s ORDER BY id", source)
    assert {state for _, state in loads} == {"published"}
    assert loads[-1][0] == load_id
    assert load_tables(site) == known_load_tables(site)
    assert not {path for path in chunk_files(site) if job_id in str(path)}


def assert_published(site: Site, table: str, delivery: Delivery) -> None:
    """Readers see one whole version, with its STAC item."""
    ((rows, gids, numbers, shifted, low, high),) = site.rows(
        "SELECT count(*), count(DISTINCT gid), count(DISTINCT number),"
        f" count(*) FILTER (WHERE gid <> number), min(version), max(version) FROM geo.{table}"
    )
    assert (rows, gids, numbers) == (delivery.features,) * 3
    assert (shifted, low, high) == (0, delivery.version, delivery.version)
    found = site.one(
        f"SELECT count(*) FROM geo.{table} WHERE geom && ST_MakeEnvelope(0, 0, 90, 90, 4326)"
    )
    assert found == delivery.features
    assert (
        site.one(
            "SELECT features FROM geo_etl.publication WHERE table_name = %s AND current", table
        )
        == delivery.features
    )
    items = site.rows("SELECT content FROM pgstac.items WHERE id = %s", f"geo.{table}")
    assert len(items) == 1
    assert items[0][0]["properties"]["table:row_count"] == delivery.features


def assert_unpublished(site: Site, table: str) -> None:
    assert site.one("SELECT to_regclass(%s) IS NULL", f"geo.{table}")
    assert not site.rows("SELECT 1 FROM geo_etl.publication WHERE table_name = %s", table)
    assert not site.rows("SELECT 1 FROM pgstac.items WHERE id = %s", f"geo.{table}")


def load_tables(site: Site) -> set[str]:
    rows = site.rows("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace ="
                     " 'geo_loads'::regnamespace")  # fmt: skip
    return {name for (name,) in rows}


def known_load_tables(site: Site) -> set[str]:
    return {name for (name,) in site.rows("SELECT load_table FROM geo_etl.load")}


def chunk_files(site: Site) -> set[Path]:
    """Files of the work container that were written to their end."""
    return {path for path in site.work_files() if not path.name.startswith(".")}


def loaded_chunks(site: Site, delivery: Delivery) -> dict[int, str]:
    """Chunks of the load in the making, each with the transaction that loaded it."""
    rows = site.rows(
        "SELECT c.index, c.xmin::text FROM geo_etl.chunk c JOIN geo_etl.load l ON l.id = c.load_id"
        " WHERE l.source = %s AND l.state = 'loading'",
        f"bronze/{delivery.path.name}",
    )
    return dict(rows)


def stored_result(site: Site, table: str) -> Any:
    return site.one(
        "SELECT result FROM geo_etl.publication WHERE table_name = %s AND current", table
    )


def stop_in_plan(site: Site, running: Running) -> None:
    """Kill a run while its plan is writing a chunk file."""
    before = site.work_files()

    def writing() -> bool:
        assert running.process.poll() is None, running.wait().err
        if not any(path.name.startswith(".") for path in site.work_files() - before):
            return False
        steps = [process for process in running.members() if process.pid != running.process.pid]
        for process in steps:
            process.suspend()
        if any(path.name.startswith(".") for path in site.work_files() - before):
            return True
        for process in steps:
            process.resume()
        return False

    wait_until(writing, "the plan to write")
    running.kill()


def interrupt(site: Site, gate: Gate, running: Running, point: str) -> None:
    """Kill a run and all its processes at a point; returns when their sessions are gone."""
    if point == "plan":
        stop_in_plan(site, running)
        return
    backends = gate.wait(running)
    running.kill()
    gate.open()
    wait_until(lambda: gone(site, backends), "the sessions of the dead to end")


# Load tasks


def test_killed_load_task_is_tried_again_by_the_run(
    site: Site, gate: Gate, write: Any, unique: str
) -> None:
    delivery = write(B, "B")
    gate.at("load")
    running = site.ingest(delivery)
    (backend,) = gate.wait(running)
    assert site.one("SELECT tuples_processed FROM pg_stat_progress_copy WHERE pid = %s", backend)
    step = client_of(site, backend)
    assert step.pid != running.process.pid
    step.kill()
    gate.open()
    ended = running.wait()
    assert "retry" in ended.err
    assert_whole(site, unique, delivery, ended)


def test_load_task_that_stays_dead_fails_the_run_and_the_next_run_continues(
    site: Site, gate: Gate, write: Any, unique: str
) -> None:
    delivery = write(B, "B")
    gate.at("load")
    running = site.ingest(delivery, retries=False)
    (backend,) = gate.wait(running)
    client_of(site, backend).kill()
    gate.open()
    failed = running.wait()
    assert failed.code == 1
    assert failed.document["status"] == "failed"
    assert re.search(r"step load\[\w+_0*1\]", failed.document["error"]["what"])
    assert failed.document["error"]["what"] in failed.err
    assert_unpublished(site, unique)
    done = loaded_chunks(site, delivery)
    assert set(done) == {0, 2, 3}

    again = site.ingest(delivery).wait()
    assert_whole(site, unique, delivery, again)
    now = dict(
        site.rows(
            "SELECT index, c.xmin::text FROM geo_etl.chunk c JOIN geo_etl.publication p"
            " ON c.load_id = ANY (p.loads) WHERE p.table_name = %s",
            unique,
        )
    )
    assert done.items() <= now.items()  # what was loaded was not loaded again


@pytest.mark.parametrize("point", ["load", "record", "verify"])
def test_lost_database_session_is_a_transient_fault(
    point: str, site: Site, gate: Gate, write: Any, unique: str
) -> None:
    delivery = write(B, "B")
    gate.at(point)
    running = site.ingest(delivery)
    (backend,) = gate.wait(running)
    site.one("SELECT pg_terminate_backend(%s)", backend)
    gate.open()
    assert_whole(site, unique, delivery, running.wait())


# The whole run


@pytest.mark.parametrize("point", ["plan", "load", "record", "commit", "verify"])
def test_killed_run_leaves_a_whole_version_and_the_next_run_completes(
    point: str, site: Site, gate: Gate, write: Any, unique: str
) -> None:
    work_before = chunk_files(site)
    with Reader(site, f"geo.{unique}") as reader:
        reader.read_on()
        first = write(A, "A")
        assert_whole(site, unique, first, site.ingest(first).wait())
        second = write(B, "B")
        if point != "plan":
            gate.at(point)
        interrupt(site, gate, site.ingest(second), point)
        is_published = point in ("commit", "verify")
        assert_published(site, unique, second if is_published else first)
        if is_published:
            assert stored_result(site, unique) is None
        reader.read_on()
        assert_whole(site, unique, second, site.ingest(second).wait())
        reader.read_on()
    assert reader.problem is None
    assert reader.seen == [None, (A, A, "A", "A"), (B, B, "B", "B")]
    assert chunk_files(site) == work_before


def test_orphaned_load_task_and_a_new_run_load_each_chunk_once(
    site: Site, gate: Gate, write: Any, unique: str
) -> None:
    delivery = write(B, "B")
    gate.at("load")
    running = site.ingest(delivery)
    (backend,) = gate.wait(running)
    running.kill_parent()
    again = site.ingest(delivery)
    wait_until(lambda: blocked_by(site, backend), "the new run to wait for the orphan")
    gate.open()
    assert_whole(site, unique, delivery, again.wait())


# Re-execution by Dagster


@pytest.mark.parametrize("killed", ["step", "run"])
def test_reexecution_never_loses_chunks_in_silence(
    killed: str, site: Site, gate: Gate, write: Any, unique: str
) -> None:
    delivery = write(B, "B")
    gate.at_chunks(0, 1, 2, 3) if killed == "run" else gate.at("load")
    running = site.ingest(delivery, retries=False, GEO_ETL_MAX_CONCURRENT="1")
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
    missing = set(range(CHUNKS)) - set(loaded_chunks(site, delivery))
    assert missing == ({0, 1, 2, 3} if killed == "run" else {1})

    run = site.runs_of(f"bronze/{delivery.path.name}")[0]
    module = "geo_etl_tests.e2e.reexecute"
    retried = site.start(run["run_id"], "failure", module=module).wait()
    outcome = retried.document if retried.code == 0 else {"success": False, "failures": []}
    if outcome["success"]:
        assert_published(site, unique, delivery)
    else:
        assert_unpublished(site, unique)
        said = " ".join(outcome["failures"]) or retried.err
        lost = sorted(set(range(CHUNKS)) - set(loaded_chunks(site, delivery)))
        assert f"chunks {', '.join(map(str, lost))} of {CHUNKS} were never loaded" in said

    complete = site.start(run["run_id"], "all", module=module).wait()
    assert complete.document["success"], complete.document["failures"]
    again = site.ingest(delivery).wait()  # done already: the stored result
    assert_whole(site, unique, delivery, again)


# Publishing


@pytest.mark.parametrize("held_by", ["reader", "catalogue"])
def test_publish_step_killed_in_its_transaction_leaves_the_old_version(
    held_by: str, site: Site, write: Any, unique: str
) -> None:
    first = write(A, "A")
    assert_whole(site, unique, first, site.ingest(first).wait())
    second = write(B, "B")
    with psycopg.connect(site.url) as holder:
        if held_by == "reader":
            holder.execute(f"SELECT count(*) FROM geo.{unique}")  # type: ignore[arg-type]
        else:
            holder.execute("LOCK TABLE pgstac.items IN SHARE MODE")
        running = site.ingest(second, retries=False)

        def waiting() -> list[int]:
            assert running.process.poll() is None, running.wait().err
            return blocked_by(site, holder.info.backend_pid)

        backend = wait_until(waiting, "the publish to wait")[0]
        client_of(site, backend).kill()
    wait_until(lambda: gone(site, [backend]), "the session of the dead to end")
    failed = running.wait()
    assert failed.code == 1
    assert failed.document["error"]["what"] == "step publish"
    assert_published(site, unique, first)
    assert_whole(site, unique, second, site.ingest(second).wait())


def test_result_is_null_until_verified(site: Site, gate: Gate, write: Any, unique: str) -> None:
    gate.at("verify")
    gate.wait(site.ingest(write(A, "A")))
    query = "SELECT result IS NULL FROM geo_etl.publication WHERE table_name = %s AND current"
    assert site.one(query, unique)


# Housekeeping


@pytest.mark.parametrize(
    "killed",
    [
        "step",
        "plan",
        "run",
    ],
)
def test_cleanup_removes_what_a_killed_job_left_and_nothing_published(
    killed: str, site: Site, gate: Gate, write: Any, unique: str
) -> None:
    first = write(A, "A")
    assert_whole(site, unique, first, site.ingest(first).wait())
    tables, files = load_tables(site), site.work_files()
    # A plan of few features is over before it can be caught writing.
    second = write(40 * B if killed == "plan" else B, "B")
    if killed == "plan":
        stop_in_plan(site, site.ingest(second))
    else:
        gate.at("load")
        running = site.ingest(second, retries=False)
        backends = gate.wait(running)
        if killed == "run":
            running.kill()
        else:
            client_of(site, backends[0]).kill()
        gate.open()
        running.process.wait(60)
        wait_until(lambda: gone(site, backends), "the sessions of the dead to end")
        assert load_tables(site) > tables
    assert site.work_files() > files
    before = site.rows("SELECT * FROM geo_etl.publication ORDER BY table_name, version")
    clean_up()
    assert site.rows("SELECT * FROM geo_etl.publication ORDER BY table_name, version") == before
    assert_published(site, unique, first)
    assert load_tables(site) == known_load_tables(site)
    assert load_tables(site) <= tables
    assert site.work_files() <= files


# PostgreSQL


@pytest.mark.parametrize("point", ["load", "record", "commit"])
def test_database_restarted_in_mid_run(
    point: str, own_site: Site, tmp_path: Path, unique: str
) -> None:
    site = own_site
    path = tmp_path / f"{unique}.gpkg"
    first = deliver(path, A, "A")
    assert_whole(site, unique, first, site.ingest(first).wait())
    second = deliver(path, B, "B")
    gate = Gate(site)
    try:
        gate.at(point)
        running = site.ingest(second)
        gate.wait(running)
        site.stop_database_at_once()
        site.up()
        ended = running.wait()
        if ended.code == 0:
            assert_whole(site, unique, second, ended)
        else:
            assert ended.code == 1, ended.err
            assert "Traceback" not in ended.err
            seen = site.one(f"SELECT count(*) FROM geo.{unique}")
            assert_published(site, unique, first if seen == A else second)
        assert_whole(site, unique, second, site.ingest(second).wait())
    finally:
        site.kill_all()
        gate.remove()
