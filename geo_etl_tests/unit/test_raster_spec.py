"""Specs of rasters and collections; folders whose defaults are for vectors and rasters alike."""

import json
import math
from typing import Any

import pytest

from geo_etl.errors import SpecError
from geo_etl.spec import (
    CollectionRef,
    RasterSpec,
    SourceRef,
    SpecLayer,
    VectorSpec,
    job_id,
    resolve_raster_spec,
    resolve_vector_spec,
)
from geo_etl.spec.resolve import folder_defaults

FOLDER, OWN, RUN = "bronze/_ingest.yaml", "bronze/dem.tif.ingest.yaml", "run configuration"


def resolve(**settings: Any) -> RasterSpec:
    return resolve_raster_spec([SpecLayer(OWN, settings)])


def refusal(origin: str, settings: dict[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        resolve_raster_spec([SpecLayer(origin, settings)])
    return caught.value


def test_defaults_are_the_documented_ones() -> None:
    spec = resolve()
    assert (spec.output_tier, spec.target_crs) == (("analysis",), "EPSG:4326")
    assert (spec.max_raster_size_gb, spec.target_tile_size_gb) == (2.0, 1.0)
    assert (spec.collection, spec.members.on_bad, spec.access) == (False, "stop", "internal")


@pytest.mark.parametrize(
    ("written", "tiers"),
    [
        ("archive", ("archive",)),
        (["archive", "visualization"], ("visualization", "archive")),
        ("all", ("visualization", "analysis", "archive")),
    ],
)
def test_tiers_are_written_as_one_a_list_or_all(written: Any, tiers: tuple[str, ...]) -> None:
    assert resolve(output_tier=written).output_tier == tiers


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"output_tier": "fast"}, "output_tier"),
        ({"output_tier": []}, "output_tier"),
        ({"target_crs": "EPSG:1"}, "target_crs"),
        ({"target_crs": "EPSG:4978"}, "target_crs"),
        ({"target_crs": "EPSG:5773"}, "target_crs"),
        ({"target_crs": "EPSG:25833+5621"}, "target_crs"),
        ({"resampling": "magic"}, "resampling"),
        ({"nodata": "none"}, "nodata"),
        ({"max_raster_size_gb": 0}, "max_raster_size_gb"),
        ({"render_params": {"bands": [1, 2]}}, "render_params.bands"),
        ({"render_params": {"rescale": [[5, 1]]}}, "render_params.rescale"),
        ({"profiles": {"archive": {"quality": 101}}}, "profiles.archive.quality"),
        ({"item_id": "a b"}, "item_id"),
        ({"datetime": "2020-01-01"}, "datetime"),
        ({"file_extension": ".tif"}, "file_extension"),
    ],
)
def test_bad_value_is_refused_with_key_and_file(settings: dict[str, Any], key: str) -> None:
    assert refusal(OWN, settings).thing.startswith(f"{OWN}: key '{key}")


def test_nodata_that_is_no_number_survives_its_canonical_form() -> None:
    text = "nodata: .nan\n"
    spec = resolve_raster_spec([SpecLayer.from_yaml(OWN, text)])
    assert spec.nodata is not None
    assert math.isnan(spec.nodata)
    assert job_id("s", spec.canonical(), "f") != job_id("s", resolve().canonical(), "f")


# Folders of both kinds


def test_folder_default_of_the_other_kind_is_passed_over() -> None:
    layers = [
        SpecLayer(
            FOLDER,
            {
                "schema": "city",
                "chunk_size": 5,
                "target_crs": "EPSG:3857",
                "collection": True,
                "limits": {"max_features": 7, "max_bands": 9, "max_file_size_gb": 3},
                "metadata": {"license": "CC0-1.0"},
            },
        )
    ]

    vector, raster = resolve_vector_spec(layers), resolve_raster_spec(layers)

    assert (vector.schema_name, vector.chunk_size) == ("city", 5)
    assert (vector.limits.max_features, vector.limits.max_file_size_gb) == (7, 3)
    assert (raster.target_crs, raster.collection) == ("EPSG:3857", True)
    assert (raster.limits.max_bands, raster.limits.max_file_size_gb) == (9, 3)
    assert vector.metadata.license == raster.metadata.license == "CC0-1.0"


def test_value_of_a_key_of_the_other_kind_is_not_judged() -> None:
    assert resolve_raster_spec([SpecLayer(FOLDER, {"chunk_size": -1})]) == RasterSpec()


@pytest.mark.parametrize(
    "settings",
    [
        {"tabel_name": "x"},
        {"limits": {"max_feature": 1}},
        {"profiles": {"archive": {"qualty": 1}}},
        {"render_params": {"colormap": "viridis"}},
    ],
)
def test_key_that_neither_kind_knows_is_refused_in_a_folder_too(settings: dict[str, Any]) -> None:
    error = refusal(FOLDER, settings)
    assert error.problem == "it is unknown"
    assert error.thing.startswith(FOLDER)


