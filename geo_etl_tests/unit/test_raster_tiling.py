"""Pieces cover every pixel of every tier once, and tiles are what the spec asks for."""

from collections import Counter

import numpy as np
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.raster.facts import Grid
from geo_etl.raster.manifest import Piece, Profile, TierPlan
from geo_etl.raster.tiling import MOST_TILES, TILE_STEP, plan_pieces
from geo_etl.spec import RasterSpec, Tier

DEGREES = Affine(0.001, 0, 10, 0, -0.001, 50)
METRES = Affine(100, 0, 500_000, 0, -100, 6_000_000)


def a_plan(tier: Tier, grid: Grid, dtype: str = "uint8", bands: int = 1) -> TierPlan:
    profile = Profile(
        tier=tier,
        lossless=tier != "visualization",
        compress="DEFLATE",
        quality=None,
        predictor=2,
        blocksize=512,
        resampling="bilinear",
        overview_resampling="average",
        dtype=dtype,
        nodata=None,
        validity="none",
        bands=tuple(range(1, bands + 1)),
    )
    return TierPlan(tier, grid, False, profile)


def degrees(width: int, height: int) -> Grid:
    return Grid("EPSG:4326", DEGREES, width, height)


def spec(largest_mb: float = 1e3, tile_mb: float = 1e3) -> RasterSpec:
    return RasterSpec(max_raster_size_gb=largest_mb / 1e3, target_tile_size_gb=tile_mb / 1e3)


def covered(pieces: tuple[Piece, ...], tier: Tier, step: int, grid: Grid) -> np.ndarray:
    """How often each pixel that is a multiple of a step is covered."""
    count = np.zeros((-(-grid.height // step), -(-grid.width // step)), int)
    for piece in pieces:
        if tier in piece.tiers:
            window = piece.window
            assert window.col >= 0
            assert window.row >= 0
            assert window.col + window.width <= grid.width
            assert window.row + window.height <= grid.height
            rows = slice(-(-window.row // step), -(-(window.row + window.height) // step))
            cols = slice(-(-window.col // step), -(-(window.col + window.width) // step))
            count[rows, cols] += 1
    return count


@given(
    width=st.integers(1, 400_000),
    height=st.integers(1, 400_000),
    bands=st.integers(1, 8),
    dtype=st.sampled_from(["uint8", "int16", "float32", "complex_int16", "float64"]),
    largest_mb=st.floats(1, 1e5),
    tile_mb=st.floats(0.01, 1e5),
)
def test_every_pixel_is_in_exactly_one_piece(
    width: int, height: int, bands: int, dtype: str, largest_mb: float, tile_mb: float
) -> None:
    grid = degrees(width, height)
    pieces = plan_pieces([a_plan("analysis", grid, dtype, bands)], spec(largest_mb, tile_mb))
    assert (covered(pieces, "analysis", TILE_STEP, grid) == 1).all()
    assert sum(piece.window.width * piece.window.height for piece in pieces) == width * height
    assert len(pieces) <= MOST_TILES
    assert [piece.index for piece in pieces] == list(range(len(pieces)))


@given(width=st.integers(2049, 300_000), height=st.integers(2049, 300_000))
def test_tiles_begin_at_steps_and_form_rows_and_columns(width: int, height: int) -> None:
    pieces = plan_pieces([a_plan("analysis", degrees(width, height))], spec(1, 50))
    assert all(p.window.col % TILE_STEP == p.window.row % TILE_STEP == 0 for p in pieces)
    lefts = {(p.col, p.window.col, p.window.width) for p in pieces}
    tops = {(p.row, p.window.row, p.window.height) for p in pieces}
    assert len(lefts) == len({col for col, _, _ in lefts})
    assert len(tops) == len({row for row, _, _ in tops})
    assert len(pieces) == len(lefts) * len(tops)


def test_tiles_are_about_as_large_as_asked_for_and_nearly_square() -> None:
    grid = degrees(100_000, 60_000)
    pieces = plan_pieces([a_plan("analysis", grid, "float32")], spec(2000, 1000))
    sizes = [p.window.width * p.window.height * 4 / 1e6 for p in pieces]
    assert len(pieces) == 24
    assert np.mean(sizes) == 1000
    assert max(max(p.window.width, p.window.height) for p in pieces) < 20_000


def test_a_long_raster_becomes_a_row_of_tiles() -> None:
    pieces = plan_pieces([a_plan("analysis", degrees(400_000, 1000))], spec(100, 50))
    assert len(pieces) == 8
    assert {p.row for p in pieces} == {0}


def test_what_is_not_larger_than_allowed_stays_whole() -> None:
    whole, tiled = (
        plan_pieces([a_plan("analysis", degrees(10_000, 10_000))], spec(largest, 20))
        for largest in (100, 99.9)
    )
    assert [(p.window, p.is_tile) for p in whole] == [(degrees(10_000, 10_000).whole, False)]
    assert len(tiled) > 1
    assert all(p.is_tile for p in tiled)


def test_bytes_are_those_of_all_bands_in_the_type_of_the_tier() -> None:
    grid = degrees(10_000, 10_000)
    assert len(plan_pieces([a_plan("analysis", grid, "uint8", 3)], spec(300, 50))) == 1
    assert len(plan_pieces([a_plan("analysis", grid, "uint16", 3)], spec(300, 50))) > 1


def test_tiers_on_the_same_grid_share_their_pieces() -> None:
    grid = degrees(100, 100)
    pieces = plan_pieces([a_plan("visualization", grid), a_plan("analysis", grid)], spec())
    assert [p.tiers for p in pieces] == [("visualization", "analysis")]


def test_tiers_on_grids_of_their_own_have_pieces_of_their_own() -> None:
    source = Grid("EPSG:32633", METRES, 90, 110)
    pieces = plan_pieces([a_plan("analysis", degrees(100, 100)), a_plan("archive", source)], spec())
    assert [(p.tiers, p.window) for p in pieces] == [
        (("analysis",), degrees(100, 100).whole),
        (("archive",), source.whole),
    ]


def test_the_archive_tier_stays_whole_beside_tiles_even_on_their_grid() -> None:
    grid = degrees(20_000, 20_000)
    pieces = plan_pieces([a_plan("analysis", grid), a_plan("archive", grid)], spec(100, 50))
    tiers = Counter(p.tiers for p in pieces)
    assert tiers[("archive",)] == 1
    assert tiers[("analysis",)] > 1
    archive = next(p for p in pieces if p.tiers == ("archive",))
    assert (archive.window, archive.is_tile) == (grid.whole, False)


def test_a_large_archive_alone_is_one_piece() -> None:
    pieces = plan_pieces([a_plan("archive", degrees(20_000, 20_000))], spec(100, 50))
    assert [p.is_tile for p in pieces] == [False]
