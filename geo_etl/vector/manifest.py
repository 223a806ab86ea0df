"""What the ops of an ingest hand each other: small references and accounts, never features."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from geo_etl.ingest.clock import Span
from geo_etl.spec import SourceRef, VectorSpec
from geo_etl.vector.account import Totals
from geo_etl.vector.attributes import Column
from geo_etl.vector.chunk import Chunk
from geo_etl.vector.geometry import GeometryPlan
from geo_etl.vector.load import Load
from geo_etl.vector.names import normalise_name
from geo_etl.vector.rows import ChunkCounts
from geo_etl.vector.rules import RulePlan
from geo_etl.vector.versions import Target, Version


def target_of(source: SourceRef, spec: VectorSpec) -> Target:
    """Schema and table of a source; by default named after the blob without its extension."""
    name = spec.table_name or normalise_name(Path(source.name).stem, fallback="source")
    return Target(spec.schema_name, name)


@dataclass(frozen=True)
class Order:
    """What is to be ingested: a source as it is now, and its spec."""

    source: SourceRef
    fingerprint: str
    modified: datetime
    bytes: int
    job_id: str
    spec: VectorSpec

    @property
    def target(self) -> Target:
        """The table to publish; a mixed layer that is split adds to its name."""
        return target_of(self.source, self.spec)


@dataclass(frozen=True)
class LoadPart:
    """One table of an ingest: most have just one.

    Attributes:
        columns: of the table. A delivery that is added to it may lack some.
    """

    target: Target
    load: Load
    geometry: GeometryPlan
    columns: list[Column]


@dataclass(frozen=True)
class Manifest:
    """What the plan found and decided: all that later stages need.

    Attributes:
        parts: a chunk's `part` is a position here.
        corrects: whether these are features of other sources, quarantined once.
        format: of the source, for people.
        crs_declared, encoding_declared: whether the source says it itself.
        superseded: job ids of unfinished loads of the same source that this one replaces.
    """

    order: Order
    parts: list[LoadPart]
    chunks: list[Chunk]
    rules: RulePlan
    corrects: bool
    format: str
    original_crs: str
    crs_declared: bool
    encoding_declared: bool
    warnings: list[str]
    span: Span
    superseded: list[str]

    def part_of(self, chunk: Chunk) -> LoadPart:
        """The table that a chunk's features go into."""
        return self.parts[chunk.part]

    def chunks_of(self, part: LoadPart) -> list[Chunk]:
        """The chunks whose features go into a table."""
        position = self.parts.index(part)
        return [chunk for chunk in self.chunks if chunk.part == position]


@dataclass(frozen=True)
class TaskReport:
    """What one load task did."""

    index: int
    counts: ChunkCounts
    span: Span


@dataclass(frozen=True)
class PublishReport:
    """What the publish made visible.

    Attributes:
        accounts: of each part.
        versions: as they are published, of each part.
        geoparquet: hrefs of the side output.
    """

    accounts: list[Totals]
    versions: list[Version]
    load_span: Span | None
    load_tasks: int
    busy_seconds: float
    span: Span
    geoparquet: list[str]
