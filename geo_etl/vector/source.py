"""Opening a vector source: which format, which layer, which CRS; then batches of features.

A format is recognised by its extension and proven by its first bytes, so that a file of
another kind in disguise never reaches a GDAL driver that would follow what it says.
"""

import re
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from pyproj.exceptions import CRSError

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.gdal import restrict_drivers
from geo_etl.vector.wkb import CURVES, wkb_types

restrict_drivers()

# Named from Unicode's private use area, so that no attribute has the same name.
GEOMETRY = "\ue000geometry"
"""Name of the WKB column in the batches that `Layer.batches` yields."""
FID = "\ue000fid"
"""Name of the column with the source's own feature id (int64)."""

BATCH_BYTES = 16_000_000
MAX_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Format:
    """One vector format: how its files are called and how they begin."""

    name: str
    extensions: tuple[str, ...]
    driver: str


FORMATS = (
    Format("GeoPackage", ("gpkg",), "GPKG"),
    Format("GeoJSON", ("geojson", "json"), "GeoJSON"),
    Format("Zipped shapefile", ("zip",), "ESRI Shapefile"),
)


@dataclass(frozen=True)
class Layer:
    """One readable layer of a source.

    Attributes:
        gdal_path: what GDAL opens.
        crs: `AUTH:CODE`, or WKT where the CRS has no code; None when nothing declares it.
        geometry_type: as the layer declares it ('Unknown' for a mix).
        feature_count: -1 when the format can't tell without reading everything.
        bounds: xmin, ymin, xmax, ymax in the source's CRS, where the format knows them.
        fid_column: name of the id column, when the format has one ('' otherwise).
    """

    format: Format
    gdal_path: str
    name: str
    crs: str | None
    geometry_type: str
    feature_count: int
    fid_column: str
    encoding: str | None
    bytes: int
    bounds: tuple[float, float, float, float] | None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read all features: attributes as the source names them, plus `FID` and `GEOMETRY` (WKB).

        Curves come as lines and polygons that GDAL approximates them by.

        Raises:
            SourceError: the file turns out unreadable on the way.
        """
        rows = MAX_BATCH_ROWS
        if self.feature_count > 0:
            rows = max(64, min(rows, BATCH_BYTES * self.feature_count // max(self.bytes, 1)))
        with (
            _gdal_errors(self.gdal_path),
            pyogrio.raw.open_arrow(
                self.gdal_path,
                layer=self.name,
                encoding=self.encoding,
                return_fids=True,
                batch_size=rows,
                use_pyarrow=True,
            ) as (_, reader),
        ):
            for batch in reader:
                yield self._linear(_rename(batch, self.fid_column))

    def _linear(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Replace curves. GDAL's Arrow stream has them as they are, its features linearised."""
        curves = np.flatnonzero(np.isin(wkb_types(batch.column(GEOMETRY)), CURVES))
        if not len(curves):
            return batch
        position = batch.schema.get_field_index(GEOMETRY)
        fids = batch.column(FID).take(pa.array(curves)).to_numpy()
        _, _, linear, _ = pyogrio.raw.read(self.gdal_path, layer=self.name, columns=[], fids=fids)
        wkb = batch.column(position).to_pylist()
        for row, geometry in zip(curves, linear, strict=True):
            wkb[row] = geometry
        return batch.set_column(position, GEOMETRY, pa.array(wkb, pa.binary()))


def supported_extensions() -> list[str]:
    """Extensions, without dots, that geo_etl takes for vector sources."""
    return [extension for format_ in FORMATS for extension in format_.extensions]


def is_vector_source(path: str) -> bool:
    """Whether a blob's name says that it is a vector source."""
    name = PurePosixPath(path).name
    return not name.startswith((".", "_")) and name.lower().endswith(
        tuple(f".{extension}" for extension in supported_extensions())
    )


def format_of(name: str, extension: str | None = None) -> Format:
    """The format that a blob's name (or the spec's `file_extension`) promises.

    Raises:
        SourceError: no format has this extension.
    """
    wanted = (extension or PurePosixPath(name).suffix.lstrip(".")).lower()
    for format_ in FORMATS:
        if wanted in format_.extensions:
            return format_
    raise SourceError(
        name,
        f"'{wanted}' is no vector format that geo_etl reads",
        f"Deliver one of: {', '.join(supported_extensions())}; or, when the name misleads, set "
        "file_extension in the spec.",
    )


@contextmanager
def harmless(path: Path) -> Iterator[Path]:
    """The same file under a name that means nothing to GDAL or pyogrio.

    A `!` in a path, for one, makes pyogrio open what comes after it.
    """
    with tempfile.TemporaryDirectory(prefix="geo_etl-") as folder:
        link = Path(folder, re.sub(r"[^\w. -]", "_", path.name).lstrip("-"))
        link.symlink_to(path.absolute())
        yield link


