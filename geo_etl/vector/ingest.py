"""The verbs of one ingest, each called by one op: plan, load, settle, publish.

They take paths, files, a database engine; they return the small references that the next verb
needs. Run one after another they are the whole data path, without Dagster.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from geo_etl.errors import SourceError, SpecError
from geo_etl.spec import SourceRef, VectorSpec
from geo_etl.vector.account import Totals, totals, union
from geo_etl.vector.attributes import Column
from geo_etl.vector.chunk import Chunk, OpenChunk, Part, Scan, read_chunk, write_chunks
from geo_etl.vector.finish import enforce_unique, finish_table, wanted_indexes
from geo_etl.vector.geometry import GeometryPlan
from geo_etl.vector.load import Load, LoadPlan, begin_loads, load_chunk, recorded_counts
from geo_etl.vector.merge import check_free, check_keys, merge
from geo_etl.vector.names import MAX_BYTES, cut, normalise_name
from geo_etl.vector.publish import Candidate
from geo_etl.vector.publish import publish as publish_candidates
from geo_etl.vector.reproject import same_crs, transformation_warnings
from geo_etl.vector.rows import ChunkCounts
from geo_etl.vector.rules import RulePlan
from geo_etl.vector.source import format_of, harmless, open_layer
from geo_etl.vector.target import ADDING, check_schema_change, check_target, fit_columns
from geo_etl.vector.versions import Piece, Target, Version, current_version, find_versions

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
        format: of the source, for people.
        crs_declared, encoding_declared: whether the source says it itself.
        superseded: job ids of unfinished loads of the same source that this one replaces.
    """

    order: Order
    parts: list[LoadPart]
    chunks: list[Chunk]
    rules: RulePlan
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
    if spec.load_method != "insert":  # which is fine again for the very job that is done
        with engine.connect() as connection:
            check_target(connection, target_of(source, spec), str(source), spec.load_method, "")


def plan(
    order: Order, path: Path, engine: sa.Engine, open_chunk: OpenChunk, *, force: bool = False
) -> Manifest:
    """Validate a source, cut it into chunks and create the tables that they are loaded into.

    Args:
        path: the source as a local file.
        open_chunk: gives the file to write chunk `index` to.
        force: begin from nothing, even where an earlier attempt can be continued.

    Raises:
        SourceError, GeometryError, PublishError: see the modules that check.
    """
    clock = Clock()
    spec, name = order.spec, str(order.source)
    with harmless(path) as readable:
        layer = open_layer(readable, name, spec)
        assert layer.crs is not None
        scan = write_chunks(layer, name, spec, open_chunk)
    if spec.load_method == "upsert":
        check_keys(scan.rules.columns, spec.key_columns, name)
    warnings = [*layer.remarks, *scan.rules.warnings]
    if not same_crs(layer.crs, spec.target_srid):
        warnings += transformation_warnings(layer.crs, spec.target_srid, layer.bounds)
    with engine.begin() as connection:
        planned = [_plan_part(connection, order, scan, part, layer.crs) for part in scan.parts]
        for _, said in planned:
            warnings += [sentence for sentence in said if sentence not in warnings]
        loads, superseded = begin_loads(connection, [plan for plan, _ in planned], force=force)
    return Manifest(
        order=order,
        parts=[
            LoadPart(plan.target, load, plan.geometry, list(plan.columns))
            for (plan, _), load in zip(planned, loads, strict=True)
        ],
        chunks=scan.chunks,
        rules=scan.rules,
        format=layer.format,
        original_crs=layer.crs,
        crs_declared=layer.crs_declared,
        encoding_declared=layer.encoding_declared,
        warnings=warnings,
        span=clock.span(),
        superseded=superseded,
    )


def _plan_part(
    connection: sa.Connection, order: Order, scan: Scan, part: Part, crs: str
) -> tuple[LoadPlan, list[str]]:
    """One table of an ingest, checked against what is published there."""
    spec, target = order.spec, _part_target(order.target, part)
    current = check_target(connection, target, str(order.source), spec.load_method, order.job_id)
    allowed = spec.attribute_rules.schema_change == "allow"
    adds, columns, geometry_type = (
        spec.load_method in ADDING,
        scan.rules.columns,
        part.geometry_type,
    )
    if adds and current is not None:
        columns, said = fit_columns(current, columns, geometry_type, spec.target_srid, allowed)
        geometry_type = current.geometry_type
    else:
        said = check_schema_change(current, columns, allowed)
    wanted_indexes(spec, columns, target)
    geometry = GeometryPlan(
        source_crs=None if same_crs(crs, spec.target_srid) else crs,
        target_srid=spec.target_srid,
        geometry_type=geometry_type,
        max_repair_change=spec.limits.max_repair_change,
        simplify_tolerance=spec.geometry_params.simplify_tolerance,
        quantize=spec.geometry_params.quantize,
        split_antimeridian=spec.geometry_params.split_antimeridian,
    )
    position = scan.parts.index(part)
    chunks = [chunk for chunk in scan.chunks if chunk.part == position]
    plan = LoadPlan(
        job_id=order.job_id,
        source=str(order.source),
        target=target,
        columns=columns,
        geometry=geometry,
        chunks=chunks,
        read=scan.features_read,
        adds=adds,
    )
    return plan, said


def _part_target(target: Target, part: Part) -> Target:
    return Target(target.schema, cut(target.table, MAX_BYTES - len(part.suffix)) + part.suffix)


