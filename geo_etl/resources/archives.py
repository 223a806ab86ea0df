"""A look into zip archives in bronze, by ranges: what they hold, not what is in it."""

import io
from typing import Any

from geo_etl.ingest.archived import kind_of_archive
from geo_etl.ingest.kinds import Kind
from geo_etl.ingest.zipped import member_names
from geo_etl.resources.blobs import BlobStorage
from geo_etl.spec import SourceRef


def kind_in_archive(storage: BlobStorage, source: SourceRef, unreadable: Kind = "vector") -> Kind:
    """What an archive holds.

    Args:
        unreadable: what one counts as whose list can't be read: the error is said there.

    Raises:
        SourceError: it holds vectors and rasters.
        StorageError: there is no such container or blob.
    """
    names = member_names(_Ranges(storage, source))
    return unreadable if names is None else kind_of_archive(str(source), names)


class _Ranges(io.RawIOBase):
    """A blob as a file whose bytes are fetched when they are asked for."""

    def __init__(self, storage: BlobStorage, ref: SourceRef) -> None:
        self._storage, self._ref = storage, ref
        self._size, self._position = storage.stat(ref).size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("position before the beginning")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        length = min(len(buffer), self._size - self._position)
        if length <= 0:
            return 0
        octets = self._storage.read(self._ref, self._position, length)
        buffer[: len(octets)] = octets
        self._position += len(octets)
        return len(octets)
