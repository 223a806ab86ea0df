"""Items a second into pgSTAC: written and verified by geo_etl, and written by what pgSTAC offers.

Each writer fills a collection of its own with the same items, writes them again unchanged, and
again with one in a hundred changed. The peers read nothing back.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pypgstac.db import PgstacDB
from pypgstac.load import Loader, Methods

from benchmarks.stack import Stack
from geo_etl.catalog.raster_collections import open_raster_collection
from geo_etl.resources import pgstac
from geo_etl.resources.postgis import engine_for
from geo_etl.resources.stac_extents import refresh_extent
from geo_etl.resources.stac_items import write_items

ITEMS, QUICK_ITEMS = 10_000, 500
SHARE = 20
"""One item at a time is so slow that every twentieth has to do."""
BATCH = 1000
"""Of `upsert_items`. The loader has a default of its own: 10,000."""
CHANGED_EVERY = 100

Item = dict[str, Any]
Writer = Callable[[str, Sequence[Item]], None]


def run(stack: Stack, *, quick: bool = False) -> None:
    engine = engine_for(stack.url)
    count = QUICK_ITEMS if quick else ITEMS
    ours = "geo_etl, each item read back"
    writers: dict[str, tuple[Writer, int]] = {
        ours: (_geo_etl(engine), count),
        "pypgstac's Loader, upsert": (_loader(stack.url), count),
        f"pgSTAC's upsert_items, {BATCH:,} at a time": (_by_function(engine, BATCH), count),
        "pgSTAC's upsert_item, one by one": (_by_function(engine, 1), count // SHARE),
    }
    speeds = {name: _passes(engine, *writer) for name, writer in writers.items()}
    size = len(json.dumps(_item("any", 0), separators=(",", ":")))
    print(f"{count:,} items of {size / 1000:.1f} kB; items a second, and geo_etl's share of it.\n")
    print("| | new | unchanged | 1 % changed |\n|---|---|---|---|")
    for name, found in speeds.items():
        cells = [
            f"{speed:,.0f}" if name == ours else f"{speed:,.0f} ({mine / speed:.1f}×)"
            for speed, mine in zip(found, speeds[ours], strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\nExtent of the collection, made anew: {_extent_seconds(engine):.2f} s")


def _passes(engine: sa.Engine, write: Writer, count: int) -> list[float]:
    """Items a second of the three passes, with their commits."""
    _empty_collection(engine, "bench-warm")
    write("bench-warm", [_item("bench-warm", number) for number in range(50)])
    _empty_collection(engine, "bench")
    new = [_item("bench", number) for number in range(count)]
    changed = [
        _item("bench", number, seed=1) if number % CHANGED_EVERY == 0 else item
        for number, item in enumerate(new)
    ]
    speeds = []
    for items in (new, new, changed):
        start = time.monotonic()
        write("bench", items)
        speeds.append(count / (time.monotonic() - start))
    with engine.connect() as connection:
        there = sa.text("SELECT count(*) FROM pgstac.items WHERE collection = 'bench'")
        assert connection.execute(there).scalar_one() == count
    return speeds


def _empty_collection(engine: sa.Engine, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text("DELETE FROM pgstac.items WHERE collection = :name"), {"name": name}
        )
        pgstac.delete_collection(connection, name)
        pgstac.upsert_collection(connection, open_raster_collection(name))


def _geo_etl(engine: sa.Engine) -> Writer:
    def write(name: str, items: Sequence[Item]) -> None:
        with engine.begin() as connection:
            write_items(connection, name, items)

    return write


def _loader(url: str) -> Writer:
    def write(_: str, items: Sequence[Item]) -> None:
        with PgstacDB(dsn=url) as database:
            Loader(database).load_items(iter(items), Methods.upsert)

    return write


def _by_function(engine: sa.Engine, size: int) -> Writer:
    """Each call in a transaction of its own, as from an API."""
    statement = sa.text("SELECT pgstac.upsert_items(CAST(:items AS jsonb))")

    def write(_: str, items: Sequence[Item]) -> None:
        for first in range(0, len(items), size):
            with engine.begin() as connection:
                batch = json.dumps(items[first : first + size])
                connection.execute(statement, {"items": batch})

    return write


def _extent_seconds(engine: sa.Engine) -> float:
    _empty_collection(engine, "bench")
    with engine.begin() as connection:
        write_items(connection, "bench", [_item("bench", number) for number in range(ITEMS)])
    with engine.begin() as connection:
        start = time.monotonic()
        refresh_extent(connection, "bench")
        return time.monotonic() - start


def _item(collection_id: str, number: int, seed: int = 0) -> Item:
    """A tile of a raster of two bands with statistics, as `process_raster` describes it."""
    draw = random.Random(f"{number} {seed}")
    sha256 = hashlib.sha256(f"{number}".encode()).hexdigest()
    name = f"tile_{number:06d}"
    west, south = -170 + number % 340, -80 + number // 340 % 160
    east, north = west + 0.9, south + 0.9
    when = datetime(2010, 1, 1, tzinfo=UTC) + timedelta(days=number % 5000)
    ring = [[west, south], [east + draw.random() / 50, south], [east, north], [west, north]]
    extensions = "projection/v2.0.0", "raster/v2.0.0", "file/v2.1.0", "processing/v1.2.0"
    cog = {"type": "image/tiff; application=geotiff; profile=cloud-optimized", "roles": ["data"]}
    file = {"file:size": draw.randrange(10**9), "file:checksum": f"1220{sha256}"}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            f"https://stac-extensions.github.io/{one}/schema.json" for one in extensions
        ],
        "id": name,
        "collection": collection_id,
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "bbox": [west, south, ring[1][0], north],
        "properties": {
            "title": name,
            "datetime": when.isoformat().replace("+00:00", "Z"),
            "created": "2026-01-01T00:00:00Z",
            "gsd": 10.0,
            "proj:code": "EPSG:32633",
            "proj:shape": [4096, 4096],
            "proj:transform": [10.0, 0.0, 500000.0 + number, 0.0, -10.0, 5500000.0],
            "proj:bbox": [500000.0, 5459040.0, 540960.0, 5500000.0],
            "geo_etl:source": f"bronze/tiles/{name}.tif",
            "geo_etl:source_sha256": sha256,
            "geo_etl:job_id": sha256,
            "processing:lineage": f"bronze/tiles/{name}.tif (SHA-256 {sha256}) became COGs.",
            "processing:software": {"geo_etl": "0.1.0", "GDAL": "3.10.2", "PROJ": "9.5.1"},
            "renders": {"default": {"assets": ["analysis"], "colormap_name": "viridis"}},
        },
        "links": [{"rel": "collection", "href": f"../../{collection_id}"}],
        "assets": {
            "analysis": {
                "href": f"file:///silver/rasters/{name}/analysis.tif",
                **cog,
                **file,
                "bands": [_band(draw, "red"), _band(draw, "nir")],
            },
            "thumbnail": {
                "href": f"file:///silver/rasters/{name}/preview.png",
                "type": "image/png",
                "roles": ["thumbnail"],
            },
            "source": {"href": f"file:///bronze/tiles/{name}.tif", "roles": ["source"], **file},
        },
    }


def _band(draw: random.Random, name: str) -> Item:
    low = draw.random() * 100
    return {
        "name": name,
        "data_type": "float32",
        "nodata": -9999.0,
        "statistics": {
            "minimum": low,
            "maximum": low + 1000 * draw.random(),
            "mean": low + 200 * draw.random(),
            "stddev": 50 * draw.random(),
            "valid_percent": round(100 * draw.random(), 6),
        },
        "raster:histogram": {
            "count": 32,
            "min": low,
            "max": low + 1000,
            "buckets": [draw.randrange(100_000) for _ in range(32)],
        },
    }
