"""Counting the features of a vector tile."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_etl.catalog.vector_tiles import count_features


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


NAME, EXTENT, VERSION = field(1, b"default"), b"\x28\x80\x20", b"\x78\x02"
POINT = field(2, b"\x18\x01" + field(4, b"\x09\x32\x22"))
"""A feature of type POINT at (25, 17): section 4.3.5 of the specification."""


def test_features_of_all_layers_are_counted() -> None:
    one = field(3, VERSION + NAME + POINT + POINT + EXTENT)
    two = field(3, VERSION + NAME + EXTENT + POINT)

    assert count_features(one + two) == 3


@pytest.mark.parametrize("tile", [b"", field(3, VERSION + NAME + EXTENT)])
def test_a_tile_without_features(tile: bytes) -> None:
    assert count_features(tile) == 0


@pytest.mark.parametrize(
    "tile", [b"<html>", b"{}", field(3, POINT)[:-1], b"\x1a\xff", b"\xff" * 12, b"\x1d\0"]
)
def test_what_is_no_tile_is_told(tile: bytes) -> None:
    with pytest.raises(ValueError, match=r"it ends too early|of kind"):
        count_features(tile)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tile_or_not(tile: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert count_features(tile) >= 0
