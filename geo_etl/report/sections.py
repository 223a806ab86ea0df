"""What the pages of quality reports share, of vectors and of rasters.

A page is one file that loads nothing, built as a tree of elements, so that whatever a provider
wrote into names and values comes out as text.
"""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from xml.etree.ElementTree import Element, tostring

from geo_etl.report.elements import Content, data_table, foreign, section, tag
from geo_etl.report.quality import LIGHT_WORDS, MetadataFact, Score, light


def page(title: str, sections: Iterable[Content]) -> str:
    """An HTML document."""
    # Nothing is loaded or run, even if a browser were led to think otherwise.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    style = files("geo_etl.report").joinpath("page.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", style),
    )
    html = tag("html", head, tag("body", tag("main", *sections)), lang="en")
    text = "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html")
    # A lone surrogate, which no encoding has, becomes a question mark.
    return text.encode("utf-8", "replace").decode()


def headline(
    kind: str, source: str, score: int, published: Iterable[Content], scores: Sequence[Score]
) -> Element:
    """What the page is about, the score of the whole, and what to look at."""
    ring = tag(
        "div",
        tag("strong", str(score)),
        tag("span", "of 100"),
        cls=f"ring {light(score)}",
        style=f"--score: {score}",
    )
    words = tag(
        "div",
        tag("p", kind, cls="kind"),
        tag("h1", foreign(source.rsplit("/", 1)[-1])),
        tag("p", *published),
        tag("p", _verdict(score, scores), cls="verdict"),
    )
    return tag("header", ring, words)


def _verdict(score: int, scores: Sequence[Score]) -> str:
    weak = [one.name.lower() for one in scores if one.light != "good"]
    word = LIGHT_WORDS[light(score)]
    return f"{word}. To look at: {', '.join(weak)}." if weak else f"{word} in every respect."


def cards(scores: Iterable[Score]) -> Element:
    """Each score with its traffic light."""
    return tag("div", *(_card(score) for score in scores), cls="cards")


def _card(score: Score) -> Element:
    return tag(
        "div",
        tag("span", f"{LIGHT_WORDS[score.light]}", cls=f"light {score.light}"),
        tag("strong", f"{score.value}%"),
        tag("b", score.name),
        tag("span", score.meaning, cls="meaning"),
        cls="card",
    )


def warning_list(warnings: Sequence[str]) -> Element | None:
    """What a person should know."""
    if not warnings:
        return None
    items = (tag("li", foreign(warning)) for warning in warnings)
    return tag("section", tag("h2", "Please note"), tag("ul", *items), cls="warnings")


def metadata_table(metadata: Sequence[MetadataFact]) -> Element:
    """What a delivery says of itself, and how to add what is missing."""
    rows: list[list[Element | str]] = [
        [
            tag(
                "span",
                "yes" if fact.present else "no",
                cls="light " + ("good" if fact.present else "poor"),
            ),
            fact.name,
            foreign(fact.found),
            "" if fact.present else fact.remedy,
        ]
        for fact in metadata
    ]
    present = sum(fact.present for fact in metadata)
    return section(
        "What the delivery says of itself",
        tag("p", f"{present} of {len(rows)} facts are there."),
        data_table(["", "Fact", "Found", "How to add it"], rows),
    )
