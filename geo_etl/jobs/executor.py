"""How the steps of a run are executed: several at once, as forks of one prepared process."""

from dagster import multiprocess_executor

from geo_etl.preload import PRELOAD
from geo_etl.settings import get_settings

forkserver_executor = multiprocess_executor.configured(
    {
        "max_concurrent": get_settings().max_concurrent or 0,
        "start_method": {"forkserver": {"preload_modules": PRELOAD}},
    },
    name="forkserver",
)