def open_layer(path: Path, name: str, spec: VectorSpec) -> Layer:
    """Find the one layer to load.

    Args:
        path: the local file, from `harmless`.
        name: what to call it in messages.
        spec: `file_extension`, `converter_params` and `limits` are used.

    Raises:
        SourceError: unreadable, another format than its name says, several layers and none
            named, no features, no CRS, or above a limit.
    """
    format_ = format_of(name, spec.file_extension)
    size = path.stat().st_size
    _check_size(name, size, spec)
    gdal_path = str(path)
    if format_.driver == "ESRI Shapefile":
        candidates = _zipped_shapefiles(path, name, spec)
        member = _pick(name, candidates, spec.converter_params.layer_name)
        _check_shapefile(path, name, candidates[member])
        gdal_path, layer_name = f"/vsizip/{{{path}}}/{candidates[member]}", None
    else:
        _check_signature(path, name, format_)
        layer_name = _pick(name, _spatial_layers(gdal_path, name), spec.converter_params.layer_name)
    with _gdal_errors(name):
        info = pyogrio.read_info(
            gdal_path, layer=layer_name, encoding=spec.converter_params.encoding
        )
    layer = Layer(
        format=format_,
        gdal_path=gdal_path,
        name=info["layer_name"],
        crs=info["crs"],
        geometry_type=info["geometry_type"] or "Unknown",
        feature_count=int(info["features"]),
        fid_column=info["fid_column"],
        encoding=spec.converter_params.encoding,
        bytes=size,
        bounds=info["total_bounds"],
    )
    _check_count(name, layer.feature_count, spec)
    return _with_crs(layer, name, spec)


def _with_crs(layer: Layer, name: str, spec: VectorSpec) -> Layer:
    given = spec.converter_params.source_crs
    if given is None and layer.crs is None:
        raise SourceError(
            name,
            "nothing says which CRS its coordinates are in",
            "Set converter_params.source_crs, for instance EPSG:25832; geo_etl does not guess.",
        )
    if given is None:
        try:
            CRS.from_user_input(layer.crs)
        except CRSError as error:
            raise SourceError(
                name,
                f"its CRS is none that PROJ understands ({error})",
                "Set converter_params.source_crs.",
            ) from None
    return replace(layer, crs=given or layer.crs)


def _check_size(name: str, size: int, spec: VectorSpec) -> None:
    if size == 0:
        raise SourceError(name, "it is empty (0 bytes)", "Deliver the file again.")
    _check_limit(name, size, spec)


def _check_limit(name: str, size: int, spec: VectorSpec) -> None:
    limit = spec.limits.max_file_size_gb
    if size > limit * 1e9:
        raise SourceError(
            name,
            f"it has {size / 1e9:.1f} GB; the limit is {limit:g} GB",
            "Split it, or raise limits.max_file_size_gb in the spec.",
        )


def _check_count(name: str, count: int, spec: VectorSpec) -> None:
    if count == 0:
        raise SourceError(
            name, "its layer has no features", "Deliver data, or remove the file from bronze."
        )
    check_feature_limit(name, count, spec)


def check_feature_limit(name: str, count: int, spec: VectorSpec) -> None:
    """Stop a source above `limits.max_features`.

    Raises:
        SourceError: names both figures.
    """
    if count > spec.limits.max_features:
        raise SourceError(
            name,
            f"it has at least {count:,} features; the limit is {spec.limits.max_features:,}",
            "Split it, or raise limits.max_features in the spec.",
        )


def _check_signature(path: Path, name: str, format_: Format) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    if format_.driver == "GPKG":
        # OGC 12-128r18, requirement 1: a GeoPackage is a SQLite 3 database.
        proven = head.startswith(b"SQLite format 3\x00")
    else:
        proven = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"["))
    if not proven:
        raise SourceError(
            name,
            f"its content is not {format_.name}, whatever its name says",
            "Deliver the file again, or correct its extension (file_extension in the spec).",
        )


def _spatial_layers(gdal_path: str, name: str) -> dict[str, str]:
    with _gdal_errors(name):
        layers = {str(layer): str(kind) for layer, kind in pyogrio.list_layers(gdal_path) if kind}
    if not layers:
        raise SourceError(
            name, "it has no layer with geometries", "Deliver a file with a spatial layer."
        )
    return {layer: layer for layer in layers}


