"""The quality report in short, as Markdown for the Dagster UI."""

from collections.abc import Sequence

from geo_etl.report.quality import LIGHT_WORDS, QualityReport, Score, light
from geo_etl.report.raster_quality import RasterReport
from geo_etl.report.raster_result import CollectionResult, RasterAsset
from geo_etl.report.tier_words import monthly_dollars, proof_words, tier_size
from geo_etl.report.words import data_uri, plain_address, plain_markdown

LIGHT_MARKS = {"good": "✓", "fair": "!", "poor": "✗"}
SHOWN = 50
"""Of warnings, or of bad members."""


def summary_markdown(
    report: QualityReport, picture: bytes | None = None, url: str | None = None
) -> str:
    """Scores, sums and the map.

    Args:
        picture: PNG of the map.
        url: where the whole report is.
    """
    summary = report.summary
    lines = [
        *_scored(report.score, report.scores),
        f"{summary.features_read:,} features delivered = {summary.features_loaded:,} published + "
        f"{summary.features_quarantined:,} quarantined + {summary.features_dropped:,} dropped; "
        f"{summary.features_repaired:,} repaired.",
        "",
    ]
    return "\n".join([*lines, *_rest(report.warnings, url, picture)])


def raster_markdown(
    report: RasterReport, picture: bytes | None = None, url: str | None = None
) -> str:
    """Scores, sums, tiers and a small picture of a raster.

    Args:
        picture: PNG, small.
        url: where the whole report is.
    """
    result, summary = report.result, report.result.summary
    lines = [
        *_scored(report.score, report.scores),
        f"{summary.pixels:,} pixels in the source, {summary.pixels_valid:,} of them valid; "
        f"{summary.tiles_converted:,} of {summary.total_tiles:,} tiles converted, "
        f"{summary.tiles_empty:,} empty.",
        "",
        *_tier_table(result.assets),
    ]
    return "\n".join([*lines, *_rest(result.warnings, url, picture)])


def collection_markdown(
    result: CollectionResult, picture: bytes | None = None, url: str | None = None
) -> str:
    """Sums, what is bad, tiers and a small picture of a collection of rasters.

    Args:
        picture: PNG, small.
        url: where the whole report is.
    """
    summary = result.summary
    bad = [member for member in result.members if member.status == "bad"]
    lines = [
        f"{summary.members:,} rasters = {summary.converted:,} converted + "
        f"{summary.unchanged:,} unchanged + {summary.bad:,} bad; {summary.removed:,} removed.",
        "",
        *(
            f"- ✗ {plain_markdown(member.source)}: {plain_markdown(member.problem or 'bad')}"
            for member in bad[:SHOWN]
        ),
        *_more(bad),
        "",
        *_tier_table(result.assets),
    ]
    return "\n".join([*lines, *_rest(result.warnings, url, picture)])


def _scored(score: int, scores: Sequence[Score]) -> list[str]:
    mark = light(score)
    return [
        f"### {LIGHT_MARKS[mark]} {score} of 100: {LIGHT_WORDS[mark]}",
        "",
        "| | Score | |",
        "|---|---:|---|",
        *(
            f"| {LIGHT_MARKS[one.light]} {one.name} | {one.value}% | {one.meaning} |"
            for one in scores
        ),
        "",
    ]


def _rest(warnings: Sequence[str], url: str | None, picture: bytes | None) -> list[str]:
    """Warnings, the link to the page, the picture."""
    lines = [f"- {plain_markdown(warning)}" for warning in warnings[:SHOWN]]
    lines += _more(warnings)
    if url is not None:
        lines += ["", f"[The whole report]({plain_address(url)})"]
    if picture is not None:
        lines += ["", f"![map]({data_uri(picture)})"]
    return lines


def _more(lines: Sequence[object]) -> list[str]:
    return [f"- and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []


def _tier_table(assets: Sequence[RasterAsset]) -> list[str]:
    return [
        "| Tier | Size | Storage | Proof |",
        "|---|---|---|---|",
        *(
            f"| {asset.tier} | {tier_size(asset)} | {monthly_dollars(asset.monthly_cost)} "
            f"| {proof_words(asset)} |"
            for asset in assets
        ),
        "",
    ]
