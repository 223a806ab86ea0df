"""The demo: a small real dataset that comes with the project."""

from pathlib import Path
from typing import Any

from geo_etl.resources.postgis import PostGISResource
from geo_etl.settings import Settings

DEMO_FILE = Path(__file__).resolve().parents[2] / "examples" / "countries.zip"


def demo_result(settings: Settings) -> dict[str, Any] | None:
    """The stored result of the demo's ingest; None while its dataset is not published."""
    source = f"{settings.bronze_container}/{DEMO_FILE.name}"
    for entry in PostGISResource().published(source=source):
        if entry.result is not None:
            return entry.result
    return None
