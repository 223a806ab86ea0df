"""What a person means by a name on the command line, and how a local file gets into bronze."""

import hashlib
import io
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geo_etl.errors import SourceError, StorageError
from geo_etl.ingest.archived import kind_of_archive
from geo_etl.ingest.kinds import (
    Kind,
    is_archive,
    is_hidden,
    is_raster_name,
    is_source_name,
    kind_of,
    unknown_kind,
)
from geo_etl.ingest.siblings import group, group_of, sibling_roles, split_name
from geo_etl.ingest.zipped import member_names
from geo_etl.jobs.entries import Work
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.sources import content_hash, extension_in, kind_at
from geo_etl.spec import CollectionRef, SourceRef, SpecLayer, sidecar_names
from geo_etl.spec.resolve import FOLDER_DEFAULTS


@dataclass(frozen=True)
class Located:
    """What is to be ingested.

    Attributes:
        ref: where it is in storage, or will be.
        path: the local file or folder to put there first; None when it is there.
    """

    ref: SourceRef | CollectionRef
    work: Work
    path: Path | None = None


def locate(
    storage: BlobStorage,
    given: str,
    bronze: str,
    root: Path | None,
    overrides: dict[str, Any] | None = None,
) -> Located:
    """What a person means: a local file or folder, or a blob or folder in storage.

    Args:
        root: folder of local storage, when storage is local: what is in it is stored already.
        overrides: settings of the spec; `file_extension` may say what the source is.

    Raises:
        SourceError: it is none of them, or neither vector nor raster.
    """
    path = Path(given)
    if path.is_file() or path.is_dir():
        resolved = path.resolve()
        if root is None or not resolved.is_relative_to(root.resolve()):
            return _local(path, bronze, overrides or {})
        given = f"{resolved.relative_to(root.resolve())}{'/' if path.is_dir() else ''}"
    container, _, name = given.partition("/")
    if not container or container not in storage.containers():
        raise SourceError(
            f"'{given}'",
            "there is no such file",
            f"Give a file, a folder, or a blob like {bronze}/roads.gpkg.",
        )
    if not name or name.endswith("/"):
        return Located(_folder(storage, given), "collection")
    source = SourceRef.parse(given)
    try:
        storage.stat(source)
    except StorageError as error:
        if _has_blobs(storage, CollectionRef.parse(given)):
            return Located(CollectionRef.parse(given), "collection")
        raise SourceError(
            f"'{given}'", f"it is no file here, and no blob: {error.problem}", error.remedy
        ) from None
    kind = kind_at(storage, source, overrides)
    if kind is None:
        raise unknown_kind(str(source), source.path)
    return Located(source, kind)


def _folder(storage: BlobStorage, given: str) -> CollectionRef:
    ref = CollectionRef.parse(given)
    if not _has_blobs(storage, ref):
        raise SourceError(f"'{given}'", "there is nothing in this folder", "Check the spelling.")
    return ref


def _has_blobs(storage: BlobStorage, ref: CollectionRef) -> bool:
    return any(page for page in storage.pages(ref.container, ref.prefix, size=1))


def _local(path: Path, bronze: str, overrides: dict[str, Any]) -> Located:
    if path.is_dir():
        if not any(_rasters(path)):
            raise SourceError(
                f"'{path}'", "the folder holds no raster", "Give a file, or a folder with rasters."
            )
        return Located(CollectionRef(bronze, path.resolve().name), "collection", path)
    layers = [
        SpecLayer.from_yaml(str(file), file.read_text(errors="replace")) for file in _own(path)
    ]
    extension = extension_in([*layers, SpecLayer("run configuration", overrides)])
    kind = _kind_of_file(path, extension)
    if kind is None:
        raise unknown_kind(path.name, path.name, extension)
    return Located(SourceRef(bronze, path.name), kind, path)


def _own(path: Path) -> Iterator[Path]:
    """The sidecars of a local file, without what is meant for its whole folder."""
    for name in sidecar_names(SourceRef("local", path.name)):
        if name != FOLDER_DEFAULTS and path.with_name(name).is_file():
            yield path.with_name(name)


def _kind_of_file(path: Path, extension: str | None = None) -> Kind | None:
    if not is_archive(path.name, extension):
        return kind_of(path.name, extension)
    names = member_names(io.FileIO(path))
    return "vector" if names is None else kind_of_archive(path.name, names)


def _rasters(folder: Path) -> Iterator[Path]:
    """The rasters below a folder; a zip that is not clearly something else is one."""
    for path in _files(folder):
        if is_raster_name(path.name):
            yield path
        elif is_archive(path.name) and not is_hidden(path.name):
            names = member_names(io.FileIO(path))
            try:
                if names is None or kind_of_archive(path.name, names) == "raster":
                    yield path
            except SourceError:
                yield path  # of both kinds: the collection's run says so by name


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files))


