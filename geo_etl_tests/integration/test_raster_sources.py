"""Rasters in storage: kind, parts, settings, collections, delivery; in a folder and in Azure."""

import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from geo_etl.errors import SourceError, SpecError, StorageError
from geo_etl.jobs.delivery import Located, deliver, locate
from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.collections import collection_of, members_of, resolve_collection
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.resources.sources import (
    identify,
    identify_raster,
    kind_at,
    local_source,
    parts_of,
    resolve_raster,
    state_of,
)
from geo_etl.spec import CollectionRef, SourceRef

WORLD = b"2\n0\n0\n-2\n501\n4999\n"
"""Pixels of 2 m; the centre of the first at (501, 4999)."""
AUX = b"<PAMDataset><SRS>EPSG:32633</SRS></PAMDataset>"


@pytest.fixture(params=["local", "azure"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStorage:
    if request.param == "azure":
        azure: AzureBlobs = request.getfixturevalue("azure")
        return azure
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def put(storage: BlobStorage, unique: str) -> Callable[..., SourceRef]:
    """Write a blob to a container of the test's own."""
    storage.create_container(unique)

    def write(path: str, content: bytes = b"") -> SourceRef:
        ref = SourceRef(unique, path)
        with storage.write(ref) as file:
            file.write(content)
        return ref

    return write


@pytest.fixture
def pixels(tmp_path: Path) -> bytes:
    """A GeoTIFF that does not say where it is."""
    path = tmp_path / "pixels.tif"
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(path, "w", driver="GTiff", width=4, height=3, count=1, dtype="uint8") as file,
    ):
        file.write(np.arange(12, dtype="uint8").reshape(1, 3, 4))
    return path.read_bytes()


def packed(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


# Parts


def test_siblings_of_a_raster_are_found_and_given_beside_it(
    storage: BlobStorage, put: Callable[..., SourceRef], pixels: bytes
) -> None:
    source = put("d/scene!:1.TIF", pixels)
    put("d/scene!:1.TFW", WORLD)
    put("d/scene!:1.TIF.AUX.XML", AUX)
    for other in ("d/scene!:1.tif.ovr", "d/scene!:12.tfw", "d/scene!:1.gpkg", "d/scene!:1.ige"):
        put(other, b"x")

    assert list(parts_of(storage, source)) == ["tif", "tfw", "tif.aux.xml"]
    with local_source(storage, source) as path:
        beside = sorted(file.name for file in path.parent.iterdir())
        with rasterio.open(path) as dataset:
            assert dataset.transform[:6] == (2, 0, 500, 0, -2, 5000)
            assert dataset.crs.to_epsg() == 32633
            assert dataset.read(1)[2, 3] == 11
    assert beside == ["scene__1.tfw", "scene__1.tif", "scene__1.tif.aux.xml"]
    assert not path.exists()


def test_elevations_keep_the_name_that_says_where_they_are(tmp_path: Path) -> None:
    fill(tmp_path / "c", N47E011__hgt=bytes(2 * 1201 * 1201))
    storage, source = LocalBlobs(tmp_path), SourceRef("c", "N47E011.hgt")
    with local_source(storage, source) as path, rasterio.open(path) as dataset:
        assert dataset.driver == "SRTMHGT"
        assert dataset.bounds.bottom == pytest.approx(47, abs=0.001)


def test_a_raster_alone_has_a_folder_of_its_own(
    storage: BlobStorage, put: Callable[..., SourceRef], pixels: bytes
) -> None:
    source = put("a.tif", pixels)
    put("a.tif.ovr", b"not the overviews of this one")
    with local_source(storage, source) as path:
        assert [file.name for file in path.parent.iterdir()] == ["a.tif"]


def test_other_content_of_a_sibling_is_another_job(
    storage: BlobStorage, put: Callable[..., SourceRef], pixels: bytes
) -> None:
    source = put("a.tif", pixels)
    alone = identify_raster(storage, source)
    put("a.tfw", WORLD)
    with_world = identify_raster(storage, source)
    state = state_of(storage, source)
    put("a.tfw", WORLD)
    again = identify_raster(storage, source)
    put("a.tfw", WORLD.replace(b"501", b"601"))
    moved = identify_raster(storage, source)

    assert len({alone.fingerprint, with_world.fingerprint, moved.fingerprint}) == 3
    assert again.job_id == with_world.job_id
    assert state != again.blob.etag
    assert with_world.blob.size == len(pixels) + len(WORLD)


# Kinds


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"N10W110.hgt": b"x"}, "raster"),
        ({"roads.shp": b"x", "roads.dbf": b"x"}, "vector"),
        ({"readme.txt": b"x"}, "vector"),
    ],
)
def test_kind_of_a_zip_is_read_off_its_list(
    storage: BlobStorage,
    put: Callable[..., SourceRef],
    members: dict[str, bytes],
    expected: str,
) -> None:
    assert kind_at(storage, put("a.zip", packed(members))) == expected


