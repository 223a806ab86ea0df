"""Every block of every band of a raster, read once.

Windows are whole blocks, as many as fit into a few megabytes. A block that is larger than that is
read in parts, which GDAL takes from its cache.
"""

import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geo_etl.errors import SourceError
from geo_etl.raster.facts import Window
from geo_etl.raster.gdal import CONFIGURATION, complaints
from geo_etl.raster.limits import itemsize, pixel_bytes
from geo_etl.raster.opening import Opened

WINDOW_BYTES = 16_000_000
"""Of one window with all bands, of each thread."""
MAX_THREADS = 4
_STAGED = re.compile(r"\bsource\.\w+[:,]? ?")
FAULTS = (RasterioError, CPLE_BaseError)


@dataclass(frozen=True)
class Part:
    """A window that is read in one thread, and the bands that are read together."""

    window: Window
    groups: tuple[tuple[int, ...], ...]


def parts(dataset: rasterio.DatasetReader) -> list[Part]:
    """The windows of a raster, from its top."""
    rows, columns = dataset.block_shapes[0]
    width, height = dataset.width, dataset.height
    columns, rows = min(columns, width), min(rows, height)
    per_pixel = pixel_bytes(dataset)
    largest = max(itemsize(dtype) for dtype in dataset.dtypes)
    if columns * rows * largest > WINDOW_BYTES:
        # Within one block: from the top, so that a block is decoded once.
        rows = max(1, min(rows, WINDOW_BYTES // (columns * largest)))
        columns = min(columns, max(1, WINDOW_BYTES // (rows * largest)))
        return _cut(dataset, columns, rows, _groups(dataset, columns * rows))
    fitting = max(1, WINDOW_BYTES // (columns * rows * per_pixel))
    across = -(-width // columns)
    wide = min(across, fitting) * columns
    tall = max(1, fitting // across) * rows
    return _cut(dataset, wide, tall, _groups(dataset, wide * tall))


def _groups(dataset: rasterio.DatasetReader, pixels: int) -> tuple[tuple[int, ...], ...]:
    largest = max(itemsize(dtype) for dtype in dataset.dtypes)
    together = max(1, WINDOW_BYTES // (pixels * largest))
    indexes = dataset.indexes
    return tuple(
        tuple(indexes[start : start + together]) for start in range(0, len(indexes), together)
    )


def _cut(
    dataset: rasterio.DatasetReader, wide: int, tall: int, groups: tuple[tuple[int, ...], ...]
) -> list[Part]:
    return [
        Part(
            Window(col, row, min(wide, dataset.width - col), min(tall, dataset.height - row)),
            groups,
        )
        for row in range(0, dataset.height, tall)
        for col in range(0, dataset.width, wide)
    ]


def read_all(
    opened: Opened,
    name: str,
    make: Callable[[], Callable[[rasterio.DatasetReader, Part], None]],
    chosen: Sequence[Part] | None = None,
) -> None:
    """Read all parts, in threads with a handle each where that is faster.

    Args:
        chosen: parts to read; None for all.
        make: gives each thread what takes its parts in.

    Raises:
        SourceError: a block can't be read; it is named.
    """
    todo = deque(parts(opened.dataset) if chosen is None else chosen)
    threads = min(MAX_THREADS, os.cpu_count() or 1, len(todo)) if opened.threads else 1
    rows, columns = opened.dataset.block_shapes[0]
    if rows * columns * pixel_bytes(opened.dataset) > WINDOW_BYTES * 2:
        threads = 1  # a block may be in several windows, and two of them fill the memory
    if threads == 1:
        _run(opened, opened.dataset, todo, name, make())
        return
    failed = threading.Event()

    def work() -> None:
        with rasterio.Env(**CONFIGURATION), opened.again() as dataset:
            try:
                _run(opened, dataset, todo, name, make(), failed)
            except BaseException:
                failed.set()
                raise

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def _run(
    opened: Opened,
    dataset: rasterio.DatasetReader,
    todo: deque[Part],
    name: str,
    take: Callable[[rasterio.DatasetReader, Part], None],
    failed: threading.Event | None = None,
) -> None:
    while not (failed and failed.is_set()):
        try:
            part = todo.popleft()
        except IndexError:
            return
        try:
            with complaints() as said:
                take(dataset, part)
        except FAULTS as error:
            raise _unreadable(opened, part.window, name, _said(error)) from None
        if said:
            raise _unreadable(opened, part.window, name, said[0])


def read(dataset: rasterio.DatasetReader, indexes: tuple[int, ...], window: Window) -> NDArray[Any]:
    """Pixels of bands, shape (bands, rows, columns), as they are stored."""
    pixels: NDArray[Any] = dataset.read(list(indexes), window=_rasterio(window))
    return pixels


def read_mask(dataset: rasterio.DatasetReader, window: Window) -> NDArray[np.bool_]:
    """Where the mask of the dataset says that pixels are valid, shape (rows, columns)."""
    valid: NDArray[np.bool_] = dataset.read_masks(1, window=_rasterio(window)) != 0
    return valid


def _rasterio(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)


def _unreadable(opened: Opened, window: Window, name: str, said: str) -> SourceError:
    """Which block of a window it was: each is tried on its own, by a handle that knows none."""
    remedy = "The file is damaged or incomplete: deliver it again."
    with opened.again() as dataset:
        for band, block in _blocks(dataset, window):
            fault = _fault(dataset, band, block)
            if fault is not None:
                rows, columns = dataset.block_shapes[band - 1]
                return SourceError(
                    name,
                    f"block {block.row // rows}, {block.col // columns} (row, column) of band "
                    f"{band} can't be read: {fault} (pixel rows {block.row} to "
                    f"{block.row + block.height - 1}, columns {block.col} to "
                    f"{block.col + block.width - 1})",
                    remedy,
                )
    where = f"near row {window.row}, column {window.col}"
    return SourceError(name, f"its pixels or its mask can't be read {where}: {said}", remedy)


def _fault(dataset: rasterio.DatasetReader, band: int, block: Window) -> str | None:
    """What is wrong with a block; None for nothing."""
    try:
        with complaints() as said:
            dataset.read(band, window=_rasterio(block))
    except FAULTS as fault:
        return _said(fault)
    return said[0] if said else None


def _blocks(dataset: rasterio.DatasetReader, window: Window) -> Iterator[tuple[int, Window]]:
    for band, (rows, columns) in zip(dataset.indexes, dataset.block_shapes, strict=True):
        for row in range(window.row // rows * rows, window.row + window.height, rows):
            for col in range(window.col // columns * columns, window.col + window.width, columns):
                yield (
                    band,
                    Window(
                        col,
                        row,
                        min(columns, dataset.width - col),
                        min(rows, dataset.height - row),
                    ),
                )


def _said(error: BaseException) -> str:
    """What GDAL said, without names of files."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _STAGED.sub("", str(error).rpartition("/")[2]).strip().rstrip(".")
