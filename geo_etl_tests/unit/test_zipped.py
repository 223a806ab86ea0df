"""Zip archives made by hand to do harm, as a `.zip` and as a `.kmz`.

Records as in PKWARE's APPNOTE 6.3.10, 4.3: written byte by byte, for what no program writes.
"""

import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from geo_etl.errors import SourceError
from geo_etl.ingest import zipped
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.source import harmless, open_layer

KML = (
    b'<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Placemark>'
    b"<name>a</name><Point><coordinates>1,2</coordinates></Point></Placemark></kml>"
)
EXTENSIONS = ["zip", "kmz"]
REFUSED = ("its list of members has", "not a readable zip archive", "it holds nothing")
MEGABYTES = 1000
"""In kB, which is what `ru_maxrss` counts."""


@dataclass(frozen=True)
class Entry:
    """One member, and what the list of members says of it."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    size: int | None = None
    attributes: int = 0

    def local(self) -> bytes:
        return self._header(b"PK\x03\x04", b"") + self.name + self.data

    def listed(self, offset: int) -> bytes:
        rest = struct.pack("<HHHII", 0, 0, 0, self.attributes, offset)
        return self._header(b"PK\x01\x02", struct.pack("<H", 20)) + rest + self.name

    def _header(self, signature: bytes, made_by: bytes) -> bytes:
        raw = zlib.decompress(self.data, -15) if self.method == 8 else self.data
        size = len(raw) if self.size is None else self.size
        fields = (20, self.flags, self.method, 0, 0, zlib.crc32(raw), len(self.data), size)
        return signature + made_by + struct.pack("<5H3I2H", *fields, len(self.name), 0)


def end(members: int, directory: int, offset: int, comment: bytes = b"") -> bytes:
    """The end record (4.3.16)."""
    members = min(members, 65_535)
    return (
        struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, members, members, directory, offset, len(comment))
        + comment
    )


def end64(members: int, directory: int, offset: int, at: int) -> bytes:
    """The 64-bit end record and its locator (4.3.14, 4.3.15), to stand at a place."""
    record = struct.pack(
        "<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, directory, offset
    )
    return record + struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)


def pack(path: Path, entries: Sequence[Entry], tail: bytes | None = None) -> Path:
    """Write an archive; `tail` in place of the end record."""
    local, listed = b"", b""
    for entry in entries:
        listed += entry.listed(len(local))
        local += entry.local()
    if tail is None:
        tail = end(len(entries), len(listed), len(local))
    path.write_bytes(local + listed + tail)
    return path


def spec(**more: object) -> VectorSpec:
    return resolve_vector_spec([SpecLayer("test", more)])


def count(path: Path, **more: object) -> int:
    """Features that come out."""
    with harmless(path) as readable:
        layer = open_layer(readable, path.name, spec(**more))
        return sum(batch.num_rows for batch in layer.batches())


def refusal(path: Path, **more: object) -> str:
    with pytest.raises(SourceError) as caught:
        count(path, **more)
    return str(caught.value)


@pytest.fixture(params=EXTENSIONS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"a.{request.param}"


DOC = Entry(b"doc.kml", KML)


def test_an_archive_as_it_should_be_is_read(path: Path) -> None:
    assert count(pack(path, [DOC, Entry(b"photo.jpg", b"x")])) == 1


def swollen(path: Path, tail_of: str) -> Path:
    """A list of 1,000,000 members, with its size where one kind of reader looks for it."""
    local = DOC.local()
    listed = DOC.listed(0) + Entry(b"x.jpg", b"").listed(0) * 1_000_000
    size, offset = len(listed), len(local)
    tails = {
        "end": end(1, size, offset),
        "comment": end(1, size, offset, b"a comment"),
        "zip64": end64(1, size, offset, offset + size) + end(1, 0xFFFFFFFF, 0xFFFFFFFF),
        # The plain record has a harmless size, and readers take the other all the same.
        "zip64 unannounced": end64(1, size, offset, offset + size) + end(1, 53, offset),
        # What looks like an end record stands in the fields of the last one.
        "signature within": struct.pack(
            "<4s4H2IH", b"PK\5\6", 0, 0, 0x4B50, 0x0605, size, offset, 0
        ),
        "signature in comment": end(1, size, offset, b"PK\5\6" + bytes(21)),
    }
    path.write_bytes(local + listed + tails[tail_of])
    return path


@pytest.mark.parametrize(
    "tail",
    ["end", "comment", "zip64", "zip64 unannounced", "signature within", "signature in comment"],
)
def test_a_million_members_are_refused_at_once(path: Path, tail: str) -> None:
    swollen(path, tail)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    said = refusal(path)
    assert any(said_so in said for said_so in REFUSED)
    assert time.monotonic() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * MEGABYTES


def test_the_longest_list_of_members_that_is_read_fits_into_memory(path: Path) -> None:
    number = zipped.MAX_DIRECTORY_BYTES // 60
    entries = [Entry(b"%013d" % n, b"") for n in range(number)]
    local = DOC.local()
    listed = [DOC.listed(0)]
    offset = len(local)
    parts = [local]
    for entry in entries:
        listed.append(entry.listed(offset))
        parts.append(entry.local())
        offset += len(parts[-1])
    directory = b"".join(listed)
    tail = end64(number + 1, len(directory), offset, offset + len(directory))
    path.write_bytes(b"".join(parts) + directory + tail + end(number + 1, 0xFFFFFFFF, 0xFFFFFFFF))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    assert count(path) == 1
    assert time.monotonic() - began < 120
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * MEGABYTES


def test_entries_that_share_their_bytes_are_refused(path: Path) -> None:
    """One member's bytes listed a thousand times: a gigabyte in 60 kB."""
    inner = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = inner.compress(bytes(1_000_000)) + inner.flush()
    local = DOC.local()
    bomb = Entry(b"m0000.shp", data, method=8)
    listed = DOC.listed(0) + b"".join(
        replace(bomb, name=b"m%04d.shp" % n).listed(len(local)) for n in range(1000)
    )
    body = local + bomb.local()
    path.write_bytes(body + listed + end(1001, len(listed), len(body)))
    assert "entries of the archive overlap" in refusal(path)


