"""Blobs of a raster layer beside its COGs: preview, quality report, mosaic."""

from collections.abc import Sequence
from dataclasses import dataclass

from geo_etl.raster import ingest
from geo_etl.raster.loads import Load
from geo_etl.raster.manifest import PieceReport, RasterManifest
from geo_etl.raster.members import mosaic_of
from geo_etl.raster.outputs import Attempt, begin_piece
from geo_etl.report.markdown import raster_markdown
from geo_etl.report.raster_page import raster_page
from geo_etl.report.raster_quality import raster_report
from geo_etl.report.raster_result import RasterResult
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.postgis import PostGISResource
from geo_etl.spec import SourceRef

PREVIEW, REPORT, MOSAIC = "preview.png", "report.html", "mosaic.vrt"


@dataclass(frozen=True)
class LayerFiles:
    """Blobs of a whole layer beside its COGs, `container/path` each.

    Attributes:
        mosaic: of a set of tiles.
    """

    preview: str | None
    report: str
    mosaic: str | None

    @classmethod
    def among(cls, paths: Sequence[str]) -> "LayerFiles":
        """The ones that are there."""
        found = {path.rpartition("/")[2]: path for path in paths}
        return cls(found.get(PREVIEW), found[REPORT], found.get(MOSAIC))

    @property
    def paths(self) -> list[str]:
        """All of them."""
        return [path for path in (self.preview, self.report, self.mosaic) if path is not None]


def write_files(
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    load: Load,
    storage: BlobStorage,
    postgis: PostGISResource,
) -> LayerFiles:
    """Note and write what a layer has beside its COGs; the report comes at the end."""
    is_set = manifest.form == "tiled"
    picture = _preview(manifest, reports)
    names = [REPORT, *([PREVIEW] if picture else []), *([MOSAIC] if is_set else [])]
    attempt = begin_piece(postgis.engine, load, None, names)
    assert isinstance(attempt, Attempt)
    files = LayerFiles.among(list(attempt.paths.values()))
    # Items name it as soon as they are published, and it is complete when they are verified.
    soon = f"<!doctype html><p>The report of {manifest.layer} is written when it is verified.</p>"
    write_blob(storage, files.report, soon.encode())
    if picture is not None and files.preview is not None:
        write_blob(storage, files.preview, picture)
    if files.mosaic is not None:
        write_blob(storage, files.mosaic, mosaic_of(manifest, reports, files.mosaic).encode())
    return files


def _preview(manifest: RasterManifest, reports: Sequence[PieceReport]) -> bytes | None:
    """Of one raster its own picture; of a set its tiles where they are."""
    if manifest.form == "single":
        return next((one.preview for one in reports if one.preview is not None), None)
    from geo_etl.report.raster_picture import parts_of, raster_picture  # with matplotlib

    grid, parts = parts_of(manifest, reports)
    return raster_picture(grid, parts, manifest.item_id)


def write_report(
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    result: RasterResult,
    files: LayerFiles,
    storage: BlobStorage,
) -> str:
    """Store the quality report of a layer in silver; a summary as Markdown."""
    from geo_etl.report.raster_picture import (  # with matplotlib: only here
        parts_of,
        raster_picture,
        small_picture,
    )

    report = raster_report(manifest, result, ingest.software_versions())
    grid, parts = parts_of(manifest, reports)
    picture = raster_picture(grid, parts, result.layer)
    write_blob(storage, files.report, raster_page(report, picture).encode())
    small = next((one.preview for one in reports if one.preview is not None), picture)
    if manifest.form == "tiled":
        small = picture
    return raster_markdown(report, small_picture(small), result.quality_report_url)


def write_blob(storage: BlobStorage, path: str, content: bytes) -> None:
    """Write a blob, `container/path`."""
    with storage.write(SourceRef.parse(path)) as file:
        file.write(content)


def url_of(storage: BlobStorage, path: str | None) -> str | None:
    """Address of a blob, `container/path`."""
    return None if path is None else storage.url(SourceRef.parse(path))
