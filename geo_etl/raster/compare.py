"""Two rasters side by side, pixel by pixel: a COG, and what it was made from.

What is found, and what is measured on the way, is judged in `prove`.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window as RasterioWindow

from geo_etl.raster.cog import Content
from geo_etl.raster.coverage import Coverage
from geo_etl.raster.facts import RasterFacts, Window
from geo_etl.raster.gdal import environment
from geo_etl.raster.manifest import Profile
from geo_etl.raster.profiles import KIND_RULES, pixel_bytes
from geo_etl.raster.tally import Tally, tallies
from geo_etl.raster.windows import parts

THREADS = 2
PART_BYTES = 16_000_000
"""Of one reading of one dataset: a thread has two, and about as much again to compare them."""
MOST_DRIFT = 16.0
"""Of 255: how far lossy compression may move the mean of a band. Right colours move by less than
one; black or swapped ones by more."""

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class SharedCoverage:
    """One coverage for all threads."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._lock = threading.Lock()

    def add(self, part: Window, valid: Mask | None) -> None:
        """Take in a part; None: all of it is valid."""
        with self._lock:
            self._coverage.add(part, valid, {})


class Comparison:
    """What was found of the parts that were compared.

    Attributes:
        tallies: of the values of data bands; none if they are not measured.
        values: distinct valid values of data bands, of classes.
        different: pixels that differ in any band, of a lossless file.
        mask_different: pixels that are valid in one and not in the other, or less opaque.
        largest: difference of a valid value, of a lossy file.
    """

    def __init__(
        self, profile: Profile, facts: RasterFacts, measured: SharedCoverage | None
    ) -> None:
        self._profile = profile
        self._coverage = measured
        self._alpha = None if facts.alpha is None else profile.bands.index(facts.alpha)
        if profile.tier == "visualization" and profile.validity == "alpha":
            self._alpha = profile.count - 1
        self._data = [at for at in range(profile.count) if at != self._alpha]
        self.tallies: list[Tally] = []
        if measured is not None:
            self.tallies = tallies([profile.dtype] * len(self._data))
        self.values: list[Floats] | None = None
        if has_classes(profile, facts):
            self.values = [np.zeros(0, np.float64)] * len(self._data)
        self.different = self.mask_different = self.largest = 0
        self._squares = 0.0
        self._values = 0
        self._sums = np.zeros((2, profile.count))

    def add(self, part: Window, found: Pixels, meant: Pixels, masks: Sequence[Pixels]) -> None:
        """Compare one part.

        Args:
            found, meant: all bands of the file and of its content, shape (bands, rows, columns).
            masks: of both, where a mask tells which pixels are valid.
        """
        valid, by_band = self._valid(found, masks)
        if masks:
            self.mask_different += int(np.count_nonzero((masks[0] > 0) != (masks[1] > 0)))
        if self._profile.lossless:
            self.different += _different(found, meant)
        else:
            if self._alpha is not None:
                alphas = found[self._alpha], meant[self._alpha]
                self.mask_different += int(np.count_nonzero(alphas[0] != alphas[1]))
            self._add_loss(found, meant, valid)
        if self._coverage is not None:
            self._coverage.add(part, valid)
            for tally, at, told in zip(self.tallies, self._data, by_band, strict=True):
                tally.add(found[at], told)
        if self.values is not None:
            for number, (at, told) in enumerate(zip(self._data, by_band, strict=True)):
                values = found[at] if told is None else found[at][told]
                self.values[number] = np.union1d(self.values[number], distinct(values))

    def _valid(
        self, found: Pixels, masks: Sequence[Pixels]
    ) -> tuple[Mask | None, list[Mask | None]]:
        """Valid pixels of any data band, and of each of them; None for all."""
        if self._profile.validity == "nodata":
            told = [valid_by(found[at], self._profile.nodata) for at in self._data]
            return np.asarray(np.logical_or.reduce(told)), list(told)
        if masks:
            valid = masks[0] > 0
        elif self._alpha is not None:
            valid = found[self._alpha] > 0
        else:
            return None, [None] * len(self._data)
        return valid, [valid] * len(self._data)

    def _add_loss(self, found: Pixels, meant: Pixels, valid: Mask | None) -> None:
        for at in self._data:
            pair = found[at], meant[at]
            one, other = pair if valid is None else (pair[0][valid], pair[1][valid])
            error = np.subtract(one, other, dtype=np.int16).ravel()
            if not error.size:
                continue
            self.largest = max(self.largest, int(np.abs(error).max()))
            # Sums of squares of bytes: whole numbers, far below 2⁶³.
            self._squares += float(np.square(error, dtype=np.int32).sum(dtype=np.int64))
            self._values += error.size
            self._sums[:, at] += one.sum(dtype=np.int64), other.sum(dtype=np.int64)

    @property
    def psnr_db(self) -> float | None:
        """10 log₁₀ (255² / mean squared error); None when nothing differs."""
        if not self._squares:
            return None
        return 10 * math.log10(255**2 * self._values / self._squares)

    def drifts(self) -> Iterator[str]:
        """Bands whose mean is another than it was."""
        count = self._values / len(self._data) if self._data else 0
        for at in self._data if count else ():
            found, meant = self._sums[:, at] / count
            if abs(found - meant) > MOST_DRIFT:
                yield f"its band {at + 1} has a mean of {found:.0f} instead of {meant:.0f}"

    def merge(self, other: "Comparison") -> None:
        """Take in what another thread found."""
        for tally, more in zip(self.tallies, other.tallies, strict=True):
            tally.merge(more)
        if self.values is not None and other.values is not None:
            pairs = zip(self.values, other.values, strict=True)
            self.values = [np.union1d(one, more) for one, more in pairs]
        self.different += other.different
        self.mask_different += other.mask_different
        self.largest = max(self.largest, other.largest)
        self._squares += other._squares
        self._values += other._values
        self._sums += other._sums


