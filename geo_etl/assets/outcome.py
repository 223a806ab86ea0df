"""What an ingest says of itself: the facts of its STAC items, and its result document."""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from geo_etl.catalog.lineage import SourceBlob
from geo_etl.catalog.links import map_url
from geo_etl.catalog.vectors import Period, TableFacts
from geo_etl.ingest.clock import Clock, parallel_efficiency
from geo_etl.report.documents import StacReference, Stage
from geo_etl.report.result import Summary, TableResult, VectorResult
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.serving import ServingResource
from geo_etl.vector import ingest
from geo_etl.vector.account import Totals
from geo_etl.vector.extent import extent_wgs84, temporal_extent, time_columns
from geo_etl.vector.manifest import Manifest, PublishReport
from geo_etl.vector.profile import software_versions
from geo_etl.vector.reproject import union_wgs84
from geo_etl.vector.settle import Settled
from geo_etl.vector.versions import Version, current_version

BBox = tuple[float, float, float, float]
HALF, WGS84 = 180.0, 4326


def table_facts(
    manifest: Manifest,
    settled: Settled,
    postgis: PostGISResource,
    serving: ServingResource,
    report_url: str,
    source_blobs: Sequence[SourceBlob],
    geoparquet: Sequence[str],
) -> TableFacts:
    """The facts of one table's STAC item, before it is published."""
    order, version = manifest.order, settled.candidate.version
    with postgis.engine.connect() as connection:
        tables = _tables_of(connection, settled)
        bbox = _bbox(connection, version, tables)
        period = _period(
            connection, time_columns(order.spec.indexes.temporal, version.columns), tables
        )
        software = software_versions(connection)
    return TableFacts(
        table=str(version.target),
        collection_id=version.collection_id,
        source=str(order.source),
        fingerprint=order.fingerprint,
        job_id=order.job_id,
        columns=[
            ("gid", "bigint", "number of the feature"),
            *((column.name, column.sql_type, column.original) for column in version.columns),
            ("geom", f"geometry({version.geometry_type},{version.srid})", "geometry"),
        ],
        features=version.features,
        bbox=bbox,
        srid=version.srid,
        geometry_type=version.geometry_type,
        modified=order.modified,
        created=datetime.now(UTC),
        features_url=serving.features_root,
        source_blobs=source_blobs,
        renders=order.spec.render_params,
        about=order.spec.metadata,
        period=period,
        original_crs=manifest.original_crs,
        software=software,
        report_url=report_url,
        geoparquet=geoparquet,
    )


def _tables_of(connection: sa.Connection, settled: Settled) -> list[tuple[str, str]]:
    """Schema and table of what the new version will hold."""
    version, piece = settled.candidate.version, settled.candidate.piece
    tables = [("geo_loads", piece.table)]
    if version.load_method == "append" and current_version(connection, version.target):
        tables.append((version.target.schema, version.target.table))
    return tables


def _bbox(
    connection: sa.Connection, version: Version, tables: Sequence[tuple[str, str]]
) -> BBox | None:
    """west, south, east, north in degrees; west is greater than east across the antimeridian."""
    bounds = version.bounds
    if bounds is None:
        return None
    if version.srid == WGS84 and bounds[2] - bounds[0] <= HALF:
        return bounds
    boxes = [extent_wgs84(connection, *table) for table in tables]
    return union_wgs84([box for box in boxes if box is not None])


def _period(
    connection: sa.Connection, columns: Sequence[str], tables: Sequence[tuple[str, str]]
) -> Period | None:
    """The time that the first column with values tells."""
    for column in columns:
        found = [temporal_extent(connection, *table, column) for table in tables]
        spans = [span for span in found if span is not None]
        if spans:
            return Period(min(s[0] for s in spans), max(s[1] for s in spans), column)
    return None


def result_of(
    manifest: Manifest,
    report: PublishReport,
    serving: ServingResource,
    quality_report_url: str | None,
    clock: Clock,
    left_behind: Sequence[str],
) -> VectorResult:
    """The result document of a job that is published."""
    order, account = manifest.order, Totals.sum(report.accounts)
    verify_span = clock.span()
    stages = [Stage(name="plan", seconds=round(manifest.span.seconds, 3), tasks=1)]
    if report.load_span is not None:
        stages.append(
            Stage(name="load", seconds=round(report.load_span.seconds, 3), tasks=report.load_tasks)
        )
    stages.append(Stage(name="publish", seconds=round(report.span.seconds, 3), tasks=1))
    stages.append(Stage(name="verify", seconds=round(verify_span.seconds, 3), tasks=1))
    tables = [
        _table(version, one, serving)
        for version, one in zip(report.versions, report.accounts, strict=True)
    ]
    first, root = tables[0], serving.features_root
    return VectorResult(
        job_id=order.job_id,
        source=str(order.source),
        table=first.table,
        tables=tables,
        version=report.versions[0].number,
        load_method=order.spec.load_method,
        summary=Summary(
            features_read=account.read,
            features_loaded=account.loaded,
            features_repaired=account.repaired,
            features_quarantined=account.quarantined,
            features_dropped=account.dropped,
            total_chunks=len(manifest.chunks),
            chunks_loaded=len(manifest.chunks),
            success_rate=round(account.loaded / account.read, 6),
            data_complete=account.read == account.loaded + account.quarantined + account.dropped,
        ),
        stac=first.stac,
        ogc_features_url=first.ogc_features_url,
        viewer_url=map_url(root, first.table) if root else None,
        quality_report_url=quality_report_url,
        geoparquet=report.geoparquet,
        stages=stages,
        processing_time_seconds=round(verify_span.end - manifest.span.start, 3),
        tasks_executed=sum(stage.tasks for stage in stages),
        parallel_efficiency=parallel_efficiency(
            report.load_span, report.load_tasks, report.busy_seconds
        ),
        original_crs=manifest.original_crs,
        geometry_type=first.geometry_type,
        warnings=[*ingest.warnings_of(manifest, account), *left_behind],
    )


def _table(version: Version, account: Totals, serving: ServingResource) -> TableResult:
    base, bbox = serving.collection_url(str(version.target)), version.item.get("bbox")
    return TableResult(
        table=str(version.target),
        geometry_type=version.geometry_type,
        features_loaded=account.loaded,
        features_total=version.features,
        stac=StacReference(collection_id=version.collection_id, item_id=version.item_id, bbox=bbox),
        ogc_features_url=f"{base}/items" if base else None,
    )
