"""GeoJSON (RFC 7946) in all its shapes.

A collection, one feature, one geometry, an array of features, or features that follow one
another, a line each or not (RFC 8142): told apart by their content. GDAL's driver reads most of
it, but in silence changes values (integers beyond 64 bits, members of one name, mixed types) and
takes malformed features for features without a geometry, so the file is parsed here.

One pass over the text learns all: types, bounds, what is wrong; what was read waits in a
temporary file for `batches`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.geojson_columns import ColumnType
from geo_etl.vector.formats.geojson_cutter import Cutter
from geo_etl.vector.formats.geojson_features import check_type, other_json
from geo_etl.vector.formats.geojson_reading import ID, Reading
from geo_etl.vector.formats.geojson_text import (
    BLANK,
    MAX_FRAME,
    Outline,
    Text,
    outline_of,
    too_deep,
)
from geo_etl.vector.formats.layer import FID, GEOMETRY, PROBLEM, Layer, pick
from geo_etl.vector.formats.spool import Spool

DEFAULT_CRS = "EPSG:4326"
"""WGS 84, longitude first (RFC 7946, section 4)."""
_EPSG = re.compile(r"EPSG[:/]+(?:[\d.]*[:/]+)?(\d+)$", re.IGNORECASE)
_CRS84 = re.compile(r"OGC[:/]+(?:[\d.]*[:/]+)?CRS84$", re.IGNORECASE)
_COLLECTION_MEMBERS = frozenset(["type", "features", "crs", "name", "bbox"])


@dataclass(frozen=True, kw_only=True)
class GeoJsonLayer(Layer):
    """Features that were read from JSON.

    Attributes:
        spool: the batches as they were read, each with the columns that it has itself.
        columns: name in the spool → type and name of each attribute.
        with_ids: every feature has an integer as its id; else row numbers serve, from 0.
        with_problems: some feature has a problem.
    """

    spool: Spool
    columns: dict[str, ColumnType]
    with_ids: bool
    with_problems: bool

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`."""
        start = 0
        for read in self.spool:
            own = dict(zip(read.schema.names, read.columns, strict=True))
            rows = pa.array(np.arange(start, start + read.num_rows))
            start += read.num_rows
            arrays = {FID: own[ID] if self.with_ids else rows}
            for name, column in self.columns.items():
                arrays[column.name] = column.settle(own.get(name), read.num_rows)
            if self.with_problems:
                arrays[PROBLEM] = own[PROBLEM]
            arrays[GEOMETRY] = own[GEOMETRY]
            yield pa.RecordBatch.from_pydict(arrays)


def open_geojson(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Read a GeoJSON file.

    Raises:
        SourceError: it is no GeoJSON, is damaged, or has more than a table can take.
    """
    text = Text.of(path, name, spec.converter_params.encoding)
    outline = outline_of(text)
    members = dict(outline.members)
    if outline.shape == "sequence" and "type" in members:
        check_type(name, members)
    cutter = Cutter(text, outline)
    reading = Reading(name, spec)
    for pieces in cutter.pieces():
        reading.add(text, pieces)
    if cutter.end is not None:
        _add_members_after(text, outline, cutter.end, members)
    layer_name = path.stem
    if outline.shape == "collection":
        _conclude_collection(name, reading, members)
        if isinstance(members.get("name"), str):
            layer_name = members["name"] or layer_name
    pick(name, {layer_name: None}, spec.converter_params.layer_name)
    return GeoJsonLayer(
        format="GeoJSON",
        name=layer_name,
        crs=spec.converter_params.source_crs or _declared_crs(name, reading.crs),
        feature_count=reading.rows,
        bytes=path.stat().st_size,
        bounds=reading.bounds(),
        encoding_declared=text.encoding.startswith("utf"),
        remarks=reading.remarks(),
        spool=reading.spool,
        columns=reading.columns(),
        with_ids=reading.with_integer_ids,
        with_problems=reading.problems > 0,
    )


def _add_members_after(text: Text, outline: Outline, end: int, members: dict[str, Any]) -> None:
    """Read what comes after the features of a collection, or after an array: nothing there."""
    rest = text.part(end, MAX_FRAME)
    if outline.shape == "array":
        if rest.strip(BLANK):
            raise text.broken(end, "something follows the end of its array")
        return
    opening = b'{"":0'
    try:
        after = json.loads((opening + rest).decode())
    except json.JSONDecodeError as error:
        at = end + len(error.doc[: error.pos].encode()) - len(opening)
        raise text.broken(at, f"it is no JSON, or cut off ({error.msg})") from None
    except UnicodeDecodeError as error:
        at = end + error.start - len(opening)
        raise text.broken(at, f"its text is not {text.encoding}") from None
    except RecursionError:
        raise too_deep(text, end) from None
    del after[""]
    for name in after:
        if name in members or name == "features":
            raise damaged(text.name, f"its collection has '{name}' twice")
    members |= after


def _conclude_collection(name: str, reading: Reading, members: dict[str, Any]) -> None:
    """Look at the members that a collection has beside its features."""
    if members.get("type") != "FeatureCollection":
        raise other_json(name, members)
    reading.foreign |= members.keys() - _COLLECTION_MEMBERS
    if "crs" in members:
        reading.add_crs(members["crs"])


def _declared_crs(name: str, declared: list[Any]) -> str | None:
    """The CRS that `crs` members mean, as in the format's first edition (2008, section 3).

    Coordinates are in x/y order whatever the CRS says, as GDAL has it too. Null means that
    nobody knows; links are not followed.
    """
    if not declared:
        return DEFAULT_CRS
    if len(declared) > 1:
        raise SourceError(
            name, "its features declare different CRSs", "Deliver a file for each CRS."
        )
    (crs,) = declared
    match crs:
        case None:
            return None
        case {"type": "name", "properties": {"name": str(said)}}:
            if _CRS84.search(said):
                return DEFAULT_CRS
            code = _EPSG.search(said)
            return f"EPSG:{code[1]}" if code else said
        case {"type": "EPSG", "properties": {"code": int(code)}}:
            return f"EPSG:{code}"
    raise SourceError(
        name,
        f"its crs member names no CRS: {json.dumps(crs)[:200]}",
        "Set converter_params.source_crs.",
    )
