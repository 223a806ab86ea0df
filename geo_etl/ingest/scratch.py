"""Folders for temporary files, told from what processes that were killed have left behind."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

PREFIX = "geo_etl-scratch-"


class Scratch:
    """A folder of its own below the system's folder for temporary files (`TMPDIR`).

    The process holds a lock on it, which ends with the process, however that ends.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder, for as long as the block lasts."""
    scratch = Scratch()
    try:
        yield scratch.path
    finally:
        scratch.remove()


def remove_dead_scratch(before: datetime) -> int:
    """Remove folders of processes of this machine that died, made before a time; how many."""
    count = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Another one may be faster, and another user's are not for us to remove.
        with suppress(OSError):
            if datetime.fromtimestamp(folder.stat().st_mtime, UTC) < before and _is_dead(folder):
                shutil.rmtree(folder)
                count += 1
    return count


def _is_dead(folder: Path) -> bool:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
