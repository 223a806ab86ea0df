"""Delimited text as cells: which delimiter, which header, and what a row of another length is."""

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from geo_etl.errors import SourceError
from geo_etl.vector.formats.delimited_text import last_row_end, row_pattern
from geo_etl.vector.formats.layer import OWN_COLUMNS

DELIMITERS = (",", ";", "\t", "|")
ONE_COLUMN = "\x1f"
"""The delimiter of a table with one column: a control character that text does not have."""
MAX_COLUMNS = 1600
"""What PostgreSQL takes (MaxHeapAttributeNumber)."""
HEAD_BYTES = 1_000_000
"""What is looked at to tell the delimiter; a header is not longer."""
MAX_QUOTED = 2000
"""Characters of a row that are quoted in a reason."""

_MARK = b"\xef\xbb\xbf"
_SAMPLE_BYTES = 250_000


@dataclass(frozen=True)
class Header:
    """The first row.

    Attributes:
        delimiter: between cells, here and in all rows.
        names: of the columns, unique. written: as they stand.
        end: where the rows begin, in bytes of UTF-8. lines: how many lines are before.
        remarks: what was changed about the names.
    """

    delimiter: str
    names: list[str]
    written: list[str]
    end: int
    lines: int
    remarks: list[str]


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, without the blank ones.

    Attributes:
        cells: an array of strings for each column. An empty cell is null, `""` is empty text.
        problems: why a row can't be told into columns; null for the others.
        blank: rows that had nothing in them. short: rows with too few cells, the others null.
        surplus: rows with empty cells behind the last column.
    """

    cells: list[pa.Array]
    problems: pa.Array
    blank: int
    short: int
    surplus: int

    def __len__(self) -> int:
        return len(self.problems)


def read_header(head: bytes, name: str, *, whole: bool) -> Header:
    """Tell the delimiter by what makes most rows as long as the first, and the most columns.

    Args:
        head: how the text begins. whole: it is all of the text.

    Raises:
        SourceError: no header, or one that can't be the names of columns.
    """
    found: list[tuple[float, int, str, list[str], int]] = []
    for delimiter in DELIMITERS:
        cells, end = _first_row(head, delimiter, name, whole=whole)
        if 1 < len(cells) <= MAX_COLUMNS:
            share = _share_as_long(head[end:], delimiter, len(cells), whole=whole)
            found.append((share, len(cells), delimiter, cells, end))
        elif len(cells) > MAX_COLUMNS:
            raise SourceError(
                name,
                f"it has {len(cells):,} columns; a table can have {MAX_COLUMNS:,}",
                "Split it, or make rows of the columns.",
            )
    if found:
        _, _, delimiter, cells, end = max(found, key=lambda one: one[:2])
    else:
        delimiter = ONE_COLUMN
        cells, end = _first_row(head, delimiter, name, whole=whole)
    if all(_is_number(cell) or not cell.strip() for cell in cells):
        raise SourceError(
            name,
            "its first row holds no names of columns",
            "Put a first row with the columns' names before the data.",
        )
    names, remarks = _unique(cells)
    lines = head[:end].count(b"\n") or head[:end].count(b"\r")
    return Header(delimiter, names, cells, end, 1 + lines, remarks)


def _first_row(head: bytes, delimiter: str, name: str, *, whole: bool) -> tuple[list[str], int]:
    pattern, start = row_pattern(delimiter), 0
    text = head + b"\n" if whole else head
    while match := pattern.match(text, start):
        start = match.end()
        row = match.group().decode().rstrip("\r\n")
        if row.strip(f"{delimiter} \t"):
            with suppress(csv.Error):
                (cells,) = csv.reader(io.StringIO(row, newline=""), delimiter=delimiter)
                return cells, min(start, len(head))
            break
    else:
        if whole and start >= len(head):
            raise SourceError(name, "it has nothing but blank rows", "Deliver the file again.")
    raise SourceError(
        name,
        "its first row is too long for a header, or opens a quote and does not close it",
        "Put a first row with the columns' names before the data.",
    )


def _share_as_long(data: bytes, delimiter: str, columns: int, *, whole: bool) -> float:
    """Share of the rows that have as many cells as there are columns."""
    sample = data[:_SAMPLE_BYTES]
    end, _ = last_row_end(sample, delimiter)
    if not end and whole:
        end = len(sample)
    rows = read_rows(sample[:end], delimiter, columns)
    uneven = rows.short + rows.surplus + len(rows) - rows.problems.null_count
    return 1 - uneven / len(rows) if len(rows) else 1.0


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _unique(cells: Sequence[str]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    unnamed, renamed = [], []
    taken = {*cells, *OWN_COLUMNS}
    for number, cell in enumerate(cells, start=1):
        name = cell if cell.strip() else f"column_{number}"
        if name != cell:
            unnamed.append(name)
        base, again = name, 2
        while name in names or name in OWN_COLUMNS or (name != cell and name in taken):
            name, again = f"{base}_{again}", again + 1
        if name != base:
            renamed.append(name)
        names.append(name)
    remarks = []
    if unnamed:
        remarks.append(f"Columns without a name in the header: {_listed(unnamed)}.")
    if renamed:
        remarks.append(f"The header has names twice; columns were renamed: {_listed(renamed)}.")
    return names, remarks


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(f"'{name}'" for name in names[:20]) + more


@dataclass
class _Uneven:
    """Rows of a block whose length is not the header's, by their position."""

    columns: int
    delimiter: str
    mended: dict[int, str] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    blank: set[int] = field(default_factory=set)
    short: int = 0
    surplus: int = 0

    def take(self, row: pyarrow.csv.InvalidRow) -> str:
        """Keep a row apart; called by Arrow."""
        position, text = row.number - 1, row.text
        missing = self.columns - row.actual_columns
        if not text.strip():
            self.blank.add(position)
        elif missing > 0:
            self.short += 1
            self.mended[position] = text + self.delimiter * missing
        elif text.endswith(self.delimiter * -missing):
            self.surplus += 1
            self.mended[position] = text[:missing]
        else:
            shown = text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…"
            self.problems[position] = (
                f"the row has {row.actual_columns} cells for {self.columns} columns: {shown}"
            )
        return "skip"


