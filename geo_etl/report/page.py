"""The quality report of a vector source as a page for a browser."""

import json
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from geo_etl.report.elements import data_table, fact_list, foreign, section, tag
from geo_etl.report.quality import QualityReport, ReasonCount, TableQuality
from geo_etl.report.sections import cards, headline, metadata_table, page, warning_list
from geo_etl.report.words import data_uri, day, extent, moment, percentage

SHOWN_CHARACTERS = 300
"""Of the attributes of one feature."""
SHOWN_REASONS = 20


def quality_page(report: QualityReport, picture: bytes | None) -> str:
    """The report as an HTML document.

    Args:
        picture: PNG of the map; None: there is none.
    """
    tables = ", ".join(table.table for table in report.tables)
    sections = [
        headline(
            "Quality report",
            report.source,
            report.score,
            ["Published as ", foreign(tables or "nothing"), f" on {day(report.created)}"],
            report.scores,
        ),
        cards(report.scores),
        warning_list(report.warnings),
        _features(report),
        _map(report, picture),
        *(_columns(table, report.summary.features_loaded) for table in report.tables),
        _repairs(report),
        _quarantine(report.quarantine, report.summary.features_quarantined),
        metadata_table(report.metadata),
        _lineage(report),
    ]
    return page(f"Quality of {report.source}", sections)


def _features(report: QualityReport) -> Element:
    summary = report.summary
    parts = [
        ("published", summary.features_loaded, "good"),
        ("quarantined: kept apart, with the reason", summary.features_quarantined, "poor"),
        ("dropped: they have no geometry", summary.features_dropped, "none"),
    ]
    bar = tag(
        "div",
        *(
            tag("i", cls=light, style=f"width: {_share(count, summary.features_read)}%")
            for _, count, light in parts
            if count
        ),
        cls="sum",
    )
    terms = " + ".join(f"{count:,} {name.split(':')[0]}" for name, count, _ in parts)
    end = "Nothing is unaccounted for." if summary.data_complete else "The sum does not hold."
    legend = (tag("li", tag("i", cls=light), f" {count:,} {name}") for name, count, light in parts)
    return section(
        "What became of the features",
        tag("p", tag("b", f"{summary.features_read:,} features delivered = {terms}. "), end),
        bar,
        tag("ul", *legend, cls="legend"),
    )


def _map(report: QualityReport, picture: bytes | None) -> Element:
    image = None
    if picture is not None:
        image = tag("img", src=data_uri(picture), alt="Map of the published features")
    facts: list[tuple[str, Element | str]] = [("CRS of the source", foreign(report.original_crs))]
    for table in report.tables:
        facts.append((f"Table {table.table}", f"{table.geometry_type}, EPSG:{table.srid}"))
        if table.bbox is not None:
            facts.append(("Extent, WGS 84", extent(table.bbox)))
    return section("Where it is", image, fact_list(facts))


def _columns(table: TableQuality, loaded: int) -> Element:
    rows: list[list[Element | str]] = []
    for column in table.columns:
        share = column.completeness
        bar = tag("div", tag("i", style=f"width: {100 * (share or 0):.2f}%"), cls="bar")
        said = tag("span", "no rows" if share is None else percentage(share), cls="share")
        original = "" if column.original == column.name else column.original
        name = tag("code", foreign(column.name))
        filled = tag("div", bar, said, cls="filled")
        rows.append([name, foreign(original), column.type, filled])
    more = f" It holds {table.rows:,} rows in all." if table.rows != loaded else ""
    return section(
        f"Columns of {table.table}",
        tag(
            "p",
            _repeats(table.duplicate_rows, "row", "rows", "another row in all, geometry included"),
            " ",
            _repeats(table.duplicate_geometries, "geometry", "geometries", "that of another row"),
            more,
        ),
        data_table(["Column", "Name in the source", "Type", "Filled in"], rows),
    )


def _repeats(count: int, one: str, many: str, what: str) -> str:
    if not count:
        return f"No {one} repeats {what}."
    return f"1 {one} repeats {what}." if count == 1 else f"{count:,} {many} repeat {what}."


def _repairs(report: QualityReport) -> Element:
    count = report.summary.features_repaired
    if not count:
        return section("Validity and repairs", tag("p", "No geometry had to be repaired."))
    largest = None
    if report.largest_repair is not None:
        repair = report.largest_repair
        largest = tag(
            "p",
            f"The largest change: feature {repair.source_fid} of the source, "
            f"{repair.before:,.6g} to {repair.after:,.6g} in area or length "
            f"({percentage(repair.share)}).",
        )
    share = count / report.summary.features_read if report.summary.features_read else 0.0
    text = f"Invalid geometries that were repaired: {count:,} ({percentage(share)})."
    rows: list[list[Element | str]] = [
        [foreign(reason.text), f"{reason.features:,}"] for reason in report.repairs
    ]
    return section(
        "Validity and repairs",
        tag("p", text),
        largest,
        data_table(["Reason", "Features"], rows[:SHOWN_REASONS]),
        _more(len(rows)),
    )


def _quarantine(reasons: Sequence[ReasonCount], count: int) -> Element:
    if not count:
        return section("Quarantine", tag("p", "No feature was refused."))
    rows: list[list[Element | str]] = []
    for reason in reasons[:SHOWN_REASONS]:
        examples = tag("ul", cls="examples")
        for one in reason.examples:
            attributes = json.dumps(one.attributes, ensure_ascii=False, default=str)
            item = tag("li", f"Feature {one.source_fid}: ", foreign(one.said), tag("br"))
            item.append(tag("code", foreign(_cut(attributes))))
            examples.append(item)
        rows.append([foreign(reason.text), f"{reason.features:,}", examples])
    return section(
        "Quarantine",
        tag("p", f"Features that are kept apart, with geometry and attributes: {count:,}."),
        data_table(["Reason", "Features", "First ones"], rows),
        _more(len(reasons)),
    )


def _more(reasons: int) -> Element | None:
    hidden = reasons - SHOWN_REASONS
    return tag("p", f"and {hidden:,} more reasons") if hidden > 0 else None


def _lineage(report: QualityReport) -> Element:
    size = "" if report.source_bytes is None else f", {report.source_bytes:,} bytes"
    programs = ", ".join(f"{name} {version}" for name, version in report.software.items())
    facts: list[tuple[str, Element | str]] = [
        ("Source", foreign(report.source)),
        ("Format", f"{report.format}{size}"),
        ("Written", moment(report.source_modified)),
        ("SHA-256", tag("code", report.source_sha256)),
        ("Job", tag("code", report.job_id)),
        ("Load method", report.load_method),
        ("Version", "not versioned" if report.version is None else str(report.version)),
        ("Report made", moment(report.created)),
        ("Made with", programs),
    ]
    return section("Where it comes from", fact_list(facts))


def _share(count: int, whole: int) -> str:
    return f"{100 * count / whole:.3f}" if whole else "0"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …"
