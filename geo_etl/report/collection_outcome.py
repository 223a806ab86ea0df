"""From what became of its members to the result document of a collection of rasters."""

from collections.abc import Sequence
from dataclasses import dataclass

from geo_etl.report.raster_outcome import Course, Place
from geo_etl.report.raster_result import (
    CollectionResult,
    CollectionSummary,
    MemberResult,
    MemberStatus,
    RasterResult,
    RasterStac,
)
from geo_etl.report.raster_totals import together


@dataclass(frozen=True)
class Member:
    """One raster of a collection.

    Attributes:
        result: of a member that is published, by this job or before.
        problem: of a bad one, in words.
    """

    source: str
    status: MemberStatus
    item_id: str | None = None
    result: RasterResult | None = None
    problem: str | None = None


def collection_result(
    job_id: str,
    source: str,
    members: Sequence[Member],
    place: Place,
    course: Course,
    version: int | None,
    warnings: Sequence[str] = (),
) -> CollectionResult:
    """The result document of a collection of rasters that is published.

    Args:
        source: `container/folder` of the members.
        place: of the collection; its hrefs are not needed.
        course: of this job; its convert tasks are those of the members that it made.
        warnings: of the collection itself.
    """
    published = [member.result for member in members if member.result is not None]
    rows = [_member(member) for member in sorted(members, key=lambda one: one.source)]
    stages = course.stages()
    return CollectionResult(
        job_id=job_id,
        source=source,
        layer=place.collection_id,
        summary=_collection_summary(rows, published),
        members=rows,
        assets=together([asset for result in published for asset in result.assets]),
        mosaic=place.mosaic,
        stac=RasterStac(
            collection_id=place.collection_id,
            item_id=None,
            items=sum(result.stac.items for result in published),
            bbox=place.bbox,
        ),
        tiles_url=place.tiles_url,
        viewer_url=place.viewer_url,
        quality_report_url=place.quality_report_url,
        stages=stages,
        processing_time_seconds=course.seconds,
        tasks_executed=sum(stage.tasks for stage in stages),
        parallel_efficiency=course.efficiency(),
        version=version,
        warnings=[*dict.fromkeys([*warnings, *_remarks(members)])],
    )


def _member(member: Member) -> MemberResult:
    return MemberResult(
        source=member.source,
        item_id=member.item_id,
        status=member.status,
        problem=member.problem,
        bbox=member.result.stac.bbox if member.result else None,
        bytes=sum(asset.bytes for asset in member.result.assets) if member.result else 0,
    )


def _remarks(members: Sequence[Member]) -> list[str]:
    """Warnings of the members that were made: each once, with the name of the first."""
    said: dict[str, list[str]] = {}
    for member in members:
        if member.result is not None and member.status == "converted":
            for warning in member.result.warnings:
                said.setdefault(warning, []).append(member.source)
    return [
        f"{sources[0]}{f' and {len(sources) - 1} more' if len(sources) > 1 else ''}: {warning}"
        for warning, sources in said.items()
    ]


def _collection_summary(
    rows: Sequence[MemberResult], published: Sequence[RasterResult]
) -> CollectionSummary:
    status = [row.status for row in rows]
    there = len(rows) - status.count("removed")
    return CollectionSummary(
        members=there,
        converted=status.count("converted"),
        unchanged=status.count("unchanged"),
        bad=status.count("bad"),
        removed=status.count("removed"),
        pixels=sum(result.summary.pixels for result in published),
        pixels_valid=sum(result.summary.pixels_valid for result in published),
        data_complete=len(published) == there - status.count("bad")
        and all(result.summary.data_complete for result in published),
    )
