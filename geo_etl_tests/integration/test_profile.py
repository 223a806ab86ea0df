"""Measures of loaded tables, on tables made by hand in a real PostGIS."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiPoint, MultiPolygon, Point, box

from geo_etl.catalog.lineage import bbox_geometry
from geo_etl.catalog.validate import validate
from geo_etl.catalog.vectors import (
    Period,
    TableFacts,
    vector_collection,
    vector_item,
)
from geo_etl.resources import pgstac
from geo_etl.vector import ledger
from geo_etl.vector.extent import extent_wgs84, smallest_arc, temporal_extent
from geo_etl.vector.profile import findings, profile_table, software_versions
from geo_etl.vector.sample import MARKED, sample_geometries

HOSTILE = ['a"b', "x:y", "100%", "%(p)s", "Straße", "select", "a; drop table t; --", "ADDR:CITY"]
FIJI = MultiPolygon([box(177, -19, 180, -16), box(-180, -19, -178, -16)])


@pytest.fixture
def connection(engine: sa.Engine, unique: str) -> Iterator[sa.Connection]:
    """A connection with a schema of the test's own, which is gone afterwards."""
    with engine.connect() as connection:
        connection.execute(sa.schema.CreateSchema(unique))
        yield connection
        connection.rollback()


Make = Callable[..., str]


@pytest.fixture
def make(connection: sa.Connection, unique: str) -> Make:
    """Make table `t` with geometries, and columns given as (type, values); its schema."""

    def make_table(
        geometries: list[Any], srid: int = 4326, gids: Any = None, **columns: Any
    ) -> str:
        named = [
            sa.Column(name, type_) for name, (type_, _) in columns.get("columns", columns).items()
        ]
        table = sa.Table(
            "t", sa.MetaData(schema=unique), sa.Column("gid", sa.BigInteger, primary_key=True),
            *named, sa.Column("geom", _Geometry()),
        )  # fmt: skip
        table.create(connection)
        values = columns.get("columns", columns)
        rows = [
            {
                "gid": gid,
                "geom": None if geometry is None else _ewkb(geometry, srid),
                **{name: list(cells)[i] for name, (_, cells) in values.items()},
            }
            for i, (gid, geometry) in enumerate(
                zip(gids or range(1, len(geometries) + 1), geometries, strict=True)
            )
        ]
        if rows:
            connection.execute(sa.insert(table), rows)
        return unique

    return make_table