def deliver(storage: BlobStorage, located: Located, say: Callable[[str], None]) -> None:
    """Copy what is local into bronze; what is there with the very same content stays as it is.

    Args:
        say: called with what a person should know at once.

    Raises:
        SourceError: two files have the same role, or one belongs to another source there.
    """
    path, ref = located.path, located.ref
    if path is None:
        return
    storage.create_container(ref.container)
    if isinstance(ref, SourceRef):
        _put(storage, group_of(path), ref, {ref.path}, say)
        return
    rasters = {f"{ref.prefix}{file.relative_to(path).as_posix()}": file for file in _rasters(path)}
    beside: dict[str, list[Path]] = defaultdict(list)
    for file in _files(path):
        beside[split_name(str(file))[0]].append(file)
    for name, file in rasters.items():
        here = group_of(file, beside[split_name(str(file))[0]])
        _put(storage, here, SourceRef(ref.container, name), rasters, say)
    for file in _files(path):
        if file.name == FOLDER_DEFAULTS:
            name = f"{ref.prefix}{file.relative_to(path).as_posix()}"
            _copy(storage, file, SourceRef(ref.container, name))
    _say_differences(storage, ref, path, rasters, say)


def _say_differences(
    storage: BlobStorage,
    ref: CollectionRef,
    folder: Path,
    delivered: Collection[str],
    say: Callable[[str], None],
) -> None:
    listed = (blob.ref.path for page in storage.pages(ref.container, ref.prefix) for blob in page)
    others = [name for name in listed if is_raster_name(name) and name not in delivered]
    if others:
        say(
            f"{ref} holds {len(others)} rasters that the folder here does not, '{others[0]}' for "
            "one: they stay, and are members too."
        )
    vectors = [file.name for file in _files(folder) if kind_of(file.name) == "vector"]
    vectors = [name for name in vectors if not is_archive(name) and not is_hidden(name)]
    if vectors:
        say(f"{len(vectors)} vector files of the folder are left out, '{vectors[0]}' for one.")


def _put(
    storage: BlobStorage,
    here: Mapping[str, Path],
    source: SourceRef,
    delivered: Collection[str],
    say: Callable[[str], None],
) -> None:
    """Copy a source with its sidecars.

    Siblings that were there before are removed: they say nothing of this one.

    Args:
        here: its local files by role, its own first.
        delivered: paths in bronze of all sources that are delivered together.
    """
    stem, own = split_name(source.path)
    listed = (blob for page in storage.pages(source.container, stem) for blob in page)
    there = group(source.path, ((blob.ref.path, blob) for blob in listed))
    stale = {role: blob for role, blob in there.items() if role not in here}
    changed = [role for role, file in here.items() if not _is_there(storage, file, there.get(role))]
    siblings = {*changed, *stale} - {own}
    _check_own(storage, source, siblings, delivered)
    if own in there and (changed or stale):
        say(f"{source} is in bronze already, with other content: it is replaced.")
    for blob in stale.values():
        storage.delete(blob.ref)
    for role in sorted(changed, key=lambda role: role == own):  # it is followed up: it is last
        ref = source if role == own else SourceRef(source.container, f"{stem}.{role}")
        _copy(storage, here[role], there[role].ref if role in there else ref)
    folder = source.path.rpartition("/")[0]
    for sidecar in _own(here[own]):
        name = f"{folder}/{sidecar.name}" if folder else sidecar.name
        _copy(storage, sidecar, SourceRef(source.container, name))


def _check_own(
    storage: BlobStorage, source: SourceRef, roles: Collection[str], delivered: Collection[str]
) -> None:
    """Refuse to change siblings that another source of the same stem has too, a `.prj` say."""
    if not roles:
        return
    stem = split_name(source.path)[0]
    for page in storage.pages(source.container, f"{stem}."):
        for other in (blob.ref.path for blob in page):
            other_stem, other_role = split_name(other)
            shared = sorted(sibling_roles(other_role).intersection(roles))
            if shared and other_stem == stem and other not in delivered and is_source_name(other):
                raise SourceError(
                    f"{source.container}/{stem}.{shared[0]}",
                    f"it belongs to '{other}' in {source.container}, and the file here comes with "
                    "another or none",
                    "Deliver the file under another name, or both together in their folder.",
                )


def _is_there(storage: BlobStorage, path: Path, blob: Blob | None) -> bool:
    """Whether a blob has the content of a file."""
    if blob is None or blob.size != path.stat().st_size:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest == content_hash(storage, {"": blob})


def _copy(storage: BlobStorage, path: Path, ref: SourceRef) -> None:
    with path.open("rb") as file, storage.write(ref) as blob:
        shutil.copyfileobj(file, blob, 8_000_000)
