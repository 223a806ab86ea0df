"""Attributes of KML placemarks: each value, and under which name."""

from collections.abc import Container, Iterator
from html import escape
from xml.etree.ElementTree import Element, tostring  # written with it, not parsed

from geo_etl.vector.formats.kml_geometry import leaves

Key = tuple[str, str, int]
"""Origin (`KML`, `Data` or `SimpleData`), name, and which of its name in the placemark (from 1)."""

_CHILDREN = {
    **{name: name for name in ("name", "description", "address", "phoneNumber", "styleUrl")},
    **{name: name for name in ("snippet", "visibility", "open")},
    "Snippet": "snippet",
}
"""Child of a placemark → column."""
_TIMES = {"TimeStamp": {"when": "timestamp"}, "TimeSpan": {"begin": "begin", "end": "end"}}


def values_of(
    placemark: Element, own_fields: Container[str] = ()
) -> Iterator[tuple[Key, str, str]]:
    """Each value of a placemark, and the schema that may declare its type ('' for none).

    Args:
        own_fields: children that are attributes too, for an element that a schema derives from
            Placemark.
    """
    met: dict[tuple[str, str], int] = {}
    for origin, name, text, schema in _all_values(placemark, own_fields):
        count = met[origin, name] = met.get((origin, name), 0) + 1
        yield (origin, name, count), text, schema


def _all_values(
    placemark: Element, own_fields: Container[str]
) -> Iterator[tuple[str, str, str, str]]:
    identifier = placemark.get("id")
    if identifier is not None:
        yield "KML", "id", identifier, ""
    for child in placemark:
        tag = child.tag
        if tag in _CHILDREN:
            yield "KML", _CHILDREN[tag], _text(child), ""
        elif tag in ("ExtendedData", "Metadata"):
            yield from _extended(child)
        elif tag in _TIMES:
            for time in child:
                if time.tag in _TIMES[tag]:
                    yield "KML", _TIMES[tag][time.tag], _text(time), ""
        elif tag in own_fields:
            yield "SimpleData", tag, _text(child), placemark.tag
    yield from _of_geometry(placemark)


def _of_geometry(placemark: Element) -> Iterator[tuple[str, str, str, str]]:
    """How the first geometry that says so relates to the ground."""
    missing = {"altitudeMode", "extrude", "tessellate"}
    for leaf in leaves(placemark):
        for child in leaf:
            if child.tag in missing:
                missing.remove(child.tag)
                yield "KML", child.tag, _text(child), ""


def _extended(data: Element) -> Iterator[tuple[str, str, str, str]]:
    for child in data:
        if child.tag == "SchemaData":
            schema = child.get("schemaUrl", "").rpartition("#")[2]
            for simple in child:
                if simple.tag == "SimpleData":
                    yield "SimpleData", simple.get("name", simple.tag), _text(simple), schema
        elif child.tag == "Data":
            value = child.find("value")
            text = (child.text or "").strip() if value is None else _text(value)
            if value is not None or text:
                yield "Data", child.get("name", child.tag), text, ""
        else:
            # Elements of any other namespace (9.2), and those of KML 2.0's Metadata.
            yield "Data", child.get("name", child.tag.rpartition(":")[2]), _text(child), ""


def _text(element: Element) -> str:
    """The text as it stands; markup within, written without CDATA, as markup."""
    text = element.text or ""
    if not len(element):
        return text
    within = (tostring(child, encoding="unicode") for child in element)
    return escape(text, quote=False) + "".join(within)
