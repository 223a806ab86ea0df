"""Map pictures, as PNG."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import geopandas
import matplotlib
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyproj
import shapely

from geo_etl.vector.wkb import unreadable

# The picture is drawn in processes without a screen.
matplotlib.use("agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK = "#1f5fbf"
REPAIRED = "#e8830c"
QUARANTINED = "#c62828"
GRID = "#8a97a8"
WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 7.0, 5.0, 100
MARGIN = 0.06
"""Of the extent, on each side."""
SMALLEST_DEGREES = 0.001
"""Half the width of the map round a single point."""
STEPS = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002]

MOST_LINES = 50
"""Of a graticule: more are no degrees."""

Geometries = npt.NDArray[np.object_]
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Marked:
    """Geometries that the map shows beside the features: WKB, and the CRS they are in.

    Attributes:
        quarantined_crs: as pyproj takes it; None: unknown, and none is shown.
    """

    repaired: Sequence[bytes] = ()
    quarantined: Sequence[bytes] = ()
    quarantined_crs: str | None = None


def map_picture(wkb: Sequence[bytes], srid: int, title: str, marked: Marked | None = None) -> bytes:
    """Draw geometries over a graticule of meridians and parallels.

    What lies on both sides of the antimeridian, in degrees, is drawn together. Quarantined
    geometries that can't be read or placed in the map's CRS are left out.

    Args:
        wkb: geometries of any type; may be none.
        srid: EPSG code of their CRS.
        marked: repaired geometries in the same CRS, and quarantined ones.

    Returns:
        A PNG of about 700 × 500 pixels.
    """
    marked = marked or Marked()
    crs = pyproj.CRS.from_epsg(srid)
    features, repaired = _read(wkb), _read(marked.repaired)
    quarantined = _placed(marked, crs)
    if crs.is_geographic:
        features, repaired, quarantined = _joined(features, repaired, quarantined)
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    # The view is that of the published features: a quarantined one may lie anywhere.
    bounds = _view(features if len(features) else quarantined, crs)
    if bounds is None:
        axes.text(0.5, 0.5, "no geometry to show", ha="center", va="center", color=GRID)
        axes.set_axis_off()
    else:
        _draw(axes, crs, bounds, features, repaired, quarantined)
    axes.set_title(title.replace("$", r"\$"), fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(
    axes: Axes,
    crs: pyproj.CRS,
    bounds: Bounds,
    features: Geometries,
    repaired: Geometries,
    quarantined: Geometries,
) -> None:
    west, south, east, north = bounds
    layers = [
        (features, INK, 0.55, "published"),
        (repaired, REPAIRED, 0.9, "repaired"),
        (quarantined, QUARANTINED, 0.9, "quarantined"),
    ]
    keys = []
    for order, (geometries, colour, alpha, name) in enumerate(layers, start=2):
        if len(geometries):
            series = geopandas.GeoSeries(geometries)
            style = {"color": colour, "edgecolor": colour, "linewidth": 0.6, "markersize": 6}
            series.plot(ax=axes, alpha=alpha, zorder=order, aspect=None, **style)
            keys.append(Line2D([], [], color=colour, marker="s", linewidth=0, label=name))
    graticule(axes, crs, bounds)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    # A degree of longitude is shorter the farther from the equator.
    stretch = 1 / max(np.cos(np.radians((south + north) / 2)), 0.1) if crs.is_geographic else 1
    axes.set_aspect(float(stretch))
    axes.set_xlabel(
        crs.name if not crs.to_epsg() else f"EPSG:{crs.to_epsg()} {crs.name}", fontsize=8
    )
    axes.tick_params(labelsize=7, length=0)
    axes.set_axisbelow(True)
    axes.set_ylabel("")
    axes.spines[:].set_color(GRID)
    figure = axes.get_figure(root=True)
    if len(keys) > 1 and figure is not None:
        figure.legend(handles=keys, fontsize=8, loc="outside lower right", ncols=3, frameon=False)


def _read(wkb: Sequence[bytes]) -> Geometries:
    """What can be read, in two dimensions."""
    straight = np.array(wkb, dtype=object)
    straight[unreadable(pa.array(wkb, pa.binary()))] = None
    geometries = shapely.from_wkb(straight, on_invalid="ignore")
    return np.asarray(shapely.force_2d(geometries[~shapely.is_missing(geometries)]), dtype=object)


def _placed(marked: Marked, crs: pyproj.CRS) -> Geometries:
    """The quarantined geometries that can be read and have a place in the map's CRS."""
    none = np.array([], dtype=object)
    if not marked.quarantined or marked.quarantined_crs is None:
        return none
    geometries = _read(marked.quarantined)
    try:
        transformer = pyproj.Transformer.from_crs(marked.quarantined_crs, crs, always_xy=True)
    except pyproj.exceptions.ProjError:
        return none

    def project(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))

    placed = shapely.transform(geometries, project)
    finite = np.isfinite(shapely.bounds(placed)).all(axis=1)
    every = np.array(
        [np.isfinite(shapely.get_coordinates(one)).all() for one in placed], dtype=bool
    )
    return np.asarray(placed[finite & every], dtype=object)


