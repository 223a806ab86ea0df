"""`/files`: blobs over HTTP, asked for as clients do, and as attackers do."""

import http.client
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.stack import files

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def put(bronze: Path, unique: str, site: str) -> Callable[..., str]:
    """Write a blob below a folder of the test's own; its address on the site."""

    def write(name: str = "a.bin", content: bytes = CONTENT) -> str:
        path = bronze / unique / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"{site}/files/bronze/{unique}/{quote(name)}"

    return write


def test_a_blob_comes_whole_with_what_a_client_needs_to_ask_for_parts(put: Any) -> None:
    answer = httpx.get(put())

    assert answer.content == CONTENT
    assert answer.status_code == 200
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == "1024"
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["cache-control"] == "no-cache"


def test_a_head_says_the_same_without_the_content(put: Any) -> None:
    url = put()
    whole, head = httpx.get(url), httpx.head(url)

    assert head.content == b""
    assert {k: v for k, v in head.headers.items() if k != "date"} == {
        k: v for k, v in whole.headers.items() if k != "date"
    }


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, 1024),
        ("bytes=1000-5000", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-5000", 0, 1024),
    ],
)
def test_a_range_gives_these_bytes(asked: str, start: int, end: int, put: Any) -> None:
    answer = httpx.get(put(), headers={"range": asked})

    assert answer.status_code == 206
    assert answer.content == CONTENT[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1024"


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=1024-2000", "bytes=9-3", "bytes=-0"])
def test_a_range_that_is_not_there_is_refused(asked: str, put: Any) -> None:
    answer = httpx.get(put(), headers={"range": asked})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */1024"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "bytes=-", "lines=1-2", "bytes=a-b", "bytes=٣-"]
)
def test_what_is_no_single_range_gives_all(asked: str, put: Any) -> None:
    answer = httpx.get(put(), headers={"range": asked.encode()})

    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_an_empty_blob_is_served(put: Any) -> None:
    url = put(content=b"")

    assert (httpx.get(url).status_code, httpx.get(url).content) == (200, b"")
    assert httpx.get(url, headers={"range": "bytes=0-"}).status_code == 416


def test_a_blob_that_is_known_is_not_sent_again(put: Any) -> None:
    url = put()
    etag = httpx.get(url).headers["etag"]

    for tags in (etag, f'"other", W/{etag}', "*"):
        again = httpx.get(url, headers={"if-none-match": tags})
        assert (again.status_code, again.content) == (304, b"")
    put(content=b"new")
    assert httpx.get(url, headers={"if-none-match": etag}).content == b"new"


def test_a_range_of_another_version_gives_all_of_this_one(put: Any) -> None:
    url = put()
    etag = httpx.get(url).headers["etag"]
    same = httpx.get(url, headers={"range": "bytes=0-3", "if-range": etag})
    put(content=b"another one")
    other = httpx.get(url, headers={"range": "bytes=0-3", "if-range": etag})

    assert (same.status_code, same.content) == (206, CONTENT[:4])
    assert (other.status_code, other.content) == (200, b"another one")


@pytest.mark.parametrize(
    "name",
    ["with space.tif", "Müll/ü.tif", "100%.tif", "%41.tif", "a#b?c&d.tif", "日本.tif", "a+b"],
)
def test_any_name_is_found(name: str, put: Any) -> None:
    assert httpx.get(put(name, name.encode())).content == name.encode()


