"""Facts of rasters that tests of the catalogue make up: no pixels behind them."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from affine import Affine

from geo_etl.catalog.lineage import SourceBlob
from geo_etl.catalog.rasters import RasterItemFacts, TierFile
from geo_etl.raster.facts import Band, Grid, Histogram, RasterFacts, Statistics
from geo_etl.raster.manifest import Made, Profile, Proof, RasterOrder
from geo_etl.spec import RasterSpec, SourceRef, Tier
from geo_etl_tests.independent_grids import UTM

CONTENT = b"a raster"
MODIFIED = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
PROVEN = Proof(True, (), 10_000, 0, 0, None, None, None)
HEIGHTS = Statistics(9_000, 100.0, 500.0, 200.0, 30.0, Histogram(100.0, 500.0, (9, 8_900, 50, 41)))
DEGREES = Grid("EPSG:4326", Affine(0.01, 0, 5, 0, -0.01, 51), 100, 100)


def band(index: int = 1, **changes: Any) -> Band:
    """A band of heights."""
    one = Band(index, None, "float32", "gray", -9999.0, 1.0, 0.0, "m", HEIGHTS)
    return replace(one, **changes)


def facts(grid: Grid = UTM, bands: tuple[Band, ...] | None = None, **changes: Any) -> RasterFacts:
    """A digital elevation model, unless changed."""
    one = RasterFacts(
        driver="GTiff",
        grid=grid,
        georeference="transform",
        bands=bands or (band(),),
        kind="continuous",
        kind_because="it has fractions",
        nodata=-9999.0,
        nodata_from="declared",
        validity="nodata",
        valid_pixels=9_000,
        narrow_to=None,
        footprint=None,
        crs_declared=True,
    )
    return replace(one, **changes)


def profile(tier: Tier = "analysis", **changes: Any) -> Profile:
    """How heights are written."""
    one = Profile(
        tier,
        True,
        "DEFLATE",
        None,
        3,
        512,
        "bilinear",
        "average",
        "float32",
        -9999.0,
        "nodata",
        (1,),
    )
    return replace(one, **changes)


def made(tier: Tier = "analysis", grid: Grid = DEGREES, **changes: Any) -> Made:
    """One proven file: of heights, or of a picture of them in gray."""
    written, values = profile(tier), (HEIGHTS,)
    if tier == "visualization":
        colours = {"dtype": "uint8", "nodata": None, "validity": "mask"}
        written = replace(written, rescale=((0.0, 600.0),), **colours)
        values *= 3
    one = Made(
        tier=tier,
        path=f"silver/rasters/{tier}.tif",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        grid=grid,
        profile=written,
        proof=PROVEN,
        statistics=values,
        footprint=None,
        valid_pixels=9_000,
    )
    return replace(one, **changes)


def order(**spec: Any) -> RasterOrder:
    """What was asked for."""
    return RasterOrder(
        source=SourceRef("bronze", "a b/höhe.tif"),
        fingerprint=hashlib.sha256(b"delivered").hexdigest(),
        modified=MODIFIED,
        bytes=len(b"delivered"),
        job_id="ab" * 32,
        spec=RasterSpec.model_validate(spec),
    )


def item_facts(*files: Made, **changes: Any) -> RasterItemFacts:
    """The facts of one item."""
    one = RasterItemFacts(
        item_id="dem",
        collection_id="system-rasters",
        order=order(),
        facts=facts(),
        files=[
            TierFile(file, f"file:///silver/{file.tier}.tif", 0.25) for file in files or (made(),)
        ],
        created=CREATED,
        source_blobs=[SourceBlob("source", "file:///höhe.tif", "Delivered", 9, "cd" * 32)],
        software={"GDAL": "3.10.3"},
        preview_href="file:///silver/preview.png",
        report_href="file:///reports/dem.html",
        tiles_url="http://localhost/tiles",
    )
    return replace(one, **changes)
