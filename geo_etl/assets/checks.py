"""The asset checks of a vector table: what was loaded is stored, and is served."""

from collections.abc import Mapping
from typing import Any

from dagster import AssetCheckResult, AssetCheckSpec, MetadataValue

from geo_etl.report.result import VectorResult
from geo_etl.resources.postgis import Shown
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


def conserved(result: VectorResult, stored: Mapping[str, Shown]) -> AssetCheckResult:
    """Every feature is accounted for, and what was loaded is stored.

    Args:
        stored: table → what its readers see; other jobs may have added to it since.
    """
    summary = result.summary
    accounted = summary.features_loaded + summary.features_quarantined + summary.features_dropped
    rows = sum(shown.rows for shown in stored.values())
    holds = all(_holds(result, shown) for shown in stored.values())
    return AssetCheckResult(
        asset_key=ASSET,
        check_name=CONSERVED,
        passed=holds and accounted == summary.features_read,
        description=f"{result.source}: {summary.features_read} read = "
        f"{summary.features_loaded} loaded + {summary.features_quarantined} quarantined + "
        f"{summary.features_dropped} dropped; "
        f"{rows} rows in PostGIS",
        metadata={"rows_in_postgis": rows, **summary.model_dump()},
    )


def _holds(result: VectorResult, shown: Shown) -> bool:
    """Whether a table has the rows of its current version, this job's among them."""
    version = shown.version
    return version is not None and result.job_id in version.jobs and shown.rows == version.features


def catalogued(
    result: VectorResult,
    stored: Mapping[str, Shown],
    items: Mapping[str, dict[str, Any] | None],
) -> AssetCheckResult:
    """The catalogue holds the items of what readers see.

    Args:
        stored: table → what its readers see.
        items: table → its item as pgSTAC gives it back; None when it has none.
    """
    said, passed = [], True
    for table in result.tables:
        name, item = f"{table.stac.collection_id}/{table.stac.item_id}", items[table.table]
        properties = item["properties"] if item is not None else {}
        rows, job_id = properties.get("table:row_count"), properties.get("geo_etl:job_id")
        version = stored[table.table].version
        shown = (version.features, version.job_id) if version is not None else None
        passed = passed and shown == (rows, job_id)
        said.append(f"STAC item {name} has {rows} rows" if item else f"no STAC item {name}")
    return AssetCheckResult(
        asset_key=ASSET,
        check_name=CATALOGUED,
        passed=passed,
        description=f"{result.source}: {'; '.join(said)}",
        metadata={"items": ", ".join(table.stac.item_id for table in result.tables)},
    )


def served(
    result: VectorResult,
    stored: Mapping[str, Shown],
    probes: Mapping[str, FeaturesProbe | None],
) -> AssetCheckResult:
    """OGC API Features serves what is stored; skipped, and said so, without a server.

    Args:
        stored: table → what its readers see.
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
        if probe is not None
        and (problem := _served_wrongly(stored[table.table].rows, probe)) is not None
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


def _served_wrongly(rows: int, probe: FeaturesProbe) -> str | None:
    if probe.problem is not None:
        return probe.problem
    if probe.matched != rows:
        return f"numberMatched is {probe.matched}, {rows} features are published"
    return "no feature came back" if probe.first is None and rows else None
