"""What happens when an op fails.

Dagster can retry in three places, and they must not add up: the op's own policy, run retries,
and automation. Here a fault is one of three kinds:

- Bad data or a bad spec (`GeoEtlError`): the same again next time. The op fails at once, with
  the remedy.
- A transient fault (lost connection, throttled storage, deadlock): the op is tried again 3
  times, after about 5, 10 and 20 s.
- Anything else is a defect of geo_etl: it fails at once, with its traceback.

A dead worker process is none of these: run monitoring and run retries take care of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import Backoff, Failure, Jitter, MetadataValue, RetryPolicy

from geo_etl.errors import GeoEtlError
from geo_etl.resources.postgis import is_transient as is_database_transient

TRANSIENT_RETRIES = RetryPolicy(
    max_retries=3, delay=5, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS
)
_THROTTLED = frozenset([408, 429, 500, 502, 503, 504])


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help."""
    if type(error).__module__.startswith("azure."):
        return _is_azure_transient(error)
    return isinstance(error, ConnectionError | TimeoutError) or is_database_transient(error)


def _is_azure_transient(error: BaseException) -> bool:
    # Imported here: the SDK is there only where Azure is used, and slow to import.
    from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

    if isinstance(error, HttpResponseError):
        return error.status_code in _THROTTLED
    return isinstance(error, ServiceRequestError | ServiceResponseError)


@contextmanager
def op_faults() -> Iterator[None]:
    """Translate what is raised in an op's body into what Dagster should do."""
    try:
        yield
    except GeoEtlError as error:
        raise Failure(
            description=str(error),
            metadata={
                "what": MetadataValue.text(error.thing),
                "problem": MetadataValue.text(error.problem),
                "remedy": MetadataValue.text(error.remedy),
            },
            allow_retries=False,
        ) from None
    except Failure:
        raise
    except Exception as error:
        if is_transient(error):
            raise
        raise Failure(
            description=f"Unexpected {type(error).__name__}: {error}", allow_retries=False
        ) from error
