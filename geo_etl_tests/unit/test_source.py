"""Opening sources: what a file claims to be, what it is, and which layer is meant."""

import json
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import pytest
import shapely

from geo_etl.errors import SourceError, SpecError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.formats.layer import FID, GEOMETRY, Layer
from geo_etl.vector.source import (
    format_of,
    harmless,
    open_layer,
    supported_extensions,
)

SIBLINGS = ("shp", "shx", "dbf", "prj", "cpg")


def spec(**values: Any) -> VectorSpec:
    return resolve_vector_spec([SpecLayer("test", values)])


def open_(path: Path, **values: Any) -> Layer:
    return open_layer(path, path.name, spec(**values))


def refusal(path: Path, **values: Any) -> SourceError:
    """The error that opening or reading a file gives."""
    with pytest.raises(SourceError) as caught:
        list(open_(path, **values).batches())
    assert caught.value.thing in (path.name, str(path))
    return caught.value


def rows(layer: Layer) -> list[dict[str, Any]]:
    return [row for batch in layer.batches() for row in batch.to_pylist()]


def frame(count: int = 2, crs: Any = 4326, **columns: Any) -> geopandas.GeoDataFrame:
    columns = columns or {"name": [f"n{i}" for i in range(count)]}
    points = shapely.points([[i, 10 + i] for i in range(count)])
    return geopandas.GeoDataFrame(columns, geometry=points, crs=crs)


def write(path: Path, data: geopandas.GeoDataFrame, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.write_dataframe(data, path, **options)
    return path


def feature(properties: Any = None, coordinates: Any = (1.0, 2.0), **more: Any) -> dict[str, Any]:
    geometry = coordinates and {"type": "Point", "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties or {}, **more}


def geojson(path: Path, *features: Any, **more: Any) -> Path:
    collection = {"type": "FeatureCollection", "features": features, **more}
    path.write_text(json.dumps(collection))
    return path


@pytest.fixture
def shapefile(tmp_path: Path) -> Path:
    """A folder with a loose shapefile called `s`."""
    folder = tmp_path / "loose"
    folder.mkdir()
    write(folder / "s.shp", frame())
    return folder


def pack(path: Path, folder: Path, *stems: str, leave_out: tuple[str, ...] = ()) -> Path:
    """A zip of the shapefile `s` under each of the given stems."""
    with zipfile.ZipFile(path, "w") as archive:
        for stem in stems:
            for extension in SIBLINGS:
                if extension not in leave_out:
                    archive.write(folder / f"s.{extension}", f"{stem}.{extension}")
    return path


def pack_texts(path: Path, **texts: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return path


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("roads.gpkg", "gpkg"),
        ("ROADS.GPKG", "gpkg"),
        ("city/roads.v2.geojson", "geojson"),
        ("roads.json", "geojson"),
        ("roads.ndjson", "geojson"),
        ("roads.Zip", "zip"),
    ],
)
def test_format_follows_the_extension(name: str, expected: str) -> None:
    assert expected in format_of(name).extensions


def test_format_of_the_spec_comes_before_the_names() -> None:
    assert "gpkg" in format_of("roads.zip", "GPKG").extensions


@pytest.mark.parametrize("name", ["roads.tif", "roads", "roads.gpkg.bak", ".gpkg", "gpkg"])
def test_unknown_extension_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SourceError, match="no vector format") as caught:
        format_of(name)
    assert all(extension in caught.value.remedy for extension in supported_extensions())


# Content


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.gpkg", b"<OGRVRTDataSource></OGRVRTDataSource>", "its content is not GeoPackage"),
        ("a.gpkg", b'{"type": "FeatureCollection"}', "its content is not GeoPackage"),
        ("a.gpkg", b"SQLite format 2\0", "its content is not GeoPackage"),
        ("a.json", b"<?xml version='1.0'?><kml/>", "its content is not GeoJSON"),
        ("a.geojson", b"id,lat,lon\n1,2,3\n", "its content is not GeoJSON"),
        ("a.geojson", b"PK\x03\x04", "its content is not GeoJSON"),
        ("a.geojson", b" \n\t ", "its content is not GeoJSON"),
        ("a.zip", b"no archive", "it is not a readable zip archive"),
        ("a.zip", b"SQLite format 3\0" + b"\0" * 100, "it is not a readable zip archive"),
        ("a.zip", b"PK\x03\x04 and no more", "it is not a readable zip archive"),
    ],
)
def test_content_of_another_kind_is_refused(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).problem.startswith(problem)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.json", "a.zip"])
def test_file_of_no_bytes_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert refusal(tmp_path / name).problem == "it is empty (0 bytes)"


