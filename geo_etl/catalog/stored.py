"""A STAC item as pgSTAC's table holds it: checked, taken apart, and put together again."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Never

import orjson

from geo_etl.catalog.shared_parts import own_part, same, with_shared
from geo_etl.errors import CatalogueError

DEEPEST = 200
"""Levels of nesting: with some more, JSON libraries give up."""
TAG = "pgstac:base_item"

Item = Mapping[str, Any]
Document = dict[str, Any]


@dataclass(frozen=True)
class Shared:
    """What the items of a collection share: now, and when older ones of them were written.

    Attributes:
        tag: of what they share now, which new items carry; None before the collection's first
            change.
        tagged: all that they ever shared; under None that of items without a tag.
    """

    now: Document
    tag: int | None
    tagged: Mapping[int | None, Document]


@dataclass(frozen=True)
class Row:
    """An item that can be stored.

    Attributes:
        rest: the item without its geometry, and without nulls.
        text: JSON of that, keys in order.
        geometry: GeoJSON.
        start, end: of its time.
    """

    id: str
    rest: Document
    text: str
    geometry: str
    start: datetime
    end: datetime

    def content(self, shared: Shared) -> str:
        """JSON of what stands in pgSTAC's column `content`."""
        own = own_part(self.rest, shared.now)
        for key in ("id", "collection", TAG):
            own.pop(key, None)
        return _json(own if shared.tag is None else {**own, TAG: shared.tag})

    def equals(self, geometry: str, content: str, shared: Shared) -> bool:
        """Whether what stands in a row of pgSTAC's table gives this item."""
        if geometry != self.geometry and orjson.loads(geometry) != orjson.loads(self.geometry):
            return False
        names = {"id": self.id, "collection": self.rest["collection"]}
        with suppress(orjson.JSONDecodeError):  # an integer that no float is as large as
            if _json(_rest_of(names, orjson.loads(content), shared)) == self.text:
                return True
        return same(_rest_of(names, json.loads(content), shared), json.loads(self.text))


def row_of(collection_id: str, item: Item) -> Row:
    """An item as it is stored. A null is the same as nothing: pgSTAC gives back none.

    Raises:
        CatalogueError: it is of another collection, has no id, geometry or time, or is not JSON.
    """
    name = f"{collection_id}/{item.get('id')}"
    if item.get("collection") != collection_id:
        _refuse(name, f"is of collection {item.get('collection')}", "Write it into its own one")
    if not isinstance(item.get("id"), str) or not item["id"]:
        _refuse(name, "has no id", "Give it one")
    rest: Document = {**item, "type": "Feature"}
    geometry = rest.pop("geometry", None)
    if geometry is None:
        _refuse(name, "has no geometry, and pgSTAC takes none without", "Give it a place")
    start, end = _times(name, item.get("properties") or {})
    try:
        text, outline = _quick_json(rest), _quick_json(geometry)
    except TypeError:  # not of orjson's kind, which has integers of 64 bits
        text = outline = "null"
    # orjson writes null for a number that is none.
    if "null" in text or "null" in outline or "\\u0000" in text:
        try:
            rest, geometry = _plain(rest, ""), _plain(geometry, "geometry")
            text, outline = _json(rest), _json(geometry)
        except (TypeError, ValueError) as error:
            _refuse(name, f"is not JSON that can be stored: {error}", "Correct it")
    return Row(item["id"], rest, text, outline, start, end)


def item_of(
    collection_id: str, item_id: str, geometry: str, content: str, shared: Shared
) -> Document:
    """The item of a row of pgSTAC's table.

    Args:
        geometry, content: JSON of these columns.
    """
    rest = _rest_of({"id": item_id, "collection": collection_id}, json.loads(content), shared)
    return {**_plain(rest, ""), "geometry": json.loads(geometry)}


def _rest_of(names: Item, own: Document, shared: Shared) -> Document:
    """An item without its geometry."""
    base = shared.tagged.get(own.pop(TAG, None), shared.now)
    return {**with_shared(own, base), **names, "type": "Feature"}


def _times(name: str, properties: Item) -> tuple[datetime, datetime]:
    """First and last moment of an item as pgSTAC takes them: its period, else its datetime."""
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    if start is None or end is None:
        start = end = properties.get("datetime")
    try:
        first, last = (datetime.fromisoformat(str(one)) for one in (start, end))
    except ValueError:
        told = "; ".join(str(one) for one in dict.fromkeys((start, end)))
        what = f"has no time that can be read ({told})"
        _refuse(name, what, "Set its datetime, or its start and end, as RFC 3339 writes them")
    first, last = (one if one.tzinfo else one.replace(tzinfo=UTC) for one in (first, last))
    if first > last:
        _refuse(name, f"ends ({end}) before it starts ({start})", "Correct its time")
    return first, last


def _quick_json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _json(value: Any) -> str:
    """JSON, keys in order.

    Raises:
        TypeError, ValueError: the value is none.
    """
    try:
        return _quick_json(value)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
        text.encode()  # half of a surrogate pair is no text
        return text


def _plain(value: Any, path: str, depth: int = 0) -> Any:
    """A JSON value without the nulls of its objects.

    Raises:
        TypeError, ValueError: it is none; names the place.
    """
    if depth > DEEPEST:
        raise ValueError(f"{path[:60]}… is nested deeper than {DEEPEST} levels")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{path} has a key that is no text, {key!r}")
        return {
            _plain(key, path): _plain(one, f"{path}.{key}".lstrip("."), depth + 1)
            for key, one in value.items()
            if one is not None
        }
    if isinstance(value, list | tuple):
        return [_plain(one, f"{path}[{n}]", depth + 1) for n, one in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path} is {value}")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"{path} holds the character U+0000, which PostgreSQL has not")
    return value


def _refuse(name: str, problem: str, remedy: str) -> Never:
    raise CatalogueError(f"STAC item {name}", f"it {problem}", f"{remedy}.")
