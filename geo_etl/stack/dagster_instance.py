"""Dagster's own storage, in the database and the state folder that the settings name.

`dagster.yaml` names these classes, so that it needs no environment variables: `dagster dev`,
`dagster job execute` and `geo-etl` all find the same instance.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from geo_etl.settings import get_settings

SCHEMA = "dagster"
PROJECT = Path(__file__).resolve().parents[2]


def dagster_database_url(url: str) -> str:
    """Dagster's URL of the database: psycopg2's driver, and a schema of its own.

    SQLAlchemy 2.1 takes `postgresql://` for psycopg 3, on which dagster-postgres fails.
    """
    # A run writes a hundred events, each a transaction. If the server crashes, the last half
    # second of them may be lost; what is published does not depend on them.
    options = f"-csearch_path={SCHEMA} -csynchronous_commit=off"
    query = urlencode({"options": options, "application_name": "dagster"}, quote_via=quote)
    joint = "&" if "?" in url else "?"
    return url.replace("postgresql://", "postgresql+psycopg2://", 1) + joint + query


class Storage(DagsterPostgresStorage):
    """Runs, events and schedules in the `dagster` schema of geo_etl's database."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "Storage":
        return cls(dagster_database_url(get_settings().database()), inst_data=inst_data)


class Artifacts(LocalArtifactStorage):
    """Intermediate values in the state folder."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "Artifacts":
        return cls(str(get_settings().dagster_home), inst_data=inst_data)


class ComputeLogs(LocalComputeLogManager):
    """What steps print, in the state folder."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "ComputeLogs":
        folder = get_settings().dagster_home / "logs"
        return cls(str(folder), inst_data=inst_data)


def open_instance() -> DagsterInstance:
    """The instance that every entry point uses. Makes its folder, with a link to `dagster.yaml`.

    With that folder as DAGSTER_HOME, Dagster's own commands use it from any directory.
    """
    home = get_settings().dagster_home
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.unlink(missing_ok=True)
        config.symlink_to(PROJECT / "dagster.yaml")
    return DagsterInstance.from_ref(InstanceRef.from_dir(str(home)))
