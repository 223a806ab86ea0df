"""Inspection of a raster: all that later stages decide by, from one reading of its pixels."""

import math
from dataclasses import replace
from typing import Literal

import rasterio
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

from geo_etl.errors import SpecError
from geo_etl.raster.acquired import acquired
from geo_etl.raster.coverage import Coverage
from geo_etl.raster.facts import Band, RasterFacts, Statistics, Validity
from geo_etl.raster.footprint import footprint
from geo_etl.raster.georeference import locate
from geo_etl.raster.kinds import kind_of
from geo_etl.raster.narrowing import narrower
from geo_etl.raster.nodata import infer
from geo_etl.raster.opening import Opened
from geo_etl.raster.survey import Seen, survey
from geo_etl.raster.suspicions import suspicions
from geo_etl.raster.tally import Tally
from geo_etl.raster.validity import Declared, declared_validity
from geo_etl.spec import RasterSpec

NodataFrom = Literal["declared", "spec", "inferred"] | None
Colormap = tuple[tuple[int, tuple[int, int, int, int]], ...]
MAX_TAGS, MAX_TAG_LENGTH = 100, 2000
_PASSING_TAGS = ("STATISTICS_", "NETCDF_DIM_", "EXIF_")
"""Beginnings of tags that are about this file, or kept elsewhere."""


def inspect(opened: Opened, name: str, spec: RasterSpec) -> RasterFacts:
    """Find out all that later stages decide by; every block of every band is read once.

    Args:
        opened: from `open_raster`.
        name: what to call it in messages.
        spec: `source_crs`, `nodata`, `band_names` and `data_kind` are used.

    Raises:
        SourceError: nothing says where it is, what says it can't be true, or a block can't be read.
        SpecError: the spec does not fit its bands.
    """
    dataset = opened.dataset
    _check_names(dataset, name, spec)
    placed = locate(dataset, name, spec)
    declared = declared_validity(dataset, name, spec)
    coverage = Coverage(dataset.width, dataset.height)
    seen = survey(opened, name, declared, coverage)
    nodata, nodata_from, validity, inferred = _nodata(declared, seen, dataset)
    excluded = nodata if nodata_from == "inferred" else None
    bands = tuple(
        band_of(dataset, index, tally, excluded, declared, spec.band_names)
        for index, tally in zip(dataset.indexes, seen.tallies, strict=True)
    )
    kind = kind_of(bands, opened.driver, dataset.tags(1).get("LAYER_TYPE"), spec)
    time = acquired(dataset)
    facts = RasterFacts(
        driver=opened.driver,
        grid=placed.grid,
        georeference=placed.georeference,
        bands=bands,
        kind=kind.kind,
        kind_because=kind.because,
        nodata=nodata,
        nodata_from=nodata_from,
        validity=validity,
        valid_pixels=coverage.pixels(excluded),
        narrow_to=narrower(bands, seen.tallies, nodata),
        footprint=footprint(
            coverage.cells(excluded),
            coverage.step,
            dataset.width,
            dataset.height,
            placed.place,
            is_curved=placed.points is not None,
        ),
        crs_declared=placed.crs_declared,
        acquired=time.start if time else None,
        acquired_until=time.end if time else None,
        acquired_from=time.tag if time else None,
        is_cog=_is_cog(opened),
        compression=compression_of(dataset),
        interleave=dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE"),
        block=dataset.block_shapes[0],
        overviews=tuple(dataset.overviews(1)),
        gcps=placed.gcps,
        subdataset=opened.subdataset,
        tags=tags_of(dataset),
    )
    warnings = [
        *opened.remarks,
        *placed.warnings,
        *declared.warnings,
        *inferred,
        *suspicions(facts, seen.tallies, seen.partial),
        *(time.assumed if time else []),
    ]
    return replace(facts, warnings=tuple(dict.fromkeys(warnings)))


def _check_names(dataset: rasterio.DatasetReader, name: str, spec: RasterSpec) -> None:
    if spec.band_names is not None and len(spec.band_names) != dataset.count:
        raise SpecError(
            name,
            f"band_names has {len(spec.band_names)} names, and the raster {dataset.count} bands",
            "Name every band, alpha too.",
        )


def _nodata(
    declared: Declared, seen: Seen, dataset: rasterio.DatasetReader
) -> tuple[float | None, NodataFrom, Validity, list[str]]:
    """The value that is no data, where it is from, what tells valid pixels, and a warning."""
    if not declared.may_be_inferred:
        return declared.nodata, declared.nodata_from, declared.validity, []
    data = [
        tally
        for index, tally in zip(dataset.indexes, seen.tallies, strict=True)
        if index != declared.alpha
    ]
    pixels, edges = dataset.width * dataset.height, 2 * (dataset.width + dataset.height)
    if len({tally.dtype for tally in data}) == 1 and data[0].dtype.kind in "iuf":
        found = infer([tally.lone() for tally in data], pixels, edges, str(data[0].dtype))
        if found:
            why = f"Nodata {found[0]:g} is inferred: {found[1]}. Set nodata if that is wrong."
            return found[0], "inferred", "nodata", [why]
    nan = sum(tally.nan for tally in data)
    if nan:
        return math.nan, "inferred", "nodata", [f"Nodata NaN is inferred: {nan:,} values are NaN."]
    return None, None, "none", []


def band_of(
    dataset: rasterio.DatasetReader,
    index: int,
    tally: Tally,
    excluded: float | None,
    declared: Declared,
    names: list[str] | None,
) -> Band:
    """What is known of one band.

    Args:
        excluded: a nodata value that was inferred, which its tally still holds.
    """
    place = index - 1
    color = dataset.colorinterp[place]
    dtype = dataset.dtypes[place]
    is_complex = "complex" in dtype
    alone = None if index == declared.alpha else excluded
    bits = dataset.tags(index, ns="IMAGE_STRUCTURE").get("NBITS")
    return Band(
        index=index,
        name=names[place] if names else dataset.descriptions[place],
        dtype=dtype,
        color=color.name,
        nodata=dataset.nodatavals[place],
        scale=dataset.scales[place],
        offset=dataset.offsets[place],
        unit=dataset.units[place] or None,
        statistics=Statistics(tally.valid) if is_complex else tally.statistics(alone),
        colormap=_colormap(dataset, index) if color == ColorInterp.palette else None,
        classes=tally.classes(alone) if tally.dtype.kind in "iu" else None,
        significant_bits=int(bits) if bits else None,
    )


def _colormap(dataset: rasterio.DatasetReader, index: int) -> Colormap | None:
    try:
        return tuple(sorted(dataset.colormap(index).items()))
    except ValueError:  # said to be a palette, and has no colours
        return None


def compression_of(dataset: rasterio.DatasetReader) -> str | None:
    """As GDAL names it; `YCbCr JPEG` is JPEG."""
    named = dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION")
    return named.rpartition(" ")[2] if named else None


def _is_cog(opened: Opened) -> bool:
    if opened.driver != "GTiff":
        return False
    valid, _, _ = cog_validate(opened.dataset.name, strict=True, quiet=True)
    return bool(valid)


def tags_of(dataset: rasterio.DatasetReader) -> tuple[tuple[str, str], ...]:
    """Tags of a dataset that are worth keeping."""
    kept = [
        (key, value)
        for key, value in sorted(dataset.tags().items())
        if not key.startswith(_PASSING_TAGS) and len(value) <= MAX_TAG_LENGTH
    ]
    return tuple(kept[:MAX_TAGS])