def vrt_of(secret: Path) -> str:
    return (
        f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource>'
        "<SrcLayer>secret</SrcLayer></OGRVRTLayer></OGRVRTDataSource>"
    )


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that is not the source, and must not be read in its stead."""
    return write(tmp_path / "secret.gpkg", frame(name=["x", "y"]))


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.json", "a.zip"])
def test_file_that_points_at_another_is_not_followed(
    tmp_path: Path, secret: Path, name: str
) -> None:
    (tmp_path / name).write_text(vrt_of(secret))
    refusal(tmp_path / name)


def test_member_of_a_zip_that_points_at_another_file_is_not_followed(
    tmp_path: Path, secret: Path
) -> None:
    path = pack_texts(tmp_path / "a.zip", **{"roads.shp": vrt_of(secret)})
    refusal(path)


def test_json_that_is_a_gdal_pipeline_is_not_run(tmp_path: Path, secret: Path) -> None:
    pipeline = f"gdal vector pipeline ! read {secret} ! write --output-format=stream out"
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "gdal_streamed_alg", "command_line": pipeline}))
    refusal(path)


def test_json_of_another_format_is_refused(tmp_path: Path) -> None:
    esri = {
        "geometryType": "esriGeometryPoint",
        "spatialReference": {"wkid": 4326},
        "fields": [{"name": "a", "type": "esriFieldTypeInteger"}],
        "features": [{"geometry": {"x": 1, "y": 2}, "attributes": {"a": 1}}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(esri))
    refusal(path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # GDAL's warning
def test_extension_of_the_spec_lets_a_misnamed_file_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame()).rename(tmp_path / "a.bin")
    assert len(rows(open_(path, file_extension="gpkg"))) == 2


def test_byte_order_mark_is_no_hindrance(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", feature({"name": "é"}))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [row["name"] for row in rows(open_(path))] == ["é"]


def test_single_feature_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(feature({"name": "x"})))
    assert [row["name"] for row in rows(open_(tmp_path / "a.json"))] == ["x"]


# Truncated files


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_truncated_geopackage_is_refused(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "a.gpkg", frame(500, name=["x" * 100] * 500))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "can't read it: " in refusal(path).problem


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_truncated_geojson_is_refused(tmp_path: Path, share: float) -> None:
    path = geojson(tmp_path / "a.geojson", *[feature({"n": i}) for i in range(100)])
    text = path.read_text()
    path.write_text(text[: int(len(text) * share)])
    assert "cut off" in refusal(path).problem


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_zip_is_refused(tmp_path: Path, shapefile: Path, share: float) -> None:
    path = pack(tmp_path / "a.zip", shapefile, "roads")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert refusal(path).problem.startswith("it is not a readable zip archive")


def test_geopackage_with_a_hole_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(3000, name=["x" * 100] * 3000))
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + b"\0" * 20_000 + data[middle + 20_000 :])
    with pytest.raises(SourceError, match=r"the file is damaged|malformed"):
        read_all(path)


def read_all(path: Path) -> None:
    layer = open_(path)
    layer.check_complete(len(rows(layer)))


# Layers


def test_layer_says_what_the_file_declares(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(3, crs=25832), layer="roads")
    layer = open_(path)
    assert (layer.name, layer.crs, layer.feature_count) == ("roads", "EPSG:25832", 3)
    assert layer.bounds == (0.0, 10.0, 2.0, 12.0)
    assert layer.bytes == path.stat().st_size


def two_layers(path: Path) -> Path:
    write(path, frame(1), layer="roads")
    return write(path, frame(2), layer="rivers", append=True)


def test_several_layers_are_listed_when_none_is_named(tmp_path: Path) -> None:
    error = refusal(two_layers(tmp_path / "a.gpkg"))
    assert error.problem == "it has 2 layers and the spec names none"
    assert error.remedy == "Set converter_params.layer_name to one of: 'roads', 'rivers'."


def test_named_layer_is_the_one_that_is_read(tmp_path: Path) -> None:
    path = two_layers(tmp_path / "a.gpkg")
    layer = open_(path, converter_params={"layer_name": "rivers"})
    assert (layer.name, len(rows(layer))) == ("rivers", 2)


def test_layer_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    error = refusal(two_layers(tmp_path / "a.gpkg"), converter_params={"layer_name": "Roads"})
    assert error.problem == "it has no layer 'Roads'"
    assert error.remedy.endswith("one of: 'roads', 'rivers'.")


def test_table_without_geometries_is_no_layer(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(2), layer="roads")
    names = frame(1).drop(columns="geometry")
    pyogrio.write_dataframe(names, path, layer="names", append=True)
    assert open_(path).name == "roads"


def test_file_with_no_geometries_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    pyogrio.write_dataframe(frame(1).drop(columns="geometry"), path)
    assert refusal(path).problem.startswith("it has no layer with geometries")


def test_layer_without_features_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(1).iloc[:0], geometry_type="Point")
    assert refusal(path).problem == "its layer has no features"


def test_collection_without_features_is_refused(tmp_path: Path) -> None:
    assert refusal(geojson(tmp_path / "a.geojson")).problem == "its layer has no features"


# CRS


def test_missing_crs_is_refused_with_the_setting_that_gives_it(tmp_path: Path) -> None:
    error = refusal(write(tmp_path / "a.gpkg", frame(crs=None)))
    assert error.problem == "nothing says which CRS its coordinates are in"
    assert "converter_params.source_crs" in error.remedy


def test_shapefile_without_prj_has_no_crs(tmp_path: Path, shapefile: Path) -> None:
    error = refusal(pack(tmp_path / "a.zip", shapefile, "roads", leave_out=("prj",)))
    assert error.problem == "nothing says which CRS its coordinates are in"


def test_source_crs_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(crs=None))
    assert open_(path, converter_params={"source_crs": "EPSG:31467"}).crs == "EPSG:31467"


def test_source_crs_overrides_what_the_file_declares(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(crs=4326))
    assert open_(path, converter_params={"source_crs": "EPSG:31467"}).crs == "EPSG:31467"


def test_geojson_is_in_degrees_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert open_(geojson(tmp_path / "a.json", feature())).crs == "EPSG:4326"


def test_old_crs_member_of_geojson_is_heeded(tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25832"}}
    assert open_(geojson(tmp_path / "a.json", feature(), crs=crs)).crs == "EPSG:25832"


# Limits


def test_more_features_than_the_limit_are_refused_with_both_figures(tmp_path: Path) -> None:
    error = refusal(write(tmp_path / "a.gpkg", frame(3)), limits={"max_features": 2})
    assert error.problem == "it has at least 3 features; the limit is 2"
    assert "limits.max_features" in error.remedy


def test_as_many_features_as_the_limit_are_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(3))
    assert len(rows(open_(path, limits={"max_features": 3}))) == 3


def test_file_above_the_size_limit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame())
    error = refusal(path, limits={"max_file_size_gb": path.stat().st_size / 1e9 * 0.999})
    assert "limits.max_file_size_gb" in error.remedy


def test_file_of_the_size_limit_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame())
    assert open_(path, limits={"max_file_size_gb": path.stat().st_size / 1e9}).feature_count == 2


def test_size_limit_counts_the_zip_as_it_is_unpacked(tmp_path: Path, shapefile: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for extension in SIBLINGS:
            archive.write(shapefile / f"s.{extension}", f"s.{extension}")
        archive.writestr("zeros.bin", b"\0" * 1_000_000)
    assert path.stat().st_size < 100_000
    error = refusal(path, limits={"max_file_size_gb": 0.0005})
    assert "the limit is 0.0005 GB" in error.problem


# Zips


def test_upper_case_names_in_the_zip_are_found(tmp_path: Path, shapefile: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for extension in SIBLINGS:
            archive.write(shapefile / f"s.{extension}", f"ROADS.{extension.upper()}")
    assert len(rows(open_(path))) == 2


def test_braces_in_the_zips_own_name_do_no_harm(tmp_path: Path, shapefile: Path) -> None:
    assert len(rows(open_(pack(tmp_path / "a{}b.zip", shapefile, "roads")))) == 2


@pytest.mark.parametrize("stem", ["__MACOSX/._roads", "x/__MACOSX/roads", "x/._roads"])
def test_what_a_mac_adds_to_a_zip_is_ignored(tmp_path: Path, shapefile: Path, stem: str) -> None:
    assert len(rows(open_(pack(tmp_path / "a.zip", shapefile, "roads", stem)))) == 2


def test_two_shapefiles_in_a_zip_are_listed(tmp_path: Path, shapefile: Path) -> None:
    error = refusal(pack(tmp_path / "a.zip", shapefile, "a/roads", "b/rivers"))
    assert error.problem == "it has 2 layers and the spec names none"
    assert error.remedy.endswith("one of: 'roads', 'rivers'.")


def test_shapefile_is_picked_by_its_name(tmp_path: Path, shapefile: Path) -> None:
    path = pack(tmp_path / "a.zip", shapefile, "a/roads", "b/rivers")
    assert open_(path, converter_params={"layer_name": "rivers"}).name == "rivers"


def test_zip_without_members_is_refused_as_such(tmp_path: Path) -> None:
    assert "it holds nothing" in refusal(pack_texts(tmp_path / "a.zip")).problem


def test_encrypted_zip_is_refused(tmp_path: Path, shapefile: Path) -> None:
    path = pack(tmp_path / "a.zip", shapefile, "roads")
    data = bytearray(path.read_bytes())
    # Bit 0 of the general purpose flags, 8 bytes into each entry of the central directory.
    entry = data.find(b"PK\x01\x02")
    while entry >= 0:
        data[entry + 8] |= 1
        entry = data.find(b"PK\x01\x02", entry + 4)
    path.write_bytes(data)
    assert refusal(path).problem == "the archive is encrypted"


@pytest.mark.parametrize("stem", ["../roads", "a/../../roads", "/roads"])
def test_zip_with_a_path_that_leads_outside_is_refused(
    tmp_path: Path, shapefile: Path, stem: str
) -> None:
    path = pack(tmp_path / "a.zip", shapefile, "fine", stem)
    if stem.startswith("/"):
        # Python's zipfile strips the slash on writing: put it back, in place of a letter.
        path = pack(tmp_path / "b.zip", shapefile, "fine", "#roads")
        path.write_bytes(path.read_bytes().replace(b"#roads", b"/roads"))
    assert refusal(path).problem == "a path in the archive leads outside it"


# Attributes


def test_batches_begin_with_the_id_and_end_with_the_geometry(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.json", feature({"name": "x"}))
    (batch,) = open_(path).batches()
    assert batch.schema.names == [FID, "name", GEOMETRY]
    assert batch.column(FID).to_pylist() == [0]
    assert shapely.from_wkb(batch.column(GEOMETRY)[0].as_py()).wkt == "POINT (1 2)"


def test_id_of_a_geopackage_stays_as_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(2))
    (batch,) = open_(path).batches()
    assert batch.schema.names[:4] == [FID, "fid", "name", GEOMETRY]
    assert batch.column("fid").to_pylist() == [1, 2]


def test_id_column_of_a_geopackage_keeps_its_own_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(2), layer_options={"FID": "gid"})
    (batch,) = open_(path).batches()
    assert batch.schema.names[:4] == [FID, "gid", "name", GEOMETRY]


@pytest.mark.parametrize("name", ["id", "fid", "OGC_FID", "geometry", "wkb_geometry", "geom"])
def test_attribute_called_like_id_or_geometry_is_an_attribute(tmp_path: Path, name: str) -> None:
    path = geojson(tmp_path / "a.json", feature({name: "mine"}))
    (batch,) = open_(path).batches()
    assert batch.schema.names == [FID, name, GEOMETRY]
    assert batch.column(1).to_pylist() == ["mine"]
    assert batch.column(FID).to_pylist() == [0]


@pytest.mark.parametrize("name", [FID, GEOMETRY])
def test_attribute_called_like_an_own_column_can_be_told_apart(tmp_path: Path, name: str) -> None:
    (batch,) = open_(geojson(tmp_path / "a.json", feature({name: "mine"}))).batches()
    assert len(set(batch.schema.names)) == 3


def test_id_that_is_text_becomes_a_column(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.json", feature({"name": "x"}, id="a7"))
    assert [(row["id"], row["name"]) for row in rows(open_(path))] == [("a7", "x")]


def test_feature_without_geometry_is_read(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.json", feature({"n": 1}), feature({"n": 2}, coordinates=None))
    assert [row[GEOMETRY] is None for row in rows(open_(path))] == [False, True]


def test_values_of_geojson_keep_their_types(tmp_path: Path) -> None:
    values = {"b": True, "i": 5, "f": 1.5, "l": ["a", "b"], "o": {"k": [1]}, "d": "2024-05-01"}
    (batch,) = open_(geojson(tmp_path / "a.json", feature(values))).batches()
    types = [str(batch.schema.field(name).type) for name in values]
    assert types == [
        "bool",
        "int32",
        "double",
        "list<item: string>",
        "extension<arrow.json>",
        "date32[day]",
    ]


# Encodings


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A zipped shapefile in ISO 8859-1 that does not say so."""
    folder = tmp_path / "latin"
    folder.mkdir()
    write(folder / "s.shp", frame(name=["Straße", "Öl"]), encoding="ISO-8859-1")
    return pack(tmp_path / "latin.zip", folder, "s", leave_out=("cpg",))


