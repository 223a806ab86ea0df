"""Which folders of bronze are collections of rasters, and which sources are their members.

A folder whose `_ingest.yaml` says `collection: true` is one, with all that is below it; so is one
that somebody has ingested as such. The nearest folder that says so, or says `collection: false`,
decides.
"""

from collections.abc import Collection
from typing import Any

from geo_etl.errors import GeoEtlError, SourceError
from geo_etl.ingest.kinds import is_archive, is_hidden, is_raster_name
from geo_etl.resources.archives import kind_in_archive
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.sources import read_layer
from geo_etl.spec import (
    CollectionRef,
    RasterSpec,
    SourceRef,
    SpecLayer,
    resolve_raster_spec,
)
from geo_etl.spec.resolve import FOLDER_DEFAULTS, folder_defaults


class Folders:
    """The folders of a container, as far as collections go. Reads each `_ingest.yaml` once.

    Args:
        defaults: paths of the `_ingest.yaml` files that are there.
        known: keys of folders that were ingested as collections.
        top: a folder that is a collection whatever is said.
    """

    def __init__(
        self,
        storage: BlobStorage,
        container: str,
        defaults: Collection[str],
        known: Collection[str] = (),
        top: CollectionRef | None = None,
    ) -> None:
        self._storage, self._container = storage, container
        self._defaults, self._known, self._top = defaults, known, top
        self._found: dict[str, CollectionRef | None] = {}

    def collection_of(self, path: str) -> CollectionRef | None:
        """The collection that a raster would be a member of."""
        return self._of(path.rpartition("/")[0])

    def _of(self, folder: str) -> CollectionRef | None:
        if folder not in self._found:
            self._found[folder] = self._decide(folder)
        return self._found[folder]

    def _decide(self, folder: str) -> CollectionRef | None:
        ref = CollectionRef(self._container, folder)
        if ref == self._top:
            return ref
        said = self._said(ref)
        if said is None and str(ref) in self._known:
            said = True
        if said is not None:
            return ref if said else None
        return self._of(folder.rpartition("/")[0]) if folder else None

    def _said(self, ref: CollectionRef) -> bool | None:
        path = f"{ref.prefix}{FOLDER_DEFAULTS}"
        if path not in self._defaults:
            return None
        try:
            layer = read_layer(self._storage, SourceRef(self._container, path))
        except GeoEtlError:
            return None  # the run of each source below says what is wrong with it
        said = layer.values.get("collection")
        return said if isinstance(said, bool) else None


def resolve_collection(
    storage: BlobStorage, ref: CollectionRef, overrides: dict[str, Any] | None = None
) -> RasterSpec:
    """The spec of a collection: what its folder and those above it say, then overrides.

    Raises:
        SpecError: a file or an override is not a valid spec.
    """
    layers = [
        read_layer(storage, SourceRef(ref.container, path))
        for path in sorted(_defaults_above(storage, ref), key=len)
    ]
    return resolve_raster_spec([*layers, SpecLayer("run configuration", overrides or {})])


def collection_of(storage: BlobStorage, source: SourceRef) -> CollectionRef | None:
    """The collection that a raster is a member of by what the folders above it say."""
    folder = CollectionRef(source.container, source.path.rpartition("/")[0])
    defaults = _defaults_above(storage, folder)
    return Folders(storage, source.container, defaults).collection_of(source.path)


def _defaults_above(storage: BlobStorage, ref: CollectionRef) -> set[str]:
    """Paths of the `_ingest.yaml` files of a folder and of those above it."""
    names = set(folder_defaults(SourceRef(ref.container, f"{ref.prefix}_")))
    listed = (page for name in names for page in storage.pages(ref.container, name))
    return {blob.ref.path for page in listed for blob in page}.intersection(names)


def members_of(storage: BlobStorage, ref: CollectionRef) -> tuple[SourceRef, ...]:
    """The rasters of a collection, sorted: those below its folder, by their names.

    Those below a folder that decides for itself are none of them. A zip is one if it holds a
    raster, if it holds both kinds, or if it can't be read: the collection's run says so by name.

    Raises:
        StorageError: there is no such container.
    """
    below = [blob.ref.path for page in storage.pages(ref.container, ref.prefix) for blob in page]
    defaults = {path for path in below if path.rpartition("/")[2] == FOLDER_DEFAULTS}
    folders = Folders(storage, ref.container, defaults, top=ref)
    found = (
        SourceRef(ref.container, path)
        for path in sorted(below)
        if is_raster_name(path) or (is_archive(path) and not is_hidden(path))
    )
    return tuple(
        source
        for source in found
        if folders.collection_of(source.path) == ref and _is_raster(storage, source)
    )


def _is_raster(storage: BlobStorage, source: SourceRef) -> bool:
    if not is_archive(source.path):
        return True
    try:
        return kind_in_archive(storage, source, unreadable="raster") == "raster"
    except SourceError:
        return True
