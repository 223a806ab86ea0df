"""Warped pixels are GDAL's, do not depend on tiles, and invalid ones stay invalid."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import MaskFlags, Resampling
from rasterio.transform import from_gcps
from rasterio.warp import reproject

from geo_etl.errors import RasterError
from geo_etl.raster.facts import Grid, RasterFacts, Window
from geo_etl.raster.manifest import TierPlan
from geo_etl.raster.opening import Opened
from geo_etl.raster.reference import reference
from geo_etl.raster.tiling import SMALLEST_CELL, TILE_STEP, cell_shape
from geo_etl.raster.warp import warp
from geo_etl_tests.unit.rasters import facts_of, plan_of, rolling, utm, write


def warped(
    path: Path, facts: RasterFacts, plan: TierPlan, window: Window | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and mask (0 or 255) of a window, by default of all of the grid."""
    target = path.with_name(f"warped-{path.name}")
    with rasterio.open(path) as dataset:
        warp(dataset, facts, plan, window or plan.grid.whole, target, "test.tif")
    with rasterio.open(target) as made:
        assert made.dtypes[0] == plan.profile.dtype
        assert made.crs == plan.grid.crs
        return made.read(), made.dataset_mask()


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "lanczos", "average"])
@pytest.mark.parametrize("validity", ["nodata", "mask", "alpha"])
@pytest.mark.parametrize("shape", [(260, 2300), (2300, 260)])
def test_tiles_equal_the_untiled_raster_bit_for_bit(
    resampling: str, validity: Any, shape: tuple[int, int], tmp_path: Path
) -> None:
    grid = utm(shape[1], shape[0])
    holes = np.random.default_rng(1).random(shape) < 0.05
    pixels = np.random.default_rng(2).integers(1, 250, (2, *shape), "uint8")
    known: dict[str, Any] = {}
    written: dict[str, Any] = {}
    if validity == "nodata":
        pixels[:, holes] = 0
        known = written = {"nodata": 0}
    elif validity == "mask":
        written = {"mask": np.where(holes, 0, 255).astype("uint8")}
    else:
        pixels[1] = np.where(holes, 0, 255)
        known = written = {"alpha": 2}
    path = write(tmp_path / "noise.tif", pixels, grid, **written)
    facts = facts_of(grid, "uint8", "uint8", validity=validity, **known)
    plan = plan_of(facts, "EPSG:3857", resampling)
    whole, mask = warped(path, facts, plan)
    width, height = plan.grid.width, plan.grid.height
    assert max(width, height) > TILE_STEP
    if width > height:
        axis, second = 2, Window(TILE_STEP, 0, width - TILE_STEP, height)
        first = Window(0, 0, TILE_STEP, height)
    else:
        axis, second = 1, Window(0, TILE_STEP, width, height - TILE_STEP)
        first = Window(0, 0, width, TILE_STEP)
    tiles = [warped(path, facts, plan, window) for window in (first, second)]
    assert np.array_equal(np.concatenate([tile for tile, _ in tiles], axis), whole)
    assert np.array_equal(np.concatenate([tile for _, tile in tiles], axis - 1), mask)
    assert 0 < np.count_nonzero(mask) < mask.size


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_pixels_are_those_of_one_call_of_gdals_warper(
    resampling: str, crs: str, tmp_path: Path
) -> None:
    grid, pixels = utm(700, 600), rolling(700, 600)
    path = write(tmp_path / "waves.tif", pixels, grid, nodata=-9999)
    facts = facts_of(grid, "float32", nodata=-9999)
    plan = plan_of(facts, crs, resampling)
    expected = np.empty((1, plan.grid.height, plan.grid.width), "float32")
    reproject(
        pixels,
        expected,
        src_crs=grid.crs,
        src_transform=grid.transform,
        src_nodata=-9999,
        dst_crs=crs,
        dst_transform=plan.grid.transform,
        dst_nodata=-9999,
        resampling=Resampling[resampling],
    )
    assert np.array_equal(warped(path, facts, plan)[0], expected)


