"""The jobs that say what a container holds, on a container of the test's own."""

import csv
import os
import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dagster import DagsterInstance

from geo_etl.catalog.vectors import vector_collection
from geo_etl.definitions import build_definitions
from geo_etl.jobs.summarize_container import Division, Part, add_up, folders_below
from geo_etl.report.container_summary import Tally
from geo_etl.resources import listed_sources, pgstac
from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.spec import SourceRef
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.made import squares, write
from geo_etl_tests.raster_sources import colours
from geo_etl_tests.raster_sources import write as write_raster

FIRST = {"list_container": "list_blobs", "summarize_container": "divide"}
LAST = {"list_container": "list_blobs", "summarize_container": "add_up"}


@pytest.fixture
def blobs(stack: Any, unique: str) -> BlobStorageResource:
    """Bronze is a container of the test's own."""
    resource = BlobStorageResource(url=stack.storage_url, bronze_container=unique)
    resource.storage.create_container(unique)
    return resource


@pytest.fixture
def folder(stack: Any, blobs: BlobStorageResource) -> Path:
    """The local folder of that container."""
    return stack.home / "blobs" / blobs.bronze_container


def execute(job: str, blobs: BlobStorageResource, **config: Any) -> Any:
    definition = build_definitions(blobs=blobs).resolve_job_def(job)
    with DagsterInstance.ephemeral() as instance:
        return definition.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={
                "ops": {FIRST[job]: {"config": config}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )


def outcome(job: str, blobs: BlobStorageResource, **config: Any) -> dict[str, Any]:
    run = execute(job, blobs, **config)
    assert run.success, failure_of(run)
    return run.output_for_node(LAST[job])


@pytest.fixture
def listing(blobs: BlobStorageResource) -> Callable[..., dict[str, dict[str, str]]]:
    """Run `list_container`; the rows of its file by path in the container."""

    def rows(**config: Any) -> dict[str, dict[str, str]]:
        result = outcome("list_container", blobs, **config)
        text = blobs.storage.read(SourceRef.parse(result["listing"])).decode()
        found = {
            row["path"].partition("/")[2]: row
            for row in csv.DictReader(text.splitlines(keepends=True))
        }
        assert result["blobs"] == len(found)
        assert result["bytes"] == sum(int(row["bytes"]) for row in found.values())
        return found

    return rows


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def test_a_listing_says_what_each_blob_is(
    folder: Path, listing: Callable[..., dict[str, dict[str, str]]]
) -> None:
    put(folder, "roads.shp", "roads.shx", "roads.dbf", "roads.shp.xml", "roads.ingest.yaml")
    put(folder, "half.shp", "lost.dbf", "lost.tfw", "gone.ingest.yaml")
    put(folder, "d/map.png", "d/map.pgw", "d/bare.jpg", "d/all.zip", "d/_ingest.yaml")
    put(folder, "d/notes.docx", "d/README", "d/_draft.tif", "d/dem.TIF", "d/dem.TIF.aux.xml")

    rows = listing()

    assert {path: (row["kind"], row["state"]) for path, row in rows.items()} == {
        "roads.shp": ("vector", "new"),
        "roads.shx": ("sidecar", "part"),
        "roads.dbf": ("sidecar", "part"),
        "roads.shp.xml": ("sidecar", "part"),
        "roads.ingest.yaml": ("sidecar", "part"),
        "half.shp": ("vector", "incomplete"),
        "lost.dbf": ("sidecar", "orphaned"),
        "lost.tfw": ("sidecar", "orphaned"),
        "gone.ingest.yaml": ("sidecar", "orphaned"),
        "d/map.png": ("raster", "new"),
        "d/map.pgw": ("sidecar", "part"),
        "d/bare.jpg": ("raster", "incomplete"),
        "d/all.zip": ("archive", "new"),
        "d/_ingest.yaml": ("sidecar", "settings"),
        "d/notes.docx": ("other", "not ingestible"),
        "d/README": ("other", "not ingestible"),
        "d/_draft.tif": ("other", "not ingestible"),
        "d/dem.TIF": ("raster", "new"),
        "d/dem.TIF.aux.xml": ("sidecar", "part"),
    }
    assert rows["roads.dbf"]["why"] == "of roads.shp"
    assert "docx" in rows["d/notes.docx"]["why"]
    for path, row in rows.items():
        assert int(row["bytes"]) == len(path)
        assert row["etag"]


def test_a_listing_can_be_of_some_blobs_only(
    folder: Path, listing: Callable[..., dict[str, dict[str, str]]]
) -> None:
    put(folder, "a/1.tif", "a/2.TIF", "a/3.gpkg", "a/3.txt", "b/4.tif", "a.tif")

    assert set(listing(prefix="a/")) == {"a/1.tif", "a/2.TIF", "a/3.gpkg", "a/3.txt"}
    assert set(listing(suffix=".tif")) == {"a/1.tif", "a/2.TIF", "b/4.tif", "a.tif"}
    assert set(listing(kinds=["vector", "other"])) == {"a/3.gpkg", "a/3.txt"}
    assert set(listing(prefix="a/", limit=2)) < {"a/1.tif", "a/2.TIF", "a/3.gpkg", "a/3.txt"}


def test_a_cut_listing_says_that_there_is_more(folder: Path, blobs: BlobStorageResource) -> None:
    put(folder, "1.tif", "2.tif")

    assert outcome("list_container", blobs, limit=1)["is_cut"]
    assert not outcome("list_container", blobs, limit=2)["is_cut"]


@pytest.mark.parametrize(
    ("config", "said"),
    [({"container": "no-such"}, "no-such"), ({"kinds": ["pictures"]}, "vector, raster")],
)
def test_a_listing_that_can_not_be_is_refused(
    config: dict[str, Any], said: str, blobs: BlobStorageResource
) -> None:
    run = execute("list_container", blobs, **config)

    assert not run.success
    assert said in failure_of(run)


def rewrite(path: Path, content: bytes | None = None) -> None:
    """Write a file anew, after all that was read."""
    path.write_bytes(path.read_bytes() if content is None else content)
    later = datetime.now(UTC).timestamp() + 60
    os.utime(path, (later, later))


def test_states_follow_a_source_through_its_life(
    folder: Path,
    blobs: BlobStorageResource,
    listing: Callable[..., dict[str, dict[str, str]]],
    run_job: Callable[..., Any],
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write(folder / "roads.gpkg", squares(3))
    settings = folder / "roads.ingest.yaml"
    settings.write_text(f"table_name: {unique}\n")

    def state() -> tuple[str, str]:
        row = listing()["roads.gpkg"]
        return row["state"], row["why"]

    assert state() == ("new", "")
    run = run_job(f"{unique}/roads.gpkg", resources={"blobs": blobs})
    assert run.success, failure_of(run)

    with monkeypatch.context() as patch:
        patch.setattr(listed_sources, "content_hash", None)  # it is not even read
        assert state() == ("ingested", f"as geo.{unique}")
    rewrite(path)
    rewrite(settings)
    assert state() == ("ingested", f"as geo.{unique}")
    rewrite(settings, f"table_name: {unique}\ntarget_srid: 3857\n".encode())
    assert state() == ("stale", "roads.ingest.yaml was written since, and says something else")
    with monkeypatch.context() as patch:
        patch.setattr(listed_sources.Lister.__init__, "__defaults__", (10,))
        assert "too large to compare" in state()[1]
    content = path.read_bytes()
    rewrite(path, content + b"\0")
    assert state() == ("stale", "its content has changed")
    summary = outcome("summarize_container", blobs)
    assert summary["sources"]["stale"] == summary["stale"]["count"] == 1
    assert summary["gone"]["count"] == 0

    path.unlink()

    summary = outcome("summarize_container", blobs)
    assert summary["gone"]["first"] == [
        {"path": "roads.gpkg", "bytes": 0, "why": f"published as geo.{unique}"}
    ]
    assert [one["path"] for one in summary["orphaned"]["first"]] == ["roads.ingest.yaml"]


def test_a_published_raster_is_ingested_and_its_files_are_catalogued(
    folder: Path,
    blobs: BlobStorageResource,
    listing: Callable[..., dict[str, dict[str, str]]],
    run_asset: Callable[..., Any],
    unique: str,
    stack: Any,
) -> None:
    (folder / "deep").mkdir()
    write_raster(folder / "deep" / "one.tif", colours(64, 64))
    key = f"{unique}/deep/one.tif"
    run = run_asset("raster", key, resources={"blobs": blobs}, item_id=unique)
    assert run.success, failure_of(run)

    row = listing()["deep/one.tif"]
    assert (row["kind"], row["state"]) == ("raster", "ingested")
    (found,) = [
        row
        for path, row in listing(container="silver").items()
        if unique in path and path[-3:] == "tif"
    ]
    assert (found["state"], found["why"]) == ("catalogued", f"of system-rasters/{unique}")

    shutil.rmtree(folder / "deep")
    stored = stack.home / "blobs" / found["path"]
    stored.rename(stored.with_name("away.tif"))
    try:
        gone = outcome("summarize_container", blobs)["gone"]
        assert [one["path"] for one in gone["first"]] == ["deep/one.tif"]
        prefix = found["path"].partition("/")[2].rpartition("/")[0]
        gone = outcome("summarize_container", blobs, container="silver", prefix=prefix)["gone"]
        assert [one["why"] for one in gone["first"]] == [f"published as system-rasters/{unique}"]
    finally:
        stored.with_name("away.tif").rename(stored)


def test_a_blob_of_an_item_is_catalogued_until_it_is_written_again(
    folder: Path,
    blobs: BlobStorageResource,
    listing: Callable[..., dict[str, dict[str, str]]],
    engine: sa.Engine,
    unique: str,
) -> None:
    name = "a b/ü #1 100%.tif"
    put(folder, name)
    ref = SourceRef(unique, name)
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "one",
        "collection": unique,
        "geometry": {"type": "Point", "coordinates": [0, 0]},
        "bbox": [0, 0, 0, 0],
        "properties": {
            "datetime": "2024-01-01T00:00:00Z",
            "geo_etl:etag": blobs.storage.stat(ref).etag,
        },
        "links": [],
        "assets": {"data": {"href": blobs.storage.url(ref)}},
    }
    with engine.begin() as connection:
        pgstac.ensure_collection(connection, vector_collection(unique))
        pgstac.upsert_item(connection, item)

    assert listing()[name]["state"] == "catalogued"
    rewrite(folder / name)
    row = listing()[name]
    assert (row["state"], row["why"]) == ("stale", f"written since it became {unique}/one")
    (folder / name).unlink()
    gone = outcome("summarize_container", blobs)["gone"]
    assert [(one["path"], one["why"]) for one in gone["first"]] == [
        (name, f"published as {unique}/one")
    ]


def test_a_summary_of_ten_thousand_blobs_counts_every_one_once(
    folder: Path, blobs: BlobStorageResource
) -> None:
    chance, expected = random.Random(3), dict[str, list[int]]()
    for number in range(10_000):
        place = chance.choice(["", *(f"f{n}/" for n in range(40)), "f1/deeper/"])
        name = f"{place}{number}.{chance.choice(['tif', 'gpkg', 'txt', 'tfw'])}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size = chance.randrange(50)
        path.write_bytes(b"x" * size)
        expected.setdefault(name, []).append(size)
    sizes = {name: size for name, (size,) in expected.items()}

    summary = outcome("summarize_container", blobs, largest=4)

    assert summary["total"] == {"blobs": 10_000, "bytes": sum(sizes.values())}
    by_prefix: dict[str, int] = {}
    for name in sizes:
        top = f"{name.partition('/')[0]}/" if "/" in name else "(no folder)"
        by_prefix[top] = by_prefix.get(top, 0) + 1
    assert {name: one["blobs"] for name, one in summary["by_prefix"].items()} == by_prefix
    kinds = {"tif": "raster", "gpkg": "vector", "txt": "other", "tfw": "sidecar"}
    assert {name: one["blobs"] for name, one in summary["by_type"].items()} == {
        f"{kind} {extension}": sum(name.endswith(extension) for name in sizes)
        for extension, kind in kinds.items()
    }
    assert [one["bytes"] for one in summary["largest"]] == [49] * 4
    assert summary["orphaned"]["count"] == sum(name.endswith("tfw") for name in sizes)
    assert summary["sources"]["new"] == sum(name.endswith(("tif", "gpkg")) for name in sizes)


def test_ages_are_those_of_the_blobs(folder: Path, blobs: BlobStorageResource) -> None:
    put(folder, "new.tif")

    summary = outcome("summarize_container", blobs)

    assert summary["by_age"]["last 24 hours"]["blobs"] == 1
    assert sum(one["blobs"] for one in summary["by_age"].values()) == 1


def test_an_empty_container_is_summarized(blobs: BlobStorageResource) -> None:
    assert outcome("summarize_container", blobs)["total"] == {"blobs": 0, "bytes": 0}


def test_a_part_that_was_not_counted_fails_the_summary() -> None:
    parts = (Part(0, ("a/",), ""), Part(1, ("b/",), None))
    moment = datetime.now(UTC)
    division = Division("bronze", "", moment, 3, False, parts)
    counted = [{"part": part, "tally": Tally(moment, 3)} for part in parts]

    assert add_up(division, counted).value["total"]["blobs"] == 0
    with pytest.raises(Exception, match="1 of 2 parts were counted"):
        add_up(division, counted[1:])
    with pytest.raises(Exception, match="3 of 2 parts were counted"):
        add_up(division, [*counted, counted[0]])


# Levels of a container


@pytest.fixture(params=["local", pytest.param("azure", marks=pytest.mark.azure)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStorage:
    """Storage of each sort."""
    if request.param == "azure":
        return request.getfixturevalue("azure")
    return LocalBlobs(tmp_path)


@pytest.fixture
def container(storage: BlobStorage, unique: str) -> str:
    """A container with folders and blobs."""
    storage.create_container(unique)
    for path in ("a.tif", "z.tif", "b/1.tif", "b/2.tif", "b/c/3.tif", "b c#/ü.tif"):
        with storage.write(SourceRef(unique, path)) as file:
            file.write(path.encode())
    return unique


@pytest.mark.parametrize("size", [1, 2, 5000])
@pytest.mark.parametrize(
    ("folder", "folders", "blobs"),
    [
        ("", ["b c#/", "b/"], ["a.tif", "z.tif"]),
        ("b/", ["b/c/"], ["b/1.tif", "b/2.tif"]),
        ("b c#/", [], ["b c#/ü.tif"]),
        ("nowhere/", [], []),
        ("a.tif/", [], []),
    ],
)
def test_a_level_has_what_lies_in_the_folder_itself(
    folder: str,
    folders: list[str],
    blobs: list[str],
    size: int,
    storage: BlobStorage,
    container: str,
) -> None:
    levels = list(storage.level(container, folder, size))

    assert sorted({one for level in levels for one in level.folders}) == folders
    found = [blob for level in levels for blob in level.blobs]
    assert sorted(blob.ref.path for blob in found) == blobs
    assert found == [storage.stat(blob.ref) for blob in found]


def test_folders_are_those_of_the_level_that_branches(storage: BlobStorage, unique: str) -> None:
    storage.create_container(unique)
    for path in ("in/one/x/1.tif", "in/one/y/2.tif"):
        with storage.write(SourceRef(unique, path)) as file:
            file.write(b"1")

    assert folders_below(storage, unique, "", []) == ("in/one/", ["in/one/x/", "in/one/y/"])
    lost = ["in/two/3.tif", "in/one/z/4.tif"]
    assert folders_below(storage, unique, "", lost) == ("in/", ["in/one/", "in/two/"])
    assert folders_below(storage, unique, "in/one/", ["in/one/5.tif"]) == (
        "in/one/",
        ["in/one/x/", "in/one/y/"],
    )


@pytest.mark.azure
def test_a_container_in_azure_is_listed_and_summarized(
    azure: AzureBlobs, unique: str, stack: Any
) -> None:
    azure.create_container(unique)
    names = ["a.tif", "d/roads.shp", "d/roads.dbf", "d.x/1.gpkg", "e/lost.tfw"]
    for name in names:
        with azure.write(SourceRef(unique, name)) as file:
            file.write(name.encode())
    blobs = BlobStorageResource(
        url="az://devstoreaccount1", bronze_container=unique, work_container=f"{unique}-work"
    )

    listed = outcome("list_container", blobs)
    summary = outcome("summarize_container", blobs)

    assert listed["by_state"] == {"new": 3, "part": 1, "orphaned": 1}
    assert summary["total"] == {"blobs": 5, "bytes": sum(map(len, names))}
    assert set(summary["by_prefix"]) == {"(no folder)", "d/", "d.x/", "e/"}
    assert summary["by_age"]["last 24 hours"]["blobs"] == 5
