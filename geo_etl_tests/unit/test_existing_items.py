"""Items of rasters as they lie: ids from paths, documents from headers."""

import re
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.catalog.existing import (
    ExistingFacts,
    existing_collection,
    existing_item,
    item_id_of,
    summarized,
)
from geo_etl.catalog.validate import validate
from geo_etl.errors import GeoEtlError, SourceError, SpecError
from geo_etl.raster.header import SAMPLE_BYTES, Header, read_header
from geo_etl.raster.inspect import inspect
from geo_etl.raster.opening import open_raster
from geo_etl.spec import RasterSpec

WRITTEN = datetime(2024, 5, 17, 10, 30, tzinfo=UTC)
SPEC = RasterSpec()
LARGE = 350_000
"""Bytes of a file whose every pixel takes long to read."""


def header_of(path: Path) -> Header:
    with open_raster(path, path.name, SPEC) as opened:
        return read_header(opened, path.name, SPEC)


def item_of(path: Path, **more: Any) -> dict[str, Any]:
    facts = {
        "item_id": "x",
        "collection_id": "c",
        "blob": f"silver/{path.name}",
        "href": path.as_uri(),
        "size": path.stat().st_size,
        "etag": "abc",
        "modified": WRITTEN,
        "header": header_of(path),
    }
    return existing_item(ExistingFacts(**{**facts, **more}))


def write(path: Path, pixels: np.ndarray, **more: Any) -> Path:
    """A GeoTIFF in UTM, rows of 10 m."""
    count, height, width = pixels.shape
    options = {
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 300_000, 0, -10, 5_600_000),
        "dtype": pixels.dtype.name,
        **more,
    }
    tags = options.pop("tags", {})
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, **options
    ) as out:
        out.write(pixels)
        out.update_tags(**tags)
    return path


# Ids

PATHS = st.text(st.characters(exclude_characters="\0"), min_size=1).filter(lambda p: p[-1] != "/")
TRICKY = st.text("ab_./-T", min_size=1, max_size=8).map(lambda stem: f"{stem}.tif")


@given(PATHS)
def test_an_id_is_legal_whatever_the_path(path: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", item_id_of(path))


@given(TRICKY, TRICKY)
def test_paths_that_differ_have_ids_that_differ(one: str, other: str) -> None:
    assert (item_id_of(one) == item_id_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dem.tif", "dem"),
        ("2020/europe/dem.tif", "2020__europe__dem"),
        ("dem.TIF", "dem.TIF"),
        ("dem.tiff", "dem.tiff"),
        ("scene_1.v2.tif", "scene_1.v2"),
    ],
)
def test_an_id_of_a_plain_path_can_be_read(path: str, expected: str) -> None:
    assert item_id_of(path) == expected


@pytest.mark.parametrize("path", ["a__b.tif", "a b.tif", "Ä.tif", "a.tiff.tif", "x" * 300])
def test_an_id_that_could_be_another_paths_ends_with_a_hash(path: str) -> None:
    assert re.search(r"-[0-9a-f]{8}$", item_id_of(path))


# Documents of real rasters


def test_every_raster_that_can_be_ingested_can_be_catalogued(shared_data: Path) -> None:
    """And the other way round, but for what only a reading of every pixel finds."""
    checked = 0
    for path in sorted((shared_data / "raster").rglob("*.*")):
        if path.suffix in {".msk", ".jgw"} or path.stat().st_size > LARGE:
            continue
        try:
            with open_raster(path, path.name, SPEC) as opened:
                inspected = inspect(opened, path.name, SPEC)
        except GeoEtlError:
            continue
        header = header_of(path)
        validate(item_of(path, header=header))
        assert header.facts.grid == inspected.grid
        assert [band.dtype for band in header.facts.bands] == [
            band.dtype for band in inspected.bands
        ]
        checked += 1
    assert checked >= 15


def test_statistics_of_a_sample_lie_within_those_of_all_pixels(shared_data: Path) -> None:
    path = shared_data / "raster" / "geotiff" / "nocog.tif"
    header = header_of(path)
    with rasterio.open(path) as dataset:
        everything = dataset.read(1, masked=True)
    found = header.facts.bands[0].statistics
    assert not header.is_exact
    assert everything.min() <= found.minimum <= found.maximum <= everything.max()


