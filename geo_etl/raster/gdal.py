"""GDAL, restricted to local files and to one driver a file.

The vectors' GDAL is another instance of the library: see `vector/gdal.py`. Here all drivers stay,
for geo_etl writes VRT documents of its own; a source is opened only by the driver that its first
bytes have proven.
"""

import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning

CACHE_BYTES = 320_000_000
"""Of GDAL's blocks, for the whole process: more than the largest block that is read."""

CONFIGURATION = {
    # The one address that /vsicurl/ and its kin may open: none.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "/",
    # Its threads print their errors. What they could not read is looked for by us.
    "CPL_LOG": os.devnull,
    "GDAL_CACHEMAX": CACHE_BYTES,
    # A damaged JPEG is read as grey otherwise, with a warning.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
    # VRT documents are geo_etl's own, and run no code.
    "GDAL_VRT_ENABLE_PYTHON": "NO",
}
"""GDAL's options for files that nobody vouches for."""

# Python prints what nobody handles: GDAL's remarks about files are not for people.
logging.getLogger("rasterio").addHandler(logging.NullHandler())


class _Complaints(logging.Filter):
    """Collects, in threads that ask for it, what GDAL says while it reads on."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Take a record in; give it on only where nobody asks."""
        said: list[str] | None = getattr(self.here, "said", None)
        if said is None:
            return record.levelno > logging.INFO
        text = record.getMessage()
        if _FAILURE in text or any(sign in text for sign in _DAMAGE):
            said.append(_PREFIX.sub("", text.rpartition("msg=")[2].strip("'\"")))
        return False


# libtiff reads on where JPEG data is damaged. rasterio logs what is said then, failures as INFO.
_FAILURE = "GDAL signalled an error"
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG")
_PREFIX = re.compile(r"^CPLE_\w+:")
_COMPLAINTS = _Complaints()
_LOGGER = logging.getLogger("rasterio._err")
_LOGGER.setLevel(logging.INFO)
_LOGGER.addFilter(_COMPLAINTS)


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What GDAL says in this thread about damaged data that it gives all the same."""
    _COMPLAINTS.here.said = []
    try:
        yield _COMPLAINTS.here.said
    finally:
        _COMPLAINTS.here.said = None


@contextmanager
def environment() -> Iterator[None]:
    """GDAL's options for this thread, and no warning of rasterio about what a file lacks."""
    with rasterio.Env(**CONFIGURATION), ExitStack() as stack:
        # Python's filters are those of the process: threads would undo each other's.
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


Opener = Callable[..., Any]
"""Gives a binary file for a path and a mode, or raises `FileNotFoundError`."""


def handle(
    document: str, driver: str, opener: Opener | None = None, overview: int | None = None
) -> rasterio.DatasetReader:
    """A handle of a dataset, opened by one driver alone.

    Args:
        opener: through which GDAL reads; None for files of this machine.
        overview: number of the overview to open as a dataset of its own, from 0.

    Raises:
        RasterioError, CPLE_BaseError: GDAL can't open it.
    """
    options = {} if overview is None else {"OVERVIEW_LEVEL": overview}
    return rasterio.open(document, driver=driver, sharing=False, opener=opener, **options)
