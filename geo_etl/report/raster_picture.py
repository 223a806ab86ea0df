"""Pictures of a raster where it is, and small ones, as PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from PIL import Image

from geo_etl.raster.facts import Grid, Window
from geo_etl.raster.manifest import PieceReport, RasterManifest

# Pictures are drawn in processes without a screen.
matplotlib.use("agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from geo_etl.report.documents import Bounds
from geo_etl.report.picture import (
    DOTS_PER_INCH,
    GRID,
    HEIGHT_INCHES,
    WIDTH_INCHES,
    graticule,
    map_picture,
)

SMALL_PIXELS = 256
"""Edge of the picture that goes into the summary, which Dagster keeps in its event log."""
MARGIN = 0.05
"""Of the extent, on each side."""
NUMBERED = 60
"""Tiles up to which each has its row and column written on it."""
TILE_EDGE = "#c2410c"


@dataclass(frozen=True)
class Part:
    """What a picture shows of a raster: all of it, or one tile.

    Attributes:
        preview: PNG of its pixels; None: no pixel is valid.
        label: what is written on it.
    """

    window: Window
    preview: bytes | None
    label: str = ""


def parts_of(manifest: RasterManifest, reports: Sequence[PieceReport]) -> tuple[Grid, list[Part]]:
    """What there is to show of a raster, and the grid that it is in."""
    previews = {report.index: report.preview for report in reports}
    pieces = [piece for piece in manifest.pieces if piece.is_tile] or [manifest.pieces[0]]
    grid = manifest.plan_of(pieces[0].tiers[0]).grid
    return grid, [
        Part(
            piece.window,
            previews.get(piece.index),
            f"{piece.row}, {piece.col}" if piece.is_tile else "",
        )
        for piece in pieces
    ]


def raster_picture(grid: Grid, parts: Sequence[Part], title: str) -> bytes:
    """Draw previews where they are, over a graticule; tiles with their edges, empty ones hatched.

    Where the CRS has no way to degrees, or the grid is not north up, there is no graticule.

    Returns:
        A PNG of about 700 × 500 pixels.
    """
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    crs = _crs(grid.crs) if grid.is_north_up else None
    frame = grid if crs is not None else None
    for part in parts:
        _draw(axes, frame, part, is_tile=len(parts) > 1, is_numbered=len(parts) <= NUMBERED)
    west, south, east, north = frame.bounds if frame else (0.0, -grid.height, grid.width, 0.0)
    across, along = (east - west) * MARGIN, (north - south) * MARGIN
    view = west - across, south - along, east + across, north + along
    if crs is None:
        axes.set_axis_off()
        axes.set_aspect("equal")
    else:
        if crs.is_geographic and -90 <= south <= north <= 90:
            view = view[0], max(view[1], -90.0), view[2], min(view[3], 90.0)
        graticule(axes, crs, view)
        axes.set_aspect(_stretch(crs, south, north))
        code = crs.to_epsg()
        axes.set_xlabel(f"EPSG:{code} {crs.name}" if code else crs.name, fontsize=8)
        axes.tick_params(labelsize=7, length=0)
        axes.spines[:].set_color(GRID)
    axes.set_xlim(view[0], view[2])
    axes.set_ylim(view[1], view[3])
    axes.set_title(title.replace("$", r"\$"), fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def small_picture(png: bytes) -> bytes:
    """A picture of at most 256 × 256 pixels."""
    with Image.open(io.BytesIO(png)) as image:
        shown = image.convert("RGBA")
    shown.thumbnail((SMALL_PIXELS, SMALL_PIXELS))
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _draw(axes: Axes, frame: Grid | None, part: Part, *, is_tile: bool, is_numbered: bool) -> None:
    window = part.window
    if frame is not None:
        west, south, east, north = frame.window(window).bounds
    else:
        west, north = window.col, -window.row
        east, south = west + window.width, north - window.height
    if part.preview is not None:
        # Of many tiles each gets few pixels of the picture.
        pixels = _decoded(part.preview, 160 if is_tile else 700)
        axes.imshow(pixels, extent=(west, east, south, north), zorder=2, interpolation="nearest")
    if is_tile or part.preview is None:
        axes.add_patch(
            Rectangle(
                (west, south),
                east - west,
                north - south,
                hatch="////" if part.preview is None else None,
                facecolor="none",
                edgecolor=TILE_EDGE if part.preview else GRID,
                linewidth=0.6,
                zorder=3,
            )
        )
    if is_tile and is_numbered and part.label:
        middle = (west + east) / 2, (south + north) / 2
        axes.text(
            *middle,
            part.label,
            ha="center",
            va="center",
            fontsize=7,
            zorder=4,
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1},
        )


def _decoded(png: bytes, most: int) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        shown = image.convert("RGBA")
    shown.thumbnail((most, most))
    return np.asarray(shown)


def _crs(text: str) -> pyproj.CRS | None:
    """The CRS, if there is a way from it to degrees on Earth."""
    try:
        crs = pyproj.CRS.from_user_input(text)
        pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    except pyproj.exceptions.ProjError:
        return None
    return crs


def _stretch(crs: pyproj.CRS, south: float, north: float) -> float:
    """Of the y axis: a degree of longitude is shorter the farther from the equator."""
    if not crs.is_geographic:
        return 1.0
    return float(1 / max(np.cos(np.radians((south + north) / 2)), 0.1))


def collection_picture(boxes: Sequence[Bounds], title: str) -> bytes:
    """Draw where the members of a collection are.

    Args:
        boxes: west, south, east, north in degrees; west > east across the antimeridian.

    Returns:
        A PNG of about 700 × 500 pixels.
    """
    shapes = [
        shapely.box(west, south, east, north)
        if west <= east
        else shapely.union_all(
            [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
        )
        for west, south, east, north in boxes
    ]
    return map_picture([shapely.to_wkb(shape) for shape in shapes], 4326, title)
