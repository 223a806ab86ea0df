"""Names that must come out the same every time: source, collection, job, task."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from geo_etl.errors import SpecError


@dataclass(frozen=True)
class SourceRef:
    """One blob: a container and the blob's path in it. As text: `container/path/of/blob`."""

    container: str
    path: str

    @classmethod
    def parse(cls, key: str) -> "SourceRef":
        """Read a partition key.

        Raises:
            SpecError: the key has no container or no path.
        """
        container, _, path = key.partition("/")
        if not container or not path or path.endswith("/"):
            raise SpecError(
                f"partition key '{key}'",
                "it does not name a blob",
                "Write it as CONTAINER/PATH, for instance bronze/city/roads.gpkg.",
            )
        return cls(container, path)

    def __str__(self) -> str:
        return f"{self.container}/{self.path}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class CollectionRef:
    """The rasters below a folder of a container, or in all of it.

    As text: `container/folder`, or `container`.

    Attributes:
        folder: without slashes at its ends; empty for the whole container.
    """

    container: str
    folder: str

    @classmethod
    def parse(cls, key: str) -> "CollectionRef":
        """Read a partition key; a slash at its end means nothing.

        Raises:
            SpecError: the key is no plain path.
        """
        container, *folders = key.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in (container, *folders)):
            raise SpecError(
                f"partition key '{key}'",
                "it does not name a folder",
                "Write it as CONTAINER/FOLDER, for instance bronze/dem, or CONTAINER.",
            )
        return cls(container, "/".join(folders))

    def __str__(self) -> str:
        return f"{self.container}/{self.folder}" if self.folder else self.container

    @property
    def prefix(self) -> str:
        """What paths of the blobs below it begin with."""
        return f"{self.folder}/" if self.folder else ""

    @property
    def name(self) -> str:
        """The last folder, or the container."""
        return str(self).rsplit("/", 1)[-1]


def job_id(source: str, spec: dict[str, Any], fingerprint: str) -> str:
    """SHA-256 (64 hex digits) of one ingest: the source's key and content, and its spec.

    The spec is taken as canonical JSON: keys sorted, no spaces.
    """
    canonical = json.dumps(
        {"source": source, "spec": spec, "fingerprint": fingerprint},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


def task_id(job: str, asset: str, stage: str, index: int) -> str:
    """`{job[:8]}_{asset}_{stage}_{index:05d}`, usable as a Dagster mapping key."""
    return re.sub(r"\W", "_", f"{job[:8]}_{asset}_{stage}_{index:05d}", flags=re.ASCII)
