"""GeoParquet copies of loads, part by part (GeoParquet 1.1.0)."""

import json
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import sqlalchemy as sa

from geo_etl.vector import ledger
from geo_etl.vector.attributes import Column
from geo_etl.vector.parent import quoted
from geo_etl.vector.rows import GEOM, GID
from geo_etl.vector.versions import Piece

ROWS = 250_000
"""Features in a part."""
GEOPARQUET = "1.1.0"


def part_ranges(engine: sa.Engine, piece: Piece) -> list[tuple[int, int]]:
    """Ranges of gids with about `ROWS` features each; the end is exclusive."""
    table = sa.table(piece.table, sa.column(GID), schema=ledger.LOADS_SCHEMA)
    numbered = sa.select(
        table.c[GID].label("gid"), (sa.func.row_number().over(order_by=table.c[GID]) - 1).label("n")
    ).subquery()
    with engine.connect() as connection:
        starts = list(
            connection.execute(
                sa.select(numbered.c.gid).where(numbered.c.n % ROWS == 0).order_by(numbered.c.gid)
            ).scalars()
        )
    return list(zip(starts, [*starts[1:], piece.gid_to], strict=True))


def write_part(
    database_url: str,
    engine: sa.Engine,
    piece: Piece,
    gids: tuple[int, int],
    columns: list[Column],
    geometry_type: str,
    srid: int,
    file: BinaryIO,
) -> None:
    """Write the features of a range of gids as one GeoParquet file.

    Args:
        columns: of the table, in its order.
        geometry_type: of the table, as PostGIS calls it.
    """
    with engine.connect() as connection:
        names = ", ".join(_selected(connection, column) for column in columns)
    query = (
        f"SELECT {GID}, {names + ', ' if names else ''}ST_AsBinary({GEOM}) AS {GEOM}"
        f" FROM {ledger.LOADS_SCHEMA}.{piece.table} WHERE {GID} >= {gids[0]} AND {GID} < {gids[1]}"
        f" ORDER BY {GID}"
    )
    batches = _batches(database_url, query)
    first = next(batches)
    schema = first.schema.with_metadata({b"geo": _metadata(geometry_type, srid).encode()})
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        writer.write_batch(first.replace_schema_metadata(schema.metadata))
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))


def _selected(connection: sa.Connection, column: Column) -> str:
    name = quoted(connection, column.name)
    return f"{name}::text AS {name}" if column.sql_type.startswith("jsonb") else name


def _batches(database_url: str, query: str) -> Iterator[pa.RecordBatch]:
    import adbc_driver_postgresql.dbapi as adbc  # with pyarrow.dataset: only where rows are copied

    with adbc.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        yield from cursor.fetch_record_batch()


def _metadata(geometry_type: str, srid: int) -> str:
    # The specification names types as GeoJSON does; an empty list is any type.
    kinds = [] if geometry_type == "Geometry" else [geometry_type]
    column = {
        "encoding": "WKB",
        "geometry_types": kinds,
        "crs": json.loads(pyproj.CRS.from_epsg(srid).to_json()),
    }
    return json.dumps({"version": GEOPARQUET, "primary_column": GEOM, "columns": {GEOM: column}})
