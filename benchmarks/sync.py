"""A container of rasters made a collection, by the whole job from the command line to its end.

First all are new, then none is, then half of them are gone. Rasters are links to one small COG:
what is measured is the reading of headers and the writing of items, not of disks.
"""

import json
import os
import shutil
import sys
import uuid
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine

from benchmarks.stack import FOLDER, Stack, measure

COUNT = int(os.environ.get("GEO_ETL_BENCH_RASTERS", "10000"))
SIDE = 512
JOB = "dagster job execute -m geo_etl.definitions -j sync_container -c".split()


def run(stack: Stack) -> None:
    """Seconds, rasters a second, and the largest process."""
    os.environ["DAGSTER_HOME"] = str(stack.home / "dagster")
    name = f"bench-{uuid.uuid4().hex[:10]}"
    folder = stack.home / "blobs" / name
    folder.mkdir()
    _fill(folder)
    print(f"{os.cpu_count()} cores, {COUNT:,} rasters\n")
    print("| | seconds | rasters a second | peak memory of a process |\n|---|---|---|---|")
    try:
        _row("all new", name)
        _row("none changed", name)
        for path in sorted(folder.iterdir())[::2]:
            path.unlink()
        _row("half gone", name)
    finally:
        shutil.rmtree(folder)


def _row(label: str, name: str) -> None:
    config = {"ops": {"plan_container": {"config": {"container": name}}}}
    file = FOLDER / "sync.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    command = [sys.executable, "-m", *JOB, str(file)]
    done = measure(command)
    speed, memory = COUNT / done.seconds, done.peak_bytes / 1e6
    print(f"| {label} | {done.seconds:.1f} | {speed:,.0f} | {memory:,.0f} MB |", flush=True)


def _fill(folder: Path) -> None:
    plain, first = folder / "plain", folder / "00000.tif"
    pixels = np.random.default_rng(1).integers(0, 4000, (1, SIDE, SIDE)).astype(np.int16)
    with rasterio.open(
        plain,
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=1,
        dtype="int16",
        crs="EPSG:32633",
        transform=Affine(10, 0, 300_000, 0, -10, 5_600_000),
    ) as out:
        out.write(pixels)
    rasterio.shutil.copy(plain, first, driver="COG", compress="DEFLATE")
    plain.unlink()
    for number in range(1, COUNT):
        (folder / f"{number:05}.tif").hardlink_to(first)
