"""Which variable of a NetCDF is the raster."""

import re
from dataclasses import dataclass
from pathlib import Path

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geo_etl.errors import SourceError, SpecError
from geo_etl.ingest.refusals import damaged
from geo_etl.raster.gdal import handle
from geo_etl.spec import RasterSpec

DRIVER = "netCDF"
_SHAPE = re.compile(r"^\[([0-9x]+)\] ")
_LISTED = 20


@dataclass(frozen=True)
class _Variable:
    name: str
    shape: tuple[int, ...]

    @property
    def is_bounds(self) -> bool:
        """Whether it holds the edges of cells of another one (CF conventions, 7.1)."""
        return self.shape[-1:] == (2,) or self.name.endswith(("_bnds", "_bounds"))


def choose_variable(path: Path, name: str, spec: RasterSpec) -> tuple[str, str | None, list[str]]:
    """What GDAL is to open, the variable where there are several, and what was decided.

    Raises:
        SourceError: unreadable, no raster in it, or several and none named.
        SpecError: it has no such variable.
    """
    try:
        with handle(str(path), DRIVER) as dataset:
            variables = _variables(dataset.tags(ns="SUBDATASETS"), path)
            only = dataset.tags(1).get("NETCDF_VARNAME") if dataset.count else None
    except (RasterioError, CPLE_BaseError) as error:
        said = str(error).replace(str(path), "it")
        raise damaged(name, f"it can't be read as a NetCDF ({said})") from None
    names = [variable.name for variable in variables] or ([only] if only else [])
    if not names:
        raise SourceError(
            name, "it holds no variable with two dimensions or more", "Deliver a raster."
        )
    if spec.subdataset is not None:
        if spec.subdataset not in names:
            raise SpecError(
                name,
                f"it has no variable '{spec.subdataset}'",
                f"Set subdataset to one of: {_listed(names)}.",
            )
        return _document(path, spec.subdataset, variables), spec.subdataset, []
    if not variables:
        return str(path), None, []
    data = [variable for variable in variables if not variable.is_bounds]
    if len(data) != 1:
        raise SourceError(
            name,
            f"it holds {len(names)} variables: {_listed(names)}",
            "Set subdataset in the spec to one of them.",
        )
    chosen = data[0].name
    others = _listed([variable.name for variable in variables if variable.is_bounds])
    remark = f"Of its variables, '{chosen}' is read; {others} hold bounds of cells."
    return _document(path, chosen, variables), chosen, [remark]


def _variables(tags: dict[str, str], path: Path) -> list[_Variable]:
    found = []
    for key, document in tags.items():
        number = key.removeprefix("SUBDATASET_").removesuffix("_NAME")
        if key.endswith("_NAME") and number.isdigit():
            variable = document.removeprefix(f'NETCDF:"{path}":')
            shape = _SHAPE.match(tags.get(f"SUBDATASET_{number}_DESC", ""))
            sizes = tuple(map(int, shape.group(1).split("x"))) if shape else ()
            found.append(_Variable(variable, sizes))
    return found


def _document(path: Path, variable: str, variables: list[_Variable]) -> str:
    return f'NETCDF:"{path}":{variable}' if variables else str(path)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
