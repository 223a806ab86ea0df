"""When the data of a raster is from, by the tags of its file."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import rasterio


class Acquired(NamedTuple):
    """The time of the data of a raster.

    Attributes:
        start: ISO 8601 with an offset from UTC.
        tag: that it is from.
        assumed: what was assumed, in words.
        end: likewise; None where there is one time alone.
    """

    start: str
    tag: str
    assumed: list[str]
    end: str | None = None


_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_SINCE = re.compile(r"^(second|minute|hour|day)s? since (.+)$", re.IGNORECASE)
_CALENDARS = {"", "standard", "gregorian", "proleptic_gregorian"}


def acquired(dataset: rasterio.DatasetReader) -> Acquired | None:
    """When the data is from; None when no tag says so.

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
        if known and tag == "time_coverage_start":
            return _until(known, _read(tags.get("NC_GLOBAL#time_coverage_end")))
        if known:
            return known
    return None


def _answer(time: datetime | None, tag: str) -> Acquired | None:
    if time is None:
        return None
    assumed = []
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
        assumed.append(f"{tag} has no time zone; it is taken for UTC.")
    if not _EARLIEST <= time <= datetime.now(UTC) + timedelta(days=1):
        return None
    return Acquired(_written(time), tag, assumed)


def _until(known: Acquired, end: datetime | None) -> Acquired:
    """With an end, if there is one after the start."""
    if end is None:
        return known
    if end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    is_later = end > datetime.fromisoformat(known.start)
    return known._replace(end=_written(end)) if is_later else known


def _written(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _read(text: str | None) -> datetime | None:
    if text is None:
        return None
    # TIFF and EXIF write the date with colons.
    plain = re.sub(r"^(\d{4}):(\d{2}):(\d{2})", r"\1-\2-\3", text.strip().strip("\0"))
    try:
        return datetime.fromisoformat(plain)
    except ValueError:
        return None


def _of_dimension(tags: Mapping[str, str]) -> Acquired | None:
    """The first and the last time of a NetCDF's dimension `time`."""
    since = _SINCE.match(tags.get("time#units", "").strip())
    values = tags.get("NETCDF_DIM_time_VALUES", "").strip("{}").split(",")
    if not since or not values[0] or tags.get("time#calendar", "").lower() not in _CALENDARS:
        return None
    # "1970-1-1 0:0:0.0 UTC" and the like: only what ISO 8601 knows is read.
    start = _read(re.sub(r"( UTC|Z)$", "+00:00", since.group(2).strip()))
    if start is None:
        return None
    try:
        unit = _UNITS[since.group(1).lower()]
        times = [start + timedelta(seconds=float(value) * unit) for value in values]
    except (ValueError, OverflowError):
        return None
    known = _answer(min(times), "time")
    return _until(known, max(times)) if known else None
