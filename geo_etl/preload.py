"""The forkserver that steps are forked from, with everything imported once.

A step in a freshly spawned process pays 3 s of imports. As a fork of a process that has imported
everything it pays next to nothing. The list names the definitions, what they import only when it
is needed, and what Dagster imports lazily in every step.
"""

import tempfile
from multiprocessing import forkserver

from geo_etl.errors import StackError

PRELOAD = [
    "geo_etl.startup",
    "dagster._core.executor.multiprocess",
    "dagster._core.executor.child_process_executor",
    "dagster._core.execution.api",
    "dagster._core.storage.fs_io_manager",
    "dagster._cli",
    "dagster_postgres",
    "adbc_driver_postgresql.dbapi",
    "geo_etl.stack.dagster_instance",
    "geo_etl.report.picture",
    "geo_etl.definitions",
]


def start_forkserver() -> None:
    """Start it now: it imports on another core while this process imports too.

    Raises:
        StackError: its socket does not fit into the folder for temporary files.
    """
    forkserver.set_forkserver_preload(PRELOAD)
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise StackError(
            f"folder for temporary files {tempfile.gettempdir()!r}",
            f"no socket can be made there ({error})",
            "Set TMPDIR to a folder with a shorter name, where sockets are possible.",
        ) from None
