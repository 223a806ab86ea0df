"""Where GDAL sees a source: a folder that holds nothing but it and what belongs to it.

GDAL looks for files beside a raster by their names, and follows what some of them say: a mask file
may be a VRT, an `.aux.xml` may name other files. So the source and its siblings get names that mean
nothing, each sibling is proven, and of an `.aux.xml` only what is plain data is taken over.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

from pyproj import CRS
from pyproj.exceptions import CRSError

from geo_etl.errors import SourceError
from geo_etl.ingest.kinds import extension_of
from geo_etl.ingest.refusals import check_size, damaged
from geo_etl.ingest.scratch import scratch_folder
from geo_etl.ingest.siblings import group, group_of, world_files
from geo_etl.ingest.zipped import SIGNATURES, Member, open_zip
from geo_etl.raster.formats import ARCHIVE, FORMATS, Format, check_signature, format_of, staged_name
from geo_etl.spec import RasterSpec

MAX_TEXT_BYTES = 10_000_000
"""Of an `.aux.xml`, `.prj` or world file."""
MAX_DEPTH = 20
"""Of an `.aux.xml`."""
_MASK_SIGNATURES = FORMATS[0].signatures
_DATASET_PARTS = frozenset(("SRS", "GeoTransform", "GCPList", "Metadata"))
_BAND_PARTS = frozenset(
    "Description UnitType Offset Scale ColorInterp ColorTable NoDataValue Metadata".split()
)
_DOMAINS = frozenset((None, "", "IMAGE_STRUCTURE", "RPC", "IMAGERY"))
"""Domains of metadata that are plain data; others name files (OVERVIEWS, GEOLOCATION)."""


@dataclass(frozen=True)
class Staged:
    """A source as GDAL may see it.

    Attributes:
        path: of the main file.
        size: of the source in bytes, unpacked.
        projection: WKT of a `.prj` beside it.
        mask: a GeoTIFF beside it that is its mask.
    """

    path: Path
    format: Format
    size: int
    projection: str | None
    mask: Path | None

    def declare(self, wkt: str) -> None:
        """Have GDAL take this for the CRS of the file."""
        target = self.path.with_name(f"{self.path.name}.aux.xml")
        root = Xml.parse(target).getroot() if target.exists() else Xml.Element("PAMDataset")  # noqa: S314 - written by us
        for old in root.findall("SRS"):
            root.remove(old)
        Xml.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = wkt
        target.write_bytes(Xml.tostring(root))


@contextmanager
def staged(path: Path, name: str, spec: RasterSpec) -> Iterator[Staged]:
    """A folder with a source, for as long as it is used; an archive is unpacked into it.

    Args:
        path: the local file, its siblings beside it.
        name: what to call it in messages.

    Raises:
        SourceError: not what its name says, too large, or a sibling that is not what it should be.
    """
    with scratch_folder() as folder:
        if (spec.file_extension or extension_of(name)) == ARCHIVE:
            inside = folder / "archive"
            inside.mkdir()
            main, parts, inner = _unpack(path, name, spec, inside)
            yield _stage(main, parts, name, inner, format_of(inner), spec, folder)
        else:
            format_ = format_of(name, spec.file_extension)
            parts = group_of(path)
            yield _stage(path, parts, name, path.name, format_, spec, folder)


def _stage(
    path: Path,
    parts: Mapping[str, Path],
    name: str,
    file_name: str,
    format_: Format,
    spec: RasterSpec,
    folder: Path,
) -> Staged:
    size = path.stat().st_size
    check_signature(path, name, format_)
    check_size(name, size, spec)
    target = folder / staged_name(name, Path(file_name), format_)
    target.symlink_to(path.absolute())
    role = extension_of(path.name) or format_.extensions[0]
    for world in world_files(role):
        if world in parts:
            _text(parts[world], name)
            target.with_suffix(".wld").symlink_to(parts[world].absolute())
            break
    mask = _stage_mask(parts[f"{role}.msk"], name, target) if f"{role}.msk" in parts else None
    if f"{role}.aux.xml" in parts:
        plain = _plain(_xml(parts[f"{role}.aux.xml"], name))
        target.with_name(f"{target.name}.aux.xml").write_bytes(Xml.tostring(plain))
    projection = _projection(parts["prj"], name) if "prj" in parts else None
    return Staged(target, format_, size, projection, mask)


def _unpack(
    path: Path, name: str, spec: RasterSpec, folder: Path
) -> tuple[Path, dict[str, Path], str]:
    """The one raster of an archive with its siblings, and what the raster is called there."""
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise SourceError(name, "it is empty (0 bytes)", "Deliver the file again.")
    if start not in SIGNATURES:
        raise damaged(name, "it is not a zip archive, whatever its name says")
    with open_zip(path, name) as archive:
        main = _only_raster(archive.members, name)
        members = group(main.path, ((member.path, member) for member in archive.members))
        parts = {}
        # Named by role alone: what an archive calls its members is no path of ours.
        for role, member in members.items():
            parts[role] = folder / f"source.{role}"
            archive.extract(member, parts[role], spec)
    return next(iter(parts.values())), parts, main.file_name


def _only_raster(members: Sequence[Member], name: str) -> Member:
    known = {extension for format_ in FORMATS for extension in format_.extensions}
    found = [member for member in members if member.extension in known]
    pictures = [member for member in found if member.extension in {"png", "jpg", "jpeg"}]
    data = [member for member in found if member not in pictures]
    # A picture beside one raster is its preview.
    found = data if len(data) == 1 else found
    if not found:
        raise SourceError(
            name,
            "the archive holds no raster",
            f"Deliver one of: {', '.join(sorted(known))} in it.",
        )
    if len(found) > 1:
        listed = ", ".join(f"'{member.path}'" for member in found[:10])
        raise SourceError(
            name,
            f"the archive holds {len(found)} rasters: {listed}",
            "Deliver them apart: a folder of them can be one collection.",
        )
    return found[0]


def _stage_mask(path: Path, name: str, target: Path) -> Path:
    with path.open("rb") as file:
        start = file.read(4)
    if not start.startswith(_MASK_SIGNATURES):
        raise SourceError(
            name, f"its mask '{path.name}' is no GeoTIFF", "Deliver it as GDAL writes it (.msk)."
        )
    staged_mask = target.with_name(f"{target.name}.msk")
    staged_mask.symlink_to(path.absolute())
    return staged_mask


def _text(path: Path, name: str) -> str:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise damaged(name, f"'{path.name}' beside it is far too large")
    return path.read_text(encoding="utf-8", errors="replace")


def _projection(path: Path, name: str) -> str | None:
    """WKT of a `.prj`, which may be ESRI's dialect."""
    text = _text(path, name).strip().lstrip("\ufeff")
    if not text:
        return None
    try:
        return CRS.from_wkt(text).to_wkt()
    except CRSError:
        raise SourceError(
            name,
            f"'{path.name}' beside it holds no CRS that PROJ understands",
            "Correct it, or set source_crs.",
        ) from None


