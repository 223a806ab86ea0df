"""What `raster` measures in a process of its own: the pixels alone, or the whole data path."""

import json
import pickle
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from geo_etl.raster.cog import creation_options, write_cog
from geo_etl.raster.manifest import RasterManifest, RasterOrder
from geo_etl.raster.opening import open_raster
from geo_etl.raster.reference import reference
from geo_etl.spec import RasterSpec, SourceRef


def manifest_of(path: Path, crs: str, largest_gb: float = 2.0) -> RasterManifest:
    """Inspect and plan: the analysis tier, in tiles when it is larger."""
    from geo_etl.raster import ingest

    spec = RasterSpec(
        target_crs=crs, max_raster_size_gb=largest_gb, target_tile_size_gb=largest_gb / 2
    )
    order = RasterOrder(
        SourceRef("bench", path.name), "", datetime.now(UTC), path.stat().st_size, "bench", spec
    )
    return ingest.plan(order, path)


def options(path: Path, crs: str) -> None:
    """Print the creation options, resampling and nodata of the analysis tier, for the peers."""
    manifest = manifest_of(path, crs)
    plan = manifest.tiers[0]
    pairs = creation_options(plan.profile, plan.grid)
    print(json.dumps({"creation": pairs, **asdict(plan.profile)}))


def pixels(path: Path, crs: str, target: Path) -> None:
    """Warp and write, of a source that is known: what the peers do."""
    planned = target.with_suffix(".plan")
    if not planned.exists():
        planned.write_bytes(pickle.dumps(manifest_of(path, crs)))
        return
    manifest: RasterManifest = pickle.loads(planned.read_bytes())
    plan, spec = manifest.tiers[0], manifest.order.spec
    with (
        tempfile.TemporaryDirectory(dir=target.parent) as folder,
        open_raster(path, path.name, spec) as opened,
        reference(opened, manifest.facts, plan, plan.grid.whole, Path(folder)) as source,
    ):
        write_cog(source, plan.grid, plan.profile, manifest.facts, target)


def whole(path: Path, crs: str, target: Path, largest_gb: str = "2.0") -> None:
    """Inspect, plan, convert and prove every piece, one after the other."""
    from geo_etl.raster import ingest

    clock = time.monotonic()
    manifest = manifest_of(path, crs, float(largest_gb))
    seconds = {"plan": time.monotonic() - clock}
    for piece in manifest.pieces:
        clock = time.monotonic()
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = ingest.convert(manifest, piece, path, Path(folder)).files
            if not piece.is_tile:
                Path(made[0].path).rename(target)
        seconds[f"piece {piece.index}"] = time.monotonic() - clock
    print(json.dumps(seconds))


if __name__ == "__main__":
    name, source, crs, *more = sys.argv[1:]
    if name == "options":
        options(Path(source), crs)
    elif name == "pixels":
        pixels(Path(source), crs, Path(more[0]))
    else:
        whole(Path(source), crs, Path(more[0]), *more[1:])