def test_sharpness_is_the_same_all_over(tmp_path: Path) -> None:
    """Also where a cell of the target lies half beside the source."""
    grid = Grid("EPSG:32633", Affine(10, 0, 700_000, 0, -10, 7_000_000), 1500, 4200)
    noise = np.random.default_rng(3).random((1, 4200, 1500)).astype("float32")
    path = write(tmp_path / "noise.tif", noise, grid, nodata=-9999)
    facts = facts_of(grid, "float32", nodata=-9999)
    plan = plan_of(facts)
    pixels = warped(path, facts, plan)[0][0]
    last = plan.grid.height - 200
    assert TILE_STEP < last < 2 * TILE_STEP
    spread = [
        np.std(part[part != -9999])
        for row in (100, 1000, 1800, last)
        for part in [pixels[row : row + 100]]
    ]
    assert max(spread) / min(spread) < 1.01


def test_classes_are_never_interpolated(tmp_path: Path) -> None:
    grid = utm(300, 300)
    classes = np.random.default_rng(4).choice([3, 90, 200], (1, 300, 300)).astype("uint8")
    path = write(tmp_path / "classes.tif", classes, grid, nodata=0)
    facts = facts_of(grid, "uint8", nodata=0, kind="classes")
    pixels, _ = warped(path, facts, plan_of(facts, resampling="nearest"))
    assert set(np.unique(pixels)) == {0, 3, 90, 200}


@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "average"])
def test_nodata_never_mixes_with_values(resampling: str, tmp_path: Path) -> None:
    grid = utm(300, 300)
    pixels = np.full((1, 300, 300), 100, "float32")
    pixels[:, 100:150, 100:150] = -9999
    path = write(tmp_path / "hole.tif", pixels, grid, nodata=-9999)
    facts = facts_of(grid, "float32", nodata=-9999)
    found, mask = warped(path, facts, plan_of(facts, resampling=resampling))
    assert np.allclose(found[0][mask > 0], 100)
    assert (found[0][mask == 0] == -9999).all()


def test_a_nodata_value_of_the_spec_counts_not_that_of_the_file(tmp_path: Path) -> None:
    grid = utm(100, 100)
    pixels = np.full((1, 100, 100), 50, "int16")
    pixels[:, :, 40:60] = 7
    path = write(tmp_path / "nodata.tif", pixels, grid, nodata=50)
    facts = facts_of(grid, "int16", nodata=7)
    found, mask = warped(path, facts, plan_of(facts))
    assert set(found[0][mask > 0]) == {50}
    assert set(found[0][mask == 0]) == {7}


def test_bands_lose_their_missing_values_one_by_one_but_colours_as_a_whole(tmp_path: Path) -> None:
    grid = utm(200, 200)
    pixels = np.full((3, 200, 200), 80, "uint8")
    pixels[0, :, 100:] = 0
    path = write(tmp_path / "three.tif", pixels, grid, nodata=0)
    measured = facts_of(grid, *["uint8"] * 3, nodata=0)
    plan = plan_of(measured)
    bands, mask = warped(path, measured, plan)
    assert set(bands[0][mask > 0]) == {0, 80}
    colours, mask = warped(path, replace(measured, kind="imagery"), plan)
    red = colours[0][mask > 0]
    assert len(set(red)) > 2, "red fades from 80 to 0: both are colours"