class _Geometry(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "geometry"


def _ewkb(geometry: Any, srid: int) -> str:
    return shapely.to_wkb(shapely.set_srid(geometry, srid), include_srid=True, hex=True)


# Profile


def test_values_are_counted_by_column(connection: sa.Connection, make: Make) -> None:
    columns = {"a": (sa.Text, ["x", None, ""]), "b": (sa.Float, [None, None, float("nan")])}
    schema = make([Point(i, 0) for i in range(3)], columns=columns)
    profile = profile_table(connection, schema, "t", ["a", "b"])
    assert profile.rows == 3
    # Text without characters and NaN are values.
    assert profile.filled == {"a": 2, "b": 1}


def test_duplicates_are_the_rows_beyond_the_first(connection: sa.Connection, make: Make) -> None:
    places = [Point(1, 1), Point(1, 1), Point(1, 1), Point(2, 2), Point(1, 1), None, None]
    schema = make(places, columns={"a": (sa.Text, ["x", "x", "y", "x", None, None, None])})
    profile = profile_table(connection, schema, "t", ["a"])
    assert profile.duplicate_rows == 2  # the second (1 1, x), the second (no place, no value)
    assert profile.duplicate_geometries == 3  # of four at 1 1; no geometry is no duplicate


def test_every_type_of_a_published_column_can_be_compared(
    connection: sa.Connection, make: Make
) -> None:
    pg = sa.dialects.postgresql
    columns = {
        "j": (pg.JSONB, [{"a": [1]}, {"a": [1]}, {"a": [2]}]),
        "l": (pg.ARRAY(sa.Text), [["x", None], ["x", None], ["x", None]]),
        "b": (sa.LargeBinary, [b"\x00", b"\x00", b"\x00"]),
        "d": (sa.Date, [datetime(2020, 1, 1).date()] * 3),
        "t": (sa.DateTime(timezone=True), [datetime(2020, 1, 1, tzinfo=UTC)] * 3),
        "f": (sa.Boolean, [True, True, True]),
    }
    schema = make([Point(1, 1)] * 3, columns=columns)
    assert profile_table(connection, schema, "t", list(columns)).duplicate_rows == 1


def test_hostile_names_are_only_names(connection: sa.Connection, make: Make) -> None:
    schema = make([Point(0, 0), Point(1, 0)], columns={n: (sa.Text, ["x", None]) for n in HOSTILE})
    profile = profile_table(connection, schema, "t", HOSTILE)
    assert profile.filled == dict.fromkeys(HOSTILE, 1)


def test_a_table_as_wide_as_can_be(connection: sa.Connection, make: Make) -> None:
    columns = {f"c{i}": (sa.SmallInteger, [1, i % 2]) for i in range(1500)}
    schema = make([Point(0, 0), Point(0, 0)], columns=columns)
    profile = profile_table(connection, schema, "t", list(columns))
    assert profile.filled == dict.fromkeys(columns, 2)
    assert (profile.duplicate_rows, profile.duplicate_geometries) == (0, 1)


@pytest.mark.parametrize("columns", [{}, {"a": (sa.Text, [])}])
def test_an_empty_table(connection: sa.Connection, make: Make, columns: dict[str, Any]) -> None:
    schema = make([], columns=columns)
    profile = profile_table(connection, schema, "t", list(columns))
    assert (profile.rows, profile.duplicate_rows, profile.duplicate_geometries) == (0, 0, 0)
    assert profile.filled == dict.fromkeys(columns, 0)
    assert extent_wgs84(connection, schema, "t") is None
    assert sample_geometries(connection, schema, "t", [1]).features == []


# Findings


@pytest.fixture
def load(connection: sa.Connection, unique: str) -> int:
    """A load with four repairs and three quarantined features; its id."""
    number = connection.execute(
        sa.insert(ledger.load)
        .values(
            {
                column.name: (1 if isinstance(column.type, sa.BigInteger | sa.Integer) else unique)
                for column in ledger.load.columns
                if not column.nullable and column.server_default is None and column.name != "id"
            }
        )
        .returning(ledger.load.c.id)
    ).scalar_one()
    repairs = [
        (1, "Self-intersection[1.5 2]", 10.0, 9.0),
        (2, "Self-intersection[7 -8e-05]", 1000.0, 950.0),
        (3, "Ring Self-intersection[7 8]", 4.0, 5.0),
        (4, "Self-intersection[0 0]", 0.0, 0.0),
    ]
    more = {"type_before": "Polygon", "type_after": "MultiPolygon"}
    kept = {name: text for name, text in more.items() if name in ledger.repair.c}
    connection.execute(
        sa.insert(ledger.repair),
        [
            {
                "load_id": number, "gid": gid, "source_fid": 100 + gid, "reason": reason,
                "measure_before": before, "measure_after": after, **kept,
            }
            for gid, reason, before, after in repairs
        ],
    )  # fmt: skip
    refused = [
        (9, "a value is 700, above 255", shapely.to_wkb(Point(1, 1)), {"n": 700}),
        (5, "a value is 256, above 255", None, {"n": 256}),
        (7, "Too few points[1 2]", b"\x01\x02", {"n": None}),
    ]
    connection.execute(
        sa.insert(ledger.quarantine),
        [
            {"load_id": number, "source_fid": f, "reason": r, "geometry": g, "attributes": a}
            for f, r, g, a in refused
        ],
    )
    return int(number)


def test_reasons_are_counted_without_their_places(connection: sa.Connection, load: int) -> None:
    found = findings(connection, [load])
    reasons = [(reason.text, reason.features) for reason in found.repairs]
    assert reasons == [("Self-intersection", 3), ("Ring Self-intersection", 1)]


def test_the_largest_change_is_the_largest_share(connection: sa.Connection, load: int) -> None:
    largest = findings(connection, [load]).largest
    assert largest is not None
    assert (largest.source_fid, largest.before, largest.after) == (103, 4.0, 5.0)
    assert largest.share == pytest.approx(0.2)


def test_quarantine_shows_the_first_features_in_full(connection: sa.Connection, load: int) -> None:
    first, second = findings(connection, [load]).quarantine
    assert (first.text, first.features) == ("a value is …, above …", 2)
    assert [(one.source_fid, one.said) for one in first.examples] == [
        (5, "a value is 256, above 255"),
        (9, "a value is 700, above 255"),
    ]
    assert first.examples[0].attributes == {"n": 256}
    assert (second.text, second.features) == ("Too few points", 1)


def test_a_load_without_findings(connection: sa.Connection) -> None:
    found = findings(connection, [-1])
    assert (found.repairs, found.largest, found.quarantine) == ((), None, ())


# Sample


def test_a_small_table_is_sampled_whole(connection: sa.Connection, make: Make) -> None:
    schema = make([Point(0, 0), None, Point(5, 5)], srid=32633, gids=[1, 5, 900])
    sample = sample_geometries(connection, schema, "t", [-1])
    assert sample.srid == 32633
    assert [shapely.from_wkb(wkb) for wkb in sample.features] == [Point(0, 0), Point(5, 5)]


def test_a_sample_is_spread_over_the_table(connection: sa.Connection, make: Make) -> None:
    gids = [*range(1, 501), *range(10_001, 10_501)]
    schema = make([Point(gid, 0) for gid in gids], srid=3857, gids=gids)
    sample = sample_geometries(connection, schema, "t", [-1], features=210)
    found = [shapely.from_wkb(wkb).x for wkb in sample.features]
    assert 10 <= len(found) <= 210
    assert min(found) < 100
    assert max(found) > 10_400
    assert len(set(found)) == len(found)


def test_a_sample_has_no_more_detail_than_the_map(connection: sa.Connection, make: Make) -> None:
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    circle = shapely.Polygon(np.column_stack([np.cos(angles), np.sin(angles)]))
    schema = make([circle])
    shown = shapely.from_wkb(sample_geometries(connection, schema, "t", [-1]).features[0])
    assert shapely.get_num_coordinates(shown) < 500
    assert shapely.hausdorff_distance(shown, circle) < 0.01


def test_repaired_and_quarantined_geometries_are_sampled(
    connection: sa.Connection, make: Make, load: int
) -> None:
    schema = make([Point(gid, gid) for gid in range(1, 8)])
    sample = sample_geometries(connection, schema, "t", [load])
    assert {shapely.from_wkb(wkb).x for wkb in sample.repaired} == {1, 2, 3, 4}
    assert sorted(sample.quarantined) == sorted([shapely.to_wkb(Point(1, 1)), b"\x01\x02"])


def test_marked_features_are_thinned(connection: sa.Connection, make: Make, load: int) -> None:
    rows = [
        {"load_id": load, "source_fid": i, "reason": "r", "geometry": bytes([i % 250]),
         "attributes": {}}
        for i in range(3 * MARKED)
    ]  # fmt: skip
    connection.execute(sa.insert(ledger.quarantine), rows)
    schema = make([Point(0, 0)])
    quarantined = sample_geometries(connection, schema, "t", [load]).quarantined
    assert MARKED / 2 <= len(quarantined) <= MARKED


# Extent


@pytest.mark.parametrize(
    ("geometries", "expected"),
    [
        ([Point(5, 50), Point(7, 40)], (5, 40, 7, 50)),
        ([FIJI], (177, -19, -178, -16)),
        ([Point(-170, 1), Point(170, 2)], (170, 1, -170, 2)),
        ([Point(-120, 1), Point(50, 2), Point(55, 2)], (-120, 1, 55, 2)),
        # The gap over the Atlantic is wider than that over the Pacific.
        ([Point(-100, 1), Point(100, 2)], (100, 1, -100, 2)),
        ([Point(-100, 1), Point(0, 0), Point(100, 2)], (-100, 0, 100, 2)),
        ([box(-180, -90, 180, -60)], (-180, -90, 180, -60)),
        ([Point(180, 10), Point(170, 10), Point(60, 5), Point(-15, 0)], (-15, 0, 180, 10)),
        # Longitudes of 0 to 360.
        ([Point(175, 0), Point(185, 1)], (175, 0, -175, 1)),
        (
            [LineString([(-180, 0), (-180, 5)]), LineString([(180, 0), (180, 5)])],
            (180, 0, 180, 5),
        ),
    ],
)
def test_extent_in_degrees(
    connection: sa.Connection, make: Make, geometries: list[Any], expected: Any
) -> None:
    assert extent_wgs84(connection, make(geometries), "t") == pytest.approx(expected)


@pytest.mark.parametrize("srid", [32660, 3832, 3857, 4269, 3994])
def test_extent_over_the_antimeridian_from_another_crs(
    connection: sa.Connection, make: Make, srid: int
) -> None:
    import pyproj

    degrees = [(178.5, -17.0), (179.5, -18.0), (-179.0, -16.5)]
    project = pyproj.Transformer.from_crs(4326, srid, always_xy=True)
    schema = make([Point(*project.transform(*place)) for place in degrees], srid)
    found = extent_wgs84(connection, schema, "t")
    assert found == pytest.approx((178.5, -18.0, -179.0, -16.5), abs=1e-4)


@pytest.mark.parametrize("srid", [3031, 3995, 3413])
def test_extent_round_a_pole_is_the_whole_circle(
    connection: sa.Connection, make: Make, srid: int
) -> None:
    schema = make([box(-1e6, -2e6, 2e6, 1e6)], srid)
    west, south, east, north = extent_wgs84(connection, schema, "t") or (0, 0, 0, 0)
    assert (west, east) == (-180, 180)
    assert (south if srid == 3031 else north) == (-90 if srid == 3031 else 90)
    # The farthest corner is 2.83 million metres from the pole: about 26 degrees.
    assert abs(north if srid == 3031 else south) == pytest.approx(64.0, abs=1.5)


def test_extent_beside_a_pole_is_not_the_whole_circle(
    connection: sa.Connection, make: Make
) -> None:
    # Straight above the pole in EPSG:3031 lies the prime meridian.
    schema = make([box(-1e5, 1.9e6, 1e5, 2e6)], 3031)
    west, south, east, north = extent_wgs84(connection, schema, "t") or (0, 0, 0, 0)
    assert -4 < west < 0 < east < 4
    assert -74 < south < north < -71


def test_extent_of_many_features_is_that_of_few(connection: sa.Connection, make: Make) -> None:
    """Above the limit features are taken together by grid cells: the bounds stay the same."""
    places = [Point(166_000 + 37 * i, 8_000_000 + 11 * i) for i in range(5200)]
    schema = make(places, 32660)
    together = extent_wgs84(connection, schema, "t")
    connection.execute(sa.text(f"DELETE FROM {schema}.t WHERE gid > 3 AND gid < 5198"))
    single = extent_wgs84(connection, schema, "t")
    assert together == pytest.approx(single, abs=0.02)


def test_extent_without_a_place_is_none(connection: sa.Connection, make: Make) -> None:
    assert extent_wgs84(connection, make([Point(), None]), "t") is None


def test_empty_geometries_do_not_count(connection: sa.Connection, make: Make) -> None:
    schema = make([Point(), Point(-170, 1), MultiPoint(), Point(170, 1)])
    assert extent_wgs84(connection, schema, "t") == (170, 1, -170, 1)


arcs = st.lists(st.tuples(st.integers(-720, 720), st.integers(0, 200)), min_size=1, max_size=6).map(
    lambda pairs: [(start, start + width) for start, width in pairs]
)


@given(arcs)
def test_the_smallest_arc_holds_all_and_no_smaller_one_does(pairs: list[tuple[int, int]]) -> None:
    starts, ends = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    west, east = smallest_arc(starts, ends)
    covered = {degree % 360 for start, end in pairs for degree in range(start, end + 1)}
    half = {(2 * start + k) % 720 for start, end in pairs for k in range(2 * (end - start) + 1)}
    # By trial: for each beginning at a half degree, how far the last covered one is.
    shortest = (
        min(max((degree - begin) % 720 for degree in half) for begin in {2 * c for c in covered})
        / 2
    )
    width = (east - west) % 360 if (west, east) != (-180, 180) else 360
    whole = len(half) == 720
    assert -180 <= west <= 180
    assert -180 <= east <= 180
    assert width == (360 if whole else shortest)
    assert whole or all((degree - west) % 360 <= width for degree in covered)


# Time


@pytest.mark.parametrize(
    ("type_", "values", "expected"),
    [
        (
            sa.Date, ["2020-02-03", "2019-01-01", None],
            (datetime(2019, 1, 1, tzinfo=UTC), datetime(2020, 2, 3, 23, 59, 59, tzinfo=UTC)),
        ),
        (
            sa.DateTime(timezone=True), ["2020-02-03T01:00+02:00", "2020-03-01T00:00Z", "infinity"],
            (datetime(2020, 2, 2, 23, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC)),
        ),
        (
            sa.DateTime, ["2020-02-03T01:00", "0044-03-15 BC", "20000-01-01"],
            (datetime(2020, 2, 3, 1, tzinfo=UTC), datetime(2020, 2, 3, 1, tzinfo=UTC)),
        ),
        (sa.Date, [None, None, "-infinity"], None),
        (sa.Time, ["10:00", "11:00", None], None),
        (sa.Text, ["2020", "2021", None], None),
    ],
)  # fmt: skip
def test_temporal_extent(
    connection: sa.Connection, make: Make, type_: Any, values: list[Any], expected: Any
) -> None:
    schema = make([None] * 3)
    kind = (
        type_().compile(connection.dialect)
        if isinstance(type_, type)
        else type_.compile(connection.dialect)
    )
    connection.execute(sa.text(f'ALTER TABLE {schema}.t ADD COLUMN "a:b" {kind}'))
    for gid, value in enumerate(values, start=1):
        text = "NULL" if value is None else f"'{value}'"
        connection.exec_driver_sql(f'UPDATE {schema}.t SET "a:b" = {text} WHERE gid = {gid}')
    assert temporal_extent(connection, schema, "t", "a:b") == expected


# The catalogue takes what is measured


def test_pgstac_takes_an_item_over_the_antimeridian(
    connection: sa.Connection, make: Make, unique: str
) -> None:
    schema = make([FIJI])
    start = datetime(2019, 1, 1, tzinfo=UTC)
    item = vector_item(
        TableFacts(
            table=f"{schema}.t",
            collection_id=unique,
            source="bronze/fiji.gpkg",
            fingerprint="ab" * 32,
            job_id="cd" * 32,
            columns=[("geom", "geometry", "geometry")],
            features=1,
            bbox=extent_wgs84(connection, schema, "t"),
            srid=4326,
            geometry_type="MultiPolygon",
            modified=start,
            created=start,
            features_url="http://localhost/features",
            period=Period(start, start, "observed"),
            software=software_versions(connection),
        )
    )
    validate(item)
    pgstac.ensure_collection(connection, vector_collection(unique))
    pgstac.upsert_item(connection, item)
    found = pgstac.get_item(connection, unique, f"{schema}.t")
    assert found is not None
    assert found["bbox"] == [177, -19, -178, -16]
    assert found["geometry"] == bbox_geometry((177, -19, -178, -16))


def test_software_versions_are_those_of_the_server(connection: sa.Connection) -> None:
    full = connection.execute(sa.text("SELECT postgis_full_version()")).scalar_one()
    versions = software_versions(connection)
    assert f'POSTGIS="{versions["PostGIS"]}' in full
    assert set(versions) >= {"geo_etl", "GDAL", "PROJ", "PostGIS"}
