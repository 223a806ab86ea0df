"""Makes a process start and end quickly: to be imported before what is large.

Python's garbage collector goes through the objects of all modules again and again while they are
imported, and once more when the process ends: 1.4 s of the 3.2 s that importing the definitions
takes. Importing this module makes collections rare until `started` is called, and leaves out of
the last one what is there.
"""

import atexit
import gc

_USUAL = gc.get_threshold()


def started() -> None:
    """All is imported: collect as usual, but never what is there now."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


gc.set_threshold(200_000, *_USUAL[1:])
atexit.register(gc.freeze)
