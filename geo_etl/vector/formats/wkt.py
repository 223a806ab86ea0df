"""From text to geometries: WKT, EWKT, and WKB or EWKB in hexadecimal.

WKT as in OGC 06-103r4, clause 7; `SRID=n;` before it, and the SRID in WKB, as PostGIS writes them.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from geo_etl.vector.wkb import unreadable

_TYPES = "POINT|LINESTRING|POLYGON|MULTIPOINT|MULTILINESTRING|MULTIPOLYGON|GEOMETRYCOLLECTION"
LOOKS_LIKE_GEOMETRY = rf"(?i)^\s*(?:(?:SRID=\d+;\s*)?(?:{_TYPES})\b|(?:\\x)?0[01][0-9a-f]{{16}})"
"""How a cell begins that holds a geometry."""
_HEX = r"(?i)^(?:\\x)?0[01][0-9a-f]{16,}$"
_CURVED = r"(?i)CIRCULARSTRING|COMPOUNDCURVE|CURVEPOLYGON|MULTICURVE|MULTISURFACE"
_SRID = re.compile(r"\s*SRID=(\d+)\s*;\s*", re.IGNORECASE)
_NESTED = "COLLECTION"
MAX_NESTING = 1000
"""Collections in one geometry. GEOS reads them recursively; with 100,000 in each other the process
dies."""


@dataclass(frozen=True)
class Geometries:
    """Geometries of some rows.

    Attributes:
        geometries: shapely's; None where there is none (n).
        srids: that the text declares; 0 where it does not (n).
        unread: row → why there is none although its cell is not empty.
    """

    geometries: npt.NDArray[np.object_]
    srids: npt.NDArray[np.int64]
    unread: dict[int, str]

    def wkb(self) -> pa.Array:
        """As ISO WKB; null where there is none."""
        return pa.array(shapely.to_wkb(self.geometries, flavor="iso"), pa.binary())


def read_geometries(cells: pa.Array) -> Geometries:
    """Read one column.

    Args:
        cells: strings.
    """
    text = pc.utf8_trim_whitespace(cells)
    text = pc.if_else(pc.equal(pc.binary_length(text), 0), pa.scalar(None, pa.string()), text)
    geometries: npt.NDArray[np.object_] = np.full(len(text), None, dtype=object)
    srids = np.zeros(len(text), dtype=np.int64)
    unread: dict[int, str] = {}
    hexadecimal = _mask(pc.match_substring_regex(text, _HEX))
    curved = _mask(pc.match_substring_regex(text, _CURVED)) & ~hexadecimal
    nested = _mask(pc.greater(pc.count_substring(text, _NESTED, ignore_case=True), MAX_NESTING))
    there = _mask(text.is_valid())
    unread.update(dict.fromkeys(np.flatnonzero(curved).tolist(), "has curves, which are not read"))
    unread.update(dict.fromkeys(np.flatnonzero(nested).tolist(), "nests collections too deeply"))
    values: npt.NDArray[np.object_] = text.to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(hexadecimal).tolist():
        values[row] = _octets(values[row].removeprefix("\\x"))
    odd = unreadable(pa.array(values[hexadecimal], pa.binary()))
    reason = "has curves, which are not read, or nests geometries too deeply"
    unread.update(dict.fromkeys(np.flatnonzero(hexadecimal)[odd].tolist(), reason))
    for row in np.flatnonzero(_mask(pc.match_substring_regex(text, r"(?i)^SRID="))).tolist():
        if match := _SRID.match(values[row]):
            srids[row], values[row] = min(int(match[1]), 2**31), values[row][match.end() :]
    refused = np.zeros(len(text), dtype=bool)
    refused[list(unread)] = True
    as_text = np.flatnonzero(there & ~hexadecimal & ~refused)
    as_wkb = np.flatnonzero(hexadecimal & ~refused)
    with np.errstate(over="ignore", invalid="ignore"):
        geometries[as_text] = shapely.from_wkt(values[as_text], on_invalid="ignore")
    geometries[as_wkb] = shapely.from_wkb(values[as_wkb], on_invalid="ignore")
    srids[as_wkb] = np.maximum(shapely.get_srid(geometries[as_wkb]), 0)
    for row in np.flatnonzero(there & ~refused & shapely.is_missing(geometries)).tolist():
        unread[row] = "is no WKT that can be read"
    return Geometries(geometries, srids, unread)


def _mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = pc.fill_null(array, fill_value=False).to_numpy(
        zero_copy_only=False
    )
    return mask


def _octets(hexadecimal: str) -> bytes:
    """What digits stand for; nothing when their number is odd."""
    try:
        return bytes.fromhex(hexadecimal)
    except ValueError:
        return b""
