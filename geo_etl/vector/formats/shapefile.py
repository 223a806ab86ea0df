"""Shapefiles: geometries by GDAL, attributes by `dbf`, features by their common number.

GDAL gets to see the `.shp`, its checked index and the `.prj`, in a folder of their own. One path
serves loose shapefiles and those in an archive.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import check_size, damaged
from geo_etl.ingest.siblings import group_of
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.dbf import DELETED, open_table
from geo_etl.vector.formats.dbf_plan import TablePlan, plan_table
from geo_etl.vector.formats.layer import FID, GEOMETRY, PROBLEM, Layer, pick
from geo_etl.vector.formats.limits import check_feature_limit
from geo_etl.vector.formats.ogr import OgrLayer
from geo_etl.vector.formats.shp_index import Records, find_records, read_shp_header, unread
from geo_etl.vector.formats.work import WorkFolder
from geo_etl.vector.wkb import COLLECTION, wkb_types

MAX_CPG_BYTES = 1000
UNREADABLE = "its geometry is damaged in the .shp"
SURFACES = (COLLECTION, 15, 16, 17)
"""WKB types of what GDAL makes of a multipatch: polyhedral surface, TIN, triangle, or several."""
SURFACE = "its geometry is a surface in space (multipatch), which a 2D table can't have"
OPEN_RING = "Rings of some polygons do not end where they begin."
_HANDLED = re.compile(r"GDAL: (Measured \(M\) geometry|Non closed ring)")
"""What GDAL says of M values, which concerns nobody since tables are 2D, and of such rings."""
_OPEN_RING = "GDAL: Non closed ring"


@dataclass(frozen=True, kw_only=True)
class ShapefileLayer(Layer):
    """A shapefile.

    Attributes:
        geometries: the `.shp` as GDAL reads it, without attributes.
        table: the `.dbf`.
        records: where shapes are.
        folder: the files that GDAL reads; kept as long as the layer is.
    """

    source: str
    shp: Path
    geometries: OgrLayer
    table: TablePlan
    records: Records
    folder: WorkFolder = field(repr=False)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`."""
        names = [FID, *(column.name for column in self.table.columns), GEOMETRY, PROBLEM]
        for batch in self.geometries.batches():
            yield pa.RecordBatch.from_arrays(self._columns(batch), names=names)
        said = self.geometries.remarks
        self.remarks.extend(remark for remark in said if not _HANDLED.match(remark))
        if any(remark.startswith(_OPEN_RING) for remark in said):
            self.remarks.append(OPEN_RING)
        self.remarks.extend(self.table.outcome())

    def _columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        fids = batch.column(FID).to_numpy()
        first, last = int(fids.min()), int(fids.max())
        try:
            block = self.table.table.block(first, last + 1)
        except OSError as error:
            raise damaged(self.source, str(error)) from None
        block = block[fids - first] if len(fids) <= last - first else block
        alive = block[:, 0] != DELETED
        if not alive.all():
            block, batch = block[alive], batch.filter(pa.array(alive))
            fids = fids[alive]
        geometry = batch.column(GEOMETRY)
        missing = np.flatnonzero(geometry.is_null().to_numpy(zero_copy_only=False))
        lost = missing[unread(self.shp, self.records, fids[missing])]
        problems: list[str | None] = [None] * len(fids)
        for row in lost.tolist():
            problems[row] = UNREADABLE
        for row in np.flatnonzero(np.isin(wkb_types(geometry), SURFACES)).tolist():
            problems[row] = SURFACE
        return [
            batch.column(FID),
            *self.table.read(block),
            geometry,
            pa.array(problems, pa.string()),
        ]

    def check_complete(self, features: int) -> None:
        """GDAL stops at what it can't read as if the file ended there."""
        if features != self.feature_count:
            raise damaged(
                self.source, f"{features} of its {self.feature_count} shapes could be read"
            )


def open_shapefile(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Open a loose shapefile: a `.shp` with its siblings beside it.

    Raises:
        SourceError: not a whole shapefile.
    """
    stem = PurePosixPath(name).stem
    pick(name, {stem: path}, spec.converter_params.layer_name)
    parts, folder = group_of(path), WorkFolder()
    return open_parts(parts, name, spec, layer=stem, format_="Shapefile", folder=folder)


def open_parts(
    parts: Mapping[str, Path],
    name: str,
    spec: VectorSpec,
    *,
    layer: str,
    format_: str,
    folder: WorkFolder,
) -> ShapefileLayer:
    """Open a shapefile from its files.

    Args:
        parts: local files by role (see `siblings`).
        layer: the layer's name.
        folder: for the files that GDAL reads; kept as long as the layer is.

    Raises:
        SourceError: a file is missing, cut off or damaged, or they do not belong together.
    """
    if "dbf" not in parts:
        raise SourceError(
            name,
            f"'{layer}.shp' has no .dbf with its attributes",
            "Deliver .shp, .shx, .dbf and .prj together.",
        )
    shp, given = parts["shp"], spec.converter_params.encoding
    size = sum(parts[role].stat().st_size for role in ("shp", "dbf"))
    check_size(name, size, spec)
    header = read_shp_header(shp, name)
    table = open_table(parts["dbf"], name)
    counts = (table.declared, table.records)
    records = find_records(shp, parts.get("shx"), name, counts, spec.limits.max_features)
    check_feature_limit(name, len(records), spec)
    plan = plan_table(table.for_shapes(len(records), name), name, _declared_encoding(parts), given)
    main = folder.path / "shape.shp"
    main.symlink_to(shp.absolute())
    main.with_suffix(".shx").write_bytes(records.shx(header))
    if "prj" in parts:
        main.with_suffix(".prj").symlink_to(parts["prj"].absolute())
    geometries = OgrLayer.opened(
        str(main), name, format=format_, layer=None, encoding=None, size=size
    )
    return ShapefileLayer(
        format=format_,
        name=layer,
        crs=geometries.crs,
        feature_count=len(records) - plan.deleted,
        bytes=size,
        bounds=geometries.bounds,
        remarks=[remark for remark in (records.remark, *plan.remarks) if remark],
        source=name,
        shp=shp,
        geometries=geometries,
        table=plan,
        records=records,
        folder=folder,
    )


def _declared_encoding(parts: Mapping[str, Path]) -> str | None:
    """What the file beside the table says; `.cst` is GeoTools' `.cpg`."""
    for role in ("cpg", "cst"):
        if role in parts:
            with parts[role].open("rb") as file:
                return file.read(MAX_CPG_BYTES).decode("utf-8", errors="replace")
    return None
