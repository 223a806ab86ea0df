"""Commands that ingest: one source, from start to end; and the spec it would have."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from geo_etl.cli.raster_words import is_of_raster, show_raster
from geo_etl.cli.words import command, complain, err, out, plain, require_database
from geo_etl.errors import GeoEtlError
from geo_etl.preload import start_forkserver
from geo_etl.settings import get_settings

if TYPE_CHECKING:  # these take half a second to import
    from geo_etl.jobs.entries import Work
    from geo_etl.resources.blobs import BlobStorage
    from geo_etl.spec import CollectionRef, RasterSpec, SourceRef, VectorSpec


@click.command()
@click.option("--schema", is_flag=True, help="JSON Schema of a spec.")
@click.option(
    "--kind",
    type=click.Choice(["vector", "raster"]),
    help="With --schema: of which sources; default vector.",
)
@click.argument("source", required=False)
@command
def spec(schema: bool, kind: str | None, source: str | None) -> None:
    """Show the spec that a source has, everything filled in.

    SOURCE is a blob CONTAINER/PATH, or a folder CONTAINER/FOLDER/ of rasters. With --schema: the
    JSON Schema of all specs.
    """
    from geo_etl.ingest.kinds import extension_of, unknown_kind
    from geo_etl.resources.blob_storage import open_storage
    from geo_etl.resources.blobs import missing_container
    from geo_etl.resources.sources import kind_at
    from geo_etl.spec import CollectionRef, RasterSpec, SourceRef, VectorSpec

    if schema:
        model = RasterSpec if kind == "raster" else VectorSpec
        click.echo(json.dumps(model.model_json_schema(by_alias=True), indent=2))
    elif source and kind is None:
        storage = open_storage(get_settings().storage_url)
        ref: SourceRef | CollectionRef = CollectionRef.parse(source)
        known = storage.containers()
        if ref.container not in known:
            raise missing_container(ref.container, known)
        found = None
        if extension_of(source):  # else it is a folder
            ref = SourceRef.parse(source)
            found = kind_at(storage, ref)
            if found is None:
                raise unknown_kind(source, source)
        resolved = resolved_spec(storage, ref, found or "raster", {})
        click.echo(
            yaml.safe_dump(resolved.canonical(), sort_keys=False, allow_unicode=True), nl=False
        )
    else:
        raise click.UsageError("Give a source, or --schema.")


@click.command()
@click.argument("source")
@click.option(
    "--set",
    "settings_",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the spec, for instance converter_params.layer_name=roads, of a raster "
    "target_crs=native. Repeatable. 'geo-etl spec --schema', with --kind raster for rasters, has "
    "them all.",
)
@click.option("--force", is_flag=True, help="Run again even if this very job is done.")
@click.option("--json", "as_json", is_flag=True, help="Only the result document on stdout.")
@command
def ingest(source: str, settings_: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Ingest a source, or a folder of rasters, start to end.

    SOURCE is a local file, which is put into bronze first with its siblings, or a blob
    CONTAINER/PATH. A folder, local or CONTAINER/FOLDER/, becomes one collection of its rasters.
    """
    from geo_etl.report.documents import FailedResult

    overrides = _overrides(settings_)
    start_forkserver()
    try:
        result = ingest_source(source, overrides, force)
    except JobFailedError as failed:
        complain(failed.error)
        if as_json:
            document = FailedResult.of(failed.source, failed.error)
            click.echo(document.model_dump_json(indent=2))
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        show_result(result)
        for warning in result["warnings"]:
            out.print(f"[yellow]Note:[/yellow] {plain(warning)}")


class JobFailedError(Exception):
    """A job that failed, with its source and the error."""

    def __init__(self, source: str, error: GeoEtlError) -> None:
        super().__init__(str(error))
        self.source = source
        self.error = error


def ingest_source(given: str, overrides: dict[str, Any], force: bool) -> dict[str, Any]:
    """Ingest what a person names, with a line a step on stderr; the result document.

    Raises:
        JobFailedError: the run failed.
    """
    from geo_etl.jobs.delivery import deliver, locate
    from geo_etl.jobs.launch import RunFailedError, run_ingest
    from geo_etl.resources.blob_storage import open_storage
    from geo_etl.spec import SpecLayer, resolve_raster_spec, resolve_vector_spec
    from geo_etl.stack.dagster_instance import open_instance

    settings = get_settings()
    require_database(settings)  # before anything is copied
    storage = open_storage(settings.storage_url)
    root = storage_root(storage)
    located = locate(storage, given, settings.bronze_container, root, overrides)
    # Before anything is copied: a setting that is wrong whatever the source is.
    resolve = resolve_vector_spec if located.work == "vector" else resolve_raster_spec
    resolve([SpecLayer("run configuration", overrides)])
    deliver(storage, located, lambda text: err.print(plain(text)))
    resolved_spec(storage, located.ref, located.work, overrides)
    progress = _Progress()
    key = str(located.ref)
    with open_instance() as instance:
        try:
            result = run_ingest(instance, located.work, key, overrides, force, progress)
        except RunFailedError as error:
            raise JobFailedError(key, error) from None
    if not progress.has_worked:
        err.print("This very job is done already; nothing was done again. --force does it.")
    return result


