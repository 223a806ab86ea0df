"""A small raster of each published kind, drawn in plain quarters, and what a map has to show of it.

The quarters are named as on a map: nw, ne, sw, se. What is expected is what was drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.enums import ColorInterp

SIDE = 400
DEGREES = Affine(0.001, 0, 13.0, 0, -0.001, 50.4)
UTM_33 = Affine(60, 0, 500_000, 0, -60, 5_560_000)
ACROSS_180 = Affine(60, 0, 807_300, 0, -60, 1_900_000)
"""In UTM 60: 180° is in the middle of 400 pixels at some 17° north."""

Colour = tuple[int, int, int]
QUARTERS = ("nw", "ne", "sw", "se")
RED, GREEN, BLUE, SAND = (200, 30, 40), (20, 160, 60), (30, 60, 190), (230, 200, 120)
CLEAR = None
COLOURS: dict[str, Colour | None] = dict(zip(QUARTERS, (RED, GREEN, BLUE, SAND), strict=True))


@dataclass(frozen=True)
class Kind:
    """One kind of raster.

    Attributes:
        values: of each quarter: one a band.
        shown: the colour of quarters, None where the map is empty; not for data that gets its
            colours from a ramp.
        tolerance: of a colour: more than 0 for lossy files.
    """

    values: Mapping[str, tuple[float, ...]]
    shown: Mapping[str, Colour | None]
    spec: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "uint8"
    crs: str = "EPSG:4326"
    transform: Affine = DEGREES
    side: int = SIDE
    nodata: float | None = None
    colormap: Mapping[int, Colour] | None = None
    tolerance: int = 0

    def write(self, path: Path) -> Path:
        """The raster as a GeoTIFF."""
        count, half = len(self.values["nw"]), self.side // 2
        pixels = np.zeros((count, self.side, self.side), self.dtype)
        for quarter, values in self.values.items():
            rows = slice(0, half) if quarter[0] == "n" else slice(half, None)
            columns = slice(0, half) if quarter[1] == "w" else slice(half, None)
            pixels[:, rows, columns] = np.array(values, self.dtype)[:, None, None]
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=self.side,
            height=self.side,
            count=count,
            dtype=self.dtype,
            crs=self.crs,
            transform=self.transform,
            nodata=self.nodata,
            compress="DEFLATE",
        ) as file:
            if self.colormap:
                file.write_colormap(1, {**dict.fromkeys(range(256), (0, 0, 0)), **self.colormap})
            if count == 4:
                file.colorinterp = [*file.colorinterp[:3], ColorInterp.alpha]
            file.write(pixels)
        return path

    def middles(self) -> dict[str, tuple[float, float]]:
        """Longitude and latitude of the middle of each quarter."""
        to_degrees = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        places = {}
        for quarter in QUARTERS:
            column = self.side * (0.25 if quarter[1] == "w" else 0.75)
            row = self.side * (0.25 if quarter[0] == "n" else 0.75)
            places[quarter] = to_degrees.transform(*(self.transform @ (column, row)))
        return places


def _each(of: Callable[[str], tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    return {quarter: of(quarter) for quarter in QUARTERS}


_RGB = _each(lambda quarter: COLOURS[quarter] or (0, 0, 0))
_CLASSES = dict(zip(QUARTERS, ((1,), (2,), (3,), (4,)), strict=True))
_LEGEND: dict[int, Colour] = {1: RED, 2: GREEN, 3: BLUE, 4: SAND}

KINDS: dict[str, Kind] = {
    "rgb": Kind(_RGB, COLOURS),
    "rgb_for_the_eye": Kind(_RGB, COLOURS, {"output_tier": "visualization"}, tolerance=6),
    "rgba": Kind(
        {q: (*values, 0 if q == "nw" else 255) for q, values in _RGB.items()},
        {**COLOURS, "nw": CLEAR},
    ),
    "heights": Kind(
        {"nw": (-9999,), "ne": (120.5,), "sw": (640.25,), "se": (1310.75,)},
        {"nw": CLEAR},
        dtype="float32",
        crs="EPSG:32633",
        transform=UTM_33,
        nodata=-9999,
    ),
    "sixteen_bits": Kind(
        {"nw": (0,), "ne": (900,), "sw": (2100,), "se": (4000,)},
        {"nw": CLEAR},
        {"data_kind": "continuous"},
        dtype="uint16",
        nodata=0,
    ),
    "classes": Kind(_CLASSES, COLOURS, colormap=_LEGEND),
    "mask": Kind({"nw": (0,), "ne": (1,), "sw": (1,), "se": (0,)}, {}),
    "in_mercator": Kind(_RGB, COLOURS, {"target_crs": "EPSG:3857"}),
    "across_180": Kind(
        _RGB, COLOURS, crs="EPSG:32660", transform=ACROSS_180, spec={"resampling": "nearest"}
    ),
    "tiled": Kind(
        _RGB,
        COLOURS,
        {"max_raster_size_gb": 0.005, "target_tile_size_gb": 0.005},
        transform=Affine(0.0001, 0, 13.0, 0, -0.0001, 50.4),
        side=2600,
    ),
}
