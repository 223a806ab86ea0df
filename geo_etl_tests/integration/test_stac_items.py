"""What is written into pgSTAC reads back as it was given, once, and is not written twice."""

import json
import math
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geo_etl.errors import CatalogueError
from geo_etl.resources import pgstac
from geo_etl.resources.stac_items import Written, delete_items, read_items, write_items
from geo_etl_tests.integration.stac_writing import (
    Document,
    by_id,
    item,
    open_collection,
    rows,
    search,
    stored,
)

SHARED = {"data": {"title": "Data", "roles": ["data"], "type": "image/tiff"}}


@pytest.fixture
def collection(engine: sa.Engine, unique: str) -> str:
    open_collection(engine, unique)
    return unique


def write(engine: sa.Engine, name: str, items: list[Document]) -> Written:
    with engine.begin() as connection:
        return write_items(connection, name, items)


def test_items_read_back_from_pgstac_as_they_were_written(
    engine: sa.Engine, collection: str
) -> None:
    items = [item(collection, number, month=number % 5) for number in range(50)]
    assert write(engine, collection, items) == Written(50, 0, 0)
    assert stored(engine, collection) == by_id(items)


def test_items_of_several_batches_are_all_written(
    engine: sa.Engine, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geo_etl.resources.stac_items.BATCH", 7)
    items = [item(collection, number) for number in range(20)]
    assert write(engine, collection, items) == Written(20, 0, 0)
    assert stored(engine, collection) == by_id(items)


def test_items_are_read_as_pgstac_gives_them(engine: sa.Engine, collection: str) -> None:
    write(engine, collection, [item(collection, number) for number in range(3)])
    with engine.connect() as connection:
        found = read_items(connection, collection, ["item-0", "item-2", "nowhere"])
    everything = stored(engine, collection)
    assert found == {name: everything[name] for name in ("item-0", "item-2")}


def test_of_a_collection_that_is_not_there_no_items_are_read(
    engine: sa.Engine, unique: str
) -> None:
    with engine.connect() as connection:
        assert read_items(connection, unique, ["item-0"]) == {}


def test_unchanged_items_are_not_written(engine: sa.Engine, collection: str) -> None:
    items = [item(collection, number) for number in range(20)]
    write(engine, collection, items)
    before = rows(engine, collection)
    assert write(engine, collection, items) == Written(0, 0, 20)
    assert rows(engine, collection) == before


def test_only_what_changed_is_written(engine: sa.Engine, collection: str) -> None:
    items = [item(collection, number) for number in range(20)]
    write(engine, collection, items)
    before = rows(engine, collection)
    items[3] = item(collection, 3, title="another")
    assert write(engine, collection, [*items, item(collection, 20)]) == Written(1, 1, 19)
    after = rows(engine, collection)
    assert {name for name in after if after[name] != before.get(name)} == {"item-3", "item-20"}
    assert stored(engine, collection)["item-3"] == items[3]


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), ([], [1]), ("1", 1)])
def test_a_value_of_another_kind_is_a_change(
    engine: sa.Engine, collection: str, before: Any, after: Any
) -> None:
    write(engine, collection, [item(collection, 0, value=before)])
    assert write(engine, collection, [item(collection, 0, value=after)]) == Written(0, 1, 0)
    assert stored(engine, collection)["item-0"]["properties"]["value"] is not before


@pytest.mark.parametrize("parts", [None, "year", "month"])
def test_an_item_moved_in_time_is_there_once_at_its_new_time(
    engine: sa.Engine, unique: str, parts: str | None
) -> None:
    open_collection(engine, unique, parts=parts)
    write(engine, unique, [item(unique, number, month=number) for number in range(4)])
    moved = item(unique, 0, month=30)
    assert write(engine, unique, [moved]) == Written(0, 1, 0)
    assert stored(engine, unique)["item-0"] == moved
    then, now = "2020-01-01T00:00:00Z/2020-01-31T00:00:00Z", moved["properties"]["datetime"]
    assert search(engine, collections=[unique], datetime=then) == set()
    assert search(engine, collections=[unique], datetime=now) == {"item-0"}


