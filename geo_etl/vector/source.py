"""Opening a vector source: which format, which layer, which CRS.

A format is recognised by its extension and proven by its first bytes, so that a file of
another kind in disguise never reaches a reader that would follow what it says.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pyproj import CRS
from pyproj.exceptions import CRSError

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import check_size
from geo_etl.ingest.scratch import scratch_folder
from geo_etl.ingest.siblings import group_of, is_shapefile
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.archive import open_archive
from geo_etl.vector.formats.delimited import open_delimited
from geo_etl.vector.formats.flatgeobuf import open_flatgeobuf
from geo_etl.vector.formats.geojson import open_geojson
from geo_etl.vector.formats.geopackage import open_geopackage
from geo_etl.vector.formats.geoparquet import open_geoparquet
from geo_etl.vector.formats.kml import open_kml
from geo_etl.vector.formats.kmz import open_kmz
from geo_etl.vector.formats.layer import Layer
from geo_etl.vector.formats.limits import check_feature_limit
from geo_etl.vector.formats.shapefile import open_shapefile


@dataclass(frozen=True)
class Format:
    """One vector format: how its files are called, and what opens them."""

    extensions: tuple[str, ...]
    open: Callable[[Path, str, VectorSpec], Layer]


FORMATS: tuple[Format, ...] = (
    Format(("gpkg",), open_geopackage),
    Format(("fgb",), open_flatgeobuf),
    Format(("parquet", "geoparquet"), open_geoparquet),
    Format(("geojson", "json", "geojsonl", "ndjson", "geojsons", "jsonl"), open_geojson),
    Format(("shp",), open_shapefile),
    Format(("csv", "tsv"), open_delimited),
    Format(("kml",), open_kml),
    Format(("kmz",), open_kmz),
    Format(("zip",), lambda path, name, spec: open_archive(path, name, spec, FORMATS)),
)


def supported_extensions() -> list[str]:
    """Extensions, without dots, that geo_etl takes for vector sources."""
    return [extension for format_ in FORMATS for extension in format_.extensions]


def format_of(name: str, extension: str | None = None) -> Format:
    """The format that a blob's name (or the spec's `file_extension`) promises.

    Raises:
        SourceError: no format has this extension.
    """
    wanted = (extension or PurePosixPath(name).suffix.lstrip(".")).lower()
    for format_ in FORMATS:
        if wanted in format_.extensions:
            return format_
    raise SourceError(
        name,
        f"'{wanted}' is no vector format that geo_etl reads",
        f"Deliver one of: {', '.join(supported_extensions())}; or, when the name misleads, set "
        "file_extension in the spec.",
    )


@contextmanager
def harmless(path: Path) -> Iterator[Path]:
    """The same file under a name that means nothing to GDAL or pyogrio, with its siblings.

    A `!` in a path, for one, makes pyogrio open what comes after it.
    """
    with scratch_folder() as folder:
        link = Path(folder, re.sub(r"[^\w. -]", "_", path.name).lstrip("-"))
        parts = group_of(path) if is_shapefile(path.name) else {}
        for role, part in parts.items():
            link.with_suffix(f".{role}").symlink_to(part.absolute())
        if not link.exists():
            link.symlink_to(path.absolute())
        yield link


def open_layer(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Find the one layer to load.

    Args:
        path: the local file, from `harmless`.
        name: what to call it in messages.
        spec: `file_extension`, `converter_params` and `limits` are used.

    Raises:
        SourceError: unreadable, another format than its name says, several layers and none
            named, no features, no CRS, or above a limit.
    """
    format_ = format_of(name, spec.file_extension)
    size = path.stat().st_size
    if size == 0:
        raise SourceError(name, "it is empty (0 bytes)", "Deliver the file again.")
    check_size(name, size, spec)
    layer = format_.open(path, name, spec)
    if layer.feature_count == 0:
        raise SourceError(
            name, "its layer has no features", "Deliver data, or remove the file from bronze."
        )
    check_feature_limit(name, layer.feature_count, spec)
    return _with_crs(layer, name, spec)


def _with_crs(layer: Layer, name: str, spec: VectorSpec) -> Layer:
    given = spec.converter_params.source_crs
    if given is None and layer.crs is None:
        raise SourceError(
            name,
            "nothing says which CRS its coordinates are in",
            "Set converter_params.source_crs, for instance EPSG:25832; geo_etl does not guess.",
        )
    if given is None:
        try:
            CRS.from_user_input(layer.crs)
        except CRSError as error:
            raise SourceError(
                name,
                f"its CRS is none that PROJ understands ({error})",
                "Set converter_params.source_crs.",
            ) from None
    return replace(layer, crs=given or layer.crs, crs_declared=layer.crs_declared and given is None)
