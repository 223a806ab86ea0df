"""Many rasters as one collection: what its members must share, and the tasks they are made in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from geo_etl.ingest.clock import Span
from geo_etl.raster.facts import RasterFacts
from geo_etl.spec import CollectionRef, RasterSpec, SourceRef
from geo_etl.spec.raster import NATIVE, DataKind

MAX_TASKS = 200
"""Tasks of one run: each costs a start, and a place in the UI."""
MIN_MEMBERS_A_TASK = 4


@dataclass(frozen=True)
class Member:
    """One raster of a collection, as its container lists it.

    Attributes:
        state: changes whenever the source or its siblings are written.
    """

    source: SourceRef
    size: int
    modified: datetime
    state: str


@dataclass(frozen=True)
class Shape:
    """What the members of a collection have in common.

    Attributes:
        crs: of the source; None where all are reprojected.
        kind: what the pixels of all of them are taken for.
    """

    bands: int
    dtype: str
    crs: str | None
    kind: DataKind

    @classmethod
    def of(cls, facts: RasterFacts, spec: RasterSpec) -> "Shape":
        """Of one member."""
        crs = facts.grid.crs if spec.target_crs == NATIVE else None
        return cls(len(facts.bands), facts.dtype, crs, facts.kind)


@dataclass(frozen=True)
class Batch:
    """One task: some members."""

    index: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class CollectionManifest:
    """What the plan of a collection found: all that later stages need.

    Attributes:
        spec: of the collection; a member's own sidecar may add to it.
        model: source that all the others are compared with, and its shape.
        unchanged: members that are published as they are.
        model_etag: of that source.
        removed: layer and source of members that are no longer there.
        force: whether every member is made again.
    """

    ref: CollectionRef
    spec: RasterSpec
    job_id: str
    collection_id: str
    members: tuple[Member, ...]
    model: str
    shape: Shape
    batches: tuple[Batch, ...]
    unchanged: tuple[Member, ...]
    removed: tuple[tuple[str, str], ...]
    model_etag: str
    force: bool
    warnings: tuple[str, ...]
    span: Span


def differences(facts: RasterFacts, model: Shape, spec: RasterSpec) -> list[str]:
    """How a member differs from the model of its collection; empty: not at all."""
    shape = Shape.of(facts, spec)
    found = []
    if shape.bands != model.bands:
        found.append(f"it has {shape.bands} bands, the others have {model.bands}")
    if shape.dtype != model.dtype:
        found.append(f"its type is {shape.dtype}, that of the others is {model.dtype}")
    if shape.crs != model.crs:
        found.append(f"its CRS is {shape.crs}, that of the others is {model.crs}")
    return found


def as_member(facts: RasterFacts) -> RasterFacts:
    """Facts of a member: its type stays that of all, whatever its own pixels would allow."""
    return replace(facts, narrow_to=None)


def batches_of(members: Sequence[Member]) -> tuple[Batch, ...]:
    """Members in tasks of about equal bytes, in the order of their names.

    At most `MAX_TASKS`, and none smaller than it needs to be: a start costs about as much as a
    few small rasters.
    """
    if not members:
        return ()
    count = min(MAX_TASKS, max(1, len(members) // MIN_MEMBERS_A_TASK))
    share = sum(member.size for member in members) / count
    batches: list[list[Member]] = [[]]
    filled = 0
    for member in members:
        if filled >= share * len(batches) and len(batches) < count:
            batches.append([])
        batches[-1].append(member)
        filled += member.size
    return tuple(Batch(index, tuple(batch)) for index, batch in enumerate(batches))


def collection_job_id(ref: CollectionRef, spec: RasterSpec, members: Sequence[Member]) -> str:
    """SHA-256 (64 hex digits) of one ingest of a collection: its spec, its members as they are."""
    digest = hashlib.sha256(f"{ref}\n{sorted(spec.canonical().items())}\n".encode())
    for member in members:
        digest.update(f"{member.source}\n{member.state}\n".encode())
    return digest.hexdigest()
