"""GeoPackage (OGC 12-128r18): a SQLite database.

GDAL reads the features. What is in the file is looked up with SQLite itself before, since
GDAL believes what a file says: that a view ends, that a count is right, that a value has the type
of its column.
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged, text_is_not
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.geopackage_columns import (
    audit,
    declared_columns,
    loose_values,
    quoted,
    text_factory,
)
from geo_etl.vector.formats.geopackage_views import check_view
from geo_etl.vector.formats.layer import FID, GEOMETRY, PROBLEM, Layer, pick
from geo_etl.vector.formats.ogr import OgrLayer, attribute_name

SIGNATURE = b"SQLite format 3\x00"
"""Requirement 1: how the file begins."""
UNDEFINED_SRS = (0, -1)
"""Requirement 11: undefined geographic, undefined Cartesian. GDAL writes 99999 for the latter."""
LONGEST_VALUE = 256_000_000
"""Bytes; an expression in the file could make values of any size."""
_SYSTEM = re.compile(r"(gpkg|rtree|sqlite|gpkgext|ogr)_|layer_styles$|qgis_", re.IGNORECASE)
"""Tables that are no data: of the format, of SQLite, of GDAL and QGIS."""
_HANDLED = re.compile(r"GDAL: (Field format '|geometry column '|table '.*multiple geometry)")
"""What GDAL says of columns that it can't read, which are read here."""
UNREADABLE = "its geometry is unreadable"


@dataclass(frozen=True)
class _Table:
    """A feature table, or a view registered as one."""

    name: str
    geometry: str
    is_view: bool
    has_crs: bool


@dataclass(frozen=True, kw_only=True)
class GeoPackageLayer(OgrLayer):
    """A feature table of a GeoPackage.

    Attributes:
        table: where the features are.
        key: its integer primary key, or SQLite's own.
        order: names of its attributes.
        text_encoding: of text that is no UTF-8.
        loose: columns that are not read by GDAL, and the type of their values.
    """

    table: _Table
    key: str = "rowid"
    order: tuple[str, ...] = ()
    text_encoding: str | None = None
    loose: Mapping[str, pa.DataType] = field(default_factory=dict)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `Layer.batches`."""
        with _sqlite_errors(self.source), closing(_connect(Path(self.gdal_path))) as connection:
            for batch in super().batches():
                yield self._completed(connection, batch)
        self.remarks[:] = [remark for remark in self.remarks if not _HANDLED.match(remark)]

    def check_complete(self, features: int) -> None:
        """GDAL stops at a damaged page as if the table ended there."""
        if features != self.feature_count:
            raise damaged(
                self.source,
                f"the file is damaged: GDAL reads {features} features of its layer, SQLite "
                f"counts {self.feature_count}",
            )

    def _completed(self, connection: sqlite3.Connection, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of GDAL's with the columns that it must not read, and with its problems."""
        problems: dict[int, str] = {}
        columns = {name: batch.column(name) for name in batch.schema.names[:-1]}
        types = {
            **self.loose,
            **{name: pa.string() for name in self.order if _broken(columns.get(name))},
        }
        fids = batch.column(FID).to_pylist()
        if types and fids:
            try:
                values, problems = loose_values(
                    connection, self.table.name, self.key, types, fids, self.text_encoding
                )
            except KeyError:
                raise damaged(self.source, "its features have no unique numbers") from None
            columns |= {attribute_name(name): array for name, array in values.items()}
        problems |= self._unreadable(connection, batch)
        own = [FID, *([self.fid_column] if self.fid_column in columns else [])]
        names = list(dict.fromkeys([*own, *map(attribute_name, self.order)]))
        reasons = [problems.get(row) for row in range(batch.num_rows)] if problems else None
        return pa.RecordBatch.from_arrays(
            [
                *(columns[name] for name in names),
                batch.column(GEOMETRY),
                pa.array(reasons, pa.string()) if reasons else pa.nulls(len(batch), pa.string()),
            ],
            names=[*names, GEOMETRY, PROBLEM],
        )

    def _unreadable(self, connection: sqlite3.Connection, batch: pa.RecordBatch) -> dict[int, str]:
        """Rows that GDAL has no geometry of, and SQLite has."""
        missing = np.flatnonzero(batch.column(GEOMETRY).is_null().to_numpy(zero_copy_only=False))
        if not len(missing):
            return {}
        rows = dict(
            zip(
                batch.column(FID).take(pa.array(missing)).to_pylist(), missing.tolist(), strict=True
            )
        )
        assert self.key is not None
        key = quoted(self.key)
        query = (
            f"SELECT {key} FROM {quoted(self.table.name)}"
            f" WHERE {key} IN (SELECT value FROM json_each(?))"
            f" AND {quoted(self.table.geometry)} IS NOT NULL"
        )
        return {
            rows[fid]: UNREADABLE for (fid,) in connection.execute(query, [json.dumps(list(rows))])
        }