def test_encoding_of_the_spec_is_used(latin: Path) -> None:
    layer = open_(latin, converter_params={"encoding": "ISO-8859-1"})
    assert [row["name"] for row in rows(layer)] == ["Straße", "Öl"]


def test_encoding_that_cpg_declares_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "utf8"
    folder.mkdir()
    write(folder / "s.shp", frame(name=["Straße", "道路"]), encoding="UTF-8")
    layer = open_(pack(tmp_path / "a.zip", folder, "s"))
    assert [row["name"] for row in rows(layer)] == ["Straße", "道路"]


def test_unknown_encoding_is_refused(latin: Path) -> None:
    with pytest.raises(SpecError, match="Is no known encoding"):
        refusal(latin, converter_params={"encoding": "klingon"})


ODD_NAMES = ["a b", "a#b", "a%20b", "a?b", "a&b", "a=b", "a:b", "é道", "a'b", "a{}b", "a+b"]


@pytest.mark.parametrize("stem", ODD_NAMES)
def test_odd_characters_in_a_name_do_no_harm(tmp_path: Path, stem: str) -> None:
    path = write(tmp_path / "a.gpkg", frame(name=["x", "y"]))
    odd = tmp_path / f"{stem}.gpkg"
    shutil.copy(path, odd)
    assert [row["name"] for row in rows(open_(odd))] == ["x", "y"]


def test_exclamation_mark_in_a_name_does_not_lead_to_another_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", frame(name=["mine"] * 2))
    other = write(tmp_path / "other.gpkg", frame(name=["other"] * 2))
    odd = Path(f"{tmp_path}/folder!{other}")
    odd.parent.mkdir(parents=True)
    shutil.copy(path, odd)
    with harmless(odd) as path:
        assert [row["name"] for row in rows(open_(path))] == ["mine", "mine"]


def test_shapefile_without_attributes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.shp", frame(5))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for part in (".shp", ".shx", ".prj"):
            archive.write(tmp_path / f"a{part}", f"a{part}")
    assert refusal(tmp_path / "a.zip").problem == "'a.shp' has no .dbf with its attributes"
