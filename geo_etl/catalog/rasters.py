"""The STAC items of published rasters: single ones, and tiles of a set."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pystac
from pyproj import CRS
from pystac.extensions.projection import ProjectionExtension

from geo_etl.catalog.bands import band_objects, nodata_value, resolution_metres
from geo_etl.catalog.footprints import Footprint, footprint_of
from geo_etl.catalog.lineage import (
    SOURCE_TIME,
    SourceBlob,
    add_file,
    add_lineage,
    add_source,
    collection_link,
    description_of,
    moment,
)
from geo_etl.catalog.links import linked
from geo_etl.catalog.renders import RENDERS, render_of
from geo_etl.raster.facts import Grid, RasterFacts
from geo_etl.raster.manifest import Made, RasterOrder
from geo_etl.spec import Tier

RASTERS = "system-rasters"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
SSYS = "https://stac-extensions.github.io/ssys/v1.1.0/schema.json"
SOURCE_TYPE = "application/octet-stream"
"""Of the source: a tile server takes assets of its own types, or of none, for its own."""
AUTHORITY_CODE = re.compile(r"[A-Za-z0-9_]+:[A-Za-z0-9_]+")
PRIMARY: tuple[Tier, ...] = ("analysis", "archive", "visualization")
"""Whose grid is that of the item."""

TITLES: dict[Tier, str] = {
    "visualization": "To look at: 8-bit colours",
    "analysis": "To compute with: every value as it was, or as it was reprojected",
    "archive": "To keep: grid, bits and values of the source",
}
ROLES: dict[Tier, list[str]] = {
    "visualization": ["visual"],
    "analysis": ["data"],
    "archive": ["data", "archive"],
}


@dataclass(frozen=True)
class TierFile:
    """One COG and where it is.

    Attributes:
        href: its address.
        monthly_cost: of storage, in US dollars.
    """

    made: Made
    href: str
    monthly_cost: float


@dataclass(frozen=True)
class RasterItemFacts:
    """What an item says about one raster, or one tile of a set.

    Attributes:
        files: at least one.
        source_blobs: the blobs that the source is made of, its own first.
        software: name to version of the programs that made the files.
        tile: row and column in the tile grid; None for a whole raster.
        preview_href: a PNG of at most 512 pixels.
        report_href: the quality report, HTML.
        tiles_url: root of titiler-pgstac, when a server is configured.
    """

    item_id: str
    collection_id: str
    order: RasterOrder
    facts: RasterFacts
    files: Sequence[TierFile]
    created: datetime
    source_blobs: Sequence[SourceBlob] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    tile: tuple[int, int] | None = None
    preview_href: str | None = None
    report_href: str | None = None
    tiles_url: str | None = None

    @property
    def primary(self) -> Made:
        """The file whose grid stands for the item."""
        return min((file.made for file in self.files), key=lambda one: PRIMARY.index(one.tier))


def raster_item(facts: RasterItemFacts) -> dict[str, Any]:
    """The item of one raster or tile.

    Its time is what the spec says; else what the source's own tags say, from the first time to
    the last; else the moment that the source was last written. `geo_etl:datetime_from` says which.
    Of another body than the Earth, geometry and bbox are in that body's degrees, and
    `ssys:targets` names it: pgSTAC takes no item without a geometry.

    Raises:
        RasterError: the pixels have no place, or the spec asks for bands or colours that can't be.
    """
    order, spec, source = facts.order, facts.order.spec, facts.facts
    when, because = datetime_of(order, source)
    until = _until(order, source)
    place = footprint_of(facts.primary.footprint, facts.primary.grid, str(order.source))
    item = pystac.Item(
        id=facts.item_id,
        collection=facts.collection_id,
        geometry=place.geometry,
        bbox=list(place.bbox),
        datetime=when,
        start_datetime=None if until is None else when,
        end_datetime=until,
        properties={
            "title": _title(facts),
            "created": moment(facts.created),
            "gsd": resolution_metres(facts.primary.grid),
            **_own_properties(facts, because),
        },
    )
    item.properties.update(description_of(spec.metadata))
    render = render_of([one.made for one in facts.files], source, spec, str(order.source))
    add_appearance(item, render, place)
    item.add_link(collection_link(facts.collection_id))
    add_lineage(item, _lineage(facts), facts.software)
    _add_files(item, facts)
    _add_others(item, facts)
    add_source(item, facts.source_blobs, SOURCE_TYPE)
    return linked(item.to_dict(include_self_link=False), None, facts.tiles_url)


def add_appearance(item: pystac.Item, render: dict[str, Any] | None, place: Footprint) -> None:
    """Say how an item is to be shown, None for in no way, and of which body it is."""
    if render is not None:
        item.stac_extensions.append(RENDERS)
        item.properties["renders"] = {"default": render}
    if not place.on_earth:
        item.stac_extensions.append(SSYS)
        item.properties["ssys:targets"] = [place.body]


def datetime_of(order: RasterOrder, facts: RasterFacts) -> tuple[datetime, str]:
    """The time of a raster's data in UTC, and where it is from."""
    given = order.spec.datetime or order.spec.metadata.datetime
    if given is not None:
        return given.astimezone(UTC), "the spec"
    if facts.acquired is not None:
        return datetime.fromisoformat(facts.acquired).astimezone(UTC), f"tag {facts.acquired_from}"
    return order.modified, SOURCE_TIME


def _until(order: RasterOrder, facts: RasterFacts) -> datetime | None:
    """The end of the time of a raster's data, where its tags give it more than one."""
    given = order.spec.datetime or order.spec.metadata.datetime
    if given is not None or facts.acquired_until is None:
        return None
    return datetime.fromisoformat(facts.acquired_until).astimezone(UTC)


