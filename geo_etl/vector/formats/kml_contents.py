"""What comes out of a KML document."""

from collections import Counter
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

LISTED_FOLDERS = 30


@dataclass(frozen=True)
class Placemark:
    """One feature.

    Attributes:
        number: of the placemark in the file, from 1.
        folder: names of the folders it lies in, joined by `/`; None outside of all.
        element: its XML; tags are local names. Its own may be one that a schema derives from
            Placemark.
    """

    number: int
    folder: str | None
    element: Element


@dataclass
class Contents:
    """What a document holds beside its placemarks. Complete when it was read to its end.

    Attributes:
        title: name of the outermost Document.
        fields: schema (by its id and by its name) → field → declared type.
        skipped: number of elements that are no features, by their name.
        misplaced: placemarks where KML has none.
        folders: paths of the first folders, as far as they have names.
        matches: number of folders that are the wanted one.
        late: names that came after the placemarks of their folder, by the folder's number.
    """

    title: str | None = None
    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    misplaced: int = 0
    folders: list[str] = field(default_factory=list)
    matches: int = 0
    late: dict[int, str] = field(default_factory=dict)
