"""KMZ: a zip archive with a KML document and what it shows (OGC 07-147r2, annex C)."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.kml import open_document
from geo_etl.vector.formats.kml_document import ByteStream
from geo_etl.vector.formats.layer import Layer, damaged, text_is_not
from geo_etl.vector.formats.limits import check_size

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""How an archive begins, with members and without (PKWARE APPNOTE 4.3.7, 4.3.16)."""
MAX_DIRECTORY_BYTES = 50_000_000
"""Of the list of members, some 500,000 of them: Python holds it in memory."""


def open_kmz(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Open the main document of a KMZ archive.

    Raises:
        SourceError: no KMZ, damaged, encrypted, too large when unpacked; see also `open_kml`.
    """
    with path.open("rb") as file:
        if not file.read(4).startswith(SIGNATURES):
            raise text_is_not(name, "KMZ")
    _check_directory(path, name)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise damaged(name, f"it is not a readable zip archive ({error})") from None
    documents = [entry for entry in entries if _is_document(entry.filename)]
    main = _main(documents, entries, name)
    check_size(name, main.file_size, spec)
    others = [f"'{entry.filename}'" for entry in documents if entry is not main]
    remarks = []
    if others:
        listed = ", ".join(others[:5]) + (" and more" if len(others) > 5 else "")
        remarks.append(
            f"Only '{main.filename}' of the archive was read, not {len(others)} other documents: "
            f"{listed}."
        )
    opener = partial(_unpacked, path, name, main.filename, spec)
    return open_document(opener, name, spec, "KMZ", path.stat().st_size, remarks)


def _is_document(member: str) -> bool:
    parts = PurePosixPath(member).parts
    hidden = "__MACOSX" in parts or PurePosixPath(member).name.startswith(".")
    return member.lower().endswith(".kml") and not hidden


def _main(
    documents: list[zipfile.ZipInfo], entries: list[zipfile.ZipInfo], name: str
) -> zipfile.ZipInfo:
    """The document that the archive is about: doc.kml, else the first, at the root if possible."""
    for entry in entries:
        member = entry.filename.replace("\\", "/")
        if member.startswith("/") or ".." in PurePosixPath(member).parts:
            raise SourceError(
                name, "a path in the archive leads outside it", "Deliver a clean archive."
            )
    if not documents:
        listed = ", ".join(entry.filename for entry in entries[:8]) or "nothing"
        raise SourceError(
            name,
            f"the archive holds no .kml (it holds {listed})",
            "Deliver a KMZ with its document, doc.kml.",
        )

    def rank(entry: zipfile.ZipInfo) -> tuple[bool, bool]:
        path = PurePosixPath(entry.filename)
        return path.name.lower() != "doc.kml", len(path.parts) > 1

    main = min(documents, key=lambda entry: (rank(entry)[1], rank(entry)[0]))
    if main.flag_bits & 1:
        raise SourceError(name, "the archive is encrypted", "Deliver it without a password.")
    # The others (bzip2, LZMA) unpack without regard to how much is asked for.
    if main.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(
            name,
            f"'{main.filename}' is compressed in a way that KMZ does not have",
            "Deliver it with the usual compression, deflate.",
        )
    return main


def _check_directory(path: Path, name: str) -> None:
    """Refuse a list of members that would fill the memory when Python reads it.

    Its size stands in the end record, 12 bytes in, or in the 64-bit one before it, 40 bytes in
    (APPNOTE 4.3.14 to 4.3.16).
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 66_000))
        tail = file.read()
    end = len(tail) - 22
    if not (tail[-22:].startswith(SIGNATURES[1]) and tail.endswith(b"\0\0")):
        end = tail.rfind(SIGNATURES[1])  # a comment follows: found as Python finds it
    size = int.from_bytes(tail[end + 12 : end + 16], "little")
    if end >= 76 and tail[end - 20 :].startswith(b"PK\x06\x07"):
        size = int.from_bytes(tail[end - 36 : end - 28], "little")
    if end >= 0 and size > MAX_DIRECTORY_BYTES:
        raise damaged(name, f"its list of members is above {MAX_DIRECTORY_BYTES:,} bytes")


class Counted:
    """A member of an archive, as long as it is no larger than the spec allows.

    What the archive says of its size is not relied upon.
    """

    def __init__(self, stream: IO[bytes], name: str, spec: VectorSpec) -> None:
        self._stream, self._name, self._spec, self._size = stream, name, spec, 0

    def read(self, size: int, /) -> bytes:
        """The next bytes.

        Raises:
            SourceError: they are more than `limits.max_file_size_gb` by now.
        """
        octets = self._stream.read(size)
        self._size += len(octets)
        check_size(self._name, self._size, self._spec)
        return octets


@contextmanager
def _unpacked(path: Path, name: str, member: str, spec: VectorSpec) -> Iterator[ByteStream]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield Counted(stream, name, spec)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise damaged(name, f"the archive is damaged ({error})") from None
