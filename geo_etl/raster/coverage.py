"""Where a raster has valid pixels, in cells of several pixels, gathered while it is read."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from geo_etl.raster.facts import Window

CELLS = 1024
"""Of the longer side, about."""


class Coverage:
    """Cells with a valid pixel, and how many pixels are valid.

    It is kept once more for each value that may turn out to be no data, from its first occurrence
    on: until then both are the same.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.step = max(1, -(-max(width, height) // CELLS))
        shape = -(-height // self.step), -(-width // self.step)
        self._cells: dict[float | None, NDArray[np.bool_]] = {None: np.zeros(shape, np.bool_)}
        self._pixels: dict[float | None, int] = {None: 0}

    def add(
        self,
        window: Window,
        valid: NDArray[np.bool_] | None,
        without: Mapping[float, NDArray[np.bool_]],
    ) -> None:
        """Take in a window.

        Args:
            valid: pixels that are valid in any band; None for all.
            without: the same, for candidates that occur in the window, if they are no data.
        """
        for candidate in without.keys() - self._cells.keys():
            self._cells[candidate] = self._cells[None].copy()
            self._pixels[candidate] = self._pixels[None]
        plain = self._reduced(window, valid)
        count = _count(window, valid)
        for value, cells in self._cells.items():
            mask = without.get(value) if value is not None else None
            rows, columns = self._place(window)
            cells[rows, columns] |= plain if mask is None else self._reduced(window, mask)
            self._pixels[value] += count if mask is None else _count(window, mask)

    def cells(self, nodata: float | None) -> NDArray[np.bool_]:
        """Cells with a valid pixel, if a value is no data."""
        return self._cells.get(nodata, self._cells[None])

    def pixels(self, nodata: float | None) -> int:
        """Valid pixels, if a value is no data."""
        return self._pixels.get(nodata, self._pixels[None])

    def _place(self, window: Window) -> tuple[slice, slice]:
        last_row = (window.row + window.height - 1) // self.step
        last_col = (window.col + window.width - 1) // self.step
        return (
            slice(window.row // self.step, last_row + 1),
            slice(window.col // self.step, last_col + 1),
        )

    def _reduced(
        self, window: Window, valid: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_] | np.bool_:
        if valid is None or valid.all():
            return np.True_
        if self.step == 1:
            return valid
        rows = _starts(window.row, window.height, self.step)
        columns = _starts(window.col, window.width, self.step)
        down = np.logical_or.reduceat(valid, rows, axis=0)
        return np.logical_or.reduceat(down, columns, axis=1)


def _starts(offset: int, length: int, step: int) -> NDArray[np.int64]:
    """Where cells begin in a window; the first one may have begun before it."""
    starts = np.arange(offset // step * step, offset + length, step) - offset
    return np.maximum(starts, 0)


def _count(window: Window, valid: NDArray[np.bool_] | None) -> int:
    return window.width * window.height if valid is None else int(np.count_nonzero(valid))
