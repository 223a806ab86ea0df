"""The quality report in short, as Markdown for the Dagster UI."""

import base64
import re

from geo_etl.report.quality import LIGHT_WORDS, QualityReport

LIGHT_MARKS = {"good": "✓", "fair": "!", "poor": "✗"}

# What has a meaning in CommonMark or its tables: all ASCII punctuation that may be escaped.
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


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
        f"### {LIGHT_MARKS[report.light]} {report.score} of 100: {LIGHT_WORDS[report.light]}",
        "",
        "| | Score | |",
        "|---|---:|---|",
        *(
            f"| {LIGHT_MARKS[score.light]} {score.name} | {score.value}% | {score.meaning} |"
            for score in report.scores
        ),
        "",
        f"{summary.features_read:,} features delivered = {summary.features_loaded:,} published + "
        f"{summary.features_quarantined:,} quarantined + {summary.features_dropped:,} dropped; "
        f"{summary.features_repaired:,} repaired.",
        "",
    ]
    lines += [f"- {_plain(warning)}" for warning in report.warnings]
    if url is not None:
        lines += ["", f"[The whole report]({_address(url)})"]
    if picture is not None:
        image = base64.b64encode(picture).decode()
        lines += ["", f"![map](data:image/png;base64,{image})"]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text of somebody else's, without a meaning in Markdown."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def _address(url: str) -> str:
    return "".join(f"%{ord(c):02X}" if c in ' ()<>[]\\\n"' else c for c in url)
