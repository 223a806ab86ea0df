"""Chunks: together they are the source, and no task is too large or too many."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_etl.errors import GeometryError, SourceError
from geo_etl.spec import SpecLayer, VectorSpec, resolve_vector_spec
from geo_etl.vector.attributes import Column
from geo_etl.vector.chunk import (
    MAX_TASKS,
    MIN_BYTES,
    ORDINAL,
    Part,
    Scan,
    automatic_chunk_size,
    read_chunk,
    write_chunks,
)
from geo_etl.vector.formats.layer import FID, GEOMETRY, Layer
from geo_etl.vector.source import open_layer
from geo_etl_tests.made import write

POINT = {"type": "Point", "coordinates": [1, 2]}
LINE = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
AREA = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
MULTI = {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}
NOTHING = {"type": "GeometryCollection", "geometries": []}
MANY = 300


def spec(**values: Any) -> VectorSpec:
    return resolve_vector_spec([SpecLayer("test", values)])


def source(path: Path, *geometries: Any) -> Layer:
    """A layer with one feature for each geometry, numbered in `n`."""
    features = [
        {"type": "Feature", "geometry": geometry, "properties": {"n": i, "text": f"t{i}"}}
        for i, geometry in enumerate(geometries)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return open_layer(path, path.name, spec())


@pytest.fixture
def layer(tmp_path: Path) -> Callable[..., Layer]:
    return lambda *geometries: source(tmp_path / "a.json", *geometries)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """300 points, read in batches of 64: the file is said to be large."""
    path = tmp_path_factory.mktemp("many") / "a.gpkg"
    columns = {"n": range(MANY), "text": [f"t{i}" for i in range(MANY)]}
    write(path, shapely.points([[1, 2]] * MANY), columns)
    return replace(open_layer(path, path.name, spec()), bytes=10**12)


def chunked(layer: Layer, folder: Path, **values: Any) -> tuple[Scan, list[list[pa.RecordBatch]]]:
    """Write chunks into a folder and read them back."""

    def open_chunk(index: int) -> BinaryIO:
        return (folder / f"{index}").open("xb")

    scan = write_chunks(layer, "a.json", spec(**values), open_chunk)
    batches = []
    for chunk in scan.chunks:
        with (folder / f"{chunk.index}").open("rb") as file:
            batches.append(list(read_chunk(file)))
    assert len(list(folder.iterdir())) == len(scan.chunks)
    return scan, batches


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_large_source_comes_in_several_batches(many: Layer) -> None:
    assert [batch.num_rows for batch in many.batches()] == [64, 64, 64, 64, 44]


@settings(max_examples=40)
@given(st.integers(1, MANY + 20))
def test_chunks_together_are_the_source_in_order(many: Layer, size: int) -> None:
    with TemporaryDirectory() as folder:
        _, chunks = chunked(many, Path(folder), chunk_size=size)
    found = pa.Table.from_batches([batch for chunk in chunks for batch in chunk])
    expected = pa.Table.from_batches(list(many.batches()))
    assert found.drop_columns([ORDINAL]).to_pydict() == expected.to_pydict()
    assert found.column(ORDINAL).to_pylist() == list(range(1, MANY + 1))
    assert found.column("n").to_pylist() == list(range(MANY))


@settings(max_examples=40)
@given(st.integers(1, MANY + 20))
def test_every_chunk_but_the_last_has_the_size_asked_for(many: Layer, size: int) -> None:
    with TemporaryDirectory() as folder:
        scan, chunks = chunked(many, Path(folder), chunk_size=size)
    rows = [chunk.rows for chunk in scan.chunks]
    size = max(size, 2)  # 300 features in 200 tasks at most
    full, rest = divmod(MANY, size)
    assert rows == [size] * full + [rest] * (rest > 0)
    assert [sum(batch.num_rows for batch in chunk) for chunk in chunks] == rows


@settings(max_examples=20)
@given(st.integers(1, MANY + 20))
def test_chunks_are_numbered(many: Layer, size: int) -> None:
    with TemporaryDirectory() as folder:
        scan, _ = chunked(many, Path(folder), chunk_size=size)
    assert [chunk.index for chunk in scan.chunks] == list(range(len(scan.chunks)))
    assert scan.features_read == MANY


@pytest.mark.parametrize("size", [63, 64, 65, 128, 299, 300, 301])
def test_chunk_and_batch_boundaries_may_meet(many: Layer, work: Path, size: int) -> None:
    _, chunks = chunked(many, work, chunk_size=size)
    found = [n for chunk in chunks for batch in chunk for n in batch.column("n").to_pylist()]
    assert found == list(range(MANY))


def test_chunk_that_is_exactly_full_leaves_no_empty_one(many: Layer, work: Path) -> None:
    scan, _ = chunked(many, work, chunk_size=150)
    assert [chunk.rows for chunk in scan.chunks] == [150, 150]


def test_small_chunk_says_fewer_bytes_than_the_whole(many: Layer, work: Path) -> None:
    scan, _ = chunked(many, work, chunk_size=30)
    sizes = [chunk.bytes for chunk in scan.chunks]
    assert max(sizes) < 2 * min(sizes)
    assert min(sizes) > 30 * 21  # a point's WKB has 21 bytes


def test_chunks_carry_columns_id_and_geometry(layer: Any, work: Path) -> None:
    scan, ((batch,),) = chunked(layer(POINT), work)
    assert batch.schema.names == [FID, "n", "text", GEOMETRY, ORDINAL]
    assert scan.rules.columns == [Column("n", "n", "integer"), Column("text", "text", "text")]


def test_writing_the_same_source_twice_gives_the_same_bytes(many: Layer, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        chunked(many, tmp_path / name, chunk_size=120)
    for index in range(3):
        one, two = (tmp_path / name / f"{index}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


# Automatic size


@given(st.integers(-1, 10**12), st.floats(0, 10**7))
def test_automatic_size_is_never_zero(features: int, size: float) -> None:
    assert automatic_chunk_size(features, size) >= 1


@given(st.integers(1, 10**12), st.floats(0, 10**7))
def test_automatic_size_gives_at_most_200_tasks(features: int, size: float) -> None:
    assert MAX_TASKS == 200
    assert -(-features // automatic_chunk_size(features, size)) <= 200


@given(st.integers(1, 10**5), st.floats(0, 1))
def test_small_source_is_one_task(features: int, share: float) -> None:
    per_feature = share * (MIN_BYTES - 1) / features
    assert automatic_chunk_size(features, per_feature) == features


def test_work_for_two_is_split_in_two() -> None:
    assert automatic_chunk_size(1000, 2 * MIN_BYTES / 1000) == 500


def test_medium_source_gives_every_core_two_tasks() -> None:
    tasks = 2 * (os.cpu_count() or 1)
    assert automatic_chunk_size(tasks * 100, MIN_BYTES / 100) == 100


def test_large_source_is_cut_by_bytes() -> None:
    # 6.4 GB of features of 1 kB each: a hundred tasks of 64 MB.
    assert automatic_chunk_size(6_400_000, 1000) == max(1, 6_400_000 // 100)


def test_huge_source_is_cut_into_200() -> None:
    assert automatic_chunk_size(10_000_000, 10_000) == 50_000


def test_small_source_is_written_as_one_chunk(many: Layer, work: Path) -> None:
    scan, _ = chunked(many, work)
    assert [chunk.rows for chunk in scan.chunks] == [MANY]


# Geometry types


@pytest.mark.parametrize(
    ("geometries", "expected"),
    [
        ([POINT], "MultiPoint"),
        ([POINT, MULTI, None], "MultiPoint"),
        ([LINE], "MultiLineString"),
        ([None, AREA], "MultiPolygon"),
    ],
)
def test_table_has_the_multi_type_of_its_source(
    layer: Any, work: Path, geometries: list[Any], expected: str
) -> None:
    assert chunked(layer(*geometries), work)[0].parts == [Part("", expected)]


def test_mixed_geometries_are_refused_with_counts_and_the_way_out(layer: Any, work: Path) -> None:
    with pytest.raises(GeometryError) as caught:
        chunked(layer(POINT, LINE, AREA, MULTI, LINE, POINT), work)
    assert caught.value.problem == (
        "its layer mixes kinds of geometry: 3 Point, 2 LineString, 1 Polygon"
        " (each with its Multi type)"
    )
    assert (
        "geometry_params.mixed_geometry: split makes a table for each kind" in caught.value.remedy
    )


def test_any_takes_mixed_geometries(layer: Any, work: Path) -> None:
    scan, _ = chunked(layer(POINT, LINE, AREA), work, geometry_params={"mixed_geometry": "any"})
    assert (scan.parts, scan.features_read) == ([Part("", "Geometry")], 3)


def test_any_keeps_the_one_type_of_a_source_that_has_one(layer: Any, work: Path) -> None:
    scan, _ = chunked(layer(AREA, AREA), work, geometry_params={"mixed_geometry": "any"})
    assert scan.parts == [Part("", "MultiPolygon")]


def test_empty_geometry_does_not_make_a_mix(layer: Any, work: Path) -> None:
    assert chunked(layer(AREA, NOTHING), work)[0].parts == [Part("", "MultiPolygon")]


def test_source_of_nothing_but_empty_geometries_is_refused(layer: Any, work: Path) -> None:
    with pytest.raises(SourceError, match="has a geometry"):
        chunked(layer(NOTHING, NOTHING), work)


def test_features_without_geometry_are_kept(layer: Any, work: Path) -> None:
    scan, ((batch,),) = chunked(layer(None, POINT, None), work)
    assert (scan.features_read, batch.num_rows) == (3, 3)


def test_source_of_nothing_but_nulls_is_refused(layer: Any, work: Path) -> None:
    with pytest.raises(SourceError) as caught:
        chunked(layer(None, None), work)
    assert caught.value.problem == "none of its 2 features has a geometry"


# Limits


def test_feature_limit_holds_where_the_count_was_not_known(many: Layer, work: Path) -> None:
    unknown = replace(many, feature_count=-1, bytes=1)
    with pytest.raises(SourceError, match=r"300 features; the limit is 299"):
        chunked(unknown, work, limits={"max_features": 299})


def test_as_many_features_as_the_limit_are_written(many: Layer, work: Path) -> None:
    assert chunked(many, work, limits={"max_features": MANY})[0].features_read == MANY


def test_reading_stops_soon_after_the_limit(many: Layer, work: Path) -> None:
    with pytest.raises(SourceError):
        chunked(many, work, chunk_size=10, limits={"max_features": 20})
    assert list(work.iterdir()) == []  # the first batch has 64 rows


def test_chunk_files_are_closed_after_a_failure(many: Layer, work: Path) -> None:
    files: list[BinaryIO] = []

    def open_chunk(index: int) -> BinaryIO:
        files.append((work / f"{index}").open("xb"))
        return files[-1]

    with pytest.raises(SourceError):
        write_chunks(many, "a", spec(chunk_size=50, limits={"max_features": 70}), open_chunk)
    assert [file.closed for file in files] == [True, True]


# Kinds and groups


def test_a_split_layer_has_a_part_for_each_kind(layer: Any, work: Path) -> None:
    scan, chunks = chunked(
        layer(POINT, AREA, None, MULTI), work, geometry_params={"mixed_geometry": "split"}
    )
    assert scan.parts == [Part("_point", "MultiPoint"), Part("_polygon", "MultiPolygon")]
    rows = {
        ordinal: chunk.part
        for chunk, (batch,) in zip(scan.chunks, chunks, strict=True)
        for ordinal in batch.column(ORDINAL).to_pylist()
    }
    assert rows == {1: 0, 2: 1, 3: 0, 4: 0}  # the one without a geometry is in the first


@settings(max_examples=30)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, MANY))
def test_each_feature_is_in_one_cell_of_a_grid(
    scattered: Layer, rows: int, columns: int, size: int
) -> None:
    grid = {"rows": rows, "cols": columns}
    with TemporaryDirectory() as folder:
        scan, chunks = chunked(
            scattered, Path(folder), chunk_by="grid", chunk_grid=grid, chunk_size=size
        )
    found = [n for chunk in chunks for batch in chunk for n in batch.column(ORDINAL).to_pylist()]
    assert sorted(found) == list(range(1, MANY + 1))
    assert scan.features_read == MANY


def test_more_values_than_tasks_share_tasks_and_it_is_said(many: Layer, work: Path) -> None:
    layer = replace(many, remarks=[])
    scan, chunks = chunked(layer, work, chunk_by="attribute", chunk_attribute="text")
    assert len(scan.chunks) == MAX_TASKS
    assert sum(batch.num_rows for chunk in chunks for batch in chunk) == MANY
    assert layer.remarks == ["'text' has more than 200 values: some share a task."]


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """300 points over a square of 10 degrees."""
    path = tmp_path_factory.mktemp("scattered") / "a.gpkg"
    places = [[(i * 37 % 100) / 10, (i * 61 % 100) / 10] for i in range(MANY)]
    return open_layer(write(path, shapely.points(places), crs="EPSG:4326"), "a.gpkg", spec())
