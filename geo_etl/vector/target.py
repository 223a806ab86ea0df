"""What may be published where: whose a table is, and which columns fit it."""

from collections.abc import Sequence

import sqlalchemy as sa

from geo_etl.errors import PublishError
from geo_etl.vector.attributes import Column
from geo_etl.vector.versions import Piece, Target, Version, current_version, pieces

ADDING = ("append", "upsert")
"""Load methods that keep the features that are there."""
RESERVED = (Target("geo", "tiles"),)


def check_target(
    connection: sa.Connection, target: Target, source: str, load_method: str, job_id: str
) -> Version | None:
    """Refuse a table that this job may not publish to.

    Returns:
        The version that readers see now; None for a new table.

    Raises:
        PublishError: names the owner and the ways out.
    """
    current = current_version(connection, target)
    if target in RESERVED:
        raise PublishError(
            f"table {target}",
            "geo_etl itself has the tiles of large rasters there",
            "Set table_name in the spec to another.",
        )
    if current is None:
        _check_foreign(connection, target)
        return None
    if load_method in ADDING or current.job_id == job_id:
        return current
    if load_method == "insert":
        raise PublishError(
            f"table {target}",
            "it exists already and load_method is insert",
            "Set load_method to replace, or choose another table_name.",
        )
    others = [other for other in current.sources if other != source]
    if others and source not in current.sources:
        raise PublishError(
            f"table {target}",
            f"it is published from another source, {others[0]}",
            "Set table_name (or schema) in this source's spec to publish beside it; load_method "
            "append or upsert adds to it.",
        )
    if others:
        raise PublishError(
            f"table {target}",
            f"it holds features of other sources too ({', '.join(others[:5])}), which a replace "
            "would remove",
            "Set load_method to upsert or append, or unpublish the table first.",
        )
    return current


def _check_foreign(connection: sa.Connection, target: Target) -> None:
    row = connection.execute(
        sa.text(
            "SELECT pg_get_userbyid(c.relowner) AS owner FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE n.nspname = :schema AND c.relname = :table"
        ),
        {"schema": target.schema, "table": target.table},
    ).one_or_none()
    if row is not None:
        raise PublishError(
            f"table {target}",
            f"it was not made by geo_etl (it belongs to '{row.owner}')",
            "Set table_name in the spec, or move that table out of the way yourself.",
        )


def check_schema_change(
    current: Version | None, columns: Sequence[Column], allowed: bool
) -> list[str]:
    """Compare a delivery's columns with those that it replaces.

    Returns:
        One sentence a change, for the result's warnings.

    Raises:
        PublishError: a column is missing or has another type, and that is not allowed.
    """
    if current is None:
        return []
    published = {column.name: column.sql_type for column in current.columns}
    now = {column.name: column.sql_type for column in columns}
    breaking = [f"column '{name}' is gone" for name in published if name not in now]
    breaking += _retyped(published, now)
    if breaking and not allowed:
        raise _changed(current.target, breaking)
    added = [f"column '{name}' is new" for name in now if name not in published]
    return [f"Schema changed: {change}." for change in breaking + added]


def fit_columns(
    current: Version, columns: Sequence[Column], geometry_type: str, srid: int, allowed: bool
) -> tuple[list[Column], list[str]]:
    """The columns of a table that features are added to.

    Returns:
        The published columns and, if that is allowed, those that are new; and a sentence on each
        difference.

    Raises:
        PublishError: the delivery's columns or geometries do not fit.
    """
    published = {column.name: column.sql_type for column in current.columns}
    now = {column.name: column.sql_type for column in columns}
    if retyped := _retyped(published, now):
        raise PublishError(
            f"table {current.target}",
            f"this delivery does not fit: {'; '.join(retyped)}",
            "Correct the delivery, or give the column a type by attribute_rules.",
        )
    added = [column for column in columns if column.name not in published]
    if added and not allowed:
        raise _changed(current.target, [f"column '{column.name}' is new" for column in added])
    if current.srid != srid:
        raise PublishError(
            f"table {current.target}",
            f"it is in EPSG:{current.srid}, and this delivery's target_srid is {srid}",
            f"Set target_srid to {current.srid}.",
        )
    if current.geometry_type not in (geometry_type, "Geometry"):
        raise PublishError(
            f"table {current.target}",
            f"it holds {current.geometry_type}, and this delivery {geometry_type}",
            "Choose another table_name.",
        )
    said = [f"Schema changed: column '{column.name}' is new." for column in added]
    said += [
        f"Column '{name}' is not in this delivery: its features have none."
        for name in published
        if name not in now
    ]
    return [*current.columns, *added], said


def own_pieces(connection: sa.Connection, current: Version | None, job_id: str) -> list[Piece]:
    """The loads that an append finds of its own in the table: it takes their place.

    Raises:
        PublishError: its features are there, in a load that others share.
    """
    if current is None or job_id not in current.jobs:
        return []
    own = pieces(connection, current, job_id)
    if not own:
        raise PublishError(
            f"table {current.target}",
            "the features of this very job are there already, merged with others by an upsert",
            "Nothing is left to do; set load_method to upsert to deliver them again.",
        )
    return own


def check_unchanged(
    current: Version | None, columns: Sequence[Column], geometry_type: str, srid: int
) -> None:
    """Refuse to add to a table whose columns are no longer those that the plan saw.

    Its parent would be given the plan's columns, and lose the others with their values.

    Raises:
        PublishError: says to run the ingest again.
    """
    if current is None:
        return
    planned = {(column.name, column.sql_type) for column in columns}
    now = {(column.name, column.sql_type) for column in current.columns}
    if not now <= planned or (current.geometry_type, current.srid) != (geometry_type, srid):
        raise changed_meanwhile(current.target)


def changed_meanwhile(target: Target) -> PublishError:
    """The error for a table that another job has changed since this one was planned."""
    return PublishError(
        f"table {target}",
        "it was replaced or changed while this job loaded",
        "Run the ingest again: it will begin anew on top of what is there now.",
    )


def _retyped(published: dict[str, str], now: dict[str, str]) -> list[str]:
    return [
        f"column '{name}' was {published[name]} and is {now[name]}"
        for name in now
        if name in published and published[name] != now[name]
    ]


def _changed(target: Target, changes: list[str]) -> PublishError:
    return PublishError(
        f"table {target}",
        f"this delivery changes its schema: {'; '.join(changes)}",
        "Correct the delivery, or set attribute_rules.schema_change to allow.",
    )
