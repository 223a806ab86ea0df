"""Delimited text as UTF-8 in blocks of whole rows.

Here are encodings, row ends and quotes. Not here: cells.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import text_is_not

BLOCK_BYTES = 4_000_000
MAX_ROW_BYTES = 64_000_000
"""A longer row is taken for a quote that is not closed, or for no table at all."""
FALLBACK = "cp1252"
"""What text is taken for that is not UTF-8, and that nothing declares."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class NotInEncodingError(Exception):
    """Bytes that are none in the encoding that they were read in.

    Attributes:
        byte: the first of them. position: its offset in the file.
        mixed: most of the text around it, beyond ASCII, is what the encoding has.
    """

    def __init__(self, byte: int, position: int, *, mixed: bool) -> None:
        super().__init__(f"byte 0x{byte:02X} at offset {position}")
        self.byte = byte
        self.position = position
        self.mixed = mixed


def marked_encoding(path: Path) -> str | None:
    """Encoding that a byte order mark declares."""
    with path.open("rb") as file:
        head = file.read(3)
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), None)


def utf8_text(path: Path, name: str, encoding: str) -> Iterator[bytes]:
    """The text as UTF-8 without its byte order mark, a block at a time.

    Raises:
        NotInEncodingError: bytes that the encoding does not have.
        SourceError: it has NUL characters: no text.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    as_it_is = codecs.lookup(encoding).name == "utf-8"
    mark = next((mark for mark, of in _MARKS.items() if of == codecs.lookup(encoding).name), b"")
    end = 0
    with path.open("rb") as file:
        if mark and file.read(len(mark)) == mark:
            end = len(mark)
        else:
            file.seek(0)
        more = True
        while more:
            raw = file.read(BLOCK_BYTES)
            end += len(raw)
            more = bool(raw)
            try:
                text = decoder.decode(raw, final=not more)
            except UnicodeDecodeError as error:
                start = end - len(error.object)
                raise NotInEncodingError(
                    error.object[error.start], start + error.start, mixed=_mixed(error)
                ) from None
            if "\0" in text:
                raise text_is_not(name, "delimited text")
            if raw or text:
                yield raw if as_it_is else text.encode()


def _mixed(error: UnicodeDecodeError) -> bool:
    text = error.object.decode(error.encoding, errors="replace")
    bad = text.count("\ufffd")
    beyond_ascii = len(text) - len(text.encode("ascii", errors="ignore"))
    return beyond_ascii - bad >= bad


def without_start(text: Iterable[bytes], count: int) -> Iterator[bytes]:
    """The text after its first `count` bytes."""
    for block in text:
        if count < len(block):
            yield block[count:] if count else block
        count = max(0, count - len(block))


def whole_rows(
    text: Iterable[bytes], delimiter: str, name: str, first_line: int
) -> Iterator[bytes]:
    """The same text, cut where rows end.

    Args:
        first_line: number of the line that the text begins with, for messages.

    Raises:
        SourceError: a quote is not closed, or a row is longer than `MAX_ROW_BYTES`.
    """
    rest, line = b"", first_line
    for block in text:
        data = rest + block
        end, _ = last_row_end(data, delimiter)
        if end:
            yield data[:end]
            line += _lines(data[:end])
        rest = data[end:]
        if len(rest) > MAX_ROW_BYTES:
            raise SourceError(
                name,
                f"the row that begins in line {line} is longer than {MAX_ROW_BYTES // 10**6} MB",
                "Close the quote that it opens, if it does; or deliver another format.",
            )
    if rest:
        if last_row_end(rest, delimiter)[1]:
            raise SourceError(
                name,
                f"a quote is opened in or after line {line} and never closed",
                "Close it; a quote inside a quoted cell is written twice.",
            )
        yield rest


def last_row_end(data: bytes, delimiter: str) -> tuple[int, bool]:
    """Where the last complete row ends (0: none does), and whether a quote is open at the end.

    A quote counts where a cell begins with it; inside such a cell it is written twice (RFC 4180,
    2.5 to 2.7). Rows end with LF, CR LF or CR. `data` begins with a row.
    """
    octets = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(octets == ord('"'))
    # A CR at the very end may be the first half of CR LF.
    last = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1))
    if not len(quotes):
        return last + 1, False
    opening = quotes[::2]
    before = octets[opening[opening > 0] - 1]
    if not np.isin(before, list(f'{delimiter}\n\r"'.encode())).all():
        return _row_end_with_stray_quotes(data, delimiter)
    # Every other quote opens a cell: row ends behind an even number of quotes are real.
    if last >= 0 and np.searchsorted(quotes, last) % 2:
        ends = np.flatnonzero((octets[:-1] == ord("\n")) | (octets[:-1] == ord("\r")))
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
        last = int(ends[-1]) if len(ends) else -1
    return last + 1, bool(len(quotes) % 2)


def row_pattern(delimiter: str) -> re.Pattern[bytes]:
    """Matches one row with its end; quotes as in `last_row_end`."""
    mark = re.escape(delimiter).encode()
    rest = rb"[^%b\r\n]*+" % mark
    cell = rb'(?:"(?:[^"]++|"")*+"%b|(?!")%b)' % (rest, rest)
    return re.compile(rb"(?:%b%b)*+%b(?:\r\n|\n|\r(?!\Z))" % (cell, mark, cell))


def _row_end_with_stray_quotes(data: bytes, delimiter: str) -> tuple[int, bool]:
    pattern = row_pattern(delimiter)
    end = 0
    while match := pattern.match(data, end):
        end = match.end()
    # With a row end put behind it the rest is a row, unless a quote is open.
    rest = data[end:].rstrip(b"\r") + b"\n"
    return end, pattern.fullmatch(rest) is None


def _lines(data: bytes) -> int:
    return data.count(b"\n") or data.count(b"\r")
