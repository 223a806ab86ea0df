"""Catalogue one raster where it lies: its STAC item, without converting or moving it."""

from datetime import datetime
from typing import Any

from dagster import Config, MetadataValue, OpExecutionContext, Out, Output, job, op
from pydantic import Field

from geo_etl.assets.faults import TRANSIENT_RETRIES, op_faults
from geo_etl.errors import SpecError
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.catalogued import FileOrder, catalogue_file
from geo_etl.resources.postgis import PostGISResource
from geo_etl.spec import SourceRef


class CatalogFileConfig(Config):
    """Which raster, and what is said about it."""

    blob: str = Field(description="CONTAINER/PATH")
    collection_id: str | None = Field(None, description="Default: the container's name")
    item_id: str | None = Field(None, description="Default: from the path")
    datetime: str | None = Field(
        None,
        description="Of the data, RFC 3339; default: what its tags say, else when it was written",
    )
    properties: dict[str, Any] = Field({}, description="Of the item, beside what is found out")

    def order(self) -> FileOrder:
        """What is asked for.

        Raises:
            SpecError: the blob is no path, or the time none with a zone.
        """
        return FileOrder(
            SourceRef.parse(self.blob),
            self.collection_id,
            self.item_id,
            None if self.datetime is None else _moment(self.datetime),
            self.properties,
        )


def _moment(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise SpecError(
            f"datetime '{text}'",
            "it is no time with an offset from UTC",
            "Write it as 2024-05-17T10:30:00Z.",
        )
    return when


@op(
    out=Out(dict),
    retry_policy=TRANSIENT_RETRIES,
    description="Read the raster's header, and write its item.",
)
def catalogue_raster(
    context: OpExecutionContext,
    config: CatalogFileConfig,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
) -> Output[dict[str, Any]]:
    with op_faults():
        item = catalogue_file(blobs.storage, postgis.engine, config.order())
    for warning in item["properties"].get("geo_etl:warnings", ()):
        context.log.warning(warning)
    return Output(item, metadata=_metadata(item))


def _metadata(item: dict[str, Any]) -> dict[str, Any]:
    said = item["properties"]
    shown: dict[str, Any] = {
        "stac_item": f"{item['collection']}/{item['id']}",
        "bbox": MetadataValue.json(item["bbox"]),
        "datetime": f"{said['datetime']} ({said['geo_etl:datetime_from']})",
        "cog": said["geo_etl:is_cog"],
        "item": MetadataValue.json(item),
    }
    if warnings := said.get("geo_etl:warnings"):
        shown["warnings"] = MetadataValue.md("\n".join(f"- {one}" for one in warnings))
    return shown


@job(description=__doc__)
def catalog_file() -> None:
    catalogue_raster()