def test_a_member_that_reaches_into_the_list_of_members_is_refused(path: Path) -> None:
    local = DOC.local()
    listed = replace(DOC, data=KML + bytes(30)).listed(0)
    path.write_bytes(local + listed + end(1, len(listed), len(local)))
    assert "entries of the archive overlap, or lie outside it" in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        b"../doc.kml",
        b"a/../../doc.kml",
        b"/etc/doc.kml",
        b"..\\doc.kml",
        b"\\doc.kml",
        b"\\\\server\\doc.kml",
        b"C:\\doc.kml",
        b"c:doc.kml",
        b"../doc.kml\0.jpg",
    ],
)
def test_names_that_lead_elsewhere_are_refused(path: Path, name: bytes) -> None:
    assert "leads outside it" in refusal(pack(path, [DOC, Entry(name, KML)]))


def test_messages_have_no_control_characters_of_names(path: Path) -> None:
    said = refusal(pack(path, [Entry(b"a\nb\x1b[31m.jpg", b"x")]))
    assert "a\ufffdb\ufffd[31m.jpg" in said
    assert said.isprintable()


def test_a_name_ends_at_a_nul(path: Path) -> None:
    assert "doc.kml.jpg" not in refusal(pack(path, [Entry(b"doc.txt\0.kml", KML)]))


def test_a_link_is_refused(path: Path) -> None:
    link = Entry(b"other.kml", b"/etc/passwd", attributes=0o120777 << 16)
    assert "'other.kml' in the archive is a link" in refusal(pack(path, [DOC, link]))


def test_two_members_of_one_name_are_refused(path: Path) -> None:
    assert "holds 'doc.kml' twice" in refusal(pack(path, [DOC, Entry(b"doc.kml", b"x")]))


def test_an_encrypted_member_is_refused(path: Path) -> None:
    assert "the archive is encrypted" in refusal(pack(path, [replace(DOC, flags=1)]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9, 93, 99])
def test_compression_that_can_not_be_bounded_is_refused(path: Path, method: int) -> None:
    said = refusal(pack(path, [replace(DOC, method=method)]))
    assert f"'doc.kml' is compressed by method {method}" in said


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def test_what_unpacks_to_more_than_the_limit_is_refused(path: Path) -> None:
    bomb = Entry(b"doc.kml", deflated(KML + b" " * 50_000_000), method=8)
    said = refusal(pack(path, [bomb]), limits={"max_file_size_gb": 0.01})
    assert "limit is 0.01 GB" in said


@pytest.mark.parametrize("declared", [len(KML), 2**32 - 2])
def test_a_size_that_is_declared_falsely_is_not_relied_upon(path: Path, declared: int) -> None:
    """What comes out is cut off at the smaller one, and does not agree with its checksum."""
    bomb = Entry(b"doc.kml", deflated(KML + b" " * 50_000_000), method=8, size=declared)
    pack(path, [bomb])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = refusal(path, limits={"max_file_size_gb": 0.01})
    assert "archive is damaged at 'doc.kml'" in said or "limit is 0.01 GB" in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * MEGABYTES


def test_what_has_no_room_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    assert "'doc.kml' unpacks to" in refusal(pack(tmp_path / "a.zip", [DOC]))
