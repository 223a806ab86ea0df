"""The way of a raster from its plan to what readers see, without pixels: as the ops go it.

Files have made-up bytes, but lie in real storage, and are noted, published and catalogued by the
real verbs. `Mortal` lets such a way end at any of its steps.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from geo_etl.catalog.raster_collections import open_raster_collection
from geo_etl.ingest.clock import Span
from geo_etl.raster.facts import Window
from geo_etl.raster.layers import Version
from geo_etl.raster.loads import Load, LoadPlan, begin_load
from geo_etl.raster.manifest import Piece, PieceReport, RasterManifest, TierPlan
from geo_etl.raster.outputs import Attempt, begin_piece, finish_piece
from geo_etl.raster.publish import Candidate
from geo_etl.resources import pgstac
from geo_etl.resources.local_blobs import LocalBlobs
from geo_etl.resources.rasters import Rasters
from geo_etl.spec import RasterSpec, SourceRef, Tier, job_id
from geo_etl_tests.raster_facts import CREATED, DEGREES, facts, made, order, profile

SILVER = "silver"
SPAN = Span(0.0, 1.0)


def manifest(
    layer: str,
    content: str = "one",
    *,
    source: str = "bronze/dem.tif",
    tiers: Sequence[Tier] = ("analysis",),
    tiles: int = 0,
) -> RasterManifest:
    """The plan of a raster; `tiles` beside each other, or none."""
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    spec = RasterSpec(output_tier=tuple(tiers))
    width = DEGREES.width // max(tiles, 1)
    pieces = tuple(
        Piece(i, 0, i, Window(i * width, 0, width, DEGREES.height), tuple(tiers), tiles > 0)
        for i in range(max(tiles, 1))
    )
    collection_id, _, item_id = layer.partition("/")
    return RasterManifest(
        order=replace(
            order(),
            source=SourceRef.parse(source),
            fingerprint=fingerprint,
            job_id=job_id(source, spec.canonical(), fingerprint),
            spec=spec,
        ),
        facts=facts(),
        layer=layer,
        form="tiled" if tiles else "single",
        collection_id=collection_id,
        item_id=item_id or collection_id,
        tiers=tuple(TierPlan(tier, DEGREES, True, profile(tier)) for tier in tiers),
        pieces=pieces,
        warnings=(),
        span=SPAN,
    )


def item(collection_id: str, item_id: str, hrefs: Mapping[str, str]) -> dict[str, Any]:
    """A plain STAC item with an asset a file."""
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": item_id,
        "collection": collection_id,
        "geometry": {"type": "Point", "coordinates": [5.0, 50.0]},
        "bbox": [5.0, 50.0, 5.0, 50.0],
        "properties": {"datetime": CREATED.isoformat().replace("+00:00", "Z")},
        "links": [],
        "assets": {key: {"href": href} for key, href in hrefs.items()},
    }


@dataclass
class Site:
    """A database and a storage that rasters are published with."""

    engine: sa.Engine
    storage: LocalBlobs

    @property
    def rasters(self) -> Rasters:
        return Rasters(self.engine)

    def begin(self, plan: RasterManifest, *, force: bool = False) -> Load:
        """As the op `plan`."""
        load = begin_load(self.engine, LoadPlan.of(plan), SILVER, force=force)
        self.rasters.remove_discarded(self.storage)
        return load

    def attempt(self, load: Load, plan: RasterManifest, index: int = 0) -> Attempt | PieceReport:
        names = [f"{plan.item_id}_{index}_{tier}.tif" for tier in plan.pieces[index].tiers]
        return begin_piece(self.engine, load, index, names)

    def write(self, attempt: Attempt, content: str = "pixels") -> None:
        for path in attempt.paths.values():
            with self.storage.write(SourceRef.parse(path)) as file:
                file.write(content.encode())

    def convert(
        self, load: Load, plan: RasterManifest, index: int = 0, *, empty: bool = False
    ) -> PieceReport:
        """As the op `convert`, for one piece."""
        found = self.attempt(load, plan, index)
        if isinstance(found, PieceReport):
            return found
        if not empty:
            self.write(found)
        return finish_piece(self.engine, found, self.report(found, plan, empty=empty))

    def report(self, attempt: Attempt, plan: RasterManifest, *, empty: bool = False) -> PieceReport:
        assert attempt.index is not None
        piece = plan.pieces[attempt.index]
        grid = DEGREES.window(piece.window)
        files = tuple(
            made(tier, grid, path=path, size=len("pixels"))
            for tier, path in zip(piece.tiers, attempt.paths.values(), strict=True)
        )
        return PieceReport(attempt.index, () if empty else files, b"png", SPAN)

    def candidate(
        self, load: Load, plan: RasterManifest, reports: Sequence[PieceReport]
    ) -> Candidate:
        others = {}
        if plan.form == "tiled":
            found = begin_piece(self.engine, load, None, ["mosaic.vrt"])
            assert isinstance(found, Attempt)
            self.write(found, "<VRT/>")
            others = {path: len("<VRT/>") for path in found.paths.values()}
        items = []
        for report in reports:
            hrefs = {one.tier: self.storage.url(SourceRef.parse(one.path)) for one in report.made}
            name = plan.item_id + (f"_{report.index}" if plan.form == "tiled" else "")
            if hrefs:
                items.append(item(plan.collection_id, name, hrefs))
        sizes = {one.path: one.size for report in reports for one in report.made} | others
        version = Version(
            layer=plan.layer,
            number=0,
            current=False,
            form=plan.form,
            source=str(plan.order.source),
            sources=(str(plan.order.source),),
            fingerprint=plan.order.fingerprint,
            job_id=plan.order.job_id,
            load_id=load.id,
            collection_id=plan.collection_id,
            item_ids=tuple(item["id"] for item in items),
            collection=open_raster_collection(plan.collection_id),
            mosaic=None,
            facts=plan.facts,
            pixels=plan.facts.grid.pixels,
            bytes=sum(sizes.values()),
            result=None,
            published_at=CREATED,
        )
        return Candidate(load, version, tuple(items), tuple(sizes))

    def publish(
        self, load: Load, plan: RasterManifest, reports: Sequence[PieceReport], keep: int = 3
    ) -> int:
        """As the op `publish`; the version's number."""
        (version,) = self.rasters.publish([self.candidate(load, plan, reports)], keep)
        self.rasters.remove_discarded(self.storage)
        return version.number

    def ingest(self, plan: RasterManifest, *, force: bool = False, keep: int = 3) -> int:
        """All of it; the version's number."""
        load = self.begin(plan, force=force)
        reports = [self.convert(load, plan, piece.index) for piece in plan.pieces]
        return self.publish(load, plan, reports, keep)

    def blobs(self, layer: str) -> set[str]:
        """What lies in silver for a layer."""
        return {
            str(blob.ref)
            for page in self.storage.pages(SILVER, f"rasters/{layer}/")
            for blob in page
        }

    def shown(self, collection_id: str, item_id: str) -> set[str]:
        """Local files that the assets of a catalogued item name; none without an item."""
        with self.engine.connect() as connection:
            found = pgstac.get_item(connection, collection_id, item_id)
        return {asset["href"] for asset in found["assets"].values()} if found else set()


