"""What geo_etl asks of blob storage: one small interface, whatever is behind it."""

import io
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO

from geo_etl.errors import StorageError
from geo_etl.spec import SourceRef


@dataclass(frozen=True)
class Blob:
    """One stored blob.

    Attributes:
        size: in bytes.
        etag: changes whenever the content is written.
        modified: when it was last written (timezone-aware).
        metadata: pairs given at writing; filled by `stat`, empty in listings.
    """

    ref: SourceRef
    size: int
    etag: str
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


class OpenBlob(Protocol):
    """One version of a blob: what is read is of this version, or nothing is."""

    @property
    def blob(self) -> Blob:
        """Size, ETag and time of the version; its metadata may be missing."""

    def read(self, start: int, length: int) -> bytes:
        """Bytes from `start`, at most `length`.

        Raises:
            StorageError: the blob was replaced or removed meanwhile.
        """

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class Level:
    """Some of what lies in a folder itself.

    Attributes:
        folders: paths of the folders in it, with a slash at their ends.
    """

    folders: list[str]
    blobs: list[Blob]


class BlobStorage(Protocol):
    """Containers of blobs. Every verb raises `StorageError` for a missing container or blob."""

    def containers(self) -> list[str]:
        """Names of all containers, sorted."""

    def create_container(self, name: str) -> None:
        """Make a container; one that exists is left as it is."""

    def pages(self, container: str, prefix: str = "", size: int = 5000) -> Iterator[list[Blob]]:
        """All blobs whose path begins with `prefix`, in pages of at most `size`."""

    def level(self, container: str, folder: str = "", size: int = 5000) -> Iterator[Level]:
        """What lies in a folder, without what lies in its folders.

        Args:
            folder: with a slash at its end; empty for the container itself. One that is not
                there has nothing in it.
            size: entries at most in each part.
        """

    def stat(self, ref: SourceRef) -> Blob:
        """One blob's size, ETag, time and metadata."""

    def read(self, ref: SourceRef, start: int = 0, length: int | None = None) -> bytes:
        """Bytes from `start`, at most `length`; all when None."""

    def open(self, ref: SourceRef) -> OpenBlob:
        """A blob to read in pieces, of which none is of a later version."""

    def write(
        self, ref: SourceRef, metadata: Mapping[str, str] | None = None
    ) -> AbstractContextManager[BinaryIO]:
        """A file to write the blob's content to.

        The blob appears whole when the block ends, and not at all when it raises. A blob of
        the same name is replaced.
        """

    def local(self, ref: SourceRef) -> AbstractContextManager[Path]:
        """The blob as a local file, for as long as the block lasts; not to be written to."""

    def url(self, ref: SourceRef) -> str:
        """Address of a blob for other programs: `file:///…` or `https://…`."""

    def root_url(self) -> str:
        """What the addresses of all blobs begin with: `{root}/CONTAINER/PATH`."""

    def gdal_root(self) -> str:
        """What GDAL's names of all blobs begin with: `{root}/CONTAINER/PATH`, not encoded."""

    def delete(self, ref: SourceRef) -> None:
        """Remove a blob."""

    def discard_partial(self, container: str, before: datetime) -> int:
        """Remove what writers that died before a time left half-written; how many."""


@contextmanager
def text_blob(storage: BlobStorage, ref: SourceRef) -> Iterator[TextIO]:
    """A blob to write text to: UTF-8, line ends as they are written."""
    with storage.write(ref) as file:
        # Names of local files may hold what UTF-8 has no bytes for.
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
        try:
            yield text
        finally:
            text.detach()  # the storage closes it, and only then is the blob there


def delete_below(storage: BlobStorage, container: str, prefix: str) -> int:
    """Remove every blob whose path begins with `prefix`; how many there were."""
    count = 0
    for page in storage.pages(container, prefix):
        for blob in page:
            with suppress(StorageError):  # somebody else was faster
                storage.delete(blob.ref)
                count += 1
    return count


def missing_container(name: str, known: list[str] | None = None) -> StorageError:
    """The error for a container that is not there."""
    others = f"use one of: {', '.join(known)}" if known else "check the spelling"
    return StorageError(f"container '{name}'", "it does not exist", f"Create it, or {others}.")


def missing_blob(ref: SourceRef) -> StorageError:
    """The error for a blob that is not there."""
    return StorageError(
        f"blob '{ref}'",
        f"container '{ref.container}' holds no such blob",
        "Check the spelling; names are case-sensitive.",
    )


def replaced_blob(ref: SourceRef) -> StorageError:
    """The error for a blob that is another than when it was opened."""
    return StorageError(f"blob '{ref}'", "it was replaced while it was read", "Read it again.")


def bad_name(ref: SourceRef) -> StorageError:
    """The error for a name that leads elsewhere."""
    return StorageError(
        f"blob '{ref}'", "its name is not a plain path", "Use a name without '..' and '//'."
    )
