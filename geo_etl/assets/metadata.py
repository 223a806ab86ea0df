"""What a person sees of published tables in the Dagster UI."""

from collections.abc import Sequence
from typing import Any

from dagster import MetadataValue, TableColumn, TableSchema

from geo_etl.assets.side_output import StoredReport
from geo_etl.report.result import VectorResult
from geo_etl.vector.versions import Version


def table_metadata(
    result: VectorResult, versions: Sequence[Version], report: StoredReport | None
) -> dict[str, Any]:
    """Metadata of one materialization.

    Args:
        versions: what was published; none for a job that was done already.
        report: the quality report; None for a job that was done already.
    """
    summary = result.summary
    metadata: dict[str, Any] = {
        "dagster/row_count": sum(table.features_total for table in result.tables),
        "dagster/relation_identifier": result.table,
        "repaired": summary.features_repaired,
        "quarantined": summary.features_quarantined,
        "dropped": summary.features_dropped,
        "geometry_type": result.geometry_type,
        "original_crs": result.original_crs,
        "stac_item": f"{result.stac.collection_id}/{result.stac.item_id}",
        "version": result.version or 0,
        "already_done": not versions,
        "result": MetadataValue.json(result.model_dump(mode="json")),
    }
    if len(result.tables) > 1:
        metadata["tables"] = MetadataValue.md("\n".join(f"- {t.table}" for t in result.tables))
    if report is not None:
        metadata["quality"] = MetadataValue.md(report.markdown)
    if versions:
        metadata["dagster/column_schema"] = MetadataValue.table_schema(
            TableSchema(
                [
                    TableColumn(column.name, column.sql_type, column.original)
                    for column in versions[0].columns
                ]
            )
        )
    if result.stac.bbox is not None:
        metadata["bbox"] = MetadataValue.json(list(result.stac.bbox))
    if result.warnings:
        metadata["warnings"] = MetadataValue.md("\n".join(f"- {w}" for w in result.warnings))
    for name, url in (
        ("features", result.ogc_features_url),
        ("viewer", result.viewer_url),
        ("quality_report", result.quality_report_url),
    ):
        if url is not None:
            metadata[name] = MetadataValue.url(url)
    return metadata
