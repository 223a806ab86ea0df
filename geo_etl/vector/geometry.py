"""Preparing geometries, in the order the specification gives.

Drop null and empty → repair → force 2D → reproject → simplify, quantize → promote to multi →
EWKB. What can't go into the table is handed back with its reason; nothing disappears.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely
from shapely import GeometryType
from shapely.errors import GEOSException

from geo_etl.vector.antimeridian import split_at_antimeridian
from geo_etl.vector.flat import Plain, plain_geometries, write_ewkb
from geo_etl.vector.repair import Repair, differs, repair_one
from geo_etl.vector.reproject import transformer
from geo_etl.vector.wkb import unreadable

Geometries = npt.NDArray[np.object_]

_MULTI = {
    GeometryType.POINT: shapely.multipoints,
    GeometryType.LINESTRING: shapely.multilinestrings,
    GeometryType.POLYGON: shapely.multipolygons,
}
FARTHEST = 1e8
"""No place on Earth has a coordinate beyond this, whatever the CRS and its unit."""


@dataclass(frozen=True)
class GeometryPlan:
    """What happens to every geometry of one load.

    Attributes:
        source_crs, target_srid: reprojection; None as source means that both are the same.
        geometry_type: type of the table's column: a Multi type, `GeometryCollection`, or
            `Geometry` for any.
        split_antimeridian: cut what crosses 180° into parts; the target CRS is in degrees.
        max_repair_change: largest relative change of area (length) that a repair may cause.
    """

    source_crs: str | None
    target_srid: int
    geometry_type: str
    max_repair_change: float
    simplify_tolerance: float | None = None
    quantize: float | None = None
    split_antimeridian: bool = False


@dataclass(frozen=True)
class Refusal:
    """One geometry that can't be loaded: row in the batch, and why."""

    row: int
    reason: str


@dataclass
class Prepared:
    """Result for one batch.

    Attributes:
        ewkb: EWKB of the rows in `rows`, in order.
        rows: row numbers (int64) in the batch that are loaded.
        dropped: number of rows without a geometry.
        bounds: xmin, ymin, xmax, ymax in the target CRS; NaN when no row is loaded.
    """

    ewkb: pa.Array
    rows: npt.NDArray[np.int64]
    dropped: int
    bounds: npt.NDArray[np.float64]
    had_z: int = 0
    repairs: list[Repair] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


def prepare(wkb: pa.Array, plan: GeometryPlan) -> Prepared:
    """Take one batch of WKB through every step.

    Plain geometries take the short way on flat arrays; the rest become geometry objects.

    Args:
        wkb: binary array of n geometries, null where a feature has none.
    """
    if plan.simplify_tolerance is not None or plan.quantize is not None or plan.split_antimeridian:
        return _prepare_objects(wkb, np.arange(len(wkb)), plan)
    plain = plain_geometries(wkb, plan.geometry_type)
    if not len(plain.rows):
        return _prepare_objects(wkb, np.arange(len(wkb)), plan)
    fast = _prepare_plain(plain, plan)
    if len(plain.rows) == len(wkb):
        return fast
    others = np.ones(len(wkb), dtype=bool)
    others[plain.rows] = False
    return _merge(fast, _prepare_objects(wkb, np.flatnonzero(others), plan))


def _prepare_plain(plain: Plain, plan: GeometryPlan) -> Prepared:
    refusals: list[Refusal] = []
    if plan.source_crs is not None:
        x, y = transformer(plan.source_crs, plan.target_srid).transform(*plain.coordinates.T)
        plain = replace(plain, coordinates=np.column_stack([x, y]))
        placed = np.logical_and.reduceat(_is_placed(x, y), plain.starts())
        refusals = [Refusal(int(row), _no_place(plan)) for row in plain.rows[~placed]]
        plain = plain.only(placed)
    bounds = np.full(4, np.nan)
    if len(plain.rows):
        # A column at a time: over both at once numpy takes thirty times as long.
        x, y = plain.coordinates.T
        bounds = np.array([x.min(), y.min(), x.max(), y.max()])
    ewkb, rows = write_ewkb(plain, plan.target_srid), plain.rows
    if (np.diff(rows) < 0).any():  # one kind of WKB was gathered after the other
        order = np.argsort(rows)
        ewkb, rows = ewkb.take(pa.array(order)), rows[order]
    return Prepared(
        ewkb=ewkb,
        rows=rows,
        dropped=0,
        bounds=bounds,
        refusals=refusals,
    )


