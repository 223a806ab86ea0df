"""From the finished pieces of a raster to the layer that readers see, and what is said of it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from geo_etl.assets.raster_blobs import LayerFiles, write_files
from geo_etl.assets.raster_documents import collection_and_search, items_of_layer
from geo_etl.catalog.validate import validate
from geo_etl.ingest.clock import Span
from geo_etl.raster.layers import Version, version_made_by
from geo_etl.raster.loads import Load, check_whole
from geo_etl.raster.manifest import RasterManifest
from geo_etl.raster.outputs import blobs_of, reports_of
from geo_etl.raster.publish import Candidate
from geo_etl.resources.blob_storage import BlobStorageResource
from geo_etl.resources.postgis import PostGISResource
from geo_etl.resources.serving import ServingResource


@dataclass(frozen=True)
class PreparedLayer:
    """A layer that can be published.

    Attributes:
        candidate: None when an earlier attempt has published it, as `version`.
    """

    files: LayerFiles
    candidate: Candidate | None
    version: Version


@dataclass(frozen=True)
class PublishedRaster:
    """What the publish made visible.

    Attributes:
        tasks: when the convert tasks ran.
    """

    version: Version
    files: LayerFiles
    tasks: tuple[Span, ...]
    span: Span


def prepare_layer(
    manifest: RasterManifest,
    load: Load,
    blobs: BlobStorageResource,
    postgis: PostGISResource,
    serving: ServingResource,
) -> PreparedLayer:
    """Write what a layer has beside its COGs, and its STAC documents.

    Raises:
        ConservationError: a piece is not done.
        RasterError: a set of tiles has no valid pixel.
        CatalogueError: a document is not valid STAC.
    """
    with postgis.engine.connect() as connection:
        made = version_made_by(connection, load.id)
        if made is not None:
            return PreparedLayer(LayerFiles.among(blobs_of(connection, load.id)), None, made)
        check_whole(connection, load)
        reports = reports_of(connection, load.id)
    storage = blobs.storage
    files = write_files(manifest, reports, load, storage, postgis)
    items = items_of_layer(manifest, reports, files, storage, serving)
    collection, search = collection_and_search(
        manifest, reports, items, files, storage, postgis, serving
    )
    for document in (*items, collection):
        validate(document)
    order = manifest.order
    cogs = [one for report in reports for one in report.made]
    version = Version(
        layer=manifest.layer,
        number=0,
        current=True,
        form=manifest.form,
        source=str(order.source),
        sources=(str(order.source),),
        fingerprint=order.fingerprint,
        job_id=order.job_id,
        load_id=load.id,
        collection_id=manifest.collection_id,
        item_ids=tuple(item["id"] for item in items),
        collection=collection,
        mosaic=None if search is None else {"vrt": files.mosaic, "search_id": search},
        facts=manifest.facts,
        pixels=manifest.facts.grid.pixels,
        bytes=sum(one.size for one in cogs),
        result=None,
        published_at=datetime.now(UTC),
    )
    paths = (*(one.path for one in cogs), *files.paths)
    return PreparedLayer(files, Candidate(load, version, tuple(items), paths), version)
