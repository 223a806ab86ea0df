"""Specs: defaults, what is refused and how, inheritance, identities."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.errors import SpecError
from geo_etl.spec import (
    SourceRef,
    SpecLayer,
    VectorSpec,
    job_id,
    resolve_vector_spec,
    sidecar_names,
    task_id,
)

TOP_KEYS = [
    "access",
    "attribute_rules",
    "chunk_attribute",
    "chunk_by",
    "chunk_grid",
    "chunk_size",
    "collection_id",
    "container_name",
    "converter_params",
    "file_extension",
    "geometry_params",
    "geoparquet",
    "indexes",
    "key_columns",
    "limits",
    "load_method",
    "metadata",
    "render_params",
    "schema",
    "table_name",
    "target_srid",
]


RULE_KEYS = (
    "allowed, default, drop, max, min, on_violation, pattern, rename, required, type, unique"
)


def resolve(*layers: dict[str, Any]) -> VectorSpec:
    """Resolve layers called file-0, file-1 and so on."""
    return resolve_vector_spec([SpecLayer(f"file-{i}", values) for i, values in enumerate(layers)])


def refusal(*layers: dict[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        resolve(*layers)
    return caught.value


def nested(key: str, value: Any) -> dict[str, Any]:
    """`a.b` and a value as nested mappings."""
    head, _, rest = key.partition(".")
    return {head: nested(rest, value) if rest else value}


def bomb(levels: int) -> str:
    """YAML whose last anchor `a` stands for 9 to the power of `levels` texts."""
    lines = ["x0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"x{level}: &a{level} [{aliases}]")
    return "\n".join(lines).replace(f"&a{levels - 1}", "&a")


# Defaults


def test_every_default_is_the_documented_one() -> None:
    assert resolve().canonical() == {
        "table_name": None,
        "schema": "geo",
        "file_extension": None,
        "container_name": None,
        "chunk_size": None,
        "chunk_by": "features",
        "chunk_grid": None,
        "chunk_attribute": None,
        "converter_params": {
            "layer_name": None,
            "encoding": None,
            "source_crs": None,
            "lat_name": None,
            "lon_name": None,
            "wkt_column": None,
        },
        "indexes": {"spatial": True, "attributes": [], "temporal": []},
        "geometry_params": {
            "simplify_tolerance": None,
            "quantize": None,
            "mixed_geometry": "error",
            "split_antimeridian": False,
        },
        "attribute_rules": {"schema_change": "stop", "columns": {}},
        "load_method": "replace",
        "key_columns": [],
        "target_srid": 4326,
        "collection_id": "system-vectors",
        "metadata": {
            "title": None,
            "description": None,
            "license": None,
            "provider": None,
            "datetime": None,
        },
        "render_params": {},
        "geoparquet": False,
        "limits": {
            "max_features": 10_000_000,
            "max_file_size_gb": 50.0,
            "max_repair_change": 0.1,
        },
        "access": "internal",
    }


def test_spec_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        resolve().chunk_size = 3


def test_schema_is_read_by_its_alias() -> None:
    assert resolve({"schema": "city"}).schema_name == "city"


# Unknown keys


def test_unknown_top_level_key_is_refused_with_file_and_known_keys() -> None:
    error = refusal({"chunk_size": 5}, {"chunksize": 5}, {"target_srid": 3857})
    assert error.thing == "file-1: key 'chunksize'"
    assert error.problem == "it is unknown"
    assert error.remedy == f"Known keys: {', '.join(TOP_KEYS)}."


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("indexes.spatail", "attributes, spatial, temporal"),
        (
            "converter_params.layer",
            "encoding, lat_name, layer_name, lon_name, source_crs, wkt_column",
        ),
        (
            "geometry_params.simplify",
            "mixed_geometry, quantize, simplify_tolerance, split_antimeridian",
        ),
        ("attribute_rules.required", "columns, schema_change"),
        ("attribute_rules.columns.population.minimum", RULE_KEYS),
        ("attribute_rules.columns.type.minimum", RULE_KEYS),
        ("attribute_rules.columns.schema.minimum", RULE_KEYS),
        ("limits.features", "max_features, max_file_size_gb, max_repair_change"),
    ],
)
def test_unknown_nested_key_is_refused_with_the_keys_of_its_part(key: str, known: str) -> None:
    error = refusal({}, nested(key, 1), {})
    assert str(error) == f"file-1: key '{key}': it is unknown. Known keys: {known}."


def test_name_of_the_field_behind_an_alias_is_an_unknown_key() -> None:
    assert refusal({"schema_name": "geo"}).thing == "file-0: key 'schema_name'"


def test_render_params_take_any_key() -> None:
    spec = resolve({"render_params": {"any": {"thing": [1, "a"]}}})
    assert spec.render_params == {"any": {"thing": [1, "a"]}}


# Bad values

LETTERS = "lower-case letters, digits and underscores, starting with no digit"
IS_CRS = "PROJ knows no such CRS"


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("table_name", "Roads", LETTERS),
        ("table_name", "2020", LETTERS),
        ("table_name", "my-roads", LETTERS),
        ("table_name", "my roads", LETTERS),
        ("table_name", 'a"; drop table b; --', LETTERS),
        ("table_name", "", LETTERS),
        ("table_name", "x" * 64, "at most 63 bytes"),
        ("table_name", "é" * 32, "at most 63 bytes"),
        ("table_name", 7, "valid string"),
        ("schema", "Geo", LETTERS),
        ("schema", None, "valid string"),
        ("schema", "pgstac", "choose another schema, 'geo' by default"),
        ("schema", "geo_etl", "choose another schema, 'geo' by default"),
        ("schema", "geo_loads", "choose another schema, 'geo' by default"),
        ("schema", "geo_quarantine", "choose another schema, 'geo' by default"),
        ("schema", "dagster", "choose another schema, 'geo' by default"),
        ("schema", "topology", "choose another schema, 'geo' by default"),
        ("schema", "tiger", "choose another schema, 'geo' by default"),
        ("schema", "pg_catalog", "choose another schema, 'geo' by default"),
        ("schema", "pg_anything", "choose another schema, 'geo' by default"),
        ("schema", "information_schema", "choose another schema, 'geo' by default"),
        ("target_srid", 0, IS_CRS),
        ("target_srid", -4326, IS_CRS),
        ("target_srid", 999_999, IS_CRS),
        ("target_srid", "EPSG:4326", "valid integer"),
        ("target_srid", 4326.5, "valid integer"),
        ("converter_params.source_crs", "EPSG:999999", IS_CRS),
        ("converter_params.source_crs", "Gauss", IS_CRS),
        ("converter_params.source_crs", "", IS_CRS),
        ("converter_params.source_crs", 25832, "valid string"),
        ("chunk_size", 0, "greater than 0"),
        ("chunk_size", -1, "greater than 0"),
        ("chunk_size", "many", "valid integer"),
        ("limits.max_features", 0, "greater than 0"),
        ("limits.max_features", -1, "greater than 0"),
        ("limits.max_features", 1.5, "valid integer"),
        ("limits.max_file_size_gb", 0, "greater than 0"),
        ("limits.max_file_size_gb", -2.5, "greater than 0"),
        ("limits.max_repair_change", -0.1, "greater than or equal to 0"),
        ("limits.max_repair_change", float("nan"), "greater than or equal to 0"),
        ("geometry_params.simplify_tolerance", 0, "greater than 0"),
        ("geometry_params.simplify_tolerance", -1, "greater than 0"),
        ("geometry_params.quantize", 0, "greater than 0"),
        ("geometry_params.quantize", -1, "greater than 0"),
        ("geometry_params.mixed_geometry", "ignore", "'error', 'split' or 'any'"),
        ("attribute_rules.schema_change", "maybe", "'stop' or 'allow'"),
        ("load_method", "overwrite", "'replace', 'insert', 'append' or 'upsert'"),
        ("chunk_by", "moon", "'features'"),
        ("access", "everyone", "'internal'"),
        ("collection_id", "", "match pattern"),
        ("collection_id", "a/b", "match pattern"),
        ("indexes", None, "valid dictionary"),
        ("indexes.spatial", "perhaps", "valid boolean"),
        ("indexes.attributes", "name", "valid list"),
        ("render_params", [1], "valid dictionary"),
    ],
)
def test_bad_value_is_refused_with_key_value_file_and_what_is_allowed(
    key: str, value: Any, allowed: str
) -> None:
    error = refusal({}, nested(key, value), {"load_method": "insert"} if "load" not in key else {})
    assert error.thing == f"file-1: key '{key}'"
    assert error.problem == f"{json.dumps(value, ensure_ascii=False)} is not allowed"
    assert allowed in error.remedy


@pytest.mark.parametrize("value", ["roads", "_2020", "straße", "道路", "a" * 63, "é" * 31])
def test_legal_table_name_is_taken(value: str) -> None:
    assert resolve({"table_name": value}).table_name == value


@pytest.mark.parametrize("value", ["EPSG:25832", "OGC:CRS84", "+proj=longlat +datum=WGS84"])
def test_source_crs_is_taken_in_every_form_that_proj_reads(value: str) -> None:
    spec = resolve({"converter_params": {"source_crs": value}})
    assert spec.converter_params.source_crs == value


def test_a_tolerated_repair_change_of_zero_is_allowed() -> None:
    assert resolve({"limits": {"max_repair_change": 0}}).limits.max_repair_change == 0


def test_file_extension_with_a_dot_is_refused_with_the_way_to_write_it() -> None:
    assert "without a dot, for instance gpkg" in refusal({"file_extension": ".gpkg"}).remedy


def test_bad_file_extension_names_key_value_and_file() -> None:
    error = refusal({"file_extension": ".gpkg"}, {"chunk_size": 5})
    assert (error.thing, error.problem) == (
        "file-0: key 'file_extension'",
        '".gpkg" is not allowed',
    )


def test_bad_item_of_a_list_names_its_file() -> None:
    error = refusal({"indexes": {"attributes": ["name", 1]}}, {"chunk_size": 5})
    assert error.thing == "file-0: key 'indexes.attributes.1'"


def test_key_that_is_no_text_names_its_file() -> None:
    assert refusal({"indexes": {1: True}}, {"chunk_size": 5}).thing.startswith("file-0: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [("table_name", "roads\n"), ("schema", "pgstac\n"), ("file_extension", "gpkg\n")],
)
def test_line_break_at_the_end_is_refused(key: str, value: str) -> None:
    refusal({key: value})


@pytest.mark.parametrize("key", ["simplify_tolerance", "quantize"])
def test_infinite_tolerance_is_refused(key: str) -> None:
    refusal({"geometry_params": {key: float("inf")}})


@pytest.mark.parametrize("code", [5703, 4978])
def test_target_srid_without_horizontal_coordinates_is_refused(code: int) -> None:
    refusal({"target_srid": code})


# Merge order


def test_sidecars_are_looked_for_from_the_container_down_to_the_source() -> None:
    assert sidecar_names(SourceRef("bronze", "city/2020/roads.gpkg")) == [
        "_ingest.yaml",
        "city/_ingest.yaml",
        "city/2020/_ingest.yaml",
        "city/2020/roads.ingest.yaml",
        "city/2020/roads.gpkg.ingest.yaml",
    ]


def test_source_without_extension_has_one_sidecar_of_its_own() -> None:
    assert sidecar_names(SourceRef("bronze", "roads")) == ["_ingest.yaml", "roads.ingest.yaml"]


def test_only_the_last_extension_is_left_out_of_a_sidecars_name() -> None:
    assert sidecar_names(SourceRef("bronze", "roads.v2.gpkg"))[1:] == [
        "roads.v2.ingest.yaml",
        "roads.v2.gpkg.ingest.yaml",
    ]


@pytest.mark.parametrize("count", range(1, 7))
def test_the_strongest_of_all_layers_wins(count: int) -> None:
    source = SourceRef("bronze", "city/2020/roads.gpkg")
    origins = [*sidecar_names(source), "run configuration"][:count]
    layers = [SpecLayer(origin, {"chunk_size": i}) for i, origin in enumerate(origins, start=1)]
    assert resolve_vector_spec(layers).chunk_size == count


def test_nested_settings_are_merged_key_by_key() -> None:
    spec = resolve(
        {"limits": {"max_features": 5, "max_repair_change": 0.5}}, {"limits": {"max_features": 6}}
    )
    assert (spec.limits.max_features, spec.limits.max_repair_change) == (6, 0.5)


def test_render_params_are_merged_at_every_depth() -> None:
    spec = resolve(
        {"render_params": {"a": {"x": 1, "y": 2}}}, {"render_params": {"a": {"y": 3}, "b": 4}}
    )
    assert spec.render_params == {"a": {"x": 1, "y": 3}, "b": 4}


def test_lists_are_replaced_whole() -> None:
    spec = resolve({"indexes": {"attributes": ["a", "b"]}}, {"indexes": {"attributes": ["c"]}})
    assert spec.indexes.attributes == ["c"]


def test_null_takes_back_what_a_folder_set() -> None:
    assert resolve({"chunk_size": 5}, {"chunk_size": None}).chunk_size is None


def test_bad_value_names_the_file_that_won() -> None:
    assert refusal({"chunk_size": -1}, {"chunk_size": -2}).thing == "file-1: key 'chunk_size'"


def test_bad_value_below_a_good_one_does_no_harm() -> None:
    assert resolve({"chunk_size": -1}, {"chunk_size": 2}).chunk_size == 2


def test_layers_are_not_changed_by_a_merge() -> None:
    below = SpecLayer("below", {"limits": {"max_features": 5}})
    resolve_vector_spec([below, SpecLayer("above", {"limits": {"max_features": 6}})])
    assert below.values == {"limits": {"max_features": 5}}


# Rules for columns


def rule(**keys: Any) -> dict[str, Any]:
    return {"attribute_rules": {"columns": {"a.b c": keys}}}


@pytest.mark.parametrize(
    ("key", "keys", "allowed"),
    [
        ("type", {"type": "int"}, "'integer'"),
        ("min", {"min": "low"}, "must be a number, or a date or time like 2020-01-31"),
        ("min", {"min": True}, "must be a number, or a date or time like 2020-01-31"),
        ("max", {"max": [1]}, "must be a single text, number, boolean or date"),
        ("max", {"min": 5, "max": 3}, "must not be below min (5)"),
        ("max", {"min": "2020-01-02", "max": "2020-01-01"}, "must not be before min"),
        ("max", {"min": 5, "max": "2020-01-01"}, "must be of one kind"),
        ("max", {"min": "2020-01-01", "max": "2020-01-01T00:00:00Z"}, "must both have an offset"),
        ("default", {"default": float("nan")}, "must be a finite number"),
        ("default", {"default": {"a": 1}}, "must be a single text, number, boolean or date"),
        ("allowed", {"allowed": []}, "must have at least one value"),
        ("allowed", {"allowed": "DE"}, "valid list"),
        ("allowed.1", {"allowed": ["DE", None]}, "must be a single text"),
        ("pattern", {"pattern": "(?=a)"}, "a regular expression as RE2 reads it"),
        ("pattern", {"pattern": "(a)\\1"}, "a regular expression as RE2 reads it"),
        ("pattern", {"pattern": "a)(b"}, "a regular expression as RE2 reads it"),
        ("pattern", {"pattern": "\\Qab"}, "a regular expression as RE2 reads it"),
        ("rename", {"rename": "New Name"}, LETTERS),
        ("on_violation", {"on_violation": "ignore"}, "'quarantine' or 'stop'"),
        ("drop", {"drop": True, "required": True, "min": 0}, "here it has required, min"),
        ("drop", {"drop": True, "on_violation": "stop"}, "here it has on_violation"),
    ],
)
def test_bad_rule_is_refused_with_key_file_and_what_is_allowed(
    key: str, keys: dict[str, Any], allowed: str
) -> None:
    error = refusal({}, rule(**keys), {"chunk_size": 5})
    assert error.thing == f"file-1: key 'attribute_rules.columns.a.b c.{key}'"
    assert allowed.lower() in error.remedy.lower()


def test_equal_limits_are_allowed() -> None:
    (equal,) = resolve(rule(min=3, max=3)).attribute_rules.columns.values()
    assert equal is not None
    assert (equal.min, equal.max) == (3, 3)


def test_date_in_yaml_and_its_text_are_one_spec() -> None:
    def canonical(day: str) -> dict[str, Any]:
        text = f"attribute_rules: {{columns: {{a: {{min: {day}, allowed: [{day}]}}}}}}"
        return resolve_vector_spec([SpecLayer.from_yaml("x", text)]).canonical()

    assert canonical("2020-01-31") == canonical("'2020-01-31'")


def test_spec_with_rules_comes_back_from_its_canonical_form() -> None:
    spec = resolve(rule(min="2020-01-01", allowed=["x", 1, 0.5, True], default=0, unique=True))
    assert resolve(json.loads(json.dumps(spec.canonical()))) == spec


def test_rules_of_a_folder_are_merged_column_by_column_and_key_by_key() -> None:
    def columns(**rules: Any) -> dict[str, Any]:
        return {"attribute_rules": {"columns": rules}}

    merged = resolve(
        columns(a={"min": 1, "max": 5}, b={"drop": True}, c={"drop": True}),
        columns(a={"max": 6}, c=None),
    )
    expected = resolve(columns(a={"min": 1, "max": 6}, b={"drop": True}, c=None))
    assert merged == expected


def test_empty_rule_asks_for_nothing_and_is_allowed() -> None:
    assert list(resolve(rule()).attribute_rules.columns) == ["a.b c"]


# YAML


def test_yaml_is_read() -> None:
    layer = SpecLayer.from_yaml("a/_ingest.yaml", "schema: city\nlimits:\n  max_features: 5\n")
    assert layer == SpecLayer("a/_ingest.yaml", {"schema": "city", "limits": {"max_features": 5}})


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "null\n"])
def test_file_without_settings_changes_nothing(text: str) -> None:
    assert SpecLayer.from_yaml("x", text).values == {}


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c",
        "a: [1, 2",
        "a: 'open",
        "\tkey: 1",
        "a: \0",
        "a: *nobody",
        "a: 1\n---\nb: 2",
        "? [a]\n: b",
        "a: !!python/object/apply:os.system [ls]",
        "[" * 4000,
    ],
)
def test_broken_yaml_is_refused_with_its_file(text: str) -> None:
    with pytest.raises(SpecError, match=r"^a/_ingest\.yaml: it is not plain YAML: "):
        SpecLayer.from_yaml("a/_ingest.yaml", text)


@pytest.mark.parametrize("text", ["just words", "- a\n- b", "7", "true", "1: 2", "null: 2"])
def test_yaml_that_is_no_mapping_of_texts_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"^x: it is not a list of 'key: value' lines\."):
        SpecLayer.from_yaml("x", text)


@pytest.mark.parametrize(
    "text",
    [
        "table_name: 2020-13-45",
        "chunk_size: " + "9" * 5000,
        "chunk_size: !!int x",
        "chunk_size: !!float x",
        "chunk_size: !!bool x",
        "chunk_size: !!timestamp x",
    ],
)
def test_yaml_value_that_can_not_be_made_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"^x: "):
        SpecLayer.from_yaml("x", text)


def test_message_about_a_long_value_stays_short() -> None:
    assert len(str(refusal({"table_name": ["x" * 100] * 1000}))) < 2000


def test_yaml_bomb_is_refused() -> None:
    text = "render_params:\n" + "\n".join(f"  {line}" for line in bomb(5).splitlines())
    with pytest.raises(SpecError):
        resolve_vector_spec([SpecLayer.from_yaml("x", text)])


@pytest.mark.parametrize("text", ["table_name: &a [*a]", "render_params: &a {b: *a}"])
def test_yaml_that_contains_itself_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        resolve_vector_spec([SpecLayer.from_yaml("x", text)]).canonical()


def test_binary_yaml_is_refused() -> None:
    layer = SpecLayer.from_yaml("x", "render_params: {a: !!binary //79}")
    with pytest.raises(SpecError):
        resolve_vector_spec([layer]).canonical()


# Identities


def test_job_id_is_64_hex_digits() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", job_id("bronze/a.gpkg", {"a": 1}, "f"))


def test_job_id_is_that_of_the_canonical_json() -> None:
    import hashlib

    text = '{"fingerprint":"f","source":"bronze/é.gpkg","spec":{"a":1,"b":[2,null]}}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert job_id("bronze/é.gpkg", {"b": [2, None], "a": 1}, "f") == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def reordered(value: Any) -> Any:
    """The same value with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [reordered(item) for item in value]
    return value


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), json_values, max_size=5))
def test_job_id_does_not_depend_on_the_order_of_keys(spec: dict[str, Any]) -> None:
    assert job_id("s", spec, "f") == job_id("s", reordered(spec), "f")


