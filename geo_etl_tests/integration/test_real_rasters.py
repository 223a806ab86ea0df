"""Every real raster, end to end through the job, against what `raster_expectations.py` says of it.

Archives and analysis on the source's grid equal the independent read, pixel for pixel; analysis on
another grid equals the independent warp, but for what an approximating transformer may do.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
import sqlalchemy as sa
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.control import GroundControlPoint
from rasterio.windows import Window

from geo_etl.catalog.validate import validate
from geo_etl.resources import pgstac
from geo_etl.resources.probes import EMPTY
from geo_etl_tests.conftest import failed_checks, failure_of
from geo_etl_tests.integration import raster_independent as independent
from geo_etl_tests.integration.raster_expectations import MADE, REFUSED, ROWS, Made, Refused
from geo_etl_tests.integration.raster_independent import Floats, Raster

RESAMPLING = {"imagery": "cubic", "continuous": "bilinear", "classes": "nearest", "mask": "nearest"}
"""What is fit for a kind of data."""
DOUBT = 0.13
"""Pixels of the source by which GDAL's warper may miss a place (its error threshold is 0.125)."""
MOST_OFF = 0.001
"""Of the pixels: beyond what doubt and rounding explain."""
FEW_PIXELS = 100
"""Of a raster that has no inside, as far from its edges as a kernel reaches."""
MOST_PIXELS = 100_000_000
"""Of a larger raster a part is compared."""
PART_OF_LARGE = Window(17_000, 3_000, 4_000, 3_000)
"""North Africa and Europe, of a map of the world."""
MOST_WARPED = 6_000_000
"""Pixels; of a larger grid parts are warped again."""
EDGE_OF_PART = 900
LARGE_FILE = 2_500_000
SLACK_PIXELS = 8
"""Pixels that a footprint may be generous by."""
LOSSLESS = ("analysis", "archive")
FLAGS = {
    "nodata": {"nodata"},
    "mask": {"per_dataset"},
    "alpha": {"per_dataset", "alpha"},
    "none": {"all_valid"},
}


