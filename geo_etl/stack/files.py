"""Blobs over HTTP, for clients that read Cloud-Optimized GeoTIFFs or download results.

`/files/CONTAINER/PATH`, with ranges of bytes (RFC 9110, section 14), which is what makes a COG
worth having.
"""

import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from geo_etl.errors import StorageError
from geo_etl.resources.blob_storage import open_storage
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.settings import get_settings
from geo_etl.spec import SourceRef

STEP_BYTES = 4_000_000
"""What is read at once of a long answer."""
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
TYPES = {".tif": "image/tiff; application=geotiff; profile=cloud-optimized"}

router = APIRouter()


@dataclass(frozen=True)
class Span:
    """Bytes of a blob: the first, and the one after the last."""

    start: int
    end: int


@router.api_route("/files/{container}/{path:path}", methods=["GET", "HEAD"])
def blob(request: Request, container: str, path: str) -> Response:
    """A blob, or a range of it."""
    settings = get_settings()
    storage, ref = open_storage(settings.storage_url), SourceRef(container, path)
    if container.startswith(".") or container == settings.work_container:
        raise HTTPException(404, f"container '{container}' is not served")
    try:
        found = storage.stat(ref)
    except StorageError as error:
        raise HTTPException(404, str(error)) from None
    headers = {"accept-ranges": "bytes", "etag": f'"{found.etag}"', "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range")
    if request.headers.get("if-range", headers["etag"]) != headers["etag"]:
        asked = None
    span = _span(asked, found.size)
    if span is None:
        headers["content-range"] = f"bytes */{found.size}"
        raise HTTPException(416, "no such range", headers)
    is_part = asked is not None and RANGE.fullmatch(asked) is not None
    if is_part:
        headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{found.size}"
    headers["content-length"] = str(span.end - span.start)
    status, kind = 206 if is_part else 200, _media_type(path)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(_content(storage, found, span), status, headers, kind)


def _span(asked: str | None, size: int) -> Span | None:
    """The bytes that are asked for; of several ranges all; None beyond the end."""
    match = RANGE.fullmatch(asked or "")
    if match is None or match.groups() == ("", ""):
        return Span(0, size)
    first, last = match.groups()
    if not first:  # the last so many
        return Span(max(size - int(last), 0), size) if int(last) and size else None
    end = min(int(last) + 1, size) if last else size
    return Span(int(first), end) if int(first) < end else None


def _content(storage: BlobStorage, found: Blob, span: Span) -> Iterator[bytes]:
    for start in range(span.start, span.end, STEP_BYTES):
        yield storage.read(found.ref, start, min(STEP_BYTES, span.end - start))


def _media_type(path: str) -> str:
    known = next((kind for suffix, kind in TYPES.items() if path.endswith(suffix)), None)
    return known or mimetypes.guess_type(path)[0] or "application/octet-stream"
