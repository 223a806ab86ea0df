"""What a raster says of itself, and a sample of its pixels: enough to catalogue it where it lies.

Here: facts from a bounded read. Not here: the reading of every pixel that an ingest begins with
(`inspect`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rio_cogeo.cogeo import cog_validate

from geo_etl.errors import SourceError
from geo_etl.raster.acquired import acquired
from geo_etl.raster.coverage import Coverage
from geo_etl.raster.facts import RasterFacts, Window
from geo_etl.raster.footprint import footprint
from geo_etl.raster.gdal import handle
from geo_etl.raster.georeference import Placed, locate
from geo_etl.raster.inspect import band_of, compression_of, tags_of
from geo_etl.raster.kinds import kind_of
from geo_etl.raster.limits import block_bytes, check_block, pixel_bytes
from geo_etl.raster.opening import Opened
from geo_etl.raster.reading import Part
from geo_etl.raster.survey import survey
from geo_etl.raster.validity import declared_validity
from geo_etl.spec import RasterSpec

SAMPLE_BYTES = 4_000_000
"""Of pixels that are decoded: in most formats about what 1 MB holds."""
TELLING = 256
"""Pixels along the longer side of an overview whose statistics tell something."""
NOTHING = "nothing"


@dataclass(frozen=True)
class Header:
    """What is known of a raster without reading it through.

    Attributes:
        facts: statistics, classes, kind and `valid_pixels` are those of the sample; the footprint
            is None unless every pixel was read.
        sampled: what the statistics are of, for people.
        sampled_pixels: of one band, valid or not; 0 for none.
        is_exact: whether every pixel was read.
        cog_problems: why it is no valid COG.
    """

    facts: RasterFacts
    sampled: str
    sampled_pixels: int
    is_exact: bool
    cog_problems: tuple[str, ...]


@dataclass(frozen=True)
class _Sample:
    """What of a raster is read.

    Attributes:
        opened: the raster, or one of its overviews.
        chosen: its parts to read; None for all.
    """

    opened: Opened
    chosen: Sequence[Part] | None
    words: str
    pixels: int
    is_exact: bool


def read_header(opened: Opened, name: str, spec: RasterSpec) -> Header:
    """Find out what a raster says of itself, and look at a bounded part of its pixels.

    Args:
        opened: from `open_raster`.
        name: what to call it in messages.
        spec: `source_crs` and `nodata` are used.

    Raises:
        SourceError: nothing says where it is, what says it can't be true, or pixels of the sample
            can't be read.
    """
    dataset = opened.dataset
    placed = locate(dataset, name, spec)
    declared = declared_validity(dataset, name, spec)
    with _sample(opened, name) as sample:
        sampled = sample.opened.dataset
        coverage = Coverage(sampled.width, sampled.height)
        seen = survey(sample.opened, name, declared, coverage, sample.chosen)
    bands = tuple(
        band_of(dataset, index, tally, None, declared, None)
        for index, tally in zip(dataset.indexes, seen.tallies, strict=True)
    )
    kind = kind_of(bands, opened.driver, dataset.tags(1).get("LAYER_TYPE"), spec)
    problems = _cog_problems(opened, name)
    time = acquired(dataset)
    facts = RasterFacts(
        driver=opened.driver,
        grid=placed.grid,
        georeference=placed.georeference,
        bands=bands,
        kind=kind.kind,
        kind_because=kind.because,
        nodata=declared.nodata,
        nodata_from=declared.nodata_from,
        validity=declared.validity,
        valid_pixels=coverage.pixels(None),
        narrow_to=None,
        footprint=_footprint(coverage, placed, is_exact=sample.is_exact),
        crs_declared=placed.crs_declared,
        acquired=time.start if time else None,
        acquired_until=time.end if time else None,
        acquired_from=time.tag if time else None,
        is_cog=not problems,
        compression=compression_of(dataset),
        interleave=dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE"),
        block=dataset.block_shapes[0],
        overviews=tuple(dataset.overviews(1)),
        gcps=placed.gcps,
        subdataset=opened.subdataset,
        tags=tags_of(dataset),
        warnings=tuple(
            dict.fromkeys(
                [
                    *opened.remarks,
                    *placed.warnings,
                    *declared.warnings,
                    *(time.assumed if time else []),
                ]
            )
        ),
    )
    return Header(facts, sample.words, sample.pixels, sample.is_exact, problems)


@contextmanager
def _sample(opened: Opened, name: str) -> Iterator[_Sample]:
    """All of a small raster, else its smallest overview that tells something, else some blocks."""
    dataset = opened.dataset
    level = None if _fits(dataset) else _level(dataset)
    if level is None:
        yield _some(opened, "")
        return
    factor = dataset.overviews(1)[level]
    try:
        overview = handle(dataset.name, opened.driver, overview=level)
    except (RasterioError, CPLE_BaseError) as error:
        raise SourceError(
            name,
            f"its overview of factor {factor} can't be read ({error})",
            "Make its overviews anew, for instance by gdaladdo.",
        ) from None
    with overview:
        check_block(name, block_bytes(overview))
        yield _some(replace(opened, dataset=overview), f"of the overview of factor {factor}")


def _level(dataset: rasterio.DatasetReader) -> int | None:
    """The smallest overview whose pixels tell something, else the largest; None without any."""
    longer = max(dataset.width, dataset.height)
    telling = [
        level for level, factor in enumerate(dataset.overviews(1)) if longer / factor >= TELLING
    ]
    return max(telling) if telling else 0 if dataset.overviews(1) else None


def _fits(dataset: rasterio.DatasetReader) -> bool:
    return bool(dataset.width * dataset.height * pixel_bytes(dataset) <= SAMPLE_BYTES)


def _some(opened: Opened, of: str) -> _Sample:
    """All parts of a dataset, or as many of its blocks as may be read, evenly spread."""
    dataset = opened.dataset
    alone = replace(opened, threads=False)
    if _fits(dataset):
        words = f"every pixel {of}".strip()
        return _Sample(alone, None, words, dataset.width * dataset.height, is_exact=not of)
    rows, columns = dataset.block_shapes[0]
    down, across = -(-dataset.height // rows), -(-dataset.width // columns)
    wanted = min(SAMPLE_BYTES // (rows * columns * pixel_bytes(dataset)), down * across)
    places = np.unique(np.linspace(0, down * across - 1, wanted + 2, dtype=np.int64)[1:-1])
    groups = tuple((index,) for index in dataset.indexes)
    chosen = [
        Part(_block(dataset, int(place) // across, int(place) % across), groups) for place in places
    ]
    if not chosen:
        return _Sample(alone, [], NOTHING, 0, is_exact=False)
    words = f"{len(chosen)} of {down * across} blocks {of}".strip()
    pixels = sum(part.window.width * part.window.height for part in chosen)
    return _Sample(alone, chosen, words, pixels, is_exact=False)


def _block(dataset: rasterio.DatasetReader, row: int, column: int) -> Window:
    rows, columns = dataset.block_shapes[0]
    top, left = row * rows, column * columns
    return Window(left, top, min(columns, dataset.width - left), min(rows, dataset.height - top))


def _footprint(coverage: Coverage, placed: Placed, *, is_exact: bool) -> bytes | None:
    """The outline of valid pixels, of all where not every pixel was read; None as in `facts`."""
    grid = placed.grid
    cells = coverage.cells(None) if is_exact else np.ones((1, 1), np.bool_)
    return footprint(
        cells,
        coverage.step if is_exact else max(grid.width, grid.height),
        grid.width,
        grid.height,
        placed.place,
        is_curved=placed.points is not None,
    )


def _cog_problems(opened: Opened, name: str) -> tuple[str, ...]:
    """Why a file is no valid COG (strict); empty for one that is."""
    if opened.driver != "GTiff":
        return (f"It is no GeoTIFF, but {opened.driver}.",)
    try:
        _, errors, warnings = cog_validate(opened.dataset.name, strict=True, quiet=True)
    except (RasterioError, CPLE_BaseError) as error:
        raise SourceError(
            name, f"it can't be read through ({error})", "Deliver the file again."
        ) from None
    return tuple(f"{one.strip().rstrip('.')}." for one in (*errors, *warnings))
