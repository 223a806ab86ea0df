"""Generated land parcels: the polygons that the benchmarks load.

Polygons of 13 vertices around a circle with an uneven radius, on a grid in EPSG:32633 (near
Berlin and Prague), with six columns; every hundredth is invalid (two vertices swapped).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
import shapely

CRS = "EPSG:32633"
VERTICES = 13
SPACING = 40.0
"""Metres between the centres of parcels."""


def write_parcels(path: Path, count: int, driver: str = "GPKG") -> None:
    """Write `count` parcels, the same every time."""
    random = np.random.default_rng(20_240_601)
    ids = np.arange(count)
    side = int(np.ceil(np.sqrt(count)))
    centres = np.column_stack([ids % side, ids // side]) * SPACING + (350_000, 5_650_000)
    angles = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    radii = random.uniform(8, 19, (count, VERTICES))
    rings = centres[:, None, :] + radii[:, :, None] * np.stack(
        [np.cos(angles), np.sin(angles)], axis=-1
    )
    rings[::100, [2, 6]] = rings[::100, [6, 2]]
    polygons = shapely.polygons(np.concatenate([rings, rings[:, :1]], axis=1))
    classes = np.array(["arable", "forest", "meadow", "orchard", "urban", "water"])
    table = pa.table(
        {
            "parcel_no": [f"{number:09d}" for number in ids],
            "land_use": classes[random.integers(0, len(classes), count)],
            "area_m2": shapely.area(polygons),
            "owners": random.integers(1, 9, count).astype(np.int32),
            "assessed": random.integers(10_000, 900_000, count),
            "surveyed": pa.array(
                random.integers(7_000, 19_000, count).astype(np.int32), pa.date32()
            ),
            "geometry": shapely.to_wkb(polygons),
        }
    )
    partial = path.with_name(f"partial-{path.name}")
    partial.unlink(missing_ok=True)
    pyogrio.write_arrow(
        table,
        partial,
        driver=driver,
        layer=path.stem,
        geometry_name="geometry",
        geometry_type="Polygon",
        crs=CRS,
    )
    partial.rename(path)
