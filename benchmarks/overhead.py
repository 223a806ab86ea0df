"""What Dagster adds: seconds a task, and seconds a run, on top of the work.

The same few features are ingested in one task and in many. Their work is next to nothing, so
what the many cost more is the overhead of tasks, and what one costs is that of a run.
"""

import json
import os

from benchmarks.datasets import dataset_file
from benchmarks.stack import FOLDER, GEO_ETL, Stack, measure

TASKS = 40
FEATURES = 400


def run(_: Stack) -> None:
    path = dataset_file(FOLDER, "parcels", FEATURES, "gpkg")
    seconds: dict[int, float] = {}
    for tasks in (1, TASKS):
        command = [*GEO_ETL, "ingest", str(path), "--force", "--json"]
        measured = measure([*command, "--set", f"chunk_size={FEATURES // tasks}"])
        assert json.loads(measured.stdout)["summary"]["total_chunks"] == tasks
        seconds[tasks] = measured.seconds
    per_task = (seconds[TASKS] - seconds[1]) / (TASKS - 1)
    print(f"| one task, whole run | {seconds[1]:.1f} s |\n|---|---|")
    print(f"| {TASKS} tasks, whole run | {seconds[TASKS]:.1f} s |")
    print(f"| added by each task, {os.cpu_count()} at a time | {per_task:.2f} s |")
