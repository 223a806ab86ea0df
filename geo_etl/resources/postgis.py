"""PostGIS: the engine, and what geo_etl reads from its own tables there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from dagster import ConfigurableResource
from sqlalchemy.exc import DBAPIError

from geo_etl.errors import TransientError
from geo_etl.ingest.lock import lock
from geo_etl.settings import get_settings
from geo_etl.vector import ledger
from geo_etl.vector.load import drop_loads
from geo_etl.vector.parent import exists, table_name
from geo_etl.vector.publish import store_result
from geo_etl.vector.versions import Target, Version, current_version, find_versions


@cache
def engine_for(url: str) -> sa.Engine:
    """A pooled engine for `postgresql://…`; connects on first use."""
    return sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_pre_ping=True,
        pool_size=4,
        connect_args={"application_name": "geo_etl", "connect_timeout": 10},
    )


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help: connections, deadlocks, lock timeouts, shutdowns.

    PostgreSQL's SQLSTATE classes 08, 40, 53, 55P03 and 57P (appendix A of its manual).
    """
    if isinstance(error, TransientError):
        return True
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    if state:
        return state[:2] in ("08", "40", "53") or state.startswith(("55P03", "57P"))
    if type(error).__module__.startswith("adbc_driver_manager"):
        # ADBC knows no SQLSTATE for a connection that it does not get, or loses.
        return type(error).__name__ in ("OperationalError", "InternalError")
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
    return False


@dataclass(frozen=True)
class Shown:
    """One table as readers see it: the version of the ledger, and the rows that are there."""

    version: Version | None
    rows: int


class PostGISResource(ConfigurableResource):  # type: ignore[type-arg]
    """The database. Without a URL, the one that the settings name."""

    url: str | None = None

    @property
    def database_url(self) -> str:
        """`postgresql://…`, for libraries that connect by themselves."""
        return self.url or get_settings().database()

    @property
    def engine(self) -> sa.Engine:
        """SQLAlchemy's engine."""
        return engine_for(self.database_url)

    def published(self, **where: Any) -> list[Version]:
        """Versions that readers see, filtered by columns of the ledger (`source=…`)."""
        with self.engine.connect() as connection:
            return find_versions(connection, current=True, **where)

    def is_attached(self, version: Version) -> bool:
        """Whether a published table is there, with the loads that the ledger names."""
        with self.engine.connect() as connection:
            found = connection.execute(
                sa.text(
                    "SELECT count(*) FROM pg_inherits i JOIN geo_etl.load l"
                    " ON i.inhrelid = to_regclass('geo_loads.' || l.load_table)"
                    " WHERE l.id = ANY(:loads) AND i.inhparent = to_regclass(:parent)"
                ),
                {
                    "loads": list(version.loads),
                    "parent": table_name(connection, version.target),
                },
            ).scalar_one()
        return bool(found == len(version.loads))

    def done(self, job_id: str) -> dict[str, Any] | None:
        """The stored result of a job whose features readers see, all of them; None otherwise."""
        with self.engine.connect() as connection:
            shown = [v for v in find_versions(connection, current=True) if job_id in v.jobs]
            made = find_versions(connection, job_id=job_id)
        results = [version.result for version in made if version.result is not None]
        if not results or not all(map(self.is_attached, shown)):
            return None
        tables = {table["table"] for table in results[-1]["tables"]}
        return results[-1] if tables == {str(version.target) for version in shown} else None

    def shown(self, target: Target) -> Shown:
        """What readers of a table see, and what the ledger says of it, at one moment."""
        with self.engine.begin() as connection:
            # No job publishes to it in between.
            lock(connection, f"publish {target}")
            version, rows = current_version(connection, target), 0
            if version is not None and exists(connection, target):
                table = sa.table(target.table, schema=target.schema)
                count = sa.select(sa.func.count()).select_from(table)
                rows = connection.execute(count).scalar_one()
        return Shown(version, rows)

    def current_numbers(self, targets: Iterable[Target]) -> list[int | None]:
        """Numbers of the versions that readers of tables see; None: nothing is published."""
        with self.engine.connect() as connection:
            shown = [current_version(connection, target) for target in targets]
        return [version.number if version is not None else None for version in shown]

    def drop_unfinished_loads(self, before: datetime, running: set[str]) -> list[str]:
        """Drop loads begun before a time and not published, save those of running jobs."""
        with self.engine.begin() as connection:
            stale = connection.execute(
                sa.select(ledger.load.c.id)
                .where(
                    ledger.load.c.state == "loading",
                    ledger.load.c.created_at < before,
                    ledger.load.c.job_id.not_in(running),
                )
                # One that is published at this moment is none of them any more.
                .with_for_update()
            ).scalars()
            return drop_loads(connection, stale.all())

    def store_results(self, versions: Sequence[Version], result: dict[str, Any]) -> None:
        """Keep the result document of a job whose publish was verified."""
        with self.engine.begin() as connection:
            for version in versions:
                store_result(connection, version, result)
