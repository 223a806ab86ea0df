"""Commands for what is published: versions, going back, taking away, the quarantine.

Here: what they do with tables. With raster layers: `raster_layers`.
"""

import json
import shlex
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geo_etl.cli import raster_layers
from geo_etl.cli.words import command, err, out, plain, show_table
from geo_etl.errors import StackError
from geo_etl.settings import get_settings

if TYPE_CHECKING:
    from geo_etl.vector.versions import Version

REASONS_SHOWN = 20
"""A reason may name the value that is wrong: then there can be one for each feature."""


@click.command()
@click.argument("name", required=False, metavar="[TABLE_OR_LAYER]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@command
def versions(name: str | None, as_json: bool) -> None:
    """List versions of a table or raster layer, or all there are.

    All that is published now, without a name. A table is SCHEMA.TABLE, or its name in schema geo;
    a raster layer is COLLECTION/ITEM, or the collection of a set.
    """
    layers, tables = [], []
    if name is None or raster_layers.is_layer(name):
        layers = raster_layers.layers(name)
    if name is None or not layers:
        tables = _tables(name)
    if as_json:
        facts = [_facts(version) for version in tables]
        facts += [raster_layers.layer_facts(version) for version in layers]
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    if tables:
        _show(tables)
    if layers:
        raster_layers.show_layers(layers)
    if not tables and not layers:
        err.print("Nothing is published yet.")


def _tables(name: str | None) -> "list[Version]":
    from geo_etl.resources.postgis import engine_for
    from geo_etl.vector.versions import Target, find_versions, published_version, versions_of

    with engine_for(get_settings().database()).connect() as connection:
        if name is None:
            return sorted(find_versions(connection, current=True), key=lambda one: one.target)
        published_version(connection, Target.parse(name))
        return versions_of(connection, Target.parse(name))


def _facts(version: "Version") -> dict[str, Any]:
    return {
        "table": str(version.target),
        "version": version.number,
        "current": version.current,
        "restorable": bool(version.loads),
        "features": version.features,
        "load_method": version.load_method,
        "source": version.source,
        "job_id": version.job_id,
        "published_at": version.published_at.isoformat(timespec="seconds"),
    }


def _show(found: "list[Version]") -> None:
    rows = [("table", "version", "", "features", "method", "published (UTC)", "job", "source")]
    rows += [
        (
            str(version.target),
            str(version.number),
            "current" if version.current else "kept" if version.loads else "gone",
            f"{version.features:,}",
            version.load_method,
            f"{version.published_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            version.job_id[:8],
            version.source,
        )
        for version in found
    ]
    show_table(rows, right={1, 3})


@click.command()
@click.argument("name", metavar="TABLE_OR_LAYER")
@click.option("--to", "number", type=click.IntRange(1), help="Version; default: the one before.")
@command
def rollback(name: str, number: int | None) -> None:
    """Let readers see an earlier version again.

    Of a table or a raster layer, with its columns or files, and its STAC items. 'geo-etl versions
    NAME' lists what is kept; the version that is left can be brought back in the same way.
    """
    if raster_layers.is_layer(name):
        raster_layers.roll_back(name, number)
        return
    from geo_etl.assets.vector import catalogue_version
    from geo_etl.resources.postgis import engine_for
    from geo_etl.vector.history import rollback as roll_back
    from geo_etl.vector.versions import Target

    engine = engine_for(get_settings().database())
    version = roll_back(engine, Target.parse(name), number, catalogue_version)
    err.print(
        f"Readers of {plain(str(version.target))} see version {version.number} again: "
        f"{version.features:,} features from {plain(version.source)}."
    )


@click.command()
@click.argument("name", metavar="TABLE_OR_LAYER")
@click.option("--yes", "confirmed", is_flag=True, help="Confirm.")
@command
def unpublish(name: str, confirmed: bool) -> None:
    """Remove a table or raster layer from what is published.

    With all of its versions and its STAC items; of a table its quarantine, of a collection its
    members too. Bronze stays.
    """
    if raster_layers.is_layer(name):
        raster_layers.take_away(name, confirmed=confirmed)
        return
    from geo_etl.assets.side_output import discard_side_output
    from geo_etl.assets.vector import uncatalogue_version
    from geo_etl.definitions import default_resources
    from geo_etl.resources.postgis import engine_for
    from geo_etl.vector.history import unpublish as take_away
    from geo_etl.vector.versions import Target, published_version

    engine, target = engine_for(get_settings().database()), Target.parse(name)
    with engine.connect() as connection:
        published_version(connection, target)
    if not confirmed:
        raise StackError(
            f"unpublish {target}",
            "it removes the table, its STAC item, its quarantine and all of its versions",
            f"Nothing was done. Say 'geo-etl unpublish {target} --yes' if that is what you want.",
        )
    version = take_away(engine, target, uncatalogue_version)
    resources = default_resources()
    discard_side_output(resources["blobs"], resources["postgis"], target)
    err.print(f"{plain(str(version.target))} is no longer published.")


@click.command()
@click.argument("table")
@click.option(
    "--export",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="GeoPackage to write the quarantined features to, with their attributes.",
)
@command
def quarantine(table: str, path: Path | None) -> None:
    """Count quarantined features by reason, or export them.

    Features that are exported can be corrected, and added to TABLE.
    """
    from geo_etl.resources.postgis import engine_for
    from geo_etl.vector.quarantine import export_quarantine, quarantine_reasons
    from geo_etl.vector.versions import Target, published_version

    engine, target = engine_for(get_settings().database()), Target.parse(table)
    if path is not None:
        count = export_quarantine(engine, target, path)
        with engine.connect() as connection:
            version = published_version(connection, target)
        err.print(f"{count:,} features written to {plain(str(path))}. When they are corrected:")
        err.print(f"  {plain(_append(path, version))}")
        return
    reasons = quarantine_reasons(engine, target)
    if not reasons:
        err.print(f"Nothing of {plain(str(target))} is quarantined.")
        return
    shown, others = reasons[:REASONS_SHOWN], reasons[REASONS_SHOWN:]
    rows = [("features", "reason"), *((f"{count:,}", reason) for reason, count in shown)]
    show_table(rows, right={0})
    if others:
        features = sum(count for _, count in others)
        out.print(f"… and {features:,} features for {len(others):,} other reasons.")
    err.print(f"To correct them: geo-etl quarantine {plain(str(target))} --export FILE.gpkg")


def _append(path: Path, version: "Version") -> str:
    """The command that adds a file of features to a table, as a shell takes it."""
    settings = [
        "load_method=append",
        f"schema={version.target.schema}",
        f"table_name={version.target.table}",
        f"target_srid={version.srid}",
    ]
    if version.geometry_type == "Geometry":
        settings.append("geometry_params.mixed_geometry=any")
    arguments = [part for setting in settings for part in ("--set", setting)]
    return shlex.join(["geo-etl", "ingest", str(path), *arguments])