def test_an_item_that_stands_in_two_partitions_is_there_once_afterwards(
    engine: sa.Engine, unique: str
) -> None:
    open_collection(engine, unique, parts="month")
    items = [item(unique, 0), item(unique, 1, month=5)]
    write(engine, unique, items)
    with engine.begin() as connection:  # as pypgstac leaves an item whose time changed
        connection.execute(
            sa.text(
                "INSERT INTO pgstac.items"
                " SELECT 'item-0', geometry, collection, datetime, end_datetime, content, private"
                " FROM pgstac.items WHERE collection = :name AND id = 'item-1'"
            ),
            {"name": unique},
        )
    assert write(engine, unique, items) == Written(0, 1, 1)
    assert stored(engine, unique) == by_id(items)


def test_a_row_whose_time_is_not_that_of_its_item_is_put_right(
    engine: sa.Engine, collection: str
) -> None:
    items = [item(collection, 0), item(collection, 1, month=20)]
    write(engine, collection, items)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE pgstac.items SET end_datetime = end_datetime + interval '1 day'"
                " WHERE collection = :name AND id = 'item-0'"
            ),
            {"name": collection},
        )
    assert write(engine, collection, items) == Written(0, 1, 1)


def test_items_are_found_by_place(engine: sa.Engine, collection: str) -> None:
    write(engine, collection, [item(collection, number) for number in range(3)])
    here = [5.0005, 50.0002, 5.0006, 50.0003]
    assert search(engine, collections=[collection], bbox=here) == {"item-0"}


def test_the_period_of_an_item_is_its_time(engine: sa.Engine, collection: str) -> None:
    period = {"start_datetime": "2019-03-01T00:00:00Z", "end_datetime": "2019-05-01T00:00:00+02:00"}
    write(engine, collection, [item(collection, 0, **period)])
    assert search(engine, collections=[collection], datetime="2019-04-01T00:00:00Z") == {"item-0"}
    assert search(engine, collections=[collection], datetime="2020-01-15T00:00:00Z") == set()


def test_what_items_share_with_their_collection_reads_back(engine: sa.Engine, unique: str) -> None:
    open_collection(engine, unique, item_assets=SHARED)
    items = [item(unique, number) for number in range(5)]
    items[1]["assets"]["data"] |= SHARED["data"]
    items[2]["assets"] = {"other": {"href": "file:///other.tif"}}
    items[3]["assets"]["data"]["roles"] = []
    items[4]["assets"] = {}
    write(engine, unique, items)
    assert stored(engine, unique) == by_id(items)
    assert write(engine, unique, items) == Written(0, 0, 5)


def test_items_stay_as_they_are_when_what_they_share_changes(
    engine: sa.Engine, unique: str
) -> None:
    open_collection(engine, unique, item_assets=SHARED)
    old = [item(unique, number) for number in range(3)]
    write(engine, unique, old)
    changed = {"data": {"title": "Other", "roles": ["data", "archive"]}}
    with engine.begin() as connection:
        now = pgstac.get_collection(connection, unique)
        assert now is not None
        pgstac.upsert_collection(connection, {**now, "item_assets": changed})
    new = [item(unique, number) for number in range(3, 6)]
    assert write(engine, unique, [*old, *new]) == Written(3, 0, 3)
    assert stored(engine, unique) == by_id([*old, *new])


def test_a_null_is_the_same_as_nothing(engine: sa.Engine, collection: str) -> None:
    plain = item(collection, 0, keep=[None, {"b": 1}])
    odd = item(collection, 0, keep=[None, {"a": None, "b": 1}], gone=None)
    write(engine, collection, [odd])
    assert stored(engine, collection) == by_id([plain])
    assert write(engine, collection, [plain]) == Written(0, 0, 1)


def test_removed_items_are_counted(engine: sa.Engine, collection: str) -> None:
    write(engine, collection, [item(collection, number) for number in range(5)])
    with engine.begin() as connection:
        assert delete_items(connection, collection, ["item-1", "item-4", "nowhere"]) == 2
    assert set(stored(engine, collection)) == {"item-0", "item-2", "item-3"}


def test_a_transaction_that_is_undone_leaves_nothing(engine: sa.Engine, collection: str) -> None:
    write(engine, collection, [item(collection, 0)])
    with engine.connect() as connection:
        write_items(connection, collection, [item(collection, n, month=9) for n in range(5)])
        connection.rollback()
    assert stored(engine, collection) == by_id([item(collection, 0)])


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


