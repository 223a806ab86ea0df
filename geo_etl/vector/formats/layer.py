"""What every format gives: one layer of a source, as batches of features."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from geo_etl.errors import SourceError

# Named from Unicode's private use area, so that no attribute has the same name.
GEOMETRY = "\ue000geometry"
"""Name of the WKB column (binary) in the batches of a layer; null: the feature has none."""
FID = "\ue000fid"
"""Name of the column with the source's own feature id (int64)."""
PROBLEM = "\ue000problem"
"""Name of an optional column (string): why a feature can't be loaded; null: nothing is wrong."""
OWN_COLUMNS = frozenset([GEOMETRY, FID, PROBLEM])

BATCH_BYTES = 16_000_000
MAX_BATCH_ROWS = 65_536

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """One readable layer of a source.

    Attributes:
        format: the format's name, for people.
        name: the layer's own name.
        crs: `AUTH:CODE`, or WKT where the CRS has no code; None when nothing declares it.
        feature_count: as the source declares it; -1 when it can't tell without reading all.
        bytes: size of the source.
        bounds: xmin, ymin, xmax, ymax in the source's CRS, where the format knows them.
        crs_declared, encoding_declared: whether the source says it itself.
        remarks: what a person should know, for the result's warnings. Complete when the last
            batch was read.
    """

    format: str
    name: str
    crs: str | None
    feature_count: int = -1
    bytes: int = 0
    bounds: tuple[float, float, float, float] | None = None
    crs_declared: bool = True
    encoding_declared: bool = True
    remarks: list[str] = field(default_factory=list)

    @abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read all features, once: the attributes as the source names them, plus `FID`, `GEOMETRY`.

        All batches have one schema. A feature that can't be read as it stands comes with its
        reason in `PROBLEM` and what there is of its attributes.

        Raises:
            SourceError: the file turns out unreadable on the way.
        """

    def check_complete(self, features: int) -> None:  # noqa: B027 - most formats need none
        """Compare the features that came out with what the source declares; adds remarks.

        Raises:
            SourceError: the file is damaged.
        """


def pick(name: str, layers: Mapping[str, T], wanted: str | None) -> tuple[str, T]:
    """The one layer that is meant, by its name.

    Raises:
        SourceError: there is none, or no such layer, or several and none is named.
    """
    listed = ", ".join(f"'{layer}'" for layer in layers)
    if not layers:
        raise SourceError(
            name, "it has no layer with geometries", "Deliver a file with a spatial layer."
        )
    if wanted is not None and wanted not in layers:
        raise SourceError(
            name,
            f"it has no layer '{wanted}'",
            f"Set converter_params.layer_name to one of: {listed}.",
        )
    if wanted is None and len(layers) > 1:
        raise SourceError(
            name,
            f"it has {len(layers)} layers and the spec names none",
            f"Set converter_params.layer_name to one of: {listed}.",
        )
    chosen = wanted if wanted is not None else next(iter(layers))
    return chosen, layers[chosen]