def test_job_id_is_equal_for_equal_settings_written_in_another_way() -> None:
    written = resolve({"target_srid": 4326, "limits": {"max_file_size_gb": 50}})
    assert job_id("s", written.canonical(), "f") == job_id("s", resolve().canonical(), "f")


CHANGES: list[tuple[str, Any]] = [
    ("table_name", "a"),
    ("schema", "city"),
    ("file_extension", "gpkg"),
    ("container_name", "other"),
    ("chunk_size", 7),
    ("converter_params.layer_name", "a"),
    ("converter_params.encoding", "cp1252"),
    ("converter_params.source_crs", "EPSG:25832"),
    ("indexes.spatial", False),
    ("indexes.attributes", ["a"]),
    ("indexes.temporal", ["a"]),
    ("geometry_params.simplify_tolerance", 0.5),
    ("geometry_params.quantize", 0.5),
    ("geometry_params.mixed_geometry", "any"),
    ("geometry_params.split_antimeridian", True),
    ("attribute_rules.schema_change", "allow"),
    ("attribute_rules.columns", {"a": {"required": True}}),
    ("converter_params.wkt_column", "wkt"),
    ("load_method", "insert"),
    ("target_srid", 3857),
    ("collection_id", "other"),
    ("render_params", {"a": 1}),
    ("geoparquet", True),
    ("limits.max_features", 5),
    ("limits.max_file_size_gb", 5),
    ("limits.max_repair_change", 0.5),
    ("metadata.title", "Roads"),
    ("metadata.description", "All roads"),
    ("metadata.license", "CC-BY-4.0"),
    ("metadata.provider", "City"),
    ("metadata.datetime", "2020-01-31T00:00:00Z"),
]


