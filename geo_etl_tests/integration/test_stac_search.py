"""Searches in pgSTAC, against the same items filtered by Python."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from dagster import DagsterInstance
from shapely.geometry import Polygon, box, shape

from geo_etl.catalog.query import Query
from geo_etl.catalog.vectors import vector_collection
from geo_etl.definitions import build_definitions
from geo_etl.errors import SpecError
from geo_etl.resources import stac_search
from geo_etl.resources.postgis import engine_for
from geo_etl.resources.stac_search import search, searching
from geo_etl_tests.conftest import failure_of

Item = dict[str, Any]
START = datetime(2020, 1, 1, tzinfo=UTC)


def made_item(number: int, collection: str, chance: random.Random) -> Item:
    west, south = chance.uniform(-180, 170), chance.uniform(-80, 70)
    time = START + timedelta(days=chance.randrange(600))
    properties = {
        "datetime": time.isoformat().replace("+00:00", "Z"),
        "title": chance.choice(["Alder", "alder", "Birch", "Ça"]) + f" {number}",
        "geo_etl:data_kind": chance.choice(["imagery", "elevation", "classes"]),
        "table:row_count": number * 1000,
    }
    if number % 3:
        properties["gsd"] = chance.choice([0.5, 5.0, 10.0, 30.0])
    if number % 2:
        properties[f"own:{collection}"] = number
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"i{number:03d}",
        "collection": collection,
        "geometry": json.loads(json.dumps(box(west, south, west + 8, south + 8).__geo_interface__)),
        "bbox": [west, south, west + 8, south + 8],
        "properties": properties,
        "links": [{"rel": "collection", "href": "../elsewhere"}],
        "assets": {},
    }


@pytest.fixture(scope="module")
def catalogue(stack: Any) -> tuple[str, list[Item]]:
    """A collection of 150 items; pages are smaller."""
    name, chance = f"search-{random.getrandbits(40):x}", random.Random(7)
    items = [made_item(number, name, chance) for number in range(150)]
    with engine_for(stack.database()).begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
        for function, document in (
            ("upsert_collection", vector_collection(name)),
            ("upsert_items", items),
        ):
            connection.execute(
                sa.text(f"SELECT pgstac.{function}(CAST(:content AS jsonb))"),
                {"content": json.dumps(document)},
            )
    return name, items


@pytest.fixture
def ids(
    catalogue: tuple[str, list[Item]], engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Ids that a search in the collection finds, in their order."""
    monkeypatch.setattr(stac_search, "PAGE", 40)

    def find(limit: int = 1000, **said: Any) -> list[str]:
        query = Query.parse(limit, collections=[catalogue[0]], **said)
        with searching(engine) as connection:
            found = search(connection, query)
            names = [item["id"] for item in found.items]
        assert len(names) == min(found.matched, limit)
        return names

    return find


def value(item: Item, name: str) -> Any:
    return item["properties"].get(name)


def time(item: Item) -> datetime:
    return datetime.fromisoformat(item["properties"]["datetime"])


