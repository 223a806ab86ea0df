"""What a person sees of a published table in the Dagster UI."""

import base64
from typing import Any

from dagster import MetadataValue, TableColumn, TableSchema

from geo_etl.report.result import VectorResult
from geo_etl.vector.ingest import Manifest


def table_metadata(result: VectorResult, manifest: Manifest, picture: bytes) -> dict[str, Any]:
    """Metadata of one materialization.

    Args:
        picture: PNG.
    """
    summary = result.summary
    image = base64.b64encode(picture).decode()
    metadata: dict[str, Any] = {
        "dagster/row_count": summary.features_loaded,
        "dagster/relation_identifier": result.table,
        "repaired": summary.features_repaired,
        "quarantined": summary.features_quarantined,
        "dropped": summary.features_dropped,
        "geometry_type": result.geometry_type,
        "original_crs": result.original_crs,
        "map": MetadataValue.md(f"![{result.table}](data:image/png;base64,{image})"),
        "stac_item": f"{result.stac.collection_id}/{result.stac.item_id}",
        "already_done": manifest.done,
        "result": MetadataValue.json(result.model_dump(mode="json")),
    }
    if manifest.columns:
        metadata["dagster/column_schema"] = MetadataValue.table_schema(
            TableSchema(
                [
                    TableColumn(column.name, column.sql_type, column.original)
                    for column in manifest.columns
                ]
            )
        )
    if result.stac.bbox is not None:
        metadata["bbox"] = MetadataValue.json(list(result.stac.bbox))
    if result.warnings:
        metadata["warnings"] = MetadataValue.md("\n".join(f"- {w}" for w in result.warnings))
    for name, url in (("features", result.ogc_features_url), ("viewer", result.viewer_url)):
        if url is not None:
            metadata[name] = MetadataValue.url(url)
    return metadata
