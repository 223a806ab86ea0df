"""Which files are one source: a `.shp` or a raster with its siblings, by their names alone."""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from geo_etl.errors import SourceError
from geo_etl.ingest.kinds import VECTOR_EXTENSIONS

MAIN = "shp"
SHAPEFILE = frozenset(
    "shx dbf prj cpg cst qpj qmd sbn sbx fbn fbx ain aih ixs mxs atx qix shp.xml".split()
)
"""What may lie beside a `.shp`, without the first dot.

From ESRI's list of shapefile file extensions; .qpj, .qmd and .qix are written by QGIS and
MapServer, .cst by GeoTools.
"""
_NO_WORLD_FILE = frozenset(("img", "nc", "hgt"))
_NEEDS_GEOREFERENCE = frozenset(("png", "jpg", "jpeg"))
"""Raster formats whose own content never says where they are."""
_AFTER_WHOLE_NAME = (".shp.xml", ".aux.xml", ".msk")
T = TypeVar("T")


def split_name(path: str) -> tuple[str, str]:
    """Stem (with its folder) and role of a file.

    The role is what follows the stem in lower case, without the first dot: `tif`, `tfw`,
    `tif.aux.xml`; empty for a name without an extension.
    """
    lower, inner, end = path.lower(), path, ""
    for suffix in _AFTER_WHOLE_NAME:
        if lower.endswith(suffix):
            keep = 4 if suffix == ".shp.xml" else 0  # its .shp is the extension
            inner, end = path[: keep - len(suffix)], lower[keep - len(suffix) :]
            break
    stem, dot, extension = inner.rpartition(".")
    if not dot or not stem or stem.endswith("/") or "/" in extension:
        return path, ""
    return stem, extension.lower() + end


def is_shapefile(path: str) -> bool:
    """Whether a name is that of a shapefile's main file."""
    return path.lower().endswith(f".{MAIN}")


@cache
def sibling_roles(role: str) -> frozenset[str]:
    """Roles of the files that may lie beside a main file of a role.

    Beside a raster that is what GDAL looks for: a world file (named by the first and last letter
    of the extension and `w`, by the extension and `w`, or `.wld`), `NAME.EXT.aux.xml` and
    `NAME.EXT.msk`; and a `.prj`. Overviews beside it (`.ovr`) are none of its data.
    """
    if role == MAIN:
        return SHAPEFILE
    if not role or role in VECTOR_EXTENSIONS:
        return frozenset()
    return frozenset(("prj", f"{role}.aux.xml", f"{role}.msk", *world_files(role)))


@cache
def world_files(role: str) -> tuple[str, ...]:
    """Roles of the world files of a raster, none where GDAL reads none."""
    if role in _NO_WORLD_FILE:
        return ()
    return f"{role[0]}{role[-1]}w", f"{role}w", "wld"


def has_georeference(path: str, roles: Collection[str]) -> bool:
    """Whether a raster has a file beside it that says where it is.

    Args:
        roles: of the files that lie beside it.
    """
    role = split_name(path)[1]
    return any(other in roles for other in (*world_files(role), f"{role}.aux.xml"))


def lacks_part(path: str, roles: Collection[str]) -> bool:
    """Whether a source can't be read yet: a `.shp` without `.dbf`, a picture without world file.

    Args:
        roles: of its parts.
    """
    if is_shapefile(path):
        return "dbf" not in roles
    return split_name(path)[1] in _NEEDS_GEOREFERENCE and not has_georeference(path, roles)


def group(main: str, names: Iterable[tuple[str, T]]) -> dict[str, T]:
    """The files of one source by role, its main file first.

    Args:
        main: path of the `.shp` or raster.
        names: paths of files that may belong to it, each with what it stands for.

    Raises:
        SourceError: two files have the same role (`a.dbf` and `a.DBF`).
    """
    stem, own = split_name(main)
    roles, found = sibling_roles(own), dict[str, tuple[str, T]]()
    for path, file in sorted(names, key=lambda pair: pair[0]):
        other, role = split_name(path)
        if path != main and (other != stem or role not in roles):
            continue
        if role in found:
            raise SourceError(
                main,
                f"it has two files for one thing: '{found[role][0]}' and '{path}'",
                "Remove the one that does not belong to it.",
            )
        found[role] = (path, file)
    return {role: found[role][1] for role in sorted(found, key=lambda role: (role != own, role))}


def group_of(path: Path, beside: Sequence[Path] | None = None) -> dict[str, Path]:
    """A local file with the files beside it that belong to it, by role; the file itself first.

    Args:
        beside: files of its folder, where they are known.

    Raises:
        SourceError: two files have the same role.
    """
    own = split_name(str(path))[1]
    files = list(path.parent.iterdir()) if beside is None else beside
    return {own: path, **group(str(path), ((str(file), file) for file in files))}
