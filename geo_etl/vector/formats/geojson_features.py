"""From the text of features to their members, with what is wrong with each (RFC 7946, 3.2).

The JSON parser is pydantic's, which keeps integers of any size and stops at 200 levels. Its
parser keeps the last of several members of one name, in silence, so names are counted.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from geo_etl.errors import SourceError
from geo_etl.vector.formats.geojson_cutter import Pieces
from geo_etl.vector.formats.geojson_geometry import TYPES
from geo_etl.vector.formats.geojson_text import Text, too_deep

MEMBERS = frozenset(["type", "geometry", "properties", "id", "crs"])
_ABSENT: Any = object()


@dataclass
class Features:
    """Members of features, row by row.

    Attributes:
        geometries: geometry objects as they stand, or None (n).
        properties: of each feature; none where it has none, or something else (n).
        ids: None where a feature has none (n).
        problems: row → what is wrong.
        foreign: names of other members.
        crs: `crs` members, which the format's first edition allowed everywhere.
    """

    geometries: list[Any]
    properties: list[dict[str, Any]]
    ids: list[Any]
    problems: dict[int, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    crs: list[Any] = field(default_factory=list)


def parse_features(text: Text, pieces: Pieces) -> Features:
    """Take features, or bare geometries, apart.

    Raises:
        SourceError: their JSON is broken, or they are something else altogether.
    """
    found = Features([], [], [])
    counts = pieces.names.tolist()
    for row, piece in enumerate(pieces.texts):
        try:
            item = from_json(piece)
        except ValueError as error:
            item, problem = _parse_leniently(text, piece, pieces.offsets[row], error)
            if problem:
                found.problems[row] = problem
        names = _add(found, text, row, item, pieces.offsets[row])
        if names != counts[row] and _names(item) != counts[row]:
            problem = _repeated(piece)
            if problem:
                found.problems[row] = problem
    return found


def _add(found: Features, text: Text, row: int, item: dict[str, Any], offset: int) -> int:
    """Add one row; how many names the item has, unless it holds objects at unusual places."""
    kind = item.get("type", _ABSENT)
    names = len(item)
    if "crs" in item and item["crs"] not in found.crs:
        found.crs.append(item["crs"])
    if kind == "Feature":
        geometry, properties = item.get("geometry", _ABSENT), item.get("properties")
        id_ = item.get("id")
        if not item.keys() <= MEMBERS:
            found.foreign.update(item.keys() - MEMBERS)
        if geometry is _ABSENT:
            geometry = None
            found.problems[row] = "it has no geometry member, not even null"
        elif geometry is not None and type(geometry) is dict:
            names += len(geometry)
    elif type(kind) is str and kind in TYPES:
        geometry, properties, id_ = item, None, None
    else:
        _check_document(text, item, kind, offset)
        geometry, properties, id_ = item.get("geometry"), item.get("properties"), item.get("id")
        found.problems[row] = (
            "it has no type" if kind is _ABSENT else f"its type is {kind!r}, not 'Feature'"
        )
    if type(properties) is not dict:
        if properties is not None:
            found.problems[row] = f"its properties are no object but {json.dumps(properties)[:100]}"
        properties = {}
    found.geometries.append(geometry)
    found.properties.append(properties)
    found.ids.append(id_)
    return names + len(properties)


def _check_document(text: Text, item: dict[str, Any], kind: Any, offset: int) -> None:
    """Refuse what is no malformed feature but another thing."""
    if kind == "FeatureCollection":
        raise SourceError(
            text.name,
            f"at {text.place(offset)} a collection stands where a feature should",
            "Deliver one collection, or one feature a line.",
        )
    if kind == "Feature" or "geometry" in item or "properties" in item:
        esri = kind is _ABSENT and "attributes" in item
        if not esri:
            return
    raise other_json(text.name, item)


def check_type(name: str, members: dict[str, Any]) -> None:
    """Refuse an object that is neither a feature nor a geometry.

    Raises:
        SourceError: says what it is.
    """
    kind = members.get("type")
    if not isinstance(kind, str) or kind not in {"Feature", "FeatureCollection", *TYPES}:
        raise other_json(name, members)


def other_json(name: str, members: dict[str, Any]) -> SourceError:
    """The error for JSON that is no GeoJSON, saying what it is."""
    kind = members.get("type")
    if kind == "Topology":
        return SourceError(
            name, "it is TopoJSON, not GeoJSON", "Convert it, for instance with topo2geo."
        )
    if not isinstance(kind, str) and members.keys() & {
        "attributes",
        "geometryType",
        "spatialReference",
        "displayFieldName",
        "fieldAliases",
    }:
        return SourceError(
            name,
            "it is Esri's JSON, not GeoJSON",
            "Ask its service for f=geojson, or convert it with ogr2ogr.",
        )
    said = (
        f"its type is {kind!r}"
        if isinstance(kind, str)
        else (
            "an object of it has no type but " + (", ".join(list(members)[:8]) or "nothing at all")
        )
    )
    return SourceError(
        name, f"it is JSON but not GeoJSON ({said[:200]})", "Deliver GeoJSON (RFC 7946)."
    )


def _parse_leniently(
    text: Text, piece: bytes | bytearray, offset: int, error: ValueError
) -> tuple[dict[str, Any], str | None]:
    """Parse what the strict parser refuses but what is clear: raw tabs and line ends in text.

    Half a character (a surrogate on its own) can't be stored; it stays as it is escaped.
    """
    if "recursion limit" in str(error):
        raise too_deep(text, offset)
    try:
        item = json.loads(piece.decode(), strict=False)
    except UnicodeDecodeError as bad:
        raise SourceError(
            text.name,
            f"at {text.place(offset + bad.start)} its text is not {text.encoding}",
            "Set converter_params.encoding, for instance cp1252.",
        ) from None
    except json.JSONDecodeError as bad:
        at = offset + len(bad.doc[: bad.pos].encode())
        raise text.broken(at, f"it is no JSON ({bad.msg})") from None
    except ValueError:
        raise text.broken(offset, f"it has a number that can't be read ({error})") from None
    except RecursionError:
        raise too_deep(text, offset) from None
    halves = _without_halves(item)
    if halves != item:
        return halves, "its text holds half a character (an escaped surrogate on its own)"
    return item, None


def _without_halves(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_halves(name): _without_halves(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return value


def _names(value: Any) -> int:
    """How many names of members a value has at all levels."""
    if isinstance(value, dict):
        return len(value) + sum(_names(item) for item in value.values())
    if isinstance(value, list) and value and not isinstance(value[0], int | float):
        return sum(_names(item) for item in value)
    return 0


def _repeated(piece: bytes | bytearray) -> str | None:
    """The problem of a feature that has a name twice, unless the values are the same."""
    repeated: list[str] = []

    def unite(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        united: dict[str, Any] = {}
        for name, value in pairs:
            if name in united and json.dumps(united[name]) != json.dumps(value):
                repeated.append(name)
            united[name] = value
        return united

    json.loads(piece.decode(), strict=False, object_pairs_hook=unite)
    return f"it has '{repeated[0]}' twice, with different values" if repeated else None
