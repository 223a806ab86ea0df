"""Circuit breakers on what a raster declares, before its pixels are touched."""

import numpy as np
import rasterio
from rasterio.enums import Interleaving

from geo_etl.errors import SourceError
from geo_etl.spec import RasterSpec

MAX_BLOCK_BYTES = 256_000_000
"""Of one strip, tile or chunk, which is decoded as a whole: it and a copy of it are in memory."""
FREE_GB = 1.0
"""Declared pixels that are never too many for the size of the file."""


def pixel_bytes(dataset: rasterio.DatasetReader) -> int:
    """Of one pixel of all bands, as they are declared."""
    return sum(itemsize(dtype) for dtype in dataset.dtypes)


def itemsize(dtype: str) -> int:
    """Bytes of one value of a GDAL type as numpy holds it."""
    return np.dtype("complex64" if dtype == "complex_int16" else dtype).itemsize


def check_limits(dataset: rasterio.DatasetReader, name: str, size: int, spec: RasterSpec) -> None:
    """Stop a raster above the limits of its spec, and one whose blocks fill the memory.

    Args:
        size: of the file in bytes.

    Raises:
        SourceError: names the figures, and the key of the limit.
    """
    limits = spec.limits
    if dataset.count > limits.max_bands:
        raise SourceError(
            name,
            f"it has {dataset.count} bands; the limit is {limits.max_bands}",
            "Split it, or raise limits.max_bands in the spec.",
        )
    declared = dataset.width * dataset.height * pixel_bytes(dataset)
    extent = f"{dataset.width} × {dataset.height} pixels"
    if declared > limits.max_uncompressed_gb * 1e9:
        raise SourceError(
            name,
            f"it declares {extent}, {declared / 1e9:,.1f} GB; the limit is "
            f"{limits.max_uncompressed_gb:g} GB",
            "Split it, or raise limits.max_uncompressed_gb in the spec.",
        )
    if declared > max(FREE_GB * 1e9, limits.max_expansion * size):
        raise SourceError(
            name,
            f"it declares {extent}, {declared / 1e9:,.1f} GB, in a file of {size:,} bytes: "
            f"{declared / size:,.0f} times as much; the limit is {limits.max_expansion:g} times",
            "If that is meant, raise limits.max_expansion in the spec.",
        )
    check_block(name, block_bytes(dataset))


def block_bytes(dataset: rasterio.DatasetReader) -> int:
    """Of the largest block with the bands that are decoded together with it."""
    together = dataset.interleaving in {Interleaving.pixel, None} and dataset.count > 1
    return max(
        int(rows) * int(columns) * (pixel_bytes(dataset) if together else itemsize(dtype))
        for (rows, columns), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True)
    )


def check_block(name: str, size: int) -> None:
    """Stop a raster with blocks of more than `MAX_BLOCK_BYTES`.

    Raises:
        SourceError: names both figures.
    """
    if size > MAX_BLOCK_BYTES:
        raise SourceError(
            name,
            f"its pixels are stored in blocks of {size / 1e6:,.0f} MB, which can only be decoded "
            f"whole; the limit is {MAX_BLOCK_BYTES / 1e6:,.0f} MB",
            "Write it anew with tiles, for instance by gdal_translate -co TILED=YES.",
        )
