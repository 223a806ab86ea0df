"""Names of tables, schemas and columns as a spec may give them."""

from typing import Annotated
from unicodedata import category

from pydantic import AfterValidator

MAX_IDENTIFIER_BYTES = 63


def check_identifier(value: str) -> str:
    """Refuse what PostgreSQL would only take in quotes, or cut."""
    legal = all(char == "_" or char.isalnum() or category(char)[0] == "M" for char in value)
    starts = value[:1].isidentifier() and not value[:1].isnumeric()
    if not (legal and starts) or value != value.lower():
        raise ValueError(
            "must be lower-case letters, digits and underscores, starting with no digit"
        )
    if len(value.encode()) > MAX_IDENTIFIER_BYTES:
        raise ValueError(f"must be at most {MAX_IDENTIFIER_BYTES} bytes (PostgreSQL's limit)")
    return value


Identifier = Annotated[str, AfterValidator(check_identifier)]