def projection(grid: Grid) -> dict[str, Any]:
    """A grid in the fields of the projection extension.

    Where the CRS has no code, `proj:code` is left out: pgSTAC drops a null.
    """
    described: dict[str, Any] = {"proj:code": grid.crs}
    if not AUTHORITY_CODE.fullmatch(grid.crs):
        described = {"proj:wkt2": CRS.from_user_input(grid.crs).to_wkt()}
    described["proj:shape"] = [grid.height, grid.width]
    described["proj:transform"] = list(grid.transform)[:6]
    described["proj:bbox"] = list(grid.bounds)
    return described


def _title(facts: RasterItemFacts) -> str:
    title = facts.order.spec.metadata.title or facts.item_id
    if facts.tile is None or title == facts.item_id:
        return title
    return f"{title}, row {facts.tile[0]}, column {facts.tile[1]}"


def _own_properties(facts: RasterItemFacts, datetime_from: str) -> dict[str, Any]:
    order, source = facts.order, facts.facts
    said: dict[str, Any] = {
        "geo_etl:source": str(order.source),
        "geo_etl:source_sha256": order.fingerprint,
        "geo_etl:source_format": source.driver,
        "geo_etl:source_subdataset": source.subdataset,
        "geo_etl:source_crs": source.grid.crs,
        "geo_etl:job_id": order.job_id,
        "geo_etl:datetime_from": datetime_from,
        "geo_etl:data_kind": source.kind,
        "geo_etl:data_kind_because": source.kind_because,
        "geo_etl:nodata": nodata_value(source.nodata),
        "geo_etl:nodata_from": source.nodata_from,
        "geo_etl:narrowed_from": _narrowed_from(facts),
        "geo_etl:valid_pixels": facts.primary.valid_pixels,
    }
    if facts.tile is not None:
        said["geo_etl:tile_row"], said["geo_etl:tile_col"] = facts.tile
    return {key: value for key, value in said.items() if value is not None}


def _narrowed_from(facts: RasterItemFacts) -> str | None:
    """Type of the source, where the values are kept in a smaller one."""
    kept = facts.primary
    is_other = kept.tier != "visualization" and kept.profile.dtype != facts.facts.dtype
    return facts.facts.dtype if is_other else None


def _lineage(facts: RasterItemFacts) -> str:
    order, steps = facts.order, []
    for file in facts.files:
        made = file.made
        how = "on the source's grid"
        if _is_warped(made.grid, facts.facts.grid):
            how = f"reprojected to {_crs_name(made.grid.crs)} ({made.profile.resampling})"
        loss = "without loss" if made.profile.lossless else f"quality {made.profile.quality}"
        steps.append(f"{made.tier}: {how}, {made.profile.compress}, {loss}")
    return (
        f"{order.source} in {_crs_name(facts.facts.grid.crs)} (SHA-256 {order.fingerprint}), by "
        f"job {order.job_id}, became Cloud-Optimized GeoTIFF. {'; '.join(steps)}."
    )


def _is_warped(grid: Grid, source: Grid) -> bool:
    """Whether a grid, or that of which it is a part, is another than the source's."""
    one, other = grid.transform, source.transform
    same = (one.a, one.b, one.d, one.e) == (other.a, other.b, other.d, other.e)
    return grid.crs != source.crs or not same


def _crs_name(crs: str) -> str:
    return crs if AUTHORITY_CODE.fullmatch(crs) else CRS.from_user_input(crs).name


def _add_files(item: pystac.Item, facts: RasterItemFacts) -> None:
    item.stac_extensions.append(RASTER)
    grids = [projection(file.made.grid) for file in facts.files]
    ProjectionExtension.add_to(item)
    # A reader takes the item's code for that of an asset that has none.
    if all("proj:code" in grid for grid in grids) or all(grid == grids[0] for grid in grids):
        item.properties.update(projection(facts.primary.grid))
    for file, grid in zip(facts.files, grids, strict=True):
        made, tier = file.made, file.made.tier
        asset = pystac.Asset(file.href, TITLES[tier], None, pystac.MediaType.COG, ROLES[tier])
        item.add_asset(tier, asset)
        add_file(asset, made.size, made.sha256)
        names = facts.order.spec.band_names
        asset.extra_fields.update(grid)
        asset.extra_fields["bands"] = band_objects(made, facts.facts, names)
        asset.extra_fields["geo_etl:compression"] = made.profile.compress
        asset.extra_fields["geo_etl:lossless"] = made.profile.lossless
        if made.proof.psnr_db is not None:
            asset.extra_fields["geo_etl:psnr_db"] = round(made.proof.psnr_db, 2)
        asset.extra_fields["geo_etl:monthly_cost_usd"] = round(file.monthly_cost, 6)
    described = [band for asset in item.assets.values() for band in asset.extra_fields["bands"]]
    if any("eo:common_name" in band for band in described):
        item.stac_extensions.append(EO)


def _add_others(item: pystac.Item, facts: RasterItemFacts) -> None:
    if facts.preview_href:
        kind = pystac.MediaType.PNG
        item.add_asset(
            "thumbnail", pystac.Asset(facts.preview_href, "Preview", None, kind, ["thumbnail"])
        )
    if facts.report_href:
        kind = pystac.MediaType.HTML
        item.add_asset(
            "quality_report",
            pystac.Asset(facts.report_href, "Quality report", None, kind, ["metadata"]),
        )
