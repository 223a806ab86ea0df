"""When the data of a raster is from, by the tags of its file."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import rasterio

_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_SINCE = re.compile(r"^(second|minute|hour|day)s? since (.+)$", re.IGNORECASE)
_CALENDARS = {"", "standard", "gregorian", "proleptic_gregorian"}


def acquired(dataset: rasterio.DatasetReader) -> tuple[str, str, list[str]] | None:
    """Time in ISO 8601 with an offset, the tag that it is from, and what was assumed.

    Looked for in this order: IMAGERY's ACQUISITIONDATETIME, the time of a NetCDF (CF conventions,
    4.4), EXIF's original time, TIFF's DateTime (TIFF 6.0, section 8), which is when a file was made
    where nothing else is known.
    """
    tags = dataset.tags()
    found = [
        ("ACQUISITIONDATETIME", dataset.tags(ns="IMAGERY").get("ACQUISITIONDATETIME")),
        ("ACQUISITIONDATETIME", tags.get("ACQUISITIONDATETIME")),
        ("time_coverage_start", tags.get("NC_GLOBAL#time_coverage_start")),
        ("EXIF_DateTimeOriginal", tags.get("EXIF_DateTimeOriginal")),
        ("TIFFTAG_DATETIME", tags.get("TIFFTAG_DATETIME")),
    ]
    for tag, text in found[:2]:
        known = _answer(_read(text), tag)
        if known:
            return known
    by_dimension = _of_dimension(tags)
    if by_dimension:
        return by_dimension
    for tag, text in found[2:]:
        known = _answer(_read(text), tag)
        if known:
            return known
    return None


def _answer(time: datetime | None, tag: str) -> tuple[str, str, list[str]] | None:
    if time is None:
        return None
    assumed = []
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
        assumed.append(f"{tag} has no time zone; it is taken for UTC.")
    if not _EARLIEST <= time <= datetime.now(UTC) + timedelta(days=1):
        return None
    return time.isoformat().replace("+00:00", "Z"), tag, assumed


def _read(text: str | None) -> datetime | None:
    if text is None:
        return None
    # TIFF and EXIF write the date with colons.
    plain = re.sub(r"^(\d{4}):(\d{2}):(\d{2})", r"\1-\2-\3", text.strip().strip("\0"))
    try:
        return datetime.fromisoformat(plain)
    except ValueError:
        return None


def _of_dimension(tags: Mapping[str, str]) -> tuple[str, str, list[str]] | None:
    """The first time of a NetCDF's dimension `time`."""
    since = _SINCE.match(tags.get("time#units", "").strip())
    values = tags.get("NETCDF_DIM_time_VALUES", "").strip("{}").split(",")
    if not since or not values[0] or tags.get("time#calendar", "").lower() not in _CALENDARS:
        return None
    # "1970-1-1 0:0:0.0 UTC" and the like: only what ISO 8601 knows is read.
    start = _read(re.sub(r"( UTC|Z)$", "+00:00", since.group(2).strip()))
    try:
        seconds = float(values[0]) * _UNITS[since.group(1).lower()]
        time = start + timedelta(seconds=seconds) if start else None
    except (ValueError, OverflowError):
        return None
    known = _answer(time, "time")
    if known and len(values) > 1:
        known[2].append(f"It has {len(values)} times; the first is taken.")
    return known
