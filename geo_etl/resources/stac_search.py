"""Searching pgSTAC: what there is to search by, and what is found, page by page."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from geo_etl.catalog.query import Query
from geo_etl.errors import SpecError

PAGE = 500
"""Items that are in memory at once: those of tables have a few kilobytes each."""
SHOWN = 30
"""Collections or properties that an error lists."""
COLUMNS = ("id", "collection", "geometry", "datetime", "end_datetime")
"""What pgSTAC has as columns: always there to search by."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        matched: all items that match, however few were asked for.
        items: as many as were asked for, each as it is stored; read while they are taken.
    """

    matched: int
    items: Iterator[dict[str, Any]]


@contextmanager
def searching(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection on which all pages of a search are of one moment, and nothing is written."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection:
        # pgSTAC would note every search, and count a repeated one anew only after a day.
        connection.execute(sa.text("SET LOCAL pgstac.readonly = 'true'"))
        connection.execute(sa.text("SET LOCAL pgstac.context = 'on'"))
        connection.execute(sa.text("SET LOCAL pgstac.context_stats_ttl = '0 s'"))
        # Some of pgSTAC's functions find its tables only by the search path.
        connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
        yield connection


def search(connection: sa.Connection, query: Query) -> Found:
    """Search the items of the catalogue.

    Args:
        connection: of `searching`; to be kept until the items are taken.

    Raises:
        SpecError: there is no such collection or property, or pgSTAC can't do what is asked.
    """
    _check_collections(connection, query.collections)
    for name in query.properties:
        _check_property(connection, name, query.collections)
    first = _page(connection, query, None, min(query.limit, PAGE))
    return Found(first["numberMatched"], _items(connection, query, first))


def _items(
    connection: sa.Connection, query: Query, page: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    left = query.limit
    while True:
        yield from page["features"]
        left -= len(page["features"])
        token = _next_token(page)
        if token is None or left <= 0:
            return
        page = _page(connection, query, token, min(left, PAGE))


def _next_token(page: dict[str, Any]) -> str | None:
    links = [link["href"] for link in page["links"] if link["rel"] == "next"]
    return parse_qs(urlsplit(links[0]).query)["token"][0] if links else None


def _page(connection: sa.Connection, query: Query, token: str | None, limit: int) -> dict[str, Any]:
    body = {**query.as_search(), "limit": limit, **({"token": token} if token else {})}
    statement = sa.text("SELECT pgstac.search(:body)").bindparams(sa.bindparam("body", type_=JSONB))
    try:
        found: dict[str, Any] = connection.execute(statement, {"body": body}).scalar_one()
    except (sa.exc.DataError, sa.exc.ProgrammingError, sa.exc.InternalError) as error:
        said = str(error.orig).splitlines()[0].rstrip(".")
        raise SpecError(
            "search", f"pgSTAC can't do it: {said}", "Change the filter, or what is sorted by."
        ) from None
    return found


def _check_collections(connection: sa.Connection, wanted: tuple[str, ...]) -> None:
    there = connection.execute(
        sa.text("SELECT id FROM pgstac.collections WHERE id = ANY(:ids)"), {"ids": list(wanted)}
    ).scalars()
    unknown = sorted(set(wanted).difference(there))
    if unknown:
        names = connection.execute(
            sa.text("SELECT id FROM pgstac.collections ORDER BY id LIMIT :limit"),
            {"limit": SHOWN + 1},
        ).scalars()
        raise SpecError(
            f"collection '{unknown[0]}'",
            "the catalogue has no such collection",
            f"There are: {_listed(names.all())}.",
        )


def _check_property(connection: sa.Connection, name: str, collections: tuple[str, ...]) -> None:
    """Refuse what nothing can be found by: most likely it is misspelt.

    A property that is not registered is fine where an item has it.
    """
    bare = re.sub(r"^properties\.", "", name)
    if bare in COLUMNS or bare in queryables(connection):
        return
    path = connection.execute(
        sa.text("SELECT path FROM pgstac.queryable(:name, CAST(:ids AS text[]))"),
        {"name": name, "ids": list(collections) or None},
    ).scalar_one_or_none()
    if path is not None:
        # pgSTAC has quoted the path. A colon in it is none of a parameter's.
        literal = str(path).replace(":", r"\:")
        some = sa.text(
            f"SELECT 1 FROM pgstac.items WHERE {literal} IS NOT NULL"  # noqa: S608
            " AND (:every OR collection = ANY(:ids)) LIMIT 1"
        )
        wanted = {"every": not collections, "ids": list(collections)}
        if connection.execute(some, wanted).first() is not None:
            return
    raise SpecError(
        f"property '{name}'",
        "no item that is searched has it",
        f"There are: {_listed(sorted({*COLUMNS, *queryables(connection)}))}; "
        "and whatever else items have.",
    )


def _listed(names: Any) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown}, …" if len(names) > SHOWN else shown or "none"


def queryables(connection: sa.Connection) -> list[str]:
    """Names of the properties that are registered, with their types, to search by."""
    return list(
        connection.execute(sa.text("SELECT DISTINCT name FROM pgstac.queryables")).scalars()
    )
