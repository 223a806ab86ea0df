"""Going back: an earlier version of a published table, or no table at all."""

from collections.abc import Callable

import sqlalchemy as sa

from geo_etl.errors import PublishError
from geo_etl.ingest.lock import lock
from geo_etl.vector import ledger, parent
from geo_etl.vector.load import drop_loads
from geo_etl.vector.publish import LOCK_TIMEOUT, make_current, quarantine_table, show
from geo_etl.vector.versions import (
    Target,
    Version,
    pieces,
    published_version,
    versions_of,
)


def rollback(
    engine: sa.Engine,
    target: Target,
    number: int | None,
    catalogue: Callable[[sa.Connection, Version, Version | None], None],
) -> Version:
    """Let readers see an earlier version again, with its STAC item.

    Args:
        number: of the version; None for the one before the current.
        catalogue: as for `publish`.

    Raises:
        PublishError: there is no such version, or its rows are no longer kept.
    """
    with engine.begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        lock(connection, f"publish {target}")
        current = published_version(connection, target)
        wanted = _choose(connection, current, number)
        catalogue(connection, wanted, current)
        restored = pieces(connection, wanted)
        with parent.refusals(target):
            parent.detach_all(connection, target)
            for piece in restored:
                # Another version that shares the load may have given it columns, or lost some.
                name = f"{ledger.LOADS_SCHEMA}.{piece.table}"
                parent.shape(connection, name, wanted.columns, wanted.geometry_type, wanted.srid)
        show(connection, wanted, restored, keeps=False)
        make_current(connection, target, wanted.number)
    return wanted


def _choose(connection: sa.Connection, current: Version, number: int | None) -> Version:
    others = [
        version
        for version in versions_of(connection, current.target)
        if version.loads and version.number != current.number
    ]
    known = ", ".join(str(version.number) for version in others) or "none"
    thing = f"table {current.target}"
    if number == current.number:
        raise PublishError(
            thing, f"version {number} is the one that readers see", f"Others: {known}."
        )
    earlier = [version for version in others if version.number < current.number]
    found = [version for version in others if version.number == number]
    if number is None and earlier:
        return earlier[-1]
    if found:
        return found[0]
    what = "an earlier version" if number is None else f"version {number}"
    raise PublishError(
        thing,
        f"{what} is not kept",
        f"Versions that can be restored: {known}. GEO_ETL_VERSIONS_KEPT says how many are kept.",
    )


def unpublish(
    engine: sa.Engine,
    target: Target,
    remove_item: Callable[[sa.Connection, Version], None],
) -> Version:
    """Remove a table with its STAC item, its quarantine and all of its versions.

    Args:
        remove_item: removes the STAC item of a version.

    Returns:
        The version that readers saw.

    Raises:
        PublishError: geo_etl publishes no such table, or something depends on it.
    """
    with engine.begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        lock(connection, f"publish {target}")
        current = published_version(connection, target)
        remove_item(connection, current)
        versions = versions_of(connection, target)
        with parent.refusals(target):
            parent.detach_all(connection, target)
            name = parent.table_name(connection, target)
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))
        quarantine_table(target).drop(connection, checkfirst=True)
        drop_loads(connection, {load for version in versions for load in version.loads})
        table = ledger.publication
        connection.execute(
            sa.delete(table).where(
                table.c.schema_name == target.schema, table.c.table_name == target.table
            )
        )
    return current
