"""A private stack for benchmarks, and measured commands."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

FOLDER = Path(__file__).resolve().parents[1] / ".bench"
GEO_ETL = [sys.executable, "-m", "geo_etl.cli"]
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Stack:
    """Where the stack is: its state folder, and its database URL."""

    home: Path
    url: str


@dataclass(frozen=True)
class Measured:
    """One command: wall seconds, largest resident memory of any one process (bytes), output."""

    seconds: float
    peak_bytes: int
    stdout: str


@contextmanager
def private_stack() -> Iterator[Stack]:
    """Start a stack in `.bench/home`, and stop it."""
    home = FOLDER / "home"
    home.mkdir(parents=True, exist_ok=True)
    os.environ["GEO_ETL_HOME"] = str(home)
    subprocess.run([*GEO_ETL, "up"], check=True, stderr=subprocess.DEVNULL)
    try:
        health = json.loads(
            subprocess.run([*GEO_ETL, "health", "--json"], check=True, capture_output=True).stdout
        )
        yield Stack(home, health["database"]["url"])
    finally:
        subprocess.run([*GEO_ETL, "down"], check=True, stderr=subprocess.DEVNULL)


def measure(command: list[str]) -> Measured:
    """Run a command and watch the memory of its processes."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peaks = [0]
    watcher = threading.Thread(target=_watch, args=(process, peaks), daemon=True)
    watcher.start()
    stdout, stderr = process.communicate()
    seconds = time.monotonic() - start
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{stderr[-2000:]}")
    return Measured(seconds, peaks[0], stdout)


def _watch(process: "subprocess.Popen[str]", peaks: list[int]) -> None:
    try:
        root = psutil.Process(process.pid)
    except psutil.NoSuchProcess:
        return
    while process.poll() is None:
        try:
            for member in [root, *root.children(recursive=True)]:
                peaks[0] = max(peaks[0], member.memory_info().rss)
        except psutil.NoSuchProcess:
            pass
        time.sleep(POLL_SECONDS)
