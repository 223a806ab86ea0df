"""Loads: versions of layers in the making, with the pieces that they are made of."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
import sqlalchemy as sa

from geo_etl.catalog.footprints import footprint_of
from geo_etl.errors import ConservationError, PublishError, RasterError
from geo_etl.ingest.lock import lock
from geo_etl.raster import ledger
from geo_etl.raster.discards import discard_outputs
from geo_etl.raster.facts import Grid
from geo_etl.raster.manifest import Piece, RasterManifest
from geo_etl.raster.records import to_record

RASTERS = "rasters"
"""Folder in silver that holds the files of all layers."""


@dataclass(frozen=True)
class Load:
    """One version of a layer in the making: a row of `geo_etl.raster_load`.

    Attributes:
        folder: container and path below which its blobs are.
    """

    id: int
    job_id: str
    layer: str
    folder: str


@dataclass(frozen=True)
class LoadPlan:
    """What one load is to be.

    Attributes:
        run_job_id: job of the run that works on it: for a member, that of its collection.
        layout: digest of all that decides whether an earlier load can be continued.
        pieces: its tasks, each with the grid that its window is of; none for a collection, whose
            members have loads of their own.
    """

    job_id: str
    run_job_id: str
    source: str
    layer: str
    layout: str
    pieces: Sequence[tuple[Piece, Grid]]

    @classmethod
    def of(cls, manifest: RasterManifest, run_job_id: str | None = None) -> "LoadPlan":
        """The load of one raster."""
        order = manifest.order
        decides = to_record((manifest.tiers, manifest.pieces, manifest.facts))
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        grids = {plan.tier: plan.grid for plan in manifest.tiers}
        return cls(
            job_id=order.job_id,
            run_job_id=run_job_id or order.job_id,
            source=str(order.source),
            layer=manifest.layer,
            layout=digest,
            pieces=[(piece, grids[piece.tiers[0]]) for piece in manifest.pieces],
        )


def begin_load(engine: sa.Engine, plan: LoadPlan, container: str, *, force: bool) -> Load:
    """Note a load and its pieces, or find the one that this very job began before.

    One that was published and never verified is found too: nothing of it is made again. What the
    same source began with another spec, content or layout is dropped, its blobs noted to be
    removed.

    Args:
        container: silver.
        force: never continue an earlier load.
    """
    table = ledger.load
    with engine.begin() as connection:
        lock(connection, f"raster load {plan.source}")
        unfinished = connection.execute(
            sa.select(table).where(table.c.source == plan.source, table.c.state == "making")
        ).all()
        known = [*unfinished, *_unverified(connection, plan.job_id)]
        same = [
            row
            for row in known
            if not force and _decides(row) == (plan.job_id, plan.layer, plan.layout)
        ]
        drop_loads(connection, [row.id for row in unfinished if row not in same[:1]])
        if not same:
            return _create(connection, plan, container)
        found = same[0]
        connection.execute(
            sa.update(table).where(table.c.id == found.id).values(run_job_id=plan.run_job_id)
        )
        return Load(found.id, found.job_id, found.layer, found.folder)


def _decides(row: sa.Row[Any]) -> tuple[str, str, str]:
    return row.job_id, row.layer, row.layout


def _unverified(connection: sa.Connection, job_id: str) -> Sequence[sa.Row[Any]]:
    """Loads of a job that readers see, and whose run ended before it could say so."""
    shown = ledger.publication.c
    return connection.execute(
        sa.select(ledger.load)
        .join(ledger.publication, shown.load_id == ledger.load.c.id)
        .where(shown.current, shown.result.is_(None), shown.job_id == job_id)
    ).all()


def _create(connection: sa.Connection, plan: LoadPlan, container: str) -> Load:
    table = ledger.load
    load_id = connection.execute(
        sa.insert(table)
        .values(
            job_id=plan.job_id,
            run_job_id=plan.run_job_id,
            source=plan.source,
            layer=plan.layer,
            layout=plan.layout,
            is_set=any(piece.is_tile for piece, _ in plan.pieces),
            state="making",
            folder="",
        )
        .returning(table.c.id)
    ).scalar_one()
    folder = f"{container}/{RASTERS}/{plan.layer}/{plan.job_id[:8]}_{load_id}"
    connection.execute(sa.update(table).where(table.c.id == load_id).values(folder=folder))
    if plan.pieces:
        rows = [{"load_id": load_id, **_row(piece, grid)} for piece, grid in plan.pieces]
        connection.execute(sa.insert(ledger.piece), rows)
    return Load(load_id, plan.job_id, plan.layer, folder)


def _row(piece: Piece, grid: Grid) -> dict[str, Any]:
    window = piece.window
    return {
        "index": piece.index,
        "tiers": list(piece.tiers),
        "tile_row": piece.row,
        "tile_col": piece.col,
        "crs": grid.crs,
        "window_col": window.col,
        "window_row": window.row,
        "width": window.width,
        "height": window.height,
        "geom": _outline(grid.window(window)) if piece.is_tile else None,
    }


def _outline(grid: Grid) -> str | None:
    """A tile on the map as EWKT; None where its CRS has no place on the Earth."""
    try:
        place = footprint_of(None, grid, "tile")
    except RasterError:
        return None
    if not place.on_earth:
        return None
    polygons = shapely.get_parts(shapely.geometry.shape(place.geometry))
    return f"SRID=4326;{shapely.to_wkt(shapely.multipolygons(polygons), rounding_precision=-1)}"


def hold(connection: sa.Connection, load: Load) -> None:
    """Keep a load from being dropped until the transaction ends.

    Raises:
        PublishError: it is gone: another run of the source took its place.
    """
    row = sa.select(ledger.load.c.id).where(ledger.load.c.id == load.id)
    if connection.execute(row.with_for_update(read=True, key_share=True)).first() is None:
        raise PublishError(
            f"load {load.id} of {load.layer}",
            "a newer run of the same source took its place",
            "Look at that run; this one has nothing left to do.",
        )


def check_whole(connection: sa.Connection, load: Load) -> None:
    """Refuse a load of which a piece is not done.

    Raises:
        ConservationError: says which.
    """
    table = ledger.piece
    missing = connection.execute(
        sa.select(table.c.index)
        .where(table.c.load_id == load.id, table.c.report.is_(None))
        .order_by(table.c.index)
    ).scalars()
    if indexes := missing.all():
        raise ConservationError(
            f"layer {load.layer}",
            f"{len(indexes)} pieces are not converted, the first is number {indexes[0]}",
            "Run the ingest again: pieces that are done are not made twice.",
        )


def drop_loads(connection: sa.Connection, load_ids: Iterable[int]) -> None:
    """Remove loads with their pieces; their blobs are noted to be removed."""
    for load_id in load_ids:
        # Waits for who holds the load, and only then looks what it has noted.
        connection.execute(
            sa.select(ledger.load.c.id).where(ledger.load.c.id == load_id).with_for_update()
        )
        discard_outputs(connection, ledger.output.c.load_id == load_id)
        connection.execute(sa.delete(ledger.load).where(ledger.load.c.id == load_id))