def raw(url: str, path: str) -> tuple[int, bytes]:
    """Status and content of a path that no client tidies up first."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.putrequest("GET", path, skip_host=False)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


@pytest.mark.parametrize(
    "path",
    [
        "/files/bronze/../serve.json",
        "/files/bronze/%2e%2e/%2e%2e/pg.json",
        "/files/bronze/..%2f..%2fpg.json",
        "/files/%2e%2e/pg.json",
        "/files/..%2fpg.json",
        "/files/bronze//etc/passwd",
        "/files/bronze/%2fetc%2fpasswd",
        "/files/bronze/a%00b",
        "/files/bronze/.",
        "/files/bronze/",
        "/files/.meta/bronze/a.json",
        "/files/work/secret",
        "/files/%77ork/secret",
        "/files/$logs/secret",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
    ],
)
def test_nothing_beside_the_containers_is_served(path: str, site: str, stack: Any) -> None:
    (stack.home / "blobs" / "work" / "secret").write_text("secret")
    (stack.home / "blobs" / ".meta" / "bronze").mkdir(parents=True, exist_ok=True)
    (stack.home / "blobs" / ".meta" / "bronze" / "a.json").write_text("secret")

    status, content = raw(site, path)

    assert status == 404
    assert b"secret" not in content
    assert str(stack.home).encode() not in content


def test_a_missing_blob_and_container_are_told(site: str) -> None:
    assert "no such blob" in httpx.get(f"{site}/files/bronze/nothing.tif").json()["detail"]
    assert httpx.get(f"{site}/files/nowhere/nothing.tif").status_code == 404


@pytest.mark.parametrize("how", ["replaced", "overwritten"])
def test_two_versions_never_mix(
    how: str, put: Any, bronze: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "STEP_BYTES", 1_000)
    old, new = b"o" * 3_000_000, b"n" * 3_000_000
    url, path = put(content=old), bronze / unique / "a.bin"
    received = b""
    try:
        with httpx.stream("GET", url) as answer:
            for part in answer.iter_bytes(1000):
                if not received and how == "replaced":
                    (path.parent / "b").write_bytes(new)
                    (path.parent / "b").replace(path)
                elif not received:
                    path.write_bytes(new)
                received += part
        assert len(received) == len(old)
    except httpx.RemoteProtocolError:
        assert how == "overwritten"  # an answer that ends too early

    assert set(received) == {ord("o")}


def test_a_client_that_goes_lets_the_file_go(put: Any, bronze: Path, unique: str) -> None:
    url, path = put(content=b"a" * 30_000_000), bronze / unique / "a.bin"
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as client:
        client.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert client.recv(100)
        assert is_open(path)

    for _ in range(200):
        if not is_open(path):
            break
        httpx.get(f"{parts.scheme}://{parts.netloc}/healthz")
    assert not is_open(path)


def is_open(path: Path) -> bool:
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(str(Path(f"/proc/self/fd/{number}").readlink()))
        except FileNotFoundError:
            continue
    return str(path) in names


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.xml", "a.tif", "a", "a.HTM"])
def test_no_blob_runs_as_a_script_of_the_site(name: str, put: Any) -> None:
    answer = httpx.get(put(name, b"<script>alert(1)</script>"))

    policy = [part.strip() for part in answer.headers["content-security-policy"].split(";")]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_maps_of_other_sites_may_read_ranges(put: Any) -> None:
    url, origin = put(), "https://maps.example"
    before = httpx.options(
        url,
        headers={
            "origin": origin,
            "access-control-request-method": "GET",
            "access-control-request-headers": "range, if-match",
        },
    )
    answer = httpx.get(url, headers={"origin": origin, "range": "bytes=0-9"})

    assert before.status_code == 200
    assert "range" in before.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-origin"] == "*"
    exposed = {one.strip() for one in answer.headers["access-control-expose-headers"].split(",")}
    assert {"content-range", "content-length", "etag"} <= exposed


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.tif", "image/tiff; application=geotiff; profile=cloud-optimized"),
        ("a.TIF", "image/tiff; application=geotiff; profile=cloud-optimized"),
        ("a.html", "text/html; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("tif", "application/octet-stream"),
    ],
)
def test_the_type_is_told(name: str, kind: str, put: Any) -> None:
    assert httpx.head(put(name)).headers["content-type"] == kind


def test_a_local_version_is_read_as_long_as_it_is_open(tmp_path: Path) -> None:
    from geo_etl.spec import SourceRef

    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a").write_bytes(b"old")
    storage = LocalBlobs(tmp_path)
    opened = storage.open(SourceRef("c", "a"))
    with storage.write(SourceRef("c", "a")) as file:
        file.write(b"new!")

    assert (opened.read(0, 10), opened.blob.size) == (b"old", 3)
    opened.close()
