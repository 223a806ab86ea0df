"""What a person sees of published rasters in the Dagster UI."""

from typing import Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from geo_etl.report.raster_result import CollectionResult, RasterAsset, RasterResult
from geo_etl.report.tier_words import (
    compression_words,
    monthly_dollars,
    pixel_words,
    proof_words,
    tier_size,
)
from geo_etl.report.words import file_size, plain_markdown

TIER_COLUMNS = (
    ("tier", "string"),
    ("size", "string"),
    ("storage", "string"),
    ("grid", "string"),
    ("pixels", "string"),
    ("compression", "string"),
    ("proof", "string"),
)
MEMBER_COLUMNS = (
    ("source", "string"),
    ("status", "string"),
    ("item", "string"),
    ("size", "string"),
    ("problem", "string"),
)
SHOWN_MEMBERS = 200

Record = dict[str, str | int | float | bool | None]


def raster_metadata(result: RasterResult, summary: str | None) -> dict[str, Any]:
    """Metadata of one materialization of a raster.

    Args:
        summary: the quality report in short, as Markdown, with a small picture; None for a job
            that was done already.
    """
    counts = result.summary
    metadata: dict[str, Any] = {
        **_first(result, summary),
        "data_kind": f"{result.data_kind}: {result.data_kind_because}",
        "pixels": counts.pixels,
        "valid_share": round(counts.pixels_valid / counts.pixels, 6) if counts.pixels else 0.0,
        "bands": counts.bands,
        "nodata": _nodata(result),
        "crs": MetadataValue.text(
            result.target_crs
            if result.target_crs == result.original_crs
            else f"{result.target_crs}, from {result.original_crs}"
        ),
    }
    if result.narrowed_to is not None:
        metadata["narrowed_to"] = result.narrowed_to
    if result.tiles:
        metadata["tiles"] = (
            f"{counts.total_tiles} = {counts.tiles_converted} converted + "
            f"{counts.tiles_empty} empty"
        )
    if result.preview_url is not None:
        metadata["preview"] = MetadataValue.url(result.preview_url)
    if result.stac.item_id is not None:
        metadata["stac_item"] = f"{result.stac.collection_id}/{result.stac.item_id}"
    return metadata | _rest(result, summary)


def collection_metadata(result: CollectionResult, summary: str | None) -> dict[str, Any]:
    """Metadata of one materialization of a collection of rasters.

    Args:
        summary: see `raster_metadata`.
    """
    counts = result.summary
    rows: list[Record] = [
        {
            "source": member.source,
            "status": member.status,
            "item": member.item_id or "",
            "size": file_size(member.bytes),
            "problem": member.problem or "",
        }
        # What a person has to look at comes first.
        for member in sorted(result.members, key=lambda member: member.status != "bad")
    ]
    return {
        **_first(result, summary),
        "pixels": counts.pixels,
        "members": f"{counts.members} = {counts.converted} converted + {counts.unchanged} "
        f"unchanged + {counts.bad} bad; {counts.removed} removed",
        "member_table": _table(rows[:SHOWN_MEMBERS], MEMBER_COLUMNS),
        **_rest(result, summary),
    }


def _first(result: RasterResult | CollectionResult, summary: str | None) -> dict[str, Any]:
    """What a person looks for first; the UI keeps the order."""
    metadata: dict[str, Any] = {"layer": result.layer}
    if summary is not None:
        metadata["quality"] = MetadataValue.md(summary)
    if result.warnings:
        lines = (f"- {plain_markdown(warning)}" for warning in result.warnings)
        metadata["warnings"] = MetadataValue.md("\n".join(lines))
    if result.viewer_url is not None:
        metadata["viewer"] = MetadataValue.url(result.viewer_url)
    return metadata


def _rest(result: RasterResult | CollectionResult, summary: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "tiers": _table([_tier(asset) for asset in result.assets], TIER_COLUMNS),
        "size": file_size(sum(asset.bytes for asset in result.assets)),
        "monthly_cost_usd": round(sum(asset.monthly_cost for asset in result.assets), 6),
        "stac_items": result.stac.items,
    }
    if result.stac.bbox is not None:
        metadata["bbox"] = MetadataValue.text(", ".join(f"{side:g}" for side in result.stac.bbox))
    links = [
        ("tilejson", result.tiles_url),
        ("quality_report", result.quality_report_url),
        *((f"{asset.tier}_cog", asset.href) for asset in result.assets),
        ("mosaic", result.mosaic.vrt if result.mosaic else None),
    ]
    metadata |= {name: MetadataValue.url(url) for name, url in links if url is not None}
    if (uri := _uri(result)) is not None:
        metadata["dagster/uri"] = uri
    return metadata | {
        "version": result.version or 0,
        "already_done": summary is None,
        "result": MetadataValue.json(result.model_dump(mode="json")),
    }


def _uri(result: RasterResult | CollectionResult) -> str | None:
    """Where the data is: the first tier's file, or the VRT over many."""
    if result.mosaic is not None and result.mosaic.vrt is not None:
        return result.mosaic.vrt
    return next((asset.href for asset in result.assets if asset.href is not None), None)


def _tier(asset: RasterAsset) -> Record:
    grid = f"{asset.width:,} × {asset.height:,}, " if asset.width and asset.height else ""
    return {
        "tier": asset.tier,
        "size": tier_size(asset),
        "storage": monthly_dollars(asset.monthly_cost),
        "grid": f"{grid}{asset.crs or 'of several CRS'}",
        "pixels": pixel_words(asset),
        "compression": compression_words(asset),
        "proof": proof_words(asset),
    }


def _nodata(result: RasterResult) -> str:
    return "none" if result.nodata is None else f"{result.nodata} ({result.nodata_from})"


def _table(rows: list[Record], columns: tuple[tuple[str, str], ...]) -> MetadataValue:
    return MetadataValue.table(
        [TableRecord(row) for row in rows],
        TableSchema([TableColumn(name, type_) for name, type_ in columns]),
    )
