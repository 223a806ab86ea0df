"""Columns of a GeoPackage whose values are not what their declaration says.

SQLite stores any value in any column, and GDAL makes the declared type of it: 'abc' in an INTEGER
column becomes 0, 100000 in a SMALLINT wraps around, 1.5 loses its half, a text ends at a NUL, a
date that is none is 1970-01-01. So each table is checked in one scan, and a column with such a
value is read here, with a type that takes what it holds.
"""

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from geo_etl.vector.formats.ogr import mixed_zones

LARGEST_EXACT = 2**53
"""Integers beyond it are not all double precision numbers (IEEE 754)."""
SPLITTER = 2**29 + 1
"""Veltkamp's constant (Dekker, 1971): `x*s - (x*s - x)` is x with 53 - 29 = 24 significant bits,
those of single precision."""

_SECOND = "????-??-??T??:??:??"
_MOMENT = (
    f"({{0}} GLOB '{_SECOND}Z' OR {{0}} GLOB '{_SECOND}.[0-9][0-9][0-9]Z')"
    " AND julianday({0}) IS NOT NULL AND substr({0}, 12, 2) < '24'"
    # SQLite takes 30 February, and calculates with 1 March. Only where it matters: it is slow.
    " AND (substr({0}, 9, 2) <= '28' OR date({0}, '+0 days') = substr({0}, 1, 10))"
)
_INTEGER = "typeof({0}) = 'integer' AND {0} BETWEEN "
_CONDITIONS = {
    "BOOLEAN": _INTEGER + "0 AND 1",
    "TINYINT": _INTEGER + f"{-(2**31)} AND {2**31 - 1}",
    "SMALLINT": _INTEGER + f"{-(2**15)} AND {2**15 - 1}",
    "MEDIUMINT": _INTEGER + f"{-(2**31)} AND {2**31 - 1}",
    "INT": "typeof({0}) = 'integer'",
    "INTEGER": "typeof({0}) = 'integer'",
    "FLOAT": f"typeof({{0}}) = 'real' AND {{0}} * {SPLITTER} - ({{0}} * {SPLITTER} - {{0}}) = {{0}}"
    " AND (abs({0}) BETWEEN 1.2e-38 AND 3.4e38 OR {0} = 0)",
    "DOUBLE": "typeof({0}) = 'real'",
    "REAL": "typeof({0}) = 'real'",
    "TEXT": "typeof({0}) = 'text' AND NOT instr({0}, char(0))",
    "BLOB": "typeof({0}) = 'blob'",
    "DATE": "typeof({0}) = 'text' AND date({0}, '+0 days') = {0}",
    "DATETIME": f"typeof({{0}}) = 'text' AND {_MOMENT}",
    "JSON": "typeof({0}) = 'text' AND json_valid({0}) AND NOT instr({0}, char(0))",
}
"""What GDAL gives back as it is, by declared type (OGC 12-128r18, table 1)."""

_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_READ_AS = {pa.int64(): "integers", pa.float64(): "numbers", pa.binary(): "bytes"}


@dataclass(frozen=True)
class Declared:
    """A column as the table declares it; `type` is a key of the conditions, or anything."""

    name: str
    type: str


@dataclass(frozen=True)
class Audit:
    """What one scan of a layer's table found.

    Attributes:
        rows: number of features. loose: columns that GDAL must not read, with the type to read
            them as. remarks: why.
    """

    rows: int
    loose: Mapping[str, pa.DataType]
    remarks: Sequence[str]


def declared_columns(
    connection: sqlite3.Connection, table: str, json_columns: Iterable[str]
) -> tuple[list[Declared], str | None]:
    """The columns of a table or view, and the one that is its integer primary key.

    Args:
        json_columns: those whose text is declared to be JSON.
    """
    json_names = {name.lower() for name in json_columns}
    columns, keys = [], []
    for _, name, type_, _, _, key, hidden in connection.execute(
        f"PRAGMA table_xinfo({quoted(table)})"
    ):
        # What GDAL does not see (a generated column) has no type that it reads as it is.
        base = "" if hidden else re.sub(r"^(TEXT|BLOB)\s*\(\d+\)$", r"\1", type_.strip().upper())
        json = base == "TEXT" and name.lower() in json_names
        columns.append(Declared(name, "JSON" if json else base))
        if key:
            keys.append((name, base))
    single = keys[0][0] if len(keys) == 1 and keys[0][1] == "INTEGER" else None
    return columns, single


def audit(connection: sqlite3.Connection, table: str, columns: Sequence[Declared]) -> Audit:
    """Look through all values once.

    Raises:
        sqlite3.Error: the table can't be read to its end.
    """
    checked = [column for column in columns if column.type in _CONDITIONS]
    bad = [
        f"count(CASE WHEN {quoted(column.name)} IS NULL OR ({_good(column)}) THEN NULL ELSE 1 END)"
        for column in checked
    ]
    rows, *found = connection.execute(
        f"SELECT {', '.join(['count(*)', *bad])} FROM {quoted(table)}"
    ).fetchone()
    suspects = {column.name for column, is_bad in zip(checked, found, strict=True) if is_bad}
    loose: dict[str, pa.DataType] = {}
    remarks = []
    for column in columns:
        if column.name in suspects or column.type not in _CONDITIONS:
            type_, remark = _loose_type(connection, table, column)
            loose[column.name] = type_
            remarks += [remark] if remark else []
    return Audit(rows, loose, remarks)


