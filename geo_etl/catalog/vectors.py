"""The STAC collection and items of published tables."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pystac
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.table import Column as TableColumn
from pystac.extensions.table import TableExtension

VECTORS = "system-vectors"

BBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class TableFacts:
    """What an item says about a published table.

    Attributes:
        columns: (name, PostgreSQL type, name in the source) of each column.
        bbox: west, south, east, north in degrees (WGS 84); None for a table without extent.
        srid: EPSG code of the geometry column.
        modified: when the source was last written: the item's datetime.
        features_url: OGC API Features collection, when a server is configured.
    """

    table: str
    collection_id: str
    source: str
    fingerprint: str
    job_id: str
    columns: list[tuple[str, str, str]]
    features: int
    bbox: BBox | None
    srid: int
    geometry_type: str
    modified: datetime
    created: datetime
    features_url: str | None
    renders: dict[str, Any] = field(default_factory=dict)


def vector_collection(collection_id: str) -> dict[str, Any]:
    """The collection that vector items go into."""
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]]),
        pystac.TemporalExtent([[datetime.now(UTC), None]]),
    )
    collection = pystac.Collection(
        id=collection_id,
        title="Vector tables" if collection_id == VECTORS else collection_id,
        description="Vector sources that geo_etl published as PostGIS tables, an item a table.",
        extent=extent,
        license="other",
    )
    return collection.to_dict(include_self_link=False)


def vector_item(facts: TableFacts) -> dict[str, Any]:
    """The item of one published table. Its id is the table's `schema.table`."""
    item = pystac.Item(
        id=facts.table,
        collection=facts.collection_id,
        geometry=_polygon(facts.bbox) if facts.bbox else None,
        bbox=list(facts.bbox) if facts.bbox else None,
        datetime=facts.modified,
        properties={
            "title": facts.table,
            "created": facts.created.isoformat().replace("+00:00", "Z"),
            "geo_etl:source": facts.source,
            "geo_etl:source_sha256": facts.fingerprint,
            "geo_etl:job_id": facts.job_id,
            "geo_etl:datetime_from": "the source's modification time",
            "geo_etl:geometry_type": facts.geometry_type,
        },
    )
    if facts.renders:
        item.properties["renders"] = facts.renders
    table = TableExtension.ext(item, add_if_missing=True)
    table.columns = [_column(*column) for column in facts.columns]
    table.row_count = facts.features
    table.primary_geometry = "geom"
    ProjectionExtension.ext(item, add_if_missing=True).code = f"EPSG:{facts.srid}"
    if facts.features_url:
        item.add_asset(
            "features",
            pystac.Asset(
                href=f"{facts.features_url}/items",
                title="OGC API Features",
                media_type=pystac.MediaType.GEOJSON,
                roles=["data"],
            ),
        )
    return item.to_dict(include_self_link=False)


def _polygon(bbox: BBox) -> dict[str, Any]:
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _column(name: str, type_: str, original: str) -> TableColumn:
    return TableColumn({"name": name, "type": type_, "description": original})
