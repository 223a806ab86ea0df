"""Zip files, read without trusting them (PKWARE's APPNOTE, 6.3.10).

Nothing that an archive declares is believed: the list of its members is bounded before it is read,
names are never used as paths on this machine, entries must not share bytes, and what comes out is
counted.
"""

import io
import itertools
import shutil
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import check_size, damaged
from geo_etl.spec import RasterSpec, VectorSpec

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""How an archive begins, with members and without (4.3.7, 4.3.16)."""
MAX_DIRECTORY_BYTES = 16_000_000
"""Of the list of members, some 150,000 of them. Python holds it in memory, at 20 times its size."""
LOCAL_HEADER = 30
READ_BYTES = 1_000_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises for archives that it can't read."""


@dataclass(frozen=True)
class Member:
    """One file in an archive. `path` is its name with forward slashes, correctly decoded."""

    path: str
    entry: zipfile.ZipInfo

    @property
    def file_name(self) -> str:
        """Without its folders."""
        return self.path.rpartition("/")[2]

    @property
    def extension(self) -> str:
        """In lower case, without the dot."""
        return self.file_name.rpartition(".")[2].lower() if "." in self.file_name else ""


class Archive:
    """An opened archive. See `open_zip`.

    Attributes:
        members: its files, without what operating systems put there.
    """

    def __init__(self, name: str, zip_file: zipfile.ZipFile, members: Sequence[Member]) -> None:
        self.members = members
        self._name, self._zip = name, zip_file

    @contextmanager
    def read(self, member: Member, spec: VectorSpec | RasterSpec) -> Iterator["Counted"]:
        """What is in a member, inflated bit by bit.

        Raises:
            SourceError: it is encrypted, or compressed in an unusual way; also while it is read:
                damaged, or above `limits.max_file_size_gb`.
        """
        self._check(member)
        try:
            stream = self._zip.open(member.entry)
        except _FAULTS as error:
            raise _damaged_at(self._name, member, error) from None
        with stream:
            yield Counted(stream, self._name, member, spec)

    def extract(self, member: Member, target: Path, spec: VectorSpec | RasterSpec) -> None:
        """Write a member to a file.

        Raises:
            SourceError: as `read`; or there is no room for it.
        """
        size, room = member.entry.file_size, shutil.disk_usage(target.parent).free
        if size > room:
            raise SourceError(
                self._name,
                f"'{member.path}' unpacks to {size / 1e9:.1f} GB, and {room / 1e9:.1f} GB are free",
                "Make room in the folder for temporary files (TMPDIR), or deliver less.",
            )
        with self.read(member, spec) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, READ_BYTES)

    def _check(self, member: Member) -> None:
        if member.entry.flag_bits & 1:
            raise SourceError(
                self._name, "the archive is encrypted", "Deliver it without a password."
            )
        # zipfile inflates the others (bzip2, LZMA) without regard to how much is asked for.
        if member.entry.compress_type not in _METHODS:
            raise SourceError(
                self._name,
                f"'{member.path}' is compressed by method {member.entry.compress_type}",
                "Deliver it with the usual compression, deflate.",
            )


class Counted:
    """A member of an archive, as long as it is no larger than the spec allows."""

    def __init__(
        self, stream: IO[bytes], name: str, member: Member, spec: VectorSpec | RasterSpec
    ) -> None:
        self._stream, self._name, self._member, self._spec = stream, name, member, spec
        self._size = 0

    def read(self, size: int = READ_BYTES, /) -> bytes:
        """The next bytes.

        Raises:
            SourceError: the archive is damaged, or they are more than `limits.max_file_size_gb`
                by now, whatever size the archive declares.
        """
        try:
            octets = self._stream.read(size)
        except _FAULTS as error:
            raise _damaged_at(self._name, self._member, error) from None
        self._size += len(octets)
        check_size(self._name, self._size, self._spec)
        return octets


