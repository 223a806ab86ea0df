"""Where everything meets: assets, jobs, sensors, schedules and resources.

Loading this module connects to nothing. Tests build definitions of their own with
`build_definitions`, swapping a resource by name.
"""

from typing import Any

from geo_etl import startup  # isort: skip  (before what it makes quicker)
from dagster import Definitions

from geo_etl.assets import default_assets
from geo_etl.jobs import default_jobs
from geo_etl.jobs.executor import forkserver_executor
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.serving import ServingResource
from geo_etl.schedules import default_schedules
from geo_etl.sensors import default_sensors
from geo_etl.settings import get_settings


def default_resources() -> dict[str, Any]:
    """Resources by name, as the settings say."""
    settings = get_settings()
    return {
        "blobs": BlobStorageResource(
            url=settings.storage_url,
            bronze_container=settings.bronze_container,
            work_container=settings.work_container,
            silver_container=settings.silver_container,
        ),
        "postgis": PostGISResource(),
        "serving": ServingResource(),
    }


def build_definitions(**overrides: Any) -> Definitions:
    """Assemble the project, with resources replaced by name."""
    return Definitions(
        assets=default_assets,
        jobs=default_jobs,
        schedules=default_schedules,
        sensors=default_sensors,
        resources={**default_resources(), **overrides},
        executor=forkserver_executor,
    )


defs = build_definitions()
startup.started()