def loaded_before(manifest: Manifest, chunk: Chunk, engine: sa.Engine) -> TaskReport | None:
    """What became of a chunk that is loaded already; None for one that is not."""
    clock = Clock()
    with engine.connect() as connection:
        counts = recorded_counts(connection, manifest.part_of(chunk).load, chunk)
    return None if counts is None else TaskReport(chunk.index, counts, clock.span())


def load(manifest: Manifest, chunk: Chunk, file: BinaryIO, database_url: str) -> TaskReport:
    """Load one chunk; nothing happens when it is loaded already."""
    clock, part = Clock(), manifest.part_of(chunk)
    counts = load_chunk(
        database_url, part.load, chunk, read_chunk(file), manifest.rules, part.geometry
    )
    return TaskReport(chunk.index, counts, clock.span())


@dataclass(frozen=True)
class Settled:
    """One table of an ingest, finished and ready to be published."""

    account: Totals
    candidate: Candidate


def settle(manifest: Manifest, engine: sa.Engine) -> list[Settled]:
    """Prove that the loads are whole, then give them their keys, indexes and statistics.

    Raises:
        ConservationError: features or chunks are missing.
        SourceError: not one feature could be loaded, or a key or a unique value is there twice.
    """
    settled = [_settle(manifest, part, engine) for part in manifest.parts]
    account = Totals.sum([one.account for one in settled])
    if account.loaded == 0:
        with engine.connect() as connection:
            reasons = _reasons(connection, [part.load for part in manifest.parts])
        raise SourceError(
            str(manifest.order.source),
            f"none of its {account.read} features could be loaded "
            f"({account.quarantined} refused, {account.dropped} without a geometry){reasons}",
            "Correct the delivery; geo_etl.quarantine has the reason for each feature.",
        )
    return settled


def _reasons(connection: sa.Connection, loads: Sequence[Load]) -> str:
    found = connection.execute(
        sa.text(
            "SELECT reason, count(*) AS n FROM geo_etl.quarantine WHERE load_id = ANY(:ids)"
            " GROUP BY reason ORDER BY n DESC, reason LIMIT 3"
        ),
        {"ids": [load.id for load in loads]},
    ).all()
    return "".join(f"; {row.n}: {row.reason}" for row in found)


def _settle(manifest: Manifest, part: LoadPart, engine: sa.Engine) -> Settled:
    order, spec, load = manifest.order, manifest.order.spec, part.load
    adds = spec.load_method in ADDING
    with engine.begin() as connection:
        current = current_version(connection, part.target)
        base = current if adds else None
        if manifest.rules.unique:
            totals(connection, load, manifest.chunks_of(part))  # whole, before any is taken out
            kept = base if spec.load_method == "append" else None
            enforce_unique(connection, load, manifest.rules.unique, kept, str(order.source))
        account = totals(connection, load, manifest.chunks_of(part))
        piece = Piece(load.id, load.table, load.gid_from, load.gid_to)
        if spec.load_method == "upsert":
            piece = merge(
                connection,
                load,
                current,
                manifest.rules.columns,
                part.columns,
                spec.key_columns,
                str(order.source),
            )
        elif adds:
            check_free(connection, load, current)
        features = _stored(connection, piece)
    indexes = wanted_indexes(spec, part.columns, part.target)
    if base is not None:
        indexes = list(dict.fromkeys([*base.indexes, *indexes]))
    if spec.load_method == "append" and base is not None:
        features += base.features
    with engine.begin() as connection:
        finish_table(connection, piece.table, piece.gid_from, piece.gid_to, indexes)
    version = Version(
        target=part.target,
        number=0,
        current=False,
        source=str(order.source),
        fingerprint=order.fingerprint,
        job_id=order.job_id,
        load_method=spec.load_method,
        sources=_with(base.sources if base else (), str(order.source)),
        jobs=_with(base.jobs if base else (), order.job_id),
        loads=(),
        collection_id=spec.collection_id,
        item_id=str(part.target),
        item={},
        columns=tuple(part.columns),
        geometry_type=part.geometry.geometry_type,
        srid=part.geometry.target_srid,
        indexes=tuple(indexes),
        features=features,
        bounds=union([base.bounds if base else None, account.bounds]),
        result=None,
        published_at=datetime.now(UTC),
    )
    number = None if not adds else (current.number if current else 0)
    return Settled(account, Candidate(load, piece, version, number))


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*names, name]))


def _stored(connection: sa.Connection, piece: Piece) -> int:
    table = sa.table(piece.table, schema="geo_loads")
    return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def publish(
    settled: Sequence[Settled],
    items: Sequence[dict[str, object]],
    engine: sa.Engine,
    catalogue: Callable[[sa.Connection, Version, Version | None], None],
    keep: int,
) -> list[Version]:
    """Make settled loads visible, together with their STAC items.

    Args:
        items: the STAC item of each.
        catalogue, keep: see `geo_etl.vector.publish.publish`, also for what it raises.
    """
    candidates = [
        replace(one.candidate, version=replace(one.candidate.version, item=item))
        for one, item in zip(settled, items, strict=True)
    ]
    return publish_candidates(engine, candidates, catalogue, keep)


def left_behind(manifest: Manifest, engine: sa.Engine) -> list[str]:
    """A warning for each table of the same source that this delivery does not replace."""
    mine = {part.target for part in manifest.parts}
    with engine.connect() as connection:
        others = [
            version.target
            for version in find_versions(
                connection, source=str(manifest.order.source), current=True
            )
            if version.target not in mine
        ]
    return [
        f"Table {other}, published from this source before, is still there as it was: "
        f"'geo-etl unpublish {other}' removes it."
        for other in sorted(others)
    ]


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
