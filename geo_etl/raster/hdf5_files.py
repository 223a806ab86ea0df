"""HDF5 files (NetCDF 4) that name other files: refused before GDAL sees them.

They do so by links, external storage and virtual datasets. Not imported before there is such a
file: h5py starts a program when it is.
"""

import math
from pathlib import Path

import h5py
from h5py import h5d, h5g, h5l, h5o

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged
from geo_etl.raster.limits import check_block

MAX_LINKS = 200_000
MAX_DEPTH = 50
"""Of groups."""


def check_hdf5(path: Path, name: str) -> None:
    """Refuse an HDF5 file that names others, or that has chunks too large for the memory.

    Links are listed, not followed; of a dataset only its creation properties are read.

    Raises:
        SourceError: it does, or it is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            _check_links(file, name)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise damaged(name, f"its HDF5 structure can't be read ({error})") from None


def _check_links(file: h5py.File, name: str) -> None:
    waiting, seen, links = [b""], set[int](), 0
    while waiting:
        place = waiting.pop()
        group = h5o.open(file.id, place or b"/")
        address = h5o.get_info(group).addr
        # Readers of NetCDF go down without an end where groups make a circle, or are very deep.
        if address in seen or place.count(b"/") > MAX_DEPTH:
            raise damaged(name, "its groups lie in each other without an end")
        seen.add(address)
        found = _links_of(group, MAX_LINKS - links)
        links += len(found)
        if links > MAX_LINKS:
            raise damaged(name, f"it has more than {MAX_LINKS:,} links")
        for link, kind in found:
            if kind not in {h5l.TYPE_HARD, h5l.TYPE_SOFT}:
                raise _names_files(name, f"by the link '{link.decode(errors='replace')}'")
        waiting += [
            inner
            for inner in (place + b"/" + link for link, _ in found)
            if _is_group(file, inner, name)
        ]


def _links_of(group: h5g.GroupID, most: int) -> list[tuple[bytes, int]]:
    """Names and types of the links of a group, none of them followed."""
    found: list[tuple[bytes, int]] = []

    def take(link: bytes, info: h5l.LinkInfo) -> bool | None:
        found.append((link, info.type))
        return len(found) > most or None

    group.links.iterate(take, info=True)
    return found


def _is_group(file: h5py.File, place: bytes, name: str) -> bool:
    """Whether a link leads to a group; a variable is looked at."""
    try:
        found = h5o.open(file.id, place)
    except KeyError:  # a soft link to nothing
        return False
    if isinstance(found, h5d.DatasetID):
        properties = found.get_create_plist()
        variable = f"in the variable '{place.decode(errors='replace')}'"
        if properties.get_external_count() or properties.get_layout() == h5d.VIRTUAL:
            raise _names_files(name, variable)
        if properties.get_layout() == h5d.CHUNKED:
            check_block(name, math.prod(properties.get_chunk()) * found.get_type().get_size())
    return isinstance(found, h5g.GroupID)


def _names_files(name: str, where: str) -> SourceError:
    return SourceError(
        name,
        f"it takes data from other files ({where})",
        "Deliver it in one file, for instance by nccopy or as a GeoTIFF.",
    )
