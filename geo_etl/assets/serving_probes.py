"""What the STAC API is asked about what was just published, and when answers belong together.

Here: which addresses, of what can't all be asked for. Not here: whether the answers are right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pystac

from geo_etl.resources.probes import DocumentProbe, Probe, Prober

SAMPLE = 4
"""Items of a layer that are read over HTTP."""
OBSERVATIONS = 3

Item = dict[str, Any]
Seen = TypeVar("Seen")


def undisturbed(observe: Callable[[], Seen], version: Callable[[], object]) -> Seen:
    """What is seen while no other job publishes the same; the last of three tries if one does.

    Servers are asked one by one: what they say belongs together only if nothing came in between.

    Args:
        version: what is published, cheaply.
    """
    for _ in range(OBSERVATIONS):
        before = version()
        seen = observe()
        if version() == before:
            break
    return seen


def spread(count: int, most: int) -> list[int]:
    """Which of a number of things to look at: the first, the last, and others evenly between."""
    if count < 2:
        return [0][:count]
    steps = min(count, most) - 1
    return [place * (count - 1) // steps for place in range(steps + 1)]


@dataclass(frozen=True)
class StacServed:
    """What the STAC API gives of what was published.

    Attributes:
        items: of a sample, as they were written, with what is served of each.
        published: how many items there are.
        collection: of a set, as it is stored and as it is served.
        files: the files of that sample, at the addresses that are served.
    """

    items: tuple[tuple[Item, DocumentProbe], ...]
    published: int
    collection: tuple[Item, DocumentProbe] | None
    files: tuple[Probe, ...]


def probe_stac(
    prober: Prober, written: Sequence[Item], published: int, collection: Item | None = None
) -> StacServed | None:
    """Ask for items and their COGs, and of a set for its collection; None without a server."""
    items, files, around = [], [], None
    for item in written:
        probe = prober.item(item["collection"], item["id"])
        if probe is None:
            return None
        items.append((item, probe))
        files += [prober.file(href) for href in _cogs(item, probe)]
    if collection is not None:
        probe = prober.collection(collection["id"])
        around = (collection, probe) if probe is not None else None
    return StacServed(tuple(items), published, around, tuple(files))


def _cogs(item: Item, probe: DocumentProbe) -> list[str]:
    there = (probe.document or {}).get("assets", {})
    return [
        str(there[key].get("href"))
        for key, asset in item["assets"].items()
        if asset.get("type") == pystac.MediaType.COG and key in there
    ]
