"""When things ran, and for how long."""

import os
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """When something ran, in seconds since the epoch."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.end - self.start


class Clock:
    """Measures one span from its making."""

    def __init__(self) -> None:
        self._start = time.time()

    def span(self) -> Span:
        """From the making until now."""
        return Span(self._start, time.time())


def parallel_efficiency(stage: Span | None, tasks: int, busy_seconds: float) -> float | None:
    """Busy time of a stage's tasks ÷ (its length × processes); None: one task, or none."""
    if stage is None or tasks < 2 or stage.seconds <= 0:
        return None
    processes = min(tasks, os.cpu_count() or 1)
    return round(min(1.0, busy_seconds / (stage.seconds * processes)), 3)
