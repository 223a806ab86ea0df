"""Whether what servers give is what was written."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely

ADDED_TO = ("links", "stac_extensions")
"""What a server may add to: links, and the extensions that describe them."""
ROUNDING_DEGREES = 1e-6
ROUNDING_SHARE = 1e-3
"""Of a box's side: an edge on a map is straight in one CRS and curved in another."""
SHOWN_CHARACTERS = 60

Document = Mapping[str, Any]


def differences(written: Document, served: Document) -> list[str]:
    """In what a STAC document that is served differs from the one that was written.

    Addresses and links are the server's own. Of nothing (null, an empty list) a server need not
    speak.
    """
    plain = [key for key in written if key not in (*ADDED_TO, "assets", "properties")]
    found = [_unlike(key, written[key], served.get(key)) for key in plain]
    found += _unlike_members("properties", written, served)
    assets, others = written.get("assets", {}), served.get("assets", {})
    for key, asset in assets.items():
        if key not in others:
            found.append(f"asset {key} is missing")
            continue
        one, other = ({**each, "href": None} for each in (asset, others[key]))
        found.append(_unlike(f"assets.{key}", one, other))
    undeclared = set(written.get("stac_extensions", [])) - set(served.get("stac_extensions", []))
    found += [f"extension {name} is missing" for name in sorted(undeclared)]
    return [problem for problem in found if problem]


def _unlike_members(name: str, written: Document, served: Document) -> list[str]:
    one, other = written.get(name, {}), served.get(name, {})
    return [_unlike(f"{name}.{key}", one.get(key), other.get(key)) for key in {**one, **other}]


def _unlike(name: str, written: Any, served: Any) -> str:
    if written == served or (written in ([], None) and served in ([], None)):
        return ""
    return f"{name} is {_short(served)}, {_short(written)} was written"


def _short(value: Any) -> str:
    said = json.dumps(value, ensure_ascii=False)
    return said if len(said) <= SHOWN_CHARACTERS else f"{said[:SHOWN_CHARACTERS]}…"


def is_within(geometry: shapely.Geometry, bbox: Sequence[float]) -> bool:
    """Whether a geometry lies in a box, but for rounding.

    Args:
        geometry: in degrees.
        bbox: west, south, east, north in degrees; west > east across the antimeridian.
    """
    west, south, east, north = bbox
    longitudes, latitudes = shapely.get_coordinates(geometry).T
    width = east - west + 360.0 * (west > east)
    around, along = (
        max(ROUNDING_DEGREES, ROUNDING_SHARE * side) for side in (width, north - south)
    )
    inside = (longitudes - west + around) % 360.0 <= width + 2 * around
    inside &= (south - along <= latitudes) & (latitudes <= north + along)
    return bool(np.all(inside))
