"""From what the stages of a raster ingest said to its result document."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from geo_etl.ingest.clock import Span, parallel_efficiency
from geo_etl.raster.manifest import PieceReport, RasterManifest
from geo_etl.report.documents import Bounds, Stage
from geo_etl.report.raster_result import (
    Mosaic,
    Number,
    RasterAsset,
    RasterResult,
    RasterStac,
    RasterSummary,
    TileResult,
    TileWindow,
)
from geo_etl.report.raster_totals import tier_asset


@dataclass(frozen=True)
class TileItem:
    """The STAC item of one tile."""

    item_id: str
    bbox: Bounds


@dataclass(frozen=True)
class Place:
    """Where a published layer is to be found.

    Attributes:
        bbox: in degrees, of all items.
        hrefs: address of each file, by its blob `container/path`.
        tile_items: of a set, by the index of the piece; none for an empty tile.
    """

    collection_id: str
    item_id: str | None
    bbox: Bounds | None
    hrefs: Mapping[str, str]
    tile_items: Mapping[int, TileItem] = field(default_factory=dict)
    mosaic: Mosaic | None = None
    tiles_url: str | None = None
    viewer_url: str | None = None
    preview_url: str | None = None
    quality_report_url: str | None = None


@dataclass(frozen=True)
class Course:
    """When the stages of a job ran, convert tasks one by one."""

    plan: Span
    convert: Sequence[Span]
    publish: Span
    verify: Span

    def stages(self) -> list[Stage]:
        """In the order that they ran in."""
        spans = [("plan", self.plan, 1)]
        if (convert := self._convert_stage()) is not None:
            spans.append(("convert", convert, len(self.convert)))
        spans += [("publish", self.publish, 1), ("verify", self.verify, 1)]
        return [
            Stage.model_validate({"name": name, "seconds": round(span.seconds, 3), "tasks": tasks})
            for name, span, tasks in spans
        ]

    @property
    def seconds(self) -> float:
        """From the first stage's start to the last one's end."""
        return round(self.verify.end - self.plan.start, 3)

    def efficiency(self) -> float | None:
        """See `parallel_efficiency`."""
        busy = sum(span.seconds for span in self.convert)
        return parallel_efficiency(self._convert_stage(), len(self.convert), busy)

    def _convert_stage(self) -> Span | None:
        if not self.convert:
            return None
        return Span(min(s.start for s in self.convert), max(s.end for s in self.convert))


def raster_result(
    manifest: RasterManifest,
    reports: Sequence[PieceReport],
    place: Place,
    course: Course,
    version: int | None,
    warnings: Sequence[str] = (),
) -> RasterResult:
    """The result document of a raster that is published.

    Args:
        reports: of all pieces, in any order.
        warnings: what a person should know beside what the plan found.
    """
    order, facts = manifest.order, manifest.facts
    stages, tiles = course.stages(), tile_results(manifest, reports, place)
    assets = [tier_asset(plan, manifest, reports, place.hrefs) for plan in manifest.tiers]
    return RasterResult(
        job_id=order.job_id,
        source=str(order.source),
        layer=manifest.layer,
        form="tiled" if tiles else "single",
        summary=_summary(manifest, assets, tiles),
        assets=assets,
        tiles=tiles,
        mosaic=place.mosaic,
        stac=RasterStac(
            collection_id=place.collection_id,
            item_id=None if tiles else place.item_id,
            items=sum(not tile.empty for tile in tiles) if tiles else 1,
            bbox=place.bbox,
        ),
        tiles_url=place.tiles_url,
        viewer_url=place.viewer_url,
        preview_url=place.preview_url,
        quality_report_url=place.quality_report_url,
        data_kind=facts.kind,
        data_kind_because=facts.kind_because,
        nodata=in_json(facts.nodata),
        nodata_from=facts.nodata_from,
        narrowed_to=next(
            (
                plan.profile.dtype
                for plan in manifest.tiers
                if plan.profile.lossless and plan.profile.dtype == facts.narrow_to
            ),
            None,
        ),
        original_crs=facts.grid.crs,
        target_crs=manifest.tiers[0].grid.crs,
        stages=stages,
        processing_time_seconds=course.seconds,
        tasks_executed=sum(stage.tasks for stage in stages),
        parallel_efficiency=course.efficiency(),
        version=version,
        warnings=[*dict.fromkeys([*manifest.warnings, *warnings])],
    )


def in_json(value: float | None) -> Number | None:
    """A number as the documents have it."""
    if value is None or math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def tile_results(
    manifest: RasterManifest, reports: Sequence[PieceReport], place: Place
) -> list[TileResult]:
    """The tiles of a set, by index; none of a single raster, nor those not reported."""
    made = {report.index: report.made for report in reports}
    tiles = []
    for piece in sorted(manifest.pieces, key=lambda piece: piece.index):
        if not piece.is_tile or piece.index not in made:
            continue
        files, item = made[piece.index], place.tile_items.get(piece.index)
        window = piece.window
        tiles.append(
            TileResult(
                index=piece.index,
                row=piece.row,
                col=piece.col,
                window=TileWindow(
                    col=window.col, row=window.row, width=window.width, height=window.height
                ),
                empty=not files,
                item_id=item.item_id if item else None,
                bbox=item.bbox if item else None,
                bytes=sum(file.size for file in files),
                hrefs={file.tier: place.hrefs[file.path] for file in files},
            )
        )
    return tiles


def _summary(
    manifest: RasterManifest,
    assets: Sequence[RasterAsset],
    tiles: Sequence[TileResult],
) -> RasterSummary:
    is_set = any(piece.is_tile for piece in manifest.pieces)
    empty = sum(tile.empty for tile in tiles)
    facts = manifest.facts
    return RasterSummary(
        pixels=facts.grid.pixels,
        pixels_valid=facts.valid_pixels,
        bands=len(facts.bands),
        total_tiles=sum(piece.is_tile for piece in manifest.pieces) if is_set else 1,
        tiles_converted=len(tiles) - empty if is_set else int(any(one.files for one in assets)),
        tiles_empty=empty,
        data_complete=all(uncovered(asset, tiles) == 0 for asset in assets),
    )


def uncovered(asset: RasterAsset, tiles: Collection[TileResult]) -> int:
    """Pixels of a tier's grid that neither a proven file nor an empty tile accounts for.

    Below 0: more than there are.
    """
    if asset.width is None or asset.height is None:
        return 0
    compared = asset.proof.pixels_compared if asset.proof else 0
    # A tier that has one file covers its grid with it, whatever tiles the others are cut into.
    whole = asset.href is not None
    empty = 0 if whole else sum(tile.window.pixels for tile in tiles if tile.empty)
    return asset.width * asset.height - compared - empty
