"""The demo: a small real dataset that comes with the project."""

from pathlib import Path

from geo_etl.resources.postgis import PostGISResource
from geo_etl.settings import Settings

DEMO_FILE = Path(__file__).resolve().parents[2] / "examples" / "countries.zip"


def demo_is_done(settings: Settings) -> bool:
    """Whether the demo's dataset is published."""
    source = f"{settings.bronze_container}/{DEMO_FILE.name}"
    published = PostGISResource().published(source=source)
    return any(entry.result is not None for entry in published)
