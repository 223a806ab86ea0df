"""Generated datasets, the same every time, in the formats that the benchmarks load.

All are in EPSG:32633 (near Berlin and Prague), so that loading them to EPSG:4326 reprojects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyogrio
import shapely

CRS = "EPSG:32633"
ORIGIN = (350_000, 5_650_000)
PARCEL_VERTICES = 13
PARCEL_SPACING = 40.0
"""Metres between the centres of parcels."""
LINE_VERTICES = 400
SENSOR_COLUMNS = 40


def parcels(count: int) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Polygons of 13 vertices around a circle with an uneven radius, on a grid; six columns.

    Every hundredth is invalid (two vertices swapped).
    """
    random = np.random.default_rng(20_240_601)
    ids = np.arange(count)
    centres = _grid(count, PARCEL_SPACING)
    angles = np.linspace(0, 2 * np.pi, PARCEL_VERTICES, endpoint=False)
    radii = random.uniform(8, 19, (count, PARCEL_VERTICES))
    rings = centres[:, None, :] + radii[:, :, None] * np.stack(
        [np.cos(angles), np.sin(angles)], axis=-1
    )
    rings[::100, [2, 6]] = rings[::100, [6, 2]]
    polygons = shapely.polygons(np.concatenate([rings, rings[:, :1]], axis=1))
    classes = np.array(["arable", "forest", "meadow", "orchard", "urban", "water"])
    columns = {
        "parcel_no": pa.array([f"P{number:09d}" for number in ids]),
        "land_use": pa.array(classes[random.integers(0, len(classes), count)]),
        "area_m2": pa.array(shapely.area(polygons)),
        "owners": pa.array(random.integers(1, 9, count).astype(np.int32)),
        "assessed": pa.array(random.integers(10_000, 900_000, count)),
        "surveyed": pa.array(random.integers(7_000, 19_000, count).astype(np.int32), pa.date32()),
    }
    return columns, polygons


def sensors(count: int) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Points with 40 columns: numbers, codes and short texts."""
    random = np.random.default_rng(20_240_602)
    points = shapely.points(random.uniform(0, 200_000, (count, 2)) + ORIGIN)
    columns: dict[str, pa.Array] = {}
    for number in range(SENSOR_COLUMNS):
        kind = number % 4
        if kind == 0:
            values = pa.array(random.integers(0, 10**6, count))
        elif kind == 1:
            values = pa.array(random.normal(0, 100, count).round(4))
        elif kind == 2:
            values = pa.array(np.char.add("c", random.integers(0, 50, count).astype(str)))
        else:
            values = pa.array(np.char.add("reading ", random.integers(0, 10**6, count).astype(str)))
        columns[f"a{number:02d}"] = values
    return columns, points


def rivers(count: int) -> tuple[dict[str, pa.Array], np.ndarray]:
    """Lines of 400 vertices that wander; two columns."""
    random = np.random.default_rng(20_240_603)
    steps = random.normal(0, 20, (count, LINE_VERTICES, 2))
    steps[:, 0] = random.uniform(0, 200_000, (count, 2)) + ORIGIN
    lines = shapely.linestrings(np.cumsum(steps, axis=1))
    columns = {
        "name": pa.array([f"river {number}" for number in range(count)]),
        "length_m": pa.array(shapely.length(lines)),
    }
    return columns, lines


def _grid(count: int, spacing: float) -> np.ndarray:
    ids, side = np.arange(count), int(np.ceil(np.sqrt(count)))
    return np.column_stack([ids % side, ids // side]) * spacing + ORIGIN


@dataclass(frozen=True)
class Dataset:
    """One kind of data: how to make it, and its type for GDAL."""

    make: Callable[[int], tuple[dict[str, pa.Array], np.ndarray]]
    geometry_type: str


DATASETS = {
    "parcels": Dataset(parcels, "Polygon"),
    "sensors": Dataset(sensors, "Point"),
    "rivers": Dataset(rivers, "LineString"),
}
DRIVERS = {"gpkg": "GPKG", "shp": "ESRI Shapefile", "geojson": "GeoJSON"}


def dataset_file(folder: Path, name: str, count: int, extension: str) -> Path:
    """The file of a dataset, made when it is not there."""
    path = folder / f"{name}_{count}_{extension}" / f"{name}_{count}.{extension}"
    if path.exists():
        return path
    print(f"Making {path.name} …", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns, geometries = DATASETS[name].make(count)
    partial = path.with_name(f"partial.{extension}")
    partial.unlink(missing_ok=True)
    if extension == "csv":
        columns["wkt"] = pa.array(shapely.to_wkt(geometries, rounding_precision=3))
        pa.csv.write_csv(pa.table(columns), partial)
        partial.rename(path)
        return path
    table = pa.table({**columns, "geometry": pa.array(shapely.to_wkb(geometries))})
    pyogrio.write_arrow(
        table,
        path if extension == "shp" else partial,
        driver=DRIVERS[extension],
        layer=path.stem,
        geometry_name="geometry",
        geometry_type=DATASETS[name].geometry_type,
        crs=CRS,
    )
    if extension != "shp":
        partial.rename(path)
    return path
