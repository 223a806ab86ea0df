"""Fixtures: a private stack of real parts for each pytest process, and ways to ingest with it.

The state folder is set before anything of geo_etl is imported: its settings are read once.
"""

import functools
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

PROJECT = Path(__file__).resolve().parents[1]
SCRATCH = Path("/var/tmp")
"""Where PostgreSQL may be: its user can enter it, and it is no memory disk."""
SHARED = Path(os.environ.get("GEO_ETL_TEST_DATA", PROJECT.parent / "shared" / "data"))


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in a shell's background. `dagster dev` would inherit it, and ignore SIGTERM as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not pytest's own folder: PostgreSQL's user has to be able to enter it.
    home = tempfile.mkdtemp(prefix="geo_etl-test-", dir=SCRATCH)
    Path(home).chmod(0o755)
    os.environ["GEO_ETL_HOME"] = home
    for name in ("DATABASE_URL", "BLOB_URL", "FEATURES_URL", "STAC_URL", "TILES_URL"):
        os.environ.pop(f"GEO_ETL_{name}", None)
    config.stash[HOME] = Path(home)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[HOME], ignore_errors=True)


class FilesOfProcesses(LoadScopeScheduling):  # type: ignore[misc]
    """Tests one by one to whoever is free; those of real processes by file: they share servers."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        if "entry_points" in file:
            return "dagster dev"  # of which there can be one in the project's folder
        return file if "/e2e/" in file else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesOfProcesses:
    return FilesOfProcesses(config, log)


HOME = pytest.StashKey[Path]()


def pytest_report_header() -> str:
    import pyogrio
    import shapely

    data = SHARED if SHARED.is_dir() else "absent: tests on shared data are skipped"
    return f"GDAL {pyogrio.__gdal_version__}, GEOS {shapely.geos_version}, shared data: {data}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared real files; tests that need it are skipped without."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A private stack: PostgreSQL with PostGIS and pgSTAC, containers. Its settings."""
    from geo_etl.cli.stack import start_stack
    from geo_etl.resources.postgis import engine_for
    from geo_etl.settings import get_settings
    from geo_etl.stack.cluster import Cluster

    settings = get_settings()
    assert settings.home == request.config.stash[HOME]
    start_stack(settings)
    yield settings
    engine_for(settings.database()).dispose()
    Cluster(settings.home).stop()


@pytest.fixture(scope="session")
def engine(stack: Any) -> Any:
    """SQLAlchemy's engine of the stack's database."""
    from geo_etl.resources.postgis import engine_for

    return engine_for(stack.database())


@pytest.fixture(scope="session")
def bronze(stack: Any) -> Path:
    """The local folder of the bronze container."""
    return stack.home / "blobs" / "bronze"


@pytest.fixture
def unique() -> str:
    """A name no other test has, legal as a table's name."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def run_asset(stack: Any) -> Callable[..., Any]:
    """Materialize a partition of an ingesting asset in this process; Dagster's result object."""
    from dagster import DagsterInstance

    from geo_etl.definitions import build_definitions
    from geo_etl.jobs.entries import ENTRIES

    def run(
        work: Any,
        key: str,
        *,
        force: bool = False,
        resources: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        **spec: Any,
    ):
        entry = ENTRIES[work]
        job = build_definitions(**(resources or {})).resolve_job_def(entry.job)
        settings = {"spec": spec, "force": force, **(config or {})}
        with DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions(str(entry.partitions.name), [key])
            return job.execute_in_process(
                partition_key=key,
                instance=instance,
                raise_on_error=False,
                run_config={
                    "ops": {entry.asset: {"config": settings}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
            )

    return run


@pytest.fixture
def run_job(run_asset: Callable[..., Any]) -> Callable[..., Any]:
    """Run `ingest_vector` on a source key in this process; Dagster's result object."""
    return functools.partial(run_asset, "vector")


@pytest.fixture
def deliver(bronze: Path, unique: str) -> Callable[..., str]:
    """Copy a file into bronze under a folder of the test's own; its source key."""

    def copy(path: Path, name: str | None = None) -> str:
        folder = bronze / unique
        folder.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / (name or path.name))
        return f"bronze/{unique}/{name or path.name}"

    return copy


@pytest.fixture
def ingest(run_job: Callable[..., Any], deliver: Callable[..., str], unique: str) -> Any:
    """Deliver a file and ingest it into a table of the test's own; the result document."""

    def run(path: Path, **spec: Any) -> dict[str, Any]:
        result = run_job(deliver(path), **{"table_name": unique, **spec})
        assert result.success, failure_of(result)
        return result.output_for_node("vector_table.verify", "result")

    return run


@pytest.fixture
def process(run_asset: Callable[..., Any], deliver: Callable[..., str], unique: str) -> Any:
    """Deliver a raster and process it into an item of the test's own; the result document."""

    def run(path: Path, *, config: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        settings = {"item_id": unique, **spec}
        result = run_asset("raster", deliver(path), config=config, **settings)
        assert result.success, failure_of(result)
        assert failed_checks(result) == []
        return result.output_for_node("raster_cog.verify", "result")

    return run


def failed_checks(result: Any) -> list[str]:
    """What asset checks of an in-process run say that did not pass."""
    return [
        str(event.asset_check_evaluation_data.description)
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
        and not event.asset_check_evaluation_data.passed
    ]


def failure_of(result: Any) -> str:
    """What failed an in-process run, in the words a user sees."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            return str(data.error)
    return "nothing failed"
