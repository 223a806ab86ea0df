"""From the facts of a raster and its result to its quality report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.manifest import RasterManifest, RasterOrder
from geo_etl.report.quality import Light, MetadataFact, Score, about_facts, light, percent
from geo_etl.report.raster_outcome import uncovered
from geo_etl.report.raster_result import RasterResult

CRS, PLACE, DATA = "Coordinate reference system", "Place of its pixels", "Which pixels are data"
CERTAIN = (CRS, PLACE, DATA)
"""Facts without which every other would be in doubt."""


@dataclass(frozen=True)
class RasterReport:
    """What a raster turned out to be, and what became of it.

    Attributes:
        software: versions of the programs that did it.
        scores: see `Score`.
        score: mean of the scores, rounded down.
    """

    order: RasterOrder
    facts: RasterFacts
    result: RasterResult
    software: dict[str, str]
    created: datetime
    metadata: Sequence[MetadataFact]
    scores: Sequence[Score]
    score: int

    @property
    def light(self) -> Light:
        """Traffic light of the whole."""
        return light(self.score)


def raster_report(
    manifest: RasterManifest, result: RasterResult, software: dict[str, str]
) -> RasterReport:
    """Put together what is known of a job that is done."""
    metadata = raster_metadata_facts(manifest.order, manifest.facts)
    scores = _scores(result, metadata)
    return RasterReport(
        order=manifest.order,
        facts=manifest.facts,
        result=result,
        software=software,
        created=datetime.now(UTC).replace(microsecond=0),
        metadata=metadata,
        scores=scores,
        score=sum(score.value for score in scores) // len(scores),
    )


def raster_metadata_facts(order: RasterOrder, facts: RasterFacts) -> list[MetadataFact]:
    """What a raster should say of itself, and whether it does."""
    spec, about = order.spec, order.spec.metadata
    dated = spec.datetime or about.datetime
    found = [
        MetadataFact(
            name=CRS,
            present=facts.crs_declared,
            found="declared by the file" if facts.crs_declared else "not in the file",
            remedy="Ask for a file that declares its CRS.",
        ),
        MetadataFact(
            name=PLACE,
            present=facts.georeference == "transform",
            found="a grid with origin and pixel size"
            if facts.georeference == "transform"
            else "ground control points alone, which the grid is fitted to",
            remedy="Ask for an orthorectified file.",
        ),
        _nodata_fact(facts),
        MetadataFact(
            name="Band names",
            present=all(band.name for band in facts.data_bands),
            found=_named([band.name for band in facts.data_bands]),
            remedy="Set band_names in the spec (NAME.ingest.yaml).",
        ),
    ]
    if facts.kind == "continuous":
        found.append(
            MetadataFact(
                name="Unit of the values",
                present=all(band.unit for band in facts.data_bands),
                found=_named([band.unit for band in facts.data_bands]),
                remedy="Ask for a file that names the unit of its bands.",
            )
        )
    if facts.kind == "classes":
        coloured = all(band.colormap for band in facts.data_bands)
        found.append(
            MetadataFact(
                name="Colours of the classes",
                present=coloured,
                found="a colour table" if coloured else "no colour table",
                remedy="Ask for a file with a colour table.",
            )
        )
    time_from = "the spec" if dated else facts.acquired_from if facts.acquired else None
    found.append(
        MetadataFact(
            name="Date of the data",
            present=time_from is not None,
            found=f"from {time_from}" if time_from else "only the file's own date",
            remedy="Set datetime in the spec (NAME.ingest.yaml).",
        )
    )
    return [
        *found,
        *about_facts(about.title, about.description, about.license, about.provider),
    ]


def _nodata_fact(facts: RasterFacts) -> MetadataFact:
    """Whether the delivery says which pixels are data."""
    is_declared = facts.nodata_from in ("declared", None)
    return MetadataFact(
        name=DATA,
        present=is_declared and (facts.validity != "none" or _is_full(facts)),
        found=nodata_words(facts),
        remedy="Ask for a file that declares its nodata value, or has a mask.",
    )


def _is_full(facts: RasterFacts) -> bool:
    """An image without gaps has nothing to declare."""
    return facts.kind == "imagery"


def nodata_words(facts: RasterFacts) -> str:
    """What tells which pixels are data."""
    if facts.validity == "nodata":
        sources = {
            "declared": "as the file declares",
            "spec": "as the spec says",
            "inferred": "inferred from the pixels: the file declares none",
        }
        because = sources[facts.nodata_from] if facts.nodata_from else "of the file"
        return f"{facts.nodata:g} is no data, {because}"
    return {
        "mask": "a mask that comes with the pixels",
        "alpha": "the alpha band",
        "none": "nothing says otherwise: every pixel counts as data",
    }[facts.validity]


def _named(names: Sequence[str | None]) -> str:
    known = [name for name in names if name]
    if not known:
        return "none"
    shown = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
    return shown if len(known) == len(names) else f"{len(known)} of {len(names)}: {shown}"


def _scores(result: RasterResult, metadata: Sequence[MetadataFact]) -> list[Score]:
    files = sum(asset.files for asset in result.assets)
    proven = sum(asset.files for asset in result.assets if asset.proof and asset.proof.holds)
    pixels = sum((asset.width or 0) * (asset.height or 0) for asset in result.assets)
    missing = sum(abs(uncovered(asset, result.tiles)) for asset in result.assets)
    certain = [fact for fact in metadata if fact.name in CERTAIN]
    return [
        Score(
            name="Proven",
            value=percent(proven, files),
            meaning="files that passed every test after their last write",
        ),
        Score(
            name="Complete",
            value=percent(max(pixels - missing, 0), pixels),
            meaning="pixels of the grids that a file or an empty tile accounts for",
        ),
        Score(
            name="Certain",
            value=percent(sum(fact.present for fact in certain), len(certain)),
            meaning="of CRS, place and valid pixels: what the file itself declares",
        ),
        Score(
            name="Described",
            value=percent(sum(fact.present for fact in metadata), len(metadata)),
            meaning="facts about itself that the delivery has",
        ),
    ]