def _merge(one: Prepared, other: Prepared) -> Prepared:
    """Two parts of a batch as one, rows in order."""
    rows = np.concatenate([one.rows, other.rows])
    order = np.argsort(rows, kind="stable")
    low = np.fmin(one.bounds[:2], other.bounds[:2])
    high = np.fmax(one.bounds[2:], other.bounds[2:])
    return Prepared(
        ewkb=pa.concat_arrays([one.ewkb, other.ewkb]).take(pa.array(order)),
        rows=rows[order],
        dropped=one.dropped + other.dropped,
        bounds=np.concatenate([low, high]),
        had_z=one.had_z + other.had_z,
        repairs=one.repairs + other.repairs,
        refusals=one.refusals + other.refusals,
    )


def _is_placed(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether transformed points are somewhere on Earth (NaN and infinity are not)."""
    placed: npt.NDArray[np.bool_] = (np.abs(x) < FARTHEST) & (np.abs(y) < FARTHEST)
    return placed


def _no_place(plan: GeometryPlan) -> str:
    return f"its coordinates have no place in EPSG:{plan.target_srid}"


def _prepare_objects(wkb: pa.Array, rows: npt.NDArray[np.int64], plan: GeometryPlan) -> Prepared:
    """The long way, by geometry objects, for some rows of a batch."""
    wkb = wkb.take(pa.array(rows))
    raw = wkb.to_numpy(zero_copy_only=False)
    odd = unreadable(wkb)
    if odd.any():
        raw = np.where(odd, None, raw)  # GEOS would refuse the whole array
    with np.errstate(invalid="ignore"):  # NaN coordinates are looked for below
        geometries: Geometries = shapely.from_wkb(raw, on_invalid="ignore")
    present = ~wkb.is_null().to_numpy(zero_copy_only=False)
    closed = _close_rings(geometries, raw, present)
    state = _State(geometries[present], rows[present])
    state.refuse(shapely.is_missing(state.current), lambda _: "its geometry is unreadable")
    filled = ~shapely.is_empty(state.current)
    dropped = len(raw) - int(filled.sum()) - len(state.refusals)
    state.keep(filled)
    state.refuse(
        _not_finite(state.current), lambda _: "one of its coordinates is not a finite number"
    )

    repairs = _repair(state, plan.max_repair_change)
    repairs += _closed(state, set(rows[closed].tolist()) - {repair.row for repair in repairs})
    has_z = shapely.has_z(state.current) | shapely.has_m(state.current)
    had_z = int(has_z.sum())
    if had_z:
        state.current = shapely.force_2d(state.current)
    _reproject(state, plan)
    if plan.source_crs is not None:
        # What nearly touches itself may do so in another CRS.
        again = _repair(state, plan.max_repair_change)
        known = {repair.row for repair in repairs}
        repairs += [repair for repair in again if repair.row not in known]
    if plan.split_antimeridian:
        state.current = split_at_antimeridian(state.current)
    _generalise(state, plan)
    _promote(state, plan)
    refused = {refusal.row for refusal in state.refusals}
    with_srid = shapely.set_srid(state.current, plan.target_srid)
    return Prepared(
        ewkb=pa.array(
            shapely.to_wkb(with_srid, include_srid=True, flavor="extended"), type=pa.binary()
        ),
        rows=state.rows,
        dropped=dropped,
        bounds=_total_bounds(state.current),
        had_z=had_z,
        repairs=[repair for repair in repairs if repair.row not in refused],
        refusals=state.refusals,
    )


def _total_bounds(geometries: Geometries) -> npt.NDArray[np.float64]:
    if not len(geometries):
        return np.full(4, np.nan)
    bounds: npt.NDArray[np.float64] = shapely.total_bounds(geometries)
    return bounds


class _State:
    """Geometries still on their way, and the rows of the batch they belong to."""

    def __init__(self, geometries: Geometries, rows: npt.NDArray[np.int64]) -> None:
        self.rows = rows
        self.current = geometries
        self.refusals: list[Refusal] = []

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        if not mask.all():
            self.current, self.rows = self.current[mask], self.rows[mask]

    def refuse(self, mask: npt.NDArray[np.bool_], reason: Callable[[int], str]) -> None:
        """Take the masked geometries out; `reason` gets the position in `current`."""
        for position in np.flatnonzero(mask):
            self.refusals.append(Refusal(int(self.rows[position]), reason(int(position))))
        self.keep(~mask)


def _close_rings(
    geometries: Geometries, raw: Geometries, present: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Read what GEOS refuses again, with its rings closed; the positions of those."""
    refused = np.flatnonzero(present & shapely.is_missing(geometries))
    if len(refused):
        geometries[refused] = shapely.from_wkb(raw[refused], on_invalid="fix")
    closed: npt.NDArray[np.int64] = refused[~shapely.is_missing(geometries[refused])]
    return closed


def _closed(state: _State, rows: set[int]) -> list[Repair]:
    """The repairs of geometries that only had to have their rings closed."""
    repairs = []
    for position in np.flatnonzero(np.isin(state.rows, list(rows))).tolist():
        geometry = state.current[position]
        area, kind = float(shapely.area(geometry)), geometry.geom_type
        row = int(state.rows[position])
        repairs.append(Repair(row, "Ring is not closed", area, area, kind, kind))
    return repairs


def _repair(state: _State, max_change: float) -> list[Repair]:
    """Make invalid geometries valid, keeping to their dimension."""
    invalid = np.flatnonzero(~shapely.is_valid(state.current))
    if not len(invalid):
        return []
    repairs: list[Repair] = []
    problems: dict[int, str] = {}
    reasons = shapely.is_valid_reason(state.current[invalid])
    state.current = state.current.copy()
    for position, reason in zip(invalid.tolist(), reasons, strict=True):
        original = state.current[position]
        try:
            repaired, before, after = repair_one(original)
        except GEOSException as error:
            problems[position] = f"{reason}; it can't be repaired ({error})"
            continue
        if repaired is None:
            problems[position] = f"{reason}; a repair leaves nothing of its dimension"
        elif differs(before, after, max_change):
            problems[position] = (
                f"{reason}; a repair would change its area or length from {before:g} to {after:g}"
            )
        else:
            state.current[position] = repaired
            kinds = original.geom_type, repaired.geom_type
            repairs.append(Repair(int(state.rows[position]), str(reason), before, after, *kinds))
    mask = np.zeros(len(state.current), dtype=bool)
    mask[list(problems)] = True
    state.refuse(mask, lambda position: problems[position])
    return repairs


def _reproject(state: _State, plan: GeometryPlan) -> None:
    if plan.source_crs is None or not len(state.current):
        return
    transform = transformer(plan.source_crs, plan.target_srid)
    coordinates, owners = shapely.get_coordinates(state.current, return_index=True)
    x, y = transform.transform(coordinates[:, 0], coordinates[:, 1])
    placed = _is_placed(x, y)
    lost = np.zeros(len(state.current), dtype=bool)
    lost[owners[~placed]] = True
    state.current = shapely.set_coordinates(state.current.copy(), np.column_stack([x, y]))
    state.refuse(lost, lambda _: _no_place(plan))


def _not_finite(geometries: Geometries) -> npt.NDArray[np.bool_]:
    """Which geometries have a coordinate that is NaN or infinite, holes included."""
    coordinates, owners = shapely.get_coordinates(geometries, return_index=True)
    found = np.zeros(len(geometries), dtype=bool)
    found[owners[~np.isfinite(coordinates).all(axis=1)]] = True
    return found


def _generalise(state: _State, plan: GeometryPlan) -> None:
    if plan.simplify_tolerance is not None:
        simplified = shapely.simplify(state.current, plan.simplify_tolerance)
        usable = shapely.is_valid(simplified) & ~shapely.is_empty(simplified)
        state.current = np.where(usable, simplified, state.current)
    if plan.quantize is not None:
        before = shapely.get_dimensions(state.current)
        state.current = shapely.set_precision(state.current, plan.quantize)
        vanished = shapely.is_empty(state.current) | (
            shapely.get_dimensions(state.current) != before
        )
        state.refuse(vanished, lambda _: f"nothing is left of it at quantize {plan.quantize:g}")


def _promote(state: _State, plan: GeometryPlan) -> None:
    types = shapely.get_type_id(state.current)
    promoted = state.current
    for type_id, constructor in _MULTI.items():
        single = np.flatnonzero(types == type_id)
        if len(single):
            promoted = promoted.copy() if promoted is state.current else promoted
            promoted[single] = constructor(promoted[single], indices=np.arange(len(single)))
    state.current = promoted
    if plan.geometry_type != "Geometry":
        wanted = GeometryType[plan.geometry_type.upper()]
        other = shapely.get_type_id(state.current) != wanted
        state.refuse(
            other,
            lambda position: (
                f"it is a {state.current[position].geom_type} in a {plan.geometry_type} table"
            ),
        )