def test_what_the_source_does_not_cover_is_masked(tmp_path: Path) -> None:
    grid = utm(400, 300)
    path = write(tmp_path / "plain.tif", np.zeros((1, 300, 400), "uint8"), grid)
    facts = facts_of(grid, "uint8")
    plan = plan_of(facts, validity="mask")
    _, mask = warped(path, facts, plan)
    middle, corner = mask[mask.shape[0] // 2, mask.shape[1] // 2], mask[0, -1]
    assert (middle, corner) == (255, 0)
    assert set(np.unique(mask)) == {0, 255}
    with rasterio.open(tmp_path / "warped-plain.tif") as made:
        assert made.mask_flag_enums == ([MaskFlags.per_dataset],)
        assert made.files == [made.name], "the mask is in the file"


def test_floats_without_nodata_become_nan_where_nothing_is(tmp_path: Path) -> None:
    grid = utm(400, 300)
    path = write(tmp_path / "plain.tif", np.ones((1, 300, 400), "float32"), grid)
    facts = facts_of(grid, "float32")
    found, _ = warped(path, facts, plan_of(facts, validity="nodata", nodata=float("nan")))
    assert np.isnan(found).any()
    assert set(found[~np.isnan(found)]) == {1.0}


def test_a_mask_goes_with_its_pixels(tmp_path: Path) -> None:
    grid = utm(200, 200)
    mask = np.zeros((200, 200), "uint8")
    mask[50:150, 50:150] = 255
    pixels = np.where(mask, 100, 255).astype("uint8")[np.newaxis]
    path = write(tmp_path / "masked.tif", pixels, grid, mask=mask)
    facts = facts_of(grid, "uint8", validity="mask")
    plan = plan_of(facts, "EPSG:3857")
    found, valid = warped(path, facts, plan)
    # At 50° north a metre is 1.55 m of web mercator: count pixels by their area.
    share = np.count_nonzero(valid) * plan.grid.transform.a**2
    assert share == pytest.approx((1000 / np.cos(np.radians(50.5))) ** 2, rel=0.04)
    assert set(found[0][valid > 0]) == {100}


def test_an_alpha_band_keeps_its_place(tmp_path: Path) -> None:
    grid = utm(200, 200)
    pixels = np.stack([np.full((200, 200), value, "uint16") for value in (10, 65535, 30)])
    pixels[1, :60] = 0
    path = write(tmp_path / "alpha.tif", pixels, grid, alpha=2)
    facts = facts_of(grid, "uint16", "uint16", "uint16", alpha=2)
    found, _ = warped(path, facts, plan_of(facts))
    opaque = found[1] == 65535
    assert set(np.unique(found[1])) <= {0, 65535} | set(range(1, 65535))
    assert 0.3 < opaque.mean() < 0.7
    assert set(found[0][opaque]) == {10}
    assert set(found[2][opaque]) == {30}
    with rasterio.open(tmp_path / "warped-alpha.tif") as made:
        assert [color.name for color in made.colorinterp] == ["gray", "alpha", "undefined"]


@pytest.mark.parametrize("resampling", ["cubic", "average", "max"])
def test_a_raster_is_turned_over_without_touching_a_pixel(resampling: str, tmp_path: Path) -> None:
    south_up = Grid("EPSG:4326", Affine(0.1, 0, 5, 0, 0.1, 40), 300, 200)
    pixels = np.random.default_rng(6).random((1, 200, 300)).astype("float32")
    pixels[0, 50, 60], pixels[0, 90, 200] = np.inf, np.nan
    path = write(tmp_path / "south-up.tif", pixels, south_up)
    facts = facts_of(south_up, "float32")
    found, _ = warped(path, facts, plan_of(facts, "native", resampling))
    assert np.array_equal(found, pixels[:, ::-1], equal_nan=True)


def test_longitudes_up_to_360_move_without_touching_a_pixel(tmp_path: Path) -> None:
    model = Grid("EPSG:4326", Affine(2.5, 0, 0, 0, -2.5, 90), 144, 72)
    pixels = np.random.default_rng(7).random((2, 72, 144)).astype("float64")
    path = write(tmp_path / "model.tif", pixels, model)
    facts = facts_of(model, "float64", "float64")
    found, _ = warped(path, facts, plan_of(facts, validity="nodata", nodata=float("nan")))
    assert np.array_equal(found, np.roll(pixels, 72, axis=2))


def test_longitudes_up_to_360_reach_web_mercator_without_a_gap(tmp_path: Path) -> None:
    model = Grid("EPSG:4326", Affine(1, 0, 0, 0, -1, 80), 360, 160)
    path = write(tmp_path / "model.tif", np.ones((1, 160, 360), "uint8"), model)
    facts = facts_of(model, "uint8")
    plan = plan_of(facts, "EPSG:3857", "nearest", validity="mask")
    _, mask = warped(path, facts, plan)
    assert plan.grid.bounds[0] == pytest.approx(-20037508.34, abs=plan.grid.transform.a)
    assert (mask[5:-5] == 255).all()


def test_pixels_lie_where_they_were_across_180_degrees(tmp_path: Path) -> None:
    grid = Grid("EPSG:32660", Affine(100, 0, 650_000, 0, -100, 5_700_000), 900, 300)
    columns = np.broadcast_to(np.arange(900, dtype="float32"), (1, 300, 900))
    path = write(tmp_path / "dateline.tif", columns, grid, nodata=-1)
    facts = facts_of(grid, "float32", nodata=-1)
    plan = plan_of(facts)
    found, _ = warped(path, facts, plan)
    middle = found[0, plan.grid.height // 2]
    steps = np.diff(middle[middle != -1])
    assert plan.grid.bounds[0] < 180 < plan.grid.bounds[2]
    assert steps.size > 800
    assert (steps > 0.5).all()
    assert (steps < 1.5).all()


def test_a_pole_is_filled(tmp_path: Path) -> None:
    grid = Grid("EPSG:3413", Affine(10_000, 0, -2e6, 0, -10_000, 2e6), 400, 400)
    path = write(tmp_path / "pole.tif", np.ones((1, 400, 400), "uint8"), grid)
    facts = facts_of(grid, "uint8")
    plan = plan_of(facts, "EPSG:4326", "nearest", validity="mask")
    _, mask = warped(path, facts, plan)
    top = mask[: plan.grid.height // 3]
    assert (top == 255).mean() > 0.99


def test_control_points_are_used(tmp_path: Path) -> None:
    pixels = rolling(200, 100, "uint8")
    points = [
        GroundControlPoint(row, col, 10 + col * 0.01, 50 - row * 0.01)
        for row in (0, 50, 100)
        for col in (0, 100, 200)
    ]
    path = tmp_path / "points.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=200, height=100, count=1, dtype="uint8",
        gcps=points, crs="EPSG:4326",
    ) as out:  # fmt: skip
        out.write(pixels)
    grid = Grid("EPSG:4326", from_gcps(points), 200, 100)
    gcps = tuple((point.col, point.row, point.x, point.y) for point in points)
    facts = facts_of(grid, "uint8", georeference="gcps", gcps=gcps)
    found, mask = warped(path, facts, plan_of(facts, "native", "nearest", validity="mask"))
    assert np.array_equal(found, pixels)
    assert (mask == 255).all()


@pytest.mark.parametrize("dtype", ["int8", "uint32", "int64", "float64", "complex64"])
def test_types_of_every_kind_survive(dtype: str, tmp_path: Path) -> None:
    grid = utm(150, 100)
    path = write(tmp_path / "typed.tif", np.full((1, 100, 150), 7, dtype), grid)
    facts = facts_of(grid, dtype)
    found, mask = warped(path, facts, plan_of(facts, validity="mask"))
    assert np.allclose(found[0][mask > 0], 7, rtol=1e-12)
    assert (mask == 255).mean() > 0.8


def test_complex_integers_survive(tmp_path: Path) -> None:
    grid = utm(150, 100)
    path = write(
        tmp_path / "slc.tif",
        np.full((1, 100, 150), 7 - 3j, "complex64"),
        grid,
        dtype="complex_int16",
    )
    facts = facts_of(grid, "complex_int16")
    found, mask = warped(path, facts, plan_of(facts, validity="mask"))
    assert set(found[0][mask > 0]) == {7 - 3j}


def test_a_narrower_type_keeps_every_value(tmp_path: Path) -> None:
    grid = utm(200, 200)
    pixels = np.random.default_rng(8).integers(0, 255, (1, 200, 200)).astype("float64")
    path = write(tmp_path / "wide.tif", pixels, grid, nodata=255)
    facts = facts_of(grid, "float64", nodata=255)
    wide, _ = warped(path, facts, plan_of(facts, resampling="nearest"))
    narrow, _ = warped(path, facts, plan_of(facts, resampling="nearest", dtype="uint8"))
    assert np.array_equal(wide, narrow)


def test_an_unreadable_block_is_an_error_that_names_the_source(tmp_path: Path) -> None:
    grid = utm(600, 600)
    path = write(tmp_path / "cut.tif", rolling(600, 600), grid, compress="deflate")
    path.write_bytes(path.read_bytes()[:-2000])
    facts = facts_of(grid, "float32")
    plan = plan_of(facts, validity="nodata", nodata=float("nan"))
    with pytest.raises(RasterError, match=r"test\.tif: it can't be warped"):
        warped(path, facts, plan)


@pytest.mark.parametrize("bands", [1, 4, 5, 200, 1000])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_cells_divide_tiles_and_are_bounded_in_bytes(bands: int, dtype: str) -> None:
    facts = facts_of(utm(9000, 9000), *[dtype] * bands, block=(1, 9000))
    width, height = cell_shape(facts, plan_of(facts))
    assert TILE_STEP % width == TILE_STEP % height == 0
    smallest = width <= 2 * SMALLEST_CELL and height <= 2 * SMALLEST_CELL
    assert width * height * bands * np.dtype(dtype).itemsize <= 64 * 2**20 or smallest


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    pixels = np.random.default_rng(9).integers(0, 99, (2, 300, 400)).astype("float64")
    path = write(tmp_path / "source.tif", pixels, utm(400, 300), nodata=-1)
    with rasterio.open(path) as dataset:
        yield Opened(dataset, "GTiff", None, ())


def in_place(**more: Any) -> tuple[RasterFacts, TierPlan]:
    facts = facts_of(utm(400, 300), "float64", "float64", nodata=-1)
    plan = plan_of(facts, "native")
    return facts, replace(plan, profile=replace(plan.profile, **more))


def test_a_reference_that_changes_nothing_is_the_source(opened: Any, tmp_path: Path) -> None:
    facts, plan = in_place()
    with reference(opened, facts, plan, plan.grid.whole, tmp_path) as name:
        assert name == opened.dataset.name


@pytest.mark.parametrize(
    "window", [Window(0, 0, 400, 300), Window(0, 0, 128, 300), Window(128, 64, 272, 236)]
)
def test_a_reference_has_the_pixels_of_its_window(
    opened: Any, tmp_path: Path, window: Window
) -> None:
    facts, plan = in_place(dtype="uint8", nodata=255)
    with (
        reference(opened, facts, plan, window, tmp_path) as name,
        rasterio.open(name) as view,
    ):
        rows = slice(window.row, window.row + window.height)
        columns = slice(window.col, window.col + window.width)
        assert np.array_equal(view.read(), opened.dataset.read()[:, rows, columns])
        assert view.dtypes == ("uint8", "uint8")
        assert view.nodata == 255
        assert view.transform == plan.grid.window(window).transform
        assert view.crs == plan.grid.crs


def test_a_reference_has_the_crs_that_the_spec_gives(tmp_path: Path) -> None:
    path = write(tmp_path / "bare.tif", rolling(60, 50), utm(60, 50), crs=None)
    facts = facts_of(utm(60, 50), "float32", crs_declared=False)
    plan = plan_of(facts, "native")
    with (
        rasterio.open(path) as dataset,
        reference(
            Opened(dataset, "GTiff", None, ()), facts, plan, plan.grid.whole, tmp_path
        ) as name,
        rasterio.open(name) as view,
    ):
        assert view.crs == "EPSG:32633"
        assert np.array_equal(view.read(), dataset.read())


def test_a_reference_has_the_mask_of_its_source(tmp_path: Path) -> None:
    grid, mask = utm(60, 50), np.zeros((50, 60), "uint8")
    mask[10:30, 20:40] = 255
    path = write(tmp_path / "masked.tif", rolling(60, 50, "uint8"), grid, mask=mask)
    facts = facts_of(grid, "uint8", validity="mask")
    plan = plan_of(facts, "native")
    with (
        rasterio.open(path) as dataset,
        reference(
            Opened(dataset, "GTiff", None, ()), facts, plan, Window(20, 0, 40, 50), tmp_path
        ) as name,
        rasterio.open(name) as view,
    ):
        assert np.array_equal(view.dataset_mask(), mask[:, 20:])


def test_a_warped_reference_is_gone_afterwards(opened: Any, tmp_path: Path) -> None:
    facts = facts_of(utm(400, 300), "float64", "float64", nodata=-1)
    plan = plan_of(facts)
    before = set(tmp_path.iterdir())
    with reference(opened, facts, plan, plan.grid.whole, tmp_path) as name:
        assert set(tmp_path.iterdir()) - before == {Path(name)}
    assert set(tmp_path.iterdir()) == before
