"""How the steps of a run are executed.

A step in a freshly spawned process pays 3 s of imports. A forkserver that has imported
everything once pays them once a run: each step is a fork of it. The list names what the
definitions import, and what Dagster imports lazily in every step.
"""

from dagster import multiprocess_executor

from geo_etl.settings import get_settings

PRELOAD = [
    "dagster._core.executor.multiprocess",
    "dagster._core.executor.child_process_executor",
    "dagster._core.execution.api",
    "dagster._core.storage.fs_io_manager",
    "dagster._cli",
    "dagster_postgres",
    "matplotlib.backends.backend_agg",
    "geo_etl.stack.dagster_instance",
    "geo_etl.definitions",
]

forkserver_executor = multiprocess_executor.configured(
    {
        "max_concurrent": get_settings().max_concurrent or 0,
        "start_method": {"forkserver": {"preload_modules": PRELOAD}},
    },
    name="forkserver",
)
