"""Settling: proving that the loads of a job are whole, and finishing them to be published."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from geo_etl.errors import SourceError
from geo_etl.ingest.lock import lock
from geo_etl.vector import parent
from geo_etl.vector.account import Totals, recorded_totals, totals, union
from geo_etl.vector.finish import enforce_unique, finish_table, wanted_indexes
from geo_etl.vector.load import Load, hold
from geo_etl.vector.manifest import LoadPart, Manifest
from geo_etl.vector.merge import check_free, merge
from geo_etl.vector.publish import Candidate
from geo_etl.vector.target import ADDING, check_unchanged, own_pieces
from geo_etl.vector.versions import Piece, Version, current_version, pieces, version_made_by


@dataclass(frozen=True)
class Settled:
    """One table of an ingest, finished and ready to be published.

    Attributes:
        published: whether it was, by an attempt that ended before it could say so.
    """

    account: Totals
    candidate: Candidate
    published: bool = False


def settle(manifest: Manifest, engine: sa.Engine) -> list[Settled]:
    """Prove that the loads are whole, then give them their keys, indexes and statistics.

    Raises:
        ConservationError: features or chunks are missing.
        SourceError: not one feature could be loaded, or a key or a unique value is there twice.
    """
    settled = [_settle(manifest, part, engine) for part in manifest.parts]
    account = Totals.sum([one.account for one in settled])
    if account.loaded == 0:
        with engine.connect() as connection:
            reasons = _reasons(connection, [part.load for part in manifest.parts])
        raise SourceError(
            str(manifest.order.source),
            f"none of its {account.read} features could be loaded "
            f"({account.quarantined} refused, {account.dropped} without a geometry){reasons}",
            "Correct the delivery; geo_etl.quarantine has the reason for each feature.",
        )
    return settled


def _reasons(connection: sa.Connection, loads: Sequence[Load]) -> str:
    found = connection.execute(
        sa.text(
            "SELECT reason, count(*) AS n FROM geo_etl.quarantine WHERE load_id = ANY(:ids)"
            " GROUP BY reason ORDER BY n DESC, reason LIMIT 3"
        ),
        {"ids": [load.id for load in loads]},
    ).all()
    return "".join(f"; {row.n}: {row.reason}" for row in found)


def _settle(manifest: Manifest, part: LoadPart, engine: sa.Engine) -> Settled:
    order, spec, load = manifest.order, manifest.order.spec, part.load
    adds = spec.load_method in ADDING
    with engine.begin() as connection:
        lock(connection, f"finish {load.table}")
        if (made := version_made_by(connection, part.target, load.id)) is not None:
            account = recorded_totals(connection, load, manifest.chunks_of(part))
            (piece,) = [one for one in pieces(connection, made) if one.load_id == load.id]
            return Settled(account, Candidate(load, piece, made, None), published=True)
        hold(connection, load)
        if adds:
            parent.hold(connection, part.target)
        current = current_version(connection, part.target)
        base = current if adds else None
        if adds:
            columns, geometry = part.columns, part.geometry
            check_unchanged(current, columns, geometry.geometry_type, geometry.target_srid)
        own = own_pieces(connection, current, order.job_id) if spec.load_method == "append" else []
        if manifest.rules.unique:
            totals(connection, load, manifest.chunks_of(part))  # whole, before any is taken out
            kept = base if spec.load_method == "append" else None
            enforce_unique(connection, load, manifest.rules.unique, kept, own, str(order.source))
        account = totals(connection, load, manifest.chunks_of(part))
        piece = Piece(load.id, load.table, load.gid_from, load.gid_to)
        if spec.load_method == "upsert":
            piece = merge(
                connection,
                load,
                current,
                manifest.rules.columns,
                part.columns,
                spec.key_columns,
                str(order.source),
            )
        elif adds:
            check_free(connection, load, current)
        features = _stored(connection, piece) - sum(_stored(connection, one) for one in own)
    indexes = wanted_indexes(spec, part.columns, part.target)
    if base is not None:
        indexes = list(dict.fromkeys([*base.indexes, *indexes]))
    if spec.load_method == "append" and base is not None:
        features += base.features
    with engine.begin() as connection:
        hold(connection, load)
        finish_table(connection, piece.table, piece.gid_from, piece.gid_to, indexes)
    version = Version(
        target=part.target,
        number=0,
        current=False,
        source=str(order.source),
        fingerprint=order.fingerprint,
        job_id=order.job_id,
        load_method=spec.load_method,
        # What is corrected still belongs to the source that it was quarantined from.
        sources=base.sources
        if base and manifest.corrects
        else _with(base.sources if base else (), str(order.source)),
        jobs=_with(base.jobs if base else (), order.job_id),
        loads=(),
        collection_id=spec.collection_id,
        item_id=str(part.target),
        item={},
        columns=tuple(part.columns),
        geometry_type=part.geometry.geometry_type,
        srid=part.geometry.target_srid,
        indexes=tuple(indexes),
        features=features,
        bounds=union([base.bounds if base else None, account.bounds]),
        result=None,
        published_at=datetime.now(UTC),
    )
    under = None if not adds else (current.loads if current else ())
    return Settled(account, Candidate(load, piece, version, under))


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*names, name]))


def _stored(connection: sa.Connection, piece: Piece) -> int:
    table = sa.table(piece.table, schema="geo_loads")
    return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
