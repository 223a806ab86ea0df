"""Every real file, end to end through the job, against what `expectations.py` says of it.

Each cell of the published table is that of an independent read, each vertex that of the
independent geometry reprojected by pyproj.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import pytest
import shapely
import sqlalchemy as sa

from geo_etl_tests.conftest import failure_of
from geo_etl_tests.integration.expectations import LOADED, REFUSED, ROWS, Loaded, Refused
from geo_etl_tests.integration.independent import Feature, read_prj

Geometries = npt.NDArray[np.object_]

TOLERANCE = 1e-9
"""In degrees: a tenth of a millimetre."""
REPAIR_TOLERANCE = 1e-6
"""Of the area: two ways to repair build the same polygons from the same rings."""


@pytest.fixture
def deliver_group(deliver: Callable[..., str]) -> Callable[[Path], str]:
    """Copy a file into bronze, a shapefile with all of its siblings; the source key."""

    def copy(path: Path) -> str:
        if path.suffix == ".shp":
            for sibling in path.parent.glob(f"{path.stem}.*"):
                deliver(sibling)
        return deliver(path)

    return copy


def test_every_file_of_the_list_is_expected_to_do_something(shared_data: Path) -> None:
    listing = (shared_data / "SOURCES.md").read_text()
    section = listing.partition("## Vector")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `([^`]+)`", section, flags=re.MULTILINE))

    assert listed == {row.file for row in ROWS}


@pytest.mark.parametrize("row", LOADED, ids=str)
def test_every_feature_of_a_file_arrives_as_it_is(
    row: Loaded,
    shared_data: Path,
    run_job: Callable[..., Any],
    deliver_group: Callable[[Path], str],
    engine: sa.Engine,
    unique: str,
) -> None:
    path = shared_data / "vector" / row.file
    source = row.read(path)

    job = run_job(deliver_group(path), table_name=unique, **row.spec)

    assert job.success, failure_of(job)
    result = job.output_for_node("vector_table.verify", "result")
    _check_account(result, row, source)
    _check_warnings(result["warnings"], row)
    assert result["geometry_type"] == row.kind
    crs = _check_crs(result["original_crs"], row, path)
    columns, stored = _read_table(engine, unique)
    _check_quarantine(engine, unique, row)
    there = [feature for feature in source if feature.geometry is not None]
    _check_columns(columns, row, there)
    _check_cells(columns, stored, row, there)
    _check_geometries(stored[""], row, crs, there)


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_a_file_that_needs_a_decision_says_which(
    row: Refused,
    shared_data: Path,
    run_job: Callable[..., Any],
    deliver_group: Callable[[Path], str],
    engine: sa.Engine,
    unique: str,
) -> None:
    job = run_job(deliver_group(shared_data / "vector" / row.file), table_name=unique, **row.spec)

    assert not job.success
    said = _error_of(job)
    assert set(said) == {"what", "problem", "remedy"}, failure_of(job)
    assert row.problem.lower() in said["problem"].lower()
    assert row.remedy.lower() in said["remedy"].lower()
    assert said["remedy"].endswith(".")
    assert not sa.inspect(engine).has_table(unique, "geo")


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("geojson/nullisland.json", {"_point": 5, "_line": 4, "_polygon": 4}),
        ("geojson/featurecollection.json", {"_point": 1, "_line": 1, "_polygon": 1}),
    ],
)
def test_mixed_kinds_are_split_into_a_table_each(
    file: str,
    counts: dict[str, int],
    shared_data: Path,
    run_job: Callable[..., Any],
    deliver: Callable[..., str],
    engine: sa.Engine,
    unique: str,
) -> None:
    job = run_job(
        deliver(shared_data / "vector" / file),
        table_name=unique,
        geometry_params={"mixed_geometry": "split"},
    )

    assert job.success, failure_of(job)
    with engine.connect() as connection:
        found = {
            suffix: connection.scalar(sa.text(f"SELECT count(*) FROM geo.{unique}{suffix}"))
            for suffix in counts
        }
    assert found == counts


def _error_of(job: Any) -> dict[str, str]:
    """The parts of the error that failed a run; empty for an unforeseen one."""
    for event in job.all_events:
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None:
            metadata = event.step_failure_data.user_failure_data.metadata
            return {name: str(value.value) for name, value in metadata.items()}
    return {}


def _check_account(result: dict[str, Any], row: Loaded, source: Sequence[Feature]) -> None:
    summary = result["summary"]
    found = {
        name: summary[f"features_{name}"]
        for name in ("read", "loaded", "dropped", "quarantined", "repaired")
    }
    assert found == {
        "read": row.features,
        "loaded": row.features - row.dropped - row.quarantined,
        "dropped": row.dropped,
        "quarantined": row.quarantined,
        "repaired": row.repaired,
    }
    # The table of expectations itself is held against the independent read.
    geometries = np.array([feature.geometry for feature in source], dtype=object)
    missing = shapely.is_missing(geometries)
    unreadable = sum(not feature.readable for feature in source)
    invalid = ~shapely.is_valid(geometries[~missing])
    assert len(source) == row.features
    assert (missing.sum() - unreadable, unreadable) == (row.dropped, row.quarantined)
    assert invalid.sum() == row.repaired


def _check_quarantine(engine: sa.Engine, table: str, row: Loaded) -> None:
    if row.quarantined:
        with engine.connect() as connection:
            reasons = connection.scalars(
                sa.text(f"SELECT reason FROM geo_quarantine.{table}")
            ).all()
        assert len(reasons) == row.quarantined
        assert all(any(word in reason for word in row.reasons) for reason in reasons), reasons


def _check_warnings(warnings: list[str], row: Loaded) -> None:
    for words in row.warnings:
        assert any(words.lower() in warning.lower() for warning in warnings), (words, warnings)
    for words in row.silent:
        assert not any(words in warning for warning in warnings), (words, warnings)


def _check_crs(found: str, row: Loaded, path: Path) -> pyproj.CRS:
    """The CRS to reproject from, after comparing it with the one reported."""
    if not row.crs.startswith("EPSG:"):
        assert row.crs in found
        return pyproj.CRS.from_wkt(read_prj(path))
    crs = pyproj.CRS.from_user_input(row.crs)
    assert pyproj.CRS.from_user_input(found).equals(crs, ignore_axis_order=True), found
    return crs


def _read_table(engine: sa.Engine, table: str) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """Original name → column, and column → values in the order of `gid`; geometries under ''."""
    with engine.connect() as connection:
        reflected = sa.Table(table, sa.MetaData(schema="geo"), autoload_with=connection)
        attributes = [column for column in reflected.columns if column.name not in ("gid", "geom")]
        wkb = sa.func.ST_AsBinary(reflected.c.geom)
        valid = sa.func.ST_IsValid(reflected.c.geom)
        rows = connection.execute(
            sa.select(*attributes, wkb, valid).order_by(reflected.c.gid)
        ).all()
    *values, geometries, validity = zip(*rows, strict=True)
    assert all(validity)
    stored = {column.name: list(cells) for column, cells in zip(attributes, values, strict=True)}
    stored[""] = [bytes(geometry) for geometry in geometries]
    return {column.comment or "": column.name for column in attributes}, stored


def _check_columns(columns: dict[str, str], row: Loaded, source: Sequence[Feature]) -> None:
    expected = {name for feature in source for name in feature.attributes}
    assert expected - set(row.optional) <= set(columns)
    if not row.extra:
        assert set(columns) <= expected | set(row.optional)
    if row.names:
        assert tuple(columns.values()) == row.names


def _check_cells(
    columns: dict[str, str],
    stored: dict[str, list[Any]],
    row: Loaded,
    source: Sequence[Feature],
) -> None:
    for original in {name for feature in source for name in feature.attributes} & set(columns):
        cells = stored[columns[original]]
        for feature, cell in zip(source, cells, strict=True):
            value = feature.attributes.get(original)
            assert _is_same(value, cell), (original, value, cell)
        wanted = row.types.get(original)
        if wanted is not None:
            assert {type(cell) for cell in cells} - {type(None)} == {wanted}, original


def _is_same(value: Any, stored: Any) -> bool:
    """Whether a stored value is what the source has.

    The source's text may have become a number, a date or a truth value, if it can be read back
    from it; its numbers stay numbers.
    """
    if value is None or stored is None:
        return value is stored
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return bool(type(stored) is type(value) and stored == value)
    if isinstance(value, str):
        return _is_read_from(value, stored)
    return isinstance(stored, int | float) and not isinstance(stored, bool) and stored == value


def _is_read_from(text: str, stored: Any) -> bool:
    if isinstance(stored, str):
        return text == stored
    if isinstance(stored, bool):
        return text.lower() == str(stored).lower()
    if isinstance(stored, int):
        return text.strip() == str(stored)
    if isinstance(stored, float):
        padded = re.match(r"\s*[+-]?0\d", text) is not None
        return not padded and float(text) == stored
    for type_ in (datetime, date, time):  # in this order: a timestamp is a date for Python
        if isinstance(stored, type_):
            return type_.fromisoformat(text) == stored
    return bool(json.loads(text) == stored)


def _check_geometries(
    wkb: Sequence[bytes], row: Loaded, crs: pyproj.CRS, source: Sequence[Feature]
) -> None:
    stored: Geometries = shapely.from_wkb(wkb)
    original = np.array([feature.geometry for feature in source], dtype=object)
    repaired = ~shapely.is_valid(original)
    original[repaired] = [
        _polygons(shapely.make_valid(geometry, method="linework"))
        for geometry in original[repaired]
    ]
    expected = _reprojected(original, crs)
    if row.kind != "Geometry":
        assert {geometry.geom_type for geometry in stored} == {row.kind}
    areas, stored_areas = shapely.area(expected[repaired]), shapely.area(stored[repaired])
    assert stored_areas == pytest.approx(areas, rel=REPAIR_TOLERANCE)
    same = shapely.equals_exact(
        _comparable(expected[~repaired]), _comparable(stored[~repaired]), tolerance=TOLERANCE
    )
    assert same.all(), np.flatnonzero(~same)


def _reprojected(geometries: Geometries, crs: pyproj.CRS) -> Geometries:
    transformer = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)

    def transform(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transformer.transform(*coordinates.T))

    found: Geometries = shapely.transform(geometries, transform)
    return found


def _polygons(geometry: shapely.Geometry) -> shapely.Geometry:
    """The polygons of a geometry."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.multipolygons(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])


def _comparable(geometries: Geometries) -> Geometries:
    """Geometries without what may differ: a Multi of one part, nesting, order of parts, rings."""
    same = geometries.copy()
    collections = shapely.get_type_id(same) == shapely.GeometryType.GEOMETRYCOLLECTION
    same[collections] = [shapely.GeometryCollection(_parts(nested)) for nested in same[collections]]
    single = shapely.get_num_geometries(same) == 1
    same[single] = shapely.get_geometry(same[single], 0)
    found: Geometries = shapely.normalize(same)
    return found


def _parts(geometry: shapely.Geometry) -> list[shapely.Geometry]:
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [part for child in geometry.geoms for part in _parts(child)]