TOGETHER: list[dict[str, Any]] = [
    {"chunk_by": "grid", "chunk_grid": {"rows": 2, "cols": 2}},
    {"chunk_by": "attribute", "chunk_attribute": "a"},
    {"load_method": "upsert", "key_columns": ["a"]},
    {"converter_params": {"lat_name": "y", "lon_name": "x"}},
]
"""Settings that are not allowed without one another."""


def leaves(spec: dict[str, Any]) -> set[str]:
    """`a.b` for each setting."""
    found = set()
    for key, value in spec.items():
        inner = isinstance(value, dict) and value and key != "chunk_grid"
        found |= {f"{key}.{name}" for name in value} if inner else {key}
    return found


@pytest.mark.parametrize(("key", "value"), CHANGES)
def test_job_id_changes_with_every_setting(key: str, value: Any) -> None:
    changed = resolve(nested(key, value)).canonical()
    assert job_id("s", changed, "f") != job_id("s", resolve().canonical(), "f")


@pytest.mark.parametrize("settings", TOGETHER, ids=str)
def test_job_id_changes_with_settings_that_go_together(settings: dict[str, Any]) -> None:
    changed = resolve(settings).canonical()
    assert job_id("s", changed, "f") != job_id("s", resolve().canonical(), "f")


def test_every_setting_with_a_choice_is_among_the_changes() -> None:
    changed = {key for key, _ in CHANGES}.union(*map(leaves, TOGETHER))
    assert leaves(resolve().canonical()) - changed == {"access"}


