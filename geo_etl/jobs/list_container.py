"""List the blobs of a container, each with what it is and whether it is ingested."""

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, get_args

from dagster import (
    Config,
    MetadataValue,
    OpExecutionContext,
    Out,
    Output,
    TableColumn,
    TableRecord,
    TableSchema,
    job,
    op,
)
from pydantic import Field

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.errors import SpecError
from geo_etl.report.words import file_size, plain_markdown
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import text_blob
from geo_etl.resources.listed_sources import BlobKind, Entry, Lister, folder_settings
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.published_sources import published_below
from geo_etl.spec import SourceRef

SHOWN = 100
"""Rows in the UI; all are in the file."""
COLUMNS = ("path", "kind", "state", "why", "bytes", "modified", "etag")


KINDS = get_args(BlobKind)


class ListConfig(Config):
    """Which blobs."""

    container: str | None = Field(None, description="Default: bronze")
    prefix: str = Field("", description="What paths begin with; default: all")
    kinds: list[str] = Field([], description=f"Of {', '.join(KINDS)}; default: all")
    suffix: str = Field("", description="What paths end with, in whatever case: .tif")
    limit: int | None = Field(None, ge=1, description="Blobs at most; default: all")

    def check(self) -> None:
        """Refuse kinds that there are not.

        Raises:
            SpecError: names one.
        """
        for kind in self.kinds:
            if kind not in KINDS:
                raise SpecError(
                    f"kind '{kind}'", "there is no such kind", f"Give some of: {', '.join(KINDS)}."
                )

    def holds(self, entry: Entry) -> bool:
        """Whether an entry is wanted."""
        path = entry.blob.ref.path
        is_kind = not self.kinds or entry.kind in self.kinds
        return is_kind and path.lower().endswith(self.suffix.lower())


@op(
    out=Out(dict),
    retry_policy=TRANSIENT_RETRIES,
    description="List blobs; all of them become a CSV file in the work container.",
)
def list_blobs(
    context: OpExecutionContext,
    config: ListConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Output[dict[str, Any]]:
    container, storage = config.container or blobs.bronze_container, blobs.storage
    kinds, states, shown, octets = Counter[str](), Counter[str](), list[dict[str, Any]](), 0
    with op_faults():
        config.check()
        with postgis.engine.connect() as connection:
            known = published_below(connection, storage, container, config.prefix)
        # Twice: what `_ingest.yaml` files say is needed before what lies beside them.
        pages = storage.pages(container, config.prefix)
        settings = folder_settings(storage, container, pages, config.prefix)
        lister = Lister(storage, known, settings)
        entries = lister.entries(storage.pages(container, config.prefix))
        wanted = filter(config.holds, entries)
        storage.create_container(blobs.work_container)
        target = SourceRef(blobs.work_container, f"listings/{context.run_id}.csv")
        with text_blob(storage, target) as text:
            rows = csv.DictWriter(text, COLUMNS)
            rows.writeheader()
            for entry in islice(wanted, config.limit):
                row = _row(entry)
                rows.writerow(row)
                kinds[entry.kind] += 1
                states[entry.state] += 1
                octets += entry.blob.size
                if len(shown) < SHOWN:
                    shown.append(row)
            is_cut = next(wanted, None) is not None
    result = {
        "blobs": kinds.total(),
        "bytes": octets,
        "by_kind": dict(kinds),
        "by_state": dict(states),
        "is_cut": is_cut,
        "listing": str(target),
    }
    return Output(
        result,
        metadata={
            "summary": MetadataValue.md(_summary(result, container, config)),
            "first": MetadataValue.table(
                [TableRecord({key: _shown(row[key]) for key in COLUMNS}) for row in shown],
                TableSchema(
                    [TableColumn(name, "int" if name == "bytes" else "string") for name in COLUMNS]
                ),
            ),
            "listing": str(target),
            "file": MetadataValue.url(storage.url(target)),
        },
    )


def _row(entry: Entry) -> dict[str, Any]:
    blob = entry.blob
    return {
        # With its container: what 'geo-etl ingest' takes.
        "path": str(blob.ref),
        "kind": entry.kind,
        "state": entry.state,
        "why": entry.why,
        "bytes": blob.size,
        "modified": blob.modified.isoformat(timespec="seconds"),
        "etag": blob.etag,
    }


def _shown(value: Any) -> Any:
    """As JSON can have it."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return value


def _summary(result: dict[str, Any], container: str, config: ListConfig) -> str:
    lines = [
        f"{result['blobs']:,} blobs, {file_size(result['bytes'])} in "
        f"{plain_markdown(f'{container}/{config.prefix}')}; the first {SHOWN} are below, all in "
        f"{plain_markdown(result['listing'])} (until housekeeping removes it).",
        "",
        *_counts("kind", result["by_kind"]),
        *_counts("state", result["by_state"]),
    ]
    if result["is_cut"]:
        lines.append(f"There are more: the limit is {config.limit:,}.")
    return "\n".join(lines)


def _counts(title: str, counts: dict[str, int]) -> Iterator[str]:
    yield f"| {title} | blobs |"
    yield "|---|---:|"
    for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        yield f"| {name} | {count:,} |"
    yield ""


@job(description=__doc__)
def list_container() -> None:
    list_blobs()
