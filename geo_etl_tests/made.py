"""Small vector files that tests make."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry


def squares(count: int, size: float = 10.0) -> list[BaseGeometry]:
    """Squares in a row, for a projected CRS in metres."""
    return [
        box(500_000 + 2 * size * i, 5e6, 500_000 + 2 * size * i + size, 5e6 + size)
        for i in range(count)
    ]


def write(
    path: Path,
    geometries: Sequence[BaseGeometry | None],
    columns: Mapping[str, Sequence[Any]] | None = None,
    crs: str | None = "EPSG:32633",
    **options: Any,
) -> Path:
    """Write a layer with an `n` column (1, 2, …), or with the columns given."""
    values = columns or {"n": range(1, len(geometries) + 1)}
    frame = geopandas.GeoDataFrame(dict(values), geometry=list(geometries), crs=crs)
    frame.to_file(path, engine="pyogrio", **options)
    return path
