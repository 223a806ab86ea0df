"""Jobs of rasters as the ops hand them on, made by hand: no pixel is read."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from affine import Affine
from PIL import Image

from geo_etl.ingest.clock import Span
from geo_etl.raster.facts import Band, Grid, Histogram, RasterFacts, Statistics, Window
from geo_etl.raster.manifest import (
    Made,
    Piece,
    PieceReport,
    Profile,
    Proof,
    RasterManifest,
    RasterOrder,
    TierPlan,
)
from geo_etl.report.raster_outcome import Course, Place, TileItem, raster_result
from geo_etl.report.raster_result import RasterResult
from geo_etl.spec import RasterSpec, SourceRef, Tier

SOURCE = Grid("EPSG:32633", Affine(10, 0, 400_000, 0, -10, 5_000_000), 5000, 4000)
TARGET = Grid("EPSG:4326", Affine(0.0001, 0, 13.5, 0, -0.0001, 45.2), 6000, 4096)
STATISTICS = Statistics(19_000_000, -3.5, 2918.25, 512.5, 33.0, Histogram(-4, 3000, (5, 10, 0, 1)))
BAND = Band(1, "height", "float32", "gray", -9999.0, 1.0, 0.0, "metre", STATISTICS)
COURSE = Course(Span(100, 102), [Span(102, 112), Span(104, 112)], Span(112, 113), Span(113, 115))
PROOF = Proof(True, (), 0, 0, 0, None, None, None)


def png(width: int = 8, height: int = 8, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), colour, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def facts(**changes: Any) -> RasterFacts:
    found: dict[str, Any] = {
        "driver": "GTiff",
        "grid": SOURCE,
        "georeference": "transform",
        "bands": (BAND,),
        "kind": "continuous",
        "kind_because": "its values are floats",
        "nodata": -9999.0,
        "nodata_from": "declared",
        "validity": "nodata",
        "valid_pixels": 19_000_000,
        "narrow_to": None,
        "footprint": None,
        "crs_declared": True,
    }
    return RasterFacts(**{**found, **changes})


def profile(tier: Tier, **changes: Any) -> Profile:
    lossy = tier == "visualization"
    made: dict[str, Any] = {
        "tier": tier,
        "lossless": not lossy,
        "compress": "JPEG" if lossy else "DEFLATE",
        "quality": 85 if lossy else None,
        "predictor": None if lossy else 3,
        "blocksize": 512,
        "resampling": "bilinear",
        "overview_resampling": "average",
        "dtype": "uint8" if lossy else "float32",
        "nodata": None if lossy else -9999.0,
        "validity": "mask" if lossy else "nodata",
        "bands": (1,),
    }
    return Profile(**{**made, **changes})


def plan(tier: Tier, **changes: Any) -> TierPlan:
    warped = tier != "archive"
    return TierPlan(tier, TARGET if warped else SOURCE, warped, profile(tier, **changes))


def manifest(
    plans: list[TierPlan], pieces: list[Piece] | None = None, **changes: Any
) -> RasterManifest:
    spec = changes.pop("spec", RasterSpec(output_tier=tuple(one.tier for one in plans)))
    source = SourceRef.parse(changes.pop("source", "bronze/dem.tif"))
    modified = datetime(2026, 3, 4, tzinfo=UTC)
    order = RasterOrder(source, "cd" * 32, modified, 80_000_000, "ab" * 32, spec)
    warnings = changes.pop("warnings", ("The nodata value never occurs.",))
    pieces = pieces or [whole(index, one) for index, one in enumerate(plans)]
    is_set = any(piece.is_tile for piece in pieces)
    return RasterManifest(
        order=order,
        facts=facts(**changes),
        layer="dem" if is_set else "system-rasters/dem",
        form="tiled" if is_set else "single",
        collection_id="dem" if is_set else "system-rasters",
        item_id="dem",
        tiers=tuple(plans),
        pieces=tuple(pieces),
        warnings=warnings,
        span=COURSE.plan,
    )


def whole(index: int, one: TierPlan) -> Piece:
    return Piece(index, 0, 0, one.grid.whole, (one.tier,), is_tile=False)


def tiles(tier: Tier = "analysis") -> list[Piece]:
    """Six tiles of 2048 × 2048 pixels, the last ones of a row narrower."""
    return [
        Piece(3 * row + col, row, col, window, (tier,), is_tile=True)
        for row in range(2)
        for col, window in enumerate(
            [
                Window(0, 2048 * row, 2048, 2048),
                Window(2048, 2048 * row, 2048, 2048),
                Window(4096, 2048 * row, 1904, 2048),
            ]
        )
    ]


def made(one: TierPlan, piece: Piece, size: int = 1_000_000, **changes: Any) -> Made:
    grid = one.grid.window(piece.window)
    return Made(
        tier=one.tier,
        path=f"silver/ab/{one.tier}_{piece.index}.tif",
        size=size,
        sha256="ef" * 32,
        grid=grid,
        profile=one.profile,
        proof=replace(PROOF, **{"pixels_compared": grid.pixels, **changes}),
        statistics=(STATISTICS,),
        footprint=None,
        valid_pixels=19_000_000 if not piece.is_tile else 1000,
    )


def reports(
    found: RasterManifest, empty: tuple[int, ...] = (), **changes: Any
) -> list[PieceReport]:
    """Of every piece."""
    return [
        PieceReport(
            piece.index,
            ()
            if piece.index in empty
            else tuple(made(found.plan_of(tier), piece, **changes) for tier in piece.tiers),
            None if piece.index in empty else png(),
            Span(102, 110),
        )
        for piece in found.pieces
    ]


def place(found: RasterManifest, done: list[PieceReport], **changes: Any) -> Place:
    at: dict[str, Any] = {
        "collection_id": found.collection_id,
        "item_id": found.item_id,
        "bbox": (13.5, 44.8, 14.1, 45.2),
        "hrefs": {one.path: f"file:///blobs/{one.path}" for r in done for one in r.made},
        "tile_items": {
            report.index: TileItem(f"dem_{report.index}", (13.5, 44.8, 13.7, 45.0))
            for report in done
            if report.made
        },
    }
    return Place(**{**at, **changes})


def result(
    found: RasterManifest | None = None, done: list[PieceReport] | None = None, **changes: Any
) -> RasterResult:
    found = found or manifest([plan("analysis"), plan("archive")])
    done = reports(found) if done is None else done
    return raster_result(found, done, place(found, done, **changes), COURSE, version=2)


def tiled(empty: tuple[int, ...] = (4,)) -> RasterResult:
    found = manifest([plan("analysis")], tiles())
    return result(found, reports(found, empty))
