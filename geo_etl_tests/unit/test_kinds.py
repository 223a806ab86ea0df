"""Vector or raster, and which files are one source: by names alone."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.errors import SourceError
from geo_etl.ingest.archived import kind_of_archive
from geo_etl.ingest.kinds import (
    RASTER_EXTENSIONS,
    VECTOR_EXTENSIONS,
    is_raster_name,
    is_source_name,
    kind_of,
)
from geo_etl.ingest.siblings import group, group_of, lacks_part
from geo_etl.ingest.zipped import member_names
from geo_etl.vector.source import supported_extensions

# Names


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dem.tif", "raster"),
        ("a/b/DEM.TIFF", "raster"),
        ("N10W110.hgt", "raster"),
        ("scene.jp2", "raster"),
        ("pr_2020.nc", "raster"),
        ("map.jpeg", "raster"),
        ("roads.gpkg", "vector"),
        ("roads.shp", "vector"),
        ("points.csv", "vector"),
        ("readme.txt", None),
        ("tif", None),
        ("a.tif/readme", None),
        (".tif", None),
        ("dem.tif.aux.xml", None),
        ("dem.tif.ovr", None),
        ("dem.vrt", None),
    ],
)
def test_kind_is_told_by_the_extension(path: str, expected: str | None) -> None:
    assert kind_of(path) == expected


def test_spec_overrides_the_extension() -> None:
    assert kind_of("dem.dat", "TIF") == "raster"
    assert kind_of("dem.tif", "geojson") == "vector"


def test_vector_extensions_are_those_of_the_formats() -> None:
    assert sorted(VECTOR_EXTENSIONS) == sorted(supported_extensions())


def test_only_a_zip_may_be_of_either_kind() -> None:
    assert set(VECTOR_EXTENSIONS) & set(RASTER_EXTENSIONS) == {"zip"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("roads.gpkg", True),
        ("a/b/roads.GeoJSON", True),
        ("_archive/roads.zip", True),
        ("a/dem.TIF", True),
        ("roads.gpkg.ingest.yaml", False),
        ("roads.gpkg-wal", False),
        ("a/.roads.gpkg", False),
        ("a/_dem.tif", False),
        ("gpkg", False),
        ("roads.gpkg/readme.txt", False),
        ("dem.tfw", False),
        ("dem.tif.msk", False),
    ],
)
def test_sources_are_known_by_name(path: str, expected: bool) -> None:
    assert is_source_name(path) is expected


def test_a_zip_is_no_raster_by_its_name() -> None:
    assert not is_raster_name("dem.tif.zip")


# Archives


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["roads.shp", "roads.dbf", "roads.prj"], "vector"),
        (["N10W110.hgt"], "raster"),
        (["dem.tif", "dem.tfw", "readme.txt"], "raster"),
        (["sub/photo.jpg", "sub/photo.jgw"], "raster"),
        (["photo.jpg"], "raster"),
        (["roads.gpkg", "preview.png"], "vector"),
        (["points.csv", "preview.png"], "vector"),
        (["dem.tif", "metadata.json", "outline.kml", "stations.csv"], "raster"),
        (["photo.png", "photo.pgw", "points.csv"], "raster"),
        (["points.csv"], "vector"),
        (["inner.zip"], "vector"),
        (["readme.txt"], "vector"),
        ([], "vector"),
    ],
)
def test_kind_of_an_archive_is_that_of_the_data_in_it(members: list[str], expected: str) -> None:
    assert kind_of_archive("a.zip", members) == expected
    assert kind_of_archive("a.zip", members[::-1]) == expected


@pytest.mark.parametrize(
    "members", [["roads.shp", "roads.dbf", "dem.tif"], ["a.gpkg", "map.png", "map.pgw"]]
)
def test_an_archive_of_both_kinds_is_refused(members: list[str]) -> None:
    with pytest.raises(SourceError, match=f"vectors and rasters: '{members[0]}'") as caught:
        kind_of_archive("b/a.zip", members)
    assert caught.value.thing == "b/a.zip"


def packed(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return file.getvalue()


def listed(tmp_path: Path, content: bytes) -> list[str] | None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    return member_names(io.FileIO(path))


def test_members_are_listed_without_what_systems_put_there(tmp_path: Path) -> None:
    content = packed("d/", "d/a.tif", "__MACOSX/d/._a.tif", "d/.DS_Store", "d\\b.tfw")
    assert listed(tmp_path, content) == ["d/a.tif", "d/b.tfw"]


@given(st.data())
def test_a_broken_archive_has_no_list_and_breaks_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = packed("a.tif", "b.shp")
    cut = data.draw(st.integers(0, len(content) - 1))
    flips = data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3))
    broken = bytearray(content)
    for place in flips:
        broken[place] ^= 0xFF
    found = listed(tmp_path_factory.mktemp("zip"), bytes(broken[:cut]))
    assert found is None or isinstance(found, list)


class Counting(io.FileIO):
    asked = 0

    def readinto(self, buffer: Any, /) -> int:
        self.asked += len(buffer)
        return super().readinto(buffer)


def test_a_list_of_members_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    size = 16_000_001
    end = b"PK\x05\x06" + bytes(4) + b"\1\0\1\0" + size.to_bytes(4, "little") + bytes(6)
    with (tmp_path / "a.zip").open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(end)

    file = Counting(tmp_path / "a.zip")
    assert member_names(file) is None
    assert file.asked < 1_000_000


# Siblings


def roles(main: str, *names: str) -> list[str]:
    return list(group(main, ((name, name) for name in (main, *names))))


@pytest.mark.parametrize(
    ("main", "beside"),
    [
        ("d/a.tif", ["tfw", "tifw", "wld"]),
        ("d/a.tiff", ["tfw", "tiffw", "wld"]),
        ("d/a.jpg", ["jgw", "jpgw", "wld"]),
        ("d/a.jpeg", ["jgw", "jpegw", "wld"]),
        ("d/a.png", ["pgw", "pngw", "wld"]),
        ("d/a.jp2", ["j2w", "jp2w", "wld"]),
        ("d/a.img", []),
        ("d/a.hgt", []),
    ],
)
def test_world_files_are_those_that_gdal_looks_for(main: str, beside: list[str]) -> None:
    every = "tfw tifw tiffw jgw jpgw jpegw pgw pngw j2w jp2w igw imgw htw hgtw wld".split()
    own = main.rpartition(".")[2]
    found = roles(main, *(f"d/a.{role}" for role in every), f"d/a.{own}.tfw")
    assert sorted(found[1:]) == sorted(beside)


def test_siblings_carry_the_whole_name_or_its_stem() -> None:
    beside = [
        "a.PRJ",
        "a.tif.aux.xml",
        "a.TIF.MSK",
        "a.aux.xml",
        "a.msk",
        "a.tif.ovr",
        "a.ige",
        "a.rrd",
        "b.prj",
        "a.b.prj",
        "a.dbf",
        "a.jpg.aux.xml",
    ]
    assert roles("a.tif", *beside) == ["tif", "prj", "tif.aux.xml", "tif.msk"]


def test_a_raster_comes_first_in_its_group() -> None:
    assert next(iter(roles("z.tif", "z.prj", "z.tfw"))) == "tif"


def test_a_prj_belongs_to_every_source_of_its_stem() -> None:
    assert roles("a.shp", "a.prj", "a.tfw", "a.dbf") == ["shp", "dbf", "prj"]
    assert roles("a.tif", "a.prj", "a.tfw", "a.dbf") == ["tif", "prj", "tfw"]


@pytest.mark.parametrize("main", ["a.gpkg", "a.zip", "a.kmz", "a"])
def test_other_sources_stand_alone(main: str) -> None:
    assert len(roles(main, "a.prj", "a.tfw", f"{main}.aux.xml")) == 1


def test_two_world_files_of_one_role_are_refused() -> None:
    with pytest.raises(SourceError, match=r"two files for one thing: 'a\.TFW' and 'a\.tfw'"):
        roles("a.tif", "a.TFW", "a.tfw")


def test_files_beside_a_local_raster_are_found(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tfw", "a.tif.aux.xml", "b.tfw"):
        (tmp_path / name).touch()

    found = group_of(tmp_path / "a.tif")

    assert {role: path.name for role, path in found.items()} == {
        "tif": "a.tif",
        "tfw": "a.tfw",
        "tif.aux.xml": "a.tif.aux.xml",
    }


@pytest.mark.parametrize(
    ("path", "beside", "expected"),
    [
        ("a.shp", {"prj"}, True),
        ("a.shp", {"dbf"}, False),
        ("a.png", {"prj"}, True),
        ("a.png", {"pgw"}, False),
        ("a.JPG", {"jpg.aux.xml"}, False),
        ("a.jpeg", {"pgw"}, True),
        ("a.tif", set(), False),
        ("a.gpkg", set(), False),
    ],
)
def test_what_can_not_be_read_yet_is_told_by_its_siblings(
    path: str, beside: set[str], expected: bool
) -> None:
    assert lacks_part(path, beside) is expected