@pytest.mark.parametrize(
    ("source", "fingerprint"), [("bronze/b.gpkg", "f"), ("bronze/a.gpkg", "g")]
)
def test_job_id_changes_with_source_and_content(source: str, fingerprint: str) -> None:
    assert job_id(source, {}, fingerprint) != job_id("bronze/a.gpkg", {}, "f")


def test_job_id_does_not_confuse_source_and_fingerprint() -> None:
    assert job_id("a", {}, "b") != job_id("b", {}, "a")


def test_job_id_takes_a_name_that_is_no_utf8() -> None:
    assert len(job_id(b"bronze/\xff.gpkg".decode(errors="surrogateescape"), {}, "f")) == 64


def test_task_id_is_made_of_job_asset_stage_and_number() -> None:
    assert task_id("0123456789abcdef", "vector_table", "load", 7) == (
        "01234567_vector_table_load_00007"
    )


@given(st.text(), st.text(), st.text(), st.integers(0, 10**7))
def test_task_id_is_usable_as_a_mapping_key(job: str, asset: str, stage: str, index: int) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_]+", task_id(job, asset, stage, index))


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_task_ids_differ_for_different_tasks(one: int, other: int) -> None:
    same = task_id("j" * 64, "a", "s", one) == task_id("j" * 64, "a", "s", other)
    assert same == (one == other)


