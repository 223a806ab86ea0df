"""Local folders that a layer needs while it is read."""

import shutil
import tempfile
import weakref
from pathlib import Path


class WorkFolder:
    """A temporary folder that goes when nothing refers to it any more.

    A layer is read long after the function that opened it returned, and may be copied: no
    `with` block fits it.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="geo_etl-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
