"""What is published: raster layers and their versions, as the ledger knows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from geo_etl.errors import PublishError
from geo_etl.raster import ledger
from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.manifest import Form
from geo_etl.raster.records import from_record, to_record


@dataclass(frozen=True)
class Version:
    """One version of a published layer: what a job made of it.

    Attributes:
        layer: `collection/item`; of a set of tiles or many rasters its collection.
        number: from 1, upwards.
        current: whether readers see it.
        source: a blob; of a collection the folder, `container/folder`.
        sources: the source; of a collection its members' sources.
        load_id: of the load with its files; None when they are gone.
        item_ids: of its STAC items, in `collection_id`.
        collection: STAC collection.
        mosaic: what serves a set as one layer.
        facts: of the source; None for a collection.
        pixels: of one band of the source's grid; of a collection the sum.
        bytes: of all its files in silver.
        result: None until the publish is verified.
    """

    layer: str
    number: int
    current: bool
    form: Form
    source: str
    sources: tuple[str, ...]
    fingerprint: str
    job_id: str
    load_id: int | None
    collection_id: str
    item_ids: tuple[str, ...]
    collection: dict[str, Any]
    mosaic: dict[str, Any] | None
    facts: RasterFacts | None
    pixels: int
    bytes: int
    result: dict[str, Any] | None
    published_at: datetime

    @property
    def is_set(self) -> bool:
        """Whether the STAC collection is this layer's own."""
        return self.form != "single"

    @property
    def is_restorable(self) -> bool:
        """Whether readers see it, or can be made to see it again."""
        return self.load_id is not None and (self.current or self.form != "collection")

    def row(self) -> dict[str, Any]:
        """Values of its row in the ledger."""
        return {
            "layer": self.layer,
            "version": self.number,
            "current": self.current,
            "form": self.form,
            "source": self.source,
            "sources": list(self.sources),
            "fingerprint": self.fingerprint,
            "job_id": self.job_id,
            "load_id": self.load_id,
            "collection_id": self.collection_id,
            "item_ids": list(self.item_ids),
            "collection": self.collection,
            "mosaic": self.mosaic,
            "facts": to_record(self.facts),
            "pixels": self.pixels,
            "bytes": self.bytes,
            "result": self.result,
            "published_at": self.published_at,
        }


def _version(row: sa.Row[Any]) -> Version:
    return Version(
        layer=row.layer,
        number=row.version,
        current=row.current,
        form=row.form,
        source=row.source,
        sources=tuple(row.sources),
        fingerprint=row.fingerprint,
        job_id=row.job_id,
        load_id=row.load_id,
        collection_id=row.collection_id,
        item_ids=tuple(row.item_ids),
        collection=row.collection,
        mosaic=row.mosaic,
        facts=None if row.facts is None else from_record(RasterFacts, row.facts),
        pixels=row.pixels,
        bytes=row.bytes,
        result=row.result,
        published_at=row.published_at,
    )


def find_versions(connection: sa.Connection, **where: Any) -> list[Version]:
    """Versions, the oldest first, filtered by columns of the ledger (`current=True`)."""
    table = ledger.publication
    rows = connection.execute(
        sa.select(table)
        .where(*(table.c[key] == value for key, value in where.items()))
        .order_by(table.c.published_at, table.c.layer, table.c.version)
    )
    return [_version(row) for row in rows]


def versions_of(connection: sa.Connection, layer: str) -> list[Version]:
    """All versions of a layer, the oldest first."""
    return sorted(find_versions(connection, layer=layer), key=lambda version: version.number)


def current_version(connection: sa.Connection, layer: str) -> Version | None:
    """The version that readers see; None when the layer is not published."""
    found = find_versions(connection, layer=layer, current=True)
    return found[0] if found else None


def published_version(connection: sa.Connection, layer: str) -> Version:
    """The version that readers see.

    Raises:
        PublishError: geo_etl publishes no such layer; lists some that it does.
    """
    version = current_version(connection, layer)
    if version is None:
        shown = ledger.publication.c
        names = sa.select(shown.layer).where(shown.current).order_by(shown.layer).limit(20)
        known = ", ".join(connection.execute(names).scalars())
        raise PublishError(
            f"raster layer {layer}",
            "geo_etl publishes no such layer",
            f"Published are: {known or 'none'}.",
        )
    return version


def version_made_by(connection: sa.Connection, load_id: int) -> Version | None:
    """The version that a load was published as, current or not; None for one that was not."""
    made = find_versions(connection, load_id=load_id)
    return made[0] if made else None


def items_of(connection: sa.Connection, version: Version) -> list[dict[str, Any]]:
    """The STAC items of a version that can be restored, by their ids."""
    table = ledger.item
    rows = connection.execute(
        sa.select(table.c.item)
        .where(table.c.layer == version.layer, table.c.version == version.number)
        .order_by(table.c.item_id)
    )
    return list(rows.scalars())


def shown_items(
    connection: sa.Connection, collection_id: str, item_ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Items of what readers see in a collection, as they were written, by their ids."""
    item, version = ledger.item.c, ledger.publication.c
    rows = connection.execute(
        sa.select(item.item)
        .join(
            ledger.publication,
            sa.and_(version.layer == item.layer, version.version == item.version),
        )
        .where(
            version.current,
            version.collection_id == collection_id,
            item.item_id.in_(item_ids),
        )
        .order_by(item.item_id)
    )
    return list(rows.scalars())


def collection_around(connection: sa.Connection, version: Version) -> Version | None:
    """The published collection that a layer is a member of; None without."""
    found = find_versions(connection, layer=version.collection_id, form="collection", current=True)
    others = [one for one in found if one.layer != version.layer]
    return others[0] if others and set(version.item_ids) <= set(others[0].item_ids) else None


def left_behind(connection: sa.Connection, source: str, layer: str) -> list[str]:
    """A warning for each other layer of a source, which its new version does not replace."""
    shown = ledger.publication.c
    others = connection.execute(
        sa.select(shown.layer)
        .where(shown.source == source, shown.current, shown.layer != layer)
        .order_by(shown.layer)
    ).scalars()
    return [
        f"Raster layer {other}, published from this source before, is still there as it was: "
        f"'geo-etl unpublish {other}' removes it."
        for other in others
    ]
