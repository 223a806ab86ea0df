"""Cells of a DBF as Arrow arrays. Not here: where they are, and which type a column gets."""

import codecs
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from geo_etl.vector.formats.dbf import Cells

PADDING = " \0"
_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*)?")
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf)", re.IGNORECASE)
_NO_NUMBER = r"^\*+$|#"
"""What stands for a number that did not fit (`****`), or was none (`-1.#IND`, `1.#QNAN`)."""
EXACT_DIGITS = 15
"""Whole numbers of so many digits are exact in a double (IEEE 754)."""
_TRUTH = np.full(256, 2, dtype=np.uint8)
_TRUTH[list(b"TtYy")], _TRUTH[list(b"FfNn")], _TRUTH[list(b"? \0")] = 1, 0, 3


@dataclass(frozen=True)
class Column:
    r"""Cells of one column, read.

    Attributes:
        misfit: a cell that does not have the column's type; None when all have.
        void: cells that stand for no number; they are null.
        cut: cells whose last character is cut in two by the column's width; it is left out.
        undecodable: cells with bytes that the encoding does not have; they stand as `\xNN`.
        behind: cells with text behind a NUL, which ends a text; it is left out.
        example: one of the cells that are undecodable.
    """

    array: pa.Array
    misfit: str | None = None
    void: int = 0
    cut: int = 0
    undecodable: int = 0
    behind: int = 0
    example: str = ""


def read_cells(cells: Cells, type_: pa.DataType, encoding: str, *, exact: bool) -> Column:
    """Read one column.

    Args:
        cells: bytes (n × width).
        exact: whole numbers must survive in a floating-point column.
    """
    if pa.types.is_string(type_):
        return _texts(cells, encoding)
    if pa.types.is_date(type_):
        return _dates(cells)
    if pa.types.is_boolean(type_):
        return _truths(cells)
    if pa.types.is_binary(type_):
        return Column(_strings(cells).cast(pa.binary()))
    return _numbers(cells, type_, exact=exact)


def decode(name: bytes, encoding: str) -> str:
    """Name of a field: at most 11 bytes, the last character possibly cut in two."""
    return _decode(name, encoding, len(name))[0]


def _strings(cells: Cells) -> pa.Array:
    """Cells as strings that nobody validated, padding included."""
    rows, width = cells.shape
    offsets = np.arange(0, rows * width + 1, width, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(cells))]
    return pa.Array.from_buffers(pa.string(), rows, buffers)


def _bytes(array: pa.Array) -> Cells:
    data = array.buffers()[2]
    if data is None:
        return np.zeros(0, np.uint8)
    offsets = np.frombuffer(array.buffers()[1], np.int32)
    first, last = offsets[array.offset], offsets[array.offset + len(array)]
    return np.frombuffer(data, np.uint8)[first:last]


