"""The command that searches the catalogue."""

import re

import click

from geo_etl.cli.words import command, err, require_database, show_table
from geo_etl.settings import get_settings

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class _SearchCommand(click.Command):
    """Takes `--bbox W S E N` for `--bbox W,S,E,N`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        if "--bbox" in args:
            first = args.index("--bbox") + 1
            box = args[first : first + 4]
            if len(box) == 4 and all(map(_NUMBER.fullmatch, box)):
                args = [*args[:first], ",".join(box), *args[first + 4 :]]
        return super().parse_args(ctx, args)


@click.command(cls=_SearchCommand)
@click.option("--bbox", metavar="W,S,E,N", help="Degrees; W > E crosses the antimeridian.")
@click.option(
    "--datetime",
    "period",
    metavar="A/B",
    help="A day, a moment as 2024-05-01T12:00:00Z, or two with a slash; '..' is an open end.",
)
@click.option("--collection", "collections", multiple=True, metavar="ID", help="Repeatable.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Of an item. Repeatable.")
@click.option(
    "--filter",
    "cql2",
    metavar="CQL2",
    help="CQL2 text: gsd < 10 AND \"geo_etl:data_kind\" = 'imagery'.",
)
@click.option(
    "--sort",
    multiple=True,
    metavar="[-]FIELD",
    help="-FIELD for the largest first. Repeatable. Default: the newest first.",
)
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1), help="Items at most."
)
@click.option("--geojson", is_flag=True, help="Only a GeoJSON FeatureCollection on stdout.")
@command
def search(
    bbox: str | None,
    period: str | None,
    collections: tuple[str, ...],
    ids: tuple[str, ...],
    cql2: str | None,
    sort: tuple[str, ...],
    limit: int,
    geojson: bool,
) -> None:
    """Search the STAC catalogue.

    Shows a table, or GeoJSON with links to the servers where they run.
    """
    from geo_etl.catalog.found import (
        HEADINGS,
        feature_collection,
        lone_item,
        row_of,
        servers_of,
    )
    from geo_etl.catalog.query import Query
    from geo_etl.resources.blob_storage import open_storage
    from geo_etl.resources.postgis import engine_for
    from geo_etl.resources.stac_search import search, searching

    query = Query.parse(
        limit,
        bbox=bbox,
        period=period,
        collections=collections,
        ids=ids,
        cql2=cql2,
        sort=sort,
    )
    settings = get_settings()
    require_database(settings)
    with searching(engine_for(settings.database())) as connection:
        found = search(connection, query)
        if geojson:
            stac, storage = settings.stac_root(), open_storage(settings.storage_url)
            servers = servers_of(
                stac, settings.features_root(), settings.tiles_root(), storage.root_url()
            )
            items = (lone_item(item, stac, servers) for item in found.items)
            for piece in feature_collection(items, found.matched):
                click.echo(piece, nl=False)
            return
        rows = [row_of(item) for item in found.items]
    if rows:
        show_table([HEADINGS, *rows])
    if len(rows) < found.matched:
        err.print(f"{len(rows):,} of {found.matched:,} items; --limit shows more.")
    elif not rows:
        err.print("Nothing is found.")