TRIANGLE = Polygon([(0, 0), (60, 0), (60, 60)])
FILTERS: dict[str, Callable[[Item], bool]] = {
    "\"geo_etl:data_kind\" = 'imagery' AND gsd < 10": lambda item: (
        value(item, "geo_etl:data_kind") == "imagery" and (value(item, "gsd") or 99) < 10
    ),
    "S_INTERSECTS(geometry, POLYGON((0 0, 60 0, 60 60, 0 0)))": lambda item: shape(
        item["geometry"]
    ).intersects(TRIANGLE),
    "T_AFTER(datetime, TIMESTAMP('2020-06-01T00:00:00Z'))": lambda item: (
        time(item) > datetime(2020, 6, 1, tzinfo=UTC)
    ),
    "T_BEFORE(datetime, DATE('2020-06-01'))": lambda item: (
        time(item) < datetime(2020, 6, 1, tzinfo=UTC)
    ),
    "datetime <= TIMESTAMP('2020-03-04T00:00:00Z')": lambda item: (
        time(item) <= datetime(2020, 3, 4, tzinfo=UTC)
    ),
    "casei(title) LIKE casei('ALDER%')": lambda item: (
        value(item, "title").lower().startswith("alder")
    ),
    "title LIKE 'Alder%5'": lambda item: (
        value(item, "title").startswith("Alder") and value(item, "title").endswith("5")
    ),
    "title = 'Ça 7' OR title LIKE 'Ça%'": lambda item: value(item, "title").startswith("Ça"),
    "gsd IN (5, 30)": lambda item: value(item, "gsd") in (5, 30),
    "\"geo_etl:data_kind\" IN ('classes', 'none')": lambda item: (
        value(item, "geo_etl:data_kind") == "classes"
    ),
    "gsd BETWEEN 0.5 AND 9.5": lambda item: 0.5 <= (value(item, "gsd") or 99) <= 9.5,
    "gsd IS NULL": lambda item: value(item, "gsd") is None,
    # As text, 9000 would be more than 140000.
    '"table:row_count" >= 140000': lambda item: value(item, "table:row_count") >= 140_000,
    "NOT (gsd < 10)": lambda item: (value(item, "gsd") or 0) >= 10,
    "id = 'i007'": lambda item: item["id"] == "i007",
}


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_finds_what_python_finds(
    text: str, ids: Callable[..., list[str]], catalogue: tuple[str, list[Item]]
) -> None:
    expected = [item["id"] for item in catalogue[1] if FILTERS[text](item)]
    assert 0 < len(expected) < 150

    assert sorted(ids(cql2=text)) == expected


@pytest.mark.parametrize(
    "bbox", [(-10, -10, 30, 30), (160, -90, -160, 90), (-180, -90, 180, 90), (5, 5, 5, 5)]
)
def test_a_box_finds_what_it_touches(
    bbox: tuple[float, ...], ids: Callable[..., list[str]], catalogue: tuple[str, list[Item]]
) -> None:
    west, south, east, north = bbox
    wanted = [box(west, south, east, north)]
    if west > east:
        wanted = [box(west, south, 180, north), box(-180, south, east, north)]
    expected = [
        item["id"]
        for item in catalogue[1]
        if any(shape(item["geometry"]).intersects(part) for part in wanted)
    ]

    assert sorted(ids(bbox=",".join(map(str, bbox)))) == expected


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [
        ("2020-03-01/2020-04-01", (2020, 3, 1), (2020, 4, 2)),
        ("2020-03-01T00:00:00Z/..", (2020, 3, 1), (2099, 1, 1)),
        ("../2020-03-01T00:00:00+00:00", (1, 1, 1), (2020, 3, 1, 0, 0, 1)),
        ("2020-04-11", (2020, 4, 11), (2020, 4, 12)),
    ],
)
def test_a_period_finds_what_is_in_it(
    period: str,
    first: tuple[int, ...],
    last: tuple[int, ...],
    ids: Callable[..., list[str]],
    catalogue: tuple[str, list[Item]],
) -> None:
    begin, end = datetime(*first, tzinfo=UTC), datetime(*last, tzinfo=UTC)
    expected = [item["id"] for item in catalogue[1] if begin <= time(item) < end]
    assert expected

    assert sorted(ids(period=period)) == expected


def test_ids_are_found(ids: Callable[..., list[str]]) -> None:
    assert sorted(ids(ids=["i003", "i004", "nowhere"])) == ["i003", "i004"]


def test_the_newest_come_first(
    ids: Callable[..., list[str]], catalogue: tuple[str, list[Item]]
) -> None:
    times = {item["id"]: time(item) for item in catalogue[1]}

    found = [times[name] for name in ids()]

    assert found == sorted(times.values(), reverse=True)


@pytest.mark.parametrize(("sort", "sign"), [("gsd", 1), ("-gsd", -1)])
def test_sorting_over_several_pages_loses_none_without_the_property(
    sort: str, sign: int, ids: Callable[..., list[str]], catalogue: tuple[str, list[Item]]
) -> None:
    sizes = {item["id"]: value(item, "gsd") for item in catalogue[1]}

    found = ids(sort=[sort])

    told = [sizes[name] for name in found if sizes[name] is not None]
    assert sorted(found) == sorted(sizes)
    assert told == sorted(told, key=lambda size: sign * size)


