"""Blob storage as a Dagster resource."""

from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dagster import ConfigurableResource

from geo_etl.errors import StorageError
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.local_blobs import LocalBlobs


@cache
def open_storage(url: str) -> BlobStorage:
    """Storage at `file:///FOLDER` or `az://ACCOUNT`. Connects on first use.

    Raises:
        StorageError: the URL is neither.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and len(parts.path) > 1:
        return LocalBlobs(Path(unquote(parts.path)))
    if parts.scheme == "az" and parts.netloc and parts.path in ("", "/"):
        from geo_etl.resources.azure_blobs import AzureBlobs  # half a second, if needed at all

        return AzureBlobs(parts.netloc)
    raise StorageError(
        f"GEO_ETL_BLOB_URL '{url}'", "it names no storage", "Use file:///FOLDER or az://ACCOUNT."
    )


class BlobStorageResource(ConfigurableResource):  # type: ignore[type-arg]
    """Blob storage: `file:///FOLDER` or `az://ACCOUNT`, and the containers that geo_etl uses."""

    url: str
    bronze_container: str = "bronze"
    work_container: str = "work"
    silver_container: str = "silver"

    @property
    def storage(self) -> BlobStorage:
        """The storage behind the resource."""
        return open_storage(self.url)
