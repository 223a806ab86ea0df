"""Refusals that are worded alike, whatever the format."""

from geo_etl.errors import SourceError
from geo_etl.spec import RasterSpec, VectorSpec


def damaged(name: str, what: str) -> SourceError:
    """The error for a file whose content can't be what was meant."""
    return SourceError(name, what, "Deliver the file again.")


def text_is_not(name: str, kind: str) -> SourceError:
    """The error for content that does not begin as its format does."""
    return SourceError(
        name,
        f"its content is not {kind}, whatever its name says",
        "Deliver the file again, or correct its extension (file_extension in the spec).",
    )


def check_size(name: str, size: int, spec: VectorSpec | RasterSpec) -> None:
    """Stop a source above `limits.max_file_size_gb`.

    Args:
        size: in bytes, uncompressed.

    Raises:
        SourceError: names both figures.
    """
    limit = spec.limits.max_file_size_gb
    if size > limit * 1e9:
        raise SourceError(
            name,
            f"it has {size / 1e9:.1f} GB; the limit is {limit:g} GB",
            "Split it, or raise limits.max_file_size_gb in the spec.",
        )
