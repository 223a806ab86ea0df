"""KMZ: a zip archive with a KML document and what it shows (OGC 07-147r2, annex C)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import check_size, text_is_not
from geo_etl.ingest.zipped import SIGNATURES, Member, open_zip
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.kml import open_document
from geo_etl.vector.formats.kml_document import ByteStream
from geo_etl.vector.formats.layer import Layer

LISTED = 5
"""How many members a message names."""


def open_kmz(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Open the main document of a KMZ archive.

    Raises:
        SourceError: no KMZ, damaged, encrypted, too large when unpacked; see also `open_kml`.
    """
    with path.open("rb") as file:
        if not file.read(4).startswith(SIGNATURES):
            raise text_is_not(name, "KMZ")
    with open_zip(path, name) as archive:
        main, *others = _documents(archive.members, name)
    check_size(name, main.entry.file_size, spec)
    remarks = []
    if others:
        listed = _listed(others) + (" and more" if len(others) > LISTED else "")
        remarks.append(
            f"Only '{main.path}' of the archive was read, not {len(others)} other documents: "
            f"{listed}."
        )
    opener = partial(_unpacked, path, name, main, spec)
    return open_document(opener, name, spec, "KMZ", path.stat().st_size, remarks)


def _documents(members: Sequence[Member], name: str) -> list[Member]:
    """The documents of an archive, the one that it is about first.

    That is doc.kml, else the first; at the root if possible.
    """
    documents = [member for member in members if member.extension == "kml"]
    if not documents:
        raise SourceError(
            name,
            f"the archive holds no .kml (it holds {_listed(members) or 'nothing'})",
            "Deliver a KMZ with its document, doc.kml.",
        )
    return sorted(
        documents,
        key=lambda member: ("/" in member.path, member.file_name.lower() != "doc.kml"),
    )


def _listed(members: Sequence[Member]) -> str:
    return ", ".join(f"'{member.path}'" for member in members[:LISTED])


@contextmanager
def _unpacked(path: Path, name: str, member: Member, spec: VectorSpec) -> Iterator[ByteStream]:
    with open_zip(path, name) as archive, archive.read(member, spec) as stream:
        yield stream
