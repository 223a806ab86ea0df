"""Vectors: geo_etl against ogr2ogr and geopandas, on the same server, one after the other.

All read the same file (EPSG:32633), reproject to EPSG:4326, promote to Multi types, copy and index;
ogr2ogr and geo_etl repair too. ogr2ogr makes its table itself, so that PG_USE_COPY has an
effect. The whole job is `geo-etl ingest` from the command line to its end, catalogue, checks and
quality report included; the data path is the same verbs without Dagster. The floor is a COPY of
ready-made rows, then key, index and statistics: no pipeline can be faster on this server.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.datasets import CRS, DATASETS, dataset_file
from benchmarks.stack import FOLDER, GEO_ETL, Measured, Stack, measure

SIZES = [10_000, 100_000, 500_000, 2_000_000]
FORMATS = ["gpkg", "shp", "geojson", "csv"]
COUNT = int(os.environ.get("GEO_ETL_BENCH_FEATURES", "50000"))
"""Features of the table over formats."""
REPEATS = 2
"""Runs of which the best counts; of what takes long, one."""
LONG = 200_000
TOO_LONG_FOR_GEOPANDAS = 1_000_000
PARTS = [sys.executable, "-m", "benchmarks.data_path"]

Peer = Callable[[Stack, Path, str], Measured]


def growth(stack: Stack) -> None:
    """Parcels as GeoPackage, from 10,000 to 2 million."""
    _table(
        [(f"{size:,} parcels", "parcels", "gpkg", size) for size in SIZES],
        stack,
        {**PEERS, **SLOW},
    )


def formats(stack: Stack) -> None:
    """Every dataset in every format."""
    cases = [
        (f"{name}, {extension}", name, extension, COUNT // (20 if name == "rivers" else 1))
        for name in DATASETS
        for extension in FORMATS
    ]
    _table(cases, stack, {**PEERS, **SLOW})


def _table(cases: list[tuple[str, str, str, int]], stack: Stack, peers: dict[str, Peer]) -> None:
    print(f"{os.cpu_count()} cores; seconds (times as fast as ogr2ogr)\n")
    print(f"| | features | {' | '.join(peers)} | peak memory of a geo_etl process |")
    print("|---|---|" + "---|" * (len(peers) + 1), flush=True)
    for label, name, extension, count in cases:
        path = dataset_file(FOLDER, name, count, extension)
        best: dict[str, Measured] = {}
        for turn in range(REPEATS if count < LONG else 1):
            for peer, run in peers.items():
                if peer in SLOW and (turn or count > TOO_LONG_FOR_GEOPANDAS):
                    continue
                measured = run(stack, path, name)
                if peer not in best or measured.seconds < best[peer].seconds:
                    best[peer] = measured
        reference = best["ogr2ogr"].seconds
        cells = [
            f"{best[p].seconds:.1f} ({reference / best[p].seconds:.1f}×)" if p in best else ""
            for p in peers
        ]
        peak = max(best[peer].peak_bytes for peer in ("whole job", "data path")) / 1e6
        print(f"| {label} | {count:,} | {' | '.join(cells)} | {peak:.0f} MB |", flush=True)


def _ogr2ogr(stack: Stack, path: Path, name: str) -> Measured:
    if shutil.which("ogr2ogr") is None:
        sys.exit("The benchmark compares with ogr2ogr: install gdal-bin.")
    options = ["-s_srs", CRS]
    if path.suffix == ".csv":
        options += ["-oo", "GEOM_POSSIBLE_NAMES=wkt", "-oo", "KEEP_GEOM_COLUMNS=NO"]
        options += ["-oo", "AUTODETECT_TYPE=YES"]
    return measure(
        ["ogr2ogr", "-f", "PostgreSQL", f"PG:{stack.url}", str(path), "-nln", f"public.ogr_{name}"]
        + ["-overwrite", "-makevalid", "-t_srs", "EPSG:4326", "-nlt", "PROMOTE_TO_MULTI"]
        + ["-lco", "GEOMETRY_NAME=geom", "-lco", "SPATIAL_INDEX=GIST"]
        + ["--config", "PG_USE_COPY", "YES", *options]
    )


def _whole_job(_: Stack, path: Path, name: str) -> Measured:
    command = [*GEO_ETL, "ingest", str(path), "--force", "--json", "--set", f"table_name={name}"]
    command += ["--set", "attribute_rules.schema_change=allow"]
    command += ["--set", f"schema=bench_{path.suffix[1:]}_{path.stem.rpartition('_')[2]}"]
    measured = measure([*command, "--set", f"converter_params.source_crs={CRS}"])
    result = json.loads(measured.stdout)
    assert result["summary"]["features_read"] == int(path.stem.rpartition("_")[2])
    return measured


def _data_path(_: Stack, path: Path, name: str) -> Measured:
    return measure([*PARTS, "load", str(path), name])


def _geopandas(_: Stack, path: Path, name: str) -> Measured:
    return measure([*PARTS, "geopandas", str(path), name])


def _floor(_: Stack, path: Path, name: str) -> Measured:
    measured = measure([*PARTS, "floor", str(path), name])
    return Measured(float(measured.stdout), measured.peak_bytes, "")


PEERS: dict[str, Peer] = {
    "ogr2ogr": _ogr2ogr,
    "whole job": _whole_job,
    "data path": _data_path,
    "floor": _floor,
}
SLOW: dict[str, Peer] = {"geopandas.to_postgis": _geopandas}
"""Slow and steady: once is enough."""
