"""One writer at a time, by PostgreSQL's advisory locks."""

import sqlalchemy as sa


def lock(connection: sa.Connection, name: str) -> None:
    """Serialise on a name until the transaction ends."""
    connection.execute(
        sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"geo_etl {name}", 0)))
    )
