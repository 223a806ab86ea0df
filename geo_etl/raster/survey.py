"""One reading of all pixels: what they are, and which of them are valid."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geo_etl.raster.coverage import Coverage
from geo_etl.raster.facts import Window
from geo_etl.raster.opening import Opened
from geo_etl.raster.reading import Part, read, read_all, read_mask
from geo_etl.raster.tally import Tally, tallies
from geo_etl.raster.validity import Declared


@dataclass
class Seen:
    """What one thread has gathered.

    Attributes:
        partial: pixels that are valid in some bands and not in others.
    """

    tallies: list[Tally]
    partial: int = 0


def survey(
    opened: Opened,
    name: str,
    declared: Declared,
    coverage: Coverage,
    chosen: Sequence[Part] | None = None,
) -> Seen:
    """Read all pixels, once.

    Args:
        coverage: of the raster's size, is filled.
        chosen: parts to read; None for all.

    Raises:
        SourceError: a block can't be read.
    """
    gathered: list[Seen] = []
    lock = threading.Lock()

    def make() -> "_Reader":
        seen = Seen(tallies(opened.dataset.dtypes))
        gathered.append(seen)
        return _Reader(seen, declared, coverage, lock)

    read_all(opened, name, make, chosen)
    first, *others = gathered
    for other in others:
        first.partial += other.partial
        for mine, theirs in zip(first.tallies, other.tallies, strict=True):
            mine.merge(theirs)
    return first


@dataclass(frozen=True)
class _Reader:
    """Takes in the parts of one thread."""

    seen: Seen
    declared: Declared
    coverage: Coverage
    lock: threading.Lock

    def __call__(self, dataset: rasterio.DatasetReader, part: Part) -> None:
        """Read a part and count its pixels."""
        shared = self._shared(dataset, part.window)
        alpha = self.declared.alpha
        some: NDArray[np.bool_] | None = None
        all_: NDArray[np.bool_] | None = None
        without: dict[float, NDArray[np.bool_]] = {}
        edges = _edges(dataset, part.window)
        for group in part.groups:
            pixels = read(dataset, group, part.window)
            for index, values in zip(group, pixels, strict=True):
                tally = self.seen.tallies[index - 1]
                if index == alpha:
                    tally.add(values, None)
                    continue
                said = self._said(values, shared)
                tally.add(values, said)
                for edge in edges:
                    tally.add_border(values[edge])
                valid = _finite(values, said)
                if self.declared.may_be_inferred:
                    _leave_out(tally, values, valid, some, without)
                some = valid if some is None else some | valid
                all_ = valid if all_ is None else all_ & valid
        if some is not None and all_ is not None and len(self.seen.tallies) > 1:
            self.seen.partial += int(np.count_nonzero(some & ~all_))
        with self.lock:
            self.coverage.add(part.window, some, without)

    def _shared(self, dataset: rasterio.DatasetReader, window: Window) -> NDArray[np.bool_] | None:
        """Validity that all bands share: a mask or alpha."""
        if self.declared.validity == "alpha" and self.declared.alpha is not None:
            opaque: NDArray[np.bool_] = read(dataset, (self.declared.alpha,), window)[0] != 0
            return opaque
        return read_mask(dataset, window) if self.declared.validity == "mask" else None

    def _said(
        self, values: NDArray[Any], shared: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_] | None:
        """Which values of a band are valid by what is declared; None for all."""
        if self.declared.validity == "nodata":
            return self.declared.differs(values)
        return shared


def _finite(values: NDArray[Any], said: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Which values are valid: NaN and infinity never are."""
    if values.dtype.kind in "fc":
        finite: NDArray[np.bool_] = np.isfinite(values)
        return finite if said is None else finite & said
    return np.ones(values.shape, np.bool_) if said is None else said


def _leave_out(
    tally: Tally,
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    before: NDArray[np.bool_] | None,
    without: dict[float, NDArray[np.bool_]],
) -> None:
    """Keep, for each candidate for no data, which pixels are valid in any band without it.

    Args:
        before: pixels that are valid in any of the bands before this one.
        without: what is kept, by candidate; of candidates that occur in this window.
    """
    found = {value: values != value for value in tally.at_the_ends(values, valid)}
    for value in found.keys() - without.keys():
        without[value] = np.zeros_like(valid) if before is None else before.copy()
    for value, kept in without.items():
        np.logical_or(kept, valid & found[value] if value in found else valid, out=kept)


def _edges(
    dataset: rasterio.DatasetReader, window: Window
) -> list[tuple[slice | int, slice | int]]:
    """Where a window touches the edges of the raster; corners count twice."""
    found: list[tuple[slice | int, slice | int]] = []
    everything = slice(None)
    if window.row == 0:
        found.append((0, everything))
    if window.row + window.height == dataset.height:
        found.append((-1, everything))
    if window.col == 0:
        found.append((everything, 0))
    if window.col + window.width == dataset.width:
        found.append((everything, -1))
    return found