REFUSED = {
    "NaN": ({"properties": {"gsd": math.nan}}, "properties.gsd is nan"),
    "NaN in a list": ({"properties": {"gsd": [1, math.inf]}}, r"properties.gsd\[1\] is inf"),
    "no text": ({"properties": {"blob": b"bytes"}}, "bytes"),
    "U+0000": ({"properties": {"title": "a\0b"}}, r"properties.title holds the character U\+0000"),
    "half a character": ({"properties": {"title": "\ud800"}}, "surrogates not allowed"),
    "a number as a key": ({"properties": {1: 2}}, "a key that is no text"),
    "too deep": ({"properties": {"deep": nested(5000)}}, "nested deeper than 200 levels"),
    "no place": ({"geometry": None}, "has no geometry"),
    "no geometry at all": ({"geometry": {"type": "Dodecahedron"}}, "is refused"),
    "no time": ({"properties": {"datetime": None}}, "no time that can be read"),
    "no such time": ({"properties": {"datetime": "2020-13-01T00:00:00Z"}}, "2020-13-01"),
    "an end before its start": (
        {
            "properties": {
                "start_datetime": "2021-01-01T00:00:00Z",
                "end_datetime": "2020-01-01T00:00:00Z",
            }
        },
        "before it starts",
    ),
    "another collection": ({"collection": "another"}, "is of collection another"),
    "no id": ({"id": ""}, "has no id"),
    "pgSTAC's own mark": ({"note": "𒍟※"}, "does not read back from pgSTAC as it was written"),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_an_item_that_can_not_be_stored_is_named_and_nothing_is_written(
    engine: sa.Engine, collection: str, change: Document, said: str
) -> None:
    good, bad = item(collection, 0), item(collection, 1)
    bad = {**bad, **change}
    if "properties" in change:
        bad["properties"] = {**good["properties"], **change["properties"]}
    with pytest.raises(CatalogueError, match=said) as caught:
        write(engine, collection, [good, bad])
    assert caught.value.thing == f"STAC item {collection}/{bad['id']}"
    assert stored(engine, collection) == {}


def test_an_item_given_twice_is_refused(engine: sa.Engine, collection: str) -> None:
    with pytest.raises(CatalogueError, match="item-1: it is given twice"):
        write(engine, collection, [item(collection, 1), item(collection, 1, title="again")])


def test_a_collection_that_is_not_there_is_named(engine: sa.Engine, unique: str) -> None:
    with pytest.raises(CatalogueError, match=f"STAC collection {unique}: it does not exist"):
        write(engine, unique, [item(unique, 0)])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def plain(value: Any) -> Any:
    """As JSON means it: no nulls in objects, numbers exact, true no number."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ("number", Decimal(repr(value)))
    return ("value", value)


PARTS = ("Data", ["data"], {"a": 1, "b": [1, {"c": None, "d": []}]}, {}, [[], {}], [{"e": 2}, 3])
in_assets = st.lists(json_values | st.sampled_from(PARTS), max_size=len(PARTS))


@pytest.fixture(scope="module")
def odd_collection(stack: Any) -> str:
    from geo_etl.resources.postgis import engine_for

    assets = {"data": {f"part{number}": part for number, part in enumerate(PARTS)}}
    open_collection(engine_for(stack.database()), "odd-items", item_assets=assets)
    return "odd-items"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(st.tuples(json_values, in_assets), min_size=1, max_size=8))
def test_any_json_reads_back_as_it_was_written_and_is_not_written_again(
    engine: sa.Engine, odd_collection: str, values: list[tuple[Any, list[Any]]]
) -> None:
    items = [item(odd_collection, number, odd=one) for number, (one, _) in enumerate(values)]
    for one, (_, parts) in zip(items, values, strict=True):
        one["assets"]["data"] = {f"part{number}": part for number, part in enumerate(parts)}
    with engine.connect() as connection:
        write_items(connection, odd_collection, items)
        for one in items:
            found = connection.execute(
                sa.text("SELECT CAST(pgstac.get_item(:id, :collection) AS text)"),
                {"id": one["id"], "collection": odd_collection},
            ).scalar_one()
            assert plain(json.loads(found)) == plain(one)
        assert write_items(connection, odd_collection, items) == Written(0, 0, len(items))
        connection.rollback()
