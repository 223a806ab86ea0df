"""The document of a quality report: what a source turned out to be, and what became of it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from geo_etl.report.documents import Bounds
from geo_etl.report.result import Summary

GOOD, FAIR = 95, 80
"""Scores from which on something is good, or fair."""

Light = Literal["good", "fair", "poor"]
LIGHT_WORDS: dict[Light, str] = {"good": "Good", "fair": "Fair", "poor": "Poor"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnQuality(_Part):
    """One column: how many of its values are there."""

    name: str
    original: str = Field(description="Name in the source")
    type: str
    filled: int = Field(description="Values that are not NULL")
    completeness: float | None = Field(description="filled / rows; null: no rows")


class TableQuality(_Part):
    """One published table."""

    table: str
    geometry_type: str
    srid: int
    bbox: Bounds | None
    rows: int
    columns: list[ColumnQuality]
    duplicate_rows: int = Field(description="Rows beyond the first that are the same in all")
    duplicate_geometries: int


class FeatureExample(_Part):
    """One quarantined feature."""

    source_fid: int
    said: str
    attributes: dict[str, Any]


class ReasonCount(_Part):
    """How many features were repaired, or quarantined, for one reason."""

    text: str
    features: int
    examples: list[FeatureExample] = []


class LargestRepair(_Part):
    """The repair that changed most, relatively."""

    source_fid: int
    before: float = Field(description="Area or length, units of the source CRS")
    after: float
    share: float = Field(description="Relative change, 0 to 1")


class MetadataFact(_Part):
    """One thing that a delivery should say of itself."""

    name: str
    present: bool
    found: str = Field(description="What there is, or is not")
    remedy: str = Field(description="How to add what is missing")


class Score(_Part):
    """A score from 0 to 100, rounded down: only what is flawless gets 100."""

    name: str
    value: int = Field(ge=0, le=100)
    meaning: str

    @property
    def light(self) -> Light:
        """Its traffic light."""
        return light(self.value)


class QualityReport(_Part):
    """What a source turned out to be, and what became of it."""

    source: str
    format: str
    source_bytes: int | None
    source_sha256: str
    source_modified: datetime
    original_crs: str
    job_id: str
    version: int | None
    load_method: str
    created: datetime
    software: dict[str, str]
    summary: Summary
    tables: list[TableQuality]
    repairs: list[ReasonCount]
    largest_repair: LargestRepair | None
    quarantine: list[ReasonCount]
    metadata: list[MetadataFact]
    scores: list[Score]
    score: int = Field(ge=0, le=100, description="Mean of the scores, rounded down")
    warnings: list[str]

    @property
    def light(self) -> Light:
        """Traffic light of the whole."""
        return light(self.score)


def light(score: int) -> Light:
    """The traffic light of a score."""
    return "good" if score >= GOOD else "fair" if score >= FAIR else "poor"


def percent(part: int, whole: int) -> int:
    """A score, rounded down; of nothing, nothing is missing."""
    return part * 100 // whole if whole else 100


def about_facts(
    title: str | None, description: str | None, licence: str | None, provider: str | None
) -> list[MetadataFact]:
    """What a spec should say of its dataset, and whether it does."""
    named = [
        ("Title", title, "title"),
        ("Description", description, "description"),
        ("Licence", licence, "license"),
        ("Provider", provider, "provider"),
    ]
    return [
        MetadataFact(
            name=name,
            present=bool(value),
            found=value or "none given",
            remedy=f"Add metadata.{key} to the spec (NAME.ingest.yaml).",
        )
        for name, value, key in named
    ]