# Source references


def test_source_ref_is_container_and_path() -> None:
    ref = SourceRef.parse("bronze/city/roads 2.gpkg")
    assert (ref.container, ref.path, ref.name) == ("bronze", "city/roads 2.gpkg", "roads 2.gpkg")


def test_source_ref_comes_back_as_the_same_key() -> None:
    assert str(SourceRef.parse("bronze/city/roads.gpkg")) == "bronze/city/roads.gpkg"


@pytest.mark.parametrize("key", ["", "bronze", "bronze/", "/roads.gpkg", "bronze/folder/", "/"])
def test_key_that_names_no_blob_is_refused(key: str) -> None:
    with pytest.raises(SpecError, match=r"does not name a blob.*CONTAINER/PATH") as caught:
        SourceRef.parse(key)
    assert caught.value.thing == f"partition key '{key}'"


# JSON Schema

SCHEMA = VectorSpec.model_json_schema()
JSON_TYPES = {"string", "integer", "number", "boolean", "object", "array", "null"}


def schemas_in(schema: Any) -> list[dict[str, Any]]:
    """A schema and all schemas it is made of."""
    found = [schema]
    for key in ("properties", "$defs"):
        for inner in schema.get(key, {}).values():
            found += schemas_in(inner)
    for inner in schema.get("anyOf", []) + schema.get("allOf", []):
        found += schemas_in(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += schemas_in(schema[key])
    return found


def test_json_schema_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA


def test_json_schema_names_keys_as_users_write_them() -> None:
    assert sorted(SCHEMA["properties"]) == TOP_KEYS


def test_json_schema_has_only_known_types() -> None:
    types = {schema["type"] for schema in schemas_in(SCHEMA) if "type" in schema}
    assert types
    assert types <= JSON_TYPES


def test_json_schema_resolves_all_its_references() -> None:
    references = {schema["$ref"] for schema in schemas_in(SCHEMA) if "$ref" in schema}
    assert references == {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_json_schema_allows_no_unknown_key_in_any_part() -> None:
    parts = [schema for schema in schemas_in(SCHEMA) if "properties" in schema]
    assert len(parts) == 9
    assert all(part["additionalProperties"] is False for part in parts)


def test_json_schema_requires_no_key_but_the_size_of_a_grid() -> None:
    required = [schema["required"] for schema in schemas_in(SCHEMA) if "required" in schema]
    assert required == [["rows", "cols"]]


def test_json_schema_patterns_are_legal() -> None:
    patterns = [schema["pattern"] for schema in schemas_in(SCHEMA) if "pattern" in schema]
    assert patterns == [r"^[A-Za-z0-9_.-]+$"]
    assert re.compile(patterns[0])


def test_command_prints_the_json_schema() -> None:
    from click.testing import CliRunner

    from geo_etl.cli import main

    result = CliRunner().invoke(main, ["spec", "--schema"])
    assert json.loads(result.output) == SCHEMA
