"""The verbs of one ingest, each called by one op: plan, load, publish, conclude.

They take paths, files, a database engine; they return the small references that the next verb
needs. Run one after another they are the whole data path, without Dagster.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from geo_etl.errors import SourceError, SpecError
from geo_etl.spec import SourceRef, VectorSpec
from geo_etl.vector.attributes import Column
from geo_etl.vector.chunk import Chunk, OpenChunk, read_chunk, write_chunks
from geo_etl.vector.geometry import GeometryPlan, same_crs, transformation_warnings
from geo_etl.vector.load import ChunkCounts, Load, begin_load, load_chunk, recorded_counts
from geo_etl.vector.names import normalise_name
from geo_etl.vector.publish import (
    Publication,
    Target,
    Totals,
    check_indexes,
    check_schema_change,
    check_target,
    finish_load,
    totals,
)
from geo_etl.vector.publish import publish as publish_load
from geo_etl.vector.source import format_of, harmless, open_layer

LARGE_REPAIR_SHARE = 0.05
"""Above this share of repaired features the result carries a warning."""


@dataclass(frozen=True)
class Span:
    """When something ran, in seconds since the epoch."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.end - self.start


class Clock:
    """Measures one span from its making."""

    def __init__(self) -> None:
        self._start = time.time()

    def span(self) -> Span:
        """From the making until now."""
        return Span(self._start, time.time())


@dataclass(frozen=True)
class Order:
    """What is to be ingested: a source as it is now, and its spec."""

    source: SourceRef
    fingerprint: str
    modified: datetime
    job_id: str
    spec: VectorSpec

    @property
    def target(self) -> Target:
        """The table to publish."""
        return target_of(self.source, self.spec)


@dataclass(frozen=True)
class Manifest:
    """What the plan found and decided: all that later stages need.

    Attributes:
        done: this very job is published and verified already: nothing is to be run.
    """

    order: Order
    load: Load | None
    chunks: list[Chunk]
    columns: list[Column]
    geometry: GeometryPlan | None
    original_crs: str
    warnings: list[str]
    span: Span
    done: bool = False


@dataclass(frozen=True)
class TaskReport:
    """What one load task did."""

    index: int
    counts: ChunkCounts
    span: Span


@dataclass(frozen=True)
class PublishReport:
    """What the publish made visible."""

    account: Totals
    load_span: Span | None
    load_tasks: int
    busy_seconds: float
    span: Span


def target_of(source: SourceRef, spec: VectorSpec) -> Target:
    """Schema and table of a source; by default named after the blob without its extension."""
    name = spec.table_name or normalise_name(Path(source.name).stem, fallback="source")
    return Target(spec.schema_name, name)


def check_early(source: SourceRef, spec: VectorSpec, engine: sa.Engine) -> None:
    """What can be refused before the source is even read.

    Raises:
        SourceError, SpecError, PublishError: the format is unknown, the spec is for another
            container, or the table belongs to somebody else.
    """
    if spec.container_name not in (None, source.container):
        raise SpecError(
            f"spec of {source}",
            f"container_name is '{spec.container_name}', but the source is in '{source.container}'",
            "Remove container_name, or move the source.",
        )
    format_of(source.name, spec.file_extension)
    with engine.connect() as connection:
        check_target(connection, target_of(source, spec), str(source))


def plan(
    order: Order, path: Path, engine: sa.Engine, open_chunk: OpenChunk, *, force: bool = False
) -> Manifest:
    """Validate a source, cut it into chunks and create the table that they are loaded into.

    Args:
        path: the source as a local file.
        open_chunk: gives the file to write chunk `index` to.
        force: begin from nothing, even where an earlier attempt can be continued.

    Raises:
        SourceError, GeometryError, PublishError: see the modules that check.
    """
    clock = Clock()
    spec, name, target = order.spec, str(order.source), order.target
    with engine.connect() as connection:
        insert_as = order.job_id if spec.load_method == "insert" else None
        check_target(connection, target, name, insert_as)
    with harmless(path) as readable:
        layer = open_layer(readable, name, spec)
        assert layer.crs is not None
        scan = write_chunks(layer, name, spec, open_chunk)
    check_indexes(spec, scan.columns, target)
    geometry = GeometryPlan(
        source_crs=None if same_crs(layer.crs, spec.target_srid) else layer.crs,
        target_srid=spec.target_srid,
        geometry_type=scan.geometry_type,
        max_repair_change=spec.limits.max_repair_change,
        simplify_tolerance=spec.geometry_params.simplify_tolerance,
        quantize=spec.geometry_params.quantize,
    )
    warnings = list(scan.warnings)
    if geometry.source_crs is not None:
        warnings += transformation_warnings(geometry.source_crs, geometry.target_srid, layer.bounds)
    with engine.begin() as connection:
        warnings += check_schema_change(
            connection, target, scan.columns, spec.attribute_rules.schema_change == "allow"
        )
        load = begin_load(
            connection,
            job_id=order.job_id,
            source=name,
            columns=scan.columns,
            geometry=geometry,
            chunks=scan.chunks,
            force=force,
        )
    return Manifest(
        order=order,
        load=load,
        chunks=scan.chunks,
        columns=scan.columns,
        geometry=geometry,
        original_crs=layer.crs,
        warnings=warnings,
        span=clock.span(),
    )


