"""Search the catalogue by place, time, collection and properties."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from dagster import (
    Config,
    MetadataValue,
    OpExecutionContext,
    Out,
    Output,
    TableColumn,
    TableRecord,
    TableSchema,
    job,
    op,
)
from pydantic import Field

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.catalog.found import HEADINGS, feature_collection, lone_item, row_of, servers_of
from geo_etl.catalog.query import Query
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import text_blob
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.serving import ServingResource
from geo_etl.resources.stac_search import search, searching
from geo_etl.spec import SourceRef

SHOWN = 100
"""Rows in the UI; all that was found is in the file."""


class SearchConfig(Config):
    """What is searched for; what is not said does not restrict it."""

    bbox: str | None = Field(
        None, description="WEST,SOUTH,EAST,NORTH in degrees; west > east crosses the antimeridian"
    )
    datetime: str | None = Field(
        None, description="A day, a moment (RFC 3339), or FROM/TO with '..' for an open end"
    )
    collections: list[str] = Field([], description="Ids of collections")
    ids: list[str] = Field([], description="Ids of items")
    filter: str | None = Field(
        None, description="CQL2 text: gsd < 10 AND \"geo_etl:data_kind\" = 'imagery'"
    )
    sort: list[str] = Field(
        [], description="Properties; -NAME for the largest first. Default: the newest first"
    )
    limit: int = Field(1000, ge=1, description="Items at most")

    def query(self) -> Query:
        """The search.

        Raises:
            SpecError: a part of it can't be read.
        """
        return Query.parse(
            self.limit,
            bbox=self.bbox,
            period=self.datetime,
            collections=self.collections,
            ids=self.ids,
            cql2=self.filter,
            sort=self.sort,
        )


@op(
    out=Out(dict),
    retry_policy=TRANSIENT_RETRIES,
    description="Search; what is found becomes a GeoJSON file in the work container.",
)
def search_catalogue(
    context: OpExecutionContext,
    config: SearchConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> Output[dict[str, Any]]:
    with op_faults():
        storage, shown = blobs.storage, list[tuple[str, ...]]()
        stac = serving.stac_root
        servers = servers_of(stac, serving.features_root, serving.tiles_root, storage.root_url())
        storage.create_container(blobs.work_container)
        target = SourceRef(blobs.work_container, f"searches/{context.run_id}.geojson")
        returned = 0
        with searching(postgis.engine) as connection:
            found = search(connection, config.query())

            def items() -> Iterator[dict[str, Any]]:
                nonlocal returned
                for item in found.items:
                    returned += 1
                    shown.extend(islice([row_of(item)], SHOWN - len(shown)))
                    yield lone_item(item, stac, servers)

            with text_blob(storage, target) as text:
                text.writelines(feature_collection(items(), found.matched))
    result = {"matched": found.matched, "returned": returned, "geojson": str(target)}
    return Output(
        result,
        metadata={
            "matched": found.matched,
            "returned": returned,
            "geojson": str(target),
            "items": MetadataValue.table(
                [TableRecord(dict(zip(HEADINGS, row, strict=True))) for row in shown],
                TableSchema([TableColumn(name) for name in HEADINGS]),
            ),
            "file": MetadataValue.url(storage.url(target)),
        },
    )


@job(description=__doc__)
def stac_search() -> None:
    search_catalogue()
