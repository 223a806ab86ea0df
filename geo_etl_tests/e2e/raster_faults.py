"""A raster that becomes a set of tiles, who reads that set, and what is left in silver.

A pixel says of which version its raster is: it is from 20 to 39 in version 0, from 40 to 59 in
version 1, and so on.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import psycopg
import rasterio
from affine import Affine

from geo_etl_tests.e2e.faults import Ended, Poller, Running, Site
from geo_etl_tests.raster_sources import UTM, write

SIDE = 2100
"""A little more than one step of the tile grid: four tiles, three of them small."""
TILES = 4
TILED = {
    "target_crs": "native",
    "data_kind": "continuous",
    "max_raster_size_gb": "0.002",
    "target_tile_size_gb": "0.001",
}
MEMBERS, MEMBER_SIDE = 4, 100
STEP = 20
VERSIONS = 11
"""That pixels can tell from each other."""


def pixels_of(version: int, side: int = SIDE) -> np.ndarray:
    """Pixels of shape (1, side, side)."""
    y, x = np.mgrid[0:side, 0:side]
    return ((x // 7 + y // 5) % STEP + STEP * (version + 1)).astype("uint8")[None]


def version_of(pixels: np.ndarray) -> int:
    """Of which one version pixels are."""
    versions = np.unique(pixels // STEP)
    assert versions.size == 1, versions
    return int(versions[0]) - 1


@dataclass(frozen=True)
class Sent:
    """A raster to ingest, which becomes a layer that is called as its file."""

    path: Path
    version: int

    @property
    def layer(self) -> str:
        return self.path.stem

    @property
    def source(self) -> str:
        return f"bronze/{self.path.name}"

    def ingest(self, site: Site, *, retries: bool = True, **env: str) -> Running:
        """Start its ingest, its temporary files in a folder of the test's own."""
        env = {"TMPDIR": str(site.scratch), **env}
        return site.ingest_with(str(self.path), TILED, retries=retries, **env)


@dataclass(frozen=True)
class Folder:
    """A folder of rasters side by side to ingest, which becomes a collection of its name."""

    path: Path
    version: int

    @property
    def layer(self) -> str:
        return self.path.name

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of all members together."""
        return MEMBER_SIDE, MEMBERS * MEMBER_SIDE

    def ingest(self, site: Site) -> Running:
        """Start its ingest, its temporary files in a folder of the test's own."""
        settings = {"target_crs": "native", "data_kind": "continuous"}
        return site.ingest_with(f"{self.path}/", settings, TMPDIR=str(site.scratch))


def send_folder(path: Path, version: int) -> Folder:
    """Write members `m0` to `m3`, in place of what was there."""
    path.mkdir(exist_ok=True)
    for number in range(MEMBERS):
        place = UTM @ Affine.translation(number * MEMBER_SIDE, 0)
        name = path / f"m{number}.tif"
        name.unlink(missing_ok=True)
        write(name, pixels_of(version, MEMBER_SIDE), transform=place)
    return Folder(path, version)