def _zipped_shapefiles(path: Path, name: str, spec: VectorSpec) -> dict[str, str]:
    """Layer name → member of the archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            members = [entry.filename for entry in entries if _is_data(entry.filename)]
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise SourceError(
            name, f"it is not a readable zip archive ({error})", "Deliver the file again."
        ) from None
    if any(entry.flag_bits & 1 for entry in entries):
        raise SourceError(name, "the archive is encrypted", "Deliver it without a password.")
    if any(".." in PurePosixPath(m).parts or m.startswith(("/", "\\")) for m in members):
        raise SourceError(
            name, "a path in the archive leads outside it", "Deliver a clean archive."
        )
    _check_limit(name, sum(entry.file_size for entry in entries), spec)
    shapefiles = [member for member in members if member.lower().endswith(".shp")]
    if not shapefiles:
        listed = ", ".join(members[:8]) or "nothing"
        raise SourceError(
            name,
            f"the archive holds no shapefile (it holds {listed})",
            "Deliver .shp, .shx, .dbf and .prj together in one zip.",
        )
    stems = [PurePosixPath(member).stem for member in shapefiles]
    by_stem = len(set(stems)) == len(stems)
    return {
        (PurePosixPath(member).stem if by_stem else member.removesuffix(member[-4:])): member
        for member in shapefiles
    }


def _check_shapefile(path: Path, name: str, shp: str) -> None:
    """Refuse a shapefile whose parts are missing or shorter than they say.

    GDAL reads what is there of a cut file: null geometries, or fewer features. The lengths are
    in the headers: of .shp in 16-bit words, big-endian, at byte 24 (ESRI's whitepaper, table 1);
    of .dbf as records × record length + header, little-endian, from byte 4 (dBASE III).
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename.lower(): entry for entry in archive.infolist()}
        stem = shp[:-4].lower()
        dbf = sizes.get(f"{stem}.dbf")
        if dbf is None:
            raise SourceError(
                name, f"'{shp}' has no .dbf with its attributes", "Deliver all of its files."
            )
        try:
            head = archive.open(sizes[shp.lower()]).read(100)
            table = archive.open(dbf).read(32)
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError) as error:
            raise SourceError(
                name, f"the archive is damaged ({error})", "Deliver the file again."
            ) from None
    declared = {
        shp: (2 * int.from_bytes(head[24:28], "big"), sizes[shp.lower()].file_size),
        dbf.filename: (
            int.from_bytes(table[4:8], "little") * int.from_bytes(table[10:12], "little")
            + int.from_bytes(table[8:10], "little"),
            dbf.file_size,
        ),
    }
    for member, (length, size) in declared.items():
        if size < length:
            raise SourceError(
                name,
                f"'{member}' is cut off: it has {size} bytes and should have {length}",
                "Deliver the file again.",
            )


def _is_data(member: str) -> bool:
    parts = PurePosixPath(member).parts
    return bool(parts) and "__MACOSX" not in parts and not parts[-1].startswith(".")


def _pick(name: str, layers: dict[str, str], wanted: str | None) -> str:
    listed = ", ".join(f"'{layer}'" for layer in layers)
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
    return wanted or next(iter(layers))


@contextmanager
def _gdal_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (DataSourceError, DataLayerError, pa.ArrowException, UnicodeDecodeError) as error:
        said = re.sub(r"\s*(It might help|;? ?please).*", "", str(error), flags=re.DOTALL)
        raise SourceError(
            name, f"GDAL can't read it: {said.strip(' .;')}", "Deliver the file again."
        ) from error


def _rename(batch: pa.RecordBatch, own_fid: str) -> pa.RecordBatch:
    # GDAL puts the feature id first and the geometry last. Names would not do: an attribute
    # may be called like either.
    attributes = [f"{name}_" if name in (FID, GEOMETRY) else name for name in batch.schema.names]
    batch = batch.rename_columns([FID, *attributes[1:-1], GEOMETRY])
    if own_fid and own_fid not in batch.schema.names:
        # The format keeps ids of its own (GeoPackage): they are data, and stay as a column.
        batch = batch.add_column(1, own_fid, batch.column(0))
    return batch


def check_complete(layer: Layer, name: str, features: int) -> list[str]:
    """Compare the features that came out of a layer with the number that it declares.

    Returns:
        A warning where the difference can be innocent.

    Raises:
        SourceError: the file is damaged.
    """
    if layer.feature_count in (-1, features):
        return []
    if layer.format.driver == "GPKG":
        _check_sqlite(layer.gdal_path, name)
    return [f"The layer declares {layer.feature_count} features; {features} could be read."]


def _check_sqlite(path: str, name: str) -> None:
    # GDAL stops at a damaged page as if the table ended there.
    try:
        with closing(sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        said = " ".join(str(found).split())
        raise SourceError(name, f"the file is damaged ({said})", "Deliver the file again.")