def open_geopackage(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Open the layer that the spec means.

    Raises:
        SourceError: it is no GeoPackage, or has several layers and none is named, or its layer
            is a view that may do anything.
    """
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise text_is_not(name, "GeoPackage")
    wanted = spec.converter_params.layer_name
    with _sqlite_errors(name), closing(_connect(path)) as connection:
        tables, others = _contents(connection, name)
        if wanted in others:
            raise SourceError(
                name,
                f"its table '{wanted}' has no geometries ({others[wanted]})",
                "Set converter_params.layer_name to one of: "
                + (", ".join(f"'{table}'" for table in tables) or "it has no spatial layer")
                + ".",
            )
        if not tables and others:
            held = ", ".join(sorted(set(others.values())))
            raise SourceError(
                name,
                f"it has no layer with geometries (it holds {held})",
                "Deliver a file with a spatial layer.",
            )
        chosen, table = pick(name, tables, wanted)
        if table.is_view:
            check_view(connection, table.name, name, spec)
        layer = GeoPackageLayer.opened(
            str(path),
            name,
            format="GeoPackage",
            layer=chosen,
            encoding=None,  # SQLite's text is UTF-8; what is not is decoded here
            size=path.stat().st_size,
            **({} if table.has_crs else {"crs": None}),
            timestamps=(),
            table=table,
            text_encoding=spec.converter_params.encoding,
        )
        columns, key = declared_columns(connection, table.name, _json_columns(connection, chosen))
        if table.is_view:
            key = _key_of_view(connection, table.name, layer)
        own = {table.geometry.lower(), str(key).lower()}
        attributes = [column for column in columns if column.name.lower() not in own]
        found = audit(connection, table.name, attributes)
    layer.remarks[:0] = [*found.remarks, *_not_read(others)]
    return replace(
        layer,
        feature_count=found.rows,
        key=key or "rowid",
        order=tuple(column.name for column in attributes),
        columns=tuple(c.name for c in attributes if c.name not in found.loose),
        loose=found.loose,
    )


def _key_of_view(connection: sqlite3.Connection, view: str, layer: OgrLayer) -> str:
    """The column that tells the features of a view apart (annex C.8): whole numbers."""
    if layer.fid_column:
        key = quoted(layer.fid_column)
        features, whole, distinct = connection.execute(
            f"SELECT count(*), sum(typeof({key}) = 'integer'), count(DISTINCT {key})"
            f" FROM {quoted(view)}"
        ).fetchone()
        if features in (0, whole) and features == distinct:
            return layer.fid_column
    raise SourceError(
        layer.source,
        f"its layer '{layer.name}' is a view without a column of unique whole numbers that "
        "tells its features apart",
        "Let the view select the table's primary key, or deliver the layer as a table.",
    )


def _not_read(others: Mapping[str, str]) -> list[str]:
    if not others:
        return []
    listed = ", ".join(f"'{table}' ({kind})" for table, kind in others.items())
    return [f"Not read, since it has no geometries: {listed}."]


def _contents(
    connection: sqlite3.Connection, name: str
) -> tuple[dict[str, _Table], dict[str, str]]:
    """Feature tables by name; the other tables, with what they are."""
    objects = {
        table.lower(): kind
        for table, kind in connection.execute(
            "SELECT name, iif(sql LIKE 'CREATE VIRTUAL%', 'virtual table', type)"
            " FROM sqlite_master WHERE type IN ('table', 'view')"
        )
    }
    for required in ("gpkg_contents", "gpkg_geometry_columns", "gpkg_spatial_ref_sys"):
        if objects.get(required) != "table":
            kind = "MBTiles" if {"tiles", "metadata"} <= set(objects) else "a SQLite database"
            raise SourceError(
                name,
                f"it is {kind} and no GeoPackage: it has no table {required}",
                "Deliver a GeoPackage, with vector data.",
            )
    tables: dict[str, _Table] = {}
    others: dict[str, str] = {}
    for table, content, geometry, srs, definition in connection.execute(
        "SELECT c.table_name, c.data_type, g.column_name, g.srs_id, s.definition"
        " FROM gpkg_contents c"
        " LEFT JOIN gpkg_geometry_columns g ON lower(g.table_name) = lower(c.table_name)"
        " LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id"
    ):
        kind = objects.pop(table.lower(), None)
        if kind in ("table", "view") and content == "features" and geometry is not None:
            has_crs = srs not in UNDEFINED_SRS and "undefined" not in str(definition).lower()
            tables[table] = _Table(table, geometry, kind == "view", has_crs)
        elif kind is not None:
            others[table] = content if kind != "virtual table" else kind
    return tables, others | {
        table: kind for table, kind in objects.items() if not _SYSTEM.match(table)
    }


def _json_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Columns that the schema extension (annex F.9) says hold JSON."""
    try:
        rows = connection.execute(
            "SELECT column_name FROM gpkg_data_columns"
            " WHERE lower(table_name) = lower(?) AND mime_type = 'application/json'",
            (table,),
        ).fetchall()
    except sqlite3.OperationalError:  # most files don't have it
        return []
    return [column for (column,) in rows]


def _connect(path: Path) -> sqlite3.Connection:
    # Immutable: the file is a copy that nobody writes to, and gets no journal beside it.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True)
    connection.text_factory = text_factory
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


@contextmanager
def _sqlite_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # its message may quote the file
        raise damaged(name, f"SQLite can't read it: {error}") from error


def _broken(column: pa.Array | None) -> bool:
    """Whether it has text that is no UTF-8."""
    if column is None or not pa.types.is_string(column.type):
        return False
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return True
    return False
