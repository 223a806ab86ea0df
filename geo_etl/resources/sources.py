"""Sources in bronze: their settings, their content, and so the identity of their ingest."""

import hashlib
from dataclasses import dataclass

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
        fingerprint: SHA-256 of the blob's content, hexadecimal.
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
    blob = storage.stat(source)
    spec = resolve_spec(storage, source, overrides)
    fingerprint = content_hash(storage, blob)
    return Ingest(
        source, blob, spec, fingerprint, job_id(str(source), spec.canonical(), fingerprint)
    )


def content_hash(storage: BlobStorage, blob: Blob) -> str:
    """SHA-256 of a blob's content, hexadecimal."""
    digest = hashlib.sha256()
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
