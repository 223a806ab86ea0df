"""The result document and its published JSON Schema."""

import json
from typing import Any

import jsonschema
import pytest

from geo_etl.errors import SourceError
from geo_etl.report.documents import FailedResult
from geo_etl.report.result import VectorResult, result_schema
from geo_etl_tests.conftest import PROJECT

PUBLISHED = PROJECT / "docs" / "vector-result.schema.json"

# What a job of the first release stored: without the fields that came later.
FIRST: dict[str, Any] = {
    "job_id": "ab" * 32,
    "status": "completed",
    "source": "bronze/roads.gpkg",
    "table": "geo.roads",
    "summary": {
        "features_read": 10,
        "features_loaded": 8,
        "features_repaired": 1,
        "features_quarantined": 1,
        "features_dropped": 1,
        "total_chunks": 1,
        "chunks_loaded": 1,
        "success_rate": 0.8,
        "data_complete": True,
    },
    "stac": {
        "collection_id": "system-vectors",
        "item_id": "geo.roads",
        "bbox": [177.0, -19.0, -178.0, -16.0],
    },
    "ogc_features_url": None,
    "viewer_url": None,
    "stages": [{"name": "plan", "seconds": 0.1, "tasks": 1}],
    "processing_time_seconds": 1.5,
    "tasks_executed": 4,
    "parallel_efficiency": None,
    "original_crs": "EPSG:4326",
    "geometry_type": "MultiLineString",
    "warnings": [],
}


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))


def test_the_published_schema_is_the_models() -> None:
    written = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert written == result_schema(), (
        "write it anew: python -c 'import json; from geo_etl.report.result import result_schema; "
        f"print(json.dumps(result_schema(), indent=2, ensure_ascii=False))' > {PUBLISHED.name}"
    )


def test_the_published_schema_is_a_json_schema(schema: jsonschema.Draft202012Validator) -> None:
    schema.check_schema(schema.schema)
    assert schema.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_field_is_described(schema: jsonschema.Draft202012Validator) -> None:
    fields = [
        (name, key, field)
        for name, definition in schema.schema["$defs"].items()
        for key, field in definition["properties"].items()
    ]
    assert len(fields) > 40
    assert [(name, key) for name, key, field in fields if not field.get("description")] == []


def test_a_stored_document_of_the_first_release_is_read() -> None:
    result = VectorResult.model_validate(FIRST)
    assert result.tables == []
    assert result.version is None
    assert result.load_method == "replace"


def test_a_done_jobs_document_validates(schema: jsonschema.Draft202012Validator) -> None:
    table = {
        "table": "geo.roads_line",
        "geometry_type": "MultiLineString",
        "features_loaded": 8,
        "features_total": 20,
        "stac": FIRST["stac"],
        "ogc_features_url": "http://localhost/items",
    }
    more = {"tables": [table], "version": 3, "geoparquet": ["a.parquet"], "load_method": "append"}
    document = VectorResult.model_validate({**FIRST, **more}).model_dump_json()
    schema.validate(json.loads(document))


def test_a_failed_jobs_document_validates(schema: jsonschema.Draft202012Validator) -> None:
    error = SourceError("bronze/a.gpkg", "it is empty", "Deliver it again.")
    document = json.loads(FailedResult.of("bronze/a.gpkg", error).model_dump_json())
    schema.validate(document)
    assert document == {
        "status": "failed",
        "source": "bronze/a.gpkg",
        "error": {
            "what": "bronze/a.gpkg",
            "problem": "it is empty",
            "remedy": "Deliver it again.",
        },
    }


@pytest.mark.parametrize(
    "change",
    [
        {"status": "done"},
        {"summary": {}},
        {"another": 1},
        {"tasks_executed": "4"},
        {"stages": [{"name": "sleep", "seconds": 1, "tasks": 1}]},
    ],
)
def test_another_document_does_not_validate(
    schema: jsonschema.Draft202012Validator, change: dict[str, Any]
) -> None:
    document = {**json.loads(VectorResult.model_validate(FIRST).model_dump_json()), **change}
    assert not schema.is_valid(document)
