"""A small picture of a raster, for people: thumbnails, the quality report, the Dagster UI."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling

from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.manifest import Profile
from geo_etl.raster.profiles import KIND_RULES
from geo_etl.raster.rendering import Bytes, Look, Palette, asked_look, class_palette, draw, opacity
from geo_etl.spec import RasterSpec

LARGEST = 512
"""Pixels of the longer side."""
STRETCH = 2.0, 98.0
"""Percentiles that become darkest and brightest, where nothing else is asked for."""
CONTINUOUS_COLOURS = "viridis"
MASK_COLOURS = (235, 235, 235, 255), (31, 95, 191, 255)

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def preview(cog: Path | str, profile: Profile, facts: RasterFacts, spec: RasterSpec) -> bytes:
    """A PNG of at most 512 × 512 pixels, transparent where the raster is not valid.

    The colours are those of `render_params`, of the palette or of the image itself; classes
    without palette get colours that can be told apart, other values a stretch between percentiles.

    Args:
        cog: of which the overviews are read.
        profile: what the file was written by.
    """
    is_shown = profile.tier == "visualization"
    look = Look((1, 2, 3)) if is_shown else _first_look(facts, spec)
    with rasterio.open(cog) as dataset:
        scale = min(1.0, LARGEST / max(dataset.width, dataset.height))
        shape = max(1, round(dataset.height * scale)), max(1, round(dataset.width * scale))
        averages = is_shown or KIND_RULES[facts.kind].interpolates
        how = Resampling.average if averages and not look.palette else Resampling.nearest
        if dataset.dtypes[0].startswith("complex"):
            how = Resampling.nearest
        data = dataset.read(look.bands, out_shape=(len(look.bands), *shape), resampling=how)
        valid = dataset.read_masks(look.bands, out_shape=data.shape).any(axis=0)
        alpha = dataset.count if is_shown and profile.validity == "alpha" else facts.alpha
        seen = dataset.read(alpha, out_shape=shape) if alpha else None
    if np.iscomplexobj(data):
        data = np.abs(data)
    if not is_shown:
        look = _finished(look, data, valid, facts)
    colours, opaque = draw(data, look)
    shown = valid if opaque is None else valid & opaque
    depth = shown * np.uint8(255) if seen is None else np.where(shown, opacity(seen, facts), 0)
    return _png(colours, np.asarray(depth, np.uint8))


def _first_look(facts: RasterFacts, spec: RasterSpec) -> Look:
    """What is asked for, else the first band of many."""
    return asked_look(facts, spec.render_params, "") or Look((facts.data_bands[0].index,))


def _finished(look: Look, data: Pixels, valid: Mask, facts: RasterFacts) -> Look:
    """A look with colours for all values."""
    if look.palette or look.rescale or (data.dtype == np.uint8 and look.colormap_name):
        return look
    if not KIND_RULES[facts.kind].interpolates and len(look.bands) == 1:
        return replace(look, palette=_class_colours(data[0][valid]))
    is_image = facts.kind == "imagery"
    if data.dtype == np.uint8 and look.is_plain and is_image:
        return look
    if not look.colormap_name and len(look.bands) == 1 and not is_image:
        look = replace(look, colormap_name=CONTINUOUS_COLOURS)
    return replace(look, rescale=tuple(_stretch(band, valid) for band in data))


def _stretch(band: Pixels, valid: Mask) -> tuple[float, float]:
    values = band[valid]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, STRETCH))
    if not low < high:
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 1, high + 1)


def _class_colours(values: Pixels) -> Palette:
    """A colour for each value that is there; two values get a light and a dark one."""
    present = [int(value) for value in np.unique(values)]
    if len(present) <= len(MASK_COLOURS):
        return tuple(zip(present, MASK_COLOURS, strict=False))
    return class_palette(present)


def _png(colours: Bytes, depth: Bytes) -> bytes:
    buffer = io.BytesIO()
    picture = np.ascontiguousarray(np.moveaxis(np.concatenate([colours, depth[None]]), 0, -1))
    matplotlib.image.imsave(buffer, picture, format="png")
    return buffer.getvalue()
