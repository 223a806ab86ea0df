"""A small picture of where a dataset lies: its box on the world, as SVG."""

from collections.abc import Sequence

GRID = "".join(f"M{x} 0V180" for x in range(30, 360, 30)) + "".join(
    f"M0 {y}H360" for y in range(30, 180, 30)
)
"""Every 30 degrees; x is longitude + 180, y is 90 - latitude."""
SMALLEST = 7.0
"""Degrees: a box that is smaller is drawn so large, around its middle, or nobody saw it."""


def extent_svg(bbox: Sequence[float] | None) -> str:
    """The picture.

    Args:
        bbox: west, south, east, north in degrees, with or without heights (RFC 7946, section 5);
            west > east across the antimeridian; None for a dataset without extent.
    """
    boxes, said = "", "no extent"
    if bbox is not None:
        west, south, east, north = _flat(bbox)
        boxes = "".join(
            f'<rect class="box" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>'
            for x, y, width, height in _rectangles(west, south, east, north)
        )
        said = f"from {_degrees(west, 'WE')} to {_degrees(east, 'WE')}"
        said += f", from {_degrees(south, 'SN')} to {_degrees(north, 'SN')}"
    return (
        f'<svg class="extent" viewBox="0 0 360 180" role="img" aria-label="Extent: {said}">'
        f'<title>{said}</title><path class="grid" d="{GRID}"/>{boxes}</svg>'
    )


def _flat(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    low, high = bbox[: len(bbox) // 2], bbox[len(bbox) // 2 :]
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _rectangles(
    west: float, south: float, east: float, north: float
) -> list[tuple[float, float, float, float]]:
    """x, y, width and height of each part of a box; across the antimeridian it has two."""
    width = east - west if west <= east else east - west + 360
    left, width = _grown(west + 180, width)
    top, height = _grown(90 - north, north - south)
    width, top = min(width, 360.0), min(max(top, 0.0), 180 - height)
    left = 0.0 if width == 360 else left % 360
    parts = [(left, top, min(width, 360 - left), height)]
    if left + width > 360:
        parts.append((0.0, top, left + width - 360, height))
    return parts


def _grown(start: float, length: float) -> tuple[float, float]:
    missing = max(SMALLEST - length, 0.0)
    return start - missing / 2, length + missing


def _degrees(value: float, signs: str) -> str:
    return f"{abs(value):.4g}°{signs[value > 0] if value else ''}"
