"""Where the records of a `.shp` are: its `.shx`, checked; rebuilt when missing or wrong.

GDAL goes where the `.shx` says and makes of the bytes there what it can. Layout (ESRI Shapefile
Technical Description, 1998): a header of 100 bytes in both files, with the file's length in
16-bit words, big-endian, at 24 and the shape type, little-endian, at 32; in the `.shx` offset and
content length of each record in words; in the `.shp` each record's number and content length,
then its content, which begins with the shape type.
"""

import mmap
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged

HEADER = 100
RECORD_HEADER = 8
FILE_CODE = 9994
NULL_SHAPE = 0
SHAPE_TYPES = frozenset([0, 1, 3, 5, 8, 11, 13, 15, 18, 21, 23, 25, 28, 31])
POINTS = (1, 11, 21)
COUNT_AT = 36
"""Where in the content of a shape other than a point the count of its parts (or points) is."""
BLOCK_ROWS = 500_000
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Records:
    """Where records are, in bytes.

    Attributes:
        offsets, lengths: of each record's header, and of its content.
        remark: why the `.shx` was not used; '' when it was.
    """

    offsets: Longs
    lengths: Longs
    remark: str = ""

    def __len__(self) -> int:
        return len(self.offsets)

    def shx(self, shp_header: bytes) -> bytes:
        """Content of the `.shx` that goes with the `.shp`."""
        words = (HEADER + 8 * len(self)) // 2
        entries = np.column_stack([self.offsets, self.lengths]) // 2
        return (
            shp_header[:24]
            + struct.pack(">I", words)
            + shp_header[28:]
            + entries.astype(">u4").tobytes()
        )


def read_shp_header(path: Path, name: str) -> bytes:
    """The first 100 bytes of a `.shp`.

    Raises:
        SourceError: it is no shapefile, or the file is shorter than they say.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER)
    if len(head) < HEADER or struct.unpack(">i", head[:4])[0] != FILE_CODE:
        raise damaged(name, "its content is not a shapefile, whatever its name says")
    declared = 2 * struct.unpack(">I", head[24:28])[0]
    if size < declared:
        raise damaged(name, f"its .shp is cut off: it has {size} bytes and should have {declared}")
    kind = struct.unpack("<i", head[32:36])[0]
    if kind not in SHAPE_TYPES:
        raise damaged(name, f"its .shp holds shapes of type {kind}, which does not exist")
    return head


def find_records(
    shp: Path, shx: Path | None, name: str, counts: Collection[int], limit: int
) -> Records:
    """Where the records of a `.shp` are.

    Args:
        shp: with a header that `read_shp_header` took.
        counts: how many the `.dbf` may have.
        limit: largest number of records.

    Raises:
        SourceError: more than `limit`, or the records do not follow each other.
    """
    if shp.stat().st_size == HEADER:
        empty = np.zeros(0, np.int64)
        return Records(empty, empty)
    with shp.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        listed = _listed(shx) if shx is not None else None
        fits = listed is not None and len(listed) in counts and len(listed) <= limit
        if listed is not None and fits and _is_sound(listed, data):
            return listed
        what = "The .shx is missing" if shx is None else "The .shx does not fit the .shp"
        offsets, lengths = _walk(data, name, limit)
    return Records(offsets, lengths, f"{what}: {len(offsets)} shapes were found without it.")


def unread(shp: Path, records: Records, rows: Longs) -> npt.NDArray[np.bool_]:
    """Which of some records hold a shape with something in it."""
    found = np.zeros(len(rows), dtype=np.bool_)
    with shp.open("rb") as file:
        for position, row in enumerate(rows.tolist()):
            file.seek(int(records.offsets[row]) + RECORD_HEADER)
            content = file.read(min(int(records.lengths[row]), COUNT_AT + 4))
            kind = int.from_bytes(content[:4], "little")
            if kind in POINTS:
                x, y = struct.unpack("<2d", content[4:20].ljust(16, b"\0"))
                found[position] = np.isfinite([x, y]).all()
            elif kind != NULL_SHAPE:
                found[position] = content[COUNT_AT : COUNT_AT + 4] != bytes(4)
    return found


def _listed(shx: Path) -> Records | None:
    """Records as the `.shx` lists them; None when it is none."""
    data = shx.read_bytes()
    if len(data) < HEADER or struct.unpack(">i", data[:4])[0] != FILE_CODE:
        return None
    declared = 2 * struct.unpack(">I", data[24:28])[0]
    if len(data) < declared or (declared - HEADER) % 8:
        return None
    entries = np.frombuffer(data[HEADER:declared], ">u4").astype(np.int64).reshape(-1, 2) * 2
    return Records(entries[:, 0].copy(), entries[:, 1].copy())


def _is_sound(records: Records, data: mmap.mmap) -> bool:
    """Whether every record is where it is said to be, and none is in two places."""
    size = len(data)
    ends = records.offsets + RECORD_HEADER + records.lengths
    if not len(records) or records.offsets.min() < HEADER or records.lengths.min() < 4:
        return False
    if ends.max() > size or int(records.lengths.sum()) + RECORD_HEADER * len(records) > size:
        return False
    if len(np.unique(records.offsets)) < len(records):
        return False
    view = np.frombuffer(data, np.uint8)
    places = np.array([4, 5, 6, 7, 8, 9, 10, 11])
    try:
        for start in range(0, len(records), BLOCK_ROWS):
            stop = start + BLOCK_ROWS
            heads = view[records.offsets[start:stop, None] + places]
            lengths = np.ascontiguousarray(heads[:, :4]).view(">u4")[:, 0].astype(np.int64) * 2
            kinds = np.ascontiguousarray(heads[:, 4:]).view("<i4")[:, 0]
            if (lengths != records.lengths[start:stop]).any():
                return False
            if not np.isin(kinds, list(SHAPE_TYPES)).all():
                return False
    finally:
        del view  # the file can't be closed while it is looked at
    return True


def _walk(data: mmap.mmap, name: str, limit: int) -> tuple[Longs, Longs]:
    """Go from record to record."""
    header, size = struct.Struct(">II"), len(data)
    declared = 2 * struct.unpack(">I", data[24:28])[0]
    offsets, lengths, position = [], [], HEADER
    while position + RECORD_HEADER + 4 <= size:
        _, words = header.unpack_from(data, position)
        kind = data[position + RECORD_HEADER]
        end = position + RECORD_HEADER + 2 * words
        if words < 2 or end > size or kind not in SHAPE_TYPES:
            break
        offsets.append(position)
        lengths.append(2 * words)
        position = end
        if len(offsets) > limit:
            raise SourceError(
                name,
                f"it has more than {limit:,} features, the limit",
                "Split it, or raise limits.max_features in the spec.",
            )
    if position < min(declared, size - RECORD_HEADER):
        raise damaged(name, f"its .shp is damaged at byte {position}: no record is there")
    return np.array(offsets, np.int64), np.array(lengths, np.int64)
