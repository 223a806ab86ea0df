"""Sources in bronze: their kind, settings and content, and so the identity of their ingest.

A source is a blob, or, for a `.shp` or a raster, that blob with its siblings: one thing, with one
state and one content.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from geo_etl.catalog.lineage import SourceBlob
from geo_etl.errors import SourceError, StorageError
from geo_etl.ingest.kinds import Kind, is_archive, kind_of
from geo_etl.ingest.scratch import scratch_folder
from geo_etl.ingest.siblings import group, sibling_roles, split_name
from geo_etl.resources.archives import kind_in_archive
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.spec import (
    RasterSpec,
    SourceRef,
    SpecLayer,
    VectorSpec,
    job_id,
    resolve_raster_spec,
    resolve_vector_spec,
    sidecar_names,
)
from geo_etl.spec.resolve import SpecT

READ_BYTES = 8_000_000


@dataclass(frozen=True)
class Ingest(Generic[SpecT]):
    """One ingest that could be run: a source as it is now, with its spec.

    Attributes:
        blob: stands for the whole source (see `whole`).
        fingerprint: SHA-256 of the source's content, hexadecimal.
        job_id: the ingest's identity; equal job ids give equal results.
    """

    source: SourceRef
    blob: Blob
    spec: SpecT
    fingerprint: str
    job_id: str


def resolve_spec(
    storage: BlobStorage, source: SourceRef, overrides: dict[str, Any] | None = None
) -> VectorSpec:
    """The spec of a vector source: its folders' defaults, its own sidecar, then overrides.

    Raises:
        SpecError: a file or an override is not a valid spec.
    """
    return resolve_vector_spec(layers_of(storage, source, overrides))


def resolve_raster(
    storage: BlobStorage, source: SourceRef, overrides: dict[str, Any] | None = None
) -> RasterSpec:
    """The spec of a raster source: as `resolve_spec`."""
    return resolve_raster_spec(layers_of(storage, source, overrides))


def layers_of(
    storage: BlobStorage, source: SourceRef, overrides: dict[str, Any] | None = None
) -> list[SpecLayer]:
    """The settings that a source has, the weakest first.

    Raises:
        SpecError: a file is no plain YAML.
    """
    present = _present(storage, source)
    refs = [SourceRef(source.container, name) for name in sidecar_names(source) if name in present]
    layers = [read_layer(storage, ref) for ref in refs]
    return [*layers, SpecLayer("run configuration", overrides or {})]


def read_layer(storage: BlobStorage, sidecar: SourceRef) -> SpecLayer:
    """The settings of one sidecar file.

    Raises:
        SpecError: it is no plain YAML.
    """
    text = storage.read(sidecar).decode("utf-8", errors="replace")
    return SpecLayer.from_yaml(str(sidecar), text)


def kind_at(
    storage: BlobStorage, source: SourceRef, overrides: dict[str, Any] | None = None
) -> Kind | None:
    """Whether a source is vector or raster, as its settings, its name or its archive says.

    Raises:
        SpecError: a file is no plain YAML.
        SourceError: an archive that holds both.
        StorageError: there is no such container, or no such archive.
    """
    return _kind(storage, source, extension_in(layers_of(storage, source, overrides)))


def extension_in(layers: list[SpecLayer]) -> str | None:
    """What the settings of a source say that it is, if anything."""
    said = [layer.values["file_extension"] for layer in layers if "file_extension" in layer.values]
    return said[-1] if said and isinstance(said[-1], str) else None


def identify(
    storage: BlobStorage, source: SourceRef, overrides: dict[str, Any] | None = None
) -> Ingest[VectorSpec]:
    """What ingesting a vector source now would be.

    Raises:
        StorageError: there is no such container or blob.
        SpecError: its spec is not valid.
        SourceError: it is no vector source.
    """
    spec = resolve_spec(storage, source, overrides)
    _check_kind(storage, source, spec, "vector")
    return _identified(storage, source, spec)


def identify_raster(
    storage: BlobStorage, source: SourceRef, overrides: dict[str, Any] | None = None
) -> Ingest[RasterSpec]:
    """What ingesting a raster source now would be: as `identify`."""
    spec = resolve_raster(storage, source, overrides)
    _check_kind(storage, source, spec, "raster")
    return _identified(storage, source, spec)


def _identified(storage: BlobStorage, source: SourceRef, spec: SpecT) -> Ingest[SpecT]:
    parts = parts_of(storage, source)
    fingerprint = content_hash(storage, parts)
    identity = job_id(str(source), spec.canonical(), fingerprint)
    return Ingest(source, whole(parts), spec, fingerprint, identity)


_JOBS: dict[Kind, str] = {"vector": "ingest_vector", "raster": "process_raster"}


def _check_kind(
    storage: BlobStorage, source: SourceRef, spec: VectorSpec | RasterSpec, wanted: Kind
) -> None:
    storage.stat(source)
    kind = _kind(storage, source, spec.file_extension)
    if kind not in (wanted, None):  # what is none of both is refused where formats are known
        raise SourceError(
            str(source),
            f"it is a {kind} source, and this job is for {wanted}s",
            f"Use 'geo-etl ingest', which finds the job, or start {_JOBS[kind]}.",
        )


def _kind(storage: BlobStorage, source: SourceRef, extension: str | None) -> Kind | None:
    if is_archive(source.path, extension):
        return kind_in_archive(storage, source)
    return kind_of(source.path, extension)


def parts_of(storage: BlobStorage, source: SourceRef) -> dict[str, Blob]:
    """The blobs that a source is made of by role (see `siblings`), its own blob first.

    Raises:
        StorageError: there is no such container or blob.
        SourceError: two siblings have the same role.
    """
    blob = storage.stat(source)
    stem, own = split_name(source.path)
    if not sibling_roles(own):
        return {own: blob}
    found = (other for page in storage.pages(source.container, f"{stem}.") for other in page)
    parts = group(source.path, ((other.ref.path, other) for other in found))
    return {own: blob, **{role: part for role, part in parts.items() if role != own}}


def whole(parts: Mapping[str, Blob]) -> Blob:
    """One blob that stands for a source: its size, the time of its newest part, an ETag of all.

    Args:
        parts: by role, the source's own blob first.
    """
    main = next(iter(parts.values()))
    if len(parts) == 1:
        return main
    state = "\n".join(f"{role} {parts[role].etag}" for role in sorted(parts))
    return replace(
        main,
        size=sum(part.size for part in parts.values()),
        etag=hashlib.sha256(state.encode()).hexdigest(),
        modified=max(part.modified for part in parts.values()),
    )


def source_blobs(
    storage: BlobStorage, source: SourceRef, size: int, fingerprint: str
) -> list[SourceBlob]:
    """The blobs of an ingested source for its STAC item.

    The hash of a source of several parts is of none of them.

    Args:
        size, fingerprint: of the whole source as it was ingested.
    """
    title = "The source, as delivered"
    parts: dict[str, Blob] = {}
    with suppress(StorageError, SourceError):  # it may be gone since it was read
        parts = parts_of(storage, source)
    if len(parts) < 2:
        return [SourceBlob("source", storage.url(source), title, size, fingerprint)]
    return [
        SourceBlob(
            "source" if part.ref == source else f"source_{role.replace('.', '_')}",
            storage.url(part.ref),
            f"{title}: {role}",
            part.size,
            None,
        )
        for role, part in parts.items()
    ]


def state_of(storage: BlobStorage, source: SourceRef) -> str:
    """Changes whenever any part of a source is written, added or removed.

    Raises:
        StorageError, SourceError: as `parts_of`.
    """
    return whole(parts_of(storage, source)).etag


@contextmanager
def local_source(storage: BlobStorage, source: SourceRef) -> Iterator[Path]:
    """A source as a local file, for as long as the block lasts; not to be written to.

    What may have siblings has them beside it, and nothing else: in a folder of its own, with
    lower-case extensions, under a name that means nothing to GDAL.

    Raises:
        StorageError, SourceError: as `parts_of`.
    """
    own = split_name(source.name)[1]
    if kind_of(source.path) == "vector" and not sibling_roles(own):
        with storage.local(source) as path:
            yield path
        return
    with local_parts(storage, parts_of(storage, source)) as path:
        yield path


@contextmanager
def local_parts(storage: BlobStorage, parts: Mapping[str, Blob]) -> Iterator[Path]:
    """The parts of a source as local files: as `local_source`, of parts that are known.

    Args:
        parts: by role, the source's own blob first.
    """
    stem, own = split_name(next(iter(parts.values())).ref.name)
    # The name of an .hgt says where it is: this leaves it.
    stem = re.sub(r"[^\w. -]", "_", stem).lstrip("-") or "_"
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        for role, part in parts.items():
            path = stack.enter_context(storage.local(part.ref))
            (folder / (f"{stem}.{role}" if role else stem)).symlink_to(path.absolute())
        yield folder / (f"{stem}.{own}" if own else stem)


def content_hash(storage: BlobStorage, parts: Mapping[str, Blob]) -> str:
    """SHA-256 of a source's content, hexadecimal; of several parts with their roles and sizes."""
    digest = hashlib.sha256()
    for role in sorted(parts):
        blob = parts[role]
        if len(parts) > 1:
            digest.update(f"{role} {blob.size}\n".encode())
        for start in range(0, blob.size, READ_BYTES):
            digest.update(storage.read(blob.ref, start, READ_BYTES))
    return digest.hexdigest()


def _present(storage: BlobStorage, source: SourceRef) -> set[str]:
    """Which of the possible sidecars exist. Asked for one by one: a folder may hold thousands."""
    found: set[str] = set()
    for name in sidecar_names(source):
        with suppress(StorageError):
            found.add(storage.stat(SourceRef(source.container, name)).ref.path)
    return found
