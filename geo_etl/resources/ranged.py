"""Blobs that are read in parts: a header of a few kilobytes does not cost a download of gigabytes.

A stand-in of the blob's size lies in a folder; GDAL reads it through an opener, which fetches the
pages that are asked for into it, each once. GDAL itself has no access to the network.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from geo_etl.errors import SourceError
from geo_etl.ingest.scratch import scratch_folder
from geo_etl.raster.gdal import Opener
from geo_etl.resources.blobs import Blob, BlobStorage, OpenBlob, replaced_blob

PAGE_BYTES = 65_536
"""Of one request: the header of a COG mostly fits into one."""
MAX_FETCHED_BYTES = 512_000_000


class RangedBlob:
    """A blob behind a local stand-in.

    Attributes:
        fetched: bytes so far.
        fault: why a page could not be had. GDAL only sees the end of the file then.
    """

    def __init__(self, version: OpenBlob, path: Path) -> None:
        self.fetched = 0
        self.fault: Exception | None = None
        self._version, self.path = version, path
        self._pages: set[int] = set()
        with path.open("wb") as file:
            file.truncate(version.blob.size)

    def fetch(self, start: int, length: int) -> None:
        """Have bytes in the stand-in, in as few requests as there are gaps.

        Raises:
            SourceError: more of the blob is asked for than headers have.
        """
        end = min(start + length, self._version.blob.size)
        wanted = range(start // PAGE_BYTES, -(-end // PAGE_BYTES))
        for first, last in _runs([page for page in wanted if page not in self._pages]):
            at, size = first * PAGE_BYTES, (last - first + 1) * PAGE_BYTES
            if self.fetched + size > MAX_FETCHED_BYTES:
                raise SourceError(
                    str(self._version.blob.ref),
                    f"more than {MAX_FETCHED_BYTES / 1e6:,.0f} MB of it are needed to describe it",
                    "Write it anew with overviews, for instance as a COG.",
                )
            content = self._version.read(at, size)
            with self.path.open("r+b") as file:
                file.seek(at)
                file.write(content)
            self.fetched += len(content)
            self._pages.update(range(first, last + 1))

    def opener(self, path: str, mode: str = "rb") -> Any:
        """See `raster.gdal.Opener`: the blob, and files that lie beside where it is linked to."""
        if "r" not in mode or not Path(path).is_absolute() or not Path(path).is_file():
            raise FileNotFoundError(path)
        if Path(path).resolve() == self.path.resolve():
            return _Reader(self)
        return Path(path).open("rb")


class _Reader:
    """A binary file as GDAL reads one. What it raises would be printed and forgotten."""

    def __init__(self, blob: RangedBlob) -> None:
        self._blob = blob
        self._file: BinaryIO = blob.path.open("rb", buffering=0)

    def read(self, size: int = -1) -> bytes:
        """Bytes from here; none where they can't be had."""
        at = self._file.tell()
        length = size if size >= 0 else self._blob.path.stat().st_size - at
        if self._blob.fault is not None:
            return b""
        try:
            self._blob.fetch(at, length)
        except Exception as error:  # noqa: BLE001 - raised where GDAL is left
            self._blob.fault = error
            return b""
        return self._file.read(length)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._file.tell()

    def close(self) -> None:
        """See `io.IOBase.close`."""
        self._file.close()

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def ranged(storage: BlobStorage, blob: Blob, file_name: str) -> Iterator[tuple[Path, Opener]]:
    """A stand-in for a blob, and what GDAL is to read it through, for as long as the block lasts.

    Args:
        file_name: of the stand-in.

    Raises:
        StorageError: the blob is gone, or another than it was; or whatever kept a part of it from
            being read. It is raised instead of what GDAL made of that.
    """
    with scratch_folder() as folder, closing(storage.open(blob.ref)) as version:
        if version.blob.etag != blob.etag:
            raise replaced_blob(blob.ref)
        source = RangedBlob(version, folder / file_name)
        source.fetch(0, PAGE_BYTES)
        try:
            yield source.path, source.opener
        except Exception:
            if source.fault is not None:
                raise source.fault from None
            raise
        if source.fault is not None:
            raise source.fault


def _runs(pages: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of pages that follow each other."""
    start = 0
    for place in range(1, len(pages) + 1):
        if place == len(pages) or pages[place] != pages[place - 1] + 1:
            yield pages[start], pages[place - 1]
            start = place
