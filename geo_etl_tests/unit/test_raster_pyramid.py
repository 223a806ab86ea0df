"""Overviews are made once, and come into the COG as they are, with what tells valid pixels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geo_etl.raster.cog import write_cog
from geo_etl.raster.facts import RasterFacts
from geo_etl.raster.manifest import Profile
from geo_etl_tests.unit.rasters import facts_of, plan_of, utm, write


def cog_of(
    path: Path, facts: RasterFacts, *, own: bool = False, **profile: Any
) -> tuple[Path, Profile]:
    """A COG of a file; `own`: as of one that geo_etl made itself."""
    plan = plan_of(facts, "native")
    wanted = replace(plan.profile, **profile)
    target = path.with_name("cog.tif")
    write_cog(path if own else str(path), plan.grid, wanted, facts, target)
    return target, wanted


def level(path: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and mask of an overview, the largest being 0."""
    with rasterio.open(path, overview_level=number) as overview:
        return overview.read(), overview.dataset_mask()


@pytest.mark.parametrize("own", [False, True])
def test_an_overview_is_the_mean_of_four_valid_pixels(own: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 1000, (1, 600, 1024)).astype("float32")
    values[:, :100, :300] = -1
    path = write(tmp_path / "dem.tif", values, utm(1024, 600), nodata=-1)
    facts = facts_of(utm(1024, 600), "float32", nodata=-1)
    cog, _ = cog_of(path, facts, own=own)
    fours = values[0].reshape(300, 2, 512, 2).swapaxes(1, 2).reshape(300, 512, 4)
    expected = np.where((fours == -1).all(2), -1, fours.mean(2))
    assert np.allclose(level(cog, 0)[0][0], expected)


def test_classes_in_overviews_are_the_most_frequent_ones(tmp_path: Path) -> None:
    values = np.full((1, 600, 1024), 7, "uint8")
    values[:, ::2, ::2] = 9
    path = write(tmp_path / "classes.tif", values, utm(1024, 600))
    cog, _ = cog_of(path, facts_of(utm(1024, 600), "uint8"), overview_resampling="mode")
    assert set(np.unique(level(cog, 0)[0])) == {7}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1301, 777), (40, 3000), (2100, 3)])
def test_every_level_has_its_mask_whatever_its_size(
    width: int, height: int, own: bool, tmp_path: Path
) -> None:
    mask = np.full((height, width), 255, "uint8")
    mask[: height // 2, : width // 2] = 0
    values = np.where(mask, 100, 200).astype("uint8")[np.newaxis]
    path = write(tmp_path / "masked.tif", values, utm(width, height), mask=mask)
    facts = facts_of(utm(width, height), "uint8", validity="mask")
    cog, _ = cog_of(path, facts, own=own)
    with rasterio.open(cog) as made:
        factors = made.overviews(1)
        assert max(width, height) / factors[-1] <= 512 < 2 * max(width, height) / factors[-1]
    for number, factor in enumerate(factors):
        pixels, valid = level(cog, number)
        assert pixels.shape == (1, -(-height // factor), -(-width // factor))
        assert set(pixels[0][valid > 0]) == {100}
        if min(width, height) >= 40 * factor:
            assert np.mean(valid == 0) == pytest.approx(0.25, abs=0.02)


def test_an_alpha_band_is_one_in_overviews_too(tmp_path: Path) -> None:
    values = np.full((2, 600, 1024), 90, "uint8")
    values[1] = 255
    values[:, :300] = 0
    path = write(tmp_path / "alpha.tif", values, utm(1024, 600), alpha=2)
    cog, _ = cog_of(path, facts_of(utm(1024, 600), "uint8", "uint8", alpha=2))
    pixels, valid = level(cog, 0)
    assert np.array_equal(valid, pixels[1])
    assert set(pixels[0][valid > 0]) == {90}
    assert np.mean(valid > 0) == 0.5


def test_a_small_raster_has_none(tmp_path: Path) -> None:
    path = write(tmp_path / "small.tif", np.ones((1, 300, 512), "uint8"), utm(512, 300))
    cog, _ = cog_of(path, facts_of(utm(512, 300), "uint8"))
    with rasterio.open(cog) as made:
        assert made.overviews(1) == []


def test_nothing_but_the_cog_is_left(tmp_path: Path) -> None:
    path = write(tmp_path / "dem.tif", np.ones((1, 600, 700), "float32"), utm(700, 600))
    before = path.read_bytes()
    cog, _ = cog_of(path, facts_of(utm(700, 600), "float32"))
    assert set(tmp_path.iterdir()) == {path, cog}
    assert path.read_bytes() == before