class Series:
    """Versions of one raster, each sent when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sent = -1

    def next(self) -> Sent:
        """The version after the one that was sent last."""
        self.sent = (self.sent + 1) % VERSIONS
        return send(self.path, self.sent)


def send(path: Path, version: int) -> Sent:
    """Write a raster in place of what was there."""
    path.unlink(missing_ok=True)
    write(path, pixels_of(version), tiled=True, compress="deflate")
    return Sent(path, version)


def local(href: str) -> Path:
    """The file behind a `file:` address."""
    parts = urlsplit(href)
    assert parts.scheme == "file", href
    return Path(unquote(parts.path))


@dataclass(frozen=True)
class Seen:
    """What a reader finds of a layer.

    Attributes:
        version: that all its files are of.
        items: how many STAC items it has.
        tiles: how many tiles `geo.tiles` calls published.
    """

    version: int
    items: int
    tiles: int


class LayerReader(Poller):
    """Reads all of a set as a client does: the catalogue, then every file that it names."""

    def __init__(self, site: Site, layer: str, shape: tuple[int, int] = (SIDE, SIDE)) -> None:
        super().__init__(site)
        self._layer = layer
        self._shape = shape

    def look(self, connection: psycopg.Connection[Any]) -> Seen | None:
        """None while there is no such collection."""
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            collection = connection.execute(
                "SELECT content FROM pgstac.collections WHERE id = %s", [self._layer]
            ).fetchone()
            items = connection.execute(
                "SELECT pgstac.get_item(id, collection) FROM pgstac.items WHERE collection = %s",
                [self._layer],
            ).fetchall()
            tiles = connection.execute(
                "SELECT blobs FROM geo.tiles WHERE layer = %s AND state = 'published'",
                [self._layer],
            ).fetchall()
        if collection is None:
            assert not items
            assert not tiles
            return None
        read = [read_item(item) for (item,) in items]
        versions = {version for version, _ in read}
        assert sum(pixels for _, pixels in read) == math.prod(self._shape)
        for name, asset in collection[0]["assets"].items():
            assert "source" in asset["roles"] or local(asset["href"]).stat().st_size, name
        mosaic = local(collection[0]["assets"]["mosaic"]["href"])
        with rasterio.open(mosaic) as file:
            assert file.shape == self._shape
            # Nearest neighbours, so that nothing is mixed; some of every tile, also the small.
            versions.add(version_of(file.read(1, out_shape=(100, 100))))
        if tiles:
            recorded = {Path(path).name for (blobs,) in tiles for path in blobs.values()}
            named = {path.name for (item,) in items for path in files_of(item)}
            assert recorded == {name for name in named if name.endswith(".tif")}
        (version,) = versions
        return Seen(version, len(items), len(tiles))


def files_of(item: dict[str, Any]) -> set[Path]:
    """Files that an item names; its source is no address."""
    assets = item["assets"].values()
    return {local(asset["href"]) for asset in assets if "source" not in asset["roles"]}


def read_item(item: dict[str, Any]) -> tuple[int, int]:
    """Version and number of the pixels of an item, all of whose files are there."""
    found = files_of(item)
    assert all(path.stat().st_size for path in found)
    (cog,) = (path for path in found if path.suffix == ".tif")
    with rasterio.open(cog) as file:
        return version_of(file.read(1)), file.width * file.height


def assert_published(site: Site, sent: Sent) -> None:
    """Readers see one whole version, and every pixel is as it was sent."""
    with site.connect() as connection:
        seen = LayerReader(site, sent.layer).look(connection)
    assert seen == Seen(sent.version, TILES, TILES)
    mosaic = site.one(
        "SELECT content->'assets'->'mosaic'->>'href' FROM pgstac.collections WHERE id = %s",
        sent.layer,
    )
    with rasterio.open(local(mosaic)) as file:
        np.testing.assert_array_equal(file.read(), pixels_of(sent.version))


def assert_unpublished(site: Site, layer: str) -> None:
    with site.connect() as connection:
        assert LayerReader(site, layer).look(connection) is None
    assert not site.rows("SELECT 1 FROM geo_etl.raster_publication WHERE layer = %s", layer)


def assert_whole(site: Site, sent: Sent, ended: Ended) -> None:
    """A raster is published once and completely, and nothing is left over."""
    assert ended.code == 0, ended.err
    summary = ended.document["summary"]
    assert (summary["total_tiles"], summary["tiles_converted"]) == (TILES, TILES)
    assert summary["data_complete"]
    assert summary["pixels"] == summary["pixels_valid"] == SIDE * SIDE
    assert_published(site, sent)
    ((job_id, result, load_id),) = site.rows(
        "SELECT job_id, result, load_id FROM geo_etl.raster_publication"
        " WHERE layer = %s AND current",
        sent.layer,
    )
    assert (job_id, result) == (ended.document["job_id"], ended.document)
    loads = site.rows("SELECT id, state FROM geo_etl.raster_load WHERE source = %s", sent.source)
    assert {state for _, state in loads} == {"published"}
    assert load_id == max(number for number, _ in loads)
    assert_no_orphan(site, sent.layer)


def assert_no_orphan(site: Site, layer: str) -> None:
    """What lies in silver of a layer is what the versions consist of that can be restored."""
    kept = site.rows(
        "SELECT o.path FROM geo_etl.raster_output o JOIN geo_etl.raster_publication p"
        " USING (load_id) WHERE split_part(p.layer, '/', 1) = %s AND o.kept",
        layer,
    )
    assert silver_files(site, layer) == {path for (path,) in kept}


def silver_files(site: Site, layer: str = "") -> set[str]:
    """Every file below a layer's folder, also those that storage does not list."""
    blobs = site.home / "blobs"
    folder = blobs / "silver" / "rasters" / layer
    return {str(path.relative_to(blobs)) for path in folder.rglob("*") if path.is_file()}


def done_pieces(site: Site, sent: Sent) -> dict[int, str]:
    """Pieces of the newest load of a source that are done, each with its record."""
    rows = site.rows(
        "SELECT index, report::text FROM geo_etl.raster_piece WHERE report IS NOT NULL"
        " AND load_id = (SELECT max(id) FROM geo_etl.raster_load WHERE source = %s)",
        sent.source,
    )
    return dict(rows)