@pytest.fixture
def served(stack: Any, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ingested is looked at over HTTP too."""
    for server in ("features", "stac", "tiles"):
        monkeypatch.setattr(stack, f"{server}_url", f"{site}/{server}")


@pytest.fixture
def start(
    served: None,
    shared_data: Path,
    run_asset: Callable[..., Any],
    deliver: Callable[..., str],
    unique: str,
    tmp_path: Path,
) -> Callable[..., Any]:
    """Deliver a file with what belongs to it, and run the job."""

    def run(row: Made | Refused, **spec: Any) -> Any:
        path = shared_data / "raster" / row.file
        for sibling in (path.with_name(path.name + ".msk"), path.with_suffix(".jgw")):
            if sibling.exists():
                deliver(sibling)
        key = deliver(path)
        if row.beside is not None:
            extension, text = row.beside
            (tmp_path / f"{path.stem}.{extension}").write_text(text)
            deliver(tmp_path / f"{path.stem}.{extension}")
        return run_asset("raster", key, **{"item_id": unique, **spec, **row.spec})

    return run


def test_every_raster_of_the_list_is_expected_to_do_something(shared_data: Path) -> None:
    listing = (shared_data / "SOURCES.md").read_text()
    section = listing.partition("## Raster")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `([^`]+)`", section, flags=re.MULTILINE))

    assert listed == {row.file for row in ROWS}


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_a_raster_that_needs_a_decision_says_which(
    row: Refused, start: Callable[..., Any], stack: Any, unique: str
) -> None:
    job = start(row)

    assert not job.success
    said = _error_of(job)
    assert set(said) == {"what", "problem", "remedy"}, failure_of(job)
    assert row.problem in said["problem"]
    assert row.remedy in said["remedy"]
    assert said["remedy"].endswith(".")
    assert not list((stack.home / "blobs/silver").rglob(f"*{unique}*"))


@pytest.mark.parametrize("row", MADE, ids=str)
def test_every_pixel_of_a_raster_arrives_as_it_is(
    row: Made, shared_data: Path, start: Callable[..., Any], engine: sa.Engine, unique: str
) -> None:
    job = start(row, output_tier=row.tiers)

    assert job.success, failure_of(job)
    failed = failed_checks(job)
    assert len(failed) == (not row.is_seen), failed
    assert all(EMPTY in one for one in failed), failed
    result = job.output_for_node("raster_cog.verify", "result")
    _check_result(result, row)
    source = _source(shared_data / "raster" / row.file, row)
    _check_source(source, row)
    files = {asset["tier"]: _local(asset["href"]) for asset in result["assets"]}
    if "archive" in files:
        _check_archive(files["archive"], source, row, shared_data)
    if "analysis" in files:
        _check_analysis(files["analysis"], source, row)
    if "visualization" in files:
        _check_visualization(files, result, source, row)
    with engine.connect() as connection:
        item = pgstac.get_item(connection, "system-rasters", unique)
    assert item is not None
    validate(item)
    _check_statistics(item, files)
    _check_place(item, source, row)
    _check_preview(_local(result["preview_url"]), row)


def _error_of(job: Any) -> dict[str, str]:
    """The parts of the error that failed a run; empty for an unforeseen one."""
    for event in job.all_events:
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None:
            metadata = event.step_failure_data.user_failure_data.metadata
            return {name: str(value.value) for name, value in metadata.items()}
    return {}


def _local(href: str) -> Path:
    return Path(href.removeprefix("file://"))


def _source(path: Path, row: Made) -> Raster:
    """The independent read; of a very large raster a part."""
    name = independent.name_of(path)
    window = None
    if row.size[0] * row.size[1] > MOST_PIXELS and row.warped is None:
        window = PART_OF_LARGE
    source = independent.read(name, row.spec.get("source_crs"), window)
    if row.beside is not None:
        a, d, b, e, x, y = map(float, row.beside[1].split())  # of the middle of the first pixel
        source = replace(source, transform=Affine(a, b, x - a / 2 - b / 2, d, e, y - d / 2 - e / 2))
    return source


def _check_result(result: dict[str, Any], row: Made) -> None:
    assert (result["status"], result["form"]) == ("completed", "single")
    assert result["data_kind"] == row.kind
    assert result["nodata"] == (str(row.nodata) if row.nodata != row.nodata else row.nodata)
    _check_crs(result["original_crs"], row.crs)
    for words in row.warnings:
        assert any(words in warning for warning in result["warnings"]), result["warnings"]
    made = {asset["tier"]: asset for asset in result["assets"]}
    assert tuple(made) == row.tiers
    assert all(asset["bands"] == row.bands for tier, asset in made.items() if tier in LOSSLESS)


def _check_crs(found: str, expected: str) -> None:
    if ":" in expected:
        assert CRS.from_user_input(found).equals(CRS.from_user_input(expected), True)
    else:
        assert expected in CRS.from_user_input(found).name


def _check_source(source: Raster, row: Made) -> None:
    """The table of expectations itself is held against the independent read."""
    assert (source.dtype, len(source.pixels)) == (row.dtype, row.bands)
    assert FLAGS[row.validity] <= source.flags
    if row.nodata is not None:
        assert source.nodata == pytest.approx(row.nodata, nan_ok=True)
    assert row.empty == (not source.anywhere.any())


def _check_archive(path: Path, source: Raster, row: Made, shared_data: Path) -> None:
    """As the source in all that it says, and in every pixel."""
    window = PART_OF_LARGE if row.size[0] * row.size[1] > MOST_PIXELS else None
    found = independent.read(str(path), window=window)
    assert found.dtype == row.dtype
    assert FLAGS[row.validity] <= found.flags
    assert found.nodata == pytest.approx(source.nodata, nan_ok=True)
    assert found.described == source.described
    _check_colours(found, source)
    _same_place(found, source)
    assert [_point(point) for point in found.gcps] == [_point(point) for point in source.gcps]
    np.testing.assert_array_equal(found.pixels, source.pixels)
    np.testing.assert_array_equal(found.valid, source.valid)


def _point(point: GroundControlPoint) -> tuple[float, ...]:
    return point.row, point.col, point.x, point.y


def _same_place(found: Raster, source: Raster) -> None:
    assert tuple(found.transform) == pytest.approx(tuple(source.transform), rel=1e-12)
    assert _same_crs(found.crs, source.crs)


def _same_crs(one: str, other: str) -> bool:
    """Whether coordinates mean the same; GeoTIFF does not keep every name."""
    return rasterio.CRS.from_user_input(one) == rasterio.CRS.from_user_input(other) or (
        CRS.from_user_input(one).to_dict() == CRS.from_user_input(other).to_dict()
    )


def _check_colours(found: Raster, source: Raster) -> None:
    """Values keep their colours, and bands their meaning; TIFF has no undefined first band."""
    meant = ["gray" if one == "undefined" else one for one in source.colors]
    assert ["gray" if one == "undefined" else one for one in found.colors] == meant
    used = np.unique(source.pixels[0]) if source.colormap else ()
    assert {v: found.colormap[v][:3] for v in used} == {v: source.colormap[v][:3] for v in used}


def _check_analysis(path: Path, source: Raster, row: Made) -> None:
    if row.warped is None:
        _check_unwarped(path, source, row)
        return
    with rasterio.open(path) as dataset:
        width, height = dataset.width, dataset.height
        transform, crs = dataset.transform, dataset.crs.to_wkt()
    assert row.warped in ((), (width, height))
    target = row.spec.get("target_crs", "EPSG:4326")
    assert _same_crs(crs, source.crs if target == "native" else target)
    assert transform.b == transform.d == 0 < transform.a
    assert transform.e < 0
    _check_whole(source, crs, transform, (height, width))
    for part in _parts(width, height):
        found = independent.read(str(path), window=part)
        assert found.dtype == (row.narrowed or row.dtype)
        assert FLAGS[row.warped_validity or row.validity] <= found.flags
        assert found.described == source.described
        _check_colours(found, source)
        at = independent.source_places(source, crs, found.transform, found.anywhere.shape)
        window = independent.around(at, *row.size)
        there = _cut(source, window)
        at -= np.array([window.col_off, window.row_off])[:, None, None]
        _check_validity(found, there, at)
        if there.anywhere.any():
            _check_values(found, there, row, at)


def _parts(width: int, height: int) -> list[Window]:
    """All of a grid, or of a large one two parts."""
    if width * height <= MOST_WARPED:
        return [Window(0, 0, width, height)]
    places = ((0, 0), (width // 2, height // 2))
    return [Window(col, row, EDGE_OF_PART, EDGE_OF_PART) for col, row in places]


def _cut(source: Raster, window: Window) -> Raster:
    if source.gcps:  # they place the raster from its own corner
        return source
    rows, cols = window.toslices()
    return replace(
        source,
        pixels=source.pixels[:, rows, cols],
        valid=source.valid[:, rows, cols],
        transform=source.transform @ Affine.translation(window.col_off, window.row_off),
    )


def _check_unwarped(path: Path, source: Raster, row: Made) -> None:
    found = independent.read(str(path))
    assert found.dtype == (row.narrowed or row.dtype)
    assert found.nodata == pytest.approx(source.nodata, nan_ok=True)
    assert FLAGS[row.validity] <= found.flags
    assert found.described == source.described
    _check_colours(found, source)
    _same_place(found, source)
    np.testing.assert_array_equal(found.pixels, source.pixels)
    np.testing.assert_array_equal(found.valid, source.valid)


def _check_validity(found: Raster, source: Raster, at: Floats) -> None:
    inside, outside = independent.surely(source.anywhere, at)
    assert np.count_nonzero(inside & ~found.anywhere) <= MOST_OFF * inside.sum()
    assert np.count_nonzero(outside & found.anywhere) <= MOST_OFF * outside.sum()


def _check_whole(source: Raster, crs: str, transform: Affine, shape: tuple[int, int]) -> None:
    """Nothing of the source is cut off: its outermost pixels lie within the grid."""
    longitude, latitude, valid = independent.degrees(source)
    to_grid = Transformer.from_crs(independent.degrees_of(source), crs, always_xy=True)
    x, y = to_grid.transform(longitude[valid], latitude[valid])
    a, _, c, _, e, f = transform[:6]
    if CRS.from_user_input(crs).is_geographic:
        x = (x - c) % 360 + c
    col, row = (x - c) / a, (y - f) / e
    height, width = shape
    lost = (col < -2) | (col > width + 2) | (row < -2) | (row > height + 2)
    assert not lost.any()


def _check_values(found: Raster, source: Raster, row: Made, at: Floats) -> None:
    """The values where all that a kernel reaches is valid, and for classes everywhere."""
    resampling = RESAMPLING[row.kind]
    inside, _ = independent.surely(source.anywhere, at)
    if resampling == "nearest":
        near = independent.near(source.pixels[0], at, DOUBT)
        off = np.logical_and.reduce([found.pixels[0] != one for one in near])
        covered = found.anywhere & np.isfinite(at).all(axis=0)
        assert np.count_nonzero(off & covered) <= MOST_OFF * covered.sum()
        known = np.unique(source.pixels[0][source.anywhere])
        assert np.isin(found.pixels[0][found.anywhere], known).all()
        return
    expected = independent.warped(
        source, found.crs, found.transform, found.pixels.shape[1:], resampling
    )
    for number, band in enumerate(source.data):
        values = found.pixels[band]
        is_float = np.dtype(values.dtype).kind == "f"
        limit = independent.spread(expected[number]) * DOUBT * 3 + (1e-6 if is_float else 1.5)
        wanted = expected[number]
        if not is_float and not np.iscomplexobj(wanted):
            kept = np.iinfo(values.dtype)
            wanted = np.clip(wanted, kept.min, kept.max)
        off = inside & (np.abs(values.astype(wanted.dtype) - wanted) > limit)
        assert np.count_nonzero(off) <= MOST_OFF * inside.sum() + (inside.sum() < FEW_PIXELS)


def _check_visualization(
    files: dict[str, Path], result: dict[str, Any], source: Raster, row: Made
) -> None:
    """Nearly the pixels of analysis, which has the same grid, in red, green and blue."""
    shown, data = (
        independent.read(str(files["visualization"])),
        independent.read(str(files["analysis"])),
    )
    assert shown.dtype == "uint8"
    assert shown.colors[:3] == ("red", "green", "blue")
    _same_place(shown, data)
    expected = data.pixels[:3]
    if source.colormap:
        table = np.zeros((256, 3), "uint8")
        for value, colour in source.colormap.items():
            table[value] = colour[:3]
        expected = np.moveaxis(table[data.pixels[0]], -1, 0)
    valid = data.anywhere
    if "alpha" in source.colors:
        valid = data.pixels[3] > 0
        np.testing.assert_array_equal(shown.pixels[3] > 0, valid)
    else:
        np.testing.assert_array_equal(shown.valid[0], valid)
    ratio = independent.psnr(shown.pixels[:3, valid], expected[:, valid])
    (asset,) = [asset for asset in result["assets"] if asset["tier"] == "visualization"]
    assert ratio >= row.picture
    assert asset["proof"]["psnr_db"] == pytest.approx(ratio, abs=0.1)


def _check_statistics(item: dict[str, Any], files: dict[str, Path]) -> None:
    """Of each asset those of its file, by numpy."""
    for tier, path in files.items():
        if tier not in LOSSLESS or path.stat().st_size > LARGE_FILE:
            continue
        found = independent.read(str(path))
        for number, band in zip(found.data, item["assets"][tier]["bands"], strict=False):
            values = found.pixels[number][found.valid[number]]
            if np.iscomplexobj(values) or not values.size:
                continue
            figures = band["statistics"]
            wide = values.astype("float64")
            assert figures["minimum"] == pytest.approx(wide.min())
            assert figures["maximum"] == pytest.approx(wide.max())
            assert figures["mean"] == pytest.approx(wide.mean(), rel=1e-9)
            assert figures["stddev"] == pytest.approx(wide.std(), rel=1e-6, abs=1e-9)
            percent = 100 * values.size / found.pixels[number].size
            assert figures["valid_percent"] == pytest.approx(percent, abs=1e-3)
            assert sum(band["raster:histogram"]["buckets"]) == values.size


def _check_place(item: dict[str, Any], source: Raster, row: Made) -> None:
    """The footprint has the valid pixels, and not much more; on Earth in WGS 84."""
    if row.size[0] * row.size[1] > MOST_PIXELS and row.warped is None:
        assert item["bbox"] == pytest.approx([-180, -90, 180, 90])
        return
    drawn = shapely.geometry.shape(item["geometry"])
    longitude, latitude, valid = independent.degrees(source)
    if row.empty:
        valid = np.ones_like(valid)
    longitude = (longitude + 180) % 360 - 180
    west, south, east, north = item["bbox"]
    pixel = _pixel(source)
    points = shapely.points(longitude[valid], latitude[valid])
    assert (shapely.distance(drawn, points) <= 2 * pixel).all()
    assert (west > east) == ("crosses the antimeridian" in row.warnings)
    turned = (longitude[valid] - west) % 360
    extent = (east - west) % 360 or 360.0
    slack = 0.02 * max(extent, north - south) + SLACK_PIXELS * pixel
    assert turned[turned < 359].max() == pytest.approx(extent, abs=slack)
    assert latitude[valid].min() == pytest.approx(south, abs=slack)
    assert latitude[valid].max() == pytest.approx(north, abs=slack)


def _pixel(source: Raster) -> float:
    """Edge of a pixel of the source in degrees, about: its diagonal over the number of pixels."""
    height, width = source.anywhere.shape
    longitude, latitude, _ = independent.degrees(source)
    across = math.hypot(np.ptp((longitude + 360) % 360), np.ptp(latitude))
    return across / max(1.0, math.hypot(height - 1, width - 1))


def _check_preview(path: Path, row: Made) -> None:
    shown = independent.picture(path.read_bytes())
    assert max(shown.shape[1:]) <= 512
    assert len(shown) == 4
    if row.empty:
        assert not shown[3].any()
    else:
        assert shown[3].any()
