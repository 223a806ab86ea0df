"""What an ingest puts into silver beside the table: GeoParquet copies and the quality report."""

from dataclasses import dataclass

from geo_etl.catalog.lineage import SOURCE_TIME
from geo_etl.report.markdown import summary_markdown
from geo_etl.report.page import quality_page
from geo_etl.report.result import VectorResult
from geo_etl.report.scoring import Delivery, MeasuredTable, quality_report
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import delete_below
from geo_etl.resources.postgis import PostGISResource
from geo_etl.spec import SourceRef
from geo_etl.vector.export import part_ranges, write_part
from geo_etl.vector.manifest import Manifest, Order, PublishReport
from geo_etl.vector.profile import findings, profile_table, software_versions
from geo_etl.vector.sample import sample_geometries
from geo_etl.vector.settle import Settled
from geo_etl.vector.versions import Target, Version, jobs_loading, versions_of

GEOPARQUET, REPORTS = "geoparquet", "reports"


@dataclass(frozen=True)
class StoredReport:
    """A quality report in silver, and its summary for the Dagster UI."""

    url: str
    markdown: str


def write_geoparquet(
    manifest: Manifest, settled: Settled, blobs: BlobStorageResource, postgis: PostGISResource
) -> list[str]:
    """Copy a settled load to silver, if the spec asks for it; hrefs of the parts.

    An append writes what it adds: the parts of the table are those of all its jobs.
    """
    if not manifest.order.spec.geoparquet:
        return []
    if settled.published:
        return _hrefs(settled.candidate.version)
    storage, version, piece = blobs.storage, settled.candidate.version, settled.candidate.piece
    storage.create_container(blobs.silver_container)
    folder = f"{GEOPARQUET}/{version.target}/{version.job_id}"
    hrefs = [href for href in _earlier(settled, postgis) if f"/{folder}/" not in href]
    for number, gids in enumerate(part_ranges(postgis.engine, piece)):
        ref = SourceRef(blobs.silver_container, f"{folder}/part-{number:05d}.parquet")
        with storage.write(ref) as file:
            write_part(
                postgis.database_url,
                postgis.engine,
                piece,
                gids,
                list(version.columns),
                version.geometry_type,
                version.srid,
                file,
            )
        hrefs.append(storage.url(ref))
    return hrefs


def _earlier(settled: Settled, postgis: PostGISResource) -> list[str]:
    """Parts of the features that an append leaves in the table."""
    version = settled.candidate.version
    if version.load_method != "append":
        return []
    with postgis.engine.connect() as connection:
        shown = [v for v in versions_of(connection, version.target) if v.current]
    return _hrefs(shown[0]) if shown else []


def _hrefs(version: Version) -> list[str]:
    assets = version.item["assets"]
    return [asset["href"] for key, asset in assets.items() if key.startswith(GEOPARQUET)]


def discard_side_output(
    blobs: BlobStorageResource, postgis: PostGISResource, target: Target
) -> None:
    """Remove the GeoParquet copies of no version that can be restored, nor of one on its way."""
    folder = f"{GEOPARQUET}/{target}/"
    if blobs.silver_container not in blobs.storage.containers():
        return
    with postgis.engine.connect() as connection:
        kept = {
            job
            for version in versions_of(connection, target)
            if version.loads
            for job in version.jobs
        }
        kept |= jobs_loading(connection, target)
    found = {
        blob.ref.path.removeprefix(folder).split("/")[0]
        for page in blobs.storage.pages(blobs.silver_container, folder)
        for blob in page
    }
    for job_id in found - kept:
        delete_below(blobs.storage, blobs.silver_container, f"{folder}{job_id}/")


def report_ref(blobs: BlobStorageResource, order: Order) -> SourceRef:
    """Where the quality report of a job is."""
    return SourceRef(blobs.silver_container, f"{REPORTS}/{order.target}/{order.job_id}.html")


def write_report(
    manifest: Manifest,
    published: PublishReport,
    result: VectorResult,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> StoredReport:
    """Measure what was published and store the quality report in silver."""
    from geo_etl.report.picture import Marked, map_picture  # with pandas and matplotlib: only here

    order, loads = manifest.order, [part.load.id for part in manifest.parts]
    first, about = published.versions[0].target, order.spec.metadata
    with postgis.engine.connect() as connection:
        tables = [
            MeasuredTable(
                table=str(version.target),
                geometry_type=version.geometry_type,
                srid=version.srid,
                bbox=version.item.get("bbox"),
                columns=version.columns,
                profile=profile_table(
                    connection,
                    version.target.schema,
                    version.target.table,
                    [column.name for column in version.columns],
                ),
            )
            for version in published.versions
        ]
        found = findings(connection, loads)
        sample = sample_geometries(connection, first.schema, first.table, loads)
        software = software_versions(connection)
    time_from = published.versions[0].item["properties"]["geo_etl:datetime_from"]
    delivery = Delivery(
        format=manifest.format,
        bytes=order.bytes,
        sha256=order.fingerprint,
        modified=order.modified,
        crs_declared=manifest.crs_declared,
        encoding_declared=manifest.encoding_declared,
        datetime_from=None if time_from == SOURCE_TIME else time_from,
        title=about.title,
        description=about.description,
        licence=about.license,
        provider=about.provider,
    )
    marked = Marked(sample.repaired, sample.quarantined, manifest.original_crs)
    srid = sample.srid or order.spec.target_srid
    picture = map_picture(sample.features, srid, result.table, marked)
    report = quality_report(result, delivery, tables, found, software)
    ref = report_ref(blobs, order)
    blobs.storage.create_container(ref.container)
    with blobs.storage.write(ref) as file:
        file.write(quality_page(report, picture).encode())
    url = blobs.storage.url(ref)
    return StoredReport(url, summary_markdown(report, picture, url))
