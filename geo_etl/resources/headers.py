"""Rasters in storage, described where they lie: from their headers, without fetching them whole."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from shapely.errors import ShapelyError

from geo_etl.errors import SourceError
from geo_etl.ingest.kinds import RASTER_EXTENSIONS, extension_of, is_archive
from geo_etl.ingest.siblings import split_name
from geo_etl.raster.formats import format_of
from geo_etl.raster.gdal import Opener
from geo_etl.raster.header import Header, read_header
from geo_etl.raster.opening import open_raster
from geo_etl.resources.blobs import Blob, BlobStorage, missing_blob, replaced_blob
from geo_etl.resources.ranged import ranged
from geo_etl.resources.sources import local_parts, whole
from geo_etl.spec import RasterSpec

UNREADABLE = (RasterioError, CPLE_BaseError, ProjError, ShapelyError, ValueError, ArithmeticError)
"""What libraries raise where a file says what can't be; ValueError: texts that are no UTF-8 too."""


@dataclass(frozen=True)
class Described:
    """What a raster in storage says of itself.

    Attributes:
        blob: the raster's own.
        etag: of it with all that belongs to it, when it was read.
        is_alone: whether the blob says where it is without what lies beside it.
    """

    blob: Blob
    etag: str
    header: Header
    is_alone: bool


@contextmanager
def told(name: str) -> Iterator[None]:
    """Say of which raster it is when a library can't make anything of what it says.

    Raises:
        SourceError: instead of that.
    """
    try:
        yield
    except UNREADABLE as error:
        raise SourceError(
            name,
            f"it says something that can't be ({type(error).__name__}: {error})",
            "Deliver the file again, for instance as gdal_translate writes it.",
        ) from None


def describe(storage: BlobStorage, parts: Mapping[str, Blob]) -> Described:
    """Read the header of a raster.

    Its own blob alone is looked at first, for that is all that a client gets by the item's
    address. Where it does not say where it is, it is read with what lies beside it.

    Args:
        parts: the blobs that it is made of, by role; its own first.

    Raises:
        SourceError: it can't be read, or nothing says where it is.
        StorageError: it is gone, or another than it was.
    """
    blob = next(iter(parts.values()))
    name = str(blob.ref)
    if is_archive(blob.ref.path) or extension_of(blob.ref.path) not in RASTER_EXTENSIONS:
        known = ", ".join(one for one in RASTER_EXTENSIONS if not is_archive(f".{one}"))
        raise SourceError(
            name, "it is no raster that can be read where it lies", f"Name one of: {known}."
        )
    try:
        header, is_alone = _read(storage, _alone(parts), name), True
    except SourceError:
        if len(parts) == 1:
            raise
        header, is_alone = _read(storage, parts, name), False
        beside = ", ".join(part.ref.name for part in list(parts.values())[1:])
        warning = f"It is placed only by what lies beside it: {beside}."
        facts = replace(header.facts, warnings=(warning, *header.facts.warnings))
        header = replace(header, facts=facts)
    return Described(blob, whole(parts).etag, header, is_alone)


def _alone(parts: Mapping[str, Blob]) -> dict[str, Blob]:
    return dict(list(parts.items())[:1])


def _read(storage: BlobStorage, parts: Mapping[str, Blob], name: str) -> Header:
    spec = RasterSpec()
    try:
        with (
            told(name),
            _opened_file(storage, parts, name) as (path, opener),
            open_raster(path, name, spec, opener) as opened,
        ):
            return read_header(opened, name, spec)
    except FileNotFoundError:
        raise missing_blob(next(iter(parts.values())).ref) from None


@contextmanager
def _opened_file(
    storage: BlobStorage, parts: Mapping[str, Blob], name: str
) -> Iterator[tuple[Path, Opener | None]]:
    """A raster as a local file, or a stand-in for one far away, of which GDAL needs but parts.

    Only GDAL's driver for TIFF is known to ask for few parts, and to read through an opener alone.
    """
    blob = next(iter(parts.values()))
    is_far = not storage.root_url().startswith("file:")
    if is_far and len(parts) == 1 and blob.size and format_of(name).driver == "GTiff":
        extension = split_name(blob.ref.name)[1]
        with ranged(storage, blob, f"blob.{extension}") as (path, opener):
            yield path, opener
        return
    with local_parts(storage, parts) as path:
        yield path, None
    for part in parts.values():
        if storage.stat(part.ref).etag != part.etag:
            raise replaced_blob(part.ref)
