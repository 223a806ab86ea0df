"""A container's blobs, each with what it is and whether it is ingested.

What is the same as what is published is told as the arrival sensor tells it: by the content. The
content is read only where it may have changed: a blob that was last written before its ingest read
it is as it was then, and no request is made for it. Of the others as much is read as a budget
allows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from geo_etl.errors import GeoEtlError, SpecError, StorageError
from geo_etl.ingest.kinds import (
    RASTER_EXTENSIONS,
    extension_of,
    is_archive,
    is_hidden,
    is_source_name,
    kind_of,
)
from geo_etl.ingest.siblings import SHAPEFILE, lacks_part, sibling_roles, split_name
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.published_sources import Known, Published
from geo_etl.resources.sources import content_hash, read_layer, whole
from geo_etl.spec import (
    SourceRef,
    SpecLayer,
    job_id,
    resolve_raster_spec,
    resolve_vector_spec,
    sidecar_names,
)
from geo_etl.spec.resolve import FOLDER_DEFAULTS, SIDECAR_SUFFIX

BlobKind = Literal["vector", "raster", "archive", "sidecar", "other"]
State = Literal[
    "ingested",
    "stale",
    "new",
    "incomplete",
    "catalogued",
    "part",
    "settings",
    "orphaned",
    "not ingestible",
]
COMPARED_BYTES = 1_000_000_000
"""How much content is read at most, to tell what has changed."""
_SIBLINGS = SHAPEFILE.union(*map(sibling_roles, RASTER_EXTENSIONS))


@dataclass(frozen=True, slots=True)
class Entry:
    """One blob of a listing.

    Attributes:
        why: what the state is because of, in words; the source that a part belongs to.
    """

    blob: Blob
    kind: BlobKind
    state: State
    why: str = ""

    @property
    def is_source(self) -> bool:
        """Whether it stands for something that is, or can be, ingested."""
        return self.state in ("ingested", "stale", "new", "incomplete")


def groups(pages: Iterable[Sequence[Blob]]) -> Iterator[list[Blob]]:
    """Blobs that may belong together: of one folder, and of one name up to its first dot.

    Holds no more than that in memory: in a listing that is sorted by path, or folder by folder,
    nothing comes between them but what lies in folders of such a name.
    """
    waiting: dict[str, list[Blob]] = {}
    for page in pages:
        for blob in page:
            path = blob.ref.path
            folder, slash, name = path.rpartition("/")
            key = f"{folder}{slash}{name[:1]}{name[1:].partition('.')[0]}"
            for other in [other for other in waiting if not _may_follow(path, other)]:
                yield waiting.pop(other)
            waiting.setdefault(key, []).append(blob)
    yield from waiting.values()


def _may_follow(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")


class Lister:
    """Says of blobs what they are.

    Args:
        folders: the `_ingest.yaml` files of the container by path, as far as they matter.
        budget: bytes of content that may be read to compare; what is left of them is kept here.
    """

    def __init__(
        self,
        storage: BlobStorage,
        known: Known,
        folders: Mapping[str, Blob],
        budget: int = COMPARED_BYTES,
    ) -> None:
        self._storage, self._known, self._folders = storage, known, folders
        self.budget = budget
        self._layers: dict[str, SpecLayer] = {}
        self._seen: set[str] = set()

    def entries(self, pages: Iterable[Sequence[Blob]]) -> Iterator[Entry]:
        """An entry a blob, in the order of the listing but for groups."""
        for group in groups(pages):
            yield from self._of_group(group)

    def gone(self) -> list[tuple[str, str]]:
        """Path and publication of all that is published, and was not among the blobs."""
        sources = [(path, one.name) for path, found in self._known.sources.items() for one in found]
        items = [(path, one.item) for path, one in self._known.items.items()]
        return sorted(pair for pair in [*sources, *items] if pair[0] not in self._seen)

    def _of_group(self, group: Sequence[Blob]) -> Iterator[Entry]:
        rest = {blob.ref.path: blob for blob in group}
        self._seen.update(
            path for path in rest if path in self._known.sources or path in self._known.items
        )
        mains = [path for path in rest if is_source_name(path) or path in self._known.sources]
        roles = {path: split_name(path) for path in rest}
        owner: dict[str, str] = {}
        for main in mains:
            stem, own = roles[main]
            parts = {own: rest[main]}
            for path, (other, role) in roles.items():
                if path not in mains and other == stem and role in sibling_roles(own):
                    parts[role] = rest[path]
                    owner[path] = main
            settings = [rest[name] for name in sidecar_names(rest[main].ref) if name in rest]
            owner.update((blob.ref.path, main) for blob in settings)
            yield self._of_source(parts, settings)
        for path, blob in rest.items():
            if path not in mains:
                yield self._of_other(blob, roles[path][1], owner.get(path))

    def _of_other(self, blob: Blob, role: str, main: str | None) -> Entry:
        path = blob.ref.path
        if main is not None:
            return Entry(blob, "sidecar", "part", f"of {main}")
        if path in self._known.items:
            return self._of_item(blob, "other")
        if path.rpartition("/")[2] == FOLDER_DEFAULTS:
            return Entry(blob, "sidecar", "settings", "of its folder")
        if is_hidden(path):
            return Entry(
                blob, "other", "not ingestible", "its name begins with a dot or underscore"
            )
        if path.endswith(SIDECAR_SUFFIX):
            return Entry(blob, "sidecar", "orphaned", "settings of a source that is not there")
        if role in _SIBLINGS:
            return Entry(blob, "sidecar", "orphaned", "what it belongs to is not there")
        extension = extension_of(path)
        why = f"no format that geo_etl reads: '{extension}'" if extension else "no extension"
        return Entry(blob, "other", "not ingestible", why)

    def _of_item(self, blob: Blob, kind: BlobKind) -> Entry:
        one = self._known.items[blob.ref.path]
        if one.etag is not None and one.etag != blob.etag:
            return Entry(blob, kind, "stale", f"written since it became {one.item}")
        return Entry(blob, kind, "catalogued", f"of {one.item}")

    def _of_source(self, parts: Mapping[str, Blob], settings: Sequence[Blob]) -> Entry:
        main = next(iter(parts.values()))
        path = main.ref.path
        published = self._known.sources.get(path, [])
        kind: BlobKind = "archive" if is_archive(path) else kind_of(path) or "other"
        if not published and path in self._known.items:
            return self._of_item(main, kind)
        if published:
            problem = self._difference(main.ref, parts, settings, published)
            names = ", ".join(dict.fromkeys(one.name for one in published))
            state: State = "stale" if problem else "ingested"
            return Entry(main, published[0].kind, state, problem or f"as {names}")
        if lacks_part(path, parts):
            lacking = "its .dbf" if split_name(path)[1] == "shp" else "a world file"
            return Entry(main, kind, "incomplete", f"{lacking} is not there")
        return Entry(main, kind, "new")

    def _difference(
        self,
        source: SourceRef,
        parts: Mapping[str, Blob],
        settings: Sequence[Blob],
        published: Sequence[Published],
    ) -> str:
        """How a source differs from all that is published of it; empty when it does not."""
        written = whole(parts).modified
        same = [one for one in published if written <= one.read_at]
        if not same:
            size = sum(part.size for part in parts.values())
            if size > self.budget:
                return "written since it was read; too large to compare the content"
            self.budget -= size
            with suppress(StorageError):  # it is gone since it was listed
                found = content_hash(self._storage, parts)
                same = [one for one in published if one.fingerprint == found]
            if not same:
                return "its content has changed"
        above = [self._folders[name] for name in sidecar_names(source) if name in self._folders]
        read_at = max(one.read_at for one in same)
        newer = [blob for blob in [*above, *settings] if blob.modified > read_at]
        if not newer or any(self._is_job(source, [*above, *settings], one) for one in same):
            return ""
        return f"{newer[-1].ref.path} was written since, and says something else"

    def _is_job(self, source: SourceRef, settings: Sequence[Blob], one: Published) -> bool:
        """Whether a publication is what these settings would make of the same content."""
        if one.fingerprint is None:
            return False
        try:
            layers = [*map(self._layer, settings), SpecLayer("run configuration", {})]
            resolve = resolve_vector_spec if one.kind == "vector" else resolve_raster_spec
            spec = resolve(layers).canonical()
        except GeoEtlError:
            return False
        return job_id(str(source), spec, one.fingerprint) == one.job_id

    def _layer(self, sidecar: Blob) -> SpecLayer:
        """The settings in a file; those for a folder are read once."""
        path = sidecar.ref.path
        if path not in self._folders:
            return read_layer(self._storage, sidecar.ref)
        if path not in self._layers:
            self._layers[path] = read_layer(self._storage, sidecar.ref)
        return self._layers[path]


def folder_settings(
    storage: BlobStorage, container: str, pages: Iterable[Sequence[Blob]], prefix: str
) -> dict[str, Blob]:
    """The `_ingest.yaml` files that matter below a prefix: those that are there, and above it."""
    found = {
        blob.ref.path: blob
        for page in pages
        for blob in page
        if blob.ref.path.rpartition("/")[2] == FOLDER_DEFAULTS
    }
    folder = PurePosixPath(prefix.rpartition("/")[0])
    for above in [folder, *folder.parents] if str(folder) != "." else [folder]:
        ref = SourceRef(container, str(above / FOLDER_DEFAULTS))
        with suppress(StorageError, SpecError):
            found.setdefault(ref.path, storage.stat(ref))
    return found