class Counting(LocalBlobs):
    """Storage that counts the bytes that are read."""

    read_bytes = 0

    def read(self, ref: SourceRef, start: int = 0, length: int | None = None) -> bytes:
        octets = super().read(ref, start, length)
        self.read_bytes += len(octets)
        return octets


def test_little_of_a_large_zip_is_read_to_tell_its_kind(tmp_path: Path) -> None:
    storage = Counting(tmp_path)
    storage.create_container("c")
    with storage.write(SourceRef("c", "a.zip")) as file:
        file.write(packed({"a.tif": bytes(20_000_000)}))

    assert kind_at(storage, SourceRef("c", "a.zip")) == "raster"
    assert storage.read_bytes < 200_000


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\3\4 and no more", packed({"a.tif": b"x"})[:-9]],
    ids=["empty", "begun", "cut"],
)
def test_a_zip_that_can_not_be_read_counts_as_vector_where_that_is_said(
    storage: BlobStorage, put: Callable[..., SourceRef], content: bytes
) -> None:
    assert kind_at(storage, put("a.zip", content)) == "vector"


def test_a_zip_of_both_kinds_is_refused_by_either_job(
    storage: BlobStorage, put: Callable[..., SourceRef]
) -> None:
    source = put("a.zip", packed({"roads.shp": b"", "dem.tif": b""}))
    for look in (kind_at, identify, identify_raster):
        with pytest.raises(SourceError, match="holds vectors and rasters"):
            look(storage, source)


def test_a_spec_may_say_what_a_misleading_name_is(
    storage: BlobStorage, put: Callable[..., SourceRef]
) -> None:
    source = put("d/points.json", b"x")
    assert kind_at(storage, source) == "vector"

    put("d/points.json.ingest.yaml", b"file_extension: tif\n")

    assert kind_at(storage, source) == "raster"
    assert kind_at(storage, source, {"file_extension": "csv"}) == "vector"


def test_a_source_of_the_other_kind_is_refused_with_its_job(
    storage: BlobStorage, put: Callable[..., SourceRef]
) -> None:
    with pytest.raises(SourceError, match=r"it is a vector source.*start ingest_vector"):
        identify_raster(storage, put("a.gpkg", b"x"))
    with pytest.raises(SourceError, match=r"it is a raster source.*start process_raster"):
        identify(storage, put("a.tif", b"x"))


def test_a_raster_that_is_not_there_is_said(
    storage: BlobStorage, put: Callable[..., SourceRef], unique: str
) -> None:
    put("b.tif")
    with pytest.raises(StorageError, match="holds no such blob"):
        identify_raster(storage, SourceRef(unique, "a.tif"))


# Settings and collections


def test_settings_of_folders_and_sidecar_make_the_spec_of_a_raster(
    storage: BlobStorage, put: Callable[..., SourceRef]
) -> None:
    source = put("d/dem.tif", b"x")
    put("_ingest.yaml", b"schema: city\ntarget_crs: native\nnodata: 1\n")
    put("d/_ingest.yaml", b"nodata: 2\n")
    put("d/dem.ingest.yaml", b"band_names: [height]\n")

    spec = resolve_raster(storage, source)

    assert (spec.target_crs, spec.nodata, spec.band_names) == ("native", 2, ["height"])
    put("d/dem.ingest.yaml", b"schema: city\n")
    with pytest.raises(SpecError, match="a setting of vectors"):
        resolve_raster(storage, source)


