"""One publication of each kind, for tests of what clients see of them.

Names are such as have to be percent-encoded in addresses, wherever the project lets them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import rasterio
import shapely
from rasterio.transform import from_origin

from geo_etl_tests.conftest import failure_of
from geo_etl_tests.e2e.raster_kinds import KINDS

FEATURES = 2300
"""More than two of the pages that GDAL asks for."""
WORDS = ("Köln", "Łódź", "東京", "O'Brien & Söhne", 'say "ü"', "", None)
FIRST_DAY = date(2001, 2, 3)
TAKEN = datetime(2011, 3, 4, 5, 6, 7, tzinfo=UTC)
SPOKEN = datetime(2015, 1, 1, tzinfo=UTC)
SIDE = 4096


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        root: address of the site.
        name: which all names hold.
        features: what was delivered as the table.
        table: `schema.table`.
        pixels: of the large raster.
        results: result documents by what they are of.
    """

    root: str
    name: str
    features: gpd.GeoDataFrame
    pixels: np.ndarray
    results: dict[str, dict[str, Any]]

    @property
    def table(self) -> str:
        return str(self.results["table"]["table"])

    @property
    def collections(self) -> dict[str, str]:
        """Ids of collections by what is in them."""
        return {of: result["stac"]["collection_id"] for of, result in self.results.items()}


def publish_each_kind(
    materialize: Callable[..., Any], bronze: Path, root: str, name: str
) -> Published:
    """Ingest a file of each kind."""
    folder = bronze / f"{name} ü"
    folder.mkdir()
    tables, rasters = f"{name}.tables", f"{name}.rasters"
    features, pixels = points(), checkers()
    features.to_file(folder / "a b#ü%20.gpkg", layer="x", driver="GPKG", use_arrow=True)
    squares().to_file(folder / "Ärea.shp", encoding="UTF-8", use_arrow=True)
    with rasterio.open(KINDS["rgb"].write(folder / "b ü.tif"), "r+") as file:
        file.update_tags(TIFFTAG_DATETIME=TAKEN.strftime("%Y:%m:%d %H:%M:%S"))
    KINDS["tiled"].write(folder / "tiles.tif")
    write_large(folder / "large.tif", pixels)
    members = folder / "members"
    members.mkdir()
    for number, kind in enumerate(("rgb", "in_mercator")):
        KINDS[kind].write(members / f"{number} é.tif")

    def publish(work: str, file: str, **spec: Any) -> dict[str, Any]:
        run = materialize(work, f"bronze/{folder.name}/{file}", **spec)
        assert run.success, failure_of(run)
        node = {
            "vector": "vector_table.verify",
            "raster": "raster_cog.verify",
            "collection": "raster_collection.verify",
        }[work]
        found: dict[str, Any] = run.output_for_node(node, "result")
        return found

    results = {
        "table": publish(
            "vector",
            "a b#ü%20.gpkg",
            table_name=f"höhe_{name}",
            collection_id=tables,
            geoparquet=True,
            indexes={"temporal": ["day"]},
        ),
        "shapefile": publish("vector", "Ärea.shp", table_name=f"area_{name}", collection_id=tables),
        "raster": publish(
            "raster", "b ü.tif", item_id=f"{name}.b", collection_id=rasters, output_tier="all"
        ),
        "large": publish(
            "raster",
            "large.tif",
            item_id=f"{name}.large",
            collection_id=rasters,
            datetime=SPOKEN.isoformat(),
        ),
        "tiles": publish("raster", "tiles.tif", item_id=f"{name}.tiles", **KINDS["tiled"].spec),
        "members": publish("collection", "members/", collection_id=f"{name}.members"),
    }
    return Published(root, name, features, pixels, results)


def points() -> gpd.GeoDataFrame:
    """Points with an attribute of each type, some of them null."""
    number = np.arange(FEATURES)
    rng = np.random.default_rng(1)
    return gpd.GeoDataFrame(
        {
            "number": number + 2**40,
            "word": [WORDS[i % len(WORDS)] for i in number],
            "ratio": pd.array([None if i % 3 == 0 else i / 7 for i in number], "Float64"),
            "flag": pd.array([(True, False, None)[i % 3] for i in number], "boolean"),
            "day": pd.array(
                [FIRST_DAY + timedelta(days=int(i) % 400) for i in number],
                pd.ArrowDtype(pa.date32()),
            ),
            "seen": pd.to_datetime(TAKEN) + pd.to_timedelta(number, "min"),
        },
        geometry=shapely.points(rng.uniform((5, 47), (15, 55), (FEATURES, 2)).round(6)),
        crs="EPSG:4326",
    )


def squares() -> gpd.GeoDataFrame:
    """Three squares at the far side of the world from the points, in a projected CRS."""
    places = shapely.box([1e6, 1.1e6, 1.2e6], 5e6, [1.05e6, 1.15e6, 1.25e6], 5.05e6)
    days = pd.array([None, FIRST_DAY, FIRST_DAY], pd.ArrowDtype(pa.date32()))
    return gpd.GeoDataFrame(
        {"näme": ["a", "ß", None], "tag": days}, geometry=places, crs="EPSG:2193"
    )


def checkers() -> np.ndarray:
    """Pixels of the large raster: squares with some noise, so that they do not compress away."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    noise = np.random.default_rng(2).integers(0, 32, (SIDE, SIDE), dtype="uint8")
    return (((x // 512 + y // 512) % 7 * 30) + noise).astype("uint8")


def write_large(path: Path, pixels: np.ndarray) -> None:
    """The large raster, in degrees."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=1,
        dtype="uint8",
        crs="EPSG:4326",
        transform=from_origin(20, 45, 0.0005, 0.0005),
        tiled=True,
    ) as file:
        file.write(pixels, 1)