class DiedError(Exception):
    """A process was killed."""


@dataclass
class Mortal:
    """A life that ends at one of its steps: before a commit, before or after a blob is written."""

    at: int
    steps: int = 0
    calls: list[str] = field(default_factory=list)

    def step(self, what: str) -> None:
        self.steps += 1
        self.calls.append(what)
        if self.steps == self.at:
            raise DiedError(what)

    @contextmanager
    def living(self, site: Site) -> Iterator[Site]:
        """The site as this life sees it."""

        def commit(connection: sa.Connection) -> None:
            self.step("commit")

        sa.event.listen(site.engine, "commit", commit)
        try:
            yield Site(site.engine, MortalBlobs(site.storage.root, self))
        finally:
            sa.event.remove(site.engine, "commit", commit)


class MortalBlobs(LocalBlobs):
    """Storage of a process that may be killed."""

    def __init__(self, root: Path, life: Mortal) -> None:
        super().__init__(root)
        self.life = life

    @contextmanager
    def write(
        self, ref: SourceRef, metadata: Mapping[str, str] | None = None
    ) -> Iterator[BinaryIO]:
        self.life.step(f"write {ref.name}")
        with super().write(ref, metadata) as file:
            yield file
        self.life.step(f"wrote {ref.name}")

    def delete(self, ref: SourceRef) -> None:
        self.life.step(f"delete {ref.name}")
        super().delete(ref)
        self.life.step(f"deleted {ref.name}")