def test_statistics_of_a_small_raster_are_exact(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 200, (1, 300, 300)).astype(np.uint8)
    (band,) = item_of(write(tmp_path / "a.tif", pixels, nodata=0))["assets"]["data"]["bands"]
    valid = pixels[pixels != 0].astype(float)
    assert band["statistics"]["mean"] == pytest.approx(valid.mean())
    assert band["statistics"]["stddev"] == pytest.approx(valid.std())
    assert band["statistics"]["valid_percent"] == pytest.approx(100 * valid.size / pixels.size)


def test_no_more_pixels_are_read_than_a_sample_has(tmp_path: Path) -> None:
    pixels = np.zeros((3, 4096, 2048), np.uint8)
    path = write(tmp_path / "a.tif", pixels, tiled=True, compress="deflate")
    header = header_of(path)
    assert 0 < header.sampled_pixels * 3 <= SAMPLE_BYTES
    assert "blocks" in header.sampled


def test_a_raster_of_one_enormous_block_has_no_statistics(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3000, 3000), np.uint8)
    edge = {"tiled": True, "blockxsize": 3008, "blockysize": 3008}
    path = write(tmp_path / "a.tif", pixels, compress="deflate", **edge)
    item = item_of(path)
    validate(item)
    assert "statistics" not in item["assets"]["data"]["bands"][0]


def test_scale_offset_and_unit_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((1, 20, 20), np.int16))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.units = (0.5,), (-10.0,), ("m",)
    (band,) = item_of(path)["assets"]["data"]["bands"]
    assert (band["raster:scale"], band["raster:offset"], band["unit"]) == (0.5, -10.0, "m")


def test_complex_numbers_have_no_picture(tmp_path: Path) -> None:
    item = item_of(write(tmp_path / "a.tif", np.ones((1, 20, 20), np.complex64)))
    validate(item)
    assert "renders" not in item["properties"]


# Given by a person


def test_a_given_time_comes_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif",
        np.ones((1, 20, 20), np.uint8),
        tags={"TIFFTAG_DATETIME": "2001:02:03 04:05:06"},
    )
    plain = item_of(path)["properties"]["datetime"]
    given_one = item_of(path, given_datetime=WRITTEN)["properties"]["datetime"]
    assert (plain, given_one) == ("2001-02-03T04:05:06Z", "2024-05-17T10:30:00Z")


@pytest.mark.parametrize("key", ["geo_etl:etag", "proj:code", "datetime", "renders"])
def test_what_is_found_out_can_not_be_given(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "a.tif", np.ones((1, 20, 20), np.uint8))
    with pytest.raises(SpecError, match=key):
        item_of(path, given_properties={key: "x"})


# Collections


def test_a_new_collection_is_valid_without_items() -> None:
    collection = summarized(existing_collection("c", "silver/dem"), [])
    validate(collection)
    assert collection["renders"] == {}


# Hostile rasters


def test_a_document_in_disguise_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"/>')
    with pytest.raises(SourceError, match="a TIFF"):
        header_of(path)


def test_an_overview_of_enormous_blocks_is_refused(tmp_path: Path) -> None:
    """What an overview declares is looked at like what the raster itself declares."""
    path = write(
        tmp_path / "a.tif",
        np.zeros((1, 4096, 4096), np.uint8),
        tiled=True,
        compress="deflate",
        sparse_ok=True,
    )
    with rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE="256"), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([4])
    grow_tiles_of_the_last_directory(path, 65_536)
    with pytest.raises(SourceError, match="blocks of 4,295 MB"):
        header_of(path)


def grow_tiles_of_the_last_directory(path: Path, edge: int) -> None:
    """Set TileWidth and TileLength (TIFF 6.0, section 15) of the last image of a file."""
    content = bytearray(path.read_bytes())
    assert content[:4] == b"II*\0"
    directory = struct.unpack_from("<I", content, 4)[0]
    while True:
        count = struct.unpack_from("<H", content, directory)[0]
        following = struct.unpack_from("<I", content, directory + 2 + 12 * count)[0]
        if not following:
            break
        directory = following
    for number in range(count):
        entry = directory + 2 + 12 * number
        if struct.unpack_from("<H", content, entry)[0] in (322, 323):
            struct.pack_into("<HII", content, entry + 2, 4, 1, edge)
    path.write_bytes(content)
