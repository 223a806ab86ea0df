"""What due sources are run as: each for itself, or the members of a collection together."""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from geo_etl.errors import GeoEtlError
from geo_etl.ingest.kinds import Kind, is_archive, is_raster_name, kind_of
from geo_etl.jobs.entries import Work
from geo_etl.resources.archives import kind_in_archive
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.collections import Folders
from geo_etl.resources.sources import extension_in, layers_of
from geo_etl.sensors.cursor import (
    INCOMPLETE,
    Cursor,
    Due,
    Listing,
    folder_around,
    may_be_raster,
)
from geo_etl.spec import CollectionRef, SourceRef, sidecar_names
from geo_etl.spec.resolve import FOLDER_DEFAULTS

PEEK_SECONDS = 2.0
"""How long a tick looks into archives at most, beyond those that it is about to run."""


@dataclass
class Request:
    """A run that may be asked for.

    Attributes:
        key: of its partition.
        due: the sources that are the reason, each with why it is due.
        members: keys of what a collection may hold now, when their names have changed.
    """

    work: Work
    key: str
    due: list[tuple[Blob, Due]] = field(default_factory=list)
    members: frozenset[str] | None = None

    @property
    def since(self) -> float:
        """When the last reason came up."""
        return max((due.since for _, due in self.due), default=0.0)

    @property
    def run_key(self) -> str | None:
        """Equal for the same reasons; None where members come and go, as they did before."""
        if self.members is not None:
            return None
        reasons = "\n".join(f"{blob.ref}\n{blob.etag}\n{due.etag}" for blob, due in self.due)
        text = f"{self.key}\n{reasons}" if self.work == "collection" else reasons
        return sha256(text.encode(errors="surrogatepass")).hexdigest()


class Units:
    """The sources of a listing, as they are run.

    Args:
        folders: paths of folders that were ingested as collections.
    """

    def __init__(
        self, storage: BlobStorage, container: str, listing: Listing, folders: Collection[str]
    ) -> None:
        self._storage, self._listing = storage, listing
        self.container, self.known = container, folders
        defaults = {path for path in listing.sidecars if path.rpartition("/")[2] == FOLDER_DEFAULTS}
        keys = {str(CollectionRef(container, folder)) for folder in folders}
        self._folders = Folders(storage, container, defaults, keys)
        self._peeked: dict[tuple[str, Kind], Kind] = {}
        self._until = time.monotonic() + PEEK_SECONDS

    def collection_of(self, path: str) -> CollectionRef | None:
        """The collection that a raster would be a member of."""
        return self._folders.collection_of(path)

    def likely(self, path: str) -> str:
        """What a source is probably run as: its path, or the key of a collection.

        Archives are looked into only as far as time allows.
        """
        ref = self.collection_of(path)
        if ref is None or not may_be_raster(path):
            return path
        if is_archive(path):
            if time.monotonic() > self._until and (path, "raster") not in self._peeked:
                return path
            if self._peek(path, "raster") != "raster":
                return path
        return str(ref)

    def run_as(self, path: str) -> tuple[Work, str]:
        """The work and the partition key of a source."""
        ref, source = self.collection_of(path), SourceRef(self.container, path)
        if ref is not None and is_raster_name(path):
            return "collection", str(ref)
        if self._kind(source, "raster" if ref is not None else "vector") == "vector":
            return "vector", str(source)
        return ("raster", str(source)) if ref is None else ("collection", str(ref))

    def _kind(self, source: SourceRef, unreadable: Kind) -> Kind:
        """What a source is. Where it says nothing clear, the job for its name says why."""
        extension = None
        if any(name in self._listing.sidecars for name in sidecar_names(source)):
            with suppress(GeoEtlError):
                extension = extension_in(layers_of(self._storage, source))
        if is_archive(source.path, extension):
            return self._peek(source.path, unreadable)
        return kind_of(source.path, extension) or kind_of(source.path) or "vector"

    def _peek(self, path: str, unreadable: Kind) -> Kind:
        if (path, unreadable) not in self._peeked:
            try:
                kind = kind_in_archive(self._storage, SourceRef(self.container, path), unreadable)
            except GeoEtlError:
                kind = unreadable
            self._peeked[path, unreadable] = kind
        return self._peeked[path, unreadable]


def take(
    cursor: Cursor,
    listing: Listing,
    limit: int,
    units: Units,
    is_running: Callable[[str], bool],
    now: datetime,
) -> list[Request]:
    """Take up to `limit` runs out of the queue, but for what is still being written.

    Sources that are gone from bronze meanwhile are dropped.
    """
    requests: dict[str, Request] = {}
    paths: dict[str, list[str]] = {}
    for path in list(cursor.pending):
        if path not in listing.sources:
            del cursor.pending[path]
        elif path not in listing.unsettled:
            if len(requests) >= limit and units.likely(path) not in requests:
                continue
            work, key = units.run_as(path)
            if key not in requests and len(requests) >= limit:
                continue
            request = requests.setdefault(key, Request(work, key))
            request.due.append((listing.sources[path], cursor.pending[path]))
            paths.setdefault(key, []).append(path)
    growing = _growing(listing, units)
    taken = []
    for key, request in requests.items():
        if request.work == "collection":
            began = min(due.since for _, due in request.due)
            is_young = began > (now - INCOMPLETE).timestamp()
            if (key in growing and is_young) or is_running(key):
                continue
        taken.append(request)
        for path in paths[key]:
            del cursor.pending[path]
    return taken


def _growing(listing: Listing, units: Units) -> set[str]:
    """Keys of collections that are still being written to."""
    refs = (units.collection_of(path) for path in listing.unsettled if may_be_raster(path))
    return {str(ref) for ref in refs if ref is not None}


def renamed(
    cursor: Cursor, listing: Listing, units: Units, is_running: Callable[[str], bool]
) -> list[Request]:
    """Collections whose members have other names than when they were last looked at.

    Those that are still being written to, or are being run, are left for a later tick.
    """
    below: dict[str, list[str]] = {folder: [] for folder in units.known}
    for path in sorted(listing.sources):
        folder = folder_around(path, units.known) if may_be_raster(path) else None
        if folder is not None:
            below[folder].append(path)
    growing = _growing(listing, units)
    before, cursor.members = cursor.members, {}
    found = []
    for folder, paths in sorted(below.items()):
        ref = CollectionRef(units.container, folder)
        key = str(ref)
        if units.collection_of(f"{ref.prefix}member") != ref:
            continue  # its _ingest.yaml says that it is none any more
        names = sha256("\n".join(paths).encode(errors="surrogatepass")).hexdigest()
        if before.get(key, names) != names:
            if key in growing or is_running(key):
                names = before[key]
            else:
                members = frozenset(str(listing.sources[path].ref) for path in paths)
                found.append(Request("collection", key, members=members))
        cursor.members[key] = names
    return found


def merged(requests: list[Request], others: list[Request]) -> list[Request]:
    """One request a partition key."""
    by_key = {request.key: request for request in requests}
    for other in others:
        by_key.setdefault(other.key, other).members = other.members
    return list(by_key.values())
