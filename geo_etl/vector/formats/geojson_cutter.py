"""Cutting a JSON text into its objects: features, mostly.

They are the elements of an array, or follow one another (newline-delimited GeoJSON, RFC 8142 text
sequences). Only quotes, braces and colons are looked at, by numpy; what is in an object is left
to a JSON parser. Not here: what the objects mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged
from geo_etl.vector.formats.geojson_text import BLANK, Outline, Text

MAX_MEMORY = 1_250_000_000
"""Bytes of memory that one feature may take while it is parsed."""
MAX_TEXT = 300_000_000
"""Bytes of text of one feature: it is there as text, as Python's and as Arrow's."""
_MEMORY_OF = {b"[": 96, b"{": 300, b",": 48}
"""Bytes that a list, an object and another value take as Python's, by what they go with."""
_QUOTE, _COLON, _OPEN, _CLOSE, _BACKSLASH = b'":{}\\'


@dataclass(frozen=True)
class Pieces:
    """Objects of a text.

    Attributes:
        texts: of each object (n). offsets: where each begins (n).
        names: how many names (of members, at all levels) each has (n).
    """

    texts: list[bytes | bytearray]
    offsets: list[int]
    names: npt.NDArray[np.int64]


class Cutter:
    """Cuts a text into its objects, once.

    Attributes:
        end: offset after the bracket that closes the array; None for a sequence.
    """

    def __init__(self, text: Text, outline: Outline) -> None:
        self.end: int | None = None
        self._text = text
        self._start = outline.start
        self._bracketed = outline.shape != "sequence"
        # State between windows: where the scan is, and the object that is open.
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._names = 0
        self._open: bytearray | None = None
        self._opened_at = self._memory = 0
        # What stood before the next object so far, and what has to.
        self._gap = b""
        self._expected = b""

    def pieces(self) -> Iterator[Pieces]:
        """The objects of each window, as they are complete.

        Raises:
            SourceError: something else stands between objects, or the text ends too early.
        """
        offset = self._start
        for window in self._text.windows(self._start):
            pieces = self._cut(window, offset)
            if pieces.texts:
                yield pieces
            if self.end is not None:
                return
            offset += len(window)
        if self._open is not None:
            place = self._text.place(self._opened_at)
            raise damaged(self._text.name, f"it is cut off: what begins at {place} never ends")
        if self._bracketed:
            raise damaged(self._text.name, "it is cut off: its array of features never ends")

    def _cut(self, window: bytes, offset: int) -> Pieces:
        starts, ends, names = self._bounds(window)
        inside = self._open is not None
        good = self._check_gaps(window, offset, starts, ends)
        starts, ends = starts[:good], ends[: good + inside]
        offsets = [offset + start for start in starts]
        texts: list[bytes | bytearray] = []
        if self._open is not None:
            self._grow(window[: ends[0]] if ends else window)
            if ends:
                texts.append(self._open)
                offsets.insert(0, self._opened_at)
                self._open, ends = None, ends[1:]
        texts += [window[a:b] for a, b in zip(starts, ends, strict=False)]
        if len(starts) > len(ends):
            self._open, self._opened_at, self._memory = bytearray(), offsets.pop(), 0
            self._grow(window[starts[-1] :])
        return Pieces(texts, offsets, names[: len(texts)])

    def _grow(self, part: bytes) -> None:
        """Add to the object that is open."""
        assert self._open is not None
        self._open += part
        self._memory += len(part)
        self._memory += sum(count * part.count(mark) for mark, count in _MEMORY_OF.items())
        if self._memory > MAX_MEMORY or len(self._open) > MAX_TEXT:
            raise SourceError(
                self._text.name,
                f"what begins at {self._text.place(self._opened_at)} is too large for one feature: "
                f"{len(self._open) / 1e6:,.0f} MB or more, and {self._memory / 1e6:,.0f} MB once "
                "parsed",
                "Split the feature.",
            )

    def _bounds(self, window: bytes) -> tuple[list[int], list[int], npt.NDArray[np.int64]]:
        """Where objects begin and end in a window, and the names in each that ends in it."""
        data = np.frombuffer(window, np.uint8)
        marks = np.flatnonzero(
            (data == _QUOTE) | (data == _OPEN) | (data == _CLOSE) | (data == _COLON)
        )
        if self._escaped or b"\\" in window:
            marks = self._without_escaped(data, marks)
        kinds = data[marks]
        quotes = kinds == _QUOTE
        quoted = np.logical_xor.accumulate(quotes) ^ self._quoted
        if len(quoted):
            self._quoted = bool(quoted[-1])
        plain = ~(quotes | quoted)
        marks, kinds = marks[plain], kinds[plain]
        opens, closes = kinds == _OPEN, kinds == _CLOSE
        depth = self._depth + np.cumsum(opens.astype(np.int64) - closes)
        names = np.cumsum(kinds == _COLON)
        if len(depth) and depth.min() < 0:
            # The end of a collection; in a sequence, a brace too many.
            until = int(np.argmax(depth < 0))
            marks, opens, closes = marks[:until], opens[:until], closes[:until]
            depth, names = depth[:until], names[:until]
        first, last = opens & (depth == 1), closes & (depth == 0)
        at_start, at_end = names[first], names[last]
        if self._open is not None:
            at_start = np.concatenate([[-self._names], at_start])
        if len(depth):
            self._depth = int(depth[-1])
            self._names = int(names[-1] - at_start[-1]) if self._depth else 0
        return (
            marks[first].tolist(),
            (marks[last] + 1).tolist(),
            at_end - at_start[: len(at_end)],
        )

    def _without_escaped(
        self, data: npt.NDArray[np.uint8], marks: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Leave out quotes behind an odd number of backslashes."""
        slashes = np.flatnonzero(data == _BACKSLASH)
        last = np.flatnonzero(np.diff(slashes, append=len(data) + 2) != 1)
        lengths = np.diff(last, prepend=-1)
        if self._escaped and len(slashes) and slashes[0] == 0:
            lengths[0] += 1
        odd = slashes[last[lengths % 2 == 1]] + 1
        escaped = np.zeros(len(data) + 1, dtype=bool)
        escaped[odd] = True
        if self._escaped and data[0] != _BACKSLASH:
            escaped[0] = True
        self._escaped = bool(escaped[-1])
        return marks[~escaped[marks]]

    def _check_gaps(self, window: bytes, offset: int, starts: list[int], ends: list[int]) -> int:
        """Check what stands between objects: commas in an array, nothing in a sequence.

        Returns:
            How many of `starts` begin objects: fewer when the array ends before.
        """
        begins = ends if self._open is not None else [0, *ends]
        trailing = len(begins) > len(starts)
        gaps = [
            window[a:b].strip(BLANK)
            for a, b in zip(begins, [*starts, len(window)] if trailing else starts, strict=True)
        ]
        if not gaps:
            return 0
        if self._open is None:
            gaps[0] = self._gap + gaps[0]
        self._gap = gaps.pop() if trailing else b""
        for position, gap in enumerate(gaps):
            if gap != self._expected:
                return self._end_of_array(window, offset, begins[position], gap, position)
            if self._bracketed:
                self._expected = b","
        if self._gap and (self._gap != b"," or not self._bracketed):
            return self._end_of_array(window, offset, begins[-1], self._gap, len(starts))
        return len(starts)

    def _end_of_array(
        self, window: bytes, offset: int, begin: int, gap: bytes, position: int
    ) -> int:
        if self._bracketed and gap.startswith(b"]"):
            self.end = offset + window.index(b"]", begin) + 1
            return position
        found = window[begin : begin + 200].lstrip(BLANK)[:20].decode(errors="replace")
        at = offset + begin + len(window[begin:]) - len(window[begin:].lstrip(BLANK))
        raise self._text.broken(at, f"'{found}' stands where a feature or a comma should")
