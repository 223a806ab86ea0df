"""Counts of a container's parts, added up; blobs that belong together."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.jobs.summarize_container import MAX_TASKS, dealt
from geo_etl.report.container_summary import (
    NAMED,
    OTHERS,
    TYPES,
    Tally,
    container_markdown,
    summarized,
)
from geo_etl.resources.blobs import Blob
from geo_etl.resources.listed_sources import groups
from geo_etl.spec import SourceRef

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def counted(sizes: list[int], name: str = "a", **about: Any) -> Tally:
    tally = Tally(NOW, 3)
    for number, size in enumerate(sizes):
        said = {"prefix": f"{name}/", "type_": "raster tif", "state": "new", **about}
        tally.count(f"{name}/{number}", size, NOW - timedelta(days=number), **said)
    return tally


@given(st.lists(st.lists(st.integers(0, 10**12), max_size=8), max_size=5))
def test_parts_add_up_to_the_whole(parts: list[list[int]]) -> None:
    together = Tally(NOW, 3)
    for number, sizes in enumerate(parts):
        together.add(counted(sizes, f"p{number}"))

    summary = summarized(together, "bronze", "")

    every = [size for sizes in parts for size in sizes]
    assert (summary.total.blobs, summary.total.bytes) == (len(every), sum(every))
    for sums in (summary.by_age, summary.by_prefix, summary.by_type):
        assert sum(one.bytes for one in sums.values()) == sum(every)
        assert sum(one.blobs for one in sums.values()) == len(every)
    assert [one.bytes for one in summary.largest] == sorted(every, reverse=True)[:3]
    assert summary.sources["new"] == len(every)


@pytest.mark.parametrize(
    ("days", "age"),
    [
        (0, "last 24 hours"),
        (1, "last 24 hours"),
        (1.01, "last 7 days"),
        (7.5, "last 30 days"),
        (31, "last 365 days"),
        (366, "older"),
        (-1, "last 24 hours"),
    ],
)
def test_a_blob_has_the_age_that_is_as_young_as_it_is(days: float, age: str) -> None:
    tally = Tally(NOW, 3)

    tally.count("a", 7, NOW - timedelta(days=days), prefix="", type_="other", state="new")

    assert {name for name, found in tally.by_age.items() if found.blobs} == {age}


def test_types_without_end_are_counted_together() -> None:
    tally = Tally(NOW, 3)
    for number in range(10 * TYPES):
        tally.count(str(number), 1, NOW, prefix="", type_=f"other x{number}", state="other")

    assert len(tally.by_type) == TYPES + 1
    assert tally.by_type[OTHERS].blobs == 9 * TYPES


def test_few_of_many_are_named_and_all_are_counted() -> None:
    tally = Tally(NOW, 3)
    for number in range(100):
        tally.states["stale"] += 1
        tally.note("stale", f"{number:03d}", why="because")

    summary = summarized(tally, "bronze", "")

    assert (summary.stale.count, len(summary.stale.first)) == (100, NAMED)
    assert f"and {100 - NAMED} more" in container_markdown(summary)


def test_names_mean_nothing_in_the_summary() -> None:
    summary = summarized(counted([5], "<b>|x|</b>"), "bronze", "")

    assert "<b>" not in container_markdown(summary)
    assert "\\<b\\>\\|x\\|" in container_markdown(summary)


def test_the_largest_type_has_the_longest_bar() -> None:
    tally = counted([900])
    tally.add(counted([100], type_="vector gpkg"))

    lines = container_markdown(summarized(tally, "bronze", "")).splitlines()

    (long,) = [line.count("█") for line in lines if line.startswith("| raster tif")]
    (short,) = [line.count("█") for line in lines if line.startswith("| vector gpkg")]
    assert (long, short) == (18, 2)


@given(st.lists(st.text("ab", min_size=1, max_size=6), unique=True, max_size=200))
def test_every_folder_is_dealt_to_one_task(folders: list[str]) -> None:
    parts = dealt(folders, "top/")

    assert sorted(folder for part in parts for folder in part.folders) == sorted(folders)
    assert [part.index for part in parts] == list(range(len(parts)))
    assert [part.own for part in parts] == ["top/", *[None] * (len(parts) - 1)]
    assert len(parts) <= MAX_TASKS


NAMES = st.builds(
    "{}{}.{}".format,
    st.sampled_from(["", "d/", "a/", "a.x/", "d/e/"]),
    st.sampled_from(["a", "b", "a.b", ".a", "ab"]),
    st.sampled_from(["shp", "dbf", "shp.xml", "tif", "tif.aux.xml", "x/y.tif", "ingest.yaml"]),
)


def blob(path: str) -> Blob:
    return Blob(SourceRef("c", path), 1, "e", NOW)


@given(st.sets(NAMES), st.integers(1, 4))
def test_blobs_of_one_stem_stay_together_in_a_sorted_listing(names: set[str], size: int) -> None:
    paths = sorted(names)
    pages = [[blob(path) for path in paths[at : at + size]] for at in range(0, len(paths), size)]

    found = [[one.ref.path for one in group] for group in groups(pages)]

    assert sorted(path for group in found for path in group) == paths
    where = {path: number for number, group in enumerate(found) for path in group}
    for path in paths:
        folder, _, name = path.rpartition("/")
        first = name[0] + name[1:].split(".")[0]
        same = [
            other
            for other in paths
            if other.rpartition("/")[0] == folder
            and other.rpartition("/")[2].startswith(f"{first}.")
        ]
        assert {where[other] for other in same} <= {where[path]}


def test_a_listing_of_many_is_never_held() -> None:
    names = [f"{random.Random(n).getrandbits(40):x}.tif" for n in range(2000)]
    waiting = 0
    given_out = 0

    def pages() -> Any:
        nonlocal waiting
        for at, name in enumerate(sorted(names)):
            waiting = max(waiting, at - given_out)
            yield [blob(name)]

    for group in groups(pages()):
        given_out += len(group)

    assert given_out == len(set(names))
    assert waiting <= 2
