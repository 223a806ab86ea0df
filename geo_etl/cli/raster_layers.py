"""What the commands for published things do with raster layers."""

from datetime import UTC
from typing import TYPE_CHECKING, Any

from geo_etl.cli.words import err, plain, show_table
from geo_etl.errors import StackError
from geo_etl.settings import get_settings

if TYPE_CHECKING:
    from geo_etl.raster.layers import Version
    from geo_etl.resources.rasters import Rasters


def is_layer(name: str) -> bool:
    """Whether a name is that of a raster layer: one with a slash always, others if there is one.

    Raises:
        StackError: there is a table of this name too.
    """
    from geo_etl.vector.versions import Target, current_version

    rasters = _rasters()
    if "/" in name:
        return True
    if rasters.current(name) is None:
        return False
    with rasters.engine.connect() as connection:
        table = current_version(connection, Target.parse(name))
    if table is not None:
        raise StackError(
            name,
            "there is a table and a raster layer of this name",
            f"Say {table.target} for the table, or {name}/ for the raster layer.",
        )
    return True


def layers(name: str | None) -> "list[Version]":
    """Versions of a layer, or the current ones of all.

    Raises:
        PublishError: there is no such layer.
    """
    rasters = _rasters()
    if name is None:
        return sorted(rasters.published(), key=lambda version: version.layer)
    return rasters.versions(rasters.named(name.rstrip("/")).layer)


def layer_facts(version: "Version") -> dict[str, Any]:
    """A version for `--json`."""
    return {
        "layer": version.layer,
        "version": version.number,
        "current": version.current,
        "restorable": version.is_restorable,
        "form": version.form,
        "items": len(version.item_ids),
        "pixels": version.pixels,
        "bytes": version.bytes,
        "source": version.source,
        "job_id": version.job_id,
        "published_at": version.published_at.isoformat(timespec="seconds"),
    }


def show_layers(found: "list[Version]") -> None:
    """Versions for people, on stdout."""
    from geo_etl.report.words import file_size

    rows = [
        (
            "raster layer",
            "version",
            "",
            "pixels",
            "size",
            "form",
            "published (UTC)",
            "job",
            "source",
        )
    ]
    rows += [
        (
            version.layer,
            str(version.number),
            "current" if version.current else "kept" if version.is_restorable else "gone",
            f"{version.pixels:,}",
            file_size(version.bytes),
            version.form,
            f"{version.published_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            version.job_id[:8],
            version.source,
        )
        for version in found
    ]
    show_table(rows, right={1, 3, 4})


def roll_back(name: str, number: int | None) -> None:
    """Let readers see an earlier version of a layer again."""
    version = _rasters().rollback(name.rstrip("/"), number)
    err.print(
        f"Readers of {plain(version.layer)} see version {version.number} again: "
        f"{version.pixels:,} pixels from {plain(version.source)}."
    )


def take_away(name: str, *, confirmed: bool) -> None:
    """Remove a layer with all of its versions.

    Raises:
        StackError: it was not confirmed.
    """
    from geo_etl.resources.blob_storage import open_storage

    rasters = _rasters()
    shown = rasters.named(name.rstrip("/"))
    if not confirmed:
        members = f" its {len(shown.item_ids)} members," if shown.form == "collection" else ""
        raise StackError(
            f"unpublish {shown.layer}",
            f"it removes the raster layer,{members} its STAC items, and all of their versions",
            f"Nothing was done. Say 'geo-etl unpublish {name} --yes' if that is what you want.",
        )
    version = rasters.unpublish(shown.layer)
    rasters.remove_discarded(open_storage(get_settings().storage_url))
    err.print(f"{plain(version.layer)} is no longer published.")


def _rasters() -> "Rasters":
    from geo_etl.resources.postgis import engine_for
    from geo_etl.resources.rasters import Rasters

    return Rasters(engine_for(get_settings().database()))
