"""The table of a shapefile (dBASE III+, with what FoxPro and others added to it).

Cells have a fixed width and are text, most of them. GDAL takes what it can't read for the nearest
thing: `****` and `12,5` become 0 and 12, digits beyond a double's are lost, bytes that the
encoding does not have vanish. Here the table is looked through once before it is read, so that
each column gets a type that all of its cells have; text is what is left when none does.

Layout: header of 32 bytes (records at 4, header length at 8, record length at 10, language
driver at 29), a descriptor of 32 bytes for each field (name, type at 11, width at 16, decimals
at 17) up to a 0x0D, then the records, each with a flag first: `*` means deleted.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged

HEADER = 32
END_OF_FIELDS = 0x0D
DELETED = ord("*")
BLOCK_BYTES = 16_000_000
Cells = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Field:
    """One field as the header describes it. `start` and `width` are bytes in a record."""

    raw_name: bytes
    kind: str
    start: int
    width: int
    decimals: int

    def cells(self, block: Cells) -> Cells:
        """Its bytes in a block of records (n × width)."""
        return block[:, self.start : self.start + self.width]


@dataclass(frozen=True)
class Table:
    """An open table: where its records are.

    Attributes:
        records: how many there are, deleted ones included.
        declared: how many its header says there are. Some programs leave it as it was when they
            add records.
    """

    path: Path
    records: int
    declared: int
    header_length: int
    record_length: int
    language: int
    fields: tuple[Field, ...]

    def for_shapes(self, shapes: int, name: str) -> "Table":
        """The table with a record for each shape.

        Raises:
            SourceError: it is cut off, or has another number of records.
        """
        if shapes not in (self.declared, self.records):
            raise damaged(name, f"its .dbf has {self.declared} records, its .shp {shapes} shapes")
        if shapes > self.records:
            size = self.path.stat().st_size
            length = self.header_length + shapes * self.record_length
            raise damaged(
                name, f"its .dbf is cut off: it has {size} bytes and should have {length}"
            )
        return replace(self, records=shapes)

    def block(self, start: int, stop: int) -> Cells:
        """Bytes of some records (n × record length).

        Raises:
            OSError: the file is shorter than it was.
        """
        with self.path.open("rb") as file:
            file.seek(self.header_length + start * self.record_length)
            data = file.read((stop - start) * self.record_length)
        if len(data) < (stop - start) * self.record_length:
            raise OSError(f"{self.path.name} is shorter than it was")
        return np.frombuffer(data, np.uint8).reshape(-1, self.record_length)

    def blocks(self) -> Iterator[Cells]:
        """All records, some at a time."""
        step = max(1, BLOCK_BYTES // self.record_length)
        for start in range(0, self.records, step):
            yield self.block(start, min(start + step, self.records))


def open_table(path: Path, name: str) -> Table:
    """Read a table's header.

    Args:
        name: of the source, for messages.

    Raises:
        SourceError: it is no table.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER)
        if len(head) < HEADER:
            raise damaged(name, f"its .dbf is cut off: it has {size} bytes")
        declared, header_length, record_length = struct.unpack("<IHH", head[4:12])
        descriptors = file.read(max(0, header_length - HEADER))
    if head[0] & 7 == 4:
        raise SourceError(
            name,
            "its .dbf is of dBASE level 7, which shapefiles do not use",
            "Save it as dBASE III or IV, or as a GeoPackage.",
        )
    if header_length <= HEADER or record_length == 0 or size < header_length:
        raise damaged(name, "its .dbf is no dBASE table, or it is cut off")
    fields = _fields(descriptors, record_length)
    if fields is None:
        raise damaged(name, "the fields of its .dbf do not add up to the length of a record")
    there = (size - header_length) // record_length
    return Table(path, there, declared, header_length, record_length, head[29], fields)


def _fields(descriptors: bytes, record_length: int) -> tuple[Field, ...] | None:
    found = []
    for start in range(0, len(descriptors) - 31, HEADER):
        one = descriptors[start : start + HEADER]
        if one[0] == END_OF_FIELDS:
            break
        found.append((one[:11].split(b"\0")[0], chr(one[11]).upper(), one[16], one[17]))
    # Clipper and FoxPro put the high byte of a long text's width where decimals are.
    wide = [low + 256 * high if kind == "C" else low for _, kind, low, high in found]
    plain = [low for _, _, low, _ in found]
    widths = wide if 1 + sum(wide) == record_length else plain
    if 1 + sum(widths) > record_length:
        return None
    starts = np.cumsum([1, *widths]).tolist()
    return tuple(
        Field(raw_name, kind, start, width, 0 if kind == "C" else high)
        for (raw_name, kind, _, high), start, width in zip(found, starts, widths, strict=False)
        if width
    )
