"""What a sync has to do: a container compared with the items of a collection.

Here: which rasters are new, changed or gone, and in which tasks they are taken. Not here: doing it
(`container_sync`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sqlalchemy as sa

from geo_etl.catalog.existing import existing_collection, item_id_of
from geo_etl.errors import GeoEtlError, SourceError, SpecError
from geo_etl.ingest.kinds import RASTER_EXTENSIONS, extension_of, is_archive, is_hidden
from geo_etl.ingest.siblings import group, sibling_roles, split_name
from geo_etl.raster.loads import RASTERS
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.catalogued import Held, held, legal_id, open_for
from geo_etl.resources.sources import whole

MAX_TASKS = 200
TASKS_A_CORE = 4


@dataclass(frozen=True)
class SyncOrder:
    """Which collection is to match what.

    Attributes:
        prefix: what the paths of the blobs begin with.
        extensions: of the blobs, in lower case without the dot.
        batch_size: items that are committed together.
        remove: whether items whose blob is gone are removed.
        max_files: a sync of more is refused.
        own_container: whose blobs below `rasters/` are those of published layers.
    """

    container: str
    prefix: str
    collection_id: str
    extensions: tuple[str, ...]
    batch_size: int
    remove: bool
    max_files: int
    own_container: str

    @property
    def synced_from(self) -> str:
        """How items say that this sync made them."""
        return f"{self.container}/{self.prefix}"


@dataclass(frozen=True)
class Todo:
    """A raster whose item is missing or out of date.

    Attributes:
        parts: the blobs that it is made of, by role; its own first.
        seen: ETag that its item had when the sync began; None when there was none.
    """

    item_id: str
    parts: Mapping[str, Blob]
    seen: str | None

    @property
    def name(self) -> str:
        """`container/path`."""
        return str(next(iter(self.parts.values())).ref)


@dataclass(frozen=True)
class Problem:
    """A raster that could not be catalogued."""

    name: str
    reason: str


@dataclass(frozen=True)
class Slice:
    """One task."""

    index: int
    todo: tuple[Todo, ...]


@dataclass(frozen=True)
class SyncPlan:
    """What a sync found.

    Attributes:
        slices: how many tasks there are.
        gone: id and ETag of items whose blob is not there.
        published: rasters that are left out: those of published layers.
    """

    order: SyncOrder
    slices: int
    files: int
    unchanged: int
    gone: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]
    published: int


def order_of(
    container: str,
    prefix: str,
    collection_id: str | None,
    suffixes: Sequence[str],
    *,
    batch_size: int,
    remove: bool,
    max_files: int,
    own_container: str,
) -> SyncOrder:
    """What a person asks for, checked.

    Raises:
        SpecError: the collection's id is not legal, or a suffix is that of no raster.
    """
    extensions = tuple(dict.fromkeys(suffix.lower().lstrip(".") for suffix in suffixes))
    known = [one for one in RASTER_EXTENSIONS if not is_archive(f".{one}", one)]
    wrong = [one for one in extensions if one not in known]
    if wrong or not extensions:
        raise SpecError(
            f"suffixes {list(suffixes)}",
            f"'{wrong[0]}' is no raster that can be read where it lies" if wrong else "it is empty",
            f"Use some of: {', '.join(known)}.",
        )
    checked = legal_id(collection_id or container, "collection_id")
    return SyncOrder(
        container, prefix, checked, extensions, batch_size, remove, max_files, own_container
    )


def plan_sync(
    storage: BlobStorage, engine: sa.Engine, order: SyncOrder
) -> tuple[SyncPlan, tuple[Slice, ...]]:
    """Compare a container with a collection, which is created if it is not there.

    Raises:
        StorageError: there is no such container.
        CatalogueError: the collection belongs to a published set.
        SpecError: there are more rasters than the sync may have.
    """
    next(iter(storage.pages(order.container, order.prefix, 1)), None)  # there is such a container
    with engine.begin() as connection:
        open_for(connection, existing_collection(order.collection_id, order.synced_from))
        # Before the listing: an item whose blob comes while this lists is not taken for a lost one.
        there = held(connection, order.collection_id)
    listed, published = _listed(storage, order)
    todo: list[Todo] = []
    problems: list[Problem] = []
    taken: dict[str, str] = {}
    unchanged = 0
    for name, beside in listed.items():
        blob = f"{order.container}/{name}"
        try:
            parts = _parts(name, beside)
            item_id = item_id_of(name)
            other = taken.setdefault(item_id, name)
            if other != name:
                raise SourceError(name, f"its item id is that of {other}", "Rename one of them.")
            item, etag = there.get(item_id), whole(parts).etag
            if item is not None and (item.blob, item.etag) == (blob, etag):
                unchanged += 1
                continue
            check_free(item, blob, order)
        except GeoEtlError as error:
            problems.append(Problem(_text(blob), reason_of(error)))
            continue
        todo.append(Todo(item_id, parts, None if item is None else item.etag))
    gone = tuple(
        (item_id, item.etag or "")
        for item_id, item in sorted(there.items())
        if item.synced_from == order.synced_from and item_id not in taken
    )
    slices = _slices(todo, order.batch_size)
    plan = SyncPlan(order, len(slices), len(listed), unchanged, gone, tuple(problems), published)
    return plan, slices


def _listed(
    storage: BlobStorage, order: SyncOrder
) -> tuple[dict[str, list[tuple[str, Blob]]], int]:
    """Paths of the rasters of a container, each with what may belong to it; how many are left out.

    Raises:
        SpecError: there are too many.
    """
    roles = set(order.extensions).union(*(sibling_roles(one) for one in order.extensions))
    found: dict[str, list[tuple[str, Blob]]] = {}
    names: list[str] = []
    published = 0
    for page in storage.pages(order.container, order.prefix):
        for blob in page:
            path = blob.ref.path
            stem, role = split_name(path)
            if role not in roles or is_hidden(path):
                continue
            if order.container == order.own_container and path.startswith(f"{RASTERS}/"):
                published += role in order.extensions
                continue
            found.setdefault(stem, []).append((path, blob))
            if extension_of(path) in order.extensions and role in order.extensions:
                names.append(path)
        if len(names) > order.max_files:
            raise SpecError(
                f"sync of {order.synced_from}",
                f"it holds more than {order.max_files:,} rasters",
                "Give a prefix, or raise max_files.",
            )
    return {name: found[split_name(name)[0]] for name in sorted(names)}, published


def _parts(path: str, beside: list[tuple[str, Blob]]) -> dict[str, Blob]:
    """The blobs of one raster by role, its own first.

    Raises:
        SourceError: two of them have the same role, or its name is no text.
    """
    if _text(path) != path or "\0" in path:
        raise SourceError(path, "its name is no UTF-8", "Rename it.")
    return group(path, beside)


def _text(path: str) -> str:
    """A path as text, whatever bytes the name of a local file has."""
    return path.encode(errors="surrogatepass").decode(errors="replace")


def check_free(item: Held | None, name: str, order: SyncOrder) -> None:
    """Leave alone what this sync has not made.

    Raises:
        SourceError: the item is somebody else's.
    """
    if item is None or item.synced_from == order.synced_from:
        return
    if item.blob is None:
        owner, remedy = "of a published layer", "Set collection_id to another."
    elif item.synced_from is None:
        owner, remedy = f"that catalog_file made of {item.blob}", "Run catalog_file again for it."
    else:
        owner = f"that the sync of {item.synced_from} made of {item.blob}"
        remedy = "Let one sync take both, or set collection_id to another."
    raise SourceError(name, f"its id is that of an item {owner}", remedy)


def _slices(todo: Sequence[Todo], batch_size: int) -> tuple[Slice, ...]:
    """Tasks of about as many rasters each, in the order of their names."""
    most = min(MAX_TASKS, TASKS_A_CORE * (os.cpu_count() or 1))
    count = min(most, -(-len(todo) // batch_size))
    ends = [len(todo) * number // count for number in range(count + 1)] if count else [0]
    return tuple(
        Slice(index, tuple(todo[start:end])) for index, (start, end) in enumerate(pairwise(ends))
    )


def reason_of(error: GeoEtlError) -> str:
    """What is wrong with a raster, and the way out."""
    return f"{error.problem}. {error.remedy}"