def compare(
    cog: Path,
    content: Content,
    profile: Profile,
    facts: RasterFacts,
    coverage: Coverage | None,
) -> Comparison:
    """Read file and content once, side by side.

    Each thread has parts that do not depend on which is faster, so that the same file has the
    same figures every time.

    Args:
        coverage: takes in where pixels are valid; None: nothing is measured.
    """
    depth = profile.count * pixel_bytes(profile.dtype)
    with rasterio.open(content.dataset) as dataset:
        size = dataset.width, dataset.height
        is_fast = dataset.driver == "GTiff" or facts.driver == "GTiff"
    todo = list(parts(*size, depth, PART_BYTES, profile.blocksize))
    threads = THREADS if is_fast and len(todo) > 1 else 1
    shared = None if coverage is None else SharedCoverage(coverage)

    def work(number: int) -> Comparison:
        result = Comparison(profile, facts, shared)
        with environment(), rasterio.open(cog) as one, rasterio.open(content.dataset) as other:
            for part in todo[number::threads]:
                window = RasterioWindow(part.col, part.row, part.width, part.height)
                masks = (
                    [dataset.read_masks(1, window=window) for dataset in (one, other)]
                    if profile.validity == "mask"
                    else []
                )
                found, meant = one.read(window=window), other.read(content.bands, window=window)
                result.add(part, found, meant, masks)
        return result

    if threads == 1:
        return work(0)
    with ThreadPoolExecutor(threads) as pool:
        first, *others = pool.map(work, range(threads))
    for other in others:
        first.merge(other)
    return first


def _different(found: Pixels, meant: Pixels) -> int:
    """Pixels that differ in any band; NaN is the same as NaN."""
    unlike = found != meant
    if not unlike.any():
        return 0
    if found.dtype.kind in "fc":
        unlike &= ~(np.isnan(found) & np.isnan(meant))
    return int(np.count_nonzero(unlike.any(axis=0)))


def valid_by(pixels: Pixels, nodata: float | None) -> Mask:
    """Which pixels are not a nodata value."""
    assert nodata is not None
    if math.isnan(nodata):
        return np.asarray(~np.isnan(pixels))
    # Whole numbers are compared as such, not by a copy as floats of eight bytes.
    value = int(nodata) if pixels.dtype.kind in "iu" and nodata.is_integer() else nodata
    return np.asarray(pixels != value)


def distinct(values: Pixels) -> Floats:
    """Distinct values, ascending."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        # Ticking them off is faster than sorting.
        limits = np.iinfo(values.dtype)
        present = np.zeros(limits.max - limits.min + 1, bool)
        present[values.reshape(-1).view(f"u{values.dtype.itemsize}")] = True
        stored = np.flatnonzero(present).astype(f"u{values.dtype.itemsize}")
        return np.sort(stored.view(values.dtype)).astype(np.float64)
    return np.unique(values).astype(np.float64)


def has_classes(profile: Profile, facts: RasterFacts) -> bool:
    """Whether a file holds values between which there are none."""
    return profile.tier != "visualization" and not KIND_RULES[facts.kind].interpolates