@contextmanager
def open_zip(path: Path, name: str) -> Iterator[Archive]:
    """Open an archive and look at all that it lists.

    Args:
        name: what to call it in messages.

    Raises:
        SourceError: no archive, damaged, or made to do harm.
    """
    with _Guarded(io.FileIO(path)) as file:
        try:
            archive = zipfile.ZipFile(file)
        except _FAULTS as error:
            raise damaged(name, f"it is not a readable zip archive ({error})") from None
        except _DirectoryTooLargeError as error:
            raise SourceError(
                name,
                f"its list of members has {error.size / 1e6:,.0f} MB",
                "Deliver the layer's files alone.",
            ) from None
        with archive:
            entries = archive.infolist()
            _check_apart(entries, name, archive.start_dir)
            yield Archive(name, archive, _members(entries, name))


def member_names(raw: io.RawIOBase) -> list[str] | None:
    """Paths of the files that an archive lists; None when it has no readable list.

    A look only: whether the archive may be read is found out when it is opened.

    Args:
        raw: the archive, at any position.
    """
    with _Guarded(raw) as file:
        try:
            entries = zipfile.ZipFile(file).infolist()
        except (*_FAULTS, _DirectoryTooLargeError):
            return None
    paths = (_path_of(entry) for entry in entries if not entry.is_dir())
    return [path for path in paths if _is_data(path)]


class _DirectoryTooLargeError(Exception):
    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class _Guarded(io.BufferedReader):
    """A file that gives nobody more than a list of members may have at one go.

    `zipfile` reads the whole list at once. Which of the records at the end of a file it takes the
    size from is its own affair: this way nothing has to be known about that.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """See `io.BufferedReader.read`."""
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise _DirectoryTooLargeError(size)
        return super().read(size)


def _damaged_at(name: str, member: Member, error: Exception) -> SourceError:
    return damaged(name, f"the archive is damaged at '{member.path}' ({error})")


def _members(entries: Sequence[zipfile.ZipInfo], name: str) -> list[Member]:
    """Files in an archive, without what operating systems put there.

    Raises:
        SourceError: a link, two of one name, or a name that leads elsewhere.
    """
    members = [Member(_path_of(entry), entry) for entry in entries if not entry.is_dir()]
    members = [member for member in members if _is_data(member.path)]
    for member in members:
        path = member.path
        if ".." in path.split("/") or path.startswith("/") or path[1:2] == ":":
            raise SourceError(
                name, "a path in the archive leads outside it", "Deliver a clean archive."
            )
        if stat.S_ISLNK(member.entry.external_attr >> 16):
            raise SourceError(
                name, f"'{path}' in the archive is a link", "Deliver the file itself."
            )
    twice = [path for path, times in Counter(m.path for m in members).items() if times > 1]
    if twice:
        raise SourceError(
            name, f"the archive holds '{twice[0]}' twice", "Deliver an archive with one of them."
        )
    return members


def _check_apart(entries: Sequence[zipfile.ZipInfo], name: str, directory: int) -> None:
    """Entries that share their bytes are how a small archive holds petabytes.

    Args:
        directory: where the list of members begins.
    """
    places = sorted(
        (entry.header_offset, entry.header_offset + LOCAL_HEADER + entry.compress_size)
        for entry in entries
    )
    overlap = any(end > start for (_, end), (start, _) in itertools.pairwise(places))
    if overlap or (places and (places[0][0] < 0 or places[-1][1] > directory)):
        raise damaged(name, "entries of the archive overlap, or lie outside it")


def _path_of(entry: zipfile.ZipInfo) -> str:
    """A member's name. Many programs write UTF-8 without its flag, and backslashes."""
    path = entry.orig_filename
    if not entry.flag_bits & 0x800:
        try:
            path = path.encode("cp437").decode()
        except UnicodeError:
            path = entry.orig_filename
    path = path.partition("\0")[0].replace("\\", "/")
    return path if path.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in path)


def _is_data(path: str) -> bool:
    *folders, file_name = path.split("/")
    return bool(file_name) and not file_name.startswith(".") and "__MACOSX" not in folders
