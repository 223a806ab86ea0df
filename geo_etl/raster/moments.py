"""Statistics of numbers of any size from parts: moments, and bins that widen as the range does."""

import math

import numpy as np
from numpy.typing import NDArray

from geo_etl.raster.facts import Histogram, Statistics

BINS = 20
"""Of the histogram that is told."""
_FINE_BINS = 4096


class Moments:
    """Count, mean and spread of values, and bins of width 2ᵏ that hold all of them.

    Parts are joined by the formula of Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances" (1979), (2.1).
    """

    def __init__(self) -> None:
        self.count, self.mean, self.spread = 0, 0.0, 0.0
        self.low, self.high = math.inf, -math.inf
        self._power, self._first = 0, 0
        self._bins = np.zeros(0, np.int64)

    @classmethod
    def of(cls, value: float, count: int) -> "Moments":
        """Of one value, many times."""
        made = cls()
        made.add(np.array([value]))
        made.count = count
        made._bins *= count
        return made

    def add(self, values: NDArray[np.float64]) -> None:
        """Take in finite values, at least one."""
        part = Moments()
        part.count, part.low, part.high = values.size, float(values.min()), float(values.max())
        with np.errstate(over="ignore", invalid="ignore"):
            part.mean = float(values.mean())
            part.spread = float(np.square(values - part.mean).sum())
        part._power = _power_for(part.low, part.high)
        places = np.floor(np.ldexp(values, -part._power)).astype(np.int64)
        part._first = int(places.min())
        part._bins = np.bincount(places - part._first).astype(np.int64)
        self.merge(part)

    def merge(self, other: "Moments") -> None:
        """Take in others."""
        if not other.count:
            return
        if not self.count:
            self.__dict__.update(other.__dict__)
            return
        total = self.count + other.count
        apart = other.mean - self.mean
        self.spread += other.spread + apart * apart * self.count * (other.count / total)
        self.mean += apart * (other.count / total)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        power = _power_for(self.low, self.high)
        ours, theirs = self._coarser(power), other._coarser(power)
        first = min(start for start, _ in (ours, theirs))
        last = max(start + bins.size for start, bins in (ours, theirs))
        joined = np.zeros(last - first, np.int64)
        for start, bins in (ours, theirs):
            joined[start - first : start - first + bins.size] += bins
        self._power, self._first, self._bins, self.count = power, first, joined, total

    def statistics(self) -> Statistics:
        """Of all values. Bins fall into those of the histogram by their middles."""
        if not self.count:
            return Statistics(0)
        middles = np.ldexp(np.arange(self._bins.size) + self._first + 0.5, self._power)
        bins = np.zeros(BINS, np.int64)
        np.add.at(bins, bin_of(middles, self.low, self.high), self._bins)
        return Statistics(
            self.count,
            self.low,
            self.high,
            _known(self.mean),
            _known(math.sqrt(max(0.0, self.spread) / self.count)),
            Histogram(self.low, self.high, tuple(int(count) for count in bins)),
        )

    def _coarser(self, power: int) -> tuple[int, NDArray[np.int64]]:
        """Number of the first bin and counts, in bins of another width, no smaller."""
        places = (self._first + np.arange(self._bins.size)) >> min(power - self._power, 62)
        first = int(places[0])
        return first, np.bincount(places - first, self._bins).astype(np.int64)


def _power_for(low: float, high: float) -> int:
    """Exponent of a width at which the range fits into the bins, and numbers of bins are exact."""
    step = float(np.spacing(max(abs(low), abs(high), 5e-300)))
    width = max(high / _FINE_BINS - low / _FINE_BINS, step)
    return math.ceil(math.log2(width))


def bin_of(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.int64]:
    """Which bin of the histogram each value falls into; the last one has its upper end too."""
    width = (high / BINS - low / BINS) or 1.0
    return np.clip(((values - low) / width).astype(np.int64), 0, BINS - 1)


def _known(value: float) -> float | None:
    """None for what floats could not hold on the way, at values around 10³⁰⁰."""
    return value if math.isfinite(value) else None
