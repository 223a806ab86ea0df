"""The data path without Dagster: the verbs that the ops call, for tests of what lies between."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from geo_etl.assets.vector import catalogue_version
from geo_etl.errors import TransientError
from geo_etl.resources.blob_storage import open_storage
from geo_etl.resources.postgis import engine_for
from geo_etl.resources.sources import identify, local_source
from geo_etl.spec import SourceRef
from geo_etl.vector import ingest as verbs
from geo_etl.vector.manifest import Manifest, Order
from geo_etl.vector.settle import Settled, settle
from geo_etl.vector.versions import Version


def loaded(stack: Any, key: str, **spec: Any) -> Manifest:
    """Plan and load a source; nothing is published yet."""
    engine, storage = engine_for(stack.database()), open_storage(stack.storage_url)
    found = identify(storage, SourceRef.parse(key), spec)
    order = Order(
        found.source,
        found.fingerprint,
        found.blob.modified,
        found.blob.size,
        found.job_id,
        found.spec,
    )
    files: dict[int, io.BytesIO] = {}

    @contextmanager
    def open_chunk(index: int) -> Iterator[io.BytesIO]:
        files[index] = io.BytesIO()
        yield files[index]

    with local_source(storage, found.source) as path:
        manifest = verbs.plan(order, path, engine, open_chunk, force=True)
    for chunk in manifest.chunks:
        files[chunk.index].seek(0)
        verbs.load(manifest, chunk, files[chunk.index], stack.database())
    return manifest


def published(stack: Any, settled: list[Settled]) -> list[Version]:
    """Publish what is settled, with STAC items."""
    items = [_item(one) for one in settled]
    engine = engine_for(stack.database())
    return verbs.publish(settled, items, engine, catalogue_version, keep=2)


def deliver_once(stack: Any, key: str, **spec: Any) -> list[Version]:
    """The whole data path; after a transient fault again, as Dagster does."""
    manifest, engine = loaded(stack, key, **spec), engine_for(stack.database())
    for _ in range(50):
        try:
            return published(stack, settle(manifest, engine))
        except TransientError:
            continue
    raise AssertionError(f"{key} was never published")


def _item(settled: Settled) -> dict[str, Any]:
    """An item that tells versions apart by its job."""
    import pystac

    version = settled.candidate.version
    item = pystac.Item(
        id=version.item_id,
        geometry={"type": "Point", "coordinates": [0, 0]},
        bbox=[0, 0, 0, 0],
        datetime=version.published_at,
        collection=version.collection_id,
        properties={"geo_etl:job_id": version.job_id, "table:row_count": version.features},
    )
    return item.to_dict(include_self_link=False)
