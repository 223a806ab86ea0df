"""The quality report of a collection of rasters as a page for a browser."""

from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from geo_etl.report.elements import data_table, fact_list, foreign, section, tag
from geo_etl.report.quality import Score, percent
from geo_etl.report.raster_result import CollectionResult, MemberResult
from geo_etl.report.sections import cards, headline, page, warning_list
from geo_etl.report.tier_words import tier_section
from geo_etl.report.words import data_uri, day, extent, file_size, moment

SHOWN_MEMBERS = 500


def collection_page(
    result: CollectionResult, software: dict[str, str], picture: bytes | None
) -> str:
    """The report as an HTML document.

    Args:
        software: versions of the programs that did it.
        picture: PNG of where the members are; None: there is none.
    """
    scores, created = collection_scores(result), datetime.now(UTC).replace(microsecond=0)
    sections = [
        headline(
            "Quality report",
            result.source,
            sum(score.value for score in scores) // len(scores),
            ["Published as ", foreign(result.layer), f" on {day(created)}"],
            scores,
        ),
        cards(scores),
        warning_list(result.warnings),
        _place(result, picture),
        _sum(result),
        _members(result.members),
        tier_section(result.assets),
        _lineage(result, software, created),
    ]
    return page(f"Quality of {result.source}", sections)


def collection_scores(result: CollectionResult) -> list[Score]:
    """How much of a collection is published, and proven."""
    summary = result.summary
    files = sum(asset.files for asset in result.assets)
    proven = sum(asset.files for asset in result.assets if asset.proof and asset.proof.holds)
    return [
        Score(
            name="Published",
            value=percent(summary.converted + summary.unchanged, summary.members),
            meaning="rasters that are published, of those that are there",
        ),
        Score(
            name="Proven",
            value=percent(proven, files),
            meaning="files that passed every test after their last write",
        ),
    ]


def _place(result: CollectionResult, picture: bytes | None) -> Element:
    image = None
    if picture is not None:
        image = tag("img", src=data_uri(picture), alt="Map of the rasters")
    facts: list[tuple[str, Element | str]] = []
    if result.stac.bbox is not None:
        facts.append(("Extent, WGS 84", extent(result.stac.bbox)))
    facts += [(f"CRS of {asset.tier}", foreign(asset.crs or "several")) for asset in result.assets]
    return section("Where it is", image, fact_list(facts))


def _sum(result: CollectionResult) -> Element:
    summary = result.summary
    parts = [
        ("converted by this job", summary.converted, "good"),
        ("unchanged since they were published", summary.unchanged, "fair"),
        ("bad: not published, with the reason", summary.bad, "poor"),
    ]
    bar = tag(
        "div",
        *(
            tag("i", cls=light, style=f"width: {100 * count / summary.members:.3f}%")
            for _, count, light in parts
            if count
        ),
        cls="sum",
    )
    terms = " + ".join(f"{count:,} {name.split()[0].rstrip(':')}" for name, count, _ in parts)
    end = "Nothing is unaccounted for." if summary.data_complete else "The sum does not hold."
    legend = (tag("li", tag("i", cls=light), f" {count:,} {name}") for name, count, light in parts)
    return section(
        "What became of the rasters",
        tag("p", tag("b", f"{summary.members:,} rasters = {terms}. "), end),
        bar,
        tag("ul", *legend, cls="legend"),
        tag("p", f"Rasters that were taken away: {summary.removed:,}."),
    )


def _members(members: Sequence[MemberResult]) -> Element:
    lights = {"converted": "good", "unchanged": "fair", "bad": "poor", "removed": "none"}
    # What a person has to look at comes first.
    ordered = sorted(members, key=lambda member: member.status != "bad")
    rows: list[list[Element | str]] = [
        [
            tag("span", member.status, cls=f"light {lights[member.status]}"),
            foreign(member.source),
            foreign(member.item_id or ""),
            file_size(member.bytes) if member.bytes else "",
            foreign(member.problem or ""),
        ]
        for member in ordered[:SHOWN_MEMBERS]
    ]
    hidden = len(members) - SHOWN_MEMBERS
    return section(
        "Rasters",
        data_table(["", "Source", "STAC item", "Size", "Problem"], rows),
        tag("p", f"and {hidden:,} more rasters") if hidden > 0 else None,
    )


def _lineage(result: CollectionResult, software: dict[str, str], created: datetime) -> Element:
    programs = ", ".join(f"{name} {version}" for name, version in software.items())
    facts: list[tuple[str, Element | str]] = [
        ("Source", foreign(result.source)),
        ("Job", tag("code", result.job_id)),
        ("Version", "not versioned" if result.version is None else str(result.version)),
        ("Report made", moment(created)),
        ("Made with", programs),
    ]
    return section("Where it comes from", fact_list(facts))
