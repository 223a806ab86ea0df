"""What a container holds, counted: tallies that can be added up, and their summary in words."""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import BaseModel

from geo_etl.report.words import file_size, percentage, plain_markdown

AGES = {
    "last 24 hours": timedelta(days=1),
    "last 7 days": timedelta(days=7),
    "last 30 days": timedelta(days=30),
    "last 365 days": timedelta(days=365),
    "older": timedelta.max,
}
NAMED = 20
"""Blobs that are named of each sort; all are counted."""
SHOWN_PREFIXES = 30
KEPT_PREFIXES = 1000
"""The largest; the others are added up. The same goes for types."""
TYPES = 200
BAR = 20
OTHERS = "(others)"


class Sum(BaseModel):
    """How many blobs, and their bytes."""

    blobs: int = 0
    bytes: int = 0

    def add(self, blobs: int, octets: int) -> None:
        """Count some more."""
        self.blobs += blobs
        self.bytes += octets


class Named(BaseModel):
    """One blob that is told by name."""

    path: str
    bytes: int = 0
    why: str = ""


class Noted(BaseModel):
    """Blobs of one sort: all counted, the first ones named."""

    count: int = 0
    first: list[Named] = []


class ContainerSummary(BaseModel):
    """What a container holds, or the part of it below a prefix.

    Attributes:
        sources: by state, what is, or can be, ingested; a shapefile with its parts is one.
        gone: what is published, and has no blob any more.
    """

    container: str
    prefix: str
    moment: datetime
    total: Sum
    by_type: dict[str, Sum]
    by_prefix: dict[str, Sum]
    by_age: dict[str, Sum]
    sources: dict[str, int]
    largest: list[Named]
    stale: Noted
    incomplete: Noted
    orphaned: Noted
    not_ingestible: Noted
    gone: Noted


@dataclass
class Tally:
    """Counts of one part of a container, in a size that does not grow with it.

    Attributes:
        moment: what ages are counted from.
        largest: the largest blobs, as (bytes, path), in no order.
        noted: by state, with those that come first by name.
    """

    moment: datetime
    keep_largest: int
    total: Sum = field(default_factory=Sum)
    by_type: dict[str, Sum] = field(default_factory=dict)
    by_prefix: dict[str, Sum] = field(default_factory=dict)
    by_age: dict[str, Sum] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    largest: list[tuple[int, str]] = field(default_factory=list)
    noted: dict[str, list[Named]] = field(default_factory=dict)

    def count(
        self, path: str, size: int, modified: datetime, *, prefix: str, type_: str, state: str
    ) -> None:
        """Count one blob.

        Args:
            size: in bytes.
            prefix: what it is counted below.
            type_: what it is, in a word or two.
        """
        age = next(name for name, limit in AGES.items() if self.moment - modified <= limit)
        self.total.add(1, size)
        kind = type_ if type_ in self.by_type or len(self.by_type) < TYPES else OTHERS
        for sums, key in ((self.by_type, kind), (self.by_prefix, prefix), (self.by_age, age)):
            sums.setdefault(key, Sum()).add(1, size)
        self.states[state] += 1
        self._keep(size, path)

    def note(self, state: str, path: str, size: int = 0, why: str = "") -> None:
        """Name a blob, if few of its sort are named yet."""
        named = self.noted.setdefault(state, [])
        if len(named) < NAMED:
            named.append(Named(path=path, bytes=size, why=why))

    def _keep(self, size: int, path: str) -> None:
        heapq.heappush(self.largest, (size, path))
        if len(self.largest) > self.keep_largest:
            heapq.heappop(self.largest)

    def add(self, other: "Tally") -> None:
        """Add what was counted of another part."""
        self.total.add(other.total.blobs, other.total.bytes)
        for mine, theirs in (
            (self.by_type, other.by_type),
            (self.by_prefix, other.by_prefix),
            (self.by_age, other.by_age),
        ):
            for key, found in theirs.items():
                mine.setdefault(key, Sum()).add(found.blobs, found.bytes)
        self.states.update(other.states)
        for size, path in other.largest:
            self._keep(size, path)
        for state, named in other.noted.items():
            ours = self.noted.setdefault(state, [])
            ours[:] = sorted([*ours, *named], key=lambda one: one.path)[:NAMED]


