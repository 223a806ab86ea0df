"""The command that shows result documents."""

import json

import click

from geo_etl.cli.raster_words import raster_layer
from geo_etl.cli.words import command
from geo_etl.errors import PublishError
from geo_etl.settings import get_settings


@click.command()
@click.argument("layer", required=False, metavar="[TABLE_OR_LAYER]")
@click.option("--schema", is_flag=True, help="JSON Schema of result documents.")
@click.option(
    "--kind",
    type=click.Choice(["vector", "raster"]),
    default="vector",
    help="With --schema: of which documents.",
)
@command
def result(layer: str | None, schema: bool, kind: str) -> None:
    """Show the result document of a table or raster layer.

    It is of the job that published what readers see now. A table is SCHEMA.TABLE, or its name in
    schema geo; a raster layer is COLLECTION/ITEM, or the collection of a set of tiles or rasters.

    With --schema: the JSON Schema of all result documents.
    """
    from geo_etl.report.raster_result import raster_result_schema, read_result
    from geo_etl.report.result import VectorResult, result_schema
    from geo_etl.resources.postgis import engine_for
    from geo_etl.vector.versions import Target, published_version

    if schema:
        documents = raster_result_schema() if kind == "raster" else result_schema()
        click.echo(json.dumps(documents, indent=2))
        return
    if not layer:
        raise click.UsageError("Give a table or a raster layer, or --schema.")
    with engine_for(get_settings().database()).connect() as connection:
        raster = raster_layer(connection, layer)
        if raster is not None:
            job_id, stored = raster.job_id, raster.result
        else:
            version = published_version(connection, Target.parse(layer))
            job_id, stored = version.job_id, version.result
    if stored is None:
        raise PublishError(
            f"{'raster layer' if raster else 'table'} {layer}",
            f"the job {job_id[:8]} that published it has not come to its end",
            f"Wait for it ('geo-etl tasks {job_id[:8]}'), or ingest the source again.",
        )
    document = read_result(stored) if raster else VectorResult.model_validate(stored)
    click.echo(document.model_dump_json(indent=2))
