"""Blobs over HTTP, for clients that read Cloud-Optimized GeoTIFFs or download results.

`/files/CONTAINER/PATH`, with ranges of bytes (RFC 9110, section 14), which is what makes a COG
worth having. A blob that is replaced while it is read ends the answer: two versions never mix.

Blobs are of anybody: bronze holds what was delivered. A browser must not run what is in them as
the site's own, so every answer says that it has no script.
"""

import mimetypes
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from geo_etl.errors import StorageError
from geo_etl.resources.blob_storage import open_storage
from geo_etl.resources.blobs import OpenBlob
from geo_etl.settings import get_settings
from geo_etl.spec import SourceRef

STEP_BYTES = 4_000_000
"""What is read at once of a long answer."""
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".tiff": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".geojson": "application/geo+json",
    ".parquet": "application/vnd.apache.parquet",
    ".vrt": "application/xml",
}
SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'; img-src 'self' data:;"
    " style-src 'unsafe-inline'",
}
"""Reports have pictures and styles in them, and nothing else."""

router = APIRouter()


@dataclass(frozen=True)
class Span:
    """Bytes of a blob: the first, and the one after the last."""

    start: int
    end: int


@router.api_route("/files/{container}/{path:path}", methods=["GET", "HEAD"])
async def blob(request: Request, container: str, path: str) -> Response:
    """A blob, or a range of it."""
    if container == get_settings().work_container or container.startswith((".", "$")):
        raise HTTPException(404, f"container '{container}' is not served")
    try:
        opened = await run_in_threadpool(_open, SourceRef(container, path))
    except StorageError as error:
        raise HTTPException(404, str(error)) from None
    try:
        answer = _answer(request, opened)
    except BaseException:
        opened.close()
        raise
    if not isinstance(answer, StreamingResponse):
        opened.close()
    return answer


def _open(ref: SourceRef) -> OpenBlob:
    return open_storage(get_settings().storage_url).open(ref)


def _answer(request: Request, opened: OpenBlob) -> Response:
    etag, size = f'"{opened.blob.etag}"', opened.blob.size
    headers = {"accept-ranges": "bytes", "etag": etag, "cache-control": "no-cache", **SAFE}
    if _names(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range") if request.method == "GET" else None
    if request.headers.get("if-range", etag) != etag:
        asked = None
    match = RANGE.fullmatch(asked or "")
    if match is None or match.groups() == ("", ""):  # of several ranges all
        span: Span | None = Span(0, size)
        status = 200
    else:
        span, status = _span(match[1], match[2], size), 206
    if span is None:
        raise HTTPException(416, "no such range", {**headers, "content-range": f"bytes */{size}"})
    if status == 206:
        headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    headers["content-length"] = str(span.end - span.start)
    kind = _media_type(opened.blob.ref.path)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(_content(opened, span), status, headers, kind)


def _names(tags: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names a version; weak tags count (RFC 9110, section 13.1.2)."""
    named = [tag.strip().removeprefix("W/") for tag in (tags or "").split(",")]
    return etag in named or named == ["*"]


def _span(first: str, last: str, size: int) -> Span | None:
    """The bytes that are asked for; None beyond the end, or where the last is before the first."""
    if not first:  # the last so many
        return Span(max(size - int(last), 0), size) if int(last) and size else None
    end = min(int(last) + 1, size) if last else size
    return Span(int(first), end) if int(first) < end else None


async def _content(opened: OpenBlob, span: Span) -> AsyncIterator[bytes]:
    try:
        for start in range(span.start, span.end, STEP_BYTES):
            length = min(STEP_BYTES, span.end - start)
            yield await run_in_threadpool(opened.read, start, length)
    finally:
        opened.close()


def _media_type(path: str) -> str:
    ending = "." + path.lower().rpartition(".")[2]
    return TYPES.get(ending) or mimetypes.guess_type(path)[0] or "application/octet-stream"
