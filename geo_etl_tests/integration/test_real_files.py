"""Real files, end to end through the job. What must come out was read off the files apart."""

from pathlib import Path
from typing import Any

import pyogrio
import pytest
import shapely
import sqlalchemy as sa

# file, layer, features, geometry type, source CRS, columns of the table
FILES = [
    (
        "gpkg/nc.gpkg",
        100,
        "MultiPolygon",
        "EPSG:4267",
        ["fid", "area", "perimeter", "cnty_", "cnty_id", "name", "fips", "fipsno", "cress_id"]
        + ["bir74", "sid74", "nwbir74", "bir79", "sid79", "nwbir79"],
    ),
    (
        "shp-zip/nybb_16a.zip",
        5,
        "MultiPolygon",
        "EPSG:2263",
        ["boro_code", "boro_name", "shape_leng", "shape_area"],
    ),
    (
        "geojson/us_regions.geojson",
        4,
        "MultiPolygon",
        "EPSG:4269",
        ["regionce", "affgeoid", "geoid", "name", "lsad", "aland", "awater"],
    ),
    (
        "geojson/colorado-counties.geojson",
        64,
        "MultiPolygon",
        "EPSG:4326",
        ["statefp", "countyfp", "countyns", "affgeoid", "geoid", "name", "lsad", "aland"]
        + ["awater", "state_name", "state_abbr", "jurisdiction_type"],
    ),
    ("geojson/cycle_hire.geojson", 742, "MultiPoint", "EPSG:4326", None),
    ("geojson/earthquakes.geojson", 6107, "MultiPoint", "EPSG:4326", None),
    ("shp-zip/prenzlauer.zip", 2203, "MultiPoint", "EPSG:3857", None),
]


@pytest.mark.parametrize(("file", "features", "geometry", "crs", "columns"), FILES)
def test_file_becomes_a_table_with_every_feature(
    file: str,
    features: int,
    geometry: str,
    crs: str,
    columns: list[str] | None,
    shared_data: Path,
    ingest: Any,
    engine: sa.Engine,
    unique: str,
) -> None:
    result = ingest(shared_data / "vector" / file)

    summary = result["summary"]
    assert (summary["features_read"], summary["features_loaded"]) == (features, features)
    assert (result["geometry_type"], result["original_crs"]) == (geometry, crs)
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(
                f"SELECT count(*), count(DISTINCT gid), bool_and(ST_IsValid(geom)),"
                f" min(GeometryType(geom)), max(ST_SRID(geom)) FROM geo.{unique}"
            )
        ).one()
    assert tuple(found) == (features, features, True, geometry.upper(), 4326)
    if columns is not None:
        names = [column["name"] for column in sa.inspect(engine).get_columns(unique, "geo")]
        assert names == ["gid", *columns, "geom"]


@pytest.mark.parametrize(("file", "features", "geometry", "crs", "columns"), FILES)
def test_every_cell_and_vertex_is_that_of_an_independent_read(
    file: str,
    features: int,
    geometry: str,
    crs: str,
    columns: list[str] | None,
    shared_data: Path,
    ingest: Any,
    engine: sa.Engine,
    unique: str,
) -> None:
    """pyogrio's own reader and geopandas' reprojection, against what PostGIS holds."""
    path = shared_data / "vector" / file
    ingest(path)
    expected = pyogrio.read_dataframe(path).to_crs(4326)
    with engine.connect() as connection:
        table = sa.Table(unique, sa.MetaData(schema="geo"), autoload_with=connection)
        wkb = sa.func.ST_AsBinary(table.c.geom).label("geom")
        originals = {
            column.comment: column for column in table.columns if column.name not in ("gid", "geom")
        }
        rows = connection.execute(sa.select(*originals.values(), wkb).order_by(table.c.gid)).all()

    for name in expected.columns.drop("geometry"):
        column = originals[name].name
        values = [getattr(row, column) for row in rows]
        for read, stored in zip(expected[name].tolist(), values, strict=True):
            assert (stored is None) == bool(read is None or read != read), (name, read, stored)
            assert stored is None or stored == read, (name, read, stored)

    stored = shapely.from_wkb([bytes(row.geom) for row in rows])
    assert shapely.equals_exact(
        _single(shapely.force_2d(expected.geometry.to_numpy())), _single(stored), tolerance=1e-9
    ).all()


def _single(geometries: Any) -> Any:
    """A Multi of one part as that part."""
    single = shapely.get_num_geometries(geometries) == 1
    geometries[single] = shapely.get_geometry(geometries[single], 0)
    return geometries
