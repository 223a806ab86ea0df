"""Erdas Imagine files that name other files: refused before GDAL sees them."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged

MAX_NODES = 200_000
"""Of the tree in a file."""
_NODE = struct.Struct("<6i64s32s")
_NAMES_FILES = frozenset(("externalrasterdms", "dependentfile"))
"""Nodes that GDAL looks for by name: pixels, or all of a file, elsewhere."""
_OVERVIEWS = "rrdnameslist"
"""The node with the names of overviews: harmless where they lie beside the file, for there is
nothing."""


def check_imagine(path: Path, name: str) -> None:
    """Refuse an Erdas Imagine file whose pixels are in another file.

    The layout is that of "Imagine (.img) Format", GDAL's iimgf: a header of 16 bytes, the address
    of an `Ehfa_File`, in it the address of the root of a tree of `Ehfa_Entry` (128 bytes).

    Raises:
        SourceError: it is, or it is damaged.
    """
    with path.open("rb") as file:
        for node, content in _nodes(file, name):
            leads_away = node.lower() == _OVERVIEWS and (b"/" in content or b"\\" in content)
            if node.lower() in _NAMES_FILES or leads_away:
                raise SourceError(
                    name,
                    f"it keeps pixels in another file ({node})",
                    "Deliver it in one file, for instance as a GeoTIFF.",
                )


def _nodes(file: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each node of an Imagine file."""
    (header,) = _unpack(file, 16, struct.Struct("<i"), name)
    _, _, root = _unpack(file, header, struct.Struct("<3i"), name)
    waiting, seen = [root], set[int]()
    while waiting:
        address = waiting.pop()
        if address == 0 or address in seen:
            continue
        seen.add(address)
        if len(seen) > MAX_NODES:
            raise damaged(name, f"its tree has more than {MAX_NODES:,} nodes")
        following, _, _, child, data, size, node, _ = _unpack(file, address, _NODE, name)
        waiting += [following, child]
        file.seek(max(data, 0))
        content = file.read(min(max(size, 0), 100_000))
        yield node.partition(b"\0")[0].decode("latin-1"), content


def _unpack(file: BinaryIO, address: int, layout: struct.Struct, name: str) -> tuple[Any, ...]:
    octets = b""
    if address >= 0:
        file.seek(address)
        octets = file.read(layout.size)
    if len(octets) < layout.size:
        raise damaged(name, "its tree leads outside the file")
    return layout.unpack(octets)
