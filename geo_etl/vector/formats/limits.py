"""Circuit breakers: what is too large is refused, with both figures."""

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec


def check_size(name: str, size: int, spec: VectorSpec) -> None:
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


def check_feature_limit(name: str, count: int, spec: VectorSpec) -> None:
    """Stop a source above `limits.max_features`.

    Raises:
        SourceError: names both figures.
    """
    if count > spec.limits.max_features:
        raise SourceError(
            name,
            f"it has at least {count:,} features; the limit is {spec.limits.max_features:,}",
            "Split it, or raise limits.max_features in the spec.",
        )
