"""Statistics of one band from pixels that pass by once.

Bytes and 16-bit integers are counted value by value, so everything comes out exact. Of other types
moments and bins are kept; the bins widen as the range does, and no pixel is lost from them.
Values that may turn out to be no data are kept apart until that is known.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geo_etl.raster.facts import Histogram, Statistics
from geo_etl.raster.moments import BINS, Moments, bin_of
from geo_etl.raster.nodata import Lone, candidates

MAX_CLASSES = 256
_SLICE = 1 << 20
"""Values that are looked at together: they and their copies stay in the processor's cache."""
_EXACT_BYTES = 50_000_000
"""Of the counts of all bands: above it, 16-bit bands are tallied as wider ones are."""


class Tally(ABC):
    """What is known of the values of one band so far.

    Attributes:
        nan, infinite: values that are no numbers, or beyond all.
        whole: whether every value is a whole number.
        single: whether float32 holds every value.
        low, high: of all values, valid or not.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype("complex64" if dtype == "complex_int16" else dtype)
        self.candidates = frozenset(candidates(str(self.dtype)))
        self.valid = self.nan = self.infinite = 0
        self.low, self.high = math.inf, -math.inf
        self.whole, self.single = self.dtype.kind in "iuf", self.dtype.kind != "c"
        self.apart: dict[float, int] = {}
        self.border: dict[float, int] = {}

    def add(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> None:
        """Take in values of any shape.

        Args:
            valid: which of them are valid, of the same shape; None for all. NaN never is.
        """
        flat = values.reshape(-1)
        mask = None if valid is None else valid.reshape(-1)
        for start in range(0, flat.size, _SLICE):
            part = flat[start : start + _SLICE]
            self._look(part)
            if mask is not None:
                part = part[mask[start : start + _SLICE]]
            if part.size:
                self._take(part)

    def add_border(self, values: NDArray[Any]) -> None:
        """Take in values at the edges of the raster, which `add` is given too."""
        for value in (*self.candidates, 0.0):
            count = int(np.count_nonzero(values == value))
            if count:
                self.border[value] = self.border.get(value, 0) + count

    def at_the_ends(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> list[float]:
        """Candidates for no data at the ends of the range of valid values."""
        found: list[float] = []
        part = values[valid] if self.candidates else values[:0]
        while part.size:
            ends = float(part.min()), float(part.max())
            value = next((end for end in ends if end in self.candidates), None)
            if value is None:
                break
            found.append(value)
            part = part[part != value]
        return found

    def merge(self, other: "Tally") -> None:
        """Take in what another one has seen."""
        self.valid += other.valid
        self.nan += other.nan
        self.infinite += other.infinite
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.whole, self.single = self.whole and other.whole, self.single and other.single
        for mine, theirs in ((self.apart, other.apart), (self.border, other.border)):
            for value, count in theirs.items():
                mine[value] = mine.get(value, 0) + count

    @abstractmethod
    def lone(self) -> dict[float, Lone]:
        """The candidates for no data that occur, with the range of all other values."""

    @abstractmethod
    def classes(self, nodata: float | None) -> tuple[int, ...] | None:
        """Distinct whole values but one, ascending; None for more than `MAX_CLASSES`."""

    @abstractmethod
    def statistics(self, nodata: float | None) -> Statistics:
        """Of all valid values but one that has turned out to be no data."""

    def _look(self, part: NDArray[Any]) -> None:
        """At all values, valid or not: which types can hold them?"""
        if self.dtype.kind == "c" or self.dtype.itemsize == 1:
            return
        if self.dtype.kind == "f":
            self._look_at_floats(part)
        elif part.size:
            self.low = min(self.low, float(part.min()))
            self.high = max(self.high, float(part.max()))

    def _look_at_floats(self, part: NDArray[Any]) -> None:
        if self.single and self.dtype.itemsize == 8:
            with np.errstate(over="ignore", invalid="ignore"):
                narrowed = part.astype(np.float32)
            # An overflow is found too: infinity is not what it came from.
            self.single = bool(np.array_equal(narrowed, part, equal_nan=True))
        if self.whole:
            with np.errstate(invalid="ignore"):
                self.whole = bool(np.array_equal(np.rint(part), part))
            if self.whole:
                self.low = min(self.low, float(part.min()))
                self.high = max(self.high, float(part.max()))

    @abstractmethod
    def _take(self, part: NDArray[Any]) -> None: ...


class CountedTally(Tally):
    """Of bytes and 16-bit integers: a count for each value there is."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        limits = np.iinfo(self.dtype)
        self._first = int(limits.min)
        self._counts = np.zeros(int(limits.max) - self._first + 1, np.int64)

    def merge(self, other: Tally) -> None:
        """See `Tally.merge`."""
        assert isinstance(other, CountedTally)
        super().merge(other)
        self._counts += other._counts

    def lone(self) -> dict[float, Lone]:
        """See `Tally.lone`."""
        found = {}
        for value in self.candidates:
            count = int(self._counts[int(value) - self._first])
            if count:
                values, _ = self._known(value)
                ends = (float(values[0]), float(values[-1])) if values.size else (None, None)
                found[value] = Lone(value, count, self.border.get(value, 0), *ends)
        return found

    def classes(self, nodata: float | None) -> tuple[int, ...] | None:
        """See `Tally.classes`."""
        values, _ = self._known(nodata)
        return tuple(int(value) for value in values) if values.size <= MAX_CLASSES else None

    def statistics(self, nodata: float | None) -> Statistics:
        """See `Tally.statistics`."""
        values, counts = self._known(nodata)
        total = int(counts.sum())
        if not total:
            return Statistics(0)
        low, high = int(values[0]), int(values[-1])
        # Whole numbers throughout: at most 2⁴⁸ pixels of 2¹⁶ fit into 64 bits.
        mean = int(np.dot(values, counts)) / total
        spread = float(np.dot((values - mean) ** 2, counts))
        bins = np.zeros(BINS, np.int64)
        np.add.at(bins, bin_of(values.astype(np.float64), low, high), counts)
        return Statistics(
            total,
            low,
            high,
            mean,
            math.sqrt(spread / total),
            Histogram(low, high, tuple(int(count) for count in bins)),
        )

    def _known(self, nodata: float | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Values that occur, and how often."""
        places = np.flatnonzero(self._counts)
        values = places + self._first
        keep = values != nodata if nodata is not None else slice(None)
        return values[keep], self._counts[places][keep]

    def _take(self, part: NDArray[Any]) -> None:
        self.valid += part.size
        # Unsigned as it is stored, so that negative values need no wider copy first.
        stored = part.view(f"u{self.dtype.itemsize}")
        counts = np.bincount(stored, minlength=self._counts.size)
        self._counts += np.roll(counts, -self._first) if self._first else counts


class StreamedTally(Tally):
    """Of wider integers and floats: moments, bins, and a few distinct values."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        self._moments = Moments()
        self._distinct: set[int] | None = set() if self.dtype.kind in "iuf" else None

    def merge(self, other: Tally) -> None:
        """See `Tally.merge`."""
        assert isinstance(other, StreamedTally)
        super().merge(other)
        self._moments.merge(other._moments)
        if self._distinct is None or other._distinct is None:
            self._distinct = None
        else:
            self._keep_distinct(other._distinct)

    def lone(self) -> dict[float, Lone]:
        """See `Tally.lone`."""
        found = {}
        for value, count in self.apart.items():
            others = [one for one in self.apart if one != value]
            if self._moments.count:
                others += [self._moments.low, self._moments.high]
            ends = (min(others), max(others)) if others else (None, None)
            found[value] = Lone(value, count, self.border.get(value, 0), *ends)
        return found

    def classes(self, nodata: float | None) -> tuple[int, ...] | None:
        """See `Tally.classes`. Also of floats, as long as they are whole."""
        if self._distinct is None or not self.whole:
            return None
        values = self._distinct | {int(value) for value in self.apart if abs(value) < 2**63}
        if nodata is not None and not math.isnan(nodata):
            values -= {int(nodata)}
        return tuple(sorted(values)) if len(values) <= MAX_CLASSES else None

    def statistics(self, nodata: float | None) -> Statistics:
        """See `Tally.statistics`."""
        moments = Moments()
        moments.merge(self._moments)
        for value, count in self.apart.items():
            if nodata is None or value != nodata:
                moments.merge(Moments.of(value, count))
        return moments.statistics()

    def _take(self, part: NDArray[Any]) -> None:
        if self.dtype.kind == "c":
            finite = np.isfinite(part)
            self.valid += int(np.count_nonzero(finite))
            return
        if self.dtype.kind == "f":
            part = self._finite(part)
        if not part.size:
            return
        self.valid += part.size
        part = self._peel(part)
        if part.size:
            self._moments.add(part.astype(np.float64, copy=False))
            if self._distinct is not None and self.whole:
                self._keep_distinct({int(value) for value in _few_distinct(part)})

    def _finite(self, part: NDArray[Any]) -> NDArray[Any]:
        finite = np.isfinite(part)
        if finite.all():
            return part
        nan = int(np.count_nonzero(np.isnan(part)))
        self.nan += nan
        self.infinite += int(part.size - np.count_nonzero(finite)) - nan
        kept: NDArray[Any] = part[finite]
        return kept

    def _peel(self, part: NDArray[Any]) -> NDArray[Any]:
        """Take candidates for no data off the ends of the range. Within it, they are data."""
        while part.size:
            ends = float(part.min()), float(part.max())
            value = next((end for end in ends if end in self.candidates), None)
            if value is None:
                return part
            rest = part[part != value]
            self.apart[value] = self.apart.get(value, 0) + part.size - rest.size
            part = rest
        return part

    def _keep_distinct(self, values: set[int]) -> None:
        if self._distinct is not None:
            self._distinct |= values
            if len(self._distinct) > MAX_CLASSES:
                self._distinct = None


def tallies(dtypes: Sequence[str]) -> list[Tally]:
    """One for each band, exact where memory allows it."""
    exact = len(dtypes) * 65536 * 8 <= _EXACT_BYTES
    small = {"uint8", "int8"} | ({"uint16", "int16"} if exact else set())
    return [CountedTally(dtype) if dtype in small else StreamedTally(dtype) for dtype in dtypes]


def _few_distinct(part: NDArray[Any]) -> NDArray[Any]:
    """Distinct values; of what has more than `MAX_CLASSES` of them maybe not all."""
    sample = np.unique(part[:: max(1, part.size // 4096)])
    if sample.size > MAX_CLASSES:
        return sample
    low, high = int(part.min()), int(part.max())
    if high - low < _SLICE:  # counting is faster than sorting
        return np.flatnonzero(np.bincount((part - part.dtype.type(low)).astype(np.int64))) + low
    return np.unique(part)
