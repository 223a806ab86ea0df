"""Rasters: geo_etl against gdalwarp, GDAL's COG driver and rio cogeo, one after the other.

All write a COG of the same pixels with the same creation options. `pixels` is what the peers do:
warp, overviews, compression. The data path also reads every block beforehand, and proves the COG
against its source afterwards. Each run is a process of its own; its start is in the figure.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from benchmarks.rasters import KINDS, LAYOUTS, large_file, raster_file
from benchmarks.stack import FOLDER, Measured, measure

SIZE, QUICK_SIZE = 8192, 2048
LARGE_TIMES, QUICK_TIMES = 4, 2
REPEATS = 2
"""Runs of which the best counts."""
WARPED, NATIVE = "EPSG:4326", "native"
PARTS = [sys.executable, "-m", "benchmarks.raster_path"]
RIO = [str(Path(sys.executable).with_name("rio"))]
HOME = FOLDER / "rasters"

Peer = Callable[[Path, str, Path, dict[str, object]], Measured]


def compare(*, quick: bool) -> None:
    """Terrain and imagery, in strips and tiled, with and without reprojection."""
    size = QUICK_SIZE if quick else SIZE
    for tool in ("gdalwarp", "gdal_translate"):
        if shutil.which(tool) is None:
            sys.exit(f"The benchmark compares with {tool}: install gdal-bin.")
    print(f"{os.cpu_count()} cores, {size} × {size} pixels; seconds (times as fast as the first)\n")
    for crs, peers in ((WARPED, WARPERS), (NATIVE, TRANSLATORS)):
        print(f"\n{crs}\n\n| | {' | '.join(peers)} | peak memory of geo_etl | pixels |")
        print("|---|" + "---|" * (len(peers) + 2), flush=True)
        for kind in KINDS:
            for layout in LAYOUTS:
                _row(f"{kind}, {layout}", raster_file(HOME, kind, layout, size), crs, peers)


def large(*, quick: bool) -> None:
    """Terrain of more than 4 GB, cut into tiles: seconds of each, and memory."""
    path = large_file(HOME, QUICK_TIMES if quick else LARGE_TIMES, QUICK_SIZE if quick else SIZE)
    with rasterio.open(path) as dataset:
        size = dataset.width * dataset.height * 4 / 1e9
    largest = "0.05" if quick else "2.0"
    measured = measure([*PARTS, "whole", str(path), WARPED, str(HOME / "out.tif"), largest])
    seconds = json.loads(measured.stdout)
    print("| uncompressed | pieces | plan | longest piece | all | peak memory |")
    print("|---|---|---|---|---|---|")
    pieces = [value for name, value in seconds.items() if name != "plan"]
    print(
        f"| {size:.1f} GB | {len(pieces)} | {seconds['plan']:.0f} s | {max(pieces):.0f} s "
        f"| {measured.seconds:.0f} s | {measured.peak_bytes / 1e6:.0f} MB |"
    )


def _row(label: str, path: Path, crs: str, peers: dict[str, Peer]) -> None:
    profile = json.loads(measure([*PARTS, "options", str(path), crs]).stdout)
    best: dict[str, Measured] = {}
    outputs = {peer: HOME / f"out_{number}.tif" for number, peer in enumerate(peers)}
    plan = outputs["pixels"].with_suffix(".plan")
    plan.unlink(missing_ok=True)
    _pixels(path, crs, outputs["pixels"], profile)  # makes the plan only
    for _ in range(REPEATS):
        for peer, run in peers.items():
            outputs[peer].unlink(missing_ok=True)
            measured = run(path, crs, outputs[peer], profile)
            if peer not in best or measured.seconds < best[peer].seconds:
                best[peer] = measured
    first = best[next(iter(peers))].seconds
    cells = [f"{best[p].seconds:.1f} ({first / best[p].seconds:.2f}×)" for p in peers]
    peak = max(best[peer].peak_bytes for peer in ("pixels", "data path")) / 1e6
    others = [outputs[peer] for peer in peers if peer != "pixels"]
    same = "; ".join(dict.fromkeys(_difference(outputs["pixels"], other) for other in others))
    print(f"| {label} | {' | '.join(cells)} | {peak:.0f} MB | {same} |", flush=True)
    for output in (*outputs.values(), plan):
        output.unlink(missing_ok=True)


def _difference(one: Path, other: Path) -> str:
    """What two files' pixels have in common, read block row by block row."""
    with rasterio.open(one) as ours, rasterio.open(other) as theirs:
        if ours.shape != theirs.shape or not ours.transform.almost_equals(theirs.transform, 1e-9):
            sys.exit(f"{other} is on another grid than {one}")
        different, total, count = 0, 0.0, 0
        for row in range(0, ours.height, 512):
            window = Window(0, row, ours.width, min(512, ours.height - row))
            ours_here = ours.read(window=window).astype(np.float64)
            theirs_here = theirs.read(list(ours.indexes), window=window).astype(np.float64)
            valid = (ours.dataset_mask(window=window) > 0) & (
                theirs.dataset_mask(window=window) > 0
            )
            gap = np.abs(ours_here - theirs_here)[:, valid]
            different += int(np.count_nonzero(gap))
            total, count = total + float(gap.sum()), count + gap.size
    if not different:
        return "equal"
    return f"{different / count:.1%} differ, by {total / different:.2g} in the mean"


