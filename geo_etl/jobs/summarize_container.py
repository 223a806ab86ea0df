"""What a container holds: counts and bytes, what is ingested, stale, gone.

The first step finds the folders, each task counts some of them, the last step adds up.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dagster import (
    Config,
    DynamicOut,
    DynamicOutput,
    Failure,
    MetadataValue,
    OpExecutionContext,
    Out,
    Output,
    job,
    op,
)
from pydantic import Field

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.assets.runs import RETRY_ALL_STEPS
from geo_etl.ingest.kinds import extension_of
from geo_etl.jobs.executor import forkserver_executor
from geo_etl.report.container_summary import Tally, container_markdown, summarized
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.listed_sources import COMPARED_BYTES, Entry, Lister, folder_settings
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.published_sources import published_below
from geo_etl.spec import task_id

NAME = "summarize_container"
TASKS_PER_CORE = 4
MAX_TASKS = 32
ROOT = "(no folder)"
NAMED_STATES = frozenset(("stale", "incomplete", "orphaned", "not ingestible"))


class SummaryConfig(Config):
    """Which container."""

    container: str | None = Field(None, description="Default: bronze")
    prefix: str = Field("", description="A folder, with a slash at its end; default: all")
    largest: int = Field(10, ge=1, le=1000, description="How many of the largest blobs are named")


@dataclass(frozen=True)
class Part:
    """What one task counts: whole folders, and maybe what lies in one folder itself.

    Attributes:
        folders: each with a slash at its end.
        own: the folder above them, in one of the tasks; None in the others.
    """

    index: int
    folders: tuple[str, ...]
    own: str | None


@dataclass(frozen=True)
class Division:
    """A container in parts: the manifest that the last step checks.

    Attributes:
        moment: what ages are counted from.
        has_items: whether blobs in it are assets of STAC items.
    """

    container: str
    prefix: str
    moment: datetime
    largest: int
    has_items: bool
    parts: tuple[Part, ...]


@op(
    out={"division": Out(Division), "parts": DynamicOut(Part)},
    retry_policy=TRANSIENT_RETRIES,
    description="Find the folders, and deal them out to tasks.",
)
def divide(
    context: OpExecutionContext,
    config: SummaryConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Iterator[Output[Division] | DynamicOutput[Part]]:
    container = config.container or blobs.bronze_container
    folder = config.prefix.strip("/")
    prefix = f"{folder}/" if folder else ""
    with op_faults():
        with postgis.engine.connect() as connection:
            known = published_below(connection, blobs.storage, container, prefix)
        top, folders = folders_below(blobs.storage, container, prefix, known.paths)
    parts = dealt(folders, top)
    moment = datetime.now(UTC)
    division = Division(container, prefix, moment, config.largest, bool(known.items), parts)
    yield Output(
        division, "division", metadata={"folders": len(folders), "below": f"{container}/{top}"}
    )
    for part in parts:
        key = task_id(context.run_id, NAME, "count", part.index)
        yield DynamicOutput(part, key, "parts")


def folders_below(
    storage: BlobStorage, container: str, prefix: str, published: Iterable[str]
) -> tuple[str, list[str]]:
    """The folder that branches first, and the folders in it.

    Args:
        published: paths below the prefix; they need not be there any more.
    """
    top, paths = prefix, list(published)
    while True:
        levels = list(storage.level(container, top))
        below = [path.removeprefix(top).partition("/") for path in paths]
        folders = {folder for level in levels for folder in level.folders}
        folders.update(f"{top}{name}/" for name, slash, _ in below if slash)
        has_blobs = any(level.blobs for level in levels) or not all(one[1] for one in below)
        if len(folders) != 1 or has_blobs:
            return top, sorted(folders)
        (top,) = folders


def dealt(folders: Sequence[str], top: str) -> tuple[Part, ...]:
    """Folders in a bounded number of parts, neighbours apart: they may be large together."""
    count = min(MAX_TASKS, TASKS_PER_CORE * (os.cpu_count() or 1), max(1, len(folders)))
    return tuple(
        Part(index, tuple(folders[index::count]), None if index else top) for index in range(count)
    )


@op(
    out=Out(dict),
    retry_policy=TRANSIENT_RETRIES,
    description="Count what lies in some folders.",
)
def count_part(
    division: Division, part: Part, blobs: BlobStorageResource, postgis: PostGISResource
) -> Output[dict[str, Any]]:
    storage, container = blobs.storage, division.container
    tally, budget = Tally(division.moment, division.largest), COMPARED_BYTES // len(division.parts)
    with op_faults():
        with postgis.engine.connect() as connection:
            known = published_below(
                connection, storage, container, division.prefix, with_items=division.has_items
            )
        for folder in part.folders:
            lister = Lister(
                storage,
                known.restricted(partial(_starts, folder)),
                folder_settings(storage, container, storage.pages(container, folder), folder),
                budget,
            )
            _count(tally, lister, storage.pages(container, folder), folder)
            budget = lister.budget
        if part.own is not None:
            own = part.own

            def is_in_it(path: str) -> bool:
                return path.startswith(own) and "/" not in path.removeprefix(own)

            settings = folder_settings(storage, container, _in(storage, container, own), own)
            lister = Lister(storage, known.restricted(is_in_it), settings, budget)
            _count(tally, lister, _in(storage, container, own), own or ROOT)
    return Output(
        {"part": part, "tally": tally},
        metadata={"blobs": tally.total.blobs, "bytes": tally.total.bytes},
    )


def _starts(folder: str, path: str) -> bool:
    return path.startswith(folder)


def _in(storage: BlobStorage, container: str, folder: str) -> Iterator[list[Blob]]:
    return (level.blobs for level in storage.level(container, folder))


def _count(tally: Tally, lister: Lister, pages: Iterable[list[Blob]], prefix: str) -> None:
    for entry in lister.entries(pages):
        blob = entry.blob
        tally.count(
            blob.ref.path,
            blob.size,
            blob.modified,
            prefix=prefix,
            type_=type_of(entry),
            state=entry.state,
        )
        if entry.state in NAMED_STATES:
            tally.note(entry.state, blob.ref.path, blob.size, entry.why)
    for path, name in lister.gone():
        tally.states["gone"] += 1
        tally.note("gone", path, why=f"published as {name}")


def type_of(entry: Entry) -> str:
    """What a blob is, in a word or two: `vector gpkg`."""
    extension = extension_of(entry.blob.ref.path)
    return f"{entry.kind} {extension}".rstrip()


@op(
    out=Out(dict),
    retry_policy=TRANSIENT_RETRIES,
    description="Account for every folder, and add up.",
)
def add_up(division: Division, counted: list[dict[str, Any]]) -> Output[dict[str, Any]]:
    found = sorted((one["part"] for one in counted), key=lambda part: part.index)
    if tuple(found) != division.parts:
        lacking = [part.index for part in division.parts if part not in found]
        raise Failure(
            f"{len(found)} of {len(division.parts)} parts were counted; lacking: {lacking}. "
            "Start the job anew, with all its steps.",
            allow_retries=False,
        )
    tally = Tally(division.moment, division.largest)
    for one in counted:
        tally.add(one["tally"])
    summary = summarized(tally, division.container, division.prefix)
    result = summary.model_dump(mode="json")
    return Output(
        result,
        metadata={
            "summary": MetadataValue.md(container_markdown(summary)),
            "blobs": summary.total.blobs,
            "bytes": summary.total.bytes,
            "result": MetadataValue.json(result),
        },
    )


@job(
    name=NAME,
    executor_def=forkserver_executor,
    tags=RETRY_ALL_STEPS,
    description=__doc__,
)
def summarize_container() -> None:
    division, parts = divide()
    add_up(division, parts.map(lambda part: count_part(division, part)).collect())