@pytest.mark.parametrize("limit", [1, 39, 40, 41, 80, 149, 150])
def test_a_limit_is_kept_whatever_the_pages(limit: int, ids: Callable[..., list[str]]) -> None:
    found = ids(limit)

    assert len(found) == len(set(found)) == limit
    assert found == ids()[:limit]


def test_a_property_that_only_items_know_can_be_searched_by(
    ids: Callable[..., list[str]], catalogue: tuple[str, list[Item]]
) -> None:
    assert sorted(ids(cql2=f'"own:{catalogue[0]}" < 6')) == ["i001", "i003", "i005"]


def test_an_unknown_property_is_refused_with_those_that_there_are(
    ids: Callable[..., list[str]],
) -> None:
    with pytest.raises(SpecError, match="property 'no_such'") as caught:
        ids(cql2="no_such = 1")
    assert "geo_etl:data_kind" in caught.value.remedy

    with pytest.raises(SpecError, match="property 'no_such'"):
        ids(sort=["no_such"])


def test_an_unknown_collection_is_refused_with_those_that_there_are(engine: sa.Engine) -> None:
    query = Query.parse(1, collections=["system-vectors", "no-such"])

    with searching(engine) as connection, pytest.raises(SpecError, match="'no-such'") as caught:
        search(connection, query)
    assert "There are:" in caught.value.remedy


@pytest.mark.parametrize(
    "text", ["gsd = 'abc'", "no_function(title) = 'a'", "S_INTERSECTS(POINT(0 0), geometry)"]
)
def test_what_pgstac_can_not_do_is_told(text: str, ids: Callable[..., list[str]]) -> None:
    with pytest.raises(SpecError):
        ids(cql2=text)


def test_a_search_leaves_nothing_behind_and_counts_anew(
    engine: sa.Engine, ids: Callable[..., list[str]], catalogue: tuple[str, list[Item]]
) -> None:
    name = catalogue[0]
    counted = sa.text("SELECT count(*) FROM pgstac.searches WHERE search::text LIKE :name")
    before = ids(cql2="gsd > 29")

    with engine.connect() as connection:
        assert connection.execute(counted, {"name": f"%{name}%"}).scalar_one() == 0
    extra = made_item(999, name, random.Random(1))
    extra["properties"]["gsd"] = 30.0
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
        connection.execute(
            sa.text("SELECT pgstac.upsert_item(CAST(:item AS jsonb))"), {"item": json.dumps(extra)}
        )
    try:
        assert sorted(ids(cql2="gsd > 29")) == sorted([*before, "i999"])
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL search_path = pgstac, public"))
            connection.execute(sa.text("SELECT pgstac.delete_item('i999', :name)"), {"name": name})


@pytest.fixture
def run_search(stack: Any) -> Callable[..., Any]:
    """Run `stac_search` in this process; Dagster's result object."""

    def run(**config: Any) -> Any:
        job = build_definitions().resolve_job_def("stac_search")
        with DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                run_config={
                    "ops": {"search_catalogue": {"config": config}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
            )

    return run


def test_the_job_stores_what_it_finds_as_geojson(
    run_search: Callable[..., Any], catalogue: tuple[str, list[Item]], stack: Any
) -> None:
    run = run_search(collections=[catalogue[0]], filter="gsd < 1", limit=5)

    assert run.success, failure_of(run)
    result = run.output_for_node("search_catalogue")
    expected = [item for item in catalogue[1] if (value(item, "gsd") or 99) < 1]
    assert (result["matched"], result["returned"]) == (len(expected), 5)
    stored = json.loads((stack.home / "blobs" / result["geojson"]).read_text())
    assert (stored["type"], stored["numberMatched"]) == ("FeatureCollection", len(expected))
    assert stored["numberReturned"] == len(stored["features"]) == 5
    assert {item["id"] for item in stored["features"]} <= {item["id"] for item in expected}
    # A link that needs a place of its own is none in a file.
    assert all(link["href"] != "../elsewhere" for f in stored["features"] for link in f["links"])


def test_the_job_fails_with_the_way_out(run_search: Callable[..., Any]) -> None:
    run = run_search(bbox="1,2,3")

    assert not run.success
    assert "WEST,SOUTH,EAST,NORTH" in failure_of(run)
