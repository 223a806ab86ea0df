"""asyncpg's pools, but that a connection which the database has cut is not handed out.

asyncpg knows of a cut connection only when its socket is closed. Between the database's last
message and that moment it hands the connection out, and each call on it fails with an
`InternalClientError` ("another operation (2) is in progress").
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

CUT = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)
"""What asyncpg raises when the database cuts a connection, or refuses one."""
_UNUSABLE = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What it raises of each later use of that connection."""


class CheckedPool:
    """A pool for servers that only acquire and close: each connection is tried first."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection that has just answered.

        Raises:
            One of `CUT`: there is no connection to be had, or it was cut while it was used.
        """
        try:
            connection = await self._answering()
            try:
                yield connection
            finally:
                await self._release(connection)
        except _UNUSABLE as error:
            if isinstance(error, ValueError):  # a `DataError`: of the values that were given
                raise
            raise ConnectionError("the connection was cut") from error

    async def _answering(self) -> Any:
        # At worst all its connections were cut.
        for _ in range(self._pool.get_max_size() + 1):
            connection = await self._pool.acquire()
            try:
                await connection.execute("SELECT 1")
            except (*CUT, *_UNUSABLE):
                with suppress(*_UNUSABLE):  # it has noticed by itself
                    connection.terminate()
                await self._release(connection)
            except BaseException:
                await self._release(connection)
                raise
            else:
                return connection
        raise ConnectionError("each of its connections was cut")

    async def _release(self, connection: Any) -> None:
        # What was asked for is answered; asyncpg ends a connection that it can't reset.
        with suppress(*CUT, *_UNUSABLE):
            await self._pool.release(connection)

    async def close(self) -> None:
        """Wait for connections that are in use, and close all."""
        await self._pool.close()

    def terminate(self) -> None:
        """Cut all connections."""
        self._pool.terminate()
