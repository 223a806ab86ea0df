"""What the asset checks of tables and of rasters have in common; the checks of servers above all.

Each kind of server has a check of its own. A server that is not configured is skipped, and the
check says so. One that fails is named with the address that failed and what came back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dagster import AssetCheckResult, MetadataValue

from geo_etl.assets.serving_probes import StacServed
from geo_etl.catalog.read_back import differences
from geo_etl.resources.probes import DocumentProbe, Probe

FEATURES, TILES, STAC = "features_served", "tiles_served", "stac_served"
UNCONFIGURED = {
    FEATURES: "no OGC API Features server is configured (GEO_ETL_FEATURES_URL",
    TILES: "no tile server is configured (GEO_ETL_TILES_URL",
    STAC: "no STAC API is configured (GEO_ETL_STAC_URL",
}
NAMED = 5
"""Problems that a description has in full."""


def check_outputs(
    asset: str, names: Iterable[str], result: Any, checks: Sequence[Any]
) -> dict[str, Any]:
    """Outputs of an asset's graph, under the names that Dagster takes for checks."""
    named = zip(names, checks, strict=True)
    return {"result": result, **{f"{asset}_{name}": check for name, check in named}}


def unconfigured(check: str) -> str:
    """Why a check is skipped where its server is not configured."""
    return f"{UNCONFIGURED[check]}, or 'geo-etl serve')"


def skipped(asset: str, check: str, source: str, why: str) -> AssetCheckResult:
    """A check that could not be made."""
    return AssetCheckResult(
        asset_key=asset,
        check_name=check,
        passed=True,
        description=f"{source}: skipped, {why}.",
        metadata={"skipped": True},
    )


def serving_check(
    asset: str, check: str, source: str, probes: Sequence[Probe], said: str, **figures: Any
) -> AssetCheckResult:
    """A check of what servers said; the first that failed stands in the metadata.

    Args:
        probes: at least one, judged.
        said: what is said when nothing is wrong.
    """
    problems = [probe.told for probe in probes if probe.problem is not None]
    first = next((probe for probe in probes if probe.problem is not None), probes[0])
    answer = first.answer
    metadata: dict[str, Any] = {
        "url": MetadataValue.url(answer.url),
        "status": answer.status or 0,
        "content_type": answer.content_type,
        **figures,
    }
    if problems:
        metadata["problem"] = str(first.problem)
        metadata["answer"] = answer.fault or answer.text
    return AssetCheckResult(
        asset_key=asset,
        check_name=check,
        passed=not problems,
        description=f"{source}: {listed(problems) or said}",
        metadata=metadata,
    )


def listed(problems: Sequence[str]) -> str:
    """The first problems, and how many more there are."""
    shown = "; ".join(problems[:NAMED])
    return f"{shown}; and {len(problems) - NAMED} more" if len(problems) > NAMED else shown


def stac_served(asset: str, source: str, seen: StacServed | None) -> AssetCheckResult:
    """The STAC API gives what was written, and its files can be read from where it says."""
    if seen is None or not (seen.items or seen.collection):
        why = unconfigured(STAC) if seen is None else "there is no STAC item"
        return skipped(asset, STAC, source, why)
    documents = [*seen.items, *([seen.collection] if seen.collection else [])]
    probes = [_judged(written, probe) for written, probe in documents]
    said = f"STAC items read back as written: {len(seen.items)} of {seen.published}"
    if seen.collection:
        said += ", and their collection"
    if seen.files:
        said += f"; files opened at the addresses that they give: {len(seen.files)}"
    return serving_check(asset, STAC, source, [*probes, *seen.files], said, items=len(seen.items))


def _judged(written: Mapping[str, Any], probe: DocumentProbe) -> Probe:
    if probe.document is None:
        return probe
    found = differences(written, probe.document)
    return replace(probe, problem=listed(found)) if found else probe
