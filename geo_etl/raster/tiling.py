"""How a raster becomes tasks: one piece, or the tiles of a grid.

Here: the plan of pieces, and the cells in which pixels are computed. Tiles are made of whole cells,
which is what makes them equal to the untiled raster, bit for bit.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from geo_etl.raster.facts import Grid, RasterFacts, Window
from geo_etl.raster.manifest import Piece, TierPlan
from geo_etl.spec import RasterSpec

TILE_STEP = 2048
"""Edges of tiles are multiples of this, in pixels from the top left corner of the grid."""
MOST_TILES = 200
CELL_BYTES = 64 * 2**20
"""Pixels of one cell, of all its bands, at most; the source's pixels of it are about as many."""
ROWS_BYTES = 128 * 2**20
"""Rows of the source that a row of cells reads, at most, where the source has no tiles."""
SMALLEST_CELL = 64


def itemsize(dtype: str) -> int:
    """Bytes of one value in a file."""
    return 4 if dtype == "complex_int16" else np.dtype(dtype).itemsize


def pixel_bytes(plan: TierPlan) -> int:
    """Of one pixel of a tier, all its bands, uncompressed."""
    return len(plan.profile.bands) * itemsize(plan.profile.dtype)


def plan_pieces(plans: Sequence[TierPlan], spec: RasterSpec) -> tuple[Piece, ...]:
    """The tasks of a raster: every pixel of every tier in exactly one of them.

    Tiers on the same grid share their pieces. A grid with more than `max_raster_size_gb` of
    pixels is cut into tiles of about `target_tile_size_gb`, but never for the archive tier: that
    is the source as it is, in one piece.
    """
    groups: dict[tuple[Grid, bool], list[TierPlan]] = {}
    large = any(_is_large(plan, spec) for plan in plans)
    for plan in plans:
        groups.setdefault((plan.grid, large and plan.tier != "archive"), []).append(plan)
    pieces: list[Piece] = []
    for (grid, cut), members in groups.items():
        tiers = tuple(plan.tier for plan in members)
        windows = [(0, 0, grid.whole)]
        if cut:
            size = max(pixel_bytes(plan) for plan in members)
            windows = _tiles(grid, spec.target_tile_size_gb * 1e9 / size)
        for row, col, window in windows:
            pieces.append(Piece(len(pieces), row, col, window, tiers, len(windows) > 1))
    return tuple(pieces)


def _is_large(plan: TierPlan, spec: RasterSpec) -> bool:
    size = plan.grid.pixels * pixel_bytes(plan)
    return plan.tier != "archive" and size > spec.max_raster_size_gb * 1e9


def _tiles(grid: Grid, pixels: float) -> list[tuple[int, int, Window]]:
    """Row, column and window of tiles of about so many pixels, nearly square."""
    steps_across, steps_down = (math.ceil(n / TILE_STEP) for n in (grid.width, grid.height))
    while True:
        side = min(grid.height, math.sqrt(pixels))
        across = min(steps_across, max(1, round(grid.width * side / pixels)))
        down = min(steps_down, max(1, math.ceil(grid.pixels / pixels / across)))
        if across * down <= MOST_TILES:
            break
        pixels *= 1.1
    edges_x, edges_y = _edges(grid.width, across), _edges(grid.height, down)
    return [
        (row, col, Window(left, top, right - left, bottom - top))
        for row, (top, bottom) in enumerate(pairwise(edges_y))
        for col, (left, right) in enumerate(pairwise(edges_x))
    ]


def _edges(length: int, parts: int) -> list[int]:
    steps = math.ceil(length / TILE_STEP)
    return [min(length, TILE_STEP * (part * steps // parts)) for part in range(parts + 1)]


def cell_shape(facts: RasterFacts, plan: TierPlan) -> tuple[int, int]:
    """Width and height in pixels of the cells in which a tier's grid is computed.

    Cells lie side by side from the grid's top left corner. Their shape follows from the source and
    its target alone, never from a tile: a pixel near the edge of a cell may differ in its last
    bits from the same pixel inside of a larger one.
    """
    bands = len(facts.bands) + 1
    value = max([itemsize(plan.profile.dtype), *(itemsize(band.dtype) for band in facts.bands)])
    width = height = TILE_STEP
    while width * height * bands * value > CELL_BYTES and height > SMALLEST_CELL:
        width, height = (width // 2, height) if width > height else (width, height // 2)
    if facts.block[1] >= facts.grid.width:
        # A strip holds whole rows: they are decoded once only if the cache holds all that a row
        # of cells needs.
        rows = facts.grid.height / plan.grid.height
        row_bytes = facts.grid.width * len(facts.bands) * itemsize(facts.dtype)
        while height * rows * row_bytes > ROWS_BYTES and height > SMALLEST_CELL:
            height //= 2
    return width, height
