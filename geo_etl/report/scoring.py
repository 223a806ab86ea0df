"""From the measures of a job to its quality report: scores, and what a delivery says of itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from geo_etl.report.documents import Bounds
from geo_etl.report.quality import (
    ColumnQuality,
    FeatureExample,
    LargestRepair,
    MetadataFact,
    QualityReport,
    ReasonCount,
    Score,
    TableQuality,
    about_facts,
    percent,
)
from geo_etl.report.result import Summary, VectorResult
from geo_etl.vector.attributes import Column
from geo_etl.vector.profile import Findings, Reason, TableProfile

# Names that programs invent where nobody gave one: field_1, Column2, attr_12, f3, unnamed: 0.
_INVENTED = re.compile(
    r"(field|fld|column|col|attr|attribute|attrib|unnamed|unknown|f|c|v|x)?"
    r"[\s_:.-]*\d*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Delivery:
    """What a delivery says of itself, and what the spec adds.

    Attributes:
        format: the format's name, for people.
        bytes: size of the source.
        crs_declared: whether the delivery declares its CRS; False where the spec had to.
        encoding_declared: the same of the text's encoding; True where the format fixes it.
        datetime_from: where the dataset's time is from (a column, the spec); None: the file's.
    """

    format: str
    bytes: int | None
    sha256: str
    modified: datetime
    crs_declared: bool
    encoding_declared: bool
    datetime_from: str | None = None
    title: str | None = None
    description: str | None = None
    licence: str | None = None
    provider: str | None = None


@dataclass(frozen=True)
class MeasuredTable:
    """One published table with its measures."""

    table: str
    geometry_type: str
    srid: int
    bbox: Bounds | None
    columns: Sequence[Column]
    profile: TableProfile


def quality_report(
    result: VectorResult,
    delivery: Delivery,
    tables: Sequence[MeasuredTable],
    findings: Findings,
    software: dict[str, str],
) -> QualityReport:
    """Put together what is known of a job that is done.

    Args:
        software: versions of the programs that did it.
    """
    measured = [_table(table) for table in tables]
    columns = [column for table in tables for column in table.columns]
    metadata = metadata_facts(delivery, [column.original for column in columns])
    scores = _scores(result.summary, measured, metadata)
    largest = findings.largest
    return QualityReport(
        source=result.source,
        format=delivery.format,
        source_bytes=delivery.bytes,
        source_sha256=delivery.sha256,
        source_modified=delivery.modified,
        original_crs=result.original_crs,
        job_id=result.job_id,
        version=result.version,
        load_method=result.load_method,
        created=datetime.now(UTC).replace(microsecond=0),
        software=software,
        summary=result.summary,
        tables=measured,
        repairs=[_reason(reason) for reason in findings.repairs],
        largest_repair=None
        if largest is None
        else LargestRepair(
            source_fid=largest.source_fid,
            before=largest.before,
            after=largest.after,
            share=largest.share,
        ),
        quarantine=[_reason(reason) for reason in findings.quarantine],
        metadata=metadata,
        scores=scores,
        score=int(sum(score.value for score in scores) / len(scores)),
        warnings=result.warnings,
    )


def _table(measured: MeasuredTable) -> TableQuality:
    profile = measured.profile
    return TableQuality(
        table=measured.table,
        geometry_type=measured.geometry_type,
        srid=measured.srid,
        bbox=measured.bbox,
        rows=profile.rows,
        columns=[
            ColumnQuality(
                name=column.name,
                original=column.original,
                type=column.sql_type,
                filled=profile.filled[column.name],
                completeness=profile.filled[column.name] / profile.rows if profile.rows else None,
            )
            for column in measured.columns
        ],
        duplicate_rows=profile.duplicate_rows,
        duplicate_geometries=profile.duplicate_geometries,
    )


def _reason(reason: Reason) -> ReasonCount:
    examples = [
        FeatureExample(source_fid=one.source_fid, said=one.said, attributes=one.attributes)
        for one in reason.examples
    ]
    return ReasonCount(text=reason.text, features=reason.features, examples=examples)


def metadata_facts(delivery: Delivery, names: Sequence[str]) -> list[MetadataFact]:
    """What a delivery should say of itself, and whether it does.

    Args:
        names: of its columns, in the source.
    """
    invented = [name for name in names if is_invented(name)]
    shown = ", ".join(invented[:5]) + (" …" if len(invented) > 5 else "")
    return [
        MetadataFact(
            name="Coordinate reference system",
            present=delivery.crs_declared,
            found="declared by the delivery" if delivery.crs_declared else "not in the delivery",
            remedy="Ask for a file that declares its CRS (a shapefile's .prj).",
        ),
        MetadataFact(
            name="Text encoding",
            present=delivery.encoding_declared,
            found="declared" if delivery.encoding_declared else "not declared",
            remedy="Ask for a .cpg file beside the shapefile, or a GeoPackage.",
        ),
        MetadataFact(
            name="Column names",
            present=not invented,
            found=f"say nothing: {shown}" if invented else "meaningful",
            remedy="Ask for names that say what the columns hold.",
        ),
        MetadataFact(
            name="Date of the data",
            present=delivery.datetime_from is not None,
            found=f"from {delivery.datetime_from}"
            if delivery.datetime_from
            else "only the file's own date",
            remedy="Name a date column in indexes.temporal of the spec, or set metadata.datetime.",
        ),
        *about_facts(delivery.title, delivery.description, delivery.licence, delivery.provider),
    ]


def is_invented(name: str) -> bool:
    """Whether a column's name is one that a program makes up, or has no letter."""
    return _INVENTED.fullmatch(name) is not None or not any(char.isalpha() for char in name)


def _scores(
    summary: Summary, tables: Sequence[TableQuality], metadata: Sequence[MetadataFact]
) -> list[Score]:
    read, loaded = summary.features_read, summary.features_loaded
    rows = sum(table.rows for table in tables)
    cells = sum(table.rows * len(table.columns) for table in tables)
    filled = sum(column.filled for table in tables for column in table.columns)
    duplicates = sum(table.duplicate_rows for table in tables)
    refused = summary.features_repaired + summary.features_quarantined
    present = sum(fact.present for fact in metadata)
    return [
        Score(
            name="Delivered",
            value=percent(loaded, read),
            meaning="features published, of those in the source",
        ),
        Score(
            name="Valid",
            value=percent(max(read - refused, 0), read),
            meaning="features that needed no repair and no quarantine",
        ),
        Score(
            name="Complete",
            value=percent(filled, cells) if rows else 0,
            meaning="attribute values that are filled in",
        ),
        Score(
            name="Unique",
            value=percent(rows - duplicates, rows) if rows else 0,
            meaning="rows that repeat no other row",
        ),
        Score(
            name="Described",
            value=percent(present, len(metadata)),
            meaning="facts about itself that the delivery has",
        ),
    ]
