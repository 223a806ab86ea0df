"""Going back to an earlier version of a raster layer, taking one away, layers of many rasters."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from geo_etl.catalog.raster_collections import open_raster_collection
from geo_etl.cli import main
from geo_etl.errors import PublishError
from geo_etl.raster.layers import Version, left_behind
from geo_etl.raster.loads import LoadPlan, begin_load
from geo_etl.raster.outputs import Attempt, begin_piece
from geo_etl.raster.publish import Candidate
from geo_etl.resources import pgstac
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl_tests.integration.raster_publishing import SILVER, Site, item, manifest


@pytest.fixture
def site(stack: Any, engine: sa.Engine) -> Site:
    """The stack's database and storage."""
    return Site(engine, LocalBlobs(stack.home / "blobs"))


@pytest.fixture
def geo_etl(stack: Any) -> Any:
    """Run `geo-etl` in this process."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    return run


def numbers(site: Site, layer: str) -> list[tuple[int, bool, bool]]:
    """Number, whether current, whether restorable of each version."""
    return [(v.number, v.current, v.load_id is not None) for v in site.rasters.versions(layer)]


def collection(site: Site, name: str) -> dict[str, Any] | None:
    with site.engine.connect() as connection:
        return pgstac.get_collection(connection, name)


def has_search(site: Site, name: str) -> bool:
    """Whether a search for a collection is registered."""
    with site.engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT count(*) FROM pgstac.searches WHERE search->'collections' ? :name"),
            {"name": name},
        )
        return bool(found.scalar_one())


def states(site: Site, layer: str) -> list[str]:
    """States of a layer's tiles."""
    with site.engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT state FROM geo.tiles WHERE layer = :layer"), {"layer": layer}
        )
        return list(found.scalars())


def test_rollback_shows_the_files_of_the_version_before(site: Site, unique: str) -> None:
    layer = f"{unique}/dem"
    site.ingest(manifest(layer, "one"))
    first = site.shown(unique, "dem")
    site.ingest(manifest(layer, "two"))
    second = site.shown(unique, "dem")

    back = site.rasters.rollback(layer, None)

    assert first != second
    assert (back.number, site.shown(unique, "dem")) == (1, first)
    assert numbers(site, layer) == [(1, True, True), (2, False, True)]
    site.rasters.rollback(layer, 2)
    assert site.shown(unique, "dem") == second


def test_rollback_of_a_set_shows_its_items_and_tiles(site: Site, unique: str) -> None:
    site.ingest(manifest(unique, "one", tiles=3))
    site.ingest(manifest(unique, "two", tiles=2))

    site.rasters.rollback(unique, 1)

    assert states(site, unique) == ["published"] * 3
    assert site.shown(unique, f"{unique}_2")


def test_versions_beyond_those_kept_lose_their_files(site: Site, unique: str) -> None:
    layer = f"{unique}/dem"
    contents = ("one", "two", "three", "four")
    for content in contents[:2]:
        site.ingest(manifest(layer, content), keep=2)
    oldest = site.blobs(layer)
    for content in contents[2:]:
        site.ingest(manifest(layer, content), keep=2)

    assert [row[2] for row in numbers(site, layer)] == [False, False, True, True]
    assert len(site.blobs(layer)) == 2
    assert not site.blobs(layer) & oldest
    with pytest.raises(PublishError, match=r"version 1 is not kept. Versions .* restored: 3\."):
        site.rasters.rollback(layer, 1)


def test_a_version_that_is_shown_again_outlives_newer_ones(site: Site, unique: str) -> None:
    layer = f"{unique}/dem"
    for content in ("one", "two"):
        site.ingest(manifest(layer, content), keep=2)
    site.rasters.rollback(layer, 1)

    site.ingest(manifest(layer, "three"), keep=2)

    assert numbers(site, layer) == [(1, False, False), (2, False, True), (3, True, True)]


def test_unpublish_leaves_nothing(site: Site, unique: str) -> None:
    site.ingest(manifest(unique, "one", tiles=2))
    site.ingest(manifest(unique, "two", tiles=2))
    assert has_search(site, unique)

    site.rasters.unpublish(unique)
    site.rasters.remove_discarded(site.storage)

    assert site.blobs(unique) == set()
    assert site.rasters.versions(unique) == []
    assert states(site, unique) == []
    assert collection(site, unique) is None
    assert not has_search(site, unique)


def test_unpublish_of_a_single_leaves_the_collection_to_others(site: Site, unique: str) -> None:
    site.ingest(manifest(f"{unique}/a", source="bronze/a.tif"))
    site.ingest(manifest(f"{unique}/b", source="bronze/b.tif"))

    site.rasters.unpublish(f"{unique}/a")

    assert site.shown(unique, "a") == set()
    assert site.shown(unique, "b")
    assert collection(site, unique) is not None


