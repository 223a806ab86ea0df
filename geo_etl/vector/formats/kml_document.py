"""Reading a KML document from its first to its last byte, whatever its encoding."""

import codecs
import re
from collections.abc import Iterator
from typing import Protocol
from xml.parsers import expat

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import text_is_not
from geo_etl.vector.formats.kml_contents import Contents, Placemark
from geo_etl.vector.formats.kml_parser import CHUNK_BYTES, Parser

# Python has them, expat does not: several bytes a character.
_MULTIBYTE = frozenset(
    ["gb2312", "gbk", "gb18030", "big5", "big5-hkscs", "shift_jis", "cp932", "euc-jp", "euc-kr"]
)
_BEFORE_XML = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"
"""Byte order marks, what UTF-16 has between Latin letters, and white space."""
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


class ByteStream(Protocol):
    """What a document is read from: a file, or a member of an archive."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; none at the end."""


def read_placemarks(
    stream: ByteStream,
    name: str,
    contents: Contents,
    *,
    wanted: str | None = None,
    encoding: str | None = None,
) -> Iterator[Placemark]:
    """Read a document from its beginning to its end.

    Args:
        stream: the document's bytes.
        name: what to call it in messages.
        contents: is added to; its `late` names are used.
        wanted: name or path of the folders to read; None for all.
        encoding: of the text; None for what the document declares.

    Raises:
        SourceError: no KML, not well-formed, a DTD, or beyond what can be held in memory.
    """
    head = stream.read(CHUNK_BYTES)
    stripped = head.lstrip(b" \t\r\n")
    if stripped.startswith(b"<?xml"):
        # Scripts often leave an empty line before the declaration; XML allows none.
        lines_before = head[: len(head) - len(stripped)].count(b"\n")
        head = stripped
    else:
        lines_before = 0
    override, recode = _encodings(head, encoding)
    parser = Parser(name, contents, wanted, override)
    try:
        for octets in _chunks(stream, head, recode):
            parser.feed(octets)
            yield from parser.found()
        parser.finish()
        yield from parser.found()
    except expat.ExpatError as error:
        if not parser.began and not head.lstrip(_BEFORE_XML).startswith(b"<"):
            raise text_is_not(name, "KML") from None
        said = expat.ErrorString(error.code)
        at = f"line {error.lineno + lines_before}, column {error.offset + 1}"
        raise SourceError(
            name,
            f"it is no well-formed XML: {said} ({at})",
            "Deliver the file again; if it holds text in another encoding than it declares, set "
            "converter_params.encoding.",
        ) from None
    except (UnicodeError, LookupError, ValueError) as error:
        raise SourceError(
            name, f"its text can't be decoded ({error})", "Set converter_params.encoding."
        ) from None


def _encodings(head: bytes, given: str | None) -> tuple[str | None, str | None]:
    """The encoding to tell expat (None: as declared), and the one to translate to it from."""
    if given is not None:
        return "utf-8", given
    match = _DECLARED.match(head)
    declared = match[1].decode().lower() if match else ""
    if declared in _MULTIBYTE:
        return "utf-8", declared
    if declared.startswith(("utf-16", "ucs-2")):
        # It was read byte by byte, so that is not what it is (XML 1.0, appendix F).
        return "utf-8", None
    return None, None


def _chunks(stream: ByteStream, head: bytes, recode: str | None) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(recode)() if recode else None
    octets = head
    while octets:
        yield octets if decoder is None else decoder.decode(octets).encode()
        octets = stream.read(CHUNK_BYTES)
    if decoder is not None:
        yield decoder.decode(b"", final=True).encode()
