"""Map pictures, as PNG."""

import io
from collections.abc import Sequence

import geopandas
import matplotlib

# The picture is drawn in processes without a screen.
matplotlib.use("agg")

from matplotlib.figure import Figure

INK = "#1f5fbf"


def map_picture(wkb: Sequence[bytes], srid: int, title: str) -> bytes:
    """Draw geometries.

    Args:
        wkb: geometries of any type.
        srid: EPSG code of their CRS.

    Returns:
        A PNG of about 700 × 500 pixels.
    """
    series = geopandas.GeoSeries.from_wkb(list(wkb), crs=srid)
    figure = Figure(figsize=(7, 5), dpi=100, layout="constrained")
    axes = figure.subplots()
    series.plot(ax=axes, color=INK, alpha=0.55, linewidth=0.6, edgecolor=INK, markersize=6)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(f"EPSG:{srid}", fontsize=8)
    axes.set_ylabel("")
    axes.tick_params(labelsize=7)
    axes.ticklabel_format(useOffset=False)
    axes.grid(alpha=0.3, linewidth=0.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
