"""Local folders that a layer needs while it is read."""

import weakref

from geo_etl.ingest.scratch import Scratch


class WorkFolder:
    """A temporary folder that goes when nothing refers to it any more.

    A layer is read long after the function that opened it returned, and may be copied: no
    `with` block fits it.
    """

    def __init__(self) -> None:
        scratch = Scratch()
        self.path = scratch.path
        weakref.finalize(self, scratch.remove)
