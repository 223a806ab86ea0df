"""From a chunk's batches to rows for COPY, with the account of what became of each feature."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geo_etl.vector.attributes import encode_attributes
from geo_etl.vector.chunk import CORRECTED, FROM_QUARANTINE, ORDINAL
from geo_etl.vector.formats.layer import FID, GEOMETRY, OWN_COLUMNS, PROBLEM
from geo_etl.vector.geometry import GeometryPlan, Prepared, prepare
from geo_etl.vector.jsonb import JSONB_VERSION, json_text
from geo_etl.vector.rules import RulePlan, apply_rules

GID = "gid"
GEOM = "geom"
CHUNK_COLUMNS = OWN_COLUMNS | {ORDINAL}
"""What a chunk's batches have beside the attributes."""


@dataclass(frozen=True)
class ChunkCounts:
    """What became of a chunk's features. `loaded + dropped + quarantined` is their number."""

    loaded: int = 0
    dropped: int = 0
    quarantined: int = 0
    repaired: int = 0
    had_z: int = 0
    without_nul: int = 0


class Rows:
    """Turns a chunk's batches into rows for COPY, one batch at a time, and keeps the account.

    Attributes:
        repairs, quarantined, corrected: rows for the ledger's tables of these names.
        failure: what went wrong while a batch was prepared. ADBC, which pulls the batches, says
            only that its input failed, and would look like a lost connection.
    """

    def __init__(
        self,
        gid_from: int,
        batches: Iterator[pa.RecordBatch],
        rules: RulePlan,
        geometry: GeometryPlan,
    ) -> None:
        self.failure: Exception | None = None
        self.repairs: list[dict[str, Any]] = []
        self.quarantined: list[dict[str, Any]] = []
        self.corrected: list[dict[str, Any]] = []
        self._bounds = np.full(4, np.nan)
        self._gid_offset = gid_from - 1
        self._loaded = self._dropped = self._had_z = self._without_nul = 0
        self._batches = batches
        self._rules = rules
        self._geometry = geometry

    @property
    def bounds(self) -> list[float | None]:
        """xmin, ymin, xmax, ymax in the target CRS; None when nothing was loaded."""
        return [None if np.isnan(value) else float(value) for value in self._bounds]

    def counts(self) -> ChunkCounts:
        """The account so far."""
        return ChunkCounts(
            loaded=self._loaded,
            dropped=self._dropped,
            quarantined=len(self.quarantined),
            repaired=len(self.repairs),
            had_z=self._had_z,
            without_nul=self._without_nul,
        )

    def reader(self) -> pa.RecordBatchReader:
        """The rows as a stream: the next batch is prepared while PostgreSQL takes the last."""
        first = self._encode(next(self._batches))
        return pa.RecordBatchReader.from_batches(first.schema, self._all(first))

    def _all(self, first: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield first
        try:
            for batch in self._batches:
                yield self._encode(batch)
        except Exception as error:
            self.failure = error
            raise

    def _encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = self._rules.columns
        if CORRECTED.issubset(batch.schema.names):
            batch = self._as_of_source(batch)
        batch = self._without(batch, _problems(batch))
        batch = self._with_geometry(batch)
        source = batch.select([column.original for column in columns])
        attributes, violations = apply_rules(source, self._rules)
        if violations:
            refused = {violation.row: violation.reason for violation in violations}
            attributes = attributes.take(_others(refused, batch.num_rows))
            batch = self._without(batch, refused)
        prepared = prepare(batch.column(GEOMETRY), self._geometry)
        gids = batch.column(ORDINAL).to_numpy() + self._gid_offset
        self._account(batch, gids, prepared)
        if len(prepared.rows) < batch.num_rows:
            attributes = attributes.take(pa.array(prepared.rows))
        arrays, without_nul = encode_attributes(attributes, columns)
        self._without_nul += without_nul
        return pa.RecordBatch.from_arrays(
            [pa.array(gids[prepared.rows]), *arrays, prepared.ewkb],
            names=[GID, *(column.name for column in columns), GEOM],
        )

    def _as_of_source(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Corrected features, with the ids that they have in the source that they are from."""
        _, job_id, source_fid, _ = FROM_QUARANTINE
        ids = pc.coalesce(batch.column(source_fid), batch.column(FID))
        known = batch.select([job_id, source_fid]).rename_columns(["job_id", "source_fid"])
        self.corrected += known.filter(
            pc.and_(known.column(0).is_valid(), known.column(1).is_valid())
        ).to_pylist()
        return batch.set_column(batch.schema.get_field_index(FID), FID, ids)

    def _without(self, batch: pa.RecordBatch, refused: dict[int, str]) -> pa.RecordBatch:
        """The batch without some features, which are quarantined."""
        if not refused:
            return batch
        self._quarantine(batch, refused)
        return batch.take(_others(refused, batch.num_rows))

    def _with_geometry(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The features that have one: no rule is asked of the others, which are dropped."""
        geometries = batch.column(GEOMETRY)
        if geometries.null_count == 0:
            return batch
        self._dropped += geometries.null_count
        return batch.filter(geometries.is_valid())

    def _account(self, batch: pa.RecordBatch, gids: np.ndarray, prepared: Prepared) -> None:
        fids = batch.column(FID)
        self._loaded += len(prepared.rows)
        self._dropped += prepared.dropped
        self._had_z += prepared.had_z
        if len(prepared.rows):
            low, high = (
                np.fmin(self._bounds, prepared.bounds),
                np.fmax(self._bounds, prepared.bounds),
            )
            self._bounds = np.concatenate([low[:2], high[2:]])
        for repair in prepared.repairs:
            self.repairs.append(
                {
                    "gid": int(gids[repair.row]),
                    "source_fid": fids[repair.row].as_py(),
                    "reason": repair.reason,
                    "measure_before": repair.before,
                    "measure_after": repair.after,
                    "type_before": repair.type_before,
                    "type_after": repair.type_after,
                }
            )
        self._quarantine(batch, {refusal.row: refusal.reason for refusal in prepared.refusals})

    def _quarantine(self, batch: pa.RecordBatch, refused: dict[int, str]) -> None:
        """Keep features as the source has them, with the reason."""
        own = CHUNK_COLUMNS.union(FROM_QUARANTINE)
        names = [name for name in batch.schema.names if name not in own]
        for row, reason in refused.items():
            values = {name: batch.column(name)[row].as_py() for name in names}
            self.quarantined.append(
                {
                    "source_fid": batch.column(FID)[row].as_py(),
                    "reason": reason,
                    "geometry": batch.column(GEOMETRY)[row].as_py(),
                    "attributes": JSONB_VERSION + json_text(values).encode(),
                }
            )


def _others(rows: Iterable[int], count: int) -> pa.Array:
    """The rows of a batch that are not among some."""
    kept = np.ones(count, dtype=bool)
    kept[list(rows)] = False
    return pa.array(np.flatnonzero(kept))


def _problems(batch: pa.RecordBatch) -> dict[int, str]:
    """Features that could not be read as they stand: row and reason."""
    if PROBLEM not in batch.schema.names:
        return {}
    reasons = batch.column(PROBLEM)
    rows = np.flatnonzero(reasons.is_valid().to_numpy(zero_copy_only=False))
    return {int(row): reasons[int(row)].as_py() for row in rows}
