"""What is published: tables and their versions, as the ledger knows them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from geo_etl.errors import PublishError
from geo_etl.vector import ledger
from geo_etl.vector.attributes import Column


@dataclass(frozen=True, order=True)
class Target:
    """A published table: schema and name."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read `schema.table`, or `table` for one in schema `geo`."""
        schema, dot, table = text.rpartition(".")
        return cls(schema if dot else "geo", table)


@dataclass(frozen=True)
class Index:
    """One index of a published table, beside its key."""

    column: str
    method: str


@dataclass(frozen=True)
class Piece:
    """One load that is, or can be, attached to a published table; `gid_to` is exclusive."""

    load_id: int
    table: str
    gid_from: int
    gid_to: int


@dataclass(frozen=True)
class Version:
    """One version of a published table: what a job made of it.

    Attributes:
        number: from 1, upwards. current: whether readers see it.
        source, fingerprint, job_id: of the job that published it.
        sources, jobs: all whose features it holds; several after an append or an upsert.
        loads: ids of the loads that hold its rows; empty when they are gone.
        bounds: xmin, ymin, xmax, ymax in the table's CRS.
        result: None until the publish is verified.
    """

    target: Target
    number: int
    current: bool
    source: str
    fingerprint: str
    job_id: str
    load_method: str
    sources: tuple[str, ...]
    jobs: tuple[str, ...]
    loads: tuple[int, ...]
    collection_id: str
    item_id: str
    item: dict[str, Any]
    columns: tuple[Column, ...]
    geometry_type: str
    srid: int
    indexes: tuple[Index, ...]
    features: int
    bounds: tuple[float, float, float, float] | None
    result: dict[str, Any] | None
    published_at: datetime

    def row(self) -> dict[str, Any]:
        """Values of its row in the ledger."""
        return {
            "schema_name": self.target.schema,
            "table_name": self.target.table,
            "version": self.number,
            "current": self.current,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "job_id": self.job_id,
            "load_method": self.load_method,
            "sources": list(self.sources),
            "jobs": list(self.jobs),
            "loads": list(self.loads),
            "collection_id": self.collection_id,
            "item_id": self.item_id,
            "item": self.item,
            "columns": [[c.name, c.sql_type, c.original] for c in self.columns],
            "geometry_type": self.geometry_type,
            "srid": self.srid,
            "indexes": [[index.column, index.method] for index in self.indexes],
            "features": self.features,
            "bounds": list(self.bounds) if self.bounds is not None else None,
            "result": self.result,
            "published_at": self.published_at,
        }


def _version(row: sa.Row[Any]) -> Version:
    return Version(
        target=Target(row.schema_name, row.table_name),
        number=row.version,
        current=row.current,
        source=row.source,
        fingerprint=row.fingerprint,
        job_id=row.job_id,
        load_method=row.load_method,
        sources=tuple(row.sources),
        jobs=tuple(row.jobs),
        loads=tuple(row.loads),
        collection_id=row.collection_id,
        item_id=row.item_id,
        item=row.item,
        columns=tuple(Column(original, name, kind) for name, kind, original in row.columns),
        geometry_type=row.geometry_type,
        srid=row.srid,
        indexes=tuple(Index(column, method) for column, method in row.indexes),
        features=row.features,
        bounds=tuple(row.bounds) if row.bounds is not None else None,
        result=row.result,
        published_at=row.published_at,
    )


def find_versions(connection: sa.Connection, **where: Any) -> list[Version]:
    """Versions, the oldest first, filtered by columns of the ledger (`current=True`)."""
    table = ledger.publication
    rows = connection.execute(
        sa.select(table)
        .where(*(table.c[key] == value for key, value in where.items()))
        .order_by(table.c.published_at, table.c.version)
    )
    return [_version(row) for row in rows]


def versions_of(connection: sa.Connection, target: Target) -> list[Version]:
    """All versions of a table, the oldest first."""
    found = find_versions(connection, schema_name=target.schema, table_name=target.table)
    return sorted(found, key=lambda version: version.number)


def current_version(connection: sa.Connection, target: Target) -> Version | None:
    """The version that readers see; None when the table is not published."""
    found = find_versions(
        connection, schema_name=target.schema, table_name=target.table, current=True
    )
    return found[0] if found else None


def published_version(connection: sa.Connection, target: Target) -> Version:
    """The version that readers see.

    Raises:
        PublishError: geo_etl publishes no such table; lists some that it does.
    """
    version = current_version(connection, target)
    if version is None:
        names = sorted(str(other.target) for other in find_versions(connection, current=True))
        raise PublishError(
            f"table {target}",
            "geo_etl publishes no such table",
            f"Published are: {', '.join(names[:20]) or 'none'}.",
        )
    return version


def version_made_by(connection: sa.Connection, target: Target, load_id: int) -> Version | None:
    """The version that a load was published as, current or not; None for one that was not."""
    made = [version for version in versions_of(connection, target) if load_id in version.loads]
    return made[0] if made else None


def pieces(connection: sa.Connection, version: Version, job_id: str | None = None) -> list[Piece]:
    """The loads of a version, in the order of their gids.

    Args:
        job_id: only those of this job.
    """
    table = ledger.load
    own = sa.true() if job_id is None else table.c.job_id == job_id
    rows = connection.execute(
        sa.select(table.c.id, table.c.load_table, table.c.gid_from, table.c.gid_to)
        .where(table.c.id.in_(version.loads), own)
        .order_by(table.c.gid_from)
    )
    return [Piece(*row) for row in rows]


def next_gid(connection: sa.Connection, target: Target) -> int:
    """The first gid that no feature of a table has, nor a load on its way there."""
    table = ledger.load
    current = current_version(connection, target)
    ids = current.loads if current is not None else ()
    coming = sa.and_(
        table.c.schema_name == target.schema,
        table.c.table_name == target.table,
        table.c.state == "loading",
    )
    highest = connection.execute(
        sa.select(sa.func.max(table.c.gid_to)).where(sa.or_(table.c.id.in_(ids), coming))
    ).scalar_one()
    return int(highest or 1)


def jobs_loading(connection: sa.Connection, target: Target) -> set[str]:
    """Jobs with a load on its way to a table."""
    table = ledger.load
    here = sa.and_(table.c.schema_name == target.schema, table.c.table_name == target.table)
    found = connection.execute(sa.select(table.c.job_id).where(here, table.c.state == "loading"))
    return set(found.scalars())


def gids_taken(
    connection: sa.Connection, version: Version | None, gid_from: int, gid_to: int
) -> bool:
    """Whether a version's loads have gids of a range (`gid_to` is exclusive)."""
    attached = pieces(connection, version) if version is not None else []
    return any(piece.gid_from < gid_to and gid_from < piece.gid_to for piece in attached)
