"""How data becomes colours: for the visualization tier and for previews.

Here: which bands are shown, and the arithmetic from values to red, green, blue and opacity. Not
here: how the picture is compressed (`profiles`, `cog`) or made small (`preview`).
"""

import colorsys
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from geo_etl.errors import RasterError
from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.gdal import environment
from geo_etl.raster.manifest import Profile
from geo_etl.raster.windows import parts
from geo_etl.spec.raster import RenderParams

Palette = tuple[tuple[int, tuple[int, int, int, int]], ...]
Pixels = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

PART_BYTES = 64_000_000
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
LEFT_OUT = "or leave visualization out of output_tier"


@dataclass(frozen=True)
class Look:
    """What is shown of a raster, and how.

    Attributes:
        bands: of the source, one or three; alpha is not among them.
        rescale: (low, high) → (0, 255) for each of them; empty: as they are.
        colormap_name: of matplotlib, for one band.
        palette: colour of each value, for one band.
    """

    bands: tuple[int, ...]
    rescale: tuple[tuple[float, float], ...] = ()
    colormap_name: str | None = None
    palette: Palette | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the values are the colours."""
        return not self.rescale and len(self.bands) == 3

    @property
    def has_gaps(self) -> bool:
        """Whether some values are transparent."""
        return any(colour[3] == 0 for _, colour in self.palette or ())


def class_palette(classes: Iterable[int]) -> Palette:
    """Colours of classes that have none of their own, to be told apart by.

    A class has the same colour wherever it is, whatever other classes are there. Its hue is a
    multiple of the golden ratio: such points divide a circle evenly, also those of every tenth
    (three-distance theorem).
    """
    return tuple((value, _class_colour(value)) for value in classes)


def _class_colour(value: int) -> tuple[int, int, int, int]:
    depth = 0.9 if value % 2 == 0 else 0.65
    red, green, blue = colorsys.hsv_to_rgb(value * GOLDEN % 1.0, 0.6, depth)
    return round(255 * red), round(255 * green), round(255 * blue), 255


def look_of(facts: RasterFacts, dtype: str, params: RenderParams, name: str) -> Look:
    """How the visualization tier shows a raster.

    Args:
        dtype: of the pixels that are to be shown.
        name: of the source, for errors.

    Raises:
        RasterError: it is no 8-bit RGB(A) image, and `render_params` does not say how to make one.
    """
    if dtype.startswith("complex"):
        raise RasterError(name, "has complex numbers, which have no colours", _leave_out())
    look = asked_look(facts, params, name)
    if look is None:
        raise RasterError(
            name,
            f"has {len(facts.data_bands)} bands, and nothing says which are red, green and blue",
            f"Set render_params.bands to one band or to three, {LEFT_OUT}.",
        )
    if look.palette or look.rescale or (dtype == "uint8" and look.colormap_name):
        return look
    if dtype != "uint8":
        raise RasterError(
            name,
            f"has {dtype} pixels, and a picture has 8 bits",
            f"Set render_params.rescale, for instance to {_suggested(facts, look)}, {LEFT_OUT}.",
        )
    if len(look.bands) == 1:
        raise RasterError(
            name,
            "has one band, and a picture has red, green and blue",
            "Set render_params.rescale for shades of gray, for instance to "
            f"{_suggested(facts, look)}, or render_params.colormap_name for colours, {LEFT_OUT}.",
        )
    return look


def asked_look(facts: RasterFacts, params: RenderParams, name: str) -> Look | None:
    """What the spec and the bands themselves say; None when they don't say which bands.

    Raises:
        RasterError: the spec asks for a band, colours or a number of ranges that can't be.
    """
    shown = {band.index: band for band in facts.data_bands}
    bands = tuple(params.bands) if params.bands else _natural_bands(facts)
    if bands is None:
        return None
    for index in bands:
        if index not in shown:
            raise RasterError(
                name,
                f"has no band {index} to show",
                f"Set render_params.bands to some of {', '.join(map(str, shown))}.",
            )
    if params.colormap_name is not None:
        if len(bands) != 1:
            raise RasterError(
                name,
                "a colormap is for one band, and three are shown",
                "Set render_params.bands to one band, or leave out render_params.colormap_name.",
            )
        if params.colormap_name not in matplotlib.colormaps:
            raise RasterError(
                name,
                f"render_params.colormap_name: matplotlib has no colormap {params.colormap_name}",
                "Set it to one that it has, for instance viridis, magma, terrain or gray.",
            )
    ranges = tuple(params.rescale or ())
    if len(ranges) not in (0, 1, len(bands)):
        raise RasterError(
            name,
            f"render_params.rescale has {len(ranges)} ranges for {len(bands)} bands",
            "Give one range for all bands, or one for each.",
        )
    ranges = ranges * len(bands) if len(ranges) == 1 else ranges
    look = Look(bands, ranges, params.colormap_name)
    only = shown[bands[0]]
    if len(bands) == 1 and only.colormap and not (ranges or params.colormap_name):
        return replace(look, palette=only.colormap)
    return look


def _natural_bands(facts: RasterFacts) -> tuple[int, ...] | None:
    """One band, or red, green and blue as the file names them, or three of an image."""
    bands = facts.data_bands
    if len(bands) == 1:
        return (bands[0].index,)
    named = {band.color: band.index for band in reversed(bands)}
    if {"red", "green", "blue"} <= set(named):
        return named["red"], named["green"], named["blue"]
    if len(bands) == 3 and facts.kind == "imagery":
        return bands[0].index, bands[1].index, bands[2].index
    return None


def _suggested(facts: RasterFacts, look: Look) -> str:
    """The range of the values, as the spec writes it."""
    statistics = [band.statistics for band in facts.bands if band.index in look.bands]
    lows = [one.minimum for one in statistics if one.minimum is not None]
    highs = [one.maximum for one in statistics if one.maximum is not None]
    if not lows or not highs or not min(lows) < max(highs):
        return "[[0, 255]]"
    return f"[[{min(lows):g}, {max(highs):g}]]"


def _leave_out() -> str:
    return "Leave visualization out of output_tier."


def draw(data: Pixels, look: Look) -> tuple[Bytes, Mask | None]:
    """Colours of pixels.

    Args:
        data: the bands of the look: shape (1 or 3, rows, columns).

    Returns:
        Red, green and blue, shape (3, rows, columns), and which pixels are opaque by their own
        value: those with a number, and not transparent in the palette; None for all.
    """
    if look.palette:
        return _by_palette(data[0], look.palette)
    opaque: Mask | None = None
    if data.dtype.kind == "f":
        numbers = np.asarray(~np.isnan(data).any(axis=0))
        opaque = None if numbers.all() else numbers
    if look.rescale:
        data = np.stack(
            [_rescaled(band, *limits) for band, limits in zip(data, look.rescale, strict=True)]
        )
    if look.colormap_name:
        table = colour_table(look.colormap_name)
        return np.ascontiguousarray(np.moveaxis(table[data[0]], -1, 0)), opaque
    return (np.repeat(data, 3, axis=0) if len(data) == 1 else data), opaque


def colour_table(colormap_name: str) -> Bytes:
    """256 colours of a colormap of matplotlib, shape (256, 3)."""
    colours = matplotlib.colormaps[colormap_name](np.linspace(0, 1, 256))
    return np.asarray(np.round(colours[:, :3] * 255), dtype=np.uint8)


def _rescaled(band: Pixels, low: float, high: float) -> Bytes:
    # Doubles where a float would not hold the integers.
    wide = np.float64 if band.dtype.itemsize > 2 and band.dtype != np.float32 else np.float32
    scaled: npt.NDArray[Any] = band.astype(wide)
    scaled -= low
    scaled *= 255 / (high - low)
    np.nan_to_num(scaled, copy=False, nan=0, posinf=255, neginf=0)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)


def _by_palette(band: Pixels, palette: Palette) -> tuple[Bytes, Mask | None]:
    """Values outside the palette are black and transparent: they have no colour."""
    size = 256 if band.dtype == np.uint8 else max(value for value, _ in palette) + 2
    table = np.zeros((4, size), np.uint8)
    for value, colour in palette:
        table[:, value] = colour
    if band.dtype != np.uint8:
        band = np.where((band >= 0) & (band < size - 1), band, size - 1).astype(np.intp)
    opaque = table[3] > 0
    colours = np.stack([channel[band] for channel in table[:3]])
    return colours, None if opaque.all() else opaque[band]


def opacity(alpha: Pixels, facts: RasterFacts) -> Bytes:
    """An alpha band in 8 bits: GDAL's full opacity is the largest value of its type.

    Writers of 16 bits also use 255, and of floats 1: the smallest of these that covers the band.
    """
    if alpha.dtype == np.uint8:
        return alpha
    band = next(band for band in facts.bands if band.index == facts.alpha)
    largest = band.statistics.maximum or 0
    steps = [1.0, 255.0] if alpha.dtype.kind == "f" else [255.0]
    if band.significant_bits:
        steps.append(2.0**band.significant_bits - 1)
    if alpha.dtype.kind != "f":
        steps.append(float(np.iinfo(alpha.dtype).max))
    full = next((step for step in sorted(steps) if step >= largest), steps[-1])
    return _rescaled(alpha, 0, full)


def look_in(profile: Profile, facts: RasterFacts) -> Look:
    """The look that a profile of a visualization was made of."""
    bands = tuple(index for index in profile.bands if index != facts.alpha)
    look = Look(bands, profile.rescale, profile.colormap_name)
    if look.is_plain or look.rescale or look.colormap_name:
        return look
    only = next(band for band in facts.bands if band.index == bands[0])
    return replace(look, palette=only.colormap)


def render(reference: Path | str, profile: Profile, facts: RasterFacts, target: Path) -> None:
    """Write what a profile shows of a dataset to an uncompressed GeoTIFF of 8 bits.

    It has red, green and blue, and an alpha band or a mask if the profile says so. A pixel is
    masked that is valid in no band that is shown, or has no colour.

    Args:
        reference: a dataset with all bands of the source.
    """
    look, alpha = look_in(profile, facts), facts.alpha
    with (
        environment(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(reference) as source,
        rasterio.open(
            target,
            "w",
            driver="GTiff",
            width=source.width,
            height=source.height,
            count=3 if alpha is None else 4,
            dtype="uint8",
            crs=source.crs,
            transform=source.transform,
            tiled=True,
            blockxsize=512,
            blockysize=512,
            interleave="pixel",
            photometric="RGB",
            bigtiff="IF_SAFER",
        ) as picture,
    ):
        colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
        picture.colorinterp = colours if alpha is None else [*colours, ColorInterp.alpha]
        depth = len(profile.bands) * np.dtype(source.dtypes[0]).itemsize + 8
        for part in parts(source.width, source.height, depth, PART_BYTES):
            window = RasterioWindow(part.col, part.row, part.width, part.height)
            pixels, opaque = draw(source.read(look.bands, window=window), look)
            picture.write(pixels, [1, 2, 3], window=window)
            if alpha is not None:
                shown = opacity(source.read(alpha, window=window), facts)
                picture.write(shown if opaque is None else shown * opaque, 4, window=window)
            elif profile.validity == "mask":
                masks = source.read_masks(look.bands, window=window)
                valid = masks.any(axis=0)
                picture.write_mask(valid if opaque is None else valid & opaque, window=window)