class _Shallow(Xml.TreeBuilder):
    """Builds a tree that is no deeper than GDAL's own, without entities."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Xml.Element:
        """See `TreeBuilder.start`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Xml.Element:
        """See `TreeBuilder.end`."""
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *_: str | None) -> None:
        """Called for a document type, in which entities are declared."""
        raise ValueError("it declares a document type, which GDAL never writes")


def _xml(path: Path, name: str) -> Xml.Element:
    text = _text(path, name).lstrip("\ufeff")
    try:
        return Xml.fromstring(text, Xml.XMLParser(target=_Shallow()))  # noqa: S314 - no entities
    except (Xml.ParseError, ValueError) as error:
        raise SourceError(
            name,
            f"'{path.name}' beside it can't be read ({error})",
            "Remove it, or have GDAL write it anew.",
        ) from None


def _plain(root: Xml.Element) -> Xml.Element:
    """What of a PAM document is plain data (https://gdal.org/drivers/raster/pam.html)."""
    kept = Xml.Element("PAMDataset")
    for part in root:
        if part.tag == "PAMRasterBand":
            band = Xml.SubElement(kept, part.tag, part.attrib)
            band.extend(one for one in part if one.tag in _BAND_PARTS and _is_plain(one))
        elif part.tag in _DATASET_PARTS and _is_plain(part):
            kept.append(part)
    return kept


def _is_plain(part: Xml.Element) -> bool:
    return part.tag != "Metadata" or part.get("domain") in _DOMAINS
