"""What is in a container, what of it is new, and where the sensor is."""

import itertools
import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import NamedTuple

from geo_etl.ingest.kinds import is_archive, is_raster_name, is_source_name
from geo_etl.ingest.siblings import lacks_part, sibling_roles, split_name
from geo_etl.resources.blobs import Blob
from geo_etl.resources.sources import whole
from geo_etl.spec.resolve import FOLDER_DEFAULTS, SIDECAR_SUFFIX

OVERLAP = timedelta(seconds=60)
"""Blobs may become visible a little after the time they carry."""
INCOMPLETE = timedelta(minutes=10)
"""How long a `.shp` waits for its `.dbf`, and a picture for its world file. Then a run is started,
whose error says what lacks. A collection waits as long for members that are being written."""
_AT_ONCE = timedelta()


class Due(NamedTuple):
    """Why a source is due: the ETag and time of the blob that makes it so.

    `spec` tells that this is a sidecar file, not the source itself.
    """

    etag: str
    since: float
    spec: bool


@dataclass
class Cursor:
    """Where the sensor is.

    Attributes:
        watermark: time of the last blob that was dealt with (seconds since the epoch).
        seen: ETags of blobs that were dealt with and lie within the window of overlap.
        pending: sources by path that wait to be asked for.
        waiting: sources that were still being written; others may have moved the watermark past
            them before their parts are complete.
        members: what tells which members each collection had, by its key.
    """

    watermark: float = 0.0
    seen: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Due] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    members: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, text: str | None) -> "Cursor":
        """Read a stored cursor; none is the beginning."""
        if not text:
            return cls()
        state = json.loads(text)
        pending = {path: Due(*due) for path, due in state["pending"].items()}
        return cls(
            state["watermark"],
            state["seen"],
            pending,
            state.get("waiting", []),
            state.get("members", {}),
        )

    def dump(self) -> str:
        """As text, to be stored."""
        return json.dumps(vars(self), separators=(",", ":"))


@dataclass(frozen=True)
class Listing:
    """What a container holds.

    Attributes:
        sources: by path; of a source with several parts, the blob that stands for it.
        parts: what sources are made of, by path and role, the source's own blob first.
        sidecars: files with settings, by path.
        fresh: what was written since the cursor, the oldest first.
        waiting: sources that are due, but are still being written.
        unsettled: all sources that are still being written.
    """

    sources: dict[str, Blob]
    parts: dict[str, Mapping[str, Blob]]
    sidecars: dict[str, Blob]
    fresh: list[Blob]
    waiting: list[str]
    unsettled: set[str]


def list_fresh(
    pages: Iterable[list[Blob]],
    cursor: Cursor,
    settled_before: datetime,
    known: Collection[str] | None = None,
    collections: Collection[str] = (),
) -> Listing:
    """Go through a container once.

    Args:
        known: keys of sources that were dealt with at some time. Any other is fresh, however old:
            a folder that is moved in keeps the times of its files.
        collections: folders that are known as collections; whether their members changed shows
            in their names.
    """
    since = datetime.fromtimestamp(cursor.watermark, UTC) - OVERLAP if cursor.watermark else None
    parts, sidecars = _sort_out(pages)
    sources = {path: whole(found) for path, found in parts.items()}
    waited, fresh = set(cursor.waiting), []
    unsettled = {
        path
        for path, blob in sources.items()
        if blob.modified
        > settled_before - (INCOMPLETE if lacks_part(path, parts[path]) else _AT_ONCE)
    }
    waiting = []
    for path, blob in [*sources.items(), *sidecars.items()]:
        due = since is None or blob.modified >= since or path in waited
        if (
            known is not None
            and path in sources
            and str(blob.ref) not in known
            and not (may_be_raster(path) and folder_around(path, collections) is not None)
        ):
            due = path not in cursor.pending
        if not due or cursor.seen.get(path) == blob.etag:
            continue
        if path in unsettled:
            waiting.append(path)
        elif blob.modified <= settled_before:
            fresh.append(blob)
    fresh.sort(key=lambda blob: (blob.modified, blob.ref.path))
    return Listing(sources, parts, sidecars, fresh, waiting, unsettled)


