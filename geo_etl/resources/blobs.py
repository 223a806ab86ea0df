"""What geo_etl asks of blob storage: one small interface, whatever is behind it."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

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


class BlobStorage(Protocol):
    """Containers of blobs. Every verb raises `StorageError` for a missing container or blob."""

    def containers(self) -> list[str]:
        """Names of all containers, sorted."""

    def create_container(self, name: str) -> None:
        """Make a container; one that exists is left as it is."""

    def pages(self, container: str, prefix: str = "", size: int = 5000) -> Iterator[list[Blob]]:
        """All blobs whose path begins with `prefix`, in pages of at most `size`."""

    def stat(self, ref: SourceRef) -> Blob:
        """One blob's size, ETag, time and metadata."""

    def read(self, ref: SourceRef, start: int = 0, length: int | None = None) -> bytes:
        """Bytes from `start`, at most `length`; all when None."""

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

    def delete(self, ref: SourceRef) -> None:
        """Remove a blob."""

    def discard_partial(self, container: str, before: datetime) -> int:
        """Remove what writers that died before a time left half-written; how many."""


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


def bad_name(ref: SourceRef) -> StorageError:
    """The error for a name that leads elsewhere."""
    return StorageError(
        f"blob '{ref}'", "its name is not a plain path", "Use a name without '..' and '//'."
    )