def test_the_nearest_folder_decides_which_collection_a_raster_is_in(
    storage: BlobStorage, put: Callable[..., SourceRef], unique: str
) -> None:
    put("dem/_ingest.yaml", b"collection: true\n")
    put("dem/inner/_ingest.yaml", b"target_crs: native\n")
    put("dem/apart/_ingest.yaml", b"collection: false\n")
    put("dem/own/_ingest.yaml", b"collection: true\n")
    found = {
        path: collection_of(storage, SourceRef(unique, path))
        for path in (
            "a.tif",
            "dem/a.tif",
            "dem/inner/deep/a.tif",
            "dem/apart/a.tif",
            "dem/own/a.tif",
            "demo/a.tif",
        )
    }
    assert {path: str(ref) for path, ref in found.items() if ref is not None} == {
        "dem/a.tif": f"{unique}/dem",
        "dem/inner/deep/a.tif": f"{unique}/dem",
        "dem/own/a.tif": f"{unique}/dem/own",
    }


def test_members_are_the_rasters_below_a_folder(
    storage: BlobStorage, put: Callable[..., SourceRef], unique: str
) -> None:
    for path in (
        "dem/b.tif",
        "dem/a.TIF",
        "dem/sub/c.jp2",
        "dem/_old.tif",
        "dem/.hidden.tif",
        "dem/a.tfw",
        "dem/roads.gpkg",
        "dem/apart/d.tif",
        "demo/e.tif",
        "f.tif",
    ):
        put(path)
    put("dem/apart/_ingest.yaml", b"collection: false\n")
    put("dem/N10W110.zip", packed({"N10W110.hgt": b""}))
    put("dem/roads.zip", packed({"roads.shp": b""}))
    put("dem/both.zip", packed({"roads.shp": b"", "a.tif": b""}))
    put("dem/broken.zip", b"x")

    members = members_of(storage, CollectionRef(unique, "dem"))

    assert [member.path for member in members] == [
        "dem/N10W110.zip",
        "dem/a.TIF",
        "dem/b.tif",
        "dem/both.zip",
        "dem/broken.zip",
        "dem/sub/c.jp2",
    ]
    assert len(members_of(storage, CollectionRef(unique, ""))) == 8


def test_spec_of_a_collection_is_that_of_its_folder(
    storage: BlobStorage, put: Callable[..., SourceRef], unique: str
) -> None:
    put("_ingest.yaml", b"nodata: 1\ntarget_crs: native\n")
    put("dem/_ingest.yaml", b"nodata: 2\nmembers: {on_bad: skip}\n")
    put("dem/sub/_ingest.yaml", b"nodata: 3\n")

    spec = resolve_collection(storage, CollectionRef(unique, "dem"), {"collection_id": "x"})

    assert (spec.nodata, spec.target_crs) == (2, "native")
    assert (spec.members.on_bad, spec.collection_id) == ("skip", "x")
    assert resolve_collection(storage, CollectionRef(unique, "")).nodata == 1


# From the command


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def bring(
    storage: BlobStorage, unique: str, said: list[str]
) -> Callable[[Path], tuple[Located, dict[str, bytes]]]:
    """Find and deliver what a person names, as the command does; bronze afterwards."""

    def find(path: Path) -> tuple[Located, dict[str, bytes]]:
        located = locate(storage, str(path), unique, None)
        deliver(storage, located, said.append)
        pages = storage.pages(unique)
        return located, {blob.ref.path: storage.read(blob.ref) for page in pages for blob in page}

    return find


Bring = Callable[[Path], tuple[Located, dict[str, bytes]]]


