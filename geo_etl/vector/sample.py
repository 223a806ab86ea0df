"""Geometries for a map: few of many, spread over a table, in no more detail than it shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from geo_etl.vector import ledger
from geo_etl.vector.extent import reading

FEATURES = 3000
MARKED = 500
"""Repaired, and quarantined, features at most."""
MAX_QUARANTINED_BYTES = 1_000_000
"""Of one quarantined geometry: what is damaged may be of any size."""

PIXELS = 1400
"""Details below this share of the extent are left out: half a pixel of the finished map."""

# One feature of each stretch of gids: index look-ups, however large the table, gaps or not.
_SPREAD = """
    SELECT ST_AsBinary(ST_Simplify(geom, tolerance, true)) AS wkb,
        ST_SRID(geom) AS srid, tolerance
    FROM (
        WITH stretches AS (
            SELECT start, start + step AS stop
            FROM (
                SELECT min(gid) AS first, max(gid) AS last,
                    (max(gid) - min(gid)) / :wanted + 1 AS step
                FROM features
            ) AS gids, generate_series(first, last, step) AS start
        ), picked AS MATERIALIZED (
            SELECT geom
            FROM stretches CROSS JOIN LATERAL (
                SELECT geom FROM features
                WHERE gid >= start AND gid < stop AND geom IS NOT NULL ORDER BY gid LIMIT 1
            ) AS one
        )
        SELECT geom, greatest(ST_XMax(box) - ST_XMin(box), ST_YMax(box) - ST_YMin(box)) / :pixels
            AS tolerance
        FROM picked, (SELECT ST_Extent(geom) AS box FROM picked) AS extent
    ) AS shown
"""

_CHOSEN = """
    SELECT ST_AsBinary(ST_Simplify(geom, :tolerance, true)) AS wkb
    FROM features WHERE gid = ANY(:gids) AND geom IS NOT NULL ORDER BY gid
"""


@dataclass(frozen=True)
class MapSample:
    """WKB of the geometries on a map.

    Attributes:
        srid: EPSG code of `features` and `repaired`; None for a table without geometries.
        repaired: as they are in the table, after their repair.
        quarantined: in the CRS of the source.
    """

    srid: int | None
    features: list[bytes]
    repaired: list[bytes]
    quarantined: list[bytes]


def sample_geometries(
    connection: sa.Connection,
    schema: str,
    table: str,
    loads: Sequence[int],
    geom: str = "geom",
    gid: str = "gid",
    features: int = FEATURES,
) -> MapSample:
    """Some geometries of a table, of what was repaired in it, and of what is not in it.

    Args:
        loads: ids in `geo_etl.load`: whose repairs and quarantined features to show.
        features: of the table, at most.
    """
    found = connection.execute(
        reading(_SPREAD, schema, table, gid=gid, geom=geom),
        {"wanted": features, "pixels": PIXELS},
    ).all()
    repaired: list[bytes] = []
    gids = _thinned(connection, ledger.repair, ledger.repair.c.gid, loads)
    if gids and found:
        chosen = connection.execute(
            reading(_CHOSEN, schema, table, gid=gid, geom=geom),
            {"gids": gids, "tolerance": found[0].tolerance},
        )
        repaired = [bytes(row.wkb) for row in chosen]
    lost = ledger.quarantine
    has_place = sa.func.octet_length(lost.c.geometry) <= MAX_QUARANTINED_BYTES
    quarantined = _thinned(connection, lost, lost.c.geometry, loads, has_place)
    return MapSample(
        srid=found[0].srid if found else None,
        features=[bytes(row.wkb) for row in found],
        repaired=repaired,
        quarantined=[bytes(wkb) for wkb in quarantined],
    )


def _thinned(
    connection: sa.Connection,
    table: sa.Table,
    value: sa.Column[Any],
    loads: Sequence[int],
    *conditions: sa.ColumnElement[bool],
) -> list[Any]:
    """At most `MARKED` values of loads' rows, spread over them in the order of the source."""
    numbered = (
        sa.select(
            value.label("value"),
            (sa.func.row_number().over(order_by=table.c.source_fid) - 1).label("number"),
            sa.func.count().over().label("rows"),
        )
        .where(table.c.load_id.in_(loads), *conditions)
        .subquery("numbered")
    )
    step = (numbered.c.rows + MARKED - 1) // MARKED
    return list(
        connection.execute(
            sa.select(numbered.c.value)
            .where(numbered.c.number % step == 0)
            .order_by(numbered.c.number)
        ).scalars()
    )
