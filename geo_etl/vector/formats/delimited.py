"""Delimited text: CSV (RFC 4180, and what else goes by that name) and TSV.

The text is read twice. The first pass tells the types of the columns, the extent and the CRS, and
counts the rows; the second gives the features. Both are streamed, a few blocks at a time.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.delimited_columns import geometry_columns
from geo_etl.vector.formats.delimited_geometry import GeometryReader, Survey, reader_for
from geo_etl.vector.formats.delimited_rows import HEAD_BYTES, Header, Rows, read_header, read_rows
from geo_etl.vector.formats.delimited_text import (
    FALLBACK,
    NotInEncodingError,
    marked_encoding,
    utf8_text,
    whole_rows,
    without_start,
)
from geo_etl.vector.formats.delimited_types import Evidence, Kind, no_evidence, typed, weigh
from geo_etl.vector.formats.layer import FID, GEOMETRY, MAX_BATCH_ROWS, PROBLEM, Layer
from geo_etl.vector.formats.limits import check_feature_limit

WORKERS = min(4, os.cpu_count() or 1)

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Table:
    """A text that is known to be a table."""

    path: Path
    source: str
    encoding: str
    header: Header

    def blocks(self) -> Iterator[bytes]:
        """Whole rows as UTF-8."""
        text = utf8_text(self.path, self.source, self.encoding)
        return whole_rows(
            without_start(text, self.header.end),
            self.header.delimiter,
            self.source,
            self.header.lines,
        )

    def rows(self, block: bytes) -> Rows:
        """The cells of a block."""
        return read_rows(block, self.header.delimiter, len(self.header.names))


@dataclass(frozen=True, kw_only=True)
class DelimitedLayer(Layer):
    """A table with a geometry in each row; its features are numbered from 1.

    Attributes:
        kinds: of the columns.
    """

    table: Table
    kinds: list[Kind]
    geometry: GeometryReader

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`. All remarks are there from the start."""
        first = 1
        for batch in in_order(self._batch, self.table.blocks()):
            fids = pa.array(np.arange(first, first + batch.num_rows))
            first += batch.num_rows
            numbered = batch.add_column(0, FID, fids)
            for start in range(0, batch.num_rows, MAX_BATCH_ROWS):
                yield numbered.slice(start, MAX_BATCH_ROWS)

    def _batch(self, block: bytes) -> pa.RecordBatch:
        rows = self.table.rows(block)
        wkb, unread = self.geometry.read(rows.cells)
        problems = rows.problems
        if unread:
            reasons = problems.to_pylist()
            for row, reason in unread.items():
                reasons[row] = reason
            problems = pa.array(reasons, pa.string())
        arrays = {
            name: typed(cells, kind)
            for number, (name, cells, kind) in enumerate(
                zip(self.table.header.names, rows.cells, self.kinds, strict=True)
            )
            if number != self.geometry.consumed
        }
        arrays |= {GEOMETRY: wkb, PROBLEM: problems}
        return pa.RecordBatch.from_arrays([*arrays.values()], names=[*arrays])


@dataclass(frozen=True)
class _FirstPass:
    """What all rows together say."""

    rows: int
    blank: int
    short: int
    surplus: int
    evidence: list[Evidence]
    survey: Survey

    def and_(self, other: "_FirstPass") -> "_FirstPass":
        return _FirstPass(
            self.rows + other.rows,
            self.blank + other.blank,
            self.short + other.short,
            self.surplus + other.surplus,
            [one.and_(two) for one, two in zip(self.evidence, other.evidence, strict=True)],
            self.survey.and_(other.survey),
        )

    def remarks(self) -> list[str]:
        counted = {
            "{} blank rows were skipped.": self.blank,
            "{} rows have fewer cells than the header; the missing ones are null.": self.short,
            "{} rows have empty cells behind the last column.": self.surplus,
        }
        return [text.format(count) for text, count in counted.items() if count]