def fill(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def test_a_local_raster_goes_into_bronze_with_its_siblings(
    bring: Bring, tmp_path: Path, unique: str
) -> None:
    folder = fill(
        tmp_path / "here",
        a__TIF=b"pixels",
        a__TFW=b"world",
        a__tif__aux__xml=b"aux",
        a__ingest__yaml=b"nodata: 0\n",
        a__tif__ovr=b"overviews",
        _ingest__yaml=b"nodata: 1\n",
    )

    located, bronze = bring(folder / "a.TIF")

    assert located == Located(SourceRef(unique, "a.TIF"), "raster", folder / "a.TIF")
    assert bronze == {
        "a.TIF": b"pixels",
        "a.tfw": b"world",
        "a.tif.aux.xml": b"aux",
        "a.ingest.yaml": b"nodata: 0\n",
    }


def test_a_raster_replaces_another_of_its_name_whole(
    bring: Bring, tmp_path: Path, said: list[str]
) -> None:
    bring(fill(tmp_path / "old", a__tif=b"old", a__tfw=b"old") / "a.tif")

    _, bronze = bring(fill(tmp_path / "new", a__tif=b"new") / "a.tif")

    assert bronze == {"a.tif": b"new"}
    assert len(said) == 1


@pytest.mark.parametrize("new", [{"a__tif": b"t"}, {"a__tif": b"t", "a__prj": b"other"}])
def test_a_sibling_that_another_source_has_too_is_not_changed(
    bring: Bring, tmp_path: Path, new: dict[str, bytes], storage: BlobStorage, unique: str
) -> None:
    shapefile = fill(tmp_path / "old", a__shp=b"s", a__dbf=b"d", a__prj=b"p")
    bring(shapefile / "a.shp")
    raster = fill(tmp_path / "new", **new) / "a.tif"

    with pytest.raises(SourceError, match=r"a\.prj: it belongs to 'a\.shp' in .* another or none"):
        bring(raster)

    assert storage.read(SourceRef(unique, "a.prj")) == b"p"
    with pytest.raises(StorageError):
        storage.stat(SourceRef(unique, "a.tif"))


def test_an_equal_sibling_is_shared(bring: Bring, tmp_path: Path) -> None:
    bring(fill(tmp_path / "old", a__shp=b"s", a__dbf=b"d", a__prj=b"p") / "a.shp")

    _, bronze = bring(fill(tmp_path / "new", a__tif=b"t", a__prj=b"p") / "a.tif")

    assert set(bronze) == {"a.shp", "a.dbf", "a.prj", "a.tif"}


def test_a_local_folder_becomes_a_folder_of_bronze(
    bring: Bring, tmp_path: Path, unique: str, said: list[str]
) -> None:
    folder = fill(
        tmp_path / "dem",
        a__tif=b"a",
        a__tfw=b"w",
        _ingest__yaml=b"nodata: 0\n",
        roads__gpkg=b"v",
        readme__txt=b"r",
    )
    fill(folder / "sub", b__jp2=b"b", b__jp2__ingest__yaml=b"{}", _ingest__yaml=b"{}")
    fill(folder / ".git", c__tif=b"c")
    (folder / "srtm.zip").write_bytes(packed({"N10W110.hgt": b"h"}))

    located, bronze = bring(folder)

    assert located == Located(CollectionRef(unique, "dem"), "collection", folder)
    assert set(bronze) == {
        "dem/a.tif",
        "dem/a.tfw",
        "dem/_ingest.yaml",
        "dem/sub/b.jp2",
        "dem/sub/b.jp2.ingest.yaml",
        "dem/sub/_ingest.yaml",
        "dem/srtm.zip",
    }
    assert said == ["1 vector files of the folder are left out, 'roads.gpkg' for one."]


def test_rasters_that_are_in_the_folder_of_bronze_already_stay_and_are_said(
    bring: Bring, tmp_path: Path, said: list[str]
) -> None:
    bring(fill(tmp_path / "one" / "dem", a__tif=b"a", b__tif=b"b"))

    _, bronze = bring(fill(tmp_path / "two" / "dem", b__tif=b"b"))

    assert set(bronze) == {"dem/a.tif", "dem/b.tif"}
    assert len(said) == 1
    assert "1 rasters that the folder here does not, 'dem/a.tif'" in said[0]


def test_the_same_folder_again_writes_nothing(
    storage: BlobStorage, bring: Bring, tmp_path: Path, unique: str, said: list[str]
) -> None:
    folder = fill(tmp_path / "dem", a__tif=b"a", a__tfw=b"w")
    bring(folder)
    before = state_of(storage, SourceRef(unique, "dem/a.tif"))

    bring(folder)

    assert state_of(storage, SourceRef(unique, "dem/a.tif")) == before
    assert said == []


def test_what_is_in_storage_is_found_by_its_key(
    storage: BlobStorage, put: Callable[..., SourceRef], unique: str
) -> None:
    put("dem/a.tif")
    put("dem/roads.gpkg")
    put("srtm.zip", packed({"N10W110.hgt": b""}))
    found = {
        given: locate(storage, f"{unique}{given}", "bronze", None)
        for given in ("", "/", "/dem", "/dem/", "/dem/a.tif", "/dem/roads.gpkg", "/srtm.zip")
    }
    assert {given: (str(one.ref), one.work) for given, one in found.items()} == {
        "": (unique, "collection"),
        "/": (unique, "collection"),
        "/dem": (f"{unique}/dem", "collection"),
        "/dem/": (f"{unique}/dem", "collection"),
        "/dem/a.tif": (f"{unique}/dem/a.tif", "raster"),
        "/dem/roads.gpkg": (f"{unique}/dem/roads.gpkg", "vector"),
        "/srtm.zip": (f"{unique}/srtm.zip", "raster"),
    }
    assert all(one.path is None for one in found.values())


def test_a_file_of_local_storage_is_a_blob_already(tmp_path: Path) -> None:
    storage = LocalBlobs(tmp_path / "blobs")
    fill(tmp_path / "blobs" / "bronze" / "dem", a__tif=b"a")
    for given, key in (("dem/a.tif", "bronze/dem/a.tif"), ("dem", "bronze/dem"), ("", "bronze")):
        path = tmp_path / "blobs" / "bronze" / given
        located = locate(storage, str(path), "bronze", storage.root)
        assert (str(located.ref), located.path) == (key, None)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing.tif", "there is no such file"),
        ("empty", "the folder holds no raster"),
        ("note.txt", "is no vector format that geo_etl reads, and no raster format"),
        ("both.zip", "holds vectors and rasters"),
    ],
)
def test_what_can_not_be_meant_is_refused_before_anything_is_copied(
    bring: Bring, tmp_path: Path, storage: BlobStorage, unique: str, name: str, problem: str
) -> None:
    fill(tmp_path / "empty", roads__gpkg=b"v")
    (tmp_path / "note.txt").write_bytes(b"x")
    (tmp_path / "both.zip").write_bytes(packed({"a.shp": b"", "b.tif": b""}))

    with pytest.raises(SourceError, match=problem):
        bring(tmp_path / name)

    assert unique not in storage.containers()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("/nowhere/", "there is nothing in this folder"),
        ("/b.tif", "it is no file here, and no blob"),
    ],
)
def test_what_storage_does_not_hold_is_said(
    storage: BlobStorage, put: Callable[..., SourceRef], unique: str, given: str, problem: str
) -> None:
    put("a.tif")
    with pytest.raises(SourceError, match=problem):
        locate(storage, f"{unique}{given}", "bronze", None)


def test_real_zip_of_elevations_is_a_raster(
    shared_data: Path, bring: Bring, tmp_path: Path
) -> None:
    shutil.copyfile(
        shared_data / "raster" / "other" / "N10W110.hgt.zip", tmp_path / "N10W110.hgt.zip"
    )
    located, bronze = bring(tmp_path / "N10W110.hgt.zip")
    assert located.work == "raster"
    assert list(bronze) == ["N10W110.hgt.zip"]


def test_real_photo_comes_with_its_world_file(shared_data: Path, bring: Bring) -> None:
    located, bronze = bring(shared_data / "raster" / "other" / "a39se10.jpg")
    assert located.work == "raster"
    assert set(bronze) == {"a39se10.jpg", "a39se10.jgw"}