def _creation(profile: dict[str, object]) -> list[str]:
    pairs = dict(profile["creation"])  # type: ignore[call-overload]
    pairs |= {"OVERVIEWS": "IGNORE_EXISTING"}
    pairs |= {"OVERVIEW_RESAMPLING": str(profile["overview_resampling"]).upper()}
    pairs.pop("STATISTICS", None)  # younger than Debian's GDAL
    return [word for key, value in pairs.items() for word in ("-co", f"{key}={value}")]


def _gdalwarp(path: Path, crs: str, target: Path, profile: dict[str, object]) -> Measured:
    alpha = ["-dstalpha"] if profile["validity"] == "mask" else []
    return measure(
        ["gdalwarp", "-q", "-of", "COG", "-multi", "-wm", "512", "-wo", "NUM_THREADS=ALL_CPUS"]
        + ["-t_srs", crs, "-r", str(profile["resampling"]), *alpha, *_creation(profile)]
        + [str(path), str(target)]
    )


def _cog_driver(path: Path, _: str, target: Path, profile: dict[str, object]) -> Measured:
    return measure(
        ["gdal_translate", "-q", "-of", "COG", *_creation(profile), str(path), str(target)]
    )


def _rio_cogeo(path: Path, _: str, target: Path, profile: dict[str, object]) -> Measured:
    return measure(
        [*RIO, "cogeo", "create", "-q", str(path), str(target)]
        + ["--cog-profile", str(profile["compress"]).lower()]
        + ["--blocksize", str(profile["blocksize"]), "--threads", "ALL_CPUS"]
        + ["--overview-resampling", str(profile["overview_resampling"])]
        + ["--co", f"PREDICTOR={profile['predictor']}"]
    )


def _pixels(path: Path, crs: str, target: Path, _: dict[str, object]) -> Measured:
    return measure([*PARTS, "pixels", str(path), crs, str(target)])


def _data_path(path: Path, crs: str, target: Path, _: dict[str, object]) -> Measured:
    return measure([*PARTS, "whole", str(path), crs, str(target)])


WARPERS: dict[str, Peer] = {
    "gdalwarp -of COG": _gdalwarp,
    "pixels": _pixels,
    "data path": _data_path,
}
TRANSLATORS: dict[str, Peer] = {
    "rio cogeo create": _rio_cogeo,
    "gdal_translate -of COG": _cog_driver,
    "pixels": _pixels,
    "data path": _data_path,
}
