"""Running an ingest from this process, as `geo-etl ingest` does: the same job as everywhere."""

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run_iterator

from geo_etl.assets.liveness import HOST, HOST_TAG, end_dead_runs
from geo_etl.errors import GeoEtlError, SourceError, StorageError
from geo_etl.ingest.siblings import MAIN, group_of, is_shapefile
from geo_etl.partitions import vector_sources
from geo_etl.resources.blobs import Blob, BlobStorage
from geo_etl.resources.sources import content_hash, parts_of
from geo_etl.spec import SourceRef, sidecar_names
from geo_etl.spec.resolve import FOLDER_DEFAULTS
from geo_etl.vector.source import format_of

JOB = "ingest_vector"
ASSET_STEP = "vector_table"


class RunFailedError(GeoEtlError):
    """A run that failed, with the error that failed it."""


def _on_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def find_source(
    storage: BlobStorage,
    given: str,
    bronze: str,
    root: Path | None,
    say: Callable[[str], None] = _on_stderr,
    extension: str | None = None,
) -> SourceRef:
    """What a person means: a local file (put into bronze first), or a blob.

    Args:
        root: folder of local storage, when storage is local: a file in it is a blob already.
        say: called with what a person should know at once.
        extension: what the file is, where its name misleads (`file_extension` of the spec).

    Raises:
        SourceError: it is neither.
    """
    path = Path(given)
    if path.is_file():
        resolved = path.resolve()
        if root is not None and resolved.is_relative_to(root.resolve()):
            return SourceRef.parse(str(resolved.relative_to(root.resolve())))
        format_of(path.name, extension)
        return _put(storage, path, bronze, say)
    container = given.partition("/")[0]
    if container and container in storage.containers():
        source = SourceRef.parse(given)
        try:
            storage.stat(source)
        except StorageError as error:
            raise SourceError(
                f"'{given}'", f"it is no file here, and no blob: {error.problem}", error.remedy
            ) from None
        return source
    raise SourceError(
        f"'{given}'", "there is no such file", f"Give a file, or a blob like {bronze}/roads.gpkg."
    )


def _put(storage: BlobStorage, path: Path, bronze: str, say: Callable[[str], None]) -> SourceRef:
    """Copy a file and its siblings into bronze, where their very content is not there already.

    Siblings of a shapefile that was there before are removed: they say nothing of this one.
    """
    storage.create_container(bronze)
    source = SourceRef(bronze, path.name)
    try:
        there = parts_of(storage, source)
    except StorageError:
        there = {}
    here = group_of(path) if is_shapefile(path.name) else {MAIN: path}
    stale = {role: blob for role, blob in there.items() if role not in here}
    changed = [role for role, file in here.items() if not _is_there(storage, file, there.get(role))]
    if there and (changed or stale):
        say(f"{source} is in bronze already, with other content: it is replaced.")
    for blob in stale.values():
        storage.delete(blob.ref)
    for role in sorted(changed, key=lambda role: role == MAIN):  # a .shp is followed up: it is last
        name = path.name if role == MAIN else f"{path.name[:-4]}.{role}"
        _copy(storage, here[role], there[role].ref if role in there else SourceRef(bronze, name))
    for name in sidecar_names(source):
        beside = path.with_name(name)
        if name != FOLDER_DEFAULTS and beside.is_file():
            _copy(storage, beside, SourceRef(bronze, name))
    return source


def _is_there(storage: BlobStorage, path: Path, blob: Blob | None) -> bool:
    """Whether a blob has the content of a file."""
    if blob is None or blob.size != path.stat().st_size:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest == content_hash(storage, {MAIN: blob})


def _copy(storage: BlobStorage, path: Path, ref: SourceRef) -> None:
    with path.open("rb") as file, storage.write(ref) as blob:
        shutil.copyfileobj(file, blob, 8_000_000)


def run_ingest(
    instance: DagsterInstance,
    source: SourceRef,
    overrides: dict[str, Any],
    force: bool,
    on_step: Callable[[str, str], None],
) -> dict[str, Any]:
    """Ingest one source and wait.

    Args:
        on_step: called with a step's key and `start`, `done`, `retry` or `failed`; with what
            failed for an asset check.

    Returns:
        The result document.

    Raises:
        RunFailedError: the run failed; what failed it.
    """
    repository = ReconstructableRepository.for_module("geo_etl.definitions", "defs")
    job = repository.get_reconstructable_job(JOB)
    end_dead_runs(instance)
    instance.add_dynamic_partitions(str(vector_sources.name), [str(source)])
    run = instance.create_run_for_job(
        job_def=job.get_definition(),
        run_config={
            "ops": {ASSET_STEP: {"config": {"spec": overrides, "force": force}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        tags={"dagster/partition": str(source), HOST_TAG: HOST},
        job_code_origin=job.get_python_origin(),
        status=DagsterRunStatus.NOT_STARTED,
    )
    result: dict[str, Any] | None = None
    failure: GeoEtlError | None = None
    for event in execute_run_iterator(job, run, instance):
        step = (event.step_key or "").removeprefix(f"{ASSET_STEP}.")
        if event.event_type == DagsterEventType.STEP_START:
            on_step(step, "start")
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            on_step(step, "done")
        elif event.event_type == DagsterEventType.STEP_UP_FOR_RETRY:
            on_step(step, "retry")
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            on_step(step, "failed")
            failure = failure or _failure(step, event.step_failure_data)
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                on_step(f"check {check.check_name}: {check.description}", "failed")
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            metadata = event.step_materialization_data.materialization.metadata
            result = metadata["result"].value  # type: ignore[assignment]
    finished = instance.get_run_by_id(run.run_id)
    if result is None or finished is None or finished.status != DagsterRunStatus.SUCCESS:
        raise failure or RunFailedError(
            f"run {run.run_id[:8]}",
            "it ended without a result",
            f"See 'geo-etl tasks {run.run_id[:8]}' or the Dagster UI.",
        )
    return result


def _failure(step: str, data: Any) -> RunFailedError:
    user = data.user_failure_data
    if user is not None and "remedy" in user.metadata:
        what, problem, remedy = (
            str(user.metadata[key].value) for key in ("what", "problem", "remedy")
        )
        return RunFailedError(what, problem, remedy)
    said = user.description if user is not None else None
    said = said or (data.error.message.strip() if data.error is not None else "it died")
    return RunFailedError(f"step {step}", said.rstrip("."), "See the run's log in the Dagster UI.")
