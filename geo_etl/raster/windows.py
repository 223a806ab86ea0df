"""How a raster is read in parts of bounded size."""

from collections.abc import Iterator

from geo_etl.raster.facts import Window


def parts(
    width: int, height: int, bytes_per_pixel: int, budget: int, step: int = 512
) -> Iterator[Window]:
    """Windows that cover a raster once, in rows from the top, each of about `budget` bytes.

    They are as wide as the raster where that fits: a source in strips is then read in its own
    order.

    Args:
        bytes_per_pixel: of all bands that are read together.
        step: edges lie on multiples of it, whatever the budget: where blocks of a COG end, so that
            none is decoded twice.
    """
    fitting = max(1, budget // max(1, step * step * bytes_per_pixel))
    across = -(-width // step)
    columns = min(across, fitting) * step
    rows = max(1, fitting // across) * step
    for row in range(0, height, rows):
        for col in range(0, width, columns):
            yield Window(col, row, min(columns, width - col), min(rows, height - row))
