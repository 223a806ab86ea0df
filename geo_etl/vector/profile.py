"""What a loaded table and its load turned out to be: the measures of the quality report."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyogrio
import pyproj
import shapely
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo_etl.vector import ledger

EXAMPLES = 3
"""Features that are shown for each reason."""


@dataclass(frozen=True)
class TableProfile:
    """Measures of one table.

    Attributes:
        filled: values that are not NULL, by column.
        duplicate_rows: rows beyond the first with the same attributes and geometry.
        duplicate_geometries: rows beyond the first with the same geometry.
    """

    rows: int
    filled: dict[str, int]
    duplicate_rows: int
    duplicate_geometries: int


@dataclass(frozen=True)
class Change:
    """How much a repair changed a feature: area (polygons) or length, units of the source CRS."""

    source_fid: int
    before: float
    after: float

    @property
    def share(self) -> float:
        """Relative change, 0 … 1."""
        larger = max(self.before, self.after)
        return abs(self.after - self.before) / larger if larger > 0 else 0.0


@dataclass(frozen=True)
class Example:
    """One feature of which something is said.

    Attributes:
        said: the reason in full; it may name a place or a value.
    """

    source_fid: int
    said: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Reason:
    """Why features were repaired or quarantined, without the places and numbers it names."""

    text: str
    features: int
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What became of features that were not in order.

    Attributes:
        largest: the repair that changed most, relatively; None without repairs.
    """

    repairs: tuple[Reason, ...]
    largest: Change | None
    quarantine: tuple[Reason, ...]


def profile_table(
    connection: sa.Connection,
    schema: str,
    table: str,
    columns: Sequence[str],
    geom: str = "geom",
) -> TableProfile:
    """Measure a table in one scan.

    Rows are compared by 64-bit hashes: among ten million, two different rows are taken for
    equal with a probability below 10⁻⁵. Geometries are equal when their bytes are, the first
    vertex and the direction included.

    Args:
        columns: attributes to count and compare; not the key, which is always different.
    """
    geometry: sa.ColumnClause[Any] = sa.column(geom)
    attributes: list[sa.ColumnClause[Any]] = [sa.column(name) for name in columns]
    octets = sa.cast(geometry, pg.BYTEA)
    # OFFSET keeps the planner from computing the hash of a geometry twice.
    shapes = (
        sa.select(
            *attributes,
            sa.case((geometry.is_not(None), _hash(octets))).label("geo_etl shape"),
        )
        .select_from(sa.table(table, schema=schema))
        .offset(0)
        .subquery("shapes")
    )
    shape = shapes.c["geo_etl shape"]
    values = [shapes.c[name] for name in columns]
    row = connection.execute(
        sa.select(
            sa.func.count().label("rows"),
            sa.func.count(shape).label("shapes"),
            sa.func.count(sa.distinct(shape)).label("distinct_shapes"),
            sa.func.count(sa.distinct(_hash(*values, shape))).label("distinct_rows"),
            *(sa.func.count(value).label(f"c{i}") for i, value in enumerate(values)),
        ).select_from(shapes)
    ).one()
    return TableProfile(
        rows=row.rows,
        filled={name: row._mapping[f"c{i}"] for i, name in enumerate(columns)},
        duplicate_rows=row.rows - row.distinct_rows,
        duplicate_geometries=row.shapes - row.distinct_shapes,
    )


def _hash(*values: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.func.hash_record_extended(sa.func.row(*values), sa.literal_column("0"))


def findings(connection: sa.Connection, loads: Sequence[int]) -> Findings:
    """Repairs and quarantined features of loads, by reason, the most frequent first.

    Args:
        loads: ids in `geo_etl.load`.
    """
    repair, quarantine = ledger.repair, ledger.quarantine
    larger = sa.func.greatest(repair.c.measure_before, repair.c.measure_after)
    change = sa.func.abs(repair.c.measure_after - repair.c.measure_before) / sa.func.nullif(
        larger, 0
    )
    largest = connection.execute(
        sa.select(repair.c.source_fid, repair.c.measure_before, repair.c.measure_after)
        .where(repair.c.load_id.in_(loads))
        .order_by(change.desc().nulls_last(), repair.c.source_fid)
        .limit(1)
    ).one_or_none()
    return Findings(
        repairs=_reasons(connection, repair, loads, {}),
        largest=Change(*largest) if largest is not None else None,
        quarantine=_reasons(connection, quarantine, loads, _examples(connection, loads)),
    )


def _kind(reason: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """A reason without places in brackets; numbers as `…`."""
    placeless = sa.func.regexp_replace(reason, r"\s*\[[^\]]*\]", "", "g")
    return sa.func.regexp_replace(placeless, r"-?\d+(\.\d+)?(e[+-]?\d+)?", "…", "g")


def _reasons(
    connection: sa.Connection,
    table: sa.Table,
    loads: Sequence[int],
    examples: dict[str, list[Example]],
) -> tuple[Reason, ...]:
    kind = _kind(table.c.reason).label("kind")
    rows = connection.execute(
        sa.select(kind, sa.func.count().label("features"))
        .where(table.c.load_id.in_(loads))
        .group_by(kind)
        .order_by(sa.func.count().desc(), kind)
    ).all()
    return tuple(Reason(row.kind, row.features, tuple(examples.get(row.kind, []))) for row in rows)


def _examples(connection: sa.Connection, loads: Sequence[int]) -> dict[str, list[Example]]:
    """The first quarantined features of each reason."""
    table = ledger.quarantine
    kind = _kind(table.c.reason)
    ranked = (
        sa.select(
            kind.label("kind"),
            table.c.source_fid,
            table.c.reason,
            table.c.attributes,
            sa.func.row_number()
            .over(partition_by=kind, order_by=(table.c.source_fid, table.c.reason))
            .label("rank"),
        )
        .where(table.c.load_id.in_(loads))
        .subquery("ranked")
    )
    found: dict[str, list[Example]] = {}
    statement = sa.select(ranked).where(ranked.c.rank <= EXAMPLES).order_by(ranked.c.rank)
    for row in connection.execute(statement):
        example = Example(row.source_fid, row.reason, row.attributes)
        found.setdefault(row.kind, []).append(example)
    return found


def software_versions(connection: sa.Connection) -> dict[str, str]:
    """The programs that made a table, with their versions."""
    postgis, server = connection.execute(
        sa.select(sa.func.postgis_lib_version(), sa.func.current_setting("server_version"))
    ).one()
    return {
        "geo_etl": version("geo_etl"),
        "GDAL": pyogrio.__gdal_version_string__,
        "GEOS": shapely.geos_version_string,
        "PROJ": pyproj.proj_version_str,
        "PostGIS": postgis,
        "PostgreSQL": server.split()[0],
    }
