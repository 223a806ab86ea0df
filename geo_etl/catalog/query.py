"""What is searched for in the catalogue: where, when, in which collections, with which properties.

Here: reading what people write, and saying it as pgSTAC takes it. Not here: the search itself.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from geo_etl.catalog.lineage import BBox, bbox_geometry
from geo_etl.errors import SpecError

MAX_FILTER_LENGTH = 50_000
MAX_FILTER_DEPTH = 20
"""Of operators within operators. Checking a filter takes time that grows with its cube."""
MAX_BRACKETS = 200
"""Open at once, and negations in a row: the parser goes one call deeper for each."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
# RFC 3339, section 5.6.
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")
_NEGATIONS = re.compile(rf"(?:(?:NOT\s*|-\s*)\(?){{{MAX_BRACKETS},}}", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_COMPARISONS = frozenset(("=", "<>", "<", "<=", ">", ">=", "between", "in"))


@dataclass(frozen=True)
class Sort:
    """A property to sort by."""

    field: str
    is_descending: bool

    @classmethod
    def parse(cls, text: str) -> "Sort":
        """Read `FIELD`, `+FIELD` or `-FIELD`, the last for the largest first.

        Raises:
            SpecError: there is no name.
        """
        field = text.strip().removeprefix("-" if text.strip().startswith("-") else "+").strip()
        if not field:
            raise SpecError(
                f"sort '{text}'", "it names no property", "Write a property, -datetime for one."
            )
        return cls(field, text.strip().startswith("-"))


@dataclass(frozen=True)
class Query:
    """A search. What is not said does not restrict it.

    Attributes:
        bbox: degrees (WGS 84); west > east crosses the antimeridian.
        period: as pgSTAC takes it: a moment or a day, or two of them with `/` between.
        filter: CQL2 JSON.
        limit: items at most.
    """

    limit: int
    bbox: BBox | None = None
    period: str | None = None
    collections: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    filter: dict[str, Any] | None = None
    sort: tuple[Sort, ...] = ()

    @classmethod
    def parse(
        cls,
        limit: int,
        *,
        bbox: str | None = None,
        period: str | None = None,
        collections: Sequence[str] = (),
        ids: Sequence[str] = (),
        cql2: str | None = None,
        sort: Sequence[str] = (),
    ) -> "Query":
        """A search as people write it: see the functions of this module.

        Raises:
            SpecError: a part of it can't be read.
        """
        return cls(
            limit,
            None if bbox is None else parse_bbox(bbox),
            None if period is None else parse_period(period),
            tuple(collections),
            tuple(ids),
            None if cql2 is None else parse_filter(cql2),
            tuple(Sort.parse(one) for one in sort),
        )

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties that it filters or sorts by, each once."""
        named = [*_properties(self.filter), *(sort.field for sort in self.sort)]
        return tuple(dict.fromkeys(named))

    def as_search(self) -> dict[str, Any]:
        """The body of a STAC API search, without a limit.

        A box is said by its outline, for pgSTAC takes one over the antimeridian for all that
        it is not.
        """
        search: dict[str, Any] = {
            "intersects": self.bbox and bbox_geometry(self.bbox),
            "datetime": self.period,
            "collections": list(self.collections),
            "ids": list(self.ids),
            "filter": self.filter,
            "sortby": [
                {"field": one.field, "direction": "desc" if one.is_descending else "asc"}
                for one in self.sort
            ],
        }
        said = {key: value for key, value in search.items() if value}
        return {**said, "filter-lang": "cql2-json"} if self.filter else said


def parse_bbox(text: str) -> BBox:
    """Read four numbers: west, south, east, north in degrees, with commas or spaces between.

    Raises:
        SpecError: they are no box on the Earth.
    """
    try:
        west, south, east, north = (float(part) for part in re.split(r"\s*,\s*|\s+", text.strip()))
    except ValueError:
        raise _bad_bbox(text, "it is not four numbers") from None
    if not all(map(math.isfinite, (west, south, east, north))):
        raise _bad_bbox(text, "a number in it is not finite")
    if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
        raise _bad_bbox(text, "it reaches beyond ±180 degrees east or ±90 degrees north")
    if south > north:
        raise _bad_bbox(text, "its south is north of its north")
    return west, south, east, north


def _bad_bbox(text: str, problem: str) -> SpecError:
    return SpecError(
        f"bbox '{text}'",
        problem,
        "Write it as WEST,SOUTH,EAST,NORTH in degrees, for instance 8.2,50.0,8.8,50.4; "
        "west > east crosses the antimeridian.",
    )


def parse_period(text: str) -> str:
    """Read a moment, a day, or an interval `FROM/TO` with `..` for an open end, as STAC has it.

    A day is all of it, also as an end of an interval.

    Raises:
        SpecError: it is none of them.
    """
    ends = [end.strip() for end in text.strip().split("/")]
    if len(ends) > 2 or all(end in ("", "..") for end in ends):
        raise _bad_period(text, "it is no moment, no day and no interval of two")
    moments = [None if len(ends) == 2 and end in ("", "..") else _moment(text, end) for end in ends]
    first, last = moments[0], moments[-1]
    if first is not None and last is not None and first[0] > last[1]:
        raise _bad_period(text, "it ends before it begins")
    return "/".join(end or ".." for end in ends).upper()


def _moment(text: str, end: str) -> tuple[datetime, datetime]:
    """The first and the last moment of an end."""
    try:
        if _DAY.fullmatch(end):
            day = date.fromisoformat(end).isoformat()
            return (
                datetime.fromisoformat(f"{day}T00:00:00+00:00"),
                datetime.fromisoformat(f"{day}T23:59:59.999999+00:00"),
            )
        if _MOMENT.fullmatch(end):
            found = datetime.fromisoformat(end.upper())
            return found, found
    except ValueError:
        pass
    raise _bad_period(text, f"'{end}' is no day and no moment with its zone")


def _bad_period(text: str, problem: str) -> SpecError:
    return SpecError(
        f"datetime '{text}'",
        problem,
        "Write 2024-05-01, 2024-05-01T12:00:00Z, or two of them with a slash between; "
        "'..' is an open end, as in 2024-05-01/..",
    )


def parse_filter(text: str) -> dict[str, Any]:
    """Read CQL2 text (OGC 21-065r2); the same as CQL2 JSON.

    Raises:
        SpecError: it is no CQL2 that is true or false, or too large.
    """
    import cql2

    bare = _QUOTED.sub("", text)
    if (
        len(text) > MAX_FILTER_LENGTH
        or _depth(bare) > MAX_BRACKETS
        or _NEGATIONS.search(bare) is not None
    ):
        raise _bad_filter(text, "it is too large or too deep")
    try:
        expression = cql2.parse_text(text)
        found: Any = expression.to_json()
        if _operators(found) > MAX_FILTER_DEPTH:
            raise _bad_filter(text, f"more than {MAX_FILTER_DEPTH} operators are in one another")
        expression.validate()
    except cql2.ParseError as error:
        raise _bad_filter(text, f"it is no CQL2 ({_position(str(error))})") from None
    except cql2.ValidationError:
        raise _bad_filter(text, "it is no CQL2 that is true or false of an item") from None
    _check_times(text, found)
    return dict(_whole_numbers(found))


def _position(said: str) -> str:
    """Where the parser stopped, and what it would have taken there."""
    line, character = re.findall(r"--> (\d+):(\d+)", said)[0]
    place = f"character {character}" if line == "1" else f"line {line}, character {character}"
    return f"{place}: {said.rpartition('= ')[2].strip()}"


def _bad_filter(text: str, problem: str) -> SpecError:
    shown = text if len(text) <= 200 else f"{text[:200]} …"
    return SpecError(
        f"filter {shown!r}",
        problem,
        "Write CQL2 text, for instance gsd < 10 AND \"geo_etl:data_kind\" = 'imagery'; names with "
        "a colon stand in double quotes, texts in single ones.",
    )


def _depth(text: str) -> int:
    deepest = depth = 0
    for sign in text:
        depth += (sign in "([") - (sign in ")]")
        deepest = max(deepest, depth)
    return deepest


def _operators(node: Any) -> int:
    """How many operators are in one another, without recursion: a filter may be very deep."""
    deepest, rest = 0, [(node, 0)]
    while rest:
        found, depth = rest.pop()
        deepest = max(deepest, depth)
        if isinstance(found, dict) and "op" in found:
            rest += [(one, depth + 1) for one in found.get("args", ())]
        elif isinstance(found, list):
            rest += [(one, depth) for one in found]
    return deepest


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every operation and property in an expression, from the outside."""
    if isinstance(node, list):
        for one in node:
            yield from _nodes(one)
    elif isinstance(node, dict) and ("op" in node or "property" in node):
        yield node
        yield from _nodes(node.get("args", []))


def _properties(node: Any) -> list[str]:
    return [str(one["property"]) for one in _nodes(node) if "property" in one]


def _check_times(text: str, node: Any) -> None:
    """Refuse to compare a time with a DATE: pgSTAC takes it for no value, and finds nothing."""
    for one in _nodes(node):
        if one.get("op") in _COMPARISONS and any(map(_is_date, _flat(one["args"]))):
            raise SpecError(
                f"filter {text!r}",
                f"'{one['op']}' compares with a DATE",
                "Compare with TIMESTAMP('2024-05-01T00:00:00Z'), or use T_AFTER, T_BEFORE, "
                "T_DURING and their like, which take a DATE.",
            )


def _flat(operands: list[Any]) -> Iterator[Any]:
    """Operands, those in a list of values too."""
    for one in operands:
        yield from one if isinstance(one, list) else [one]


def _is_date(operand: Any) -> bool:
    return isinstance(operand, dict) and "date" in operand


def _whole_numbers(node: Any) -> Any:
    """With numbers that are whole written so: as text, 5.0 is not 5."""
    if isinstance(node, list):
        return [_whole_numbers(one) for one in node]
    if isinstance(node, dict):
        return {key: _whole_numbers(value) for key, value in node.items()}
    if isinstance(node, float) and node.is_integer() and abs(node) < 2**53:
        return int(node)
    return node
