"""Zip archives, read without trusting them (PKWARE's APPNOTE, 6.3.10).

Nothing that an archive declares is believed: names are never used as paths on this machine,
sizes are the most that is inflated, and entries must not share bytes.
"""

import itertools
import shutil
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Protocol

import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.layer import Layer, damaged, pick
from geo_etl.vector.formats.limits import check_size
from geo_etl.vector.formats.shapefile import ShapefileLayer, open_parts
from geo_etl.vector.formats.siblings import group, is_shapefile
from geo_etl.vector.formats.work import WorkFolder

MAX_DIRECTORY_BYTES = 32_000_000
"""Of the central directory: some 300,000 members. It is read into memory whole."""
END_RECORD = 22
MAX_COMMENT = 65_535
LOCAL_HEADER = 30
READ_BYTES = 1_000_000
LISTED = 8
"""How many members a message names."""
NEEDED = ("shp", "shx", "dbf", "prj", "cpg", "cst")

_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What `zipfile` raises for archives that it can't read."""


class Format(Protocol):
    """What opens files of some extensions (see `geo_etl.vector.source`)."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """Of its files, without dots."""

    @property
    def open(self) -> Callable[[Path, str, VectorSpec], Layer]:
        """Opens a file, given what to call it in messages."""


@dataclass(frozen=True)
class Member:
    """One file in an archive. `path` is its name with forward slashes, correctly decoded."""

    path: str
    entry: zipfile.ZipInfo

    @property
    def extension(self) -> str:
        """In lower case, without the dot."""
        return PurePosixPath(self.path).suffix.lower().lstrip(".")


@dataclass(frozen=True, kw_only=True)
class ArchivedLayer(Layer):
    """A layer of a file that was taken out of an archive; the file stays as long as the layer."""

    inner: Layer
    folder: WorkFolder = field(repr=False)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`."""
        return self.inner.batches()

    def check_complete(self, features: int) -> None:
        """See `Layer.check_complete`."""
        self.inner.check_complete(features)


def open_archive(path: Path, name: str, spec: VectorSpec, formats: Sequence[Format]) -> Layer:
    """Open the shapefile in an archive, or the one other vector file that it holds.

    Args:
        formats: that an archive may hold a file of.

    Raises:
        SourceError: no archive, unsafe, nothing to load in it, several and none named.
    """
    with closing(_opened(path, name)) as archive:
        members = _members(archive, name, path.stat().st_size)
        check_size(name, sum(member.entry.file_size for member in members), spec)
        shapefiles = _shapefiles(members)
        if shapefiles:
            layer, main = pick(name, shapefiles, spec.converter_params.layer_name)
            return _open_shapefile(archive, members, main, name, spec, layer)
        return _open_only(archive, members, name, spec, formats)


def _shapefiles(members: Sequence[Member]) -> dict[str, Member]:
    """Shapefiles by the name of their layer: the stem, or the whole path where stems clash."""
    found = [member for member in members if is_shapefile(member.path)]
    times = Counter(PurePosixPath(member.path).stem for member in found)
    return {
        stem if times[stem := PurePosixPath(member.path).stem] == 1 else member.path[:-4]: member
        for member in found
    }


def _open_shapefile(
    archive: zipfile.ZipFile,
    members: Sequence[Member],
    main: Member,
    name: str,
    spec: VectorSpec,
    layer: str,
) -> ShapefileLayer:
    parts = group(main.path, ((member.path, member) for member in members))
    folder, files = WorkFolder(), {}
    for role in NEEDED:
        if role in parts:
            files[role] = folder.path / f"archived.{role}"
            _extract(archive, parts[role], files[role], name)
    return open_parts(files, name, spec, layer=layer, format_="Zipped shapefile", folder=folder)