def storage_root(storage: "BlobStorage") -> Path | None:
    """The folder of local storage; None for other storage."""
    from geo_etl.resources.local_blobs import LocalBlobs

    return storage.root if isinstance(storage, LocalBlobs) else None


def resolved_spec(
    storage: "BlobStorage",
    ref: "SourceRef | CollectionRef",
    work: "Work",
    overrides: dict[str, Any],
) -> "VectorSpec | RasterSpec":
    """The spec of a source or collection that is in storage.

    Raises:
        SpecError: it is not valid.
    """
    from geo_etl.resources.collections import resolve_collection
    from geo_etl.resources.sources import resolve_raster, resolve_spec
    from geo_etl.spec import CollectionRef

    if isinstance(ref, CollectionRef):
        return resolve_collection(storage, ref, overrides)
    resolve = resolve_spec if work == "vector" else resolve_raster
    return resolve(storage, ref, overrides)


class _Progress:
    """One line a step, on stderr."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    @property
    def has_worked(self) -> bool:
        return any(step.startswith(("load", "convert")) for step in self._started)

    def __call__(self, step: str, what: str) -> None:
        if step.startswith("check "):
            err.print(f"[red]Failed:[/red] {plain(step)}")
            return
        if what == "start":
            self._started[step] = time.monotonic()
            return
        seconds = time.monotonic() - self._started.get(step, time.monotonic())
        stage, _, task = step.partition("[")
        label = f"{stage} {task.rstrip(']')}" if task else stage
        err.print(f"  {label:<42} {what:<7} {seconds:7.2f} s", style="dim")


def _overrides(settings_: tuple[str, ...]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for setting in settings_:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise click.UsageError(f"--set {setting}: write it as KEY=VALUE.")
        place = merged
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise click.UsageError(f"--set {setting}: '{parent}' has a value of its own.")
        place[last] = _value(text)
    return merged


class _Loader(yaml.SafeLoader):
    """YAML whose dates stay text: overrides become run configuration, which is JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in tags if not tag.endswith(":timestamp")]
    for first, tags in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _value(text: str) -> Any:
    """A number, a list, ... if the text is one as YAML writes it; else the text."""
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
        json.dumps(value)
    except (yaml.YAMLError, ValueError, TypeError):
        return text
    is_block = isinstance(value, dict) and not text.lstrip().startswith("{")
    return text if is_block else value  # a title like 'Roads: a list'


def show_result(result: dict[str, Any]) -> None:
    """A result document for people, on stdout."""
    if is_of_raster(result):
        show_raster(result)
        return
    summary, tables, copies = result["summary"], result["tables"], result["geoparquet"]
    kinds = dict.fromkeys(table["geometry_type"] for table in tables)
    rows = [
        ("source", result["source"]),
        *(("table", line) for line in _table_lines(result)),
        ("version", _version(result)),
        ("read", f"{summary['features_read']:,}"),
        ("loaded", f"{summary['features_loaded']:,}"),
        ("repaired", f"{summary['features_repaired']:,}"),
        ("quarantined", _quarantined(result)),
        ("dropped", f"{summary['features_dropped']:,} (no geometry)"),
        ("geometry", f"{', '.join(kinds)}, from {result['original_crs']}"),
        ("took", f"{result['processing_time_seconds']:.1f} s, {result['tasks_executed']} tasks"),
        ("job", result["job_id"][:8]),
        ("report", result["quality_report_url"]),
        *(("features", table["ogc_features_url"]) for table in tables),
        ("map", result["viewer_url"] or "not served: run 'geo-etl serve'"),
        *(("geoparquet", href) for href in copies[:1]),
        ("", f"and {len(copies) - 1} more files" if len(copies) > 1 else ""),
        *(
            ("catalogue", f"{table['stac']['collection_id']}/{table['stac']['item_id']}")
            for table in tables
        ),
    ]
    for name, value in rows:
        if value:
            out.print(f"[bold]{name:<11}[/bold]  {plain(value)}")


def _table_lines(result: dict[str, Any]) -> list[str]:
    """Each table; with what it got where there are several."""
    tables = result["tables"]
    if len(tables) == 1:
        return [tables[0]["table"]]
    return [f"{table['table']} ({table['features_loaded']:,} loaded)" for table in tables]


def _version(result: dict[str, Any]) -> str:
    """Of the one table, and what it holds when that is more than was loaded."""
    if len(result["tables"]) > 1:
        return ""  # each has its own: 'geo-etl versions'
    number, method = result["version"], result["load_method"]
    if method not in ("append", "upsert"):
        return f"{number}"
    return f"{number} ({method}: {result['tables'][0]['features_total']:,} features now)"


def _quarantined(result: dict[str, Any]) -> str:
    count = f"{result['summary']['features_quarantined']:,}"
    if count == "0":
        return count
    tables = [table["table"] for table in result["tables"]]
    return f"{count} (see 'geo-etl quarantine {tables[0] if len(tables) == 1 else 'TABLE'}')"
