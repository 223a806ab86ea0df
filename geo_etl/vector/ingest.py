"""The verbs of one ingest, each called by an op: plan, load, publish; `settle` lies between.

They take paths, files, a database engine; they return the small references that the next verb
needs. Run one after another they are the whole data path, without Dagster.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from geo_etl.errors import SpecError
from geo_etl.ingest.clock import Clock
from geo_etl.spec import SourceRef, VectorSpec
from geo_etl.vector.account import Totals
from geo_etl.vector.chunk import Chunk, OpenChunk, Part, Scan, read_chunk, write_chunks
from geo_etl.vector.finish import wanted_indexes
from geo_etl.vector.geometry import GeometryPlan
from geo_etl.vector.load import LoadPlan, begin_loads, load_chunk, recorded_counts
from geo_etl.vector.manifest import LoadPart, Manifest, Order, TaskReport, target_of
from geo_etl.vector.merge import check_keys
from geo_etl.vector.names import MAX_BYTES, cut
from geo_etl.vector.publish import publish as publish_candidates
from geo_etl.vector.reproject import same_crs, transformation_warnings
from geo_etl.vector.settle import Settled
from geo_etl.vector.source import format_of, harmless, open_layer
from geo_etl.vector.target import ADDING, check_schema_change, check_target, fit_columns
from geo_etl.vector.versions import Target, Version, find_versions

LARGE_REPAIR_SHARE = 0.05
"""Above this share of repaired features the result carries a warning."""


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
        corrects=scan.corrects,
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
