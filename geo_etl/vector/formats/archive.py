"""Layers in zip archives: a shapefile, or the one other vector file that an archive holds."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Protocol

import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import check_size
from geo_etl.ingest.siblings import group, is_shapefile
from geo_etl.ingest.zipped import Archive, Member, open_zip
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.layer import Layer, pick
from geo_etl.vector.formats.shapefile import ShapefileLayer, open_parts
from geo_etl.vector.formats.work import WorkFolder

LISTED = 8
"""How many members a message names."""
NEEDED = ("shp", "shx", "dbf", "prj", "cpg", "cst")


class Format(Protocol):
    """What opens files of some extensions (see `geo_etl.vector.source`)."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """Of its files, without dots."""

    @property
    def open(self) -> Callable[[Path, str, VectorSpec], Layer]:
        """Opens a file, given what to call it in messages."""


@dataclass(frozen=True, kw_only=True)
class ArchivedLayer(Layer):
    """A layer of a file that was taken out of an archive; the file stays as long as the layer."""

    inner: Layer
    folder: WorkFolder = field(repr=False)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`."""
        return self.inner.batches()

    def check_complete(self, features: int) -> None:
        """See `Layer.check_complete`."""
        self.inner.check_complete(features)


def open_archive(path: Path, name: str, spec: VectorSpec, formats: Sequence[Format]) -> Layer:
    """Open the shapefile in an archive, or the one other vector file that it holds.

    Args:
        formats: that an archive may hold a file of.

    Raises:
        SourceError: no archive, unsafe, nothing to load in it, several and none named.
    """
    with open_zip(path, name) as archive:
        check_size(name, sum(member.entry.file_size for member in archive.members), spec)
        shapefiles = _shapefiles(archive.members)
        if shapefiles:
            layer, main = pick(name, shapefiles, spec.converter_params.layer_name)
            return _open_shapefile(archive, main, name, spec, layer)
        return _open_only(archive, name, spec, formats)


def _shapefiles(members: Sequence[Member]) -> dict[str, Member]:
    """Shapefiles by the name of their layer: the stem, or the whole path where stems clash."""
    found = [member for member in members if is_shapefile(member.path)]
    times = Counter(PurePosixPath(member.path).stem for member in found)
    return {
        stem if times[stem := PurePosixPath(member.path).stem] == 1 else member.path[:-4]: member
        for member in found
    }


def _open_shapefile(
    archive: Archive,
    main: Member,
    name: str,
    spec: VectorSpec,
    layer: str,
) -> ShapefileLayer:
    parts = group(main.path, ((member.path, member) for member in archive.members))
    folder, files = WorkFolder(), {}
    for role in NEEDED:
        if role in parts:
            files[role] = folder.path / f"archived.{role}"
            archive.extract(parts[role], files[role], spec)
    return open_parts(files, name, spec, layer=layer, format_="Zipped shapefile", folder=folder)


def _open_only(
    archive: Archive,
    name: str,
    spec: VectorSpec,
    formats: Sequence[Format],
) -> Layer:
    by_extension = {extension: one for one in formats for extension in one.extensions}
    by_extension.pop("zip", None)
    members = archive.members
    readable = [member for member in members if member.extension in by_extension]
    listed = ", ".join(f"'{member.path}'" for member in (readable or members)[:LISTED])
    if len(readable) > 1:
        raise SourceError(
            name,
            f"the archive holds {len(readable)} vector files and no shapefile: {listed}",
            "Deliver them one by one.",
        )
    if not readable:
        nested = any(member.extension in ("zip", "7z", "rar", "gz", "tar") for member in members)
        raise SourceError(
            name,
            f"the archive holds no shapefile and no other vector file (it holds "
            f"{listed or 'nothing'})",
            "Deliver the archive in it itself."
            if nested
            else "Deliver .shp, .shx, .dbf and .prj together in one zip.",
        )
    (member,) = readable
    folder = WorkFolder()
    file = folder.path / f"archived.{member.extension}"
    archive.extract(member, file, spec)
    inner = by_extension[member.extension].open(file, name, spec)
    known = {one.name: getattr(inner, one.name) for one in fields(Layer)}
    return ArchivedLayer(**known, inner=inner, folder=folder)
