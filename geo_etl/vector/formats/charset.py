"""The encoding of a DBF's text: what declares it, and what the declaration means.

Either a file beside the table (`.cpg`, or GeoTools' `.cst`), or the language driver byte at
offset 29 of the table's header. Not here: decoding cells.
"""

import codecs
import re

ANSI = 0x57
"""Language driver "Windows ANSI": the code page of whoever wrote it, which it does not tell."""

# Language driver → code page, from dBASE's and FoxPro's documentation.
_CODE_PAGES = {
    **dict.fromkeys((0x01, 0x09, 0x0B, 0x0D, 0x0F, 0x11, 0x15, 0x18, 0x19, 0x1B), "cp437"),
    **dict.fromkeys((0x02, 0x0A, 0x0E, 0x10, 0x12, 0x14, 0x16, 0x1A, 0x1D, 0x25, 0x37), "cp850"),
    **dict.fromkeys((0x03, 0x58, 0x59), "cp1252"),
    **dict.fromkeys((0x08, 0x17, 0x66), "cp865"),
    **dict.fromkeys((0x13, 0x7B), "cp932"),
    **dict.fromkeys((0x1C, 0x6C), "cp863"),
    **dict.fromkeys((0x1F, 0x22, 0x23, 0x40, 0x64, 0x87), "cp852"),
    **dict.fromkeys((0x26, 0x65), "cp866"),
    **dict.fromkeys((0x4D, 0x7A), "gbk"),
    **dict.fromkeys((0x4E, 0x79), "cp949"),
    **dict.fromkeys((0x4F, 0x78), "cp950"),
    **dict.fromkeys((0x50, 0x7C), "cp874"),
    **dict.fromkeys((0x6A, 0x86), "cp737"),
    **dict.fromkeys((0x6B, 0x88), "cp857"),
    0x04: "mac-roman",
    0x24: "cp860",
    0x67: "cp861",
    0x7D: "cp1255",
    0x7E: "cp1256",
    0x96: "mac-cyrillic",
    0x97: "mac-latin2",
    0x98: "mac-greek",
    0xC8: "cp1250",
    0xC9: "cp1251",
    0xCA: "cp1254",
    0xCB: "cp1253",
    0xCC: "cp1257",
}

_WORDS = re.compile(r"^(?:ANSI|OEM|WINDOWS|WIN|IBM|CP|MS|DOS|CODEPAGE)[\s_-]*(?=\d)")
_LATIN = re.compile(r"^(?:ISO)?[\s_-]*8859[\s_-]*(\d{1,2})$")
_NO_CHARSETS = frozenset(["idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7"])


def of_language_driver(byte: int) -> str | None:
    """Encoding that a language driver byte declares; None when it declares none."""
    return _CODE_PAGES.get(byte)


def of_text(text: str) -> str | None:
    """Python's name of the encoding that a `.cpg` or a person means; None for none that is known.

    `UTF-8`, `65001`, `1252`, `ANSI 1252`, `OEM 852`, `88591`, `ISO 8859-15` … are all in use.
    """
    name = text.strip("\ufeff\0 \t\r\n").upper()
    if latin := _LATIN.match(name):
        return _known(f"iso8859-{int(latin[1])}")
    name = _WORDS.sub("", name)
    if name.isdigit() and 28591 <= int(name) <= 28606:  # Windows' numbers for ISO 8859
        return _known(f"iso8859-{int(name) - 28590}")
    if name in ("65001", "UTF8"):
        return "utf-8"
    return _known(f"cp{name}" if name.isdigit() else re.sub(r"\s+", "-", name))


def _known(name: str) -> str | None:
    """Python's name of an encoding in which ASCII stands as it is; so not UTF-16 or EBCDIC."""
    try:
        found = codecs.lookup(name)
        decoded = codecs.decode(b"A z", found.name)
    except (LookupError, ValueError, TypeError, AssertionError):
        return None
    if decoded != "A z" or found.name in _NO_CHARSETS:
        return None
    return found.name.removesuffix("-sig")
