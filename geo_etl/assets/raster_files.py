"""The files of one piece: made in a scratch folder, proven, put into silver, noted."""

import shutil
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from geo_etl.errors import GeoEtlError, SourceError, StorageError
from geo_etl.ingest.clock import Clock
from geo_etl.raster import ingest
from geo_etl.raster.loads import Load, drop_loads
from geo_etl.raster.manifest import Made, Piece, PieceReport, RasterManifest
from geo_etl.raster.outputs import Attempt, abandon, begin_piece, finish_piece
from geo_etl.resources.blobs import BlobStorage
from geo_etl.resources.rasters import Rasters
from geo_etl.resources.sources import local_source, state_of
from geo_etl.spec import SourceRef

COPY_BYTES = 8_000_000


def make_piece(
    manifest: RasterManifest,
    piece: Piece,
    load: Load,
    folder: Path,
    storage: BlobStorage,
    engine: sa.Engine,
    *,
    state: str,
) -> PieceReport:
    """Make, prove, store and note the files of a piece; nothing happens when that is done.

    Args:
        folder: for scratch files; empty.
        state: of the source when it was inspected.

    Raises:
        ProofError: a file is not what it should be.
        SourceError: the source has changed meanwhile.
    """
    clock, names = Clock(), ingest.file_names(manifest, piece)
    attempt = begin_piece(engine, load, piece.index, names.values())
    if isinstance(attempt, PieceReport):
        return attempt
    source = manifest.order.source
    try:
        with local_source(storage, source) as path:
            converted = ingest.convert(manifest, piece, path, folder)
        _check_state(storage, source, state)
        made = [_store(one, attempt.paths[names[one.tier]], storage) for one in converted.files]
    except Exception as error:
        _give_up(attempt, storage, engine, for_good=isinstance(error, GeoEtlError))
        raise
    report = PieceReport(piece.index, tuple(made), converted.preview, clock.span())
    return finish_piece(engine, attempt, report)


def _check_state(storage: BlobStorage, source: SourceRef, state: str) -> None:
    if state_of(storage, source) != state:
        raise SourceError(
            str(source),
            "it was written again after it was inspected",
            "Ingest it again: the sensor does that by itself.",
        )


def _store(made: Made, path: str, storage: BlobStorage) -> Made:
    """Copy a file to its blob, and look that it is there, all of it."""
    ref = SourceRef.parse(path)
    with Path(made.path).open("rb") as file, storage.write(ref) as blob:
        shutil.copyfileobj(file, blob, COPY_BYTES)
    size = storage.stat(ref).size
    if size != made.size:
        raise StorageError(
            f"blob {path}",
            f"{made.size} bytes were written, {size} are there",
            "Check the storage, and ingest again.",
        )
    return replace(made, path=path)


def _give_up(attempt: Attempt, storage: BlobStorage, engine: sa.Engine, *, for_good: bool) -> None:
    """Leave nothing of an attempt in silver; nor of the whole load, if trying again is no use."""
    abandon(engine, attempt)
    if for_good:
        with engine.begin() as connection:
            drop_loads(connection, [attempt.load.id])
    Rasters(engine).remove_discarded(storage)
