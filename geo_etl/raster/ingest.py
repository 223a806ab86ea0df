"""The verbs of one raster ingest, each called by an op: plan, convert.

They take local files and return small references. Run one after another they are the whole way of
the pixels, without Dagster, storage or a database.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geo_etl.catalog.rasters import RASTERS
from geo_etl.errors import RasterError, SpecError
from geo_etl.ingest.clock import Clock
from geo_etl.ingest.kinds import is_raster_name
from geo_etl.raster.convert import Converted
from geo_etl.raster.convert import convert as convert_piece
from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.grid import target_grid
from geo_etl.raster.inspect import inspect
from geo_etl.raster.manifest import Piece, RasterManifest, RasterOrder, TierPlan
from geo_etl.raster.opening import open_raster
from geo_etl.raster.profiles import pixel_bytes, profile_for
from geo_etl.raster.tiling import plan_pieces
from geo_etl.spec import RasterSpec, SourceRef, Tier

ROOM_FACTOR = 3.0
"""Scratch space of a task ÷ bytes of its pixels: reference, overviews, a lossy copy, files."""


def check_early(source: SourceRef, spec: RasterSpec) -> None:
    """What can be refused before the source is even read.

    Raises:
        SpecError: the spec is for another container.
    """
    if spec.container_name not in (None, source.container):
        raise SpecError(
            f"spec of {source}",
            f"container_name is '{spec.container_name}', but the source is in '{source.container}'",
            "Remove container_name, or move the source.",
        )


def item_id_of(source: SourceRef, spec: RasterSpec) -> str:
    """The STAC item of a source: what its spec says, else its name, as a STAC id may be."""
    if spec.item_id is not None:
        return spec.item_id
    path = PurePosixPath(source.name)
    packed = path.suffix.lower() == ".zip" and is_raster_name(path.stem)
    stem = PurePosixPath(path.stem).stem if packed else path.stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("_.") or "raster"


def plan(
    order: RasterOrder,
    path: Path,
    see: Callable[[RasterFacts], RasterFacts] = lambda facts: facts,
) -> RasterManifest:
    """Inspect a source, and decide what is made of it, on which grids, in which tasks.

    Args:
        path: the source as a local file, its siblings beside it.
        see: what of the facts counts; all by default.

    Raises:
        SourceError, RasterError: see the modules that look.
    """
    clock, spec, name = Clock(), order.spec, str(order.source)
    with open_raster(path, name, spec) as opened:
        facts = see(inspect(opened, name, spec))
    tiers = tuple(_tier_plan(tier, facts, spec, name) for tier in spec.output_tier)
    pieces = plan_pieces(tiers, spec)
    is_set = any(piece.is_tile for piece in pieces)
    item_id = item_id_of(order.source, spec)
    collection_id = spec.collection_id or (item_id if is_set else RASTERS)
    return RasterManifest(
        order=order,
        facts=facts,
        layer=collection_id if is_set else f"{collection_id}/{item_id}",
        form="tiled" if is_set else "single",
        collection_id=collection_id,
        item_id=item_id,
        tiers=tiers,
        pieces=pieces,
        warnings=tuple(dict.fromkeys([*facts.warnings, *_grid_warnings(tiers)])),
        span=clock.span(),
    )


def _tier_plan(tier: Tier, facts: RasterFacts, spec: RasterSpec, name: str) -> TierPlan:
    if tier == "archive":
        grid, warped = facts.grid, False
    else:
        grid, warped = target_grid(facts, spec.target_crs, name)
    return TierPlan(tier, grid, warped, profile_for(tier, facts, spec, warped, name))


def _grid_warnings(tiers: Sequence[TierPlan]) -> list[str]:
    return [
        f"The raster crosses the antimeridian: longitudes of its grid run from "
        f"{plan.grid.bounds[0]:.2f}° to {plan.grid.bounds[2]:.2f}°."
        for plan in tiers
        if plan.warped and plan.grid.crs == "EPSG:4326" and plan.grid.bounds[2] > 180 + 1e-6
    ]


def convert(manifest: RasterManifest, piece: Piece, path: Path, folder: Path) -> Converted:
    """Make and prove the files of one piece.

    Args:
        path: the source as a local file, its siblings beside it.
        folder: for scratch files and the results.

    Raises:
        ProofError: a file is not what it should be.
        RasterError: there is no room.
    """
    spec, name = manifest.order.spec, str(manifest.order.source)
    plans = [manifest.plan_of(tier) for tier in piece.tiers]
    check_room(name, piece, plans, folder)
    try:
        with open_raster(path, name, spec) as opened:
            return convert_piece(opened, manifest.facts, plans, piece, spec, name, folder)
    except (RasterioError, CPLE_BaseError, OSError):
        # GDAL does not say so, but a disk that somebody else has filled is the likeliest reason.
        check_room(name, piece, plans, folder)
        raise


def file_names(manifest: RasterManifest, piece: Piece) -> dict[Tier, str]:
    """Names of the files of a piece by tier, each once in the layer."""
    tile = f"_{piece.row:03d}_{piece.col:03d}" if piece.is_tile else ""
    return {tier: f"{manifest.item_id}_{tier}{tile}.tif" for tier in piece.tiers}


def item_ids(manifest: RasterManifest) -> dict[int, str]:
    """STAC items that may be made, by the index of their piece: one, or one a tile.

    The archive of a set is one file, and belongs to its collection.
    """
    if manifest.form == "single":
        return {piece.index: manifest.item_id for piece in manifest.pieces}
    return {
        piece.index: f"{manifest.item_id}_{piece.row:03d}_{piece.col:03d}"
        for piece in manifest.pieces
        if piece.is_tile
    }


def software_versions() -> dict[str, str]:
    """The programs that make the files, with their versions."""
    return {
        "geo_etl": version("geo_etl"),
        "GDAL": rasterio.__gdal_version__,
        "PROJ": rasterio.__proj_version__,
        "rasterio": rasterio.__version__,
        "rio-cogeo": version("rio-cogeo"),
    }


def check_room(name: str, piece: Piece, plans: Sequence[TierPlan], folder: Path) -> None:
    """Refuse a task whose scratch files would fill the disk.

    Raises:
        RasterError: says how much is needed and how much there is.
    """
    pixels = piece.window.width * piece.window.height
    profile = max((plan.profile for plan in plans), key=lambda one: pixel_bytes(one.dtype))
    need = pixels * len(profile.bands) * pixel_bytes(profile.dtype) * ROOM_FACTOR
    free = shutil.disk_usage(folder).free
    if need > free:
        raise RasterError(
            name,
            f"its conversion needs {need / 1e9:.1f} GB for temporary files, and "
            f"{free / 1e9:.1f} GB are free",
            "Make room in the folder for temporary files (TMPDIR), or lower max_raster_size_gb "
            "and target_tile_size_gb in the spec.",
        )
