"""What a vector tile holds, read without a library: how many features.

Mapbox Vector Tile Specification 2.1, section 4.1; the encoding is that of Protocol Buffers.
"""

from collections.abc import Iterator

LAYER, FEATURE = 3, 2
"""Numbers of the field of a tile that is a layer, and of that of a layer that is a feature."""
VARINT, FIXED_64, WITH_LENGTH, FIXED_32 = 0, 1, 2, 5
VARINT_BYTES = 10


def count_features(tile: bytes) -> int:
    """How many features a tile has, in all its layers.

    Raises:
        ValueError: it is no vector tile.
    """
    layers = [value for number, value in _fields(tile) if number == LAYER]
    return sum(number == FEATURE for layer in layers for number, _ in _fields(layer))


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field of a message."""
    at = 0
    while at < len(message):
        key, start = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == WITH_LENGTH:
            length, start = _varint(message, start)
            at = start + length
        elif kind == VARINT:
            _, at = _varint(message, start)
        elif kind in (FIXED_32, FIXED_64):
            at = start + (4 if kind == FIXED_32 else 8)
        else:
            raise ValueError(f"a field of it is of kind {kind}")
        if at > len(message):
            raise ValueError("it ends too early")
        yield number, message[start:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, seven bits a byte and the lowest first; and where it ends."""
    found = 0
    for place, byte in enumerate(message[at : at + VARINT_BYTES]):
        found |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return found, at + place + 1
    raise ValueError("it ends too early")
