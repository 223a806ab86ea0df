"""Columns of a KML layer: their names and types, from all values of the document.

KML's own elements come first, under the names that GDAL gives them; then what ExtendedData holds
(OGC 07-147r2, 9.2 to 9.4), in the order in which the document first has it.
"""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.vector.formats.kml_attributes import Key
from geo_etl.vector.formats.layer import OWN_COLUMNS

MAX_COLUMNS = 1_500
"""PostgreSQL has room for 1,600."""
FOLDER = "folder"

_OWN = {
    "name": "text",
    "description": "text",
    "id": "text",
    "address": "text",
    "phoneNumber": "text",
    "snippet": "text",
    "styleUrl": "text",
    "visibility": "bool",
    "open": "bool",
    "timestamp": "time",
    "begin": "time",
    "end": "time",
    "altitudeMode": "text",
    "extrude": "bool",
    "tessellate": "bool",
}
"""KML's own columns in their order, with the kind of each."""
_KINDS = {
    **dict.fromkeys(["short", "ushort", "int", "uint"], "int"),
    **dict.fromkeys(["float", "double"], "double"),
    **dict.fromkeys(["bool", "boolean"], "bool"),
    **dict.fromkeys(["date", "datetime"], "time"),
}
"""Type of a SimpleField → kind; all others are text."""
_INTEGERS = {
    "short": (pa.int16(), -(2**15), 2**15 - 1),
    "ushort": (pa.uint16(), 0, 2**16 - 1),
    "int": (pa.int32(), -(2**31), 2**31 - 1),
    "uint": (pa.uint32(), 0, 2**32 - 1),
}

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|-?INF|NaN")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?", re.ASCII)
_ZONED = re.compile(_LOCAL.pattern + r"(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or not -(2**63) <= (value := int(text)) < 2**63:
        raise ValueError(text)
    return value


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    value = float(text)
    if value in (float("inf"), float("-inf")) and "INF" not in text:
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError(text)
    return value


def _date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _local(text: str) -> datetime:
    if not _LOCAL.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _zoned(text: str) -> datetime:
    if not _ZONED.fullmatch(text):
        raise ValueError(text)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        raise ValueError(text) from None


_READERS: dict[str, Callable[[str], Any]] = {
    "int": _integer,
    "double": _number,
    "bool": _boolean,
    "date": _date,
    "local": _local,
    "zoned": _zoned,
}
_TYPES = {
    "int": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "local": pa.timestamp("us"),
    "zoned": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Column:
    """One attribute of the layer.

    Attributes:
        read: from the text of a value, without white space around; None for text as it stands.
    """

    key: Key
    name: str
    type: pa.DataType
    read: Callable[[str], Any] | None

    def array(self, texts: list[str | None]) -> pa.Array:
        """A column's values in its type. Blank text is null unless the column is text."""
        if self.read is None:
            return pa.array(texts, self.type)
        read = self.read
        values = [read(bare) if text and (bare := text.strip()) else None for text in texts]
        return pa.array(values, self.type)


@dataclass
class _Seen:
    """What the values of one attribute have in common."""

    kind: str
    schemas: set[str] = field(default_factory=set)
    possible: set[str] = field(default_factory=lambda: set(_READERS))
    refused: dict[str, str] = field(default_factory=dict)
    low: int = 0
    high: int = 0

    def add(self, text: str) -> None:
        bare = text.strip()
        if not bare or not self.possible:
            return
        for kind in tuple(self.possible):
            try:
                value = _READERS[kind](bare)
            except ValueError:
                self.possible.remove(kind)
                self.refused[kind] = bare
            else:
                if kind == "int":
                    self.low, self.high = min(self.low, value), max(self.high, value)


class Survey:
    """Looks at all values of a document, to say which columns they make."""

    def __init__(self, name: str) -> None:
        self.folders = False
        self._name = name
        self._seen: dict[Key, _Seen] = {}

    def add(self, key: Key, text: str, schema: str) -> None:
        """Look at one value.

        Raises:
            SourceError: there are more attributes than a table can have columns.
        """
        seen = self._seen.get(key)
        if seen is None:
            kind = {"KML": _OWN.get(key[1], "text"), "Data": "text"}.get(key[0], "declared")
            seen = self._seen[key] = _Seen(kind)
            if len(self._seen) > MAX_COLUMNS:
                raise SourceError(
                    self._name,
                    f"its placemarks have more than {MAX_COLUMNS:,} different attributes",
                    "Give the same attribute the same name in all of them.",
                )
        if seen.kind != "text":
            if schema:
                seen.schemas.add(schema)
            seen.add(text)

    def columns(self, fields: Mapping[str, Mapping[str, str]]) -> tuple[list[Column], list[str]]:
        """The columns, and what a person should know of them.

        Args:
            fields: schema → field → declared type.
        """
        order = list(_OWN)
        own = [key for key in self._seen if key[0] == "KML"]
        own.sort(key=lambda key: (key[2], order.index(key[1])))
        taken = set(OWN_COLUMNS) | ({FOLDER} if self.folders else set())
        columns, remarks = [], []
        for key in own + [key for key in self._seen if key[0] != "KML"]:
            name = _free(key[1], taken)
            taken.add(name)
            if name != key[1]:
                remarks.append(
                    f"An attribute '{key[1]}' ({key[0]}) is called '{name}': the name occurs twice."
                )
            type_, read, remark = _typed(self._seen[key], key[1], fields)
            if remark:
                remarks.append(f"Column '{name}' is text: {remark}.")
            columns.append(Column(key, name, type_, read))
        return columns, remarks


def _free(name: str, taken: Container[str]) -> str:
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free


def _typed(
    seen: _Seen, name: str, fields: Mapping[str, Mapping[str, str]]
) -> tuple[pa.DataType, Callable[[str], Any] | None, str | None]:
    """Type and reader of a column; why it is text though it is declared as something else."""
    text = (pa.string(), None)
    if seen.kind == "text":
        return *text, None
    declared = {fields.get(schema, {}).get(name, "") for schema in seen.schemas}
    kinds = {_KINDS.get(one, "text") for one in declared} if declared else {"text"}
    if seen.kind != "declared":
        kinds = {seen.kind}
    if kinds == {"text"}:
        return *text, None
    if len(kinds) > 1:
        return *text, f"its schemas declare it as {' and '.join(sorted(declared))}"
    (kind,) = kinds
    choices = ("date", "local", "zoned") if kind == "time" else (kind,)
    for choice in choices:
        if choice in seen.possible:
            return _type(choice, seen, declared), _READERS[choice], None
    if seen.kind == "time":
        return *text, None  # KML has years and months too
    wrong = [text for kind, text in seen.refused.items() if kind in choices][-1]
    shown = wrong if len(wrong) <= 40 else f"{wrong[:40]}…"
    return *text, f"declared as {' and '.join(sorted(declared)) or kind}, it holds '{shown}'"


def _type(choice: str, seen: _Seen, declared: set[str]) -> pa.DataType:
    if choice == "int" and len(declared) == 1:
        type_, low, high = _INTEGERS[next(iter(declared))]
        if low <= seen.low and seen.high <= high:
            return type_
    return _TYPES[choice]
