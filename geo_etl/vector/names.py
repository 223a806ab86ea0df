"""Legal, readable, unique PostgreSQL names from whatever a provider wrote."""

import re
import unicodedata
from collections.abc import Sequence

MAX_BYTES = 63
"""PostgreSQL's NAMEDATALEN - 1."""

# Columns that geo_etl or PostgreSQL itself gives every table.
TAKEN = frozenset(["gid", "geom", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"])

# Keywords that PostgreSQL 15 reserves, or reserves save for types and functions:
# SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T').
RESERVED = frozenset(
    [
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "authorization",
        "binary",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "collation",
        "column",
        "concurrently",
        "constraint",
        "create",
        "cross",
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "freeze",
        "from",
        "full",
        "grant",
        "group",
        "having",
        "ilike",
        "in",
        "initially",
        "inner",
        "intersect",
        "into",
        "is",
        "isnull",
        "join",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "natural",
        "not",
        "notnull",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "outer",
        "overlaps",
        "placing",
        "primary",
        "references",
        "returning",
        "right",
        "select",
        "session_user",
        "similar",
        "some",
        "symmetric",
        "tablesample",
        "table",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "verbose",
        "when",
        "where",
        "window",
        "with",
    ]
)

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def normalise_name(original: str, fallback: str = "column") -> str:
    """Lower-case snake name of at most 63 bytes; letters of every script are kept.

    `BoroName` becomes `boro_name`, `campo-f` `campo_f`, `2020` `_2020`, `order` `order_`.
    """
    text = _CAMEL.sub("_", unicodedata.normalize("NFC", original.replace("İ", "I"))).lower()
    text = "".join(char if _is_legal(char) else "_" for char in unicodedata.normalize("NFC", text))
    text = re.sub(r"_{2,}", "_", text).lstrip("_") or fallback
    if text[0].isnumeric() or not text[0].isidentifier():
        text = f"_{text}"
    text = cut(text, MAX_BYTES)
    return f"{text}_" if text in RESERVED or text in TAKEN else text


def normalise_names(originals: Sequence[str]) -> list[str]:
    """Normalise the columns of one table; a name met before gets `_2`, `_3` and so on."""
    names: list[str] = []
    used: set[str] = set()
    for number, original in enumerate(originals, start=1):
        base = normalise_name(original, fallback=f"column_{number}")
        name, count = base, 1
        while name in used:
            count += 1
            suffix = f"_{count}"
            name = cut(base, MAX_BYTES - len(suffix)) + suffix
        used.add(name)
        names.append(name)
    return names


def _is_legal(char: str) -> bool:
    """Letters and digits of any script, and the marks that belong to them."""
    return char == "_" or char.isalnum() or unicodedata.category(char).startswith("M")


def cut(text: str, size: int) -> str:
    """The beginning of a text, at most `size` bytes of UTF-8, no character halved."""
    return text.encode()[:size].decode(errors="ignore")