def open_delimited(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Open delimited text; reads all of it.

    Raises:
        SourceError: no text, in no encoding that is declared or usual, no table, no header, no
            columns with geometries, or a quote that is not closed.
    """
    declared, marked = spec.converter_params.encoding, marked_encoding(path)
    encoding = marked or declared or "utf-8"
    try:
        layer = _open(path, name, spec, encoding)
    except NotInEncodingError as error:
        if marked or declared:
            raise _not_in(name, error, f"is not in {encoding}") from None
        if error.mixed:
            raise _not_in(name, error, "is not in UTF-8, as most of the text is") from None
        try:
            layer = _open(path, name, spec, FALLBACK)
        except NotInEncodingError as other:
            raise _not_in(name, other, f"is neither in UTF-8 nor in {FALLBACK}") from None
        layer.remarks.append(
            f"The text is not UTF-8 ({error}) and was read as {FALLBACK}; if letters are wrong, "
            "set converter_params.encoding."
        )
    if marked and declared and not marked.startswith(declared):
        layer.remarks.append(
            f"A byte order mark says that the text is {marked}; it was not read as {declared}."
        )
    return layer


def _not_in(name: str, error: NotInEncodingError, how: str) -> SourceError:
    return SourceError(
        name, f"{error} {how}", "Set converter_params.encoding, or correct the text."
    )


def _open(path: Path, name: str, spec: VectorSpec, encoding: str) -> DelimitedLayer:
    head = _head(utf8_text(path, name, encoding))
    header = read_header(head[:HEAD_BYTES], name, whole=len(head) <= HEAD_BYTES)
    table = Table(path, name, encoding, header)
    sample = table.rows(next(table.blocks(), b""))
    columns = geometry_columns(header, sample.cells, name, spec)
    reader = reader_for(columns, header.delimiter)
    seen = _read_once(table, reader, spec)
    settled = reader.settle(seen.survey, name, spec.converter_params.source_crs)
    kinds = [evidence.kind() for evidence in seen.evidence]
    commas = [
        f"'{column}'"
        for column, kind in zip(header.names, kinds, strict=True)
        if kind is Kind.DECIMAL_COMMA
    ]
    remarks = header.remarks + ([columns.remark] if columns.remark else [])
    remarks += settled.remarks + seen.remarks()
    if commas:
        remarks.append(f"Numbers with a decimal comma in {', '.join(commas)}.")
    xmin, ymin, xmax, ymax = seen.survey.bounds.tolist()
    return DelimitedLayer(
        format="Delimited text",
        name=Path(name).stem,
        crs=settled.crs,
        feature_count=seen.rows,
        bytes=path.stat().st_size,
        bounds=(xmin, ymin, xmax, ymax) if seen.survey.count else None,
        remarks=remarks,
        table=table,
        kinds=kinds,
        geometry=settled.reader,
    )


def _head(text: Iterator[bytes]) -> bytes:
    """At least a byte more than `HEAD_BYTES`, or all of the text."""
    head = b""
    for block in text:
        head += block
        if len(head) > HEAD_BYTES:
            break
    return head


def _read_once(table: Table, reader: GeometryReader, spec: VectorSpec) -> _FirstPass:
    evidence = [no_evidence(table.header.delimiter) for _ in table.header.names]
    if reader.consumed is not None:
        evidence[reader.consumed] = Evidence(frozenset())
    seen = _FirstPass(0, 0, 0, 0, evidence, Survey())

    def look(block: bytes) -> _FirstPass:
        rows = table.rows(block)
        # What other blocks have ruled out by now is not looked for.
        possible = [evidence.kinds for evidence in seen.evidence]
        found = [weigh(cells, kinds) for cells, kinds in zip(rows.cells, possible, strict=True)]
        survey = reader.survey(rows.cells)
        return _FirstPass(len(rows), rows.blank, rows.short, rows.surplus, found, survey)

    for found in in_order(look, table.blocks()):
        seen = seen.and_(found)
        check_feature_limit(table.source, seen.rows + seen.blank, spec)
    return seen


def in_order(work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Results in the order of the items, worked on in `WORKERS` threads, a few items ahead."""
    waiting: deque[Future[U]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > WORKERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
