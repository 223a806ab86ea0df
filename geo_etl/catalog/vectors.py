"""The STAC collection and items of published tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pystac
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.table import Column as TableColumn
from pystac.extensions.table import TableExtension

from geo_etl.catalog.lineage import (
    SOURCE_TIME,
    BBox,
    SourceBlob,
    add_lineage,
    add_source,
    bbox_geometry,
    collection_link,
    description_of,
    moment,
)
from geo_etl.catalog.links import linked
from geo_etl.spec import Metadata

VECTORS = "system-vectors"
GEOPARQUET_TYPE = "application/vnd.apache.parquet"


@dataclass(frozen=True)
class Period:
    """The time that a table's features are of.

    Attributes:
        column: where it was read.
    """

    start: datetime
    end: datetime
    column: str


@dataclass(frozen=True)
class TableFacts:
    """What an item says about a published table.

    Attributes:
        fingerprint: SHA-256 of the source, hexadecimal.
        columns: (name, PostgreSQL type, name in the source) of each column.
        bbox: west, south, east, north in degrees (WGS 84), west > east where the table crosses
            the antimeridian; None for a table without extent.
        srid: EPSG code of the geometry column.
        modified: when the source was last written.
        features_url: root of OGC API Features, when a server is configured.
        source_blobs: the blobs that the source is made of, its own first.
        about: what the spec says of the dataset.
        period: the time of the features, where a column tells it.
        original_crs: CRS of the source.
        software: name to version of the programs that made the table.
        report_url: its quality report.
        geoparquet: addresses of the files of its GeoParquet copy.
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
    source_blobs: Sequence[SourceBlob] = ()
    renders: dict[str, Any] = field(default_factory=dict)
    about: Metadata = field(default_factory=Metadata)
    period: Period | None = None
    original_crs: str | None = None
    software: dict[str, str] = field(default_factory=dict)
    report_url: str | None = None
    geoparquet: Sequence[str] = ()


def vector_collection(collection_id: str) -> dict[str, Any]:
    """The collection that vector items go into."""
    # Open at both ends: sources may be of any time.
    always: list[datetime | None] = [None, None]
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]]), pystac.TemporalExtent([always])
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
    """The item of one published table. Its id is the table's `schema.table`.

    Its time is what the spec says; else the period of the table's features, where a column tells
    it, with `datetime` at its start: pgSTAC drops a null, which STAC would allow. Else it is the
    moment that the source was last written. `geo_etl:datetime_from` says which.
    """
    given = facts.about.datetime
    period = facts.period if given is None else None
    otherwise, because = facts.modified, SOURCE_TIME
    if given is not None:
        otherwise, because = given.astimezone(UTC), "the spec"
    item = pystac.Item(
        id=facts.table,
        collection=facts.collection_id,
        geometry=bbox_geometry(facts.bbox) if facts.bbox else None,
        bbox=list(facts.bbox) if facts.bbox else None,
        datetime=otherwise if period is None else period.start,
        start_datetime=None if period is None else period.start,
        end_datetime=None if period is None else period.end,
        properties={
            "title": facts.about.title or facts.table,
            "created": moment(facts.created),
            "geo_etl:source": facts.source,
            "geo_etl:source_sha256": facts.fingerprint,
            "geo_etl:job_id": facts.job_id,
            "geo_etl:datetime_from": because if period is None else f"column {period.column}",
            "geo_etl:geometry_type": facts.geometry_type,
        },
    )
    item.properties.update(description_of(facts.about))
    if facts.renders:
        item.properties["renders"] = facts.renders
    table = TableExtension.ext(item, add_if_missing=True)
    table.columns = [_column(*column) for column in facts.columns]
    table.row_count = facts.features
    table.primary_geometry = "geom"
    ProjectionExtension.ext(item, add_if_missing=True).code = f"EPSG:{facts.srid}"
    item.add_link(collection_link(facts.collection_id))
    add_lineage(item, _lineage(facts), facts.software)
    add_source(item, facts.source_blobs, None)
    _add_outputs(item, facts)
    return linked(item.to_dict(include_self_link=False), facts.features_url, None)


def _lineage(facts: TableFacts) -> str:
    crs = f" in {facts.original_crs}" if facts.original_crs else ""
    return (
        f"{facts.source}{crs} (SHA-256 {facts.fingerprint}), by job {facts.job_id}, became table "
        f"{facts.table} in EPSG:{facts.srid}: geometries repaired, reprojected and promoted to "
        f"{facts.geometry_type}, attributes renamed."
    )


def _add_outputs(item: pystac.Item, facts: TableFacts) -> None:
    if facts.report_url:
        kind = pystac.MediaType.HTML
        report = pystac.Asset(facts.report_url, "Quality report", None, kind, ["metadata"])
        item.add_asset("quality_report", report)
    several = len(facts.geoparquet) > 1
    for number, href in enumerate(facts.geoparquet):
        key = f"geoparquet_{number:05d}" if several else "geoparquet"
        item.add_asset(key, pystac.Asset(href, "GeoParquet", None, GEOPARQUET_TYPE, ["data"]))


def _column(name: str, type_: str, original: str) -> TableColumn:
    return TableColumn({"name": name, "type": type_, "description": original})
