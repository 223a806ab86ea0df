"""Generated rasters, the same every time: terrain with sea, and an image of three bands.

All are in EPSG:32633 with pixels of 10 m, so that EPSG:4326 needs a warp.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.windows import Window

CRS = "EPSG:32633"
TRANSFORM = Affine(10, 0, 350_000, 0, -10, 5_650_000)
SEA = -9999.0
SEA_SHARE = 0.1
LAYOUTS = {
    "striped": {"tiled": False},
    "tiled": {"tiled": True, "blockxsize": 256, "blockysize": 256},
}
KINDS = ("dem", "rgb")

Floats = npt.NDArray[np.float32]


def raster_file(folder: Path, kind: str, layout: str, size: int) -> Path:
    """A DEFLATE-compressed GeoTIFF of so many pixels each way; made when it is not there yet."""
    path = folder / f"{kind}_{layout}_{size}.tif"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pixels = _terrain(size)[np.newaxis] if kind == "dem" else _image(size)
        _write(path, pixels, layout, repeat=1)
    return path


def large_file(folder: Path, times: int, size: int) -> Path:
    """Terrain, side by side and mirrored, so many times each way."""
    path = folder / f"dem_large_{times}x{size}.tif"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, _terrain(size)[np.newaxis], "striped", repeat=times)
    return path


def _terrain(size: int) -> Floats:
    """Metres, in centimetres; the lowest tenth is sea, without data."""
    heights = 900 + 450 * _fractal(size, 2.1, seed=1)
    heights = np.round(heights, 2).astype(np.float32)
    heights[heights < np.quantile(heights[::16, ::16], SEA_SHARE)] = SEA
    return heights


def _image(size: int) -> npt.NDArray[np.uint8]:
    """Three bands that have much in common, as colours of land have."""
    common = _fractal(size, 1.4, seed=2)
    bands = [common + 0.35 * _fractal(size, 1.1, seed=seed) for seed in (3, 4, 5)]
    return np.stack([np.clip(115 + 38 * band, 1, 255).astype(np.uint8) for band in bands])


def _fractal(size: int, slope: float, seed: int) -> Floats:
    """Noise whose amplitude falls with frequency to the power of the slope; mean 0, spread 1."""
    noise = np.fft.rfft2(np.random.default_rng(seed).standard_normal((size, size), np.float32))
    down = np.fft.fftfreq(size)[:, np.newaxis]
    across = np.fft.rfftfreq(size)[np.newaxis]
    noise *= np.maximum(np.hypot(down, across), 1 / size).astype(np.float32) ** -np.float32(slope)
    noise[0, 0] = 0
    field = np.fft.irfft2(noise, (size, size)).astype(np.float32)
    return field / field.std()


def _write(path: Path, pixels: npt.NDArray[np.generic], layout: str, repeat: int) -> None:
    bands, size, _ = pixels.shape
    is_terrain = pixels.dtype == np.float32
    partial = path.with_suffix(".part")
    with rasterio.open(
        partial,
        "w",
        driver="GTiff",
        width=size * repeat,
        height=size * repeat,
        count=bands,
        dtype=pixels.dtype.name,
        crs=CRS,
        transform=TRANSFORM,
        nodata=SEA if is_terrain else None,
        photometric=None if is_terrain else "rgb",
        compress="deflate",
        predictor=3 if is_terrain else 2,
        num_threads="ALL_CPUS",
        bigtiff="IF_SAFER",
        **LAYOUTS[layout],
    ) as out:
        for down in range(repeat):
            rows = pixels[:, ::-1] if down % 2 else pixels
            for top in range(0, size, 512):
                part = rows[:, top : top + 512]
                mirrored = [part[:, :, ::-1] if n % 2 else part for n in range(repeat)]
                place = Window(0, down * size + top, size * repeat, part.shape[1])
                out.write(np.concatenate(mirrored, axis=2), window=place)
    partial.rename(path)