@pytest.mark.parametrize("origin", [OWN, RUN, "bronze/dem.ingest.yaml", "bronze/a_ingest.yaml"])
@pytest.mark.parametrize("settings", [{"table_name": "x"}, {"limits": {"max_features": 1}}])
def test_key_of_vectors_is_refused_where_it_is_meant_for_a_raster(
    origin: str, settings: dict[str, Any]
) -> None:
    error = refusal(origin, settings)
    assert error.problem == "it is a setting of vectors, and this is one for rasters"
    assert "max_bands" in error.remedy or "target_crs" in error.remedy


def test_key_of_rasters_is_refused_where_it_is_meant_for_a_vector() -> None:
    with pytest.raises(SpecError, match="a setting of rasters, and this is one for vectors"):
        resolve_vector_spec([SpecLayer("bronze/a.gpkg.ingest.yaml", {"target_crs": "native"})])


def test_own_setting_wins_over_the_folders_key_by_key() -> None:
    spec = resolve_raster_spec(
        [
            SpecLayer(FOLDER, {"profiles": {"archive": {"quality": 5, "compress": "ZSTD"}}}),
            SpecLayer(OWN, {"profiles": {"archive": {"quality": 6}}}),
        ]
    )
    assert spec.profiles["archive"].quality == 6
    assert spec.profiles["archive"].compress == "ZSTD"


# Identities


@pytest.mark.parametrize(
    "settings",
    [
        {"output_tier": "all"},
        {"target_crs": "native"},
        {"resampling": "mode"},
        {"data_kind": "classes"},
        {"nodata": 0},
        {"source_crs": "EPSG:32633"},
        {"band_names": ["a"]},
        {"max_raster_size_gb": 1},
        {"profiles": {"archive": {"quality": 5}}},
        {"members": {"on_bad": "skip"}},
        {"datetime": "2020-01-01T00:00:00Z"},
    ],
)
def test_job_id_changes_with_a_setting(settings: dict[str, Any]) -> None:
    changed, plain = resolve(**settings).canonical(), resolve().canonical()
    assert job_id("s", changed, "f") != job_id("s", plain, "f")


def test_spec_comes_back_from_its_canonical_form() -> None:
    spec = resolve(output_tier="all", band_names=["a"], datetime="2020-01-01T00:00:00+02:00")
    assert resolve(**json.loads(json.dumps(spec.canonical()))) == spec


@pytest.mark.parametrize(
    ("key", "container", "folder", "prefix", "name"),
    [
        ("bronze", "bronze", "", "", "bronze"),
        ("bronze/", "bronze", "", "", "bronze"),
        ("bronze/dem", "bronze", "dem", "dem/", "dem"),
        ("bronze/a/dem 2/", "bronze", "a/dem 2", "a/dem 2/", "dem 2"),
    ],
)
def test_collection_is_a_folder_or_a_container(
    key: str, container: str, folder: str, prefix: str, name: str
) -> None:
    ref = CollectionRef.parse(key)
    assert (ref.container, ref.folder, ref.prefix, ref.name) == (container, folder, prefix, name)
    assert str(ref) == key.removesuffix("/")
    assert CollectionRef.parse(str(ref)) == ref


@pytest.mark.parametrize("key", ["", "/", "/dem", "bronze//dem", "bronze/../x", "bronze/./x"])
def test_key_that_names_no_folder_is_refused(key: str) -> None:
    with pytest.raises(SpecError, match=r"does not name a folder.*CONTAINER/FOLDER"):
        CollectionRef.parse(key)


def test_defaults_of_a_folder_are_those_above_it() -> None:
    assert folder_defaults(SourceRef("bronze", "a/b/dem.tif")) == [
        "_ingest.yaml",
        "a/_ingest.yaml",
        "a/b/_ingest.yaml",
    ]


# JSON Schema


@pytest.mark.parametrize(("kind", "model"), [("raster", RasterSpec), ("vector", VectorSpec)])
def test_command_prints_the_json_schema_of_a_kind(kind: str, model: Any) -> None:
    from click.testing import CliRunner

    from geo_etl.cli import main

    result = CliRunner().invoke(main, ["spec", "--schema", "--kind", kind])

    assert json.loads(result.output)["title"] == f"geo_etl {kind} spec"
    assert set(json.loads(result.output)["properties"]) >= {"limits", "access", "collection_id"}
    assert json.loads(result.output) == json.loads(
        json.dumps(model.model_json_schema(by_alias=True))
    )
