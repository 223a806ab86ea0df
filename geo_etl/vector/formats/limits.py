"""Circuit breakers: what is too large is refused, with both figures."""

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec


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
