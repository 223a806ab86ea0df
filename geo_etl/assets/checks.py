"""The asset checks of a vector table: what was loaded is stored, and is served."""

from collections.abc import Mapping
from typing import Any

from dagster import AssetCheckResult, AssetCheckSpec, MetadataValue

from geo_etl.report.result import TableResult, VectorResult
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


def conserved(result: VectorResult, stored: Mapping[str, int]) -> AssetCheckResult:
    """Every feature is accounted for, and what was loaded is stored.

    Args:
        stored: table → rows that its readers see.
    """
    summary = result.summary
    accounted = summary.features_loaded + summary.features_quarantined + summary.features_dropped
    expected = {table.table: table.features_total for table in result.tables}
    rows = sum(stored.values())
    return AssetCheckResult(
        asset_key=ASSET,
        check_name=CONSERVED,
        passed=stored == expected and accounted == summary.features_read,
        description=f"{result.source}: {summary.features_read} read = "
        f"{summary.features_loaded} loaded + {summary.features_quarantined} quarantined + "
        f"{summary.features_dropped} dropped; "
        f"{rows} rows in PostGIS",
        metadata={"rows_in_postgis": rows, **summary.model_dump()},
    )


def catalogued(
    result: VectorResult, items: Mapping[str, dict[str, Any] | None]
) -> AssetCheckResult:
    """The catalogue holds the items of this very job.

    Args:
        items: table → its item as pgSTAC gives it back; None when it has none.
    """
    said, passed = [], True
    for table in result.tables:
        name, item = f"{table.stac.collection_id}/{table.stac.item_id}", items[table.table]
        properties = item["properties"] if item is not None else {}
        rows, job_id = properties.get("table:row_count"), properties.get("geo_etl:job_id")
        passed = passed and rows == table.features_total and job_id == result.job_id
        said.append(f"STAC item {name} has {rows} rows" if item else f"no STAC item {name}")
    return AssetCheckResult(
        asset_key=ASSET,
        check_name=CATALOGUED,
        passed=passed,
        description=f"{result.source}: {'; '.join(said)}",
        metadata={"items": ", ".join(table.stac.item_id for table in result.tables)},
    )


def served(result: VectorResult, probes: Mapping[str, FeaturesProbe | None]) -> AssetCheckResult:
    """OGC API Features serves what was loaded; skipped, and said so, without a server.

    Args:
        probes: table → what the server says; None when none is configured.
    """
    asked = [(table, probes[table.table]) for table in result.tables]
    urls = [probe.url for _, probe in asked if probe is not None]
    if not urls:
        return AssetCheckResult(
            asset_key=ASSET,
            check_name=SERVED,
            passed=True,
            description=f"{result.source}: skipped, no OGC API Features server is configured "
            "(GEO_ETL_FEATURES_URL, or 'geo-etl serve').",
            metadata={"skipped": True},
        )
    problems = [
        f"{problem} ({probe.url})"
        for table, probe in asked
        if probe is not None and (problem := _served_wrongly(table, probe)) is not None
    ]
    matched = sum(probe.matched or 0 for _, probe in asked if probe is not None)
    said = "; ".join(problems) or f"numberMatched {matched}, first feature read"
    metadata: dict[str, Any] = {"url": MetadataValue.url(urls[0]), "number_matched": matched}
    if problems:
        metadata["problem"] = said
    return AssetCheckResult(
        asset_key=ASSET,
        check_name=SERVED,
        passed=not problems,
        description=f"{result.source}: {said}",
        metadata=metadata,
    )


def _served_wrongly(table: TableResult, probe: FeaturesProbe) -> str | None:
    if probe.problem is not None:
        return probe.problem
    if probe.matched != table.features_total:
        return f"numberMatched is {probe.matched}, {table.features_total} features are published"
    return "no feature came back" if probe.first is None and table.features_total else None
