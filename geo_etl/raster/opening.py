"""Opening a raster source: which format, which sub-dataset, within which limits.

A format is recognised by its extension and proven by its first bytes; then one driver of GDAL alone
opens it, in a folder where nothing lies but what belongs to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rasterio
from pyproj import CRS
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geo_etl.errors import SourceError, SpecError
from geo_etl.ingest.kinds import RASTER_EXTENSIONS
from geo_etl.raster.completeness import check_classic, check_png
from geo_etl.raster.formats import FORMATS, Format
from geo_etl.raster.gdal import Opener, environment, handle
from geo_etl.raster.imagine_files import check_imagine
from geo_etl.raster.limits import check_limits
from geo_etl.raster.staging import Staged, staged
from geo_etl.raster.variables import choose_variable
from geo_etl.spec import RasterSpec

__all__ = ["RASTER_EXTENSIONS", "Opened", "open_raster"]

_LEADS_AWAY = {"OVERVIEWS", "GEOLOCATION"}
"""Domains of metadata by which a file names others, for its overviews or its positions."""


@dataclass(frozen=True)
class Opened:
    """A raster that can be read, in an `environment`.

    Attributes:
        dataset: its `name` opens it again, as long as this one is open.
        driver: GDAL's short name.
        subdataset: the variable, of a source with several.
        size: of the source in bytes, unpacked.
        threads: whether several handles read it faster than one.
        remarks: what was decided, or left aside, while it was opened.
    """

    dataset: rasterio.DatasetReader
    driver: str
    subdataset: str | None
    remarks: tuple[str, ...]
    size: int = 0
    threads: bool = False

    @contextmanager
    def again(self) -> Iterator[rasterio.DatasetReader]:
        """Another handle, for another thread."""
        with handle(self.dataset.name, self.driver) as dataset:
            yield dataset


@contextmanager
def open_raster(
    path: Path, name: str, spec: RasterSpec, opener: Opener | None = None
) -> Iterator[Opened]:
    """Open the one raster of a source. Only what it declares is looked at, no pixel.

    Args:
        path: the local file, its siblings beside it under the same stem.
        name: what to call it in messages.
        spec: `file_extension`, `subdataset`, `source_crs` and `limits` are used.
        opener: through which a TIFF is read whose local file is a stand-in.

    Raises:
        SourceError: unreadable, another format than its name says, several variables and none
            named, naming other files, or above a limit.
        SpecError: it has no such sub-dataset.
    """
    with environment(), staged(path, name, spec) as source:
        _check_file(source, name, spec)
        if spec.source_crs is not None:
            source.declare(CRS.from_user_input(spec.source_crs).to_wkt())
        document, variable, remarks = _document(source, name, spec)
        dataset = _open(document, name, source.format, spec, opener)
        if source.projection and spec.source_crs is None and not dataset.crs:
            dataset.close()
            source.declare(source.projection)
            dataset = _open(document, name, source.format, spec, opener)
        with dataset:
            _check_domains(dataset, name, source.format)
            check_limits(dataset, name, source.size, spec)
            remarks += _pages(dataset, source.format)
            yield Opened(
                dataset,
                source.format.driver,
                variable,
                tuple(remarks),
                source.size,
                source.format.threads,
            )


def _check_file(source: Staged, name: str, spec: RasterSpec) -> None:
    """What has to be known of a file before GDAL sees it."""
    driver = source.format.driver
    if source.mask is not None:
        with _open(str(source.mask), name, FORMATS[0], spec) as mask:
            _check_domains(mask, name, FORMATS[0])
    if driver == "HFA":
        check_imagine(source.path, name)
    elif driver == "PNG":
        check_png(source.path, name)
    elif driver == "netCDF":
        with source.path.open("rb") as file:
            is_hdf5 = file.read(4) == b"\x89HDF"
        if is_hdf5:
            from geo_etl.raster.hdf5_files import check_hdf5

            check_hdf5(source.path, name)
        else:
            check_classic(source.path, name)


def _document(source: Staged, name: str, spec: RasterSpec) -> tuple[str, str | None, list[str]]:
    """What GDAL is to open, the variable, and what was decided."""
    if source.format.driver == "netCDF":
        return choose_variable(source.path, name, spec)
    if spec.subdataset is not None:
        raise SpecError(
            name,
            f"subdataset is '{spec.subdataset}', but {source.format.called} file has none",
            "Remove subdataset.",
        )
    return str(source.path), None, []


def _open(
    document: str, name: str, format_: Format, spec: RasterSpec, opener: Opener | None = None
) -> rasterio.DatasetReader:
    try:
        return handle(document, format_.driver, opener)
    except (RasterioError, CPLE_BaseError) as error:
        said = str(error).replace(document, "it")
        if "PROJ" in said and spec.source_crs is None:
            raise SourceError(
                name, f"its CRS is none that PROJ understands ({said})", "Set source_crs."
            ) from None
        raise SourceError(
            name, f"it can't be read as {format_.called} ({said})", "Deliver the file again."
        ) from None


def _check_domains(dataset: rasterio.DatasetReader, name: str, format_: Format) -> None:
    """Must come before anything looks for overviews or masks."""
    found = set(dataset.tag_namespaces())
    for index in dataset.indexes:
        found.update(dataset.tag_namespaces(index))
    # The netCDF driver makes its own, of variables in the same file.
    leads_away = found & (
        _LEADS_AWAY - {"GEOLOCATION"} if format_.driver == "netCDF" else _LEADS_AWAY
    )
    if leads_away:
        raise SourceError(
            name,
            f"its metadata names other files ({', '.join(sorted(leads_away))})",
            "Deliver it without, for instance as gdal_translate -co PROFILE=GeoTIFF writes it.",
        )


def _pages(dataset: rasterio.DatasetReader, format_: Format) -> list[str]:
    pages = len(dataset.subdatasets) if format_.driver == "GTiff" else 0
    return [f"It has {pages} pages; only the first is read."] if pages > 1 else []
