"""Small drawings within a page, as SVG."""

from xml.etree.ElementTree import Element

from geo_etl.raster.facts import Histogram
from geo_etl.report.elements import tag
from geo_etl.report.words import figure

HEIGHT = 100
LEAST = 3
"""Of the height: a bin of few pixels is seen too."""


def histogram_svg(histogram: Histogram) -> Element:
    """Bars of equal width; each tells its range and its count when it is pointed at."""
    counts, highest = histogram.counts, max(histogram.counts, default=0)
    step = (histogram.maximum - histogram.minimum) / max(len(counts), 1)
    bars = []
    for number, count in enumerate(counts):
        height = max(round(HEIGHT * count / highest, 1), LEAST) if count else 0
        low = histogram.minimum + number * step
        title = tag("title", f"{figure(low)} to {figure(low + step)}: {count:,} pixels")
        bars.append(
            tag(
                "rect",
                title,
                x=f"{number + 0.05:g}",
                y=f"{HEIGHT - height:g}",
                width="0.9",
                height=f"{height:g}",
            )
        )
    return tag(
        "svg",
        *bars,
        cls="histogram",
        viewBox=f"0 0 {max(len(counts), 1)} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label="Histogram",
    )
