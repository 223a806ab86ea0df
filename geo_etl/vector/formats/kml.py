"""KML (OGC 07-147r2), with Google's extensions. Always in WGS 84, longitude before latitude."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.kml_attributes import Key, values_of
from geo_etl.vector.formats.kml_columns import FOLDER, Column, Survey
from geo_etl.vector.formats.kml_contents import LISTED_FOLDERS, Contents, Placemark
from geo_etl.vector.formats.kml_document import ByteStream, read_placemarks
from geo_etl.vector.formats.kml_geometry import UnreadableGeometryError, wkb_of
from geo_etl.vector.formats.layer import (
    BATCH_BYTES,
    FID,
    GEOMETRY,
    MAX_BATCH_ROWS,
    PROBLEM,
    Layer,
)
from geo_etl.vector.formats.limits import check_feature_limit

CRS = "EPSG:4326"
MAX_BATCH_CELLS = 8_000_000
"""Of one batch: placemarks may have few of very many columns."""

Opener = Callable[[], AbstractContextManager[ByteStream]]


@dataclass(frozen=True, kw_only=True)
class KmlLayer(Layer):
    """The placemarks of a document, or of some of its folders.

    Attributes:
        source: what to call it in messages.
        open_document: gives the document's bytes.
        contents: what a first reading found.
        columns: of the attributes.
        folders: whether there is a column with the folder.
        wanted: name or path of the folders to read; None for all.
        encoding: of the text, where the document does not declare it, or wrongly.
    """

    source: str
    open_document: Opener
    contents: Contents
    columns: list[Column]
    folders: bool
    wanted: str | None
    encoding: str | None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`. `FID` is the placemark's position in the file, from 1."""
        rows = max(64, min(MAX_BATCH_ROWS, MAX_BATCH_CELLS // (len(self.columns) + 1)))
        batch = _Batch(self)
        for placemark in self.placemarks():
            batch.add(placemark)
            if len(batch.fids) == rows or batch.bytes > BATCH_BYTES:
                yield batch.arrow()
                batch = _Batch(self)
        if batch.fids:
            yield batch.arrow()

    def placemarks(self) -> Iterator[Placemark]:
        """Read the document once more."""
        with self.open_document() as stream:
            yield from read_placemarks(
                stream,
                self.source,
                Contents(late=dict(self.contents.late)),
                wanted=self.wanted,
                encoding=self.encoding,
            )


class _Batch:
    """Features on their way into one record batch."""

    def __init__(self, layer: KmlLayer) -> None:
        self.bytes = 0
        self.fids: list[int] = []
        self._layer = layer
        self._folders: list[str | None] = []
        self._wkb: list[bytes | None] = []
        self._problems: list[str | None] = []
        self._cells: dict[Key, tuple[list[int], list[str]]] = {
            column.key: ([], []) for column in layer.columns
        }

    def add(self, placemark: Placemark) -> None:
        row, element = len(self.fids), placemark.element
        wkb = problem = None
        try:
            wkb = wkb_of(element)
        except UnreadableGeometryError as error:
            problem = str(error)
        self.fids.append(placemark.number)
        self._folders.append(placemark.folder)
        self._wkb.append(wkb)
        self._problems.append(problem)
        self.bytes += 16 + len(wkb or b"") + len(placemark.folder or "")
        for key, text, _ in values_of(element, self._layer.contents.fields.get(element.tag, ())):
            rows, texts = self._cells[key]
            rows.append(row)
            texts.append(text)
            self.bytes += len(text)

    def arrow(self) -> pa.RecordBatch:
        arrays = {FID: pa.array(self.fids, pa.int64())}
        if self._layer.folders:
            arrays[FOLDER] = pa.array(self._folders, pa.string())
        for column in self._layer.columns:
            texts: list[str | None] = [None] * len(self.fids)
            for row, text in zip(*self._cells[column.key], strict=True):
                texts[row] = text
            arrays[column.name] = column.array(texts)
        arrays[GEOMETRY] = pa.array(self._wkb, pa.binary())
        arrays[PROBLEM] = pa.array(self._problems, pa.string())
        return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def open_kml(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Open a KML document.

    All folders are one layer, unless `converter_params.layer_name` names one of them.

    Raises:
        SourceError: no KML, not readable to its end, no such folder, no placemark.
    """
    return open_document(partial(_opened, path), name, spec, "KML", path.stat().st_size, [])


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def open_document(
    opener: Opener,
    name: str,
    spec: VectorSpec,
    format: str,  # noqa: A002 - as the field
    size: int,
    remarks: list[str],
) -> KmlLayer:
    """Read a document once, for its columns and what else it holds.

    Args:
        opener: gives the document's bytes.
        size: of the source, in bytes.
        remarks: that there are already.

    Raises:
        SourceError: see `open_kml`.
    """
    wanted, contents = spec.converter_params.layer_name, Contents()
    while True:
        known = len(contents.late)
        contents = Contents(late=contents.late)
        survey, features, kinds = Survey(name), 0, Counter[str]()
        with opener() as stream:
            for placemark in read_placemarks(
                stream, name, contents, wanted=wanted, encoding=spec.converter_params.encoding
            ):
                features += 1
                check_feature_limit(name, features, spec)
                _look_at(placemark, contents, survey, kinds)
        if len(contents.late) == known:
            break
    if wanted is not None and not contents.matches:
        raise _no_such_folder(name, wanted, contents)
    if not features:
        raise _nothing(name, contents, remarks)
    columns, said = survey.columns(contents.fields)
    return KmlLayer(
        format=format,
        name=wanted or contents.title or Path(name).stem,
        crs=CRS,
        feature_count=features,
        bytes=size,
        remarks=[*remarks, *_remarks(contents, kinds, wanted), *said],
        source=name,
        open_document=opener,
        contents=contents,
        columns=columns,
        folders=survey.folders,
        wanted=wanted,
        encoding=spec.converter_params.encoding,
    )


def _look_at(placemark: Placemark, contents: Contents, survey: Survey, kinds: Counter[str]) -> None:
    element = placemark.element
    survey.folders |= placemark.folder is not None
    for key, text, schema in values_of(element, contents.fields.get(element.tag, ())):
        survey.add(key, text, schema)
    for kind in ("Track", "Model", "SimpleArrayData"):
        kinds[kind] += next(element.iter(kind), None) is not None


def _no_such_folder(name: str, wanted: str, contents: Contents) -> SourceError:
    listed = ", ".join(f"'{folder}'" for folder in contents.folders)
    if len(contents.folders) == LISTED_FOLDERS:
        listed += " and more"
    return SourceError(
        name,
        f"it has no folder '{wanted}'",
        f"Set converter_params.layer_name to one of: {listed}."
        if listed
        else "None of its folders has a name: leave converter_params.layer_name out.",
    )


def _nothing(name: str, contents: Contents, remarks: list[str]) -> SourceError:
    others = f" ({_listed(contents.skipped)}; links are never followed)" if contents.skipped else ""
    return SourceError(
        name,
        f"its layer has no features: no Placemark is in it{others}",
        " ".join(["Deliver a file that holds the placemarks themselves.", *remarks]),
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def _remarks(contents: Contents, kinds: Counter[str], wanted: str | None) -> list[str]:
    remarks = []
    if contents.skipped:
        remarks.append(
            f"Not features, so not loaded: {_listed(contents.skipped)}. Links are never followed."
        )
    if contents.misplaced:
        remarks.append(
            f"{contents.misplaced} placemarks were not loaded: they stand where KML has none."
        )
    if contents.matches > 1:
        remarks.append(f"{contents.matches} folders are called '{wanted}'; all were read.")
    if kinds["Track"] or kinds["SimpleArrayData"]:
        remarks.append(
            f"Tracks of {max(kinds['Track'], kinds['SimpleArrayData'])} placemarks became lines; "
            "the times and values along them were not kept."
        )
    if kinds["Model"]:
        remarks.append(f"3D models of {kinds['Model']} placemarks became points: their locations.")
    return remarks
