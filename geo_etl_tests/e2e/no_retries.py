"""The `geo-etl` command without retries of steps that die: a killed step fails its run at once."""

from typing import Any

import dagster

_RetryPolicy = dagster.RetryPolicy


def _no_retries(**_: Any) -> dagster.RetryPolicy:
    return _RetryPolicy(max_retries=0)


if __name__ == "__main__":
    dagster.RetryPolicy = _no_retries  # type: ignore[assignment, misc]

    from geo_etl.cli import main

    main()
