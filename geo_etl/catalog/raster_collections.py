"""The STAC collections of published rasters: the open one, sets of tiles, folders of many."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pystac
from pystac.extensions.projection import ProjectionExtension

from geo_etl.catalog.footprints import union_of_boxes
from geo_etl.catalog.lineage import BBox, add_file, description_of, moment
from geo_etl.catalog.links import linked
from geo_etl.catalog.rasters import RASTERS, ROLES, SSYS, TITLES
from geo_etl.catalog.renders import RENDERS
from geo_etl.spec import Metadata
from geo_etl.spec.raster import TIERS

WORLD: BBox = (-180.0, -90.0, 180.0, 90.0)
VRT_TYPE = "application/xml"
SUMMARIZED = {
    "proj:code": ProjectionExtension.get_schema_uri(),
    "geo_etl:data_kind": None,
    "ssys:targets": SSYS,
}
"""What of items is summarized, with the extension that it is of."""
BAND_FIELDS = ("name", "data_type", "nodata", "unit")
"""What of a band is alike in all items, unlike its statistics."""

Document = Mapping[str, Any]


@dataclass(frozen=True)
class CollectionFile:
    """A file of a whole collection.

    Attributes:
        size: in bytes.
        sha256: hexadecimal.
    """

    key: str
    href: str
    title: str
    media_type: str
    roles: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class CollectionFacts:
    """What is said about a set of tiles, or of a folder of rasters.

    Attributes:
        source: blob of a set of tiles, `container/folder` of many rasters.
        items: all items that are in it after the publish, as documents.
        about: what the spec says of the dataset.
        fingerprint: SHA-256 of the source of a set, hexadecimal.
        files: of the whole collection, for instance its mosaic.
        search_id: of the pgSTAC search that is its mosaic.
        tiles_url: root of titiler-pgstac, when a server is configured.
    """

    collection_id: str
    source: str
    items: Sequence[Document]
    job_id: str
    created: datetime
    about: Metadata = field(default_factory=Metadata)
    fingerprint: str | None = None
    files: Sequence[CollectionFile] = ()
    search_id: str | None = None
    tiles_url: str | None = None


def archive_file(href: str, size: int, sha256: str) -> CollectionFile:
    """The archive COG of a raster whose other tiers are tiles."""
    roles, kind = tuple(ROLES["archive"]), pystac.MediaType.COG.value
    return CollectionFile("archive", href, TITLES["archive"], kind, roles, size, sha256)


def mosaic_file(href: str) -> CollectionFile:
    """The VRT that shows all items as one raster."""
    title = "All of it as one raster, for GDAL"
    return CollectionFile("mosaic", href, title, VRT_TYPE, ("data", "virtual"))


def thumbnail_file(href: str) -> CollectionFile:
    """A PNG of at most 512 pixels."""
    return CollectionFile("thumbnail", href, "Preview", pystac.MediaType.PNG.value, ("thumbnail",))


def open_raster_collection(collection_id: str) -> dict[str, Any]:
    """A collection that single rasters of any place and time go into."""
    return pystac.Collection(
        id=collection_id,
        title="Rasters" if collection_id == RASTERS else collection_id,
        description="Rasters that geo_etl published as Cloud-Optimized GeoTIFFs, an item a raster.",
        extent=_extent(WORLD, [None, None]),
        license="other",
    ).to_dict(include_self_link=False)


def raster_collection(facts: CollectionFacts) -> dict[str, Any]:
    """The collection of a set of tiles or of a folder.

    Its extent and summaries are those of its items, so it is made anew when one is added,
    changed or removed. Without items its extent is the whole world, at any time.
    """
    items = facts.items
    bbox = union_of_boxes(tuple(item["bbox"]) for item in items) or WORLD
    collection = pystac.Collection(
        id=facts.collection_id,
        title=facts.about.title or facts.collection_id,
        description=facts.about.description
        or f"Cloud-Optimized GeoTIFFs that geo_etl made of {facts.source}.",
        extent=_extent(bbox, _interval(items)),
        license=facts.about.license or "other",
    )
    if facts.about.provider:
        collection.extra_fields["providers"] = description_of(facts.about)["providers"]
    collection.extra_fields.update(_own_fields(facts))
    collection.item_assets = _item_assets(items)
    summaries = summaries_of(items)
    collection.summaries = pystac.Summaries(summaries)
    summarized = [uri for key, uri in SUMMARIZED.items() if uri is not None and key in summaries]
    collection.stac_extensions = summarized
    for file in facts.files:
        asset = pystac.Asset(file.href, file.title, None, file.media_type, list(file.roles))
        collection.add_asset(file.key, asset)
        if file.size is not None:
            add_file(asset, file.size, file.sha256)
    render = common_render(items)
    if render is not None:
        collection.stac_extensions.append(RENDERS)
        collection.extra_fields["renders"] = {"default": render}
    return linked(collection.to_dict(include_self_link=False), None, facts.tiles_url)


def _extent(bbox: BBox, interval: list[datetime | None]) -> pystac.Extent:
    return pystac.Extent(pystac.SpatialExtent([list(bbox)]), pystac.TemporalExtent([interval]))


def _interval(items: Sequence[Document]) -> list[datetime | None]:
    times = [item["properties"] for item in items]
    moments = [
        datetime.fromisoformat(time.get(key, time["datetime"]))
        for time in times
        for key in ("start_datetime", "end_datetime")
    ]
    return [min(moments), max(moments)] if moments else [None, None]


def _own_fields(facts: CollectionFacts) -> dict[str, Any]:
    said: dict[str, Any] = {
        "created": moment(facts.created),
        "geo_etl:source": facts.source,
        "geo_etl:source_sha256": facts.fingerprint,
        "geo_etl:job_id": facts.job_id,
        "geo_etl:items": len(facts.items),
        "geo_etl:search_id": facts.search_id,
    }
    return {key: value for key, value in said.items() if value is not None}


def _item_assets(
    items: Sequence[Document],
) -> dict[str, pystac.ItemAssetDefinition | dict[str, Any]]:
    """The tiers that items have. Without their bands, which differ by statistics."""
    there = {key for item in items for key in item["assets"]}
    return {
        tier: pystac.ItemAssetDefinition.create(
            TITLES[tier], None, pystac.MediaType.COG, ROLES[tier]
        )
        for tier in TIERS
        if tier in there
    }


def summaries_of(items: Sequence[Document]) -> dict[str, Any]:
    """What the items of a collection have between them, as STAC's summaries."""
    found: dict[str, Any] = {}
    sizes = [item["properties"]["gsd"] for item in items]
    if sizes:
        found["gsd"] = pystac.RangeSummary(min(sizes), max(sizes))
    for key in SUMMARIZED:
        values = {str(value) for item in items for value in _values(item["properties"].get(key))}
        if values:
            found[key] = sorted(values)
    bands = _distinct(
        {key: band[key] for key in BAND_FIELDS if key in band}
        for item in items
        for asset in item["assets"].values()
        for band in asset.get("bands", ())
    )
    if bands:
        found["bands"] = bands
    return found


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _distinct(documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once, in the order of their first time."""
    return list({repr(document): document for document in documents}.values())


def _class_colours(render: Mapping[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
    return [(value, tuple(colour)) for value, colour in render.get("colormap", {}).items()]


def common_render(items: Sequence[Document]) -> dict[str, Any] | None:
    """One way to show all items: ranges of values and colours of classes that hold those of each.

    Returns:
        None when items show other bands, or in other colours, than their neighbours.
    """
    renders = [item["properties"].get("renders", {}).get("default") for item in items]
    if not renders or any(render is None for render in renders):
        return None
    ranges = [render.get("rescale") for render in renders]
    plain = [{**render, "rescale": None, "colormap": None} for render in renders]
    lengths = {None if one is None else len(one) for one in ranges}
    colours = {pair for render in renders for pair in _class_colours(render)}
    is_clear = len({value for value, _ in colours}) == len(colours)
    if any(one != plain[0] for one in plain) or len(lengths) > 1 or not is_clear:
        return None
    common = {key: v for key, v in renders[0].items() if key not in ("rescale", "colormap")}
    if colours:
        common["colormap"] = {value: list(colour) for value, colour in sorted(colours)}
    if ranges[0] is not None:
        common["rescale"] = [
            [min(low for low, _ in band), max(high for _, high in band)]
            for band in zip(*ranges, strict=True)
        ]
    return common