def _empty_to_null(array: pa.Array) -> pa.Array:
    """A cell of nothing but padding is null: DBF can't tell it from an empty text."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)[: len(array) + 1]
    filled = np.diff(offsets) > 0
    if filled.all():
        return array
    validity = pa.array(filled).buffers()[1]
    return pa.Array.from_buffers(array.type, len(array), [validity, *array.buffers()[1:]])


def _texts(cells: Cells, encoding: str) -> Column:
    text, behind = pc.ascii_rtrim(_strings(cells), characters=PADDING), 0
    if b"\0" in _bytes(text).tobytes():
        raw = text.cast(pa.binary()).to_pylist()
        ended = [cell.split(b"\0", 1)[0].rstrip(b" ") for cell in raw]
        behind = sum(len(old) > len(new) for old, new in zip(raw, ended, strict=True))
        text = pa.array(ended, pa.binary()).view(pa.string())
    text = _empty_to_null(text)
    if int(_bytes(text).max(initial=0)) < 128:
        return Column(text, behind=behind)
    raw = text.cast(pa.binary())
    if encoding == "utf-8":
        try:
            return Column(raw.cast(pa.string()), behind=behind)
        except pa.ArrowInvalid:
            pass
    distinct = raw.dictionary_encode()
    values = [_decode(cell, encoding, cells.shape[1]) for cell in distinct.dictionary.to_pylist()]
    known = distinct.indices.drop_null().to_numpy()
    times = np.bincount(known, minlength=len(values))
    faults = np.array([fault for _, fault in values])
    wrong = np.flatnonzero(faults == _UNDECODABLE)
    return Column(
        pa.array([value for value, _ in values], pa.string()).take(distinct.indices),
        cut=int(times[faults == _CUT].sum()),
        undecodable=int(times[wrong].sum()),
        behind=behind,
        example=values[wrong[0]][0] if len(wrong) else "",
    )


_SOUND, _CUT, _UNDECODABLE = range(3)


def _decode(cell: bytes, encoding: str, width: int) -> tuple[str, int]:
    try:
        return cell.decode(encoding), _SOUND
    except UnicodeDecodeError:
        pass
    if len(cell) == width:
        try:
            return codecs.getincrementaldecoder(encoding)().decode(cell), _CUT
        except UnicodeDecodeError:
            pass
    return cell.decode(encoding, "backslashreplace"), _UNDECODABLE


def _numbers(cells: Cells, type_: pa.DataType, *, exact: bool) -> Column:
    text = _empty_to_null(pc.ascii_trim(_strings(cells), characters=PADDING))
    data, void = _bytes(text).tobytes(), 0
    if b"*" in data or b"#" in data:
        voids = pc.match_substring_regex(text, _NO_NUMBER)
        void = pc.sum(voids).as_py() or 0
        text = pc.if_else(voids, pa.scalar(None, pa.string()), text)
    is_whole = pa.types.is_integer(type_)
    reads_hex = is_whole and b"x" in data.lower()  # Arrow would: 0x10 as 16
    if reads_hex or (exact and not is_whole):
        return _odd_numbers(text, type_, void, exact=exact)
    try:
        return Column(text.cast(type_), void=void)
    except pa.ArrowInvalid:
        return _odd_numbers(text, type_, void, exact=exact)


def _odd_numbers(text: pa.Array, type_: pa.DataType, void: int, *, exact: bool) -> Column:
    """Numbers that Arrow does not take as they are written, one by one."""
    values: list[float | int | None] = []
    whole = pa.types.is_integer(type_)
    limit = 2 ** (type_.bit_width - 1)
    for raw in text.cast(pa.binary()).to_pylist():
        if raw is None:
            values.append(None)
            continue
        cell = raw.decode("ascii", "backslashreplace")
        as_whole, as_decimal = _WHOLE.fullmatch(cell), _DECIMAL.fullmatch(cell)
        if whole:
            fits = as_whole is not None and -limit <= int(as_whole[1]) < limit
        else:
            fits = as_decimal is not None
            if fits and exact and as_whole is not None and len(as_whole[1]) > EXACT_DIGITS:
                fits = int(as_whole[1]) == int(float(cell))
        if not fits:
            return Column(pa.nulls(len(text), type_), misfit=cell, void=void)
        values.append(int(as_whole[1]) if whole and as_whole else float(cell))
    return Column(pa.array(values, type_), void=void)


def _dates(cells: Cells) -> Column:
    """YYYYMMDD; zeros or nothing for none."""
    if cells.shape[1] != 8:
        return _misfit(cells, np.zeros(1, np.int64), pa.date32())
    digits = cells.astype(np.int32) - ord("0")
    none = np.isin(cells, list(b" \x000")).all(axis=1)
    year = digits[:, :4] @ np.array([1000, 100, 10, 1])
    month, day = digits[:, 4] * 10 + digits[:, 5], digits[:, 6] * 10 + digits[:, 7]
    is_number = ((digits >= 0) & (digits <= 9)).all(axis=1)
    sound = is_number & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    safe_year, safe_month = np.where(sound, year, 1970), np.where(sound, month, 1)
    first = (safe_year - 1970) * 12 + safe_month - 1
    start = first.astype("datetime64[M]")
    days = start.astype("datetime64[D]") + (np.where(sound, day, 1) - 1)
    sound &= days.astype("datetime64[M]") == start
    wrong = np.flatnonzero(~sound & ~none)
    if len(wrong):
        return _misfit(cells, wrong, pa.date32())
    return Column(pa.array(days, mask=~sound).cast(pa.date32()))


def _truths(cells: Cells) -> Column:
    found = _TRUTH[cells[:, 0]]
    wrong = np.flatnonzero(found == 2)
    if cells.shape[1] != 1 or len(wrong):
        return _misfit(cells, wrong if len(wrong) else np.zeros(1, np.int64), pa.bool_())
    return Column(pa.array(found == 1, mask=found == 3))


def _misfit(cells: Cells, rows: npt.NDArray[np.int64], type_: pa.DataType) -> Column:
    example = cells[rows[0]].tobytes().decode("ascii", "backslashreplace").strip(PADDING)
    return Column(pa.nulls(len(cells), type_), misfit=example)
