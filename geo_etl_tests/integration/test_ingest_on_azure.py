"""The whole ingest with nothing on local disk: bronze and work containers in Azure."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo_etl.resources.azure_blobs import AzureBlobs
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.spec import SourceRef
from geo_etl_tests.conftest import failure_of

pytestmark = pytest.mark.azure


@pytest.fixture
def blobs(azure: AzureBlobs, unique: str) -> BlobStorageResource:
    """Containers of the test's own. The job has to create the one for its work."""
    bronze, work = f"{unique}-bronze", f"{unique}-work"
    azure.create_container(bronze)
    return BlobStorageResource(
        url="az://devstoreaccount1", bronze_container=bronze, work_container=work
    )


@pytest.fixture
def run_on_azure(
    run_job: Callable[..., Any], blobs: BlobStorageResource, unique: str
) -> Callable[..., Any]:
    """Ingest a blob of the bronze container in chunks of 30; Dagster's result object."""

    def run(name: str, **spec: Any) -> Any:
        key = f"{blobs.bronze_container}/{name}"
        spec = {"table_name": unique, "chunk_size": 30, **spec}
        return run_job(key, resources={"blobs": blobs}, **spec)

    return run


@pytest.fixture
def counties(shared_data: Path) -> Path:
    """100 counties."""
    return shared_data / "vector" / "gpkg" / "nc.gpkg"


def upload(blobs: BlobStorageResource, path: Path, name: str) -> None:
    with (
        path.open("rb") as file,
        blobs.storage.write(SourceRef(blobs.bronze_container, name)) as blob,
    ):
        shutil.copyfileobj(file, blob)


def result_of(run: Any) -> dict[str, Any]:
    assert run.success, failure_of(run)
    return run.output_for_node("vector_table.verify", "result")


def work_left(blobs: BlobStorageResource) -> list[str]:
    return [blob.ref.path for page in blobs.storage.pages(blobs.work_container) for blob in page]


def test_every_feature_gets_from_azure_to_postgis(
    run_on_azure: Any, blobs: BlobStorageResource, counties: Path, engine: sa.Engine, unique: str
) -> None:
    upload(blobs, counties, "nc.gpkg")
    result_of(run_on_azure("nc.gpkg"))
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(f"SELECT count(*), count(DISTINCT gid), count(DISTINCT name) FROM geo.{unique}")
        ).one()
    assert tuple(found) == (100, 100, 100)


def test_the_result_document_accounts_for_every_chunk(
    run_on_azure: Any, blobs: BlobStorageResource, counties: Path, unique: str
) -> None:
    upload(blobs, counties, "nc.gpkg")
    result = result_of(run_on_azure("nc.gpkg"))
    summary = result["summary"]
    assert (summary["total_chunks"], summary["chunks_loaded"]) == (4, 4)
    assert (summary["features_read"], summary["features_loaded"]) == (100, 100)
    assert result["source"] == f"{blobs.bronze_container}/nc.gpkg"
    assert result["table"] == f"geo.{unique}"


def test_no_chunk_is_left_in_the_work_container(
    run_on_azure: Any, blobs: BlobStorageResource, counties: Path
) -> None:
    upload(blobs, counties, "nc.gpkg")
    result_of(run_on_azure("nc.gpkg"))
    assert blobs.work_container in blobs.storage.containers()
    assert work_left(blobs) == []


def test_a_plan_that_fails_half_way_leaves_no_chunk(
    run_on_azure: Any, blobs: BlobStorageResource, tmp_path: Path
) -> None:
    feature = '{"type":"Feature","properties":{"n":1},"geometry":%s}'
    point = feature % '{"type":"Point","coordinates":[1,2]}'
    line = feature % '{"type":"LineString","coordinates":[[1,2],[3,4]]}'
    mixed = tmp_path / "mixed.geojson"
    features = ",".join([point] * 70 + [line])
    mixed.write_text(f'{{"type":"FeatureCollection","features":[{features}]}}')
    upload(blobs, mixed, "mixed.geojson")
    assert not run_on_azure("mixed.geojson").success
    assert work_left(blobs) == []


def test_a_source_may_have_spaces_and_a_hash_in_its_name(
    run_on_azure: Any, blobs: BlobStorageResource, counties: Path, engine: sa.Engine, unique: str
) -> None:
    name = "north #1/all counties #2 100%.gpkg"
    upload(blobs, counties, name)
    result = result_of(run_on_azure(name))
    assert result["source"] == f"{blobs.bronze_container}/{name}"
    with engine.connect() as connection:
        assert connection.scalar(sa.text(f"SELECT count(*) FROM geo.{unique}")) == 100


def test_a_sidecar_in_azure_steers_the_ingest(
    run_on_azure: Any, blobs: BlobStorageResource, counties: Path, engine: sa.Engine, unique: str
) -> None:
    upload(blobs, counties, "north/nc.gpkg")
    sidecar = SourceRef(blobs.bronze_container, "north/_ingest.yaml")
    with blobs.storage.write(sidecar) as file:
        file.write(b"target_srid: 32119")
    result_of(run_on_azure("north/nc.gpkg"))
    with engine.connect() as connection:
        srids = connection.scalars(sa.text(f"SELECT DISTINCT ST_SRID(geom) FROM geo.{unique}"))
        assert srids.all() == [32119]


def test_a_source_that_is_not_there_is_named(run_on_azure: Any, blobs: BlobStorageResource) -> None:
    run = run_on_azure("nc.gpkg")
    assert not run.success
    assert f"'{blobs.bronze_container}/nc.gpkg'" in failure_of(run)