def _joined(*layers: Geometries) -> Iterator[Geometries]:
    """Layers in degrees, the western hemisphere moved to the east if that makes the map smaller."""
    features = layers[0]
    parts = shapely.get_parts(features)
    boxes = shapely.bounds(parts) if len(parts) else np.empty((0, 4))
    west, east = boxes[:, 0], boxes[:, 2]
    moved = np.where(east <= 0, 360, 0)
    plain = east.max() - west.min() if len(boxes) else 0
    joined = (east + moved).max() - (west + moved).min() if len(boxes) else 0
    if plain <= 180 or joined >= plain:
        yield from layers
        return

    def move(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return points + [360.0, 0.0]

    for layer in layers:
        single, owners = shapely.get_parts(layer, return_index=True)
        beyond = shapely.bounds(single)[:, 2] <= 0 if len(single) else np.array([], dtype=bool)
        single[beyond] = shapely.transform(single[beyond], move)
        yield shapely.geometrycollections(single, indices=owners) if len(single) else layer


def _view(geometries: Geometries, crs: pyproj.CRS) -> Bounds | None:
    """What the map shows: the extent with a margin, in the proportions of the picture."""
    bounds = shapely.total_bounds(geometries) if len(geometries) else np.array([np.nan])
    if not np.isfinite(bounds).all():
        return None
    west, south, east, north = (float(value) for value in bounds)
    unit = 1.0 if crs.is_geographic else 111_320 / (crs.axis_info[0].unit_conversion_factor or 1)
    least = SMALLEST_DEGREES * unit
    across = max((east - west) * (0.5 + MARGIN), least)
    along = max((north - south) * (0.5 + MARGIN), least)
    # Neither a slit nor a thread, whatever the extent.
    across, along = max(across, along / 3), max(along, across / 3)
    middle = (west + east) / 2, (south + north) / 2
    view = middle[0] - across, middle[1] - along, middle[0] + across, middle[1] + along
    if crs.is_geographic and -90 <= south <= north <= 90:
        return view[0], max(view[1], -90.0), view[2], min(view[3], 90.0)
    return view  # of metres taken for degrees: as they are


def graticule(axes: Axes, crs: pyproj.CRS, bounds: Bounds) -> None:
    """Meridians and parallels, named on the left and the lower edge."""
    west, south, east, north = bounds
    x, y = np.meshgrid(np.linspace(west, east, 60), np.linspace(south, north, 60))
    if crs.is_geographic:
        longitudes, latitudes = x, y
    else:
        to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
        longitudes, latitudes = to_degrees.transform(x, y)
        longitudes, latitudes = _continuous(np.asarray(longitudes)), np.asarray(latitudes)
    for values, draws_on in ((longitudes, axes.set_xticks), (latitudes, axes.set_yticks)):
        finite = np.isfinite(values)
        if not finite.all():
            draws_on([])
            continue
        low, high = float(values.min()), float(values.max())
        step = next((s for s in STEPS if (high - low) / s >= 3), STEPS[-1])
        if (high - low) / step > MOST_LINES:
            draws_on([])  # no longitudes and latitudes, whatever the CRS says
            continue
        levels = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        is_east = values is longitudes
        edge = (x[0], values[0]) if is_east else (y[:, 0], values[:, 0])
        along = np.argsort(edge[1])
        shown = [v for v in levels if edge[1].min() <= v <= edge[1].max()]
        draws_on(
            np.interp(shown, edge[1][along], edge[0][along]),
            [_degrees(float(v), "EW" if is_east else "NS") for v in shown],
        )
        if len(levels) and low < high:
            axes.contour(
                x,
                y,
                values,
                levels=levels,
                colors=GRID,
                linewidths=0.5,
                alpha=0.6,
                zorder=1,
                linestyles="solid",
            )


def _continuous(longitudes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Longitudes of a grid without the jump at the antimeridian; NaN where there are none."""
    longitudes = np.where(np.isfinite(longitudes), longitudes, np.nan)
    middle = longitudes[longitudes.shape[0] // 2, longitudes.shape[1] // 2]
    turns: npt.NDArray[np.float64] = np.round((longitudes - middle) / 360)
    return longitudes - 360 * turns


def _degrees(value: float, sides: str) -> str:
    value = (value + 180) % 360 - 180 if sides == "EW" else value
    text = f"{abs(value):.4f}".rstrip("0").rstrip(".")
    if text in ("0", "180"):
        return f"{text}°"
    return f"{text}°{sides[0] if value > 0 else sides[1]}"
