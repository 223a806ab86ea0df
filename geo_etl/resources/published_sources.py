"""What the database knows of the blobs of a container: which are published, and as what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

import sqlalchemy as sa

from geo_etl.ingest.kinds import Kind
from geo_etl.resources.blobs import BlobStorage

_TABLES = """
SELECT shown.source, shown.schema_name || '.' || shown.table_name AS name, made.fingerprint,
  made.job_id, coalesce(read.at, made.published_at, shown.published_at) AS read_at
FROM (
  SELECT schema_name, table_name, jobs, published_at, unnest(sources) AS source
  FROM geo_etl.publication WHERE current
) AS shown
LEFT JOIN geo_etl.publication AS made
  ON (made.schema_name, made.table_name, made.source)
    = (shown.schema_name, shown.table_name, shown.source)
  AND made.job_id = ANY(shown.jobs)
LEFT JOIN LATERAL (
  SELECT max(created_at) AS at FROM geo_etl.load
  WHERE job_id = made.job_id AND source = shown.source
) AS read ON true
WHERE starts_with(shown.source, :prefix)
"""
_LAYERS = """
SELECT shown.source, shown.layer AS name, shown.fingerprint, shown.job_id,
  coalesce(load.created_at, shown.published_at) AS read_at
FROM geo_etl.raster_publication AS shown
LEFT JOIN geo_etl.raster_load AS load ON load.id = shown.load_id
WHERE shown.current AND shown.form <> 'collection' AND starts_with(shown.source, :prefix)
"""
_ASSETS = """
SELECT asset->>'href' AS href, items.collection || '/' || items.id AS item,
  items.content->'properties'->>'geo_etl:etag' AS etag
FROM pgstac.items,
  jsonb_path_query(items.content, '$.assets.*') AS asset
WHERE starts_with(asset->>'href', :root) AND NOT coalesce(asset->'roles' ? 'source', false)
"""


@dataclass(frozen=True, slots=True)
class Published:
    """One publication of a source that readers see.

    Attributes:
        name: of the table or layer.
        fingerprint, job_id: None where an append is so old that only its rows are known.
        read_at: when its content was this: the load began right after it was read.
    """

    kind: Kind
    name: str
    fingerprint: str | None
    job_id: str | None
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Catalogued:
    """A STAC item that has a blob as an asset.

    Attributes:
        etag: of the blob as it was catalogued, where the item says it.
    """

    item: str
    etag: str | None


@dataclass(frozen=True)
class Known:
    """What is published of the blobs below a prefix, by their paths.

    Attributes:
        items: blobs that are assets of STAC items, sources left out.
    """

    sources: Mapping[str, list[Published]] = field(default_factory=dict)
    items: Mapping[str, Catalogued] = field(default_factory=dict)

    @property
    def paths(self) -> set[str]:
        """Of all that is published."""
        return {*self.sources, *self.items}

    def restricted(self, holds: Callable[[str], bool]) -> "Known":
        """What is known of some of the paths."""
        return Known(
            {path: found for path, found in self.sources.items() if holds(path)},
            {path: found for path, found in self.items.items() if holds(path)},
        )


def published_below(
    connection: sa.Connection,
    storage: BlobStorage,
    container: str,
    prefix: str,
    *,
    with_items: bool = True,
) -> Known:
    """What the ledgers and pgSTAC know of the blobs whose path begins with a prefix.

    Args:
        with_items: also those that are assets of STAC items; that goes through all items.
    """
    within = f"{container}/"
    sources: dict[str, list[Published]] = {}
    kinds: dict[Kind, str] = {"vector": _TABLES, "raster": _LAYERS}
    for kind, statement in kinds.items():
        for row in connection.execute(sa.text(statement), {"prefix": f"{within}{prefix}"}):
            one = Published(kind, row.name, row.fingerprint, row.job_id, row.read_at)
            sources.setdefault(row.source.removeprefix(within), []).append(one)
    if not with_items:
        return Known(sources)
    root = f"{storage.root_url()}/{quote(within)}"
    rows: Any = connection.execute(sa.text(_ASSETS), {"root": root})
    items = {
        path: Catalogued(row.item, row.etag)
        for row in rows
        if (path := unquote(row.href.removeprefix(root))).startswith(prefix)
    }
    return Known(sources, items)
