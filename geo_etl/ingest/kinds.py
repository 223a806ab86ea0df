"""Whether a source is vector or raster, by its name alone.

A name promises, it proves nothing: the content is looked at when the source is opened.
"""

from typing import Literal

from geo_etl.errors import SourceError

Kind = Literal["vector", "raster"]

VECTOR_EXTENSIONS = tuple(
    "gpkg fgb parquet geoparquet geojson json geojsonl ndjson geojsons jsonl shp csv tsv kml kmz "
    "zip".split()
)
RASTER_EXTENSIONS = tuple("tif tiff jp2 png jpg jpeg img nc hgt zip".split())
ARCHIVE = "zip"


def extension_of(path: str) -> str:
    """In lower case, without the dot."""
    stem, _, extension = path.rpartition("/")[2].rpartition(".")
    return extension.lower() if stem else ""


def is_hidden(path: str) -> bool:
    """Whether a name says that it is no source: it begins with a dot or an underscore."""
    return path.rpartition("/")[2].startswith((".", "_"))


def is_source_name(path: str) -> bool:
    """Whether a blob's name says that it is a source of either kind."""
    known = extension_of(path) in VECTOR_EXTENSIONS or extension_of(path) in RASTER_EXTENSIONS
    return known and not is_hidden(path)


def is_archive(path: str, extension: str | None = None) -> bool:
    """Whether a source is a zip: its name does not tell its kind."""
    return (extension or extension_of(path)).lower() == ARCHIVE


def is_raster_name(path: str) -> bool:
    """Whether a blob's name says that it is a raster. A zip's does not."""
    return not is_hidden(path) and kind_of(path) == "raster" and not is_archive(path)


def kind_of(path: str, extension: str | None = None) -> Kind | None:
    """What a name promises; None for neither. A zip counts as vector: see `archived`.

    Args:
        extension: what the file is, where its name misleads (`file_extension` of the spec).
    """
    wanted = (extension or extension_of(path)).lower()
    if wanted in VECTOR_EXTENSIONS:
        return "vector"
    return "raster" if wanted in RASTER_EXTENSIONS else None


def unknown_kind(name: str, path: str, extension: str | None = None) -> SourceError:
    """The error for a file that is neither.

    Args:
        name: what to call it.
    """
    wanted = (extension or extension_of(path)).lower()
    vectors = ", ".join(VECTOR_EXTENSIONS)
    rasters = ", ".join(one for one in RASTER_EXTENSIONS if one != ARCHIVE)
    return SourceError(
        name,
        f"'{wanted}' is no vector format that geo_etl reads, and no raster format",
        f"Deliver one of: {vectors}; or of: {rasters}; or, when the name misleads, set "
        "file_extension in the spec.",
    )
