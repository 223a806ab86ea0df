"""Rules for single columns: what a spec may ask of the values of an attribute.

Here: what a rule may say, and contradictions that show without data. Whether it suits the
column is known when the source is open: `geo_etl.vector.rules`.
"""

import math
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from geo_etl.spec.identifiers import Identifier

ValueType = Literal[
    "text", "integer", "number", "boolean", "date", "timestamp", "timestamptz", "json"
]


def _scalar(value: Any) -> bool | int | float | str:
    """Dates become ISO text, so that quoted and unquoted ones in YAML are the same spec."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a single text, number, boolean or date")  # noqa: TRY004
    return value


def _limit(value: Any) -> int | float | str:
    limit = _scalar(value)
    if isinstance(limit, bool):
        raise ValueError("must be a number, or a date or time like 2020-01-31")  # noqa: TRY004
    if isinstance(limit, str):
        _moment(limit)
    return limit


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a number, or a date or time like 2020-01-31") from None


def _pattern(value: str) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    # Alone too: 'a)(b' would be whole again between the parentheses.
    for pattern in (value, whole(value)):
        try:
            pc.match_substring_regex(pa.array([""]), pattern)
        except pa.ArrowInvalid as error:
            said = str(error).removeprefix("Invalid regular expression: ")
            raise ValueError(
                f"must be a regular expression as RE2 reads it, without look-around and back "
                f"references ({said})"
            ) from None
    return value


def whole(pattern: str) -> str:
    """The pattern for a match of the whole text, in RE2's syntax."""
    return rf"\A(?:{pattern})\z"


def _some(value: list[Any]) -> list[Any]:
    if not value:
        raise ValueError("must have at least one value")
    return value


_INPUT = bool | int | float | str
Scalar = Annotated[_INPUT, PlainValidator(_scalar, json_schema_input_type=_INPUT)]
Bound = Annotated[
    int | float | str, PlainValidator(_limit, json_schema_input_type=int | float | str)
]


class ColumnRule(BaseModel):
    """What is asked of one column, in this order: type, default, then the checks."""

    type: ValueType | None = Field(
        None,
        description="Published type; a value that can't become it unchanged breaks the rule",
    )
    default: Scalar | None = Field(None, description="In place of null")
    required: bool = Field(False, description="Null breaks the rule")
    unique: bool = Field(False, description="A value met before breaks the rule")
    min: Bound | None = Field(None, description="Least value: a number, or ISO date or time")
    max: Bound | None = Field(None, description="Greatest value: a number, or ISO date or time")
    allowed: Annotated[list[Scalar], AfterValidator(_some)] | None = Field(
        None, description="The only values that are allowed, beside null"
    )
    pattern: Annotated[str, AfterValidator(_pattern)] | None = Field(
        None, description="Regular expression (RE2) that the whole text matches"
    )
    rename: Identifier | None = Field(None, description="Published name")
    on_violation: Literal["quarantine", "stop"] = Field(
        "quarantine", description="What a broken rule does: put the row aside, or stop the job"
    )
    drop: bool = Field(False, description="Do not load the column; excludes all other keys")

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("max")
    @classmethod
    def _in_order(cls, value: int | float | str | None, info: ValidationInfo) -> Any:
        least = info.data.get("min")
        if value is None or least is None:
            return value
        if isinstance(value, str) != isinstance(least, str):
            raise ValueError("min and max must be of one kind")
        low, high = (_moment(x) if isinstance(x, str) else x for x in (least, value))
        if isinstance(low, datetime) and isinstance(high, datetime):
            if (low.tzinfo is None) != (high.tzinfo is None):
                raise ValueError("min and max must both have an offset from UTC, or none")
            if low > high:
                raise ValueError(f"must not be before min ({least})")
        elif low > high:  # type: ignore[operator]
            raise ValueError(f"must not be below min ({least})")
        return value

    @field_validator("drop")
    @classmethod
    def _alone(cls, value: bool, info: ValidationInfo) -> bool:
        others = [key for key, other in info.data.items() if other != _DEFAULTS[key]]
        if value and others:
            raise ValueError(f"excludes all other keys; here it has {', '.join(others)}")
        return value


_DEFAULTS = {name: field.default for name, field in ColumnRule.model_fields.items()}
