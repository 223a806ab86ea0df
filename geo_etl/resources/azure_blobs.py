"""Blob storage in Azure, through adlfs.

Credentials come by the usual variables (`AZURE_STORAGE_CONNECTION_STRING`,
`AZURE_STORAGE_ACCOUNT_KEY`, …), which adlfs reads, or from DefaultAzureCredential. Listings
and uploads use the SDK client that adlfs holds: adlfs itself lists without pages and uploads
without metadata.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, cast

from adlfs import AzureBlobFileSystem
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob.aio import BlobPrefix
from fsspec.asyn import sync

from geo_etl.errors import StorageError
from geo_etl.ingest.scratch import scratch_folder
from geo_etl.resources.blobs import (
    Blob,
    Level,
    OpenBlob,
    bad_name,
    missing_blob,
    missing_container,
    replaced_blob,
)
from geo_etl.spec import SourceRef


class AzureBlobs:
    """Implements `BlobStorage` on one storage account."""

    def __init__(self, account: str) -> None:
        self._account = account

    @cached_property
    def _fs(self) -> AzureBlobFileSystem:
        return AzureBlobFileSystem(
            account_name=self._account,
            anon=False,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def containers(self) -> list[str]:
        return sorted(sync(self._fs.loop, self._containers))

    async def _containers(self) -> list[str]:
        return [container.name async for container in self._fs.service_client.list_containers()]

    def create_container(self, name: str) -> None:
        sync(self._fs.loop, self._create_container, name)

    async def _create_container(self, name: str) -> None:
        # Not adlfs's mkdir: when two processes create the same container, one of them fails.
        with _faults(name):
            try:
                await self._fs.service_client.create_container(name)
            except ResourceExistsError as error:
                if getattr(error, "error_code", None) != "ContainerAlreadyExists":
                    raise  # it is being deleted

    def pages(self, container: str, prefix: str = "", size: int = 5000) -> Iterator[list[Blob]]:
        token: str | None = None
        for _ in count():
            items, token = sync(
                self._fs.loop, self._page, container, prefix, min(size, 5000), token
            )
            page = [self._blob(SourceRef(container, item.name), item) for item in items]
            if page:
                yield page
            if not token:
                return

    async def _page(
        self, container: str, prefix: str, size: int, token: str | None, is_level: bool = False
    ) -> tuple[list[Any], str | None]:
        with _faults(container):
            async with self._fs.service_client.get_container_client(container) as client:
                listing = client.walk_blobs if is_level else client.list_blobs
                pages = listing(name_starts_with=prefix, results_per_page=size).by_page(
                    continuation_token=token
                )
                async for page in pages:
                    return [item async for item in page], pages.continuation_token
        return [], None

    def level(self, container: str, folder: str = "", size: int = 5000) -> Iterator[Level]:
        token: str | None = None
        for _ in count():
            items, token = sync(
                self._fs.loop, self._page, container, folder, min(size, 5000), token, True
            )
            blobs = [item for item in items if not isinstance(item, BlobPrefix)]
            yield Level(
                [item.name for item in items if isinstance(item, BlobPrefix)],
                [self._blob(SourceRef(container, item.name), item) for item in blobs],
            )
            if not token:
                return

    def stat(self, ref: SourceRef) -> Blob:
        return self._blob(ref, sync(self._fs.loop, self._properties, ref))

    async def _properties(self, ref: SourceRef) -> Any:
        with _faults(ref.container, ref):
            async with self._client(ref) as client:
                return await client.get_blob_properties()

    def read(self, ref: SourceRef, start: int = 0, length: int | None = None) -> bytes:
        size = self.stat(ref).size
        end = size if length is None else min(size, start + length)
        if start >= end:
            return b""
        content: bytes = sync(self._fs.loop, self._download, ref, start, end - start)
        return content

    async def _download(self, ref: SourceRef, start: int, length: int, **conditions: Any) -> bytes:
        with _faults(ref.container, ref):
            async with self._client(ref) as client:
                stream = await client.download_blob(offset=start, length=length, **conditions)
                return cast(bytes, await stream.readall())

    def open(self, ref: SourceRef) -> OpenBlob:
        return _Version(self, self.stat(ref))

    def read_version(self, blob: Blob, start: int, length: int) -> bytes:
        """Bytes of the blob that was looked at, none of one that has replaced it.

        Raises:
            StorageError: it was replaced or removed.
        """
        end = min(start + length, blob.size)
        if start >= end:
            return b""
        unchanged = {"etag": f'"{blob.etag}"', "match_condition": MatchConditions.IfNotModified}
        try:
            content: bytes = sync(
                self._fs.loop, self._download, blob.ref, start, end - start, **unchanged
            )
        except ResourceModifiedError:
            raise replaced_blob(blob.ref) from None
        return content

    @contextmanager
    def write(
        self, ref: SourceRef, metadata: Mapping[str, str] | None = None
    ) -> Iterator[BinaryIO]:
        with tempfile.TemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.seek(0)
            sync(self._fs.loop, self._upload, ref, file, dict(metadata or {}))

    async def _upload(self, ref: SourceRef, file: BinaryIO, metadata: dict[str, str]) -> None:
        # A block blob's content changes when its block list is committed: whole or not at all.
        with _faults(ref.container, ref):
            async with self._client(ref) as client:
                await client.upload_blob(file, overwrite=True, metadata=metadata)

    @contextmanager
    def local(self, ref: SourceRef) -> Iterator[Path]:
        self.stat(ref)
        with scratch_folder() as folder:
            path = Path(folder, Path(ref.path).name)
            with path.open("wb") as file:
                sync(self._fs.loop, self._fetch, ref, file)
            yield path

    async def _fetch(self, ref: SourceRef, file: BinaryIO) -> None:
        with _faults(ref.container, ref):
            async with self._client(ref) as client:
                stream = await client.download_blob(max_concurrency=4)
                await stream.readinto(file)

    def url(self, ref: SourceRef) -> str:
        client = self._fs.service_client.get_blob_client(ref.container, ref.path)
        return str(client.url).partition("?")[0]  # a token is no part of the address

    def root_url(self) -> str:
        return str(self._fs.service_client.url).partition("?")[0].rstrip("/")

    def gdal_root(self) -> str:
        return "/vsiaz"

    def delete(self, ref: SourceRef) -> None:
        sync(self._fs.loop, self._delete, ref)

    async def _delete(self, ref: SourceRef) -> None:
        with _faults(ref.container, ref):
            async with self._client(ref) as client:
                await client.delete_blob()

    def discard_partial(self, container: str, before: datetime) -> int:  # noqa: ARG002
        return 0  # Azure forgets uncommitted blocks by itself, after a week

    def _client(self, ref: SourceRef) -> Any:
        if {".", ".."} & set(ref.path.split("/")):  # HTTP would resolve them to another blob
            raise bad_name(ref)
        return self._fs.service_client.get_blob_client(ref.container, ref.path)

    @staticmethod
    def _blob(ref: SourceRef, item: Any) -> Blob:
        return Blob(ref, item.size, item.etag.strip('"'), item.last_modified, item.metadata or {})


class _Version:
    """Implements `OpenBlob`: every request says which version it means."""

    def __init__(self, storage: AzureBlobs, blob: Blob) -> None:
        self._storage = storage
        self.blob = blob

    def read(self, start: int, length: int) -> bytes:
        return self._storage.read_version(self.blob, start, length)

    def close(self) -> None:
        """Nothing is held."""


@contextmanager
def _faults(container: str, ref: SourceRef | None = None) -> Iterator[None]:
    """Say what the service's answer means; what may pass keeps its own type."""
    try:
        yield
    except HttpResponseError as error:
        code = getattr(error, "error_code", None)
        if code in ("InvalidResourceName", "OutOfRangeInput"):
            raise StorageError(
                f"container '{container}'" if ref is None else f"blob '{ref}'",
                "Azure allows no such name",
                "Name a container with 3 to 63 lower-case letters, digits and single hyphens, "
                "and a blob with at most 1024 characters.",
            ) from None
        if not isinstance(error, ResourceNotFoundError):
            raise
        if ref is None or code == "ContainerNotFound":
            raise missing_container(container) from None
        raise missing_blob(ref) from None
