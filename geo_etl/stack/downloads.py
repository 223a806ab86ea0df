"""Whole tables over HTTP, however large: `/downloads/geo.roads.geojson`, or `.csv`.

An answer of OGC API Features ends after some features. Here a table is read in pages by its key,
each in a short transaction, so that a slow client keeps no publish waiting. A table that is
published anew while it is read ends the answer: two versions never mix.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from geo_etl.errors import StackError
from geo_etl.stack.checked_pool import CheckedPool
from geo_etl.stack.files import SAFE

PAGE_BYTES = 4_000_000
"""After which a page ends."""
PAGE_FEATURES = 10_000
MOST_ROWS = 50
"""That are fetched at once; at first one, then as many as there are: one may have 40 MB."""

_TABLE = """
SELECT format('%I.%I', schema_name, table_name) AS name, version, published_at, srid, ARRAY(
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = to_regclass(format('%I.%I', schema_name, table_name))
        AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('gid', 'geom') ORDER BY attnum
) AS columns
FROM geo_etl.publication WHERE current AND schema_name || '.' || table_name = $1
"""


@dataclass(frozen=True)
class Table:
    """A version of a published table.

    Attributes:
        title: its name with its schema.
        name: the same as SQL takes it.
        columns: of attributes.
    """

    title: str
    name: str
    version: int
    published_at: datetime
    srid: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Format:
    """How a table is written.

    Attributes:
        row: SQL of the texts that are read of a row `t`.
        line: a row, made of them.
        between: what is between two rows.
        begin, end: what is before and after all.
    """

    media_type: str
    row: Callable[[Table], str]
    line: Callable[[Sequence[str | None]], str]
    between: str
    begin: Callable[[Table], str]
    end: str


def _feature(table: Table) -> str:
    # RFC 7946: in WGS84, outer rings counterclockwise. Lines would be reversed by that.
    geom = "t.geom" if table.srid == 4326 else "ST_Transform(t.geom, 4326)"
    is_area = "GeometryType(t.geom) IN ('POLYGON', 'MULTIPOLYGON')"
    turned = f"CASE WHEN {is_area} THEN ST_ForcePolygonCCW({geom}) ELSE {geom} END"
    return (
        "json_build_object('type', 'Feature', 'id', t.gid,"  # noqa: S608 - names are quoted
        f" 'geometry', ST_AsGeoJSON({turned}, 9, 0)::json,"
        " 'properties', (SELECT row_to_json(p) FROM"
        f" (SELECT {', '.join(map(_column, table.columns))}) AS p))::text"
    )


def _cells(table: Table) -> str:
    columns = [f"{_column(name)}::text" for name in table.columns]
    return ", ".join(["t.gid::text", *columns, "ST_AsText(t.geom)"])


def _column(name: str) -> str:
    return 't."' + name.replace('"', '""') + '"'


def _line(cells: Sequence[str | None]) -> str:
    return ",".join(map(_cell, cells)) + "\n"


def _cell(text: str | None) -> str:
    """As PostgreSQL's COPY writes it: nothing is null, `""` is an empty text."""
    if text is None:
        return ""
    if text and not any(special in text for special in '",\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


FORMATS = {
    "geojson": Format(
        media_type="application/geo+json",
        row=_feature,
        line=lambda cells: str(cells[0]),
        between=",\n",
        begin=lambda _: '{"type": "FeatureCollection", "features": [\n',
        end="\n]}\n",
    ),
    "csv": Format(
        media_type="text/csv; charset=utf-8; header=present",
        row=_cells,
        line=_line,
        between="",
        begin=lambda table: _line(["gid", *table.columns, "WKT"]),
        end="",
    ),
}


def downloads(pool: Callable[[], CheckedPool]) -> APIRouter:
    """The routes.

    Args:
        pool: gives connections to the database, once the site has started.
    """
    router = APIRouter()

    @router.api_route("/downloads/{name}.{extension}", methods=["GET", "HEAD"])
    async def download(request: Request, name: str, extension: str) -> Response:
        """A published table as one file."""
        written = FORMATS.get(extension)
        table = None
        if "\0" not in name:
            async with pool().acquire() as connection:
                table = await _find(connection, name)
        if written is None or table is None:
            raise HTTPException(404, f"there is no table '{name}' as '{extension}'")
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(f'{name}.{extension}')}",
            "cache-control": "no-cache",
            **SAFE,
        }
        if request.method == "HEAD":
            head = Response(headers=headers, media_type=written.media_type)
            del head.headers["content-length"]  # of the nothing that it has
            return head
        content = _content(pool(), table, written)
        return StreamingResponse(content, headers=headers, media_type=written.media_type)

    return router


async def _find(connection: Any, title: str) -> Table | None:
    row = await connection.fetchrow(_TABLE, title)
    return row and Table(title, **{**row, "columns": tuple(row["columns"])})


async def _content(pool: CheckedPool, table: Table, written: Format) -> AsyncIterator[str]:
    yield written.begin(table)
    last = 0
    while True:
        lines, end = await _page(pool, table, written, last)
        if not lines:
            break
        yield (written.between if last else "") + written.between.join(lines)
        last = end
    yield written.end


async def _page(
    pool: CheckedPool, table: Table, written: Format, last: int
) -> tuple[list[str], int]:
    """Rows after one, and the key of the last of them; none when there are no more.

    Raises:
        StackError: another version of the table is published now.
    """
    query = (
        f"SELECT t.gid, {written.row(table)} FROM {table.name} AS t"  # noqa: S608 - as above
        f" WHERE t.gid > $1 ORDER BY t.gid LIMIT {PAGE_FEATURES}"
    )
    lines: list[str] = []
    size, end = 0, last
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        # Locked first: else a publish that goes on now would show its rows before its version.
        await connection.execute(f"LOCK TABLE {table.name} IN ACCESS SHARE MODE")
        if await _find(connection, table.title) != table:
            raise StackError(
                f"download of {table.title}",
                "another version of it was published meanwhile",
                "Download it again.",
            )
        cursor = await connection.cursor(query, last)
        while size < PAGE_BYTES and (rows := await cursor.fetch(min(len(lines) + 1, MOST_ROWS))):
            lines += [written.line(cells) for _, *cells in rows]
            size += sum(map(len, lines[-len(rows) :]))
            end = rows[-1][0]
    return lines, end