def _open_only(
    archive: zipfile.ZipFile,
    members: Sequence[Member],
    name: str,
    spec: VectorSpec,
    formats: Sequence[Format],
) -> Layer:
    by_extension = {extension: one for one in formats for extension in one.extensions}
    by_extension.pop("zip", None)
    readable = [member for member in members if member.extension in by_extension]
    listed = ", ".join(f"'{member.path}'" for member in (readable or members)[:LISTED])
    if len(readable) > 1:
        raise SourceError(
            name,
            f"the archive holds {len(readable)} vector files and no shapefile: {listed}",
            "Deliver them one by one.",
        )
    if not readable:
        nested = any(member.extension in ("zip", "7z", "rar", "gz", "tar") for member in members)
        raise SourceError(
            name,
            f"the archive holds no shapefile and no other vector file (it holds "
            f"{listed or 'nothing'})",
            "Deliver the archive in it itself."
            if nested
            else "Deliver .shp, .shx, .dbf and .prj together in one zip.",
        )
    (member,) = readable
    folder = WorkFolder()
    file = folder.path / f"archived.{member.extension}"
    _extract(archive, member, file, name)
    inner = by_extension[member.extension].open(file, name, spec)
    known = {one.name: getattr(inner, one.name) for one in fields(Layer)}
    return ArchivedLayer(**known, inner=inner, folder=folder)


def _opened(path: Path, name: str) -> zipfile.ZipFile:
    """The archive, unless what it lists is more than memory should hold."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_RECORD - MAX_COMMENT))
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if 0 <= end <= len(tail) - END_RECORD:
        (directory,) = struct.unpack("<I", tail[end + 12 : end + 16])
        zip64 = tail.rfind(b"PK\x06\x06", 0, end)
        if directory == 0xFFFFFFFF and 0 <= zip64 <= len(tail) - 56:
            (directory,) = struct.unpack("<Q", tail[zip64 + 40 : zip64 + 48])
        if directory > MAX_DIRECTORY_BYTES:
            raise SourceError(
                name,
                f"the archive lists too many files ({directory / 1e6:.0f} MB of names)",
                "Deliver the layer's files alone.",
            )
    try:
        return zipfile.ZipFile(path)
    except (*_FAULTS, OSError) as error:
        raise damaged(name, f"it is not a readable zip archive ({error})") from None


def _members(archive: zipfile.ZipFile, name: str, size: int) -> list[Member]:
    """Files in an archive, without what operating systems put there.

    Raises:
        SourceError: encrypted, two of one name, or made to do harm.
    """
    entries = archive.infolist()
    _check_apart(entries, name, size)
    members = [Member(_path_of(entry), entry) for entry in entries if not entry.is_dir()]
    members = [member for member in members if _is_data(member.path)]
    for member in members:
        parts = PurePosixPath(member.path).parts
        if ".." in parts or member.path.startswith("/") or member.path[1:2] == ":":
            raise SourceError(
                name, "a path in the archive leads outside it", "Deliver a clean archive."
            )
        if stat.S_ISLNK(member.entry.external_attr >> 16):
            raise SourceError(
                name, f"'{member.path}' in the archive is a link", "Deliver the file itself."
            )
    if any(member.entry.flag_bits & 1 for member in members):
        raise SourceError(name, "the archive is encrypted", "Deliver it without a password.")
    twice = [path for path, times in Counter(m.path for m in members).items() if times > 1]
    if twice:
        raise SourceError(
            name, f"the archive holds '{twice[0]}' twice", "Deliver an archive with one of them."
        )
    return members


def _check_apart(entries: Sequence[zipfile.ZipInfo], name: str, size: int) -> None:
    """Entries that share their bytes are how a small archive holds petabytes."""
    places = sorted(
        (entry.header_offset, entry.header_offset + LOCAL_HEADER + entry.compress_size)
        for entry in entries
    )
    overlaps = any(end > start for (_, end), (start, _) in itertools.pairwise(places))
    if overlaps or (places and places[-1][1] > size):
        raise damaged(name, "entries of the archive overlap, or lie outside it")


def _path_of(entry: zipfile.ZipInfo) -> str:
    """A member's name. Many programs write UTF-8 without its flag, and backslashes."""
    path = entry.orig_filename
    if not entry.flag_bits & 0x800:
        try:
            path = path.encode("cp437").decode()
        except UnicodeError:
            path = entry.orig_filename
    return path.split("\0")[0].replace("\\", "/")


def _is_data(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and "__MACOSX" not in parts and not parts[-1].startswith(".")


def _extract(archive: zipfile.ZipFile, member: Member, target: Path, name: str) -> None:
    """Write a member to a file.

    `zipfile` inflates no more than the declared size, which the limit was checked with, and then
    finds that the checksum is another.
    """
    try:
        with archive.open(member.entry) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, READ_BYTES)
    except _FAULTS as error:
        raise damaged(name, f"the archive is damaged at '{member.path}' ({error})") from None
