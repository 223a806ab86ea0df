"""Blob storage in a local folder: `ROOT/CONTAINER/PATH`.

Files may be put there by any means. A blob's time is the later of its file's mtime and ctime,
so that a file moved in counts as new however old its content is.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from geo_etl.errors import StorageError
from geo_etl.resources.blobs import (
    Blob,
    Level,
    bad_name,
    missing_blob,
    missing_container,
    replaced_blob,
)
from geo_etl.spec import SourceRef

META = ".meta"
"""Folder beside the containers with the metadata of blobs that were written with some."""
PARTIAL = ".geo_etl-partial-"
"""Prefix of files being written; never listed."""


class OpenFile:
    """Implements `OpenBlob`: one file, also when another one takes its name."""

    def __init__(self, ref: SourceRef, path: Path) -> None:
        self._file = path.open("rb")
        self.blob = _blob(ref, os.fstat(self._file.fileno()))

    def read(self, start: int, length: int) -> bytes:
        content = os.pread(self._file.fileno(), length, start)
        if _blob(self.blob.ref, os.fstat(self._file.fileno())).etag != self.blob.etag:
            raise replaced_blob(self.blob.ref)
        return content

    def close(self) -> None:
        self._file.close()


class LocalBlobs:
    """Implements `BlobStorage` on a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def containers(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(
                entry.name
                for entry in os.scandir(self.root)
                if entry.is_dir() and not entry.name.startswith(".")
            )
        return []

    def create_container(self, name: str) -> None:
        self._checked(SourceRef(name, "x"))
        (self.root / name).mkdir(parents=True, exist_ok=True)

    def pages(self, container: str, prefix: str = "", size: int = 5000) -> Iterator[list[Blob]]:
        root = self._container(container)
        if folder := prefix.rpartition("/")[0]:
            self._checked(SourceRef(container, folder))
        page: list[Blob] = []
        for path in _walk(root, prefix):
            try:
                page.append(_blob(SourceRef(container, path), (root / path).stat()))
            except FileNotFoundError:
                continue  # removed while we were listing
            if len(page) == size:
                yield page
                page = []
        if page:
            yield page

    def level(self, container: str, folder: str = "", size: int = 5000) -> Iterator[Level]:
        root = self._container(container)
        if folder:
            self._checked(SourceRef(container, folder.removesuffix("/")))
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for start in range(0, len(entries), size):
            part = Level([], [])
            for entry in entries[start : start + size]:
                if entry.is_dir(follow_symlinks=False):
                    part.folders.append(f"{folder}{entry.name}/")
                elif not entry.is_dir() and not entry.name.startswith(PARTIAL):
                    with suppress(FileNotFoundError):  # removed while we were listing
                        ref = SourceRef(container, f"{folder}{entry.name}")
                        part.blobs.append(_blob(ref, entry.stat()))
            yield part

    def stat(self, ref: SourceRef) -> Blob:
        path = self._existing(ref)
        blob = _blob(ref, path.stat())
        written = self._meta_path(ref)
        if written.exists():
            meta = json.loads(written.read_text())
            if meta["etag"] == blob.etag:
                return Blob(ref, blob.size, blob.etag, blob.modified, meta["metadata"])
        return blob

    def read(self, ref: SourceRef, start: int = 0, length: int | None = None) -> bytes:
        with self._existing(ref).open("rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)

    def open(self, ref: SourceRef) -> OpenFile:
        return OpenFile(ref, self._existing(ref))

    @contextmanager
    def write(
        self, ref: SourceRef, metadata: Mapping[str, str] | None = None
    ) -> Iterator[BinaryIO]:
        self._container(ref.container)
        path = self._checked(ref)
        self._make_room(ref, path)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PARTIAL, delete=False) as file:
            partial = Path(file.name)
            try:
                yield cast(BinaryIO, file)
                file.flush()
                os.fsync(file.fileno())
                partial.chmod(0o644)
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        self._meta_path(ref).unlink(missing_ok=True)
        if metadata:
            self._meta_path(ref).parent.mkdir(parents=True, exist_ok=True)
            etag = _blob(ref, path.stat()).etag
            self._meta_path(ref).write_text(json.dumps({"etag": etag, "metadata": dict(metadata)}))

    @contextmanager
    def local(self, ref: SourceRef) -> Iterator[Path]:
        yield self._existing(ref)

    def url(self, ref: SourceRef) -> str:
        return self._checked(ref).absolute().as_uri()

    def root_url(self) -> str:
        return self.root.absolute().as_uri()

    def gdal_root(self) -> str:
        return str(self.root.absolute())

    def delete(self, ref: SourceRef) -> None:
        path = self._existing(ref)
        path.unlink()
        self._meta_path(ref).unlink(missing_ok=True)
        self._remove_empty(path.parent, ref.container)

    def _remove_empty(self, folder: Path, container: str) -> None:
        with suppress(OSError):  # a folder that still holds something stays
            while folder != self.root / container:
                folder.rmdir()
                folder = folder.parent

    def discard_partial(self, container: str, before: datetime) -> int:
        count = 0
        for folder, _, files in os.walk(self._container(container)):
            for file in files:
                path = Path(folder, file)
                with suppress(FileNotFoundError):
                    if (
                        file.startswith(PARTIAL)
                        and datetime.fromtimestamp(path.stat().st_mtime, UTC) < before
                    ):
                        path.unlink()
                        self._remove_empty(path.parent, container)
                        count += 1
        return count

    def _checked(self, ref: SourceRef) -> Path:
        parts = [ref.container, *ref.path.split("/")]
        if any(part in ("", ".", "..") or "\0" in part for part in parts) or "/" in parts[0]:
            raise bad_name(ref)
        return self.root.joinpath(*parts)

    def _container(self, name: str) -> Path:
        self._checked(SourceRef(name, "x"))
        path = self.root / name
        if not path.is_dir():
            raise missing_container(name, self.containers())
        return path

    def _existing(self, ref: SourceRef) -> Path:
        self._container(ref.container)
        path = self._checked(ref)
        if not path.is_file():
            raise missing_blob(ref)
        return path

    @staticmethod
    def _make_room(ref: SourceRef, path: Path) -> None:
        """Make the folder of a blob that is about to be written."""
        if path.is_dir():
            raise StorageError(f"blob '{ref}'", "a folder has this name", "Use another name.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise StorageError(
                f"blob '{ref}'", "one of its folders is a blob already", "Use another folder."
            ) from None

    def _meta_path(self, ref: SourceRef) -> Path:
        # A digest: `a` and `a.json/b` may both have metadata, and names may be long.
        name = hashlib.sha256(os.fsencode(ref.path)).hexdigest()
        return self.root / META / ref.container / f"{name}.json"


def _blob(ref: SourceRef, stat: os.stat_result) -> Blob:
    return Blob(
        ref=ref,
        size=stat.st_size,
        etag=f"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}",
        modified=datetime.fromtimestamp(max(stat.st_mtime, stat.st_ctime), UTC),
    )


def _may_hold(folder: str, prefix: str) -> bool:
    """Whether paths below a folder (with a slash at its end) can begin with a prefix."""
    return folder.startswith(prefix) or prefix.startswith(folder)


def _walk(root: Path, prefix: str) -> Iterator[str]:
    """Paths of all files below `root` that begin with `prefix`, relative to it."""
    start, _, last = prefix.rpartition("/")
    for folder, folders, files in os.walk(root / start):
        below = os.path.relpath(folder, root)
        inside = "" if below == "." else f"{below}/"
        # Of a folder with thousands of files, few begin with a name: the others are not sorted.
        wanted = last if inside.rstrip("/") == start else ""
        folders[:] = sorted(f for f in folders if _may_hold(f"{inside}{f}/", prefix))
        for file in sorted(file for file in files if file.startswith(wanted)):
            path = file if below == "." else f"{below}/{file}"
            if path.startswith(prefix) and not file.startswith(PARTIAL):
                yield path
