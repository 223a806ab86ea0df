"""What items share with their collection's `item_assets`: taken out and put back as by pgSTAC.

The rules are those of pgSTAC 0.10's SQL functions `strip_jsonb` and `merge_jsonb`. Its SQL takes a
millisecond an item; its Python library loses an empty list where the items share one that is not,
and stops at a list where they share something else.
"""

from typing import Any

GONE = "𒍟※"
"""pgSTAC's mark for what the others share and this item has not."""


def own_part(value: Any, shared: Any) -> Any:
    """What has to be stored of a JSON value, where `shared` is put back into it."""
    if isinstance(value, dict) and isinstance(shared, dict):
        kept = {key: GONE for key in shared if key not in value and shared[key] is not None}
        for key, one in value.items():
            common = shared.get(key)
            if common is None or not same(one, common):
                kept[key] = own_part(one, common)
        return kept
    if isinstance(value, list) and isinstance(shared, list) and len(value) == len(shared):
        return [_own_element(*pair) for pair in zip(value, shared, strict=True)]
    return value


def _own_element(value: Any, common: Any) -> Any:
    if value is None and common is not None:
        return GONE
    return None if same(value, common) else own_part(value, common)


def with_shared(own: Any, shared: Any) -> Any:
    """The JSON value of which `own` was stored; None for nothing."""
    if own is None:
        return shared
    if isinstance(own, dict) and isinstance(shared, dict):
        both = {key: with_shared(own.get(key), shared.get(key)) for key in (own | shared)}
        return {key: one for key, one in both.items() if one is not None} if both else None
    if isinstance(own, list) and isinstance(shared, list) and len(own) == len(shared):
        return [with_shared(*pair) for pair in zip(own, shared, strict=True)]
    return None if isinstance(own, str) and own == GONE else own


def same(one: Any, other: Any) -> bool:
    """Equality of JSON: 1 is 1.0, but neither is true; a float has the digits that it needs."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, int):
        return bool(one == float(other))
    return same(other, one) if isinstance(other, float) and isinstance(one, int) else one == other
