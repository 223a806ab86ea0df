"""PostGIS: the engine, and what geo_etl reads from its own tables there."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from dagster import ConfigurableResource
from sqlalchemy.exc import DBAPIError

from geo_etl.errors import TransientError
from geo_etl.settings import get_settings
from geo_etl.vector import ledger
from geo_etl.vector.load import drop_loads
from geo_etl.vector.publish import Target


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
class Published:
    """A table that geo_etl publishes."""

    target: Target
    source: str
    job_id: str
    load_id: int
    fingerprint: str
    collection_id: str
    item_id: str
    features: int
    published_at: datetime
    result: dict[str, Any] | None


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

    def published(self, **where: str) -> list[Published]:
        """Published tables, filtered by columns of the ledger (`source=…`, `job_id=…`)."""
        table = ledger.publication
        statement = sa.select(table).where(*(table.c[key] == value for key, value in where.items()))
        with self.engine.connect() as connection:
            rows = connection.execute(statement.order_by(table.c.published_at)).all()
        return [
            Published(
                target=Target(row.schema_name, row.table_name),
                source=row.source,
                job_id=row.job_id,
                load_id=row.load_id,
                fingerprint=row.fingerprint,
                collection_id=row.collection_id,
                item_id=row.item_id,
                features=row.features,
                published_at=row.published_at,
                result=row.result,
            )
            for row in rows
        ]

    def is_attached(self, published: Published) -> bool:
        """Whether a published table is there, with the load that the ledger names."""
        statement = sa.text(
            "SELECT EXISTS (SELECT FROM pg_inherits i JOIN geo_etl.load l"
            " ON i.inhrelid = to_regclass('geo_loads.' || l.load_table)"
            " WHERE l.id = :load AND i.inhparent = to_regclass(:parent))"
        )
        with self.engine.connect() as connection:
            quote = connection.dialect.identifier_preparer.quote_identifier
            target = published.target
            parent = f"{quote(target.schema)}.{quote(target.table)}"
            values = {"load": published.load_id, "parent": parent}
            return bool(connection.execute(statement, values).scalar_one())

    def count_rows(self, target: Target) -> int:
        """Rows that readers of a published table see."""
        with self.engine.connect() as connection:
            table = sa.table(target.table, schema=target.schema)
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    def sample(self, target: Target, features: int) -> tuple[list[bytes], int]:
        """WKB of at most about `features` geometries, spread over the table, and its SRID."""
        with self.engine.connect() as connection:
            table = sa.table(
                target.table, sa.column("gid"), sa.column("geom"), schema=target.schema
            )
            last = connection.execute(sa.select(sa.func.max(table.c.gid))).scalar_one() or 1
            step = max(1, last // features)
            rows = connection.execute(
                sa.select(
                    sa.func.ST_AsBinary(table.c.geom).label("wkb"),
                    sa.func.ST_SRID(table.c.geom).label("srid"),
                ).where(table.c.gid % step == 0)
            ).all()
        return [bytes(row.wkb) for row in rows], int(rows[0].srid) if rows else 4326

    def drop_unfinished_loads(self, before: datetime, running: set[str]) -> list[str]:
        """Drop loads begun before a time and not published, save those of running jobs."""
        with self.engine.begin() as connection:
            stale = connection.execute(
                sa.select(ledger.load.c.id).where(
                    ledger.load.c.state == "loading",
                    ledger.load.c.created_at < before,
                    ledger.load.c.job_id.not_in(running),
                )
            ).scalars()
            return drop_loads(connection, stale.all())

    def store_result(self, target: Target, job_id: str, result: dict[str, Any]) -> None:
        """Keep the result document of a publish that was verified."""
        table = ledger.publication
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(table)
                .where(
                    table.c.schema_name == target.schema,
                    table.c.table_name == target.table,
                    table.c.job_id == job_id,
                )
                .values(result=result)
            )