def summarized(tally: Tally, container: str, prefix: str) -> ContainerSummary:
    """The summary of all parts together."""
    sources = ("new", "ingested", "stale", "incomplete", "catalogued")

    def noted(state: str) -> Noted:
        return Noted(count=tally.states[state], first=tally.noted.get(state, []))

    return ContainerSummary(
        container=container,
        prefix=prefix,
        moment=tally.moment,
        total=tally.total,
        by_type=_largest(tally.by_type, TYPES),
        by_prefix=_largest(tally.by_prefix, KEPT_PREFIXES),
        by_age={name: tally.by_age.get(name, Sum()) for name in AGES},
        sources={state: tally.states[state] for state in sources},
        largest=[
            Named(path=path, bytes=size) for size, path in sorted(tally.largest, reverse=True)
        ],
        stale=noted("stale"),
        incomplete=noted("incomplete"),
        orphaned=noted("orphaned"),
        not_ingestible=noted("not ingestible"),
        gone=noted("gone"),
    )


def _largest(sums: dict[str, Sum], keep: int) -> dict[str, Sum]:
    """Sums, the largest first; those beyond a number are added up."""
    ordered = sorted(sums.items(), key=lambda pair: (-pair[1].bytes, pair[0]))
    kept = dict(ordered[:keep])
    for _, found in ordered[keep:]:
        kept.setdefault(OTHERS, Sum()).add(found.blobs, found.bytes)
    return kept


def container_markdown(summary: ContainerSummary) -> str:
    """A summary for people, as Markdown."""
    place = f"{summary.container}/{summary.prefix}"
    sources = summary.sources
    lines = [
        f"### {plain_markdown(place)}: {summary.total.blobs:,} blobs, "
        f"{file_size(summary.total.bytes)}",
        "",
        f"Sources: {sources['ingested']:,} ingested, {sources['new']:,} new, "
        f"{sources['stale']:,} stale, {sources['incomplete']:,} incomplete; "
        f"{sources['catalogued']:,} other blobs are assets of STAC items.",
        "",
        *_sum_table("Type", summary.by_type, summary.total),
        *_sum_table("Folder", summary.by_prefix, summary.total, SHOWN_PREFIXES),
        *_sum_table("Written", summary.by_age, summary.total),
        *_named("Largest", summary.largest, len(summary.largest)),
    ]
    for title, noted in (
        ("Stale: not what is published", summary.stale),
        ("Published, and gone from here", summary.gone),
        ("Incomplete", summary.incomplete),
        ("Parts and settings without a source", summary.orphaned),
        ("Not ingestible", summary.not_ingestible),
    ):
        lines += _named(title, noted.first, noted.count)
    return "\n".join(lines)


def _sum_table(
    title: str, sums: dict[str, Sum], total: Sum, shown: int | None = None
) -> Iterable[str]:
    if not sums:
        return
    yield f"| {title} | Blobs | Size | | |"
    yield "|---|---:|---:|---|---:|"
    for name, found in list(sums.items())[:shown]:
        share = found.bytes / total.bytes if total.bytes else 0.0
        bar = "█" * round(BAR * share)
        yield (
            f"| {plain_markdown(name)} | {found.blobs:,} | {file_size(found.bytes)} "
            f"| {bar} | {percentage(share)} |"
        )
    yield ""
    if shown is not None and len(sums) > shown:
        yield f"and {len(sums) - shown:,} more"
        yield ""


def _named(title: str, named: Sequence[Named], count: int) -> Iterable[str]:
    if not named:
        return
    yield f"**{title}** ({count:,})"
    yield ""
    for one in named:
        size = f", {file_size(one.bytes)}" if one.bytes else ""
        why = f": {plain_markdown(one.why)}" if one.why else ""
        yield f"- {plain_markdown(one.path)}{size}{why}"
    if count > len(named):
        yield f"- and {count - len(named):,} more"
    yield ""