def loaded_before(manifest: Manifest, chunk: Chunk, engine: sa.Engine) -> TaskReport | None:
    """What became of a chunk that is loaded already; None for one that is not."""
    clock = Clock()
    assert manifest.load is not None
    with engine.connect() as connection:
        counts = recorded_counts(connection, manifest.load, chunk)
    return None if counts is None else TaskReport(chunk.index, counts, clock.span())


def load(manifest: Manifest, chunk: Chunk, file: BinaryIO, database_url: str) -> TaskReport:
    """Load one chunk; nothing happens when it is loaded already."""
    clock = Clock()
    assert manifest.load is not None
    assert manifest.geometry is not None
    counts = load_chunk(
        database_url,
        manifest.load,
        chunk,
        read_chunk(file),
        manifest.columns,
        manifest.geometry,
    )
    return TaskReport(chunk.index, counts, clock.span())


def settle(manifest: Manifest, engine: sa.Engine) -> Totals:
    """Prove that a load is whole, then give it its keys, indexes and statistics.

    Raises:
        ConservationError: features or chunks are missing.
        SourceError: not one feature could be loaded.
    """
    assert manifest.load is not None
    order = manifest.order
    with engine.connect() as connection:
        account = totals(connection, manifest.load, manifest.chunks)
        if account.loaded == 0:
            raise SourceError(
                str(order.source),
                f"none of its {account.read} features could be loaded "
                f"({account.quarantined} refused, {account.dropped} without a geometry)",
                "See geo_etl.quarantine for the reasons.",
            )
    finish_load(
        engine, manifest.load, order.spec, manifest.columns, order.target, rows=account.read
    )
    return account


def publish(
    manifest: Manifest,
    account: Totals,
    engine: sa.Engine,
    write_item: Callable[[sa.Connection], None],
) -> None:
    """Make a settled load visible, together with its STAC item.

    Raises:
        PublishError: see `geo_etl.vector.publish.publish`.
    """
    assert manifest.load is not None
    assert manifest.geometry is not None
    order = manifest.order
    publish_load(
        engine,
        manifest.load,
        order.spec,
        Publication(
            target=order.target,
            source=str(order.source),
            fingerprint=order.fingerprint,
            job_id=order.job_id,
            collection_id=order.spec.collection_id,
            item_id=str(order.target),
        ),
        manifest.columns,
        manifest.geometry,
        account,
        write_item,
    )


def warnings_of(manifest: Manifest, account: Totals) -> list[str]:
    """What a person should know about a load that went well."""
    warnings = list(manifest.warnings)
    if account.had_z:
        warnings.append(f"{account.had_z} features lost their Z or M values (tables are 2D).")
    if account.without_nul:
        warnings.append(
            f"{account.without_nul} text values lost a NUL character, which PostgreSQL can't store."
        )
    if account.quarantined:
        warnings.append(
            f"{account.quarantined} features are quarantined, with reasons, in geo_quarantine."
        )
    if account.repaired > LARGE_REPAIR_SHARE * account.read:
        share = account.repaired / account.read
        warnings.append(f"{share:.0%} of the features had to be repaired.")
    return warnings


def parallel_efficiency(report: PublishReport) -> float | None:
    """Busy time of the load tasks ÷ (length of the load stage × processes); None: one task."""
    if report.load_span is None or report.load_tasks < 2 or report.load_span.seconds <= 0:
        return None
    processes = min(report.load_tasks, os.cpu_count() or 1)
    return round(min(1.0, report.busy_seconds / (report.load_span.seconds * processes)), 3)
