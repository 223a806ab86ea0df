"""A loose shapefile is one source, from storage to the table: in a folder and in Azure."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
import sqlalchemy as sa

from geo_etl.errors import SourceError, StorageError
from geo_etl.jobs.delivery import deliver, locate
from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.resources.sources import identify, local_source, parts_of, state_of
from geo_etl.spec import SourceRef, VectorSpec
from geo_etl.vector.source import harmless, open_layer
from geo_etl_tests.conftest import failure_of
from geo_etl_tests.shapefiles import DbfField, read_dbf, write_points

NAME = DbfField(b"name", "C", 10)


@pytest.fixture(params=["local", "azure"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStorage:
    if request.param == "azure":
        azure: AzureBlobs = request.getfixturevalue("azure")
        return azure
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def group(storage: BlobStorage, unique: str, tmp_path: Path) -> SourceRef:
    """`d/roads!.SHP` with siblings, and files of other stems beside it."""
    storage.create_container(unique)
    made = tmp_path / "made"
    made.mkdir()
    write_points(made, [NAME], [["Łódź".encode("cp1250")], [b"b"]], cpg="1250")
    for file in made.iterdir():
        put(storage, SourceRef(unique, f"d/roads!{file.suffix.upper()}"), file.read_bytes())
    for other in ("d/roads!.gpkg", "d/roads!.v2.dbf", "d/roads!2.dbf", "d/roads!.SHP.ingest.yaml"):
        put(storage, SourceRef(unique, other), b"{}")
    return SourceRef(unique, "d/roads!.SHP")


def put(storage: BlobStorage, ref: SourceRef, content: bytes) -> None:
    with storage.write(ref) as file:
        file.write(content)


def test_siblings_are_found_by_their_name(storage: BlobStorage, group: SourceRef) -> None:
    found = {role: blob.ref.path for role, blob in parts_of(storage, group).items()}
    assert found == {
        "shp": "d/roads!.SHP",
        "cpg": "d/roads!.CPG",
        "dbf": "d/roads!.DBF",
        "prj": "d/roads!.PRJ",
        "shx": "d/roads!.SHX",
    }


def test_local_files_are_a_shapefile_that_reads(storage: BlobStorage, group: SourceRef) -> None:
    with local_source(storage, group) as path, harmless(path) as readable:
        beside = sorted(file.name for file in path.parent.iterdir())
        layer = open_layer(readable, str(group), VectorSpec())
        names = [name for batch in layer.batches() for name in batch["name"].to_pylist()]
    assert names == ["Łódź", "b"]
    assert layer.name == "roads!"
    assert beside == ["roads_.cpg", "roads_.dbf", "roads_.prj", "roads_.shp", "roads_.shx"]
    assert not path.exists()


def test_source_of_one_blob_is_that_blob(storage: BlobStorage, group: SourceRef) -> None:
    single = SourceRef(group.container, "d/roads!.gpkg")
    with local_source(storage, single) as path:
        assert path.read_bytes() == b"{}"
    assert state_of(storage, single) == storage.stat(single).etag


@pytest.mark.parametrize("extension", ["SHP", "DBF", "PRJ", "CPG", "SHX"])
def test_other_content_of_any_part_is_another_job(
    storage: BlobStorage, group: SourceRef, extension: str
) -> None:
    before = identify(storage, group)
    part = SourceRef(group.container, f"d/roads!.{extension}")

    put(storage, part, storage.read(part) + b" ")

    after = identify(storage, group)
    assert (before.fingerprint, before.job_id) != (after.fingerprint, after.job_id)
    assert before.blob.etag != after.blob.etag


def test_equal_content_is_the_same_job_but_another_state(
    storage: BlobStorage, group: SourceRef
) -> None:
    before, state = identify(storage, group), state_of(storage, group)
    part = SourceRef(group.container, "d/roads!.DBF")

    put(storage, part, storage.read(part))

    assert identify(storage, group).job_id == before.job_id
    assert state_of(storage, group) != state == before.blob.etag


def test_part_that_goes_or_changes_its_role_is_another_job(
    storage: BlobStorage, group: SourceRef
) -> None:
    cpg = SourceRef(group.container, "d/roads!.CPG")
    content, first = storage.read(cpg), identify(storage, group)
    storage.delete(cpg)
    second = identify(storage, group)
    put(storage, SourceRef(group.container, "d/roads!.cst"), content)
    third = identify(storage, group)
    assert len({first.job_id, second.job_id, third.job_id}) == 3
    assert len({first.blob.etag, second.blob.etag, third.blob.etag}) == 3


def test_source_is_as_new_and_as_large_as_all_its_parts(
    storage: BlobStorage, group: SourceRef
) -> None:
    part = SourceRef(group.container, "d/roads!.DBF")
    put(storage, part, storage.read(part))
    blob, parts = identify(storage, group).blob, parts_of(storage, group).values()
    assert blob.modified == storage.stat(part).modified
    assert blob.size == sum(part.size for part in parts)


def test_two_files_for_one_thing_are_refused(storage: BlobStorage, group: SourceRef) -> None:
    put(storage, SourceRef(group.container, "d/roads!.dbf"), b"")
    with pytest.raises(SourceError, match="two files for one thing"):
        parts_of(storage, group)


def test_blob_that_is_not_there_is_said(storage: BlobStorage, group: SourceRef) -> None:
    with pytest.raises(StorageError, match="holds no such blob"):
        parts_of(storage, SourceRef(group.container, "d/rails.shp"))


# From the command


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def deliver_here(
    storage: BlobStorage, unique: str, said: list[str]
) -> Callable[[Path], dict[str, bytes]]:
    """Find a source as the command does; bronze afterwards."""

    def find(path: Path) -> dict[str, bytes]:
        deliver(storage, locate(storage, str(path), unique, None), said.append)
        pages = storage.pages(unique)
        return {b.ref.path: storage.read(b.ref) for page in pages for b in page}

    return find


def test_siblings_of_a_local_file_go_into_bronze(
    deliver_here: Callable[[Path], dict[str, bytes]], tmp_path: Path, said: list[str]
) -> None:
    path = write_points(tmp_path, [NAME], [[b"a"]], stem="roads")
    (tmp_path / "roads.gpkg").write_bytes(b"")
    (tmp_path / "roads.ingest.yaml").write_text("chunk_size: 5\n")
    (tmp_path / "roads.dbf").rename(tmp_path / "roads.DBF")

    bronze = deliver_here(path)

    assert bronze == {
        "roads.shp": path.read_bytes(),
        "roads.shx": path.with_suffix(".shx").read_bytes(),
        "roads.dbf": path.with_suffix(".DBF").read_bytes(),
        "roads.prj": path.with_suffix(".prj").read_bytes(),
        "roads.ingest.yaml": b"chunk_size: 5\n",
    }
    assert said == []


def test_the_same_shapefile_again_writes_nothing(
    storage: BlobStorage,
    deliver_here: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
    unique: str,
    said: list[str],
) -> None:
    path = write_points(tmp_path, [NAME], [[b"a"]], stem="roads")
    deliver_here(path)
    state = state_of(storage, SourceRef(unique, "roads.shp"))

    deliver_here(path)

    assert state_of(storage, SourceRef(unique, "roads.shp")) == state
    assert said == []


def test_a_shapefile_replaces_another_of_its_name_whole_and_it_is_said(
    deliver_here: Callable[[Path], dict[str, bytes]], tmp_path: Path, unique: str, said: list[str]
) -> None:
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    old = write_points(tmp_path / "old", [NAME], [[b"a"]], stem="roads", cpg="852")
    new = write_points(tmp_path / "new", [NAME], [[b"b"]], stem="roads")
    assert "roads.cpg" in deliver_here(old)

    bronze = deliver_here(new)

    assert "roads.cpg" not in bronze
    assert bronze["roads.dbf"] == new.with_suffix(".dbf").read_bytes()
    assert said == [f"{unique}/roads.shp is in bronze already, with other content: it is replaced."]


def test_a_file_that_replaces_another_of_its_name_is_said(
    deliver_here: Callable[[Path], dict[str, bytes]], tmp_path: Path, said: list[str]
) -> None:
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.geojson").write_text(folder)
    deliver_here(tmp_path / "old" / "a.geojson")

    assert deliver_here(tmp_path / "new" / "a.geojson") == {"a.geojson": b"new"}
    assert len(said) == 1


# The whole way


def test_loose_shapefile_becomes_a_table(
    shared_data: Path,
    bronze: Path,
    unique: str,
    run_job: Callable[..., Any],
    engine: sa.Engine,
) -> None:
    origin = shared_data / "vector" / "shp-loose" / "olinda1"
    shutil.copytree(origin, bronze / unique)

    result = run_job(f"bronze/{unique}/olinda1.shp", table_name=unique)

    assert result.success, failure_of(result)
    _, rows = read_dbf((origin / "olinda1.dbf").read_bytes(), "cp1252")
    with engine.connect() as connection:
        stored = connection.execute(
            sa.text(
                f"SELECT id, cd_geocodi, tipo, cd_geocodb, nm_bair, v014, ST_AsBinary(geom) AS g"
                f" FROM geo.{unique} ORDER BY gid"
            )
        ).all()
    assert [list(row[:-1]) for row in stored] == rows
    assert shapely.is_valid(shapely.from_wkb([bytes(row.g) for row in stored])).all()


def test_shapefile_without_its_table_says_what_lacks(
    shared_data: Path, bronze: Path, unique: str, run_job: Callable[..., Any]
) -> None:
    origin = shared_data / "vector" / "shp-loose" / "olinda1"
    shutil.copytree(origin, bronze / unique, ignore=shutil.ignore_patterns("*.dbf"))

    said = failure_of(run_job(f"bronze/{unique}/olinda1.shp", table_name=unique))

    assert "'olinda1.shp' has no .dbf with its attributes" in said