def loose_values(
    connection: sqlite3.Connection,
    table: str,
    key: str,
    types: Mapping[str, pa.DataType],
    fids: Sequence[int],
    encoding: str | None,
) -> tuple[dict[str, pa.Array], dict[int, str]]:
    """Values of some columns for the features of one batch, in its order.

    Returns:
        The columns, and row → reason for those with text that can't be decoded.

    Raises:
        KeyError: a feature is not there.
    """
    names = [quoted(name) for name in (key, *types)]
    found = {
        row[0]: row[1:]
        for row in connection.execute(
            f"SELECT {', '.join(names)} FROM {quoted(table)} WHERE {quoted(key)} BETWEEN ? AND ?",
            (min(fids), max(fids)),
        )
    }
    problems: dict[int, str] = {}
    arrays = {}
    for position, (name, type_) in enumerate(types.items()):
        values = []
        for row, fid in enumerate(fids):
            value, decodes = _decoded(found[fid][position], encoding)
            if not decodes:
                problems[row] = f"its text in column '{name}' is not {encoding or 'UTF-8'}"
            values.append(_as(value, type_))
        arrays[name] = pa.array(values, type_)
    return arrays, problems


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _good(column: Declared) -> str:
    return _CONDITIONS[column.type].replace("{0}", quoted(column.name))


def _loose_type(
    connection: sqlite3.Connection, table: str, column: Declared
) -> tuple[pa.DataType, str | None]:
    """A type that takes all values of a column, and what to say about it."""
    c = quoted(column.name)
    source = f"FROM {quoted(table)} WHERE {c} IS NOT NULL"
    kinds = {
        kind: (low, high)
        for kind, low, high in connection.execute(
            f"SELECT typeof({c}), min({c}), max({c}) {source} GROUP BY 1"
        )
    }
    if column.type in ("DATETIME", "TIMESTAMP") and set(kinds) == {"text"}:
        return _timestamp_type(connection, column, f"SELECT {c} {source}")
    type_ = _type_of_kinds(kinds)
    if column.type not in _CONDITIONS:
        mixed = pa.types.is_string(type_) and set(kinds) - {"text"}
        said = "It holds text, numbers or bytes side by side" if mixed else None
    elif column.type == "TEXT" and set(kinds) == {"text"}:
        said = None  # only a NUL, which is PostgreSQL's problem
    else:
        (example,) = connection.execute(
            f"SELECT {c} {source} AND NOT coalesce({_good(column)}, 0) LIMIT 1"
        ).fetchone()
        shown, _ = _decoded(example, None)
        said = f"It is declared {column.type} and holds other values, such as {shown!r:.60}"
    if said is None:
        return type_, None
    return type_, f"Column '{column.name}': {said}; it was read as {_READ_AS.get(type_, 'text')}."


def _type_of_kinds(kinds: Mapping[str, tuple[Any, Any]]) -> pa.DataType:
    if set(kinds) == {"integer"}:
        return pa.int64()
    if kinds and set(kinds) <= {"integer", "real"}:
        low, high = kinds.get("integer", (0, 0))
        return pa.float64() if max(-low, high) <= LARGEST_EXACT else pa.string()
    return pa.binary() if set(kinds) == {"blob"} else pa.string()


def _timestamp_type(
    connection: sqlite3.Connection, column: Declared, query: str
) -> tuple[pa.DataType, str | None]:
    values = zoned = 0
    for (value,) in connection.execute(query):
        text, _ = _decoded(value, None)
        match = _TIMESTAMP.fullmatch(text)
        try:
            datetime.fromisoformat(text)
        except ValueError:
            match = None
        if match is None:
            return pa.string(), (
                f"Column '{column.name}': It is declared {column.type} and holds other values, "
                f"such as {text!r:.60}; it was read as text."
            )
        values += 1
        zoned += match["zone"] is not None
    if 0 < zoned < values:
        return pa.string(), mixed_zones(column.name, zoned, values)
    return pa.timestamp("us", "UTC" if zoned else None), None


def text_factory(stored: bytes) -> str:
    """Text as SQLite stores it; bytes that are no UTF-8 stay as lone surrogates."""
    return stored.decode(errors="surrogateescape")


def _decoded(value: Any, encoding: str | None) -> tuple[Any, bool]:
    """Text in its real encoding; what is no text in it keeps its bytes as escapes."""
    if not isinstance(value, str) or value.isascii():
        return value, True
    stored = value.encode(errors="surrogateescape")
    for candidate in ("utf-8", encoding or "utf-8"):
        try:
            return stored.decode(candidate), True
        except UnicodeDecodeError:
            pass
    return stored.decode(errors="backslashreplace"), False


def _as(value: Any, type_: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_string(type_):
        return value.hex() if isinstance(value, bytes) else str(value)
    if pa.types.is_floating(type_):
        return float(value)
    if pa.types.is_timestamp(type_):
        return datetime.fromisoformat(value)
    return value
