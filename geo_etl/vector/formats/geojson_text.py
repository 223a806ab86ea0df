"""The text of a JSON file: as UTF-8, in windows, and where in it the features are.

Not here: cutting the features out of it.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, Literal

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged, text_is_not

WINDOW = 4_000_000
"""Bytes looked at at a time: what is made of them takes ten times as much memory."""
MAX_FRAME = 16_000_000
"""Bytes of text of a collection before, and after, its features."""
BLANK = b" \t\r\n\x1e"
"""What may stand between objects: white space, and RFC 8142's record separator."""
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks and what they announce; the longer ones first."""

_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Text:
    """A file as UTF-8, without its byte order mark. Offsets count bytes of this text.

    Attributes:
        name: what to call it in messages.
        encoding: of the file.
        skip: length of its byte order mark.
    """

    path: Path
    name: str
    encoding: str
    skip: int

    @classmethod
    def of(cls, path: Path, name: str, encoding: str | None) -> "Text":
        """Look at the byte order mark; without one it is in the given encoding, or UTF-8."""
        with path.open("rb") as file:
            head = file.read(4)
        for mark, announced in MARKS.items():
            if head.startswith(mark):
                return cls(path, name, announced, len(mark))
        return cls(path, name, codecs.lookup(encoding or "utf-8").name, 0)

    def windows(self, start: int = 0) -> Iterator[bytes]:
        """The text from an offset on, in pieces."""
        with self.path.open("rb") as file:
            if self.encoding == "utf-8":
                file.seek(self.skip + start)
                while window := file.read(WINDOW):
                    yield window
                return
            file.seek(self.skip)
            decoder = codecs.getincrementaldecoder(self.encoding)()
            done = False
            while not done:
                at = file.tell()
                read = file.read(WINDOW)
                done = not read
                try:
                    window = decoder.decode(read, final=done).encode()
                except UnicodeError as error:
                    raise SourceError(
                        self.name,
                        f"its text after byte {at:,} is not {self.encoding} ({error})",
                        "Set converter_params.encoding to the encoding that it is in.",
                    ) from None
                if skipped := min(start, len(window)):
                    start, window = start - skipped, window[skipped:]
                if window:
                    yield window

    def part(self, start: int, size: int) -> bytes:
        """At most `size` bytes from an offset on."""
        part = bytearray()
        for window in self.windows(start):
            part += window
            if len(part) >= size:
                break
        return bytes(part[:size])

    def place(self, offset: int) -> str:
        """Where an offset is, for a person: line and column (in bytes), both from 1."""
        line, column, left = 1, 1, offset
        for window in self.windows():
            before = window[:left]
            line += before.count(b"\n")
            newline = before.rfind(b"\n")
            column = len(before) - newline if newline >= 0 else column + len(before)
            left -= len(before)
            if not left:
                break
        return f"line {line:,}, column {column:,}"

    def broken(self, offset: int, what: str) -> SourceError:
        """The error for text that can't be read on from an offset."""
        return damaged(self.name, f"at {self.place(offset)} {what}")


@dataclass(frozen=True)
class Outline:
    """Where the objects of a text are.

    Attributes:
        shape: the features of a collection, the elements of an array, or one after the other.
        start: offset where they begin.
        members: of the first object, as far as they come before its features or geometry.
    """

    shape: Literal["collection", "array", "sequence"]
    start: int
    members: dict[str, Any] = field(default_factory=dict)


def outline_of(text: Text) -> Outline:
    """Find where the objects begin.

    Raises:
        SourceError: it is no JSON, or its beginning is not one of GeoJSON.
    """
    for size in (1 << 16, MAX_FRAME):
        head = text.part(0, size)
        at = len(head) - len(head.lstrip(BLANK))
        if head[at : at + 1] == b"[":
            return Outline("array", at + 1)
        if head[at : at + 1] != b"{":
            raise text_is_not(text.name, "GeoJSON")
        # In Latin-1 a character is a byte; all that JSON is structured by is ASCII.
        walk = _Walk(text, head.decode("latin-1"), at)
        try:
            return walk.outline()
        except RecursionError:
            raise too_deep(text, at) from None
        except (ValueError, IndexError) as error:
            # An IndexError is where the text ends.
            if len(head) < size:
                offset = getattr(error, "pos", len(head))
                raise text.broken(offset, "it is no JSON, or cut off") from None
    if walk.members.get("type") == "FeatureCollection":
        raise SourceError(
            text.name,
            f"it has no features within its first {MAX_FRAME / 1e6:g} MB",
            "Deliver GeoJSON whose features come first.",
        )
    return Outline("sequence", at, walk.members)


class _Walk:
    """Goes through the members of the first object, up to its features.

    Attributes:
        members: as far as it came.
    """

    def __init__(self, text: Text, head: str, start: int) -> None:
        self.members: dict[str, Any] = {}
        self._text, self._head, self._start, self._at = text, head, start, start + 1

    def outline(self) -> Outline:
        """Where the objects of the text are.

        Raises:
            ValueError, IndexError: the object goes on beyond the head, or is no JSON.
        """
        while self._next() != "}":
            name = self._name()
            if name == "features" and self._head[self._at] == "[":
                return Outline("collection", self._at + 1, self.members)
            start = self._at
            _, self._at = json.JSONDecoder(strict=False).raw_decode(self._head, start)
            if name in self.members:
                raise damaged(self._text.name, f"its JSON has '{name}' twice")
            value = self._head[start : self._at].encode("latin-1")
            self.members[name] = json.loads(value, strict=False)
            if name == "type" and self.members[name] != "FeatureCollection":
                break
            if self._next() == ",":
                self._at += 1
            elif self._next() != "}":
                raise json.JSONDecodeError("no comma", self._head, self._at)
        return Outline("sequence", self._start, self.members)

    def _name(self) -> str:
        if self._next() != '"':
            raise json.JSONDecodeError("no name", self._head, self._at)
        name, self._at = scanstring(self._head, self._at + 1, False)
        if self._next() != ":":
            raise json.JSONDecodeError("no colon", self._head, self._at)
        self._at += 1
        self._next()
        return str(name).encode("latin-1", errors="replace").decode(errors="replace")

    def _next(self) -> str:
        """The next character that is no space; `_at` is there then."""
        match = _SPACE.match(self._head, self._at)
        assert match is not None
        self._at = match.end()
        return self._head[self._at]


def too_deep(text: Text, offset: int) -> SourceError:
    """The error for JSON that is nested as no feature is."""
    return SourceError(
        text.name,
        f"at {text.place(offset)} its JSON is nested too deeply",
        "Deliver it with flatter properties and geometries.",
    )
