"""The demo: two small real datasets that come with the project."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.rasters import Rasters
from geo_etl.settings import Settings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class Example:
    """One dataset of the demo."""

    path: Path
    about: str


EXAMPLE_DATA = (
    Example(EXAMPLES / "countries.zip", "countries of the world, Natural Earth"),
    Example(EXAMPLES / "natural-earth.png", "relief and land cover of the world, Natural Earth"),
)


def stored_result(settings: Settings, example: Example) -> dict[str, Any] | None:
    """The stored result of an example's ingest; None while it is not published."""
    source, postgis = f"{settings.bronze_container}/{example.path.name}", PostGISResource()
    tables = [entry.result for entry in postgis.published(source=source)]
    rasters = [entry.result for entry in Rasters(postgis.engine).published(source=source)]
    return next((result for result in (*tables, *rasters) if result is not None), None)