def test_a_collection_with_somebodys_items_outlives_its_layer(site: Site, unique: str) -> None:
    site.ingest(manifest(unique, tiles=2))
    with site.engine.begin() as connection:
        pgstac.upsert_item(connection, item(unique, "mine", {"data": "https://example.org/x.tif"}))

    site.rasters.unpublish(unique)

    assert site.shown(unique, "mine")
    assert collection(site, unique) is not None


def test_a_layer_that_is_not_there_is_named_with_those_that_are(site: Site, unique: str) -> None:
    site.ingest(manifest(f"{unique}/dem"))

    with pytest.raises(PublishError, match=f"raster layer {unique}/dme: .* publishes no such"):
        site.rasters.unpublish(f"{unique}/dme")


def test_a_source_that_becomes_another_layer_is_said(site: Site, unique: str) -> None:
    source = f"bronze/{unique}.tif"
    site.ingest(manifest(f"{unique}/dem", source=source))
    site.ingest(manifest(f"{unique}/height", source=source))

    with site.engine.connect() as connection:
        said = left_behind(connection, source, f"{unique}/height")

    assert len(said) == 1
    assert f"geo-etl unpublish {unique}/dem" in said[0]


class Folder:
    """A folder of rasters as one collection, as its job publishes it."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.name, self.source = site, name, f"bronze/{name}"

    def publish(self, changed: dict[str, str], members: list[str]) -> list[Version]:
        """Publish members that changed, by the name of the item, with the collection."""
        candidates = []
        for name, content in changed.items():
            plan = manifest(f"{self.name}/{name}", content, source=f"{self.source}/{name}.tif")
            load = self.site.begin(plan)
            report = self.site.convert(load, plan)
            candidates.append(self.site.candidate(load, plan, [report]))
        candidates.append(self._collection(members))
        shown = self.site.rasters.published(collection_id=self.name, form="single")
        gone = [one.layer for one in shown if one.item_ids[0] not in members]
        versions = self.site.rasters.publish(candidates, 3, gone)
        self.site.rasters.remove_discarded(self.site.storage)
        return versions

    def _collection(self, members: list[str]) -> Candidate:
        job = f"{len(self.site.rasters.versions(self.name)):064x}"
        load_plan = LoadPlan(job, job, self.source, self.name, "", [])
        load = begin_load(self.site.engine, load_plan, SILVER, force=False)
        attempt = begin_piece(self.site.engine, load, None, ["mosaic.vrt"])
        assert isinstance(attempt, Attempt)
        self.site.write(attempt, "<VRT/>")
        plan = manifest(self.name, source=f"{self.source}/x.tif")
        candidate = self.site.candidate(load, plan, [])
        version = replace(
            candidate.version,
            form="collection",
            source=self.source,
            sources=tuple(f"{self.source}/{name}.tif" for name in members),
            job_id=job,
            item_ids=tuple(members),
            collection={
                **open_raster_collection(self.name),
                "description": f"{len(members)} members",
            },
            facts=None,
        )
        return Candidate(load, version, (), tuple(attempt.paths.values()))


@pytest.fixture
def folder(site: Site, unique: str) -> Folder:
    return Folder(site, unique)


def test_members_come_change_and_go_with_their_collection(
    site: Site, folder: Folder, unique: str
) -> None:
    folder.publish({"a": "one", "b": "one"}, ["a", "b"])
    first = site.shown(unique, "a")
    folder.publish({"b": "two", "c": "one"}, ["b", "c"])

    assert first
    assert site.shown(unique, "a") == set()
    assert site.shown(unique, "b")
    assert site.shown(unique, "c")
    found = collection(site, unique)
    assert found is not None
    assert found["description"] == "2 members"
    assert [row[0] for row in numbers(site, f"{unique}/b")] == [1, 2]
    names = Counter(Path(path).name for path in site.blobs(unique))
    assert names == {"b_0_analysis.tif": 2, "c_0_analysis.tif": 1, "mosaic.vrt": 2}


def test_the_mosaic_that_readers_may_be_about_to_open_stays_until_the_next_publish(
    site: Site, folder: Folder, unique: str
) -> None:
    folder.publish({"a": "one"}, ["a"])
    mosaics = [{path for path in site.blobs(unique) if path.endswith(".vrt")}]
    for content in ("two", "three"):
        folder.publish({"a": content}, ["a"])
        mosaics.append({path for path in site.blobs(unique) if path.endswith(".vrt")})

    first, second, third = mosaics
    assert first < second
    assert len(second) == len(third) == 2
    assert not first & third
    versions = site.rasters.versions(unique)
    assert [version.is_restorable for version in versions] == [False, False, True]
    with pytest.raises(PublishError, match="a collection has no earlier version"):
        site.rasters.rollback(unique, 2)


def test_a_collection_without_change_in_its_members_is_republished(
    folder: Folder, site: Site, unique: str
) -> None:
    folder.publish({"a": "one", "b": "one"}, ["a", "b"])

    folder.publish({}, ["a"])

    assert site.shown(unique, "b") == set()
    assert site.rasters.named(unique).item_ids == ("a",)


def test_a_folder_may_take_in_members_that_were_published_one_by_one(
    folder: Folder, site: Site, unique: str
) -> None:
    site.ingest(manifest(f"{unique}/a", source=f"bronze/{unique}/a.tif"))

    versions = folder.publish({"b": "one"}, ["a", "b"])

    assert [version.layer for version in versions] == [f"{unique}/b", unique]


def test_a_folder_never_takes_in_what_somebody_else_put_there(
    folder: Folder, site: Site, unique: str
) -> None:
    site.ingest(manifest(f"{unique}/a", source=f"bronze/{unique}/a.tif"))
    with site.engine.begin() as connection:
        pgstac.upsert_item(connection, item(unique, "mine", {"data": "https://example.org/x.tif"}))

    with pytest.raises(PublishError, match=f"STAC item {unique}/mine: it was not made by geo_etl"):
        folder.publish({"b": "one"}, ["a", "b"])

    assert site.shown(unique, "b") == set()


def test_a_member_is_never_published_without_its_collection(
    folder: Folder, site: Site, unique: str
) -> None:
    folder.publish({"a": "one"}, ["a"])

    with pytest.raises(PublishError, match=f"geo-etl ingest bronze/{unique}/'"):
        site.ingest(manifest(f"{unique}/a", "two", source=f"bronze/{unique}/a.tif"))


@pytest.mark.parametrize("verb", ["rollback", "unpublish"])
def test_a_member_is_never_changed_without_its_collection(
    folder: Folder, site: Site, unique: str, verb: str
) -> None:
    folder.publish({"a": "one"}, ["a"])
    folder.publish({"a": "two"}, ["a"])
    arguments = (f"{unique}/a", None) if verb == "rollback" else (f"{unique}/a",)

    with pytest.raises(PublishError, match=f"it is a member of collection {unique}"):
        getattr(site.rasters, verb)(*arguments)


def test_unpublish_of_a_collection_takes_its_members(
    folder: Folder, site: Site, unique: str
) -> None:
    folder.publish({"a": "one", "b": "one"}, ["a", "b"])

    site.rasters.unpublish(unique)
    site.rasters.remove_discarded(site.storage)

    assert site.rasters.published(collection_id=unique) == []
    assert site.blobs(unique) == set()
    assert collection(site, unique) is None


def test_the_command_lists_layers_and_their_versions(geo_etl: Any, site: Site, unique: str) -> None:
    layer = f"{unique}/dem"
    site.ingest(manifest(layer, "one"))
    site.ingest(manifest(layer, "two"))

    listed = geo_etl("versions", layer).stdout.splitlines()
    everything = geo_etl("versions", "--json").stdout

    assert listed[0].split()[:4] == ["raster", "layer", "version", "pixels"]
    assert [line.split()[:4] for line in listed[1:]] == [
        [layer, "1", "kept", "10,000"],
        [layer, "2", "current", "10,000"],
    ]
    assert f'"layer": "{layer}"' in everything


def test_the_command_rolls_a_layer_back(geo_etl: Any, site: Site, unique: str) -> None:
    site.ingest(manifest(unique, "one", tiles=2))
    site.ingest(manifest(unique, "two", tiles=2))

    said = geo_etl("rollback", unique)

    assert said.exit_code == 0
    assert f"Readers of {unique} see version 1 again" in said.stderr
    assert numbers(site, unique)[0] == (1, True, True)


def test_the_command_unpublishes_a_layer_and_its_files(
    geo_etl: Any, site: Site, unique: str
) -> None:
    layer = f"{unique}/dem"
    site.ingest(manifest(layer))

    asked = geo_etl("unpublish", layer)
    blobs = site.blobs(layer)
    done = geo_etl("unpublish", layer, "--yes")

    assert asked.exit_code == 2
    assert f"geo-etl unpublish {layer} --yes" in asked.stderr
    assert len(blobs) == 1
    assert done.exit_code == 0
    assert site.blobs(layer) == set()


def test_a_name_of_a_table_and_a_layer_is_asked_back(
    geo_etl: Any, site: Site, unique: str, ingest: Any, tmp_path: Path
) -> None:
    from geo_etl_tests.made import squares, write

    ingest(write(tmp_path / "a.gpkg", squares(2)))
    site.ingest(manifest(unique, tiles=2))

    asked = geo_etl("versions", unique)
    table = geo_etl("versions", f"geo.{unique}")
    layer = geo_etl("versions", f"{unique}/")

    assert asked.exit_code == 2
    assert f"Say geo.{unique} for the table, or {unique}/ for the raster layer" in asked.stderr
    assert f"geo.{unique}" in table.stdout
    assert "tiled" in layer.stdout
