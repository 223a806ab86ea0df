"""The asset checks of a vector table: what was loaded is stored, and is served."""

from typing import Any

from dagster import AssetCheckResult, AssetCheckSpec, MetadataValue

from geo_etl.report.result import VectorResult
from geo_etl.resources.serving import FeaturesProbe

ASSET = "vector_table"
CONSERVED, CATALOGUED, SERVED = "features_conserved", "catalogued", "features_served"
CHECK_SPECS = [
    AssetCheckSpec(
        CONSERVED,
        asset=ASSET,
        description="Features read = loaded + quarantined + dropped, and loaded = rows stored.",
    ),
    AssetCheckSpec(
        CATALOGUED,
        asset=ASSET,
        description="The STAC item reads back, with as many rows as were loaded.",
    ),
    AssetCheckSpec(
        SERVED,
        asset=ASSET,
        description="OGC API Features serves as many features as were loaded.",
    ),
]


def conserved(result: VectorResult, stored: int) -> AssetCheckResult:
    """Every feature is accounted for, and what was loaded is stored.

    Args:
        stored: rows that readers of the table see.
    """
    summary = result.summary
    accounted = summary.features_loaded + summary.features_quarantined + summary.features_dropped
    return AssetCheckResult(
        asset_key=ASSET,
        check_name=CONSERVED,
        passed=stored == summary.features_loaded and accounted == summary.features_read,
        description=f"{result.source}: {summary.features_read} read = "
        f"{summary.features_loaded} loaded + {summary.features_quarantined} quarantined + "
        f"{summary.features_dropped} dropped; "
        f"{stored} rows in PostGIS",
        metadata={"rows_in_postgis": stored, **summary.model_dump()},
    )


def catalogued(result: VectorResult, item: dict[str, Any] | None) -> AssetCheckResult:
    """The catalogue holds the item of this very job.

    Args:
        item: as pgSTAC gives it back; None when it has none.
    """
    name = f"{result.stac.collection_id}/{result.stac.item_id}"
    properties = item["properties"] if item is not None else {}
    rows, job_id = properties.get("table:row_count"), properties.get("geo_etl:job_id")
    said = f"STAC item {name} has {rows} rows" if item is not None else f"no STAC item {name}"
    return AssetCheckResult(
        asset_key=ASSET,
        check_name=CATALOGUED,
        passed=rows == result.summary.features_loaded and job_id == result.job_id,
        description=f"{result.source}: {said}",
        metadata={"item": name},
    )


def served(result: VectorResult, probe: FeaturesProbe | None) -> AssetCheckResult:
    """OGC API Features serves what was loaded; skipped, and said so, without a server."""
    if probe is None:
        return AssetCheckResult(
            asset_key=ASSET,
            check_name=SERVED,
            passed=True,
            description=f"{result.source}: skipped, no OGC API Features server is configured "
            "(GEO_ETL_FEATURES_URL, or 'geo-etl serve').",
            metadata={"skipped": True},
        )
    expected = result.summary.features_loaded
    problem = probe.problem
    if problem is None and probe.matched != expected:
        problem = f"numberMatched is {probe.matched}, {expected} features were loaded"
    if problem is None and probe.first is None:
        problem = "no feature came back"
    if problem is None:
        return AssetCheckResult(
            asset_key=ASSET,
            check_name=SERVED,
            passed=True,
            description=f"{result.source}: numberMatched {probe.matched}, first feature read",
            metadata={"url": MetadataValue.url(probe.url), "number_matched": probe.matched or 0},
        )
    return AssetCheckResult(
        asset_key=ASSET,
        check_name=SERVED,
        passed=False,
        description=f"{result.source}: {problem} ({probe.url})",
        metadata={"url": MetadataValue.url(probe.url), "problem": problem},
    )
