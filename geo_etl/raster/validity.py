"""What a file, or its spec, says about which of its pixels are valid."""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError

from geo_etl.errors import SourceError, SpecError
from geo_etl.ingest.scratch import scratch_folder
from geo_etl.raster.facts import Validity
from geo_etl.raster.nodata import fits_type
from geo_etl.spec import RasterSpec

LARGEST_EXACT = 2**53
"""Up to which every whole number is a float of 64 bits too."""
_WIDE = {"int64", "uint64"}
_NODATA = re.compile(r"<NoDataValue>([^<]+)</NoDataValue>")


@dataclass(frozen=True)
class Declared:
    """What is said before any pixel is read.

    Attributes:
        alpha: index of the alpha band.
    """

    validity: Validity
    nodata: float | None
    nodata_from: Literal["declared", "spec"] | None
    alpha: int | None
    warnings: tuple[str, ...]

    @property
    def may_be_inferred(self) -> bool:
        """Whether nothing is said."""
        return self.validity == "none"

    def differs(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which values are not nodata; of complex numbers the real part tells, as in GDAL."""
        assert self.nodata is not None
        real = values.real if values.dtype.kind == "c" else values
        different: NDArray[np.bool_] = (
            ~np.isnan(real) if math.isnan(self.nodata) else real != real.dtype.type(self.nodata)
        )
        return different


def declared_validity(dataset: rasterio.DatasetReader, name: str, spec: RasterSpec) -> Declared:
    """What the file says, in GDAL's order: mask, nodata, alpha; a nodata value of the spec first.

    Raises:
        SourceError: its bands have different nodata values.
        SpecError: no pixel can have the nodata value of the spec.
    """
    alpha = next(
        (
            index
            for index, color in zip(dataset.indexes, dataset.colorinterp, strict=True)
            if color == ColorInterp.alpha
        ),
        None,
    )
    first = next((index for index in dataset.indexes if index != alpha), 1)
    if spec.nodata is not None:
        _check_spec(dataset, name, spec.nodata)
        return Declared("nodata", spec.nodata, "spec", alpha, ())
    flags = set(dataset.mask_flag_enums[first - 1])
    nodata = dataset.nodatavals[first - 1]
    if MaskFlags.per_dataset in flags:
        warnings = (
            (f"Its nodata value {nodata:g} is left aside: its mask tells.",)
            if nodata is not None
            else ()
        )
        is_alpha = MaskFlags.alpha in flags
        return Declared("alpha" if is_alpha else "mask", None, None, alpha, warnings)
    _check_exact(dataset, name)
    if MaskFlags.nodata in flags and nodata is not None:
        _check_one(dataset, name, alpha)
        dtype = dataset.dtypes[first - 1]
        if not fits_type(nodata, dtype):  # GDAL would take 1.5 for 1
            return Declared("none", None, None, alpha, _no_pixel_has(nodata, dtype))
        return Declared("nodata", nodata, "declared", alpha, ())
    return Declared("none", None, None, alpha, _impossible(dataset))


def _check_spec(dataset: rasterio.DatasetReader, name: str, nodata: float) -> None:
    unfit = next((dtype for dtype in dataset.dtypes if not fits_type(nodata, dtype)), None)
    if unfit is not None:
        raise SpecError(
            name,
            f"nodata is {nodata:g}, which no pixel of type {unfit} can have",
            "Correct nodata in the spec.",
        )
    if _WIDE & set(dataset.dtypes) and abs(nodata) > LARGEST_EXACT:
        raise SpecError(
            name,
            f"nodata is {nodata:.0f}, which can't be told from its neighbours",
            f"Give these pixels a value between -{LARGEST_EXACT} and {LARGEST_EXACT}.",
        )


def _check_one(dataset: rasterio.DatasetReader, name: str, alpha: int | None) -> None:
    values = {
        "none" if value is None else f"{value:g}"
        for index, value in zip(dataset.indexes, dataset.nodatavals, strict=True)
        if index != alpha
    }
    if len(values) > 1:
        raise SourceError(
            name,
            f"its bands declare different nodata values: {', '.join(sorted(values))}",
            "Give them one, or set nodata in the spec.",
        )


def _impossible(dataset: rasterio.DatasetReader) -> tuple[str, ...]:
    """A warning about a nodata value of a GeoTIFF that its type can't hold.

    rasterio does not give such a value; GDAL writes it into a VRT.
    """
    if dataset.driver != "GTiff" or dataset.nodata is not None:
        return ()
    written = _written(dataset)
    return () if written is None else _no_pixel_has(float(written), dataset.dtypes[0])


def _no_pixel_has(nodata: float, dtype: str) -> tuple[str, ...]:
    return (
        f"It declares the nodata value {nodata:g}, which no pixel of type {dtype} can have: "
        "every pixel is valid. Set nodata if that is wrong.",
    )


def _check_exact(dataset: rasterio.DatasetReader, name: str) -> None:
    """Refuse a nodata value of 64-bit integers that is another as a float, as rasterio has it."""
    if not _WIDE & set(dataset.dtypes):
        return
    written = _written(dataset)
    if written is not None and written.lstrip("-").isdigit() and abs(int(written)) > LARGEST_EXACT:
        raise SourceError(
            name,
            f"its nodata value {written} is too large to be told from its neighbours",
            f"Give these pixels a value between -{LARGEST_EXACT} and {LARGEST_EXACT}, and declare "
            "that.",
        )


def _written(dataset: rasterio.DatasetReader) -> str | None:
    """The nodata value with all digits, as GDAL writes it into a VRT; None without."""
    with scratch_folder() as folder:
        description = folder / "header.vrt"
        try:
            rasterio.shutil.copy(dataset, description, driver="VRT")
        except (RasterioError, CPLE_BaseError):
            return None
        found = _NODATA.search(description.read_text(errors="replace"))
    return None if found is None else found.group(1).strip()
