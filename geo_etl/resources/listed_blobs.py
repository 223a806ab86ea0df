"""Storage whose listing below a folder was taken once.

Many small questions about one folder (which siblings, which sidecars has each of 10,000 sources)
are answered from memory, where each would be a request. What is written meanwhile is not seen.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import BinaryIO

from geo_etl.resources.blobs import Blob, BlobStorage, Level, OpenBlob, missing_blob
from geo_etl.spec import SourceRef


class ListedBlobs:
    """Implements `BlobStorage` on another, with a listing of one folder in memory.

    Args:
        prefix: what paths below the folder begin with; empty for the whole container.
    """

    def __init__(self, storage: BlobStorage, container: str, prefix: str) -> None:
        self._storage, self._container, self._prefix = storage, container, prefix
        found = (blob for page in storage.pages(container, prefix) for blob in page)
        self._blobs = {blob.ref.path: blob for blob in found}
        self._paths = sorted(self._blobs)
        self._above: dict[tuple[str, str], list[Blob]] = {}
        self._texts: dict[SourceRef, bytes] = {}

    def _is_listed(self, container: str, prefix: str) -> bool:
        return container == self._container and prefix.startswith(self._prefix)

    def containers(self) -> list[str]:
        """See `BlobStorage`."""
        return self._storage.containers()

    def create_container(self, name: str) -> None:
        """See `BlobStorage`."""
        self._storage.create_container(name)

    def pages(self, container: str, prefix: str = "", size: int = 5000) -> Iterator[list[Blob]]:
        """See `BlobStorage`; in one page."""
        if not self._is_listed(container, prefix):
            key = (container, prefix)
            if key not in self._above:
                pages = self._storage.pages(container, prefix, size)
                self._above[key] = [blob for page in pages for blob in page]
            yield self._above[key]
            return
        below = islice(self._paths, bisect_left(self._paths, prefix), None)
        yield [self._blobs[path] for path in takewhile(lambda p: p.startswith(prefix), below)]

    def level(self, container: str, folder: str = "", size: int = 5000) -> Iterator[Level]:
        """See `BlobStorage`; as it is now."""
        return self._storage.level(container, folder, size)

    def stat(self, ref: SourceRef) -> Blob:
        """See `BlobStorage`; without metadata."""
        if not self._is_listed(ref.container, ref.path):
            return self._storage.stat(ref)
        if ref.path not in self._blobs:
            raise missing_blob(ref)
        return self._blobs[ref.path]

    def read(self, ref: SourceRef, start: int = 0, length: int | None = None) -> bytes:
        """See `BlobStorage`; what is read whole is kept."""
        if start or length is not None:
            return self._storage.read(ref, start, length)
        if ref not in self._texts:
            self._texts[ref] = self._storage.read(ref)
        return self._texts[ref]

    def open(self, ref: SourceRef) -> OpenBlob:
        """See `BlobStorage`."""
        return self._storage.open(ref)

    def write(
        self, ref: SourceRef, metadata: Mapping[str, str] | None = None
    ) -> AbstractContextManager[BinaryIO]:
        """See `BlobStorage`."""
        return self._storage.write(ref, metadata)

    def local(self, ref: SourceRef) -> AbstractContextManager[Path]:
        """See `BlobStorage`."""
        return self._storage.local(ref)

    def url(self, ref: SourceRef) -> str:
        """See `BlobStorage`."""
        return self._storage.url(ref)

    def root_url(self) -> str:
        """See `BlobStorage`."""
        return self._storage.root_url()

    def gdal_root(self) -> str:
        """See `BlobStorage`."""
        return self._storage.gdal_root()

    def delete(self, ref: SourceRef) -> None:
        """See `BlobStorage`."""
        self._storage.delete(ref)

    def discard_partial(self, container: str, before: datetime) -> int:
        """See `BlobStorage`."""
        return self._storage.discard_partial(container, before)
