"""Whether all of a file is there, in formats whose readers do not notice: they give zeros.

Here: PNG (W3C Portable Network Graphics, third edition, 5: chunks) and NetCDF classic (NetCDF Users
Guide, appendix B: file format specification).
"""

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_STREAMING = {4: 0xFFFFFFFF, 8: 0xFFFFFFFFFFFFFFFF}
_MAX_VARIABLES = 100_000


def check_png(path: Path, name: str) -> None:
    """Follow the chunks of a PNG to its last one.

    Raises:
        SourceError: it ends before.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 8
        while place + 12 <= size:
            file.seek(place)
            length, kind = struct.unpack(">I4s", file.read(8))
            place += 12 + length
            if kind == b"IEND" and place <= size:
                return
    raise _cut_off(name, "its last chunk is missing")


def check_classic(path: Path, name: str) -> None:
    """Compare the size of a NetCDF classic file with what its header says.

    Raises:
        SourceError: it is shorter, or its header can't be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            needed = _Header(file, size).end()
        except (struct.error, ValueError, KeyError, IndexError, OSError, OverflowError):
            raise damaged(name, "its NetCDF header can't be read") from None
    if size < needed:
        raise _cut_off(name, f"it has {size:,} bytes of {needed:,}")


class _Header:
    """Reads the header of a file once, from its start."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        version = file.read(4)[3]
        self._count = 8 if version == 5 else 4
        self._offset = 4 if version == 1 else 8

    def end(self) -> int:
        """Bytes up to the last value of the last variable."""
        records = self._number(self._count)
        dimensions = [self._dimension() for _ in self._elements()]
        self._attributes()
        # Type size, shape, first byte.
        variables = [self._variable(dimensions) for _ in self._elements()]
        ends, record_sizes = [0], []
        for width, shape, begin in variables:
            if shape[:1] == [0]:
                record_sizes.append((begin, width * math.prod(shape[1:])))
            else:
                ends.append(begin + width * math.prod(shape))
        if records and records != _STREAMING[self._count]:
            # Values of a record begin at multiples of four, unless there is one variable alone.
            alone = len(record_sizes) == 1
            step = sum(size if alone else _padded(size) for _, size in record_sizes)
            ends += [begin + (records - 1) * step + size for begin, size in record_sizes]
        return max(ends)

    def _elements(self) -> range:
        self._number(4)  # the tag, zero for an empty list
        count = self._number(self._count)
        if count > min(self._size, _MAX_VARIABLES):
            raise ValueError("more elements than it can have")
        return range(count)

    def _dimension(self) -> int:
        self._skip(_padded(self._number(self._count)))
        return self._number(self._count)

    def _attributes(self) -> None:
        for _ in self._elements():
            self._skip(_padded(self._number(self._count)))
            width = _TYPE_BYTES[self._number(4)]
            self._skip(_padded(width * self._number(self._count)))

    def _variable(self, dimensions: list[int]) -> tuple[int, list[int], int]:
        self._skip(_padded(self._number(self._count)))
        rank = self._number(self._count)
        if rank > len(dimensions) + 1024:
            raise ValueError("more dimensions than it can have")
        shape = [dimensions[self._number(self._count)] for _ in range(rank)]
        self._attributes()
        width = _TYPE_BYTES[self._number(4)]
        self._number(self._count)  # vsize, which can't hold what is large
        return width, shape, self._number(self._offset)

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big")

    def _take(self, count: int) -> bytes:
        octets = self._file.read(count)
        if len(octets) < count:
            raise ValueError("it ends within its header")
        return octets

    def _skip(self, count: int) -> None:
        if self._file.seek(count, os.SEEK_CUR) > self._size:
            raise ValueError("it ends within its header")


def _padded(size: int) -> int:
    return -(-size // 4) * 4


def _cut_off(name: str, what: str) -> SourceError:
    return damaged(name, f"it is cut off: {what}")
