"""What the command says of rasters: their result documents."""

from typing import TYPE_CHECKING, Any

from geo_etl.cli.words import out, plain

if TYPE_CHECKING:
    import sqlalchemy as sa

    from geo_etl.raster.layers import Version
    from geo_etl.report.raster_result import CollectionResult, RasterResult

SHOWN_BAD = 20
NOT_SERVED = "not served: run 'geo-etl serve'"


def is_of_raster(result: dict[str, Any]) -> bool:
    """Whether a result document is one of rasters."""
    return "form" in result


def show_raster(document: dict[str, Any]) -> None:
    """A result document of rasters for people, on stdout."""
    from geo_etl.report.raster_result import RasterResult, read_result

    result = read_result(document)
    lines = _of_one(result) if isinstance(result, RasterResult) else _of_many(result)
    for name, value in [*lines, *_of_both(result)]:
        if value:
            out.print(f"[bold]{name:<13}[/bold]  {plain(value)}")


def _of_one(result: "RasterResult") -> list[tuple[str, str]]:
    summary, assets = result.summary, result.assets
    counts = f"{summary.tiles_converted} converted, {summary.tiles_empty} empty"
    crs = result.target_crs
    from_ = f", from {result.original_crs}" if result.original_crs != crs else ""
    nodata = f"{result.nodata} ({result.nodata_from})" if result.nodata is not None else ""
    return [
        ("source", result.source),
        ("layer", result.layer),
        ("version", str(result.version or "")),
        ("pixels", _pixels(summary.pixels, summary.pixels_valid)),
        ("bands", f"{summary.bands} of {assets[0].dtype}" if assets else ""),
        ("kind", f"{result.data_kind} ({result.data_kind_because})"),
        ("nodata", nodata),
        ("narrowed", f"to {result.narrowed_to}, without loss" if result.narrowed_to else ""),
        ("CRS", f"{crs}{from_}"),
        ("tiles", f"{summary.total_tiles} = {counts}" if result.form == "tiled" else ""),
    ]


def _of_many(result: "CollectionResult") -> list[tuple[str, str]]:
    summary = result.summary
    bad = [member for member in result.members if member.status == "bad"]
    hidden = len(bad) - SHOWN_BAD
    return [
        ("source", result.source),
        ("layer", result.layer),
        ("version", str(result.version or "")),
        (
            "members",
            f"{summary.members} = {summary.converted} converted + {summary.unchanged} unchanged "
            f"+ {summary.bad} bad; {summary.removed} removed",
        ),
        *(("bad", f"{member.source}: {member.problem}") for member in bad[:SHOWN_BAD]),
        ("", f"and {hidden} more bad ones" if hidden > 0 else ""),
        ("pixels", _pixels(summary.pixels, summary.pixels_valid)),
    ]


def _pixels(count: int, valid: int) -> str:
    return f"{count:,}, {'all' if valid == count else f'{valid:,}'} of them valid"


def _of_both(result: "RasterResult | CollectionResult") -> list[tuple[str, str]]:
    from geo_etl.report.tier_words import monthly_dollars, proof_words, tier_size

    lines = []
    for asset in result.assets:
        cost = monthly_dollars(asset.monthly_cost)
        lines += [
            (asset.tier, f"{tier_size(asset)}, {cost}; {proof_words(asset)}"),
            ("", asset.href or ""),
        ]
    preview = getattr(result, "preview_url", None)
    return [
        *lines,
        ("took", f"{result.processing_time_seconds:.1f} s, {result.tasks_executed} tasks"),
        ("job", result.job_id[:8]),
        ("report", result.quality_report_url or ""),
        ("preview", preview or ""),
        ("mosaic", result.mosaic.vrt or "" if result.mosaic else ""),
        ("tiles", result.tiles_url or NOT_SERVED),
        ("map", result.viewer_url or NOT_SERVED),
        ("catalogue", _catalogue(result)),
    ]


def _catalogue(result: "RasterResult | CollectionResult") -> str:
    stac = result.stac
    if stac.item_id is None:
        return f"{stac.collection_id} ({stac.items} items)"
    return f"{stac.collection_id}/{stac.item_id}"


def raster_layer(connection: "sa.Connection", name: str) -> "Version | None":
    """The raster layer of a name; None where a table may be meant.

    Raises:
        PublishError: a name with a slash, of which there is no layer.
    """
    from geo_etl.raster.layers import current_version, published_version

    return published_version(connection, name) if "/" in name else current_version(connection, name)
