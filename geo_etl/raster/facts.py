"""What is known of a raster: grids, bands and their pixels. Value types, no I/O."""

import math
from dataclasses import dataclass
from typing import Literal

from affine import Affine

from geo_etl.spec.raster import DataKind

Validity = Literal["nodata", "mask", "alpha", "none"]
"""What tells valid pixels from others: a value, a mask of the dataset, an alpha band, nothing."""
Georeference = Literal["transform", "gcps"]


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels of a grid; offsets from its top left corner."""

    col: int
    row: int
    width: int
    height: int


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster are.

    Attributes:
        crs: AUTHORITY:CODE, or WKT.
        transform: from (column, row) of pixel corners to x, y of the CRS, x being east or
            longitude; see `affine`.
        width: columns.
        height: rows.
    """

    crs: str
    transform: Affine
    width: int
    height: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax in the CRS, also of a rotated or south-up grid."""
        corners = [
            self.transform @ corner
            for corner in ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        ]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def pixels(self) -> int:
        """Of one band."""
        return self.width * self.height

    @property
    def is_north_up(self) -> bool:
        """Whether rows run from north to south and columns from west to east."""
        return self.transform.b == self.transform.d == 0 < self.transform.a and self.transform.e < 0

    def window(self, window: Window) -> "Grid":
        """The grid of a part of this one."""
        moved = self.transform @ Affine.translation(window.col, window.row)
        return Grid(self.crs, moved, window.width, window.height)

    @property
    def whole(self) -> Window:
        """All of it."""
        return Window(0, 0, self.width, self.height)


@dataclass(frozen=True)
class Histogram:
    """Counts of valid pixels in bins of equal width between two values."""

    minimum: float
    maximum: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Statistics:
    """Of the valid pixels of one band, before scale and offset.

    Attributes:
        valid: how many pixels are valid.
        minimum, maximum, mean, stddev, histogram: None when no pixel is valid, or for complex
            numbers.
    """

    valid: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    stddev: float | None = None
    histogram: Histogram | None = None


@dataclass(frozen=True)
class Band:
    """One band as its source has it.

    Attributes:
        index: from 1.
        name: its description in the file.
        dtype: numpy's name, or GDAL's `complex_int16`.
        color: GDAL's colour interpretation in lower case: gray, palette, red, alpha, undefined …
        colormap: (value, (red, green, blue, alpha)) by value, of a palette.
        classes: every distinct valid value, ascending; None for more than 256, or for floats.
        significant_bits: NBITS, where the file says that it uses fewer than the type has.
    """

    index: int
    name: str | None
    dtype: str
    color: str
    nodata: float | None
    scale: float
    offset: float
    unit: str | None
    statistics: Statistics
    colormap: tuple[tuple[int, tuple[int, int, int, int]], ...] | None = None
    classes: tuple[int, ...] | None = None
    significant_bits: int | None = None


@dataclass(frozen=True)
class RasterFacts:
    """What an inspection found in a source, every block of it read.

    Attributes:
        driver: GDAL's short name of the format.
        grid: of the source. With ground control points: the grid that they give, in their CRS.
        bands: all of them, an alpha band too.
        kind: what the pixels are, which decides about resampling, overviews and compression.
        kind_because: why, for people.
        nodata: the value that is no data: declared, of the spec, or inferred.
        nodata_from: where it is from; None without.
        validity: what tells which pixels are valid.
        valid_pixels: pixels of the grid that are valid in at least one band.
        narrow_to: a smaller type that holds every pixel of every band without loss, and nodata.
        footprint: WKB polygon or multipolygon in the CRS of the grid around all valid pixels, a
            little generous, of few vertices; None when no pixel is valid.
        acquired: time of the data from the file's tags, ISO 8601 with an offset from UTC.
        acquired_until: likewise, of data of more than one time.
        acquired_from: the tag.
        is_cog: whether the source is a valid COG already.
        block: rows and columns of a block.
        compression: as GDAL names it; None for none.
        overviews: factors.
        gcps: ground control points, where they say where it is: column, row, x, y.
        subdataset: the variable, of a source with several.
        tags: of the dataset, that are worth keeping.
        warnings: what a person should know.
    """

    driver: str
    grid: Grid
    georeference: Georeference
    bands: tuple[Band, ...]
    kind: DataKind
    kind_because: str
    nodata: float | None
    nodata_from: Literal["declared", "spec", "inferred"] | None
    validity: Validity
    valid_pixels: int
    narrow_to: str | None
    footprint: bytes | None
    crs_declared: bool
    acquired: str | None = None
    acquired_until: str | None = None
    acquired_from: str | None = None
    is_cog: bool = False
    compression: str | None = None
    interleave: str | None = None
    block: tuple[int, int] = (0, 0)
    overviews: tuple[int, ...] = ()
    gcps: tuple[tuple[float, float, float, float], ...] = ()
    subdataset: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        """Of the first band; bands of a GeoTIFF have one type."""
        return self.bands[0].dtype

    @property
    def alpha(self) -> int | None:
        """Index of the alpha band."""
        return next((band.index for band in self.bands if band.color == "alpha"), None)

    @property
    def data_bands(self) -> tuple[Band, ...]:
        """All bands but alpha."""
        return tuple(band for band in self.bands if band.color != "alpha")


def same_nodata(one: float | None, other: float | None) -> bool:
    """Whether two nodata values are the same; NaN is NaN."""
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))
