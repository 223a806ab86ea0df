"""Shapefiles, loose and zipped: every cell and vertex, and every way in which they are broken."""

import io
import shutil
import struct
import tempfile
import zipfile
from datetime import date
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.errors import SourceError, SpecError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.formats.layer import FID, GEOMETRY, OWN_COLUMNS, PROBLEM, Layer
from geo_etl.vector.source import harmless, open_layer
from geo_etl_tests.made import squares, write
from geo_etl_tests.shapefiles import (
    POLYGONS,
    DbfField,
    dbf,
    point,
    read_dbf,
    read_shp,
    rings,
    shp,
    write_points,
)

TEXT = DbfField(b"name", "C", 10)


def spec(**values: Any) -> VectorSpec:
    return resolve_vector_spec([SpecLayer("test", values)])


def table(layer: Layer) -> pa.Table:
    """All features, validated down to each character."""
    read = pa.Table.from_batches(list(layer.batches()))
    read.validate(full=True)
    layer.check_complete(read.num_rows)
    return read


def read(path: Path, **params: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Attributes of all features, and the remarks."""
    with harmless(path) as readable:
        layer = open_layer(readable, path.name, spec(converter_params=params))
        found = table(layer)
    columns = [name for name in found.column_names if name not in OWN_COLUMNS]
    return found.select(columns).to_pylist(), layer.remarks


def cells(path: Path, **params: Any) -> list[Any]:
    """The only column."""
    return [next(iter(row.values())) for row in read(path, **params)[0]]


def remarks(path: Path, **params: Any) -> str:
    return " ".join(read(path, **params)[1])


def refusal(path: Path, **params: Any) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, **params)
    return str(caught.value)


def column(folder: Path, field: DbfField, *values: bytes, **options: Any) -> Path:
    return write_points(folder, [field], [[value] for value in values], **options)


# Real files

# file, encoding of its text as its origin documents it
LOOSE = [
    ("10740/10740", "ascii"),
    ("QB_Toulouse_ortho/QB_Toulouse_ortho", "ascii"),
    ("boxes_with_date/boxes_with_date", "ascii"),
    ("farsi-labels/farsi-labels", "utf-8"),
    ("iso-8859-1_ldid/iso-8859-1_ldid", "iso-8859-1"),
    ("mn_counties/mn_counties", "ascii"),
    ("naturalearth_cities/naturalearth_cities", "iso-8859-1"),
    ("naturalearth_lowres/naturalearth_lowres", "iso-8859-1"),
    ("nc/nc", "ascii"),
    ("nz_pa_points_no_shx/nz_pa_points_topo_150k", "ascii"),
    ("olinda1/olinda1", "cp1252"),
    ("point_null_point/point_null_point", "ascii"),
    ("points_epsg2249_no_prj/points_epsg2249_no_prj", "utf-8"),
    ("polygon_zm/polygon_zm", "utf-8"),
    ("polyline_m/polyline_m", "utf-8"),
    ("popplaces/popplaces", "utf-8"),
    ("san_andres_location/san_andres_y_providencia_location", "utf-8"),
    ("scot_BNG/scot_BNG", "ascii"),
    ("storms_xyz_feature/storms_xyz_feature", "ascii"),
    ("system_encoding/system_encoding", "iso-8859-1"),
    ("test_852/test_852", "cp852"),
    ("testlayer_3857/testlayer_3857", "utf-8"),
    ("tokyomet262/tokyomet262", "ascii"),
]
ZIPPED = [
    ("nybb_16a.zip", "nybb", "nybb", "ascii"),
    ("poi.zip", "poi", "poi", "ascii"),
    ("prenzlauer.zip", "prenzlauer", "prenzlauer", "utf-8"),
    ("cities.zip", "cities", "cities", "utf-8"),
    ("REL.zip", "REL/releaseArea20090407", "releaseArea20090407", "utf-8"),
    ("sids2.zip", "sids2/sids2", "sids2", "ascii"),
    ("blockgroups_multishapefile.zip", "blockgroups", "blockgroups", "ascii"),
    ("blockgroups_multishapefile.zip", "blockgroups2", "blockgroups2", "ascii"),
]


def check_against(found: pa.Table, table_bytes: bytes, shape_bytes: bytes, encoding: str) -> None:
    """Compare with the independent reader: every cell, every vertex."""
    names, rows = read_dbf(table_bytes, encoding)
    assert [name for name in found.column_names if name not in OWN_COLUMNS] == names
    stored = [[row[name] for name in names] for row in found.to_pylist()]
    assert stored == rows
    assert found[FID].to_pylist() == list(range(len(rows)))
    kind = struct.unpack_from("<i", shape_bytes, 32)[0]
    geometries = shapely.force_2d(shapely.from_wkb(found[GEOMETRY].to_numpy()))
    for ours, theirs in zip(geometries, read_shp(shape_bytes), strict=True):
        if theirs is None or ours.geom_type == theirs.geom_type:
            assert ours == theirs
        elif kind in POLYGONS:
            assert rings(ours) == theirs
        else:
            assert [ours] == list(theirs.geoms)
    assert found[PROBLEM].null_count == len(rows)


@pytest.mark.parametrize(("file", "encoding"), LOOSE)
def test_every_cell_and_vertex_of_a_loose_shapefile(
    file: str, encoding: str, shared_data: Path
) -> None:
    path = shared_data / "vector" / "shp-loose" / f"{file}.shp"
    with harmless(path) as readable:
        layer = open_layer(readable, path.name, spec(converter_params={"source_crs": "EPSG:4326"}))
        found = table(layer)
    assert (layer.format, layer.name) == ("Shapefile", path.stem)
    table_bytes = path.with_suffix(".dbf").read_bytes()
    check_against(found, table_bytes, path.read_bytes(), encoding)


@pytest.mark.parametrize(("file", "member", "layer_name", "encoding"), ZIPPED)
def test_every_cell_and_vertex_of_a_zipped_shapefile(
    file: str, member: str, layer_name: str, encoding: str, shared_data: Path
) -> None:
    path = shared_data / "vector" / "shp-zip" / file
    params = {"source_crs": "EPSG:4326", "layer_name": layer_name}
    with harmless(path) as readable:
        layer = open_layer(readable, file, spec(converter_params=params))
        found = table(layer)
    assert (layer.format, layer.name) == ("Zipped shapefile", layer_name)
    with zipfile.ZipFile(path) as archive:
        check_against(found, archive.read(f"{member}.dbf"), archive.read(f"{member}.shp"), encoding)


def test_bytes_behind_the_last_record_are_no_hindrance(shared_data: Path) -> None:
    path = shared_data / "vector" / "corrupt" / "corrupt_too_long" / "corrupt_too_long.shp"
    found = cells(path, source_crs="EPSG:4326")
    assert found == ["value"] * 10


def test_layer_without_features_is_refused(shared_data: Path) -> None:
    path = shared_data / "vector/shp-loose/empty_spatial_layer/empty_spatial_layer.shp"
    assert "its layer has no features" in refusal(path)


def test_without_prj_a_crs_is_asked_for(shared_data: Path) -> None:
    path = shared_data / "vector/shp-loose/popplaces/popplaces.shp"
    assert "nothing says which CRS" in refusal(path)


# Files that belong together


def test_siblings_are_found_whatever_the_case_of_their_extensions(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, "Łódź".encode("cp1250"), cpg="1250")
    for extension in ("shx", "dbf", "prj", "cpg"):
        path.with_suffix(f".{extension}").rename(path.with_suffix(f".{extension.upper()}"))
    path = path.rename(path.with_suffix(".SHP"))
    assert cells(path) == ["Łódź"]


def test_files_of_another_stem_do_not_belong(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a")
    (tmp_path / "s.dbf").rename(tmp_path / "s.old.dbf")
    assert "'s.shp' has no .dbf" in refusal(path)


def test_two_files_for_one_thing_are_refused(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a")
    (tmp_path / "s.DBF").write_bytes(b"")
    assert "it has two files for one thing" in refusal(path)


def test_without_shx_the_shapes_are_found_and_it_is_said(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a", b"b")
    path.with_suffix(".shx").unlink()
    assert cells(path) == ["a", "b"]
    assert "The .shx is missing: 2 shapes were found without it." in remarks(path)
    assert not path.with_suffix(".shx").exists()


def broken_shx(good: bytes, fault: str) -> bytes:
    first = good[100:108]
    return {
        "offset outside the file": good[:100] + struct.pack(">i", 10**9) + good[104:],
        "offset between records": good[:100] + struct.pack(">i", 52) + good[104:],
        "length of another record": good[:104] + struct.pack(">i", 12) + good[108:],
        "one shape many times": good[:100] + first * 3,
        "too few entries": good[:24] + struct.pack(">i", 54) + good[28:108],
        "cut off": good[:110],
        "of nothing": b"",
        "text": b"not an index" * 20,
        "of many entries": good[:24] + struct.pack(">I", 2**32 - 1) + good[28:],
    }[fault]


@pytest.mark.parametrize(
    "fault",
    [
        "offset outside the file",
        "offset between records",
        "length of another record",
        "one shape many times",
        "too few entries",
        "cut off",
        "of nothing",
        "text",
        "of many entries",
    ],
)
def test_index_that_does_not_fit_is_not_followed(tmp_path: Path, fault: str) -> None:
    path = column(tmp_path, TEXT, b"a", b"b", b"c")
    index = path.with_suffix(".shx")
    index.write_bytes(broken_shx(index.read_bytes(), fault))
    with harmless(path) as readable:
        layer = open_layer(readable, path.name, spec())
        found = table(layer)
    assert found["name"].to_pylist() == ["a", "b", "c"]
    xs = shapely.get_x(shapely.from_wkb(found[GEOMETRY].to_numpy()))
    assert xs.tolist() == [0, 1, 2]
    assert "The .shx does not fit the .shp: 3 shapes were found" in " ".join(layer.remarks)


def test_index_decides_which_record_comes_first(tmp_path: Path) -> None:
    """Editors append a changed shape at the end and leave its old place unused."""
    path = column(tmp_path, TEXT, b"a", b"b")
    main, index = shp([point(5, 5), point(1, 10), point(7, 7)])
    path.write_bytes(main)
    entries = [index[100:108], index[108:116], index[116:124]]
    head = index[:24] + struct.pack(">i", 58) + index[28:100]
    path.with_suffix(".shx").write_bytes(head + entries[2] + entries[1])
    with harmless(path) as readable:
        found = table(open_layer(readable, path.name, spec()))
    assert shapely.get_x(shapely.from_wkb(found[GEOMETRY].to_numpy())).tolist() == [7, 1]


@pytest.mark.parametrize("extension", ["shp", "dbf"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.97])
def test_file_that_is_cut_off_is_refused(tmp_path: Path, extension: str, share: float) -> None:
    path = column(tmp_path, TEXT, *[b"x"] * 20)
    cut = path.with_suffix(f".{extension}")
    cut.write_bytes(cut.read_bytes()[: int(cut.stat().st_size * share)])
    assert "Deliver" in refusal(path)


def test_record_in_the_middle_that_is_none_is_refused_when_the_index_is_gone(
    tmp_path: Path,
) -> None:
    path = column(tmp_path, TEXT, *[b"x"] * 20)
    main = bytearray(path.read_bytes())
    main[100 + 28 * 10 : 100 + 28 * 10 + 12] = b"\xff" * 12
    path.write_bytes(main)
    assert "its .shp is damaged at byte 380" in refusal(path)


def test_numbers_of_shapes_and_records_must_agree(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a", b"b")
    path.with_suffix(".dbf").write_bytes(dbf([TEXT], [[b"a"]]))
    assert "its .dbf has 1 records, its .shp 2 shapes" in refusal(path)


@pytest.mark.parametrize("declared", [0, 1, 7, 2**31, 2**32 - 1])
def test_count_in_the_header_of_the_table_is_not_believed(tmp_path: Path, declared: int) -> None:
    path = column(tmp_path, TEXT, b"a", b"b", declared=declared)
    assert cells(path) == ["a", "b"]
    assert f"The header of the .dbf says {declared} records; it has 2" in remarks(path)


def test_content_that_is_no_shapefile_is_refused(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a")
    path.write_bytes(b"<OGRVRTDataSource></OGRVRTDataSource>" * 10)
    assert "its content is not a shapefile" in refusal(path)


def test_shape_that_is_damaged_is_said_and_the_others_are_read(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a", b"b")
    line = struct.pack("<i4d2i", 3, 0, 0, 1, 1, 1, 2) + struct.pack("<i4d", 0, 0, 0, 1, 1)
    absurd = line[:36] + struct.pack("<2i", 2**30, 2**30) + line[44:]
    for extension, content in zip(("shp", "shx"), shp([absurd, line], kind=3), strict=True):
        path.with_suffix(f".{extension}").write_bytes(content)
    with harmless(path) as readable:
        found = table(open_layer(readable, path.name, spec()))
    assert found[PROBLEM].to_pylist() == ["its geometry is damaged in the .shp", None]
    assert found["name"].to_pylist() == ["a", "b"]


def test_null_shape_and_empty_shape_are_no_damage(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a", b"b", b"c")
    line = struct.pack("<i4d2i", 3, 0, 0, 1, 1, 1, 2) + struct.pack("<i4d", 0, 0, 0, 1, 1)
    empty = struct.pack("<i4d2i", 3, 0, 0, 0, 0, 0, 0)
    records = [struct.pack("<i", 0), empty, line]
    for extension, content in zip(("shp", "shx"), shp(records, kind=3), strict=True):
        path.with_suffix(f".{extension}").write_bytes(content)
    with harmless(path) as readable:
        found = table(open_layer(readable, path.name, spec()))
    assert found[PROBLEM].to_pylist() == [None, None, None]
    assert found["name"].to_pylist() == ["a", "b", "c"]


def test_surface_in_space_is_no_polygon_and_it_is_said(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a")
    corners = struct.pack("<8d", 0, 0, 0, 1, 1, 1, 0, 0)
    strip = struct.pack("<i4d4i", 31, 0, 0, 1, 1, 1, 4, 0, 0) + corners + bytes(2 * (16 + 32))
    for extension, content in zip(("shp", "shx"), shp([strip], kind=31), strict=True):
        path.with_suffix(f".{extension}").write_bytes(content)
    with harmless(path) as readable:
        found = table(open_layer(readable, path.name, spec()))
    assert "multipatch" in found[PROBLEM][0].as_py()


def test_surface_of_several_kinds_of_parts_is_said_too(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a")
    head = struct.pack("<i4d2i", 31, 0, 0, 9, 9, 2, 8) + struct.pack("<4i", 0, 4, 0, 2)
    strip, ring = (0, 0, 0, 1, 1, 1, 0, 0), (5, 5, 5, 9, 9, 9, 5, 5)
    several = head + struct.pack("<16d", *strip, *ring) + bytes(2 * (16 + 64))
    for extension, content in zip(("shp", "shx"), shp([several], kind=31), strict=True):
        path.with_suffix(f".{extension}").write_bytes(content)
    with harmless(path) as readable:
        found = table(open_layer(readable, path.name, spec()))
    assert "multipatch" in found[PROBLEM][0].as_py()


def test_measures_are_not_worth_a_remark(shared_data: Path) -> None:
    path = shared_data / "vector/shp-loose/polyline_m/polyline_m.shp"
    assert not any("M" in remark for remark in read(path)[1])


def test_ring_that_is_left_open_is_said_without_gdal_options(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a")
    ring = struct.pack("<i4d3i", 5, 0, 0, 4, 4, 1, 4, 0) + struct.pack(
        "<8d", 0, 0, 0, 4, 4, 4, 4, 0
    )
    for extension, content in zip(("shp", "shx"), shp([ring], kind=5), strict=True):
        path.with_suffix(f".{extension}").write_bytes(content)
    assert read(path)[1] == ["Rings of some polygons do not end where they begin."]


def test_deleted_records_are_left_out_with_their_shapes(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a", b"b", b"c", deleted=[1])
    with harmless(path) as readable:
        layer = open_layer(readable, path.name, spec())
        found = table(layer)
    assert layer.feature_count == 2
    assert found["name"].to_pylist() == ["a", "c"]
    assert shapely.get_x(shapely.from_wkb(found[GEOMETRY].to_numpy())).tolist() == [0, 2]
    assert "1 records are marked as deleted" in " ".join(layer.remarks)


def test_more_features_than_the_limit_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, *[b"x"] * 20)
    with harmless(path) as readable, pytest.raises(SourceError, match="the limit"):
        open_layer(readable, path.name, spec(limits={"max_features": 19}))


# Text

CPGS = [
    ("UTF-8", "utf-8"),
    ("65001", "utf-8"),
    ("utf8\r\n", "utf-8"),
    ("\ufeffUTF-8", "utf-8"),
    ("1252", "cp1252"),
    ("ANSI 1252", "cp1252"),
    ("WINDOWS-1252", "cp1252"),
    ("ISO-8859-1", "iso-8859-1"),
    ("ISO 88591", "iso-8859-1"),
    ("88591", "iso-8859-1"),
    ("8859_15", "iso-8859-15"),
    ("28605", "iso-8859-15"),
    ("OEM 850", "cp850"),
    ("852", "cp852"),
    ("cp852", "cp852"),
]


@pytest.mark.parametrize(("cpg", "encoding"), CPGS)
def test_cpg_declares_the_encoding_however_it_is_spelt(
    tmp_path: Path, cpg: str, encoding: str
) -> None:
    path = column(tmp_path, TEXT, "öß".encode(encoding), cpg=cpg)
    assert cells(path) == ["öß"]


@pytest.mark.parametrize(
    ("cpg", "encoding", "text"),
    [
        ("1251", "cp1251", "Київ"),
        ("KOI8-R", "koi8-r", "Москва"),
        ("936", "gbk", "北京"),
        ("Big5", "big5", "臺北"),
        ("950", "cp950", "臺北"),
        ("SJIS", "shift_jis", "東京"),
        ("EUC-KR", "euc-kr", "서울"),
        ("874", "cp874", "กรุงเทพ"),
    ],
)
def test_cpg_of_other_scripts(tmp_path: Path, cpg: str, encoding: str, text: str) -> None:
    assert cells(column(tmp_path, TEXT, text.encode(encoding), cpg=cpg)) == [text]


@pytest.mark.parametrize(
    ("language", "encoding", "text"),
    [
        (0x03, "cp1252", "“é”"),
        (0x02, "cp850", "é"),
        (0x01, "cp437", "é"),
        (0x64, "cp852", "Łódź"),
        (0x65, "cp866", "Москва"),
        (0xC8, "cp1250", "Łódź"),
        (0xC9, "cp1251", "Київ"),
        (0x13, "cp932", "東京"),
        (0x4D, "gbk", "北京"),
        (0x57, "cp1252", "“é”"),
    ],
)
def test_language_byte_declares_the_encoding(
    tmp_path: Path, language: int, encoding: str, text: str
) -> None:
    path = column(tmp_path, TEXT, text.encode(encoding), language=language)
    assert read(path) == ([{"name": text}], [])


def test_cpg_comes_before_the_language_byte(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, "Łódź".encode("cp1250"), cpg="1250", language=0x03)
    assert cells(path) == ["Łódź"]


def test_encoding_of_the_spec_comes_before_the_cpg(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, "Łódź".encode("cp1250"), cpg="UTF-8")
    assert cells(path, encoding="windows-1250") == ["Łódź"]


def test_undeclared_text_that_is_all_utf8_is_read_so_and_it_is_said(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, "Ås".encode(), b"b")
    assert cells(path) == ["Ås", "b"]
    assert "Nothing declares UTF-8" in remarks(path)


def test_undeclared_text_that_is_not_utf8_is_read_as_windows_and_it_is_said(
    tmp_path: Path,
) -> None:
    path = column(tmp_path, TEXT, "Ås".encode("cp1252"), "é".encode())
    assert cells(path) == ["Ås", "Ã©"]
    assert "Nothing declares the encoding of texts: read as Windows-1252" in remarks(path)


def test_undeclared_ascii_needs_no_remark(tmp_path: Path) -> None:
    assert read(column(tmp_path, TEXT, b"plain")) == ([{"name": "plain"}], [])


@pytest.mark.parametrize("cpg", ["klingon", "base64", "UTF-16", "idna", "\0\0"])
def test_cpg_that_names_no_encoding_is_said(tmp_path: Path, cpg: str) -> None:
    path = column(tmp_path, TEXT, "é".encode("cp1252"), cpg=cpg)
    assert cells(path) == ["é"]
    assert "Its .cpg names no encoding" in remarks(path)


def test_bytes_that_the_encoding_does_not_have_stay_visible(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a\x81b\x8d", "é".encode("cp1252"), b"c", cpg="1252")
    assert cells(path) == ["a\\x81b\\x8d", "é", "c"]
    assert "1 texts of column 'name' are not cp1252, for instance 'a\\x81b\\x8d'" in remarks(path)


def test_text_in_another_encoding_than_declared_is_said_and_the_rest_is_read(
    tmp_path: Path,
) -> None:
    path = column(tmp_path, TEXT, "é".encode("cp1252"), "è".encode(), cpg="UTF-8")
    assert cells(path) == ["\\xe9", "è"]
    assert "1 texts of column 'name' are not utf-8" in remarks(path)


def test_character_cut_in_two_by_the_width_is_left_out_and_counted(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, "123456789é".encode()[:10], "1234é".encode(), cpg="UTF-8")
    assert cells(path) == ["123456789", "1234é"]
    assert "1 texts of column 'name' are cut off within their last character" in remarks(path)


def test_cut_characters_do_not_hide_that_undeclared_text_is_utf8(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, "123456789é".encode()[:10], "1234é".encode())
    assert cells(path) == ["123456789", "1234é"]


def test_spaces_in_front_stay_and_padding_goes(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"  a b  ", b"007", b"", b"\0" * 10, b"x\0\0\0")
    assert cells(path) == ["  a b", "007", None, None, "x"]


def test_text_behind_a_nul_is_said(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"new\0old")
    assert cells(path) == ["new"]
    assert "1 texts of column 'name' end with a NUL" in remarks(path)


def test_names_of_columns_are_in_the_encoding_too(tmp_path: Path) -> None:
    fields = [
        DbfField("größe".encode("cp1252"), "C", 3),
        DbfField("größe".encode("cp1252"), "C", 3),
    ]
    path = write_points(
        tmp_path, [*fields, DbfField(b"", "C", 3)], [[b"a", b"b", b"c"]], cpg="1252"
    )
    assert read(path)[0] == [{"größe": "a", "größe_2": "b", "field_3": "c"}]


def test_text_wider_than_a_byte_can_say(tmp_path: Path) -> None:
    """Clipper's way: the width's high byte stands where decimals are."""
    path = write_points(tmp_path, [DbfField(b"long", "C", 600), TEXT], [[b"x" * 600, b"a"]])
    assert read(path)[0] == [{"long": "x" * 600, "name": "a"}]


@given(st.lists(st.binary(min_size=10, max_size=10), min_size=1, max_size=5))
def test_whatever_bytes_a_text_has_it_is_read(values: list[bytes]) -> None:
    for cpg in ("UTF-8", "1252", "SJIS", None):
        with tempfile.TemporaryDirectory() as folder:
            found = cells(column(Path(folder), TEXT, *values, cpg=cpg))
        assert len(found) == len(values)
        assert all(cell is None or cell.encode() for cell in found)


@given(st.lists(st.text(st.characters(codec="cp1251"), max_size=10), min_size=1, max_size=5))
def test_declared_text_comes_back_as_it_was_written(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = [text.encode("cp1251") for text in texts]
        found = cells(column(Path(folder), TEXT, *written, cpg="1251"))
    assert found == [text.split("\0")[0].rstrip(" ") or None for text in texts]


@pytest.mark.parametrize(
    ("given_as", "encoding"),
    [
        ("latin_1", "iso8859-1"),
        ("ISO-8859-1", "iso8859-1"),
        ("UTF8", "utf-8"),
        ("windows-1252", "cp1252"),
        ("852", "cp852"),
        ("Mac_Roman", "macintosh"),
        ("EUC_JP", "euc-jp"),
    ],
)
def test_encoding_of_the_spec_has_one_name(given_as: str, encoding: str) -> None:
    known = spec(converter_params={"encoding": given_as}).converter_params.encoding
    assert known == encoding
    assert spec(converter_params={"encoding": known}).converter_params.encoding == encoding


@pytest.mark.parametrize(
    "name", ["rot13", "base64", "hex", "idna", "punycode", "unicode_escape", "utf_7", "klingon", ""]
)
def test_codec_that_is_no_encoding_of_text_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="Is no known encoding of text"):
        spec(converter_params={"encoding": name})


def test_encoding_that_a_table_can_not_have_is_refused(tmp_path: Path) -> None:
    path = column(tmp_path, TEXT, b"a")
    assert "the text of a .dbf can't be in 'utf-16'" in refusal(path, encoding="utf-16")


# Numbers, dates, logical values


def of(kind: str, width: int, decimals: int = 0) -> DbfField:
    return DbfField(b"v", kind, width, decimals)


@pytest.mark.parametrize(
    ("field", "values", "expected", "type_"),
    [
        (of("N", 5), [b"   42", b"-7", b"", b"007"], [42, -7, None, 7], pa.int32()),
        (of("N", 5), [b"+5", b"12.00", b"-0"], [5, 12, 0], pa.int32()),
        (of("N", 18), [b"9" * 18], [10**18 - 1], pa.int64()),
        (of("N", 19), [str(2**63 - 1).encode()], [2**63 - 1], pa.int64()),
        (of("N", 20), [str(-(2**63)).encode()], [-(2**63)], pa.int64()),
        (of("N", 20), [b"1" + b"0" * 19], [10.0**19], pa.float64()),
        (of("N", 20), [b"12345678901234567890"], ["12345678901234567890"], pa.string()),
        (of("F", 20, 5), [b"1.5", b"1e3", b".5", b"5."], [1.5, 1e3, 0.5, 5], pa.float64()),
        (of("F", 20, 5), [b"+1", b"-0"], [1.0, -0.0], pa.float64()),
        (of("N", 24, 15), [b"0.123456789012345"], [0.123456789012345], pa.float64()),
        (of("N", 8), [b"12.5", b"3"], [12.5, 3.0], pa.float64()),
        (of("N", 8), [b"1e3"], [1000.0], pa.float64()),
        (of("N", 8, 2), [b"12,5", b"3"], ["12,5", "3"], pa.string()),
        (of("N", 8), [b"0x10"], ["0x10"], pa.string()),
        (of("N", 8), [b"\xff\xfe"], ["ÿþ"], pa.string()),
        (of("N", 8, 2), [b"1 2"], ["1 2"], pa.string()),
        (of("D", 8), [b"20240229", b"00000000", b""], [date(2024, 2, 29), None, None], pa.date32()),
        (of("D", 8), [b"20230229"], ["20230229"], pa.string()),
        (of("D", 8), [b"20231301", b"20230101"], ["20231301", "20230101"], pa.string()),
        (of("D", 10), [b"2023/01/31"], ["2023/01/31"], pa.string()),
        (of("L", 1), [b"T", b"y", b"F", b"n"], [True, True, False, False], pa.bool_()),
        (of("L", 1), [b"t", b"?", b" ", b"\0"], [True, None, None, None], pa.bool_()),
        (of("L", 1), [b"T", b"1"], ["T", "1"], pa.string()),
    ],
)  # fmt: skip
def test_cells_keep_their_value(
    tmp_path: Path, field: DbfField, values: list[bytes], expected: list[Any], type_: pa.DataType
) -> None:
    path = column(tmp_path, field, *values)
    with harmless(path) as readable:
        found = table(open_layer(readable, path.name, spec()))
    assert found["v"].to_pylist() == expected
    assert found.schema.field("v").type == type_


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (
            of("N", 8),
            b"12.5",
            "declared as whole numbers but holds '12.5': it is loaded as numbers",
        ),
        (of("N", 8, 2), b"12,5", "declared as numbers but holds '12,5': it is loaded as text"),
        (of("D", 8), b"20230229", "declared as dates but holds '20230229': it is loaded as text"),
        (of("L", 1), b"1", "declared as logical values but holds '1': it is loaded as text"),
    ],
)
def test_column_with_another_type_than_declared_is_said(
    tmp_path: Path, field: DbfField, value: bytes, said: str
) -> None:
    assert said in remarks(column(tmp_path, field, value))


@pytest.mark.parametrize("void", [b"****", b"1.#I", b"-1.#"])
def test_what_stands_for_no_number_is_null_and_counted(tmp_path: Path, void: bytes) -> None:
    path = column(tmp_path, of("N", 4), b"1", void)
    assert cells(path) == [1, None]
    assert "1 cells of column 'v' hold no number" in remarks(path)


def test_memo_is_only_its_number_and_it_is_said(tmp_path: Path) -> None:
    path = column(tmp_path, of("M", 10), b"0000000017")
    assert cells(path) == ["0000000017"]
    assert "refers to a memo file" in remarks(path)


@pytest.mark.parametrize("kind", ["Y", "B", "I", "T", "@", "+", "O"])
def test_kind_that_shapefiles_do_not_have_keeps_its_bytes(tmp_path: Path, kind: str) -> None:
    path = column(tmp_path, of(kind, 8), b"\x01\x00 \xff\x00\x00\x00 ")
    assert cells(path) == [b"\x01\x00 \xff\x00\x00\x00 "]
    assert f"is of type '{kind}', which shapefiles do not have" in remarks(path)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_those_that_their_digits_mean(values: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = [repr(value).encode() for value in values]
        assert cells(column(Path(folder), of("F", 30, 10), *written)) == values


@given(st.lists(st.integers(-(10**18), 10**19), min_size=1, max_size=20))
def test_whole_numbers_never_lose_a_digit(values: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = cells(column(Path(folder), of("N", 20), *[str(v).encode() for v in values]))
    assert [int(cell) for cell in found] == values


# Tables that are none


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (0, b"\x04", "dBASE level 7"),
        (8, b"\x00\x00", "no dBASE table"),
        (8, b"\xff\xff", "no dBASE table"),
        (10, b"\x00\x00", "no dBASE table"),
        (10, b"\x03\x00", "do not add up"),
    ],
)
def test_header_that_can_not_be_is_refused(
    tmp_path: Path, at: int, value: bytes, said: str
) -> None:
    path = column(tmp_path, TEXT, b"a", b"b", b"c", b"d")
    head = bytearray(path.with_suffix(".dbf").read_bytes())
    head[at : at + len(value)] = value
    if said == "do not add up":
        head[4:8] = struct.pack("<I", 4)
    path.with_suffix(".dbf").write_bytes(head)
    assert said in refusal(path)


@given(st.data())
def test_damage_gives_data_or_an_error_that_says_what_to_do(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_points(Path(folder), [TEXT, of("N", 8, 2)], [[b"a", b"1.5"], [b"b", b"2"]])
        extension = data.draw(st.sampled_from(["shp", "shx", "dbf", "prj"]))
        file = path.with_suffix(f".{extension}")
        content = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        file.write_bytes(content)
        try:
            count = len(read(path, source_crs="EPSG:4326")[0])
        except SourceError:
            count = 0
    assert count <= 2


# Archives


def pack(path: Path, *files: Path, prefix: str = "", **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"{prefix}{file.name}")
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def pack_members(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, bytes]:
    """Files of a shapefile with the names a, b, by extension."""
    folder = tmp_path / "made"
    folder.mkdir()
    path = column(folder, TEXT, "ä".encode("cp1252"), b"b", cpg="1252")
    return {file.suffix[1:]: file.read_bytes() for file in path.parent.iterdir()}


def members(parts: dict[str, bytes], stem: str) -> dict[str, bytes]:
    return {f"{stem}.{extension}": content for extension, content in parts.items()}


@pytest.mark.parametrize("stem", ["s", "deep/er/s", "a\\b\\s", "größe/s", "./s", "with space/s!"])
def test_shapefile_is_found_wherever_it_is_in_the_archive(
    tmp_path: Path, parts: dict[str, bytes], stem: str
) -> None:
    assert cells(pack_members(tmp_path / "a.zip", members(parts, stem))) == ["ä", "b"]


def test_upper_case_extensions_in_an_archive(tmp_path: Path, parts: dict[str, bytes]) -> None:
    upper = {f"S.{extension.upper()}": content for extension, content in parts.items()}
    assert cells(pack_members(tmp_path / "a.zip", upper)) == ["ä", "b"]


def test_what_operating_systems_put_there_is_no_layer(
    tmp_path: Path, parts: dict[str, bytes]
) -> None:
    noise = {"__MACOSX/._s.shp": b"x", "._s.shp": b"x", ".DS_Store": b"x", "d/.x.shp": b"x"}
    path = pack_members(tmp_path / "a.zip", {**noise, **members(parts, "s")})
    assert cells(path) == ["ä", "b"]


def test_several_shapefiles_are_listed_and_one_is_chosen(
    tmp_path: Path, parts: dict[str, bytes]
) -> None:
    both = {**members(parts, "a/roads"), **members(parts, "b/roads"), **members(parts, "rails")}
    path = pack_members(tmp_path / "a.zip", both)
    said = refusal(path)
    assert "it has 3 layers" in said
    assert "'a/roads', 'b/roads', 'rails'" in said
    assert cells(path, layer_name="b/roads") == ["ä", "b"]


def test_name_of_a_member_is_read_as_utf8_without_the_flag(
    tmp_path: Path, parts: dict[str, bytes]
) -> None:
    path = pack_members(tmp_path / "a.zip", {**members(parts, "größe"), **members(parts, "b")})
    content = path.read_bytes()
    assert b"\x00\x08" in content
    unflagged = bytearray(content)
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            unflagged[entry.header_offset + 7] &= ~8
    start = content.index(b"PK\x01\x02")
    while start >= 0:
        unflagged[start + 9] &= ~8
        start = content.find(b"PK\x01\x02", start + 1)
    path.write_bytes(unflagged)
    assert cells(path, layer_name="größe") == ["ä", "b"]


def test_shapefile_comes_before_other_formats(tmp_path: Path, parts: dict[str, bytes]) -> None:
    path = pack_members(tmp_path / "a.zip", {"s.geojson": b"{}", **members(parts, "s")})
    assert cells(path) == ["ä", "b"]


GEOJSON = (
    b'{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"n": 7},'
    b' "geometry": {"type": "Point", "coordinates": [1, 2]}}]}'
)


def test_only_other_vector_file_of_an_archive_is_opened(tmp_path: Path) -> None:
    path = pack_members(tmp_path / "a.zip", {"readme.txt": b"hello", "d/x.geojson": GEOJSON})
    assert cells(path) == [7]


def test_several_other_vector_files_are_listed(tmp_path: Path) -> None:
    path = pack_members(tmp_path / "a.zip", {"x.geojson": GEOJSON, "y.geojson": GEOJSON})
    assert "holds 2 vector files and no shapefile: 'x.geojson', 'y.geojson'" in refusal(path)


def test_archive_in_an_archive_is_said(tmp_path: Path, parts: dict[str, bytes]) -> None:
    inner = pack_members(tmp_path / "inner.zip", members(parts, "s")).read_bytes()
    path = pack_members(tmp_path / "a.zip", {"inner.zip": inner})
    said = refusal(path)
    assert "holds 'inner.zip'" in said.replace("it holds", "holds")
    assert "Deliver the archive in it itself." in said


@pytest.mark.parametrize("name", ["../s", "a/../../s", "/etc/s", "..\\s", "C:\\s", "\\s"])
def test_path_that_leads_outside_is_refused(
    tmp_path: Path, parts: dict[str, bytes], name: str
) -> None:
    path = pack_members(tmp_path / "a.zip", members(parts, name))
    assert "leads outside it" in refusal(path)


def test_link_in_an_archive_is_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    path = tmp_path / "a.zip"
    pack_members(path, members(parts, "s"))
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("t.shp")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    assert "'t.shp' in the archive is a link" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_that_is_there_twice_is_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    path = pack_members(tmp_path / "a.zip", members(parts, "s"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("s.dbf", parts["dbf"])
    assert "holds 's.dbf' twice" in refusal(path)


def test_encrypted_archive_is_refused(tmp_path: Path, parts: dict[str, bytes]) -> None:
    path = pack_members(tmp_path / "a.zip", members(parts, "s"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "the archive is encrypted" in refusal(path)


@pytest.mark.parametrize("damage", [b"\0", b"\xff"])
def test_damaged_member_is_refused(tmp_path: Path, parts: dict[str, bytes], damage: bytes) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members(parts, "s").items():
            archive.writestr(name, content)
        place = archive.getinfo("s.dbf").header_offset + 45
    content = bytearray(path.read_bytes())
    content[place : place + 8] = damage * 8
    path.write_bytes(content)
    assert "the archive is damaged at 's.dbf'" in refusal(path)


def test_archive_that_inflates_to_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("s.shp", bytes(60_000_000))
    assert path.stat().st_size < 100_000
    with harmless(path) as readable, pytest.raises(SourceError, match=r"it has 0.1 GB; the limit"):
        open_layer(readable, path.name, spec(limits={"max_file_size_gb": 0.05}))


def test_declared_size_of_a_member_is_not_believed(
    tmp_path: Path, parts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb that says it is small: what comes out of it is cut off there."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members({**parts, "dbf": bytes(60_000_000)}, "s").items():
            archive.writestr(name, content)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"s.dbf") - 46  # its entry in the central directory
    assert content[place : place + 4] == b"PK\x01\x02"
    content[place + 24 : place + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    written: list[int] = []

    def copy(source: IO[bytes], target: IO[bytes], length: int) -> None:
        try:
            copyfileobj(source, target, length)
        finally:
            written.append(target.tell())

    copyfileobj = shutil.copyfileobj
    monkeypatch.setattr("shutil.copyfileobj", copy)
    assert "the archive is damaged at 's.dbf'" in refusal(path)
    assert written
    assert max(written) <= 1000


def test_more_than_65535_members_are_no_hindrance(tmp_path: Path, parts: dict[str, bytes]) -> None:
    empty = {f"{number}.txt": b"" for number in range(66_000)}
    path = pack_members(tmp_path / "a.zip", {**empty, **members(parts, "s")})
    assert cells(path) == ["ä", "b"]


def test_nothing_is_left_behind_when_the_layer_is_gone(
    tmp_path: Path, parts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    path = pack_members(tmp_path / "a.zip", members(parts, "s"))
    assert cells(path) == ["ä", "b"]
    assert list(scratch.iterdir()) == []


def test_archive_can_be_a_stream_of_unknown_sizes(tmp_path: Path, parts: dict[str, bytes]) -> None:
    """Programs that write into a pipe put sizes behind the members."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members(parts, "s").items():
            archive.writestr(name, content)
    (tmp_path / "a.zip").write_bytes(pipe.getvalue())
    assert cells(tmp_path / "a.zip") == ["ä", "b"]


def test_a_prj_that_is_no_text_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.shp", squares(1))
    text = bytearray(path.with_suffix(".prj").read_bytes())
    text[8] = 0x80
    path.with_suffix(".prj").write_bytes(text)
    with pytest.raises(SourceError, match="CRS"):
        open_layer(path, "a.shp", VectorSpec())
