"""How titiler opens rasters: it takes these readers in place of its own.

STAC items name blobs by their address in storage. A container in Azure is private, so GDAL has to
open the blob as one of an account whose credentials it has, not as a file on the web.

Some grids run past the edge of the world: past 180° or beyond -180°, or the raster would be cut.
titiler's reader looks for the other side of the antimeridian where the grid does not have it: 182°
is -178° on the map. These readers look one world further too.
"""

import math
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import attr
import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import calculate_default_transform
from rio_tiler.io import Reader
from rio_tiler.io.base import SpatialMixin
from rio_tiler.models import ImageData
from titiler.pgstac.reader import PgSTACReader, SimpleSTACReader

from geo_etl.resources.blob_storage import open_storage
from geo_etl.settings import get_settings

MERCATOR = CRS.from_epsg(3857)
MERCATOR_WORLD = 2 * math.pi * 6_378_137.0
"""Metres around the equator, of the sphere that EPSG:3857 takes (EPSG guidance note 7-2)."""


def gdal_name(href: str) -> str:
    """What GDAL opens for the address of a blob in the project's storage; others as they are.

    `/vsiaz/CONTAINER/PATH` in Azure, else a path; in neither is anything percent-encoded.
    """
    storage = open_storage(get_settings().storage_url)
    inside = f"{storage.root_url()}/"
    if not href.startswith(inside):
        return href
    return f"{storage.gdal_root()}/{unquote(href.removeprefix(inside))}"


def _world(crs: CRS) -> float | None:
    """How far it is once around, in units of the CRS; None where x is no longitude."""
    if crs.is_geographic:
        return float(2 * math.pi / crs.units_factor[1])
    return MERCATOR_WORLD if crs == MERCATOR else None


@attr.s
class AroundReader(Reader):
    """Reads a part from every place in which it lies on the map."""

    def __attrs_post_init__(self) -> None:
        """Open the raster."""
        self.input = gdal_name(str(self.input))
        super().__attrs_post_init__()  # type: ignore[no-untyped-call]

    @property
    def shifts(self) -> list[float]:
        """What to add to x of the grid so that some of it lies on the map; 0 for most rasters."""
        world = _world(self.crs)
        if world is None:
            return [0.0]
        west, _, east, _ = self.bounds
        # A millionth: grids of the whole world often end a rounding error past it.
        edge = world / 2 * (1 + 1e-6)
        return [0.0] + [-world] * (east > edge) + [world] * (west < -edge)

    def tile_exists(self, tile_x: int, tile_y: int, tile_z: int) -> bool:
        """Whether a tile meets the bounds; of a raster past the edge, it may be anywhere."""
        return len(self.shifts) > 1 or bool(super().tile_exists(tile_x, tile_y, tile_z))

    def part(self, *args: Any, **options: Any) -> ImageData:
        """As rio-tiler's, with what lies one world further where nothing else is."""
        shifts = self.shifts
        if len(shifts) == 1:
            return super().part(*args, **options)
        assert self.dataset is not None
        vrt_options, images = options.pop("vrt_options", None) or {}, []
        for shift in shifts:
            moved = Affine.translation(shift, 0) @ self.dataset.transform
            there = {**vrt_options, "src_transform": moved}
            images.append(super().part(*args, vrt_options=there, **options))
        return _merged(images)


def _merged(images: list[ImageData]) -> ImageData:
    first = images[0]
    for other in images[1:]:
        gaps = np.ma.getmaskarray(first.array) & ~np.ma.getmaskarray(other.array)
        first.array[gaps] = other.array[gaps]
        if first.alpha_mask is not None and other.alpha_mask is not None:
            first.alpha_mask = np.maximum(first.alpha_mask, other.alpha_mask)
    return first


_GRID_ON_THE_MAP: Any = vars(SpatialMixin)["_dst_geom_in_tms_crs"]
"""Not by `super()`: it would store the value of both properties under the one name."""


@attr.s
class ItemReader(PgSTACReader):
    """Reader of one item; its assets know what they cover."""

    @cached_property
    def _dst_geom_in_tms_crs(self) -> tuple[Affine, int, int]:
        """Grid on the map, for the range of zooms: TileJSON has it, and map clients keep to it."""
        box = self.item.bbox
        if box is None or box[0] <= box[2] or self.tms.rasterio_crs != MERCATOR:
            grid: tuple[Affine, int, int] = _GRID_ON_THE_MAP.func(self)
        else:
            # Across the map's edge its pixels would seem as wide as the world: another edge, then.
            middle = (box[0] + box[2] + 360) / 2
            around = CRS.from_string(f"+proj=merc +R=6378137 +lon_0={middle} +units=m")
            grid = calculate_default_transform(
                self.crs, around, self.width, self.height, *self.bounds
            )
        return grid

    reader: type[Reader] = attr.ib(default=AroundReader)

    def tile_exists(self, tile_x: int, tile_y: int, tile_z: int) -> bool:  # noqa: ARG002
        """Left to the reader of the asset."""
        return True


@attr.s
class MemberReader(SimpleSTACReader):
    """Reader of one item of a search; its assets know what they cover."""

    reader: type[Reader] = attr.ib(default=AroundReader)

    def tile_exists(self, tile_x: int, tile_y: int, tile_z: int) -> bool:  # noqa: ARG002
        """Left to the reader of the asset."""
        return True
