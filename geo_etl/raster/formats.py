"""Which raster formats geo_etl reads, and how each is proven by its first bytes."""

import re
from dataclasses import dataclass
from pathlib import Path

from geo_etl.errors import SourceError
from geo_etl.ingest.kinds import RASTER_EXTENSIONS, extension_of
from geo_etl.ingest.refusals import text_is_not

ARCHIVE = "zip"


@dataclass(frozen=True)
class Format:
    """One raster format.

    Attributes:
        called: what its content is, for messages.
        driver: GDAL's only one that may open it.
        signatures: how its files begin; none: its driver looks at size and name.
        threads: whether handles of one file can be read side by side with a gain.
    """

    called: str
    driver: str
    extensions: tuple[str, ...]
    signatures: tuple[bytes, ...]
    threads: bool = False


FORMATS: tuple[Format, ...] = (
    # TIFF 6.0, section 2; BigTIFF (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
    Format(
        "a TIFF", "GTiff", ("tif", "tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), threads=True
    ),
    # ISO/IEC 15444-1, annex I.5.1: the signature box; annex A: SOC and SIZ of a bare codestream.
    Format(
        "a JPEG 2000",
        "JP2OpenJPEG",
        ("jp2",),
        (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    ),
    Format("a PNG", "PNG", ("png",), (b"\x89PNG\r\n\x1a\n",)),
    Format("a JPEG", "JPEG", ("jpg", "jpeg"), (b"\xff\xd8\xff",)),
    Format("an Erdas Imagine file", "HFA", ("img",), (b"EHFA_HEADER_TAG\0",), threads=True),
    # NetCDF classic, 64-bit offset and 64-bit data; HDF5, format specification, II.A.
    Format(
        "a NetCDF", "netCDF", ("nc",), (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n")
    ),
    Format("an SRTM tile", "SRTMHGT", ("hgt",), ()),
)
_CORNER = re.compile(r"[NS]\d{2}[EW]\d{3}", re.IGNORECASE)


def format_of(name: str, extension: str | None = None) -> Format:
    """The format that a name promises (or the spec's `file_extension`).

    Raises:
        SourceError: no format has this extension.
    """
    wanted = extension or extension_of(name)
    for format_ in FORMATS:
        if wanted in format_.extensions:
            return format_
    raise SourceError(
        name,
        f"'{wanted}' is no raster format that geo_etl reads",
        f"Deliver one of: {', '.join(RASTER_EXTENSIONS)}; or, when the name misleads, set "
        "file_extension in the spec.",
    )


def check_signature(path: Path, name: str, format_: Format) -> None:
    """Refuse a file that does not begin as its format does.

    Raises:
        SourceError: it is empty, or something else.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise SourceError(name, "it is empty (0 bytes)", "Deliver the file again.")
    if format_.signatures and not start.startswith(format_.signatures):
        raise text_is_not(name, format_.called)


def staged_name(name: str, path: Path, format_: Format) -> str:
    """What a file is called where GDAL sees it: nothing that means anything to GDAL.

    The name of an SRTM tile says where it is.

    Raises:
        SourceError: the name of an SRTM tile does not.
    """
    if format_.driver != "SRTMHGT":
        return f"source.{format_.extensions[0]}"
    for candidate in (path.name, name.rpartition("/")[2]):
        corner = _CORNER.match(candidate)
        if corner:
            return f"{corner.group().upper()}.hgt"
    raise SourceError(
        name,
        "its name does not say where the SRTM tile is",
        "Name it by its south-west corner, for instance N46E007.hgt.",
    )
