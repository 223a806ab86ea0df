"""The contract of blob storage: one set of tests, unchanged on every implementation."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geo_etl.errors import SpecError, StorageError
from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl.resources.blob_storage import open_storage
from geo_etl.resources.blobs import Blob, BlobStorage, delete_below
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.resources.sources import resolve_spec
from geo_etl.spec import SourceRef

NAMES = [
    "two words.gpkg",
    " leading and trailing ",
    "Straße.gpkg",
    "Stra\u00dfen \u00e4.gpkg",  # composed: one character
    "Stra\u00dfen a\u0308.gpkg",  # decomposed: two
    "地図/道路.geojson",
    "дороги/улицы.zip",
    "🗺️.gpkg",
    "#1 roads.gpkg",
    "100%.zip",
    "a%20b.gpkg",
    "a%2Fb.gpkg",
    "which?.gpkg",
    "a+b.gpkg",
    "a&b=c;d.gpkg",
    'it\'s "quoted".gpkg',
    "<a>.gpkg",
    "v1.2.3.final.gpkg",
    "a..b.gpkg",
    "one/two/three/four/five/six/seven.gpkg",
]
MISSING: dict[str, Callable[[BlobStorage, SourceRef], Any]] = {
    "stat": lambda storage, ref: storage.stat(ref),
    "read": lambda storage, ref: storage.read(ref),
    "read of nothing": lambda storage, ref: storage.read(ref, 5, 0),
    "local": lambda storage, ref: storage.local(ref).__enter__(),
    "delete": lambda storage, ref: storage.delete(ref),
}
MISSING_CONTAINER: dict[str, Callable[[BlobStorage, SourceRef], Any]] = {
    **MISSING,
    "pages": lambda storage, ref: list(storage.pages(ref.container)),
    "write": lambda storage, ref: put(storage, ref, b"x"),
    "delete_below": lambda storage, ref: delete_below(storage, ref.container, ""),
}


@pytest.fixture(params=["local", pytest.param("azure", marks=pytest.mark.azure)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStorage:
    if request.param == "local":
        return LocalBlobs(tmp_path / "blobs")
    return request.getfixturevalue("azure")


@pytest.fixture
def container(storage: BlobStorage, unique: str) -> str:
    storage.create_container(unique)
    return unique


@pytest.fixture
def ref(container: str) -> SourceRef:
    return SourceRef(container, "city/roads.gpkg")


def put(storage: BlobStorage, ref: SourceRef, content: bytes, **metadata: str) -> Blob:
    with storage.write(ref, metadata or None) as file:
        file.write(content)
    return storage.stat(ref)


def paths(storage: BlobStorage, container: str, prefix: str = "") -> list[str]:
    """All listed paths, sorted."""
    return sorted(blob.ref.path for page in storage.pages(container, prefix) for blob in page)


# Containers


def test_a_new_container_is_listed(storage: BlobStorage, unique: str) -> None:
    assert unique not in storage.containers()
    storage.create_container(unique)
    assert unique in storage.containers()


def test_containers_are_listed_in_order(storage: BlobStorage, unique: str) -> None:
    for suffix in "bca":
        storage.create_container(f"{unique}{suffix}")
    ours = [name for name in storage.containers() if name.startswith(unique)]
    assert ours == [f"{unique}a", f"{unique}b", f"{unique}c"]


def test_metadata_makes_no_container(storage: BlobStorage, container: str) -> None:
    before = storage.containers()
    put(storage, SourceRef(container, "a"), b"x", crs="25832")
    assert storage.containers() == before


def test_creating_a_container_again_keeps_its_blobs(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"content")
    storage.create_container(ref.container)
    assert storage.read(ref) == b"content"


def test_a_container_can_be_created_by_several_at_once(storage: BlobStorage, unique: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(storage.create_container, [unique] * 8))
    assert unique in storage.containers()


# Listing


def test_an_empty_container_has_no_pages(storage: BlobStorage, container: str) -> None:
    assert list(storage.pages(container)) == []


def test_pages_are_full_but_for_the_last(storage: BlobStorage, container: str) -> None:
    for number in range(7):
        put(storage, SourceRef(container, f"{number % 2}/{number}"), b"x")
    assert [len(page) for page in storage.pages(container, size=3)] == [3, 3, 1]


def test_no_page_follows_a_full_last_one(storage: BlobStorage, container: str) -> None:
    for number in range(4):
        put(storage, SourceRef(container, f"{number}"), b"x")
    assert [len(page) for page in storage.pages(container, size=2)] == [2, 2]


def test_pages_hold_every_blob_once(storage: BlobStorage, container: str) -> None:
    written = sorted(f"{number % 3}/{number % 2}/{number}" for number in range(11))
    for path in written:
        put(storage, SourceRef(container, path), b"x")
    listed = [blob.ref for page in storage.pages(container, size=2) for blob in page]
    assert sorted(ref.path for ref in listed) == written
    assert {ref.container for ref in listed} == {container}


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["a/b.zip", "a/bc/d.zip", "ab/c.zip", "b.zip"]),
        ("a", ["a/b.zip", "a/bc/d.zip", "ab/c.zip"]),
        ("a/", ["a/b.zip", "a/bc/d.zip"]),
        ("a/b", ["a/b.zip", "a/bc/d.zip"]),
        ("a/bc/d.zip", ["a/bc/d.zip"]),
        ("A", []),
        ("/", []),
        ("c/d/e", []),
        ("%", []),
    ],
)
def test_listing_is_limited_to_a_prefix(
    prefix: str, expected: list[str], storage: BlobStorage, container: str
) -> None:
    for path in ("a/b.zip", "a/bc/d.zip", "ab/c.zip", "b.zip"):
        put(storage, SourceRef(container, path), b"x")
    assert paths(storage, container, prefix) == expected


def test_a_listing_tells_what_stat_tells(storage: BlobStorage, ref: SourceRef) -> None:
    told = put(storage, ref, b"content")
    assert list(storage.pages(ref.container)) == [[told]]


def test_a_listing_stays_in_its_container(
    storage: BlobStorage, container: str, unique: str
) -> None:
    storage.create_container(f"{unique}x")
    put(storage, SourceRef(f"{unique}x", "other"), b"x")
    assert paths(storage, container) == []


# Reading


def test_stat_tells_the_size_in_bytes(storage: BlobStorage, ref: SourceRef) -> None:
    assert put(storage, ref, "Straße".encode()).size == 7


def test_stat_tells_when_a_blob_was_written(storage: BlobStorage, ref: SourceRef) -> None:
    before = datetime.now(UTC)
    written = put(storage, ref, b"x").modified
    # Azure's times are whole seconds.
    assert before - timedelta(seconds=1) <= written <= datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (4, None, b"456789"),
        (0, 3, b"012"),
        (4, 3, b"456"),
        (4, 0, b""),
        (0, 10, b"0123456789"),
        (8, 5, b"89"),
        (9, 1, b"9"),
        (10, None, b""),
        (10, 1, b""),
        (99, None, b""),
        (99, 5, b""),
    ],
)
def test_a_range_is_read(
    start: int, length: int | None, expected: bytes, storage: BlobStorage, ref: SourceRef
) -> None:
    put(storage, ref, b"0123456789")
    assert storage.read(ref, start, length) == expected


@pytest.mark.parametrize(("start", "length"), [(0, None), (0, 5), (3, None), (3, 5)])
def test_an_empty_blob_reads_as_nothing(
    start: int, length: int | None, storage: BlobStorage, ref: SourceRef
) -> None:
    assert put(storage, ref, b"").size == 0
    assert storage.read(ref, start, length) == b""


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 5], ids=["empty", "every byte"])
def test_local_gives_the_same_bytes_as_a_file(
    content: bytes, storage: BlobStorage, ref: SourceRef
) -> None:
    put(storage, ref, content)
    with storage.local(ref) as path:
        assert path.read_bytes() == content


def test_the_local_file_is_called_like_the_blob(storage: BlobStorage, container: str) -> None:
    ref = SourceRef(container, "city/#1 north & south.gpkg")
    put(storage, ref, b"x")
    with storage.local(ref) as path:
        assert path.name == "#1 north & south.gpkg"


def test_the_blob_outlives_its_local_file(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"content")
    with storage.local(ref):
        pass
    assert storage.read(ref) == b"content"


# Writing


class BrokenOffError(Exception):
    """What ends a write half-way."""


def break_off(storage: BlobStorage, ref: SourceRef, **metadata: str) -> None:
    with storage.write(ref, metadata or None) as file:
        file.write(b"half of the content")
        file.flush()
        raise BrokenOffError


def test_a_new_blob_is_not_there_before_the_block_ends(
    storage: BlobStorage, ref: SourceRef
) -> None:
    with storage.write(ref) as file:
        file.write(b"half")
        file.flush()
        assert paths(storage, ref.container) == []
        with pytest.raises(StorageError):
            storage.stat(ref)
    assert paths(storage, ref.container) == [ref.path]


def test_an_old_blob_is_read_until_the_block_ends(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"old")
    with storage.write(ref) as file:
        file.write(b"brand new")
        file.flush()
        assert storage.read(ref) == b"old"
    assert storage.read(ref) == b"brand new"


def test_a_new_blob_never_appears_when_the_block_raises(
    storage: BlobStorage, ref: SourceRef
) -> None:
    with pytest.raises(BrokenOffError):
        break_off(storage, ref)
    assert paths(storage, ref.container) == []
    with pytest.raises(StorageError):
        storage.read(ref)


def test_an_old_blob_survives_when_the_block_raises(storage: BlobStorage, ref: SourceRef) -> None:
    before = put(storage, ref, b"old", version="1")
    with pytest.raises(BrokenOffError):
        break_off(storage, ref, version="2")
    assert storage.read(ref) == b"old"
    assert storage.stat(ref) == before


def test_a_failed_write_leaves_no_file_behind(tmp_path: Path) -> None:
    storage = LocalBlobs(tmp_path)
    storage.create_container("bronze")
    with pytest.raises(BrokenOffError):
        break_off(storage, SourceRef("bronze", "a/b"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_overwriting_replaces_all_of_the_content(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"long content")
    put(storage, ref, b"short")
    assert storage.read(ref) == b"short"


@pytest.mark.parametrize("content", [b"old", b"new"], ids=["same content", "same size"])
def test_overwriting_changes_the_etag(content: bytes, storage: BlobStorage, ref: SourceRef) -> None:
    before = put(storage, ref, b"old")
    assert put(storage, ref, content).etag != before.etag


def test_the_etag_stays_while_nothing_is_written(storage: BlobStorage, ref: SourceRef) -> None:
    before = put(storage, ref, b"x")
    storage.read(ref)
    put(storage, SourceRef(ref.container, "city/other.gpkg"), b"x")
    assert storage.stat(ref).etag == before.etag


# Metadata


def test_stat_gives_metadata_back(storage: BlobStorage, ref: SourceRef) -> None:
    given = {"source_crs": "EPSG:25832", "Supplier": "two words, 100%"}
    assert put(storage, ref, b"x", **given).metadata == given


def test_a_blob_without_metadata_has_none(storage: BlobStorage, ref: SourceRef) -> None:
    assert put(storage, ref, b"x").metadata == {}


def test_overwriting_without_metadata_drops_it(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"x", version="1")
    assert put(storage, ref, b"x").metadata == {}


def test_overwriting_replaces_metadata(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"x", version="1", supplier="city")
    assert put(storage, ref, b"x", version="2").metadata == {"version": "2"}


def test_metadata_is_gone_with_the_blob(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"x", version="1")
    storage.delete(ref)
    assert put(storage, ref, b"x").metadata == {}


def test_metadata_of_similar_names_is_kept_apart(storage: BlobStorage, container: str) -> None:
    similar = ["a", "a.json/b", "A", "a b", "a%20b"]
    for path in similar:
        put(storage, SourceRef(container, path), b"x", number=str(similar.index(path)))
    told = [storage.stat(SourceRef(container, path)).metadata["number"] for path in similar]
    assert told == ["0", "1", "2", "3", "4"]


def test_metadata_is_not_listed_as_a_blob(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"x", version="1")
    assert paths(storage, ref.container) == [ref.path]


def test_a_file_replaced_by_other_means_loses_its_metadata(tmp_path: Path) -> None:
    storage, ref = LocalBlobs(tmp_path), SourceRef("bronze", "a.gpkg")
    storage.create_container("bronze")
    put(storage, ref, b"x", version="1")
    (tmp_path / "bronze" / "a.gpkg").write_bytes(b"another")
    assert storage.stat(ref).metadata == {}


# Deleting


def test_a_deleted_blob_is_gone(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"x")
    storage.delete(ref)
    assert paths(storage, ref.container) == []
    with pytest.raises(StorageError):
        storage.stat(ref)


def test_deleting_keeps_the_neighbours(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"x")
    put(storage, SourceRef(ref.container, "city/rivers.gpkg"), b"x")
    storage.delete(ref)
    assert paths(storage, ref.container) == ["city/rivers.gpkg"]


def test_the_container_outlives_its_last_blob(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"x")
    storage.delete(ref)
    assert ref.container in storage.containers()


def test_delete_below_removes_what_begins_with_the_prefix(
    storage: BlobStorage, container: str
) -> None:
    for path in ("job/1", "job/2", "job/deep/3", "job2/1", "other"):
        put(storage, SourceRef(container, path), b"x")
    assert delete_below(storage, container, "job/") == 3
    assert paths(storage, container) == ["job2/1", "other"]


def test_delete_below_nothing_is_no_error(storage: BlobStorage, container: str) -> None:
    assert delete_below(storage, container, "job/") == 0


# Errors


@pytest.mark.parametrize("verb", MISSING)
def test_a_missing_blob_is_named(verb: str, storage: BlobStorage, container: str) -> None:
    with pytest.raises(StorageError) as caught:
        MISSING[verb](storage, SourceRef(container, "no/such.gpkg"))
    assert f"{container}/no/such.gpkg" in caught.value.thing
    assert "spelling" in caught.value.remedy


@pytest.mark.parametrize("verb", MISSING_CONTAINER)
def test_a_missing_container_is_named(verb: str, storage: BlobStorage, unique: str) -> None:
    with pytest.raises(StorageError) as caught:
        MISSING_CONTAINER[verb](storage, SourceRef(unique, "roads.gpkg"))
    assert caught.value.thing == f"container '{unique}'"
    assert "Create it" in caught.value.remedy


def test_a_folder_is_no_blob(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, ref, b"x")
    with pytest.raises(StorageError, match="holds no such blob"):
        storage.read(SourceRef(ref.container, "city"))


def test_the_folder_where_a_blob_is_wanted_is_named(tmp_path: Path) -> None:
    storage = LocalBlobs(tmp_path)
    storage.create_container("bronze")
    put(storage, SourceRef("bronze", "city/roads.gpkg"), b"x")
    with pytest.raises(StorageError, match="'bronze/city': a folder has this name"):
        put(storage, SourceRef("bronze", "city"), b"x")


def test_a_blob_where_a_folder_is_wanted_is_an_error(tmp_path: Path) -> None:
    storage = LocalBlobs(tmp_path)
    storage.create_container("bronze")
    put(storage, SourceRef("bronze", "city"), b"x")
    with pytest.raises(StorageError, match=r"'bronze/city/roads\.gpkg': one of its folders"):
        put(storage, SourceRef("bronze", "city/roads.gpkg"), b"x")


@pytest.mark.azure
def test_a_container_name_that_azure_refuses_is_named(azure: AzureBlobs) -> None:
    with pytest.raises(StorageError, match=r"container 'Two_Words'.*lower-case"):
        azure.create_container("Two_Words")


# Names


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back_as_it_was_given(name: str, storage: BlobStorage, container: str) -> None:
    put(storage, SourceRef(container, name), name.encode())
    assert paths(storage, container) == [name]
    assert paths(storage, container, name) == [name]
    assert storage.read(SourceRef(container, name)) == name.encode()


def test_names_that_look_alike_are_different_blobs(storage: BlobStorage, container: str) -> None:
    for name in NAMES:
        put(storage, SourceRef(container, name), name.encode())
    found = {name: storage.read(SourceRef(container, name)).decode() for name in NAMES}
    assert found == {name: name for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_blob_of_any_name_can_be_deleted(name: str, storage: BlobStorage, container: str) -> None:
    put(storage, SourceRef(container, name), b"x", version="1")
    storage.delete(SourceRef(container, name))
    assert paths(storage, container) == []


# Not in it: control characters, backslashes (Azure's slash), and what XML can't hold.
CHARACTERS = st.characters(exclude_categories=["C", "Z"], exclude_characters="\\/")
PARTS = st.text(CHARACTERS | st.sampled_from(" .#%?&+'\""), min_size=1, max_size=12).filter(
    lambda part: part not in (".", "..")
)


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_name_makes_the_round_trip(storage: BlobStorage, container: str, name: str) -> None:
    ref = SourceRef(container, name)
    put(storage, ref, name.encode())
    try:
        assert paths(storage, container) == [name]
        assert paths(storage, container, name) == [name]
        with storage.local(ref) as path:
            assert path.read_bytes() == name.encode()
    finally:
        storage.delete(ref)
    assert paths(storage, container) == []


@pytest.fixture
def fenced(tmp_path: Path) -> LocalBlobs:
    """Local storage with something to steal: in another container, and outside."""
    storage = LocalBlobs(tmp_path / "blobs")
    for name in ("bronze", "work"):
        storage.create_container(name)
    put(storage, SourceRef("work", "secret"), b"s")
    (tmp_path / "secret").write_bytes(b"s")
    return storage


@pytest.mark.parametrize("verb", [*MISSING, "write"])
@pytest.mark.parametrize(
    "path", ["../work/secret", "../../secret", "a/../../work/secret", "..", "a/./b", "a//b"]
)
def test_a_path_that_leads_elsewhere_is_refused(verb: str, path: str, fenced: LocalBlobs) -> None:
    with pytest.raises(StorageError, match="not a plain path"):
        MISSING_CONTAINER[verb](fenced, SourceRef("bronze", path))


@pytest.mark.parametrize("verb", [*MISSING, "write"])
def test_an_absolute_path_is_refused(verb: str, fenced: LocalBlobs, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a plain path"):
        MISSING_CONTAINER[verb](fenced, SourceRef("bronze", str(tmp_path / "secret")))


@pytest.mark.parametrize("name", ["..", ".", "", "bronze/../..", "/"])
@pytest.mark.parametrize("verb", MISSING_CONTAINER)
def test_a_container_that_leads_elsewhere_is_refused(
    verb: str, name: str, fenced: LocalBlobs
) -> None:
    with pytest.raises(StorageError, match="not a plain path"):
        MISSING_CONTAINER[verb](fenced, SourceRef(name, "secret"))


@pytest.mark.parametrize("name", ["..", "bronze/../../new", "/new"])
def test_no_container_is_created_elsewhere(name: str, fenced: LocalBlobs, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a plain path"):
        fenced.create_container(name)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("prefix", ["../work/", "../", "a/../../work/s", "../../"])
def test_a_prefix_that_leads_elsewhere_is_refused(prefix: str, fenced: LocalBlobs) -> None:
    with pytest.raises(StorageError, match="not a plain path"):
        list(fenced.pages("bronze", prefix))


@pytest.mark.azure
@pytest.mark.parametrize("verb", [*MISSING, "write"])
def test_a_path_that_http_would_resolve_is_refused(
    verb: str, azure: AzureBlobs, unique: str
) -> None:
    azure.create_container(unique)
    with pytest.raises(StorageError, match="not a plain path"):
        MISSING_CONTAINER[verb](azure, SourceRef(unique, "../other/secret"))


# Opening


def test_a_file_url_opens_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my blobs #1 100%"
    storage = open_storage(folder.as_uri())
    storage.create_container("bronze")
    assert (folder / "bronze").is_dir()


@pytest.mark.azure
def test_an_az_url_opens_its_account(azure: AzureBlobs, unique: str) -> None:
    azure.create_container(unique)
    assert unique in open_storage("az://devstoreaccount1").containers()


@pytest.mark.parametrize("url", ["", "blobs", "/srv/blobs", "s3://bucket", "az://", "https://a/b"])
def test_a_url_of_no_storage_is_refused(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    assert f"'{url}'" in caught.value.thing
    assert caught.value.remedy == "Use file:///FOLDER or az://ACCOUNT."


# Sidecar files


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("_ingest.yaml", "target_srid: 3857", 3857),
        ("region/_ingest.yaml", "target_srid: 25832", 25832),
        ("region/city/_ingest.yaml", "target_srid: 25833", 25833),
        ("region/city/a roads #1.ingest.yaml", "target_srid: 31467", 31467),
        ("region/city/a roads #1.gpkg.ingest.yaml", "target_srid: 31468", 31468),
        ("other/_ingest.yaml", "target_srid: 3857", 4326),
        ("region/city/a roads #1.gpkg.ingest.yaml.bak", "target_srid: 3857", 4326),
        ("region/city/a roads #12.ingest.yaml", "target_srid: 3857", 4326),
    ],
)
def test_a_sidecar_counts_where_it_lies(
    path: str, text: str, expected: int, storage: BlobStorage, container: str
) -> None:
    put(storage, SourceRef(container, path), text.encode())
    source = SourceRef(container, "region/city/a roads #1.gpkg")
    assert resolve_spec(storage, source).target_srid == expected


def test_the_nearest_sidecar_wins_key_by_key(storage: BlobStorage, container: str) -> None:
    layers = {
        "_ingest.yaml": "{target_srid: 3857, chunk_size: 1, collection_id: all, schema: a}",
        "city/_ingest.yaml": "{chunk_size: 2, collection_id: city, schema: b}",
        "city/roads.ingest.yaml": "{collection_id: roads, schema: c}",
        "city/roads.gpkg.ingest.yaml": "{schema: d}",
    }
    for path, text in layers.items():
        put(storage, SourceRef(container, path), text.encode())
    spec = resolve_spec(storage, SourceRef(container, "city/roads.gpkg"))
    found = (spec.target_srid, spec.chunk_size, spec.collection_id, spec.schema_name)
    assert found == (3857, 2, "roads", "d")


def test_an_override_beats_every_sidecar(storage: BlobStorage, ref: SourceRef) -> None:
    sidecar = SourceRef(ref.container, f"{ref.path}.ingest.yaml")
    put(storage, sidecar, b"{chunk_size: 2, target_srid: 3857}")
    spec = resolve_spec(storage, ref, {"chunk_size": 9})
    assert (spec.chunk_size, spec.target_srid) == (9, 3857)


def test_a_bad_key_is_blamed_on_its_sidecar(storage: BlobStorage, ref: SourceRef) -> None:
    put(storage, SourceRef(ref.container, "city/_ingest.yaml"), b"chunk_size: 2")
    put(storage, SourceRef(ref.container, "_ingest.yaml"), b"chunksize: 2")
    with pytest.raises(SpecError, match=f"{ref.container}/_ingest.yaml: key 'chunksize'"):
        resolve_spec(storage, ref)
