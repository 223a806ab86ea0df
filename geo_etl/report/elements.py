"""Elements of an HTML page: a tree, so that text stays text whatever is in it."""

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

Content = Element | str | None


def tag(name: str, /, *content: Content, cls: str | None = None, **attributes: str) -> Element:
    """An element with its content: other elements, text, or nothing.

    Args:
        cls: its class.
        attributes: with `_` for `-` in their names.
    """
    named = {key.replace("_", "-"): value for key, value in attributes.items()}
    element = Element(name, {"class": cls, **named} if cls else named)
    for part in content:
        if isinstance(part, Element):
            element.append(part)
        elif part is not None and len(element):
            element[-1].tail = (element[-1].tail or "") + part
        elif part is not None:
            element.text = (element.text or "") + part
    return element


def foreign(text: str) -> Element:
    """What a provider wrote: its writing direction stays within it."""
    return tag("bdi", text)


def section(title: str, *content: Content) -> Element:
    """A part of the page under its title."""
    return tag("section", tag("h2", title), *content)


def data_table(heads: Sequence[str], rows: Iterable[Sequence[Element | str]]) -> Element:
    """A table that scrolls by itself where it is too wide."""
    head = tag("tr", *(tag("th", title) for title in heads))
    body = (tag("tr", *(tag("td", cell) for cell in row)) for row in rows)
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), cls="scroll")


def fact_list(facts: Iterable[tuple[str, Element | str]]) -> Element:
    """Names and what they stand for."""
    pairs = [part for name, value in facts for part in (tag("dt", name), tag("dd", value))]
    return tag("dl", *pairs)
