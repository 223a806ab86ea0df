"""The STAC items of rasters that are described where they lie, and the collections of such items.

Here: documents of files that geo_etl neither made nor changed. Not here: those of published rasters
(`rasters`), nor reading the files (`raster/header.py`).
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pystac
from pystac.extensions.projection import ProjectionExtension

from geo_etl.catalog.bands import nodata_value, resolution_metres, source_bands
from geo_etl.catalog.footprints import footprint_of
from geo_etl.catalog.lineage import SOURCE_TIME, add_file, collection_link, moment
from geo_etl.catalog.raster_collections import (
    common_render,
    open_raster_collection,
    summaries_of,
)
from geo_etl.catalog.rasters import EO, RASTER, add_appearance, projection
from geo_etl.catalog.renders import RENDERS, data_render
from geo_etl.errors import SpecError
from geo_etl.ingest.kinds import RASTER_EXTENSIONS, extension_of
from geo_etl.raster.header import NOTHING, Header
from geo_etl.raster.records import to_record
from geo_etl.spec import RasterSpec

ASSET = "data"
ASSET_TITLE = "The raster, as it lies in storage"
SYNCED_FROM = "geo_etl:synced_from"
ETAG = "geo_etl:etag"
BLOB = "geo_etl:blob"
DESCRIBED = "geo_etl:described_in_place"
"""On collections that were made for such items."""
GEOTIFF = "image/tiff; application=geotiff"
MEDIA_TYPES = {
    "GTiff": GEOTIFF,
    "JP2OpenJPEG": "image/jp2",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "netCDF": "application/x-netcdf",
}
"""By GDAL's driver; others have none that is registered or in common use."""
SHOWN_DRIVERS = ("GTiff", "JP2OpenJPEG")
"""Whose media types a tile server takes for rasters."""
MAX_ID = 200
HASH_DIGITS = 8
SEPARATOR = "__"
"""In an id, in place of the slash of a path."""
RESERVED = ("geo_etl:", "proj:", "file:", "raster:")
"""Beginnings of properties that tell what was found."""
DATETIME_GIVEN = "the job's configuration"
OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class ExistingFacts:
    """What is known of one raster that lies in a container.

    Attributes:
        blob: `container/path`.
        href: its address in storage.
        size: of the blob in bytes.
        etag: of the blob with all that lies beside it and belongs to it.
        modified: when the blob was last written.
        is_alone: whether the blob says where it is without what lies beside it.
        synced_from: `container/prefix` of the sync that made it; None for a single file.
        given_datetime: by a person.
        given_properties: the same.
    """

    item_id: str
    collection_id: str
    blob: str
    href: str
    size: int
    etag: str
    modified: datetime
    header: Header
    is_alone: bool = True
    synced_from: str | None = None
    given_datetime: datetime | None = None
    given_properties: Mapping[str, Any] = field(default_factory=dict)


def item_id_of(path: str) -> str:
    """The id of the item of a blob: the same for as long as the blob has its path.

    It is the path without `.tif`, its slashes as double underscores, when that can be read back as
    this path and no other. Else it is made legal and ends with a few digits of a hash of the path.
    Legal are letters and digits of ASCII, and `_.-`: STAC API servers refuse RFC 3986's reserved
    characters.
    """
    stem = path.removesuffix(".tif") if extension_of(path) == "tif" else path
    plain = stem.replace("/", SEPARATOR)
    is_plain = (
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", plain) is not None
        and plain.replace(SEPARATOR, "/") == stem
        and SEPARATOR not in stem
        and (stem == path or extension_of(stem) not in RASTER_EXTENSIONS)
    )
    if is_plain and len(plain) <= MAX_ID:
        return plain
    digest = hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:HASH_DIGITS]
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", ascii_only).strip("_.-") or "raster"
    return f"{readable[: MAX_ID - HASH_DIGITS - 1]}-{digest}"


def existing_item(facts: ExistingFacts) -> dict[str, Any]:
    """The item of one raster as it lies in storage.

    Its time is the one given; else what the raster's own tags say; else the moment that the blob
    was last written. `geo_etl:datetime_from` says which. Statistics are of what
    `geo_etl:statistics_from` says, `geo_etl:statistics_approximate` whether that is less than
    every pixel.

    Raises:
        RasterError: the pixels have no place.
        SpecError: given properties would hide what was found.
    """
    source = facts.header.facts
    when, because = _datetime(facts)
    place = footprint_of(source.footprint, source.grid, facts.blob)
    item = pystac.Item(
        id=facts.item_id,
        collection=facts.collection_id,
        geometry=place.geometry,
        bbox=list(place.bbox),
        datetime=when,
        properties={
            "title": facts.blob.partition("/")[2],
            "gsd": resolution_metres(source.grid),
            **_given(facts),
            **_found(facts, because),
        },
    )
    add_appearance(item, _render(facts), place)
    item.add_link(collection_link(facts.collection_id))
    _add_file(item, facts)
    # Texts come from files: jsonb takes neither NUL nor half a surrogate pair.
    document: dict[str, Any] = to_record(item.to_dict(include_self_link=False))
    return document


