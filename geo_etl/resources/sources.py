"""Sources in bronze: their settings, their content, and so the identity of their ingest.

A source is a blob, or, when it is a `.shp`, that blob with its siblings: one thing, with one
state and one content.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from geo_etl.ingest.siblings import MAIN, group, is_shapefile
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.spec import (
    SourceRef,
    SpecLayer,
    VectorSpec,
    job_id,
    resolve_vector_spec,
    sidecar_names,
)

READ_BYTES = 8_000_000


@dataclass(frozen=True)
class Ingest:
    """One ingest that could be run: a source as it is now, with its spec.

    Attributes:
        blob: stands for the whole source (see `whole`).
        fingerprint: SHA-256 of the source's content, hexadecimal.
        job_id: the ingest's identity; equal job ids give equal results.
    """

    source: SourceRef
    blob: Blob
    spec: VectorSpec
    fingerprint: str
    job_id: str


def resolve_spec(
    storage: BlobStorage, source: SourceRef, overrides: dict[str, object] | None = None
) -> VectorSpec:
    """The spec of a source: its folders' defaults, its own sidecar, then overrides.

    Raises:
        SpecError: a file or an override is not a valid spec.
    """
    layers = []
    present = _present(storage, source)
    for name in sidecar_names(source):
        if name in present:
            ref = SourceRef(source.container, name)
            text = storage.read(ref).decode("utf-8", errors="replace")
            layers.append(SpecLayer.from_yaml(str(ref), text))
    layers.append(SpecLayer("run configuration", overrides or {}))
    return resolve_vector_spec(layers)


def identify(
    storage: BlobStorage, source: SourceRef, overrides: dict[str, object] | None = None
) -> Ingest:
    """What ingesting a source now would be.

    Raises:
        StorageError: there is no such container or blob.
        SpecError: its spec is not valid.
    """
    parts = parts_of(storage, source)
    spec = resolve_spec(storage, source, overrides)
    fingerprint = content_hash(storage, parts)
    return Ingest(
        source,
        whole(parts),
        spec,
        fingerprint,
        job_id(str(source), spec.canonical(), fingerprint),
    )


def parts_of(storage: BlobStorage, source: SourceRef) -> dict[str, Blob]:
    """The blobs that a source is made of by role (see `siblings`), its own blob first.

    Raises:
        StorageError: there is no such container or blob.
        SourceError: two siblings have the same role.
    """
    blob = storage.stat(source)
    if not is_shapefile(source.path):
        return {MAIN: blob}
    stem = source.path[:-4]
    found = (other for page in storage.pages(source.container, f"{stem}.") for other in page)
    return {**group(source.path, ((other.ref.path, other) for other in found)), MAIN: blob}


def whole(parts: Mapping[str, Blob]) -> Blob:
    """One blob that stands for a source: its size, the time of its newest part, an ETag of all.

    Args:
        parts: by role; `MAIN` is the source's own blob.
    """
    main = parts[MAIN]
    if len(parts) == 1:
        return main
    state = "\n".join(f"{role} {parts[role].etag}" for role in sorted(parts))
    return replace(
        main,
        size=sum(part.size for part in parts.values()),
        etag=hashlib.sha256(state.encode()).hexdigest(),
        modified=max(part.modified for part in parts.values()),
    )


def state_of(storage: BlobStorage, source: SourceRef) -> str:
    """Changes whenever any part of a source is written, added or removed.

    Raises:
        StorageError, SourceError: as `parts_of`.
    """
    return whole(parts_of(storage, source)).etag


@contextmanager
def local_source(storage: BlobStorage, source: SourceRef) -> Iterator[Path]:
    """A source as a local file, for as long as the block lasts; not to be written to.

    A `.shp` has its siblings beside it, in a folder of their own, with lower-case extensions.

    Raises:
        StorageError, SourceError: as `parts_of`.
    """
    if not is_shapefile(source.path):
        with storage.local(source) as path:
            yield path
        return
    stem = re.sub(r"[^\w. -]", "_", source.name[:-4]).lstrip("-") or "_"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="geo_etl-")))
        for role, part in parts_of(storage, source).items():
            path = stack.enter_context(storage.local(part.ref))
            (folder / f"{stem}.{role}").symlink_to(path.absolute())
        yield folder / f"{stem}.{MAIN}"


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
    """Which of the possible sidecars exist: one short listing a folder above the source."""
    found: set[str] = set()
    for name in sidecar_names(source):
        for page in storage.pages(source.container, name):
            found.update(blob.ref.path for blob in page if blob.ref.path == name)
    return found