def read_rows(data: bytes, delimiter: str, columns: int) -> Rows:
    """Tell whole rows into cells.

    Args:
        data: UTF-8; ends where a row does, and is one block for Arrow.
    """
    uneven = _Uneven(columns, delimiter)
    cells = _cells(data, delimiter, columns, uneven)
    problems = pa.nulls(len(cells[0]), pa.string())
    if uneven.mended or uneven.problems:
        cells, problems = _in_place(cells, uneven)
    empty = cells[0].is_null()
    for column in cells[1:]:
        if not pc.any(empty).as_py():
            break
        empty = pc.and_(empty, column.is_null())
    empty = pc.and_(empty, problems.is_null())
    blank = pc.sum(empty).as_py() or 0
    if blank:
        kept = pc.invert(empty)
        cells, problems = [column.filter(kept) for column in cells], problems.filter(kept)
    return Rows(cells, problems, blank + len(uneven.blank), uneven.short, uneven.surplus)


def _cells(data: bytes, delimiter: str, columns: int, uneven: _Uneven) -> list[pa.Array]:
    names = [str(number) for number in range(columns)]
    if not data:
        return [pa.array([], pa.string()) for _ in names]
    if not data.endswith((b"\n", b"\r")):
        # Without a row end, Arrow takes an empty last cell for `""` if the one before is quoted.
        data += b"\n"
    if data.startswith(_MARK):
        # Arrow would take away a byte order mark that is text here.
        data = _MARK + data
    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False, block_size=len(data) + 1, column_names=names
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            # Skipped lines would not be counted.
            ignore_empty_lines=False,
            invalid_row_handler=uneven.take,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=False,
        ),
    )
    return [_one_chunk(column) for column in table.columns]


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _in_place(cells: list[pa.Array], uneven: _Uneven) -> tuple[list[pa.Array], pa.Array]:
    """The rows that were kept apart, where they belong."""
    mended = _cells(
        "\n".join(uneven.mended.values()).encode(),
        uneven.delimiter,
        uneven.columns,
        _Uneven(uneven.columns, uneven.delimiter),
    )
    apart = [*uneven.mended, *uneven.problems]
    total = len(cells[0]) + len(apart) + len(uneven.blank)
    regular = np.setdiff1d(np.arange(total), [*apart, *uneven.blank], assume_unique=True)
    order = pa.array(np.argsort(np.concatenate([regular, apart]).astype(np.int64)))
    nothing = pa.nulls(len(uneven.problems), pa.string())
    reasons = pa.concat_arrays(
        [
            pa.nulls(len(regular) + len(uneven.mended), pa.string()),
            pa.array(uneven.problems.values(), pa.string()),
        ]
    )
    return [
        pa.concat_arrays([column, more, nothing]).take(order)
        for column, more in zip(cells, mended, strict=True)
    ], reasons.take(order)
