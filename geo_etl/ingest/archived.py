"""What a zip archive is, vector or raster, by the names of its files."""

from collections import defaultdict
from collections.abc import Sequence

from geo_etl.errors import SourceError
from geo_etl.ingest.kinds import ARCHIVE, Kind, extension_of, kind_of
from geo_etl.ingest.siblings import has_georeference, split_name

_DESCRIPTIONS = frozenset("json csv tsv kml".split())
"""Vector formats in which rasters often come with a description or an outline."""
_PICTURES = frozenset(("png", "jpg", "jpeg"))
"""Raster formats in which vectors often come with a preview; one with a world file is data."""


def kind_of_archive(name: str, members: Sequence[str]) -> Kind:
    """What an archive is.

    A picture beside vectors is their preview, and a table or outline beside a raster its
    description. An archive with neither counts as vector: that side says what is wrong with it.

    Args:
        name: what to call the archive in messages.
        members: paths of its files.

    Raises:
        SourceError: it holds both.
    """
    roles: dict[str, set[str]] = defaultdict(set)
    for path in members:
        stem, role = split_name(path)
        roles[stem].add(role)
    data: dict[Kind, str] = {}
    beside: dict[Kind, str] = {}
    for path in members:
        kind, extension = kind_of(path), extension_of(path)
        if kind is None or extension == ARCHIVE:
            continue
        is_preview = extension in _PICTURES and not has_georeference(
            path, roles[split_name(path)[0]]
        )
        (beside if is_preview or extension in _DESCRIPTIONS else data).setdefault(kind, path)
    if len(data) == 2:
        raise SourceError(
            name,
            f"the archive holds vectors and rasters: '{data['vector']}' and '{data['raster']}'",
            "Deliver them apart.",
        )
    if data:
        return next(iter(data))
    return "raster" if list(beside) == ["raster"] else "vector"