def may_be_raster(path: str) -> bool:
    """Whether a name is that of a raster, or of an archive that may hold one."""
    return is_archive(path) or is_raster_name(path)


def folder_around(path: str, folders: Collection[str]) -> str | None:
    """The nearest of some folders that a path lies below; the container itself is ''."""
    while path:
        path = path.rpartition("/")[0]
        if path in folders:
            return path
    return None


def _sort_out(
    pages: Iterable[list[Blob]],
) -> tuple[dict[str, Mapping[str, Blob]], dict[str, Blob]]:
    """Parts of sources by path and role, and sidecars by path."""
    mains: dict[str, Blob] = {}
    sidecars: dict[str, Blob] = {}
    beside: dict[str, dict[str, Blob]] = {}
    for page in pages:
        for blob in page:
            path = blob.ref.path
            if is_source_name(path):
                mains[path] = blob
            elif _is_sidecar(path):
                sidecars[path] = blob
            else:
                stem, role = split_name(path)
                beside.setdefault(stem, {})[role] = blob
    parts: dict[str, Mapping[str, Blob]] = {}
    for path, main in mains.items():
        stem, own = split_name(path)
        # Two files for one thing: the run's error will tell. Here either will do.
        others = beside.get(stem, {})
        roles = sibling_roles(own) if others else ()
        parts[path] = {own: main, **{role: others[role] for role in others if role in roles}}
    return parts, sidecars


def advance(
    cursor: Cursor,
    listing: Listing,
    limit: int,
    unit_of: Callable[[str], str] = str,
) -> Cursor:
    """Take in fresh blobs, oldest first, until at least `limit` units are pending.

    Args:
        unit_of: what a source is run as: itself, or the collection that it is a member of.
    """
    pending, seen, watermark = dict(cursor.pending), dict(cursor.seen), cursor.watermark
    named = _Names(listing.sources)
    left, waited = list(listing.waiting), set(cursor.waiting)
    ready = {unit_of(path) for path in pending if path not in listing.unsettled}
    for position, blob in enumerate(listing.fresh):
        if len(ready) >= limit:
            left += [b.ref.path for b in listing.fresh[position:] if b.ref.path in waited]
            break
        path, since = blob.ref.path, blob.modified.timestamp()
        for source in named.meant_by(path):
            spec = source != path or (source in pending and pending[source].spec)
            pending[source] = Due(blob.etag, since, spec)
            if source not in listing.unsettled:
                ready.add(unit_of(source))
        seen[path] = blob.etag
        watermark = max(watermark, since)
    edge = watermark - OVERLAP.total_seconds()
    present = {**listing.sources, **listing.sidecars}
    kept = {
        path: etag
        for path, etag in seen.items()
        if path in present and present[path].modified.timestamp() >= edge
    }
    return Cursor(watermark, kept, pending, left, dict(cursor.members))


def _is_sidecar(path: str) -> bool:
    return path.rpartition("/")[2] == FOLDER_DEFAULTS or path.endswith(SIDECAR_SUFFIX)


class _Names:
    """The sources of a container by what a sidecar calls them."""

    def __init__(self, sources: Iterable[str]) -> None:
        self._sorted = sorted(sources)
        self._by_stem: dict[str, list[str]] = {}
        for path in self._sorted:
            self._by_stem.setdefault(path, []).append(path)
            self._by_stem.setdefault(str(PurePosixPath(path).with_suffix("")), []).append(path)

    def meant_by(self, path: str) -> list[str]:
        """The sources that a fresh blob makes due: itself, or those that a sidecar is for."""
        folder, _, name = path.rpartition("/")
        if name == FOLDER_DEFAULTS:
            prefix = f"{folder}/" if folder else ""
            first = bisect_left(self._sorted, prefix)
            below = itertools.takewhile(
                lambda source: source.startswith(prefix), self._sorted[first:]
            )
            return list(below)
        if name.endswith(SIDECAR_SUFFIX):
            return self._by_stem.get(path.removesuffix(SIDECAR_SUFFIX), [])
        return [path]