def existing_collection(
    collection_id: str, created_for: str, *, synced: bool = True
) -> dict[str, Any]:
    """A new collection of rasters that are described where they lie, without items.

    Args:
        created_for: the container, folder or blob whose rasters go into it.
    """
    what = "kept the same as" if synced else "that holds"
    return {
        **open_raster_collection(collection_id),
        "title": collection_id,
        "description": f"Rasters described where they lie, {what} {created_for}.",
        DESCRIBED: True,
        "item_assets": {ASSET: {"title": ASSET_TITLE, "roles": ["data"]}},
    }


def summarized(collection: dict[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A collection with the summaries of its items, and the way to show them all if there is one.

    Args:
        groups: parts of items, each once.
    """
    plain = {key: value for key, value in collection.items() if key not in ("summaries", "renders")}
    extensions = [uri for uri in plain.get("stac_extensions", ()) if uri != RENDERS]
    render = common_render(groups)
    if render is None:
        # Left out, it would stay in the catalogue as it was.
        return {
            **plain,
            "stac_extensions": extensions,
            "summaries": _plain_summaries(groups),
            "renders": {},
        }
    return {
        **plain,
        "stac_extensions": [*extensions, RENDERS],
        "summaries": _plain_summaries(groups),
        "renders": {"default": render},
    }


def _plain_summaries(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = pystac.Summaries(summaries_of(groups)).to_dict()
    return found


def _datetime(facts: ExistingFacts) -> tuple[datetime, str]:
    """The time of the data in UTC, and where it is from."""
    source = facts.header.facts
    if facts.given_datetime is not None:
        return facts.given_datetime.astimezone(UTC), DATETIME_GIVEN
    if source.acquired is not None:
        return datetime.fromisoformat(source.acquired).astimezone(
            UTC
        ), f"tag {source.acquired_from}"
    return facts.modified.astimezone(UTC), SOURCE_TIME


def _given(facts: ExistingFacts) -> dict[str, Any]:
    wrong = [
        key
        for key in facts.given_properties
        if key.startswith(RESERVED) or key in ("datetime", "renders", "ssys:targets")
    ]
    if wrong:
        raise SpecError(
            f"properties of {facts.blob}",
            f"'{wrong[0]}' is found out from the file, and can't be given",
            "Remove it; 'datetime' is a setting of its own.",
        )
    return dict(facts.given_properties)


def _found(facts: ExistingFacts, datetime_from: str) -> dict[str, Any]:
    header, source = facts.header, facts.header.facts
    said: dict[str, Any] = {
        BLOB: facts.blob,
        ETAG: facts.etag,
        SYNCED_FROM: facts.synced_from,
        "geo_etl:datetime_from": datetime_from,
        "geo_etl:source_format": source.driver,
        "geo_etl:source_subdataset": source.subdataset,
        "geo_etl:is_cog": source.is_cog,
        "geo_etl:data_kind": source.kind,
        "geo_etl:data_kind_because": source.kind_because,
        "geo_etl:nodata": nodata_value(source.nodata),
        "geo_etl:nodata_from": source.nodata_from,
        "geo_etl:statistics_from": None if header.sampled == NOTHING else header.sampled,
        "geo_etl:statistics_approximate": None
        if header.sampled == NOTHING
        else not header.is_exact,
        "geo_etl:warnings": [*_cog_warnings(header), *source.warnings] or None,
    }
    return {key: value for key, value in said.items() if value is not None}


def _cog_warnings(header: Header) -> list[str]:
    if header.facts.is_cog:
        return []
    return ["It is no valid COG, so it is read slowly over a network.", *header.cog_problems]


def _render(facts: ExistingFacts) -> dict[str, Any] | None:
    """How a tile server is to show it; None where it can't: it reads the blob alone."""
    source = facts.header.facts
    if not facts.is_alone or source.driver not in SHOWN_DRIVERS or not source.data_bands:
        return None
    written = [band.index for band in source.bands]
    return data_render(ASSET, written, source.dtype, source, RasterSpec(), facts.blob)


def _add_file(item: pystac.Item, facts: ExistingFacts) -> None:
    header, source = facts.header, facts.header.facts
    kind = MEDIA_TYPES.get(source.driver, OCTETS)
    roles = ["data"]
    if source.is_cog:
        kind, roles = pystac.MediaType.COG, ["data", "cloud-optimized"]
    asset = pystac.Asset(facts.href, ASSET_TITLE, None, kind, roles)
    item.stac_extensions.append(RASTER)
    ProjectionExtension.add_to(item)
    item.properties.update(projection(source.grid))
    item.add_asset(ASSET, asset)
    add_file(asset, facts.size, None)
    asset.extra_fields["updated"] = moment(facts.modified.astimezone(UTC))
    asset.extra_fields["bands"] = source_bands(source, header.sampled_pixels)
    if source.compression:
        asset.extra_fields["geo_etl:compression"] = source.compression
    if any("eo:common_name" in band for band in asset.extra_fields["bands"]):
        item.stac_extensions.append(EO)
