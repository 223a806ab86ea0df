"""Which files are one shapefile: the siblings of a `.shp`, by their names alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from geo_etl.errors import SourceError

MAIN = "shp"
SIBLINGS = frozenset(
    "shx dbf prj cpg cst qpj qmd sbn sbx fbn fbx ain aih ixs mxs atx qix shp.xml".split()
)
"""What may lie beside a `.shp`, without the first dot.

From ESRI's list of shapefile file extensions; .qpj, .qmd and .qix are written by QGIS and
MapServer, .cst by GeoTools.
"""
T = TypeVar("T")


def split_name(path: str) -> tuple[str, str] | None:
    """Stem (with its folder) and role of a file that may be part of a shapefile; else None.

    The role is the extension in lower case: `shp` or one of `SIBLINGS`.
    """
    lower = path.lower()
    stem, dot, role = path.rpartition(".")
    if lower.endswith(".shp.xml"):
        stem, role = path[:-8], "shp.xml"
    role = role.lower()
    named = dot and stem and not stem.endswith("/")
    return (stem, role) if named and (role == MAIN or role in SIBLINGS) else None


def is_shapefile(path: str) -> bool:
    """Whether a name is that of a shapefile's main file."""
    return path.lower().endswith(f".{MAIN}")


def group(shp: str, names: Iterable[tuple[str, T]]) -> dict[str, T]:
    """The files of one shapefile by role, the `.shp` itself first.

    Args:
        shp: path of the `.shp`.
        names: paths of files that may belong to it, each with what it stands for.

    Raises:
        SourceError: two files have the same role (`a.dbf` and `a.DBF`).
    """
    found: dict[str, tuple[str, T]] = {}
    for path, file in sorted(names, key=lambda pair: pair[0]):
        parts = split_name(path)
        if parts is None or parts[0] != shp[:-4] or (parts[1] == MAIN and path != shp):
            continue
        if parts[1] in found:
            raise SourceError(
                shp,
                f"it has two files for one thing: '{found[parts[1]][0]}' and '{path}'",
                "Remove the one that does not belong to it.",
            )
        found[parts[1]] = (path, file)
    return {role: found[role][1] for role in sorted(found, key=lambda role: (role != MAIN, role))}


def group_of(path: Path) -> dict[str, Path]:
    """The files beside a local `.shp` that belong to it, by role.

    Raises:
        SourceError: two files have the same role.
    """
    beside = ((str(file), file) for file in path.parent.iterdir())
    return {**group(str(path), beside), MAIN: path}
