"""One writer at a time, by PostgreSQL's advisory locks."""

from collections.abc import Iterable

import sqlalchemy as sa

_COLLECTIONS = sa.table(
    "collections", sa.column("id"), sa.column("partition_trunc"), schema="pgstac"
)
_PARTITIONS = sa.table("partition_stats", sa.column("collection"), schema="pgstac")


def lock(connection: sa.Connection, name: str) -> None:
    """Serialise on a name until the transaction ends."""
    connection.execute(
        sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"geo_etl {name}", 0)))
    )


def lock_collections(connection: sa.Connection, ids: Iterable[str], *, ends: bool = False) -> None:
    """Serialise the writers of STAC collections until the transaction ends.

    To be called before anything of pgSTAC is read, with all collections that the transaction
    writes. A new partition, or the end of one, locks the tables of all items and collections:
    two transactions that have both read there, and then both make partitions, would wait for each
    other for ever. So one that may make a partition, or end one, is alone; others share.

    Args:
        ends: whether a collection may be removed.
    """
    wanted = sorted(set(ids))
    has_its_only_one = sa.exists().where(_PARTITIONS.c.collection == _COLLECTIONS.c.id)
    settled = sa.select(sa.func.count()).where(
        _COLLECTIONS.c.id.in_(wanted), _COLLECTIONS.c.partition_trunc.is_(None), has_its_only_one
    )
    alone = ends or connection.execute(settled).scalar_one() < len(wanted)
    acquire = sa.func.pg_advisory_xact_lock if alone else sa.func.pg_advisory_xact_lock_shared
    connection.execute(sa.select(acquire(sa.func.hashtextextended("geo_etl partitions", 0))))
    for collection_id in wanted:
        lock(connection, f"collection {collection_id}")
