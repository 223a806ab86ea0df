"""What `vector_load` measures in a process of its own: the data path, geopandas, the floor."""

import hashlib
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.datasets import CRS


def load(path: Path, name: str) -> None:
    """Plan, load on all cores, settle, publish: what the ops call, without Dagster."""
    from geo_etl.resources.blobs import delete_below
    from geo_etl.resources.local_blobs import LocalBlobs
    from geo_etl.resources.postgis import engine_for
    from geo_etl.settings import get_settings
    from geo_etl.spec import SourceRef, VectorSpec
    from geo_etl.vector import ingest
    from geo_etl.vector.manifest import Order
    from geo_etl.vector.settle import settle

    settings = get_settings()
    url, engine = settings.database(), engine_for(settings.database())
    blobs = LocalBlobs(settings.home / "blobs")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    spec = VectorSpec.model_validate(
        {
            "schema": "bench",
            "table_name": name,
            "converter_params": {"source_crs": CRS},
            "attribute_rules": {"schema_change": "allow"},
        }
    )
    source = SourceRef("bench", f"{name}{path.suffix}")
    order = Order(source, digest, datetime.now(UTC), path.stat().st_size, digest, spec)
    manifest = ingest.plan(
        order,
        path,
        engine,
        lambda index: blobs.write(SourceRef("work", f"bench/{index}.arrows")),
        force=True,
    )
    folder = settings.home / "blobs" / "work" / "bench"
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        jobs = [
            pool.submit(_load, manifest, chunk, folder / f"{chunk.index}.arrows", url)
            for chunk in manifest.chunks
        ]
        for job in jobs:
            job.result()
    settled = settle(manifest, engine)
    ingest.publish(settled, [{} for _ in settled], engine, lambda *_: None, keep=1)
    delete_below(blobs, "work", "bench/")
    with engine.begin() as connection:  # the next format's file is another source
        connection.exec_driver_sql(f"DROP TABLE bench.{name}")
        connection.exec_driver_sql("DELETE FROM geo_etl.publication WHERE schema_name = 'bench'")


def _load(manifest: object, chunk: object, path: Path, url: str) -> None:
    from geo_etl.vector import ingest

    with path.open("rb") as file:
        ingest.load(manifest, chunk, file, url)  # type: ignore[arg-type]


def with_geopandas(path: Path, name: str) -> None:
    """Read, repair, reproject and write with geopandas."""
    import geopandas

    from geo_etl.resources.postgis import engine_for
    from geo_etl.settings import get_settings

    if path.suffix == ".csv":
        import pandas

        frame = pandas.read_csv(path)
        geometry = geopandas.GeoSeries.from_wkt(frame.pop("wkt"), crs=CRS)
        data = geopandas.GeoDataFrame(frame, geometry=geometry)
    else:
        data = geopandas.read_file(path).set_crs(CRS, allow_override=True)
    data.geometry = data.geometry.make_valid()
    data = data.to_crs(4326)
    engine = engine_for(get_settings().database())
    data.to_postgis(f"geopandas_{name}", engine, schema="public", if_exists="replace")


def floor(_: Path, name: str) -> None:
    """Print the seconds that ready-made rows of the last whole job's table take."""
    import psycopg

    from geo_etl.settings import get_settings

    with psycopg.connect(get_settings().database()) as connection:
        table = connection.execute(
            "SELECT format('%%I.%%I', schema_name, table_name) FROM geo_etl.publication"
            " WHERE table_name = %s AND schema_name LIKE 'bench_%%' AND current"
            " ORDER BY published_at DESC LIMIT 1",
            (name,),
        ).fetchone()
        assert table is not None
        with connection.cursor().copy(f"COPY (SELECT * FROM {table[0]}) TO STDOUT BINARY") as copy:
            rows = [bytes(block) for block in copy]
        connection.execute("DROP TABLE IF EXISTS public.floor")
        connection.execute(f"CREATE TABLE public.floor AS SELECT * FROM {table[0]} LIMIT 0")
        connection.commit()
        start = time.monotonic()
        with connection.cursor().copy("COPY public.floor FROM STDIN BINARY") as copy:
            for block in rows:
                copy.write(block)
        connection.execute("ALTER TABLE public.floor ADD PRIMARY KEY (gid)")
        connection.execute("CREATE INDEX ON public.floor USING gist (geom)")
        connection.execute("ANALYZE public.floor")
        connection.commit()
        print(time.monotonic() - start)


if __name__ == "__main__":
    {"load": load, "geopandas": with_geopandas, "floor": floor}[sys.argv[1]](
        Path(sys.argv[2]), sys.argv[3]
    )
