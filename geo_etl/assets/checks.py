"""The asset checks of a vector table: what was loaded is stored, and is served."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dagster import AssetCheckResult, AssetCheckSpec

from geo_etl.assets.serving_checks import FEATURES, STAC, serving_check, skipped, unconfigured
from geo_etl.assets.table_serving import TableServed
from geo_etl.catalog.read_back import is_within
from geo_etl.report.result import VectorResult
from geo_etl.resources.postgis import Shown
from geo_etl.resources.probes import Probe

ASSET = "vector_table"
CONSERVED, CATALOGUED = "features_conserved", "catalogued"
CHECKS = {
    CONSERVED: "Features read = loaded + quarantined + dropped, and loaded = rows stored.",
    CATALOGUED: "The STAC item reads back, with as many rows as were loaded.",
    FEATURES: "OGC API Features serves as many features as were loaded, the first where the STAC "
    "item says; a vector tile shows it.",
    STAC: "The STAC API serves the item as it was written.",
}
CHECK_SPECS = [AssetCheckSpec(name, asset=ASSET, description=text) for name, text in CHECKS.items()]


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


def features_served(
    result: VectorResult,
    stored: Mapping[str, Shown],
    seen: Mapping[str, TableServed | None],
) -> AssetCheckResult:
    """OGC API Features serves what is stored, and draws it; skipped without a server.

    Args:
        stored: table → what its readers see.
        seen: table → what the server says; None when none is configured.
    """
    probes: list[Probe] = []
    matched = 0
    for table, shown in stored.items():
        served = seen[table]
        if served is None:
            return skipped(ASSET, FEATURES, result.source, unconfigured(FEATURES))
        problem = served.features.problem or _served_wrongly(shown, served)
        probes += [
            replace(served.features, problem=problem),
            *([served.tile] if served.tile else []),
        ]
        matched += served.features.matched or 0
    said = f"numberMatched {matched}"
    if any(served and served.geometry for served in seen.values()):
        said += ", first feature read, in the bbox of its item"
    if any(served and served.tile for served in seen.values()):
        said += " and on a vector tile"
    return serving_check(ASSET, FEATURES, result.source, probes, said, number_matched=matched)


def _served_wrongly(shown: Shown, served: TableServed) -> str | None:
    features, version = served.features, shown.version
    published = version.features if version is not None else 0
    if features.matched != published:
        return f"numberMatched is {features.matched}, {published} features are published"
    if features.first is None:
        return "no feature came back" if published else None
    if served.geometry is None:
        # Null is legal (RFC 7946, section 3.2).
        is_null = features.first.get("geometry", ...) is None
        return None if is_null else "the geometry of the first feature can't be read"
    bbox = version.item.get("bbox") if version is not None else None
    if bbox is not None and not is_within(served.geometry, bbox):
        return f"the first feature does not lie in the bbox of the STAC item, {bbox}"
    return None
