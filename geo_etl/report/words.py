"""How reports write figures, times and other people's text."""

import base64
import re
from datetime import datetime

# What has a meaning in CommonMark or its tables: all ASCII punctuation that may be escaped.
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def plain_markdown(text: str) -> str:
    """Text of somebody else's, without a meaning in Markdown."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def plain_address(url: str) -> str:
    """An address as Markdown can have it."""
    return "".join(f"%{ord(c):02X}" if c in ' ()<>[]\\\n"' else c for c in url)


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it (RFC 2397)."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def day(moment: datetime) -> str:
    """For instance 3 March 2026."""
    return f"{moment.day} {moment:%B %Y}"


def moment(when: datetime) -> str:
    """For instance 2026-03-03 14:05:06 UTC."""
    return when.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")


def percentage(share: float) -> str:
    """Never 100% or 0% of what is only nearly so."""
    if share in (0, 1):
        return f"{share:.0%}"
    return f"{min(max(100 * share, 0.01), 99.99):.2f}".rstrip("0").rstrip(".") + "%"


def file_size(octets: int) -> str:
    """Bytes in the unit that suits them, of 1000 each."""
    if octets < 1000:
        return f"{octets} B"
    value, unit = octets / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def extent(bounds: tuple[float, float, float, float]) -> str:
    """West, south, east, north in degrees, as words."""
    west, south, east, north = bounds
    over = " (over the antimeridian)" if west > east else ""
    return f"{west:.5f}° to {east:.5f}° east, {south:.5f}° to {north:.5f}° north{over}"


def figure(value: float | None) -> str:
    """A value of pixels with six digits at most."""
    return "" if value is None else f"{value:,.6g}"
