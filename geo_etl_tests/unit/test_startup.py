"""Processes start with few collections of garbage, and then collect as usual."""

import subprocess
import sys


def said_by(code: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return [int(word) for word in done.stdout.split()]


COUNTS = (
    "import gc; print(gc.get_freeze_count(), *gc.get_threshold(), gc.get_stats()[2]['collections'])"
)


def test_the_definitions_are_left_out_of_collections_which_are_then_as_usual() -> None:
    frozen, *thresholds, full = said_by(f"import geo_etl.definitions; {COUNTS}")

    assert frozen > 100_000
    assert thresholds == [700, 10, 10]
    assert full == 0


def test_commands_start_with_rare_collections() -> None:
    _, first, *_, full = said_by(f"import geo_etl.cli; {COUNTS}")

    assert first > 100_000
    assert full == 0
