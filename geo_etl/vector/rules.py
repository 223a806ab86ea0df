"""Attribute rules: which columns are published, and which rows break what a spec asks of them.

A plan is made once, from the spec and the columns of the source; it is applied to each batch.
What needs the whole table, uniqueness, is only named here: SQL decides it when all is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from geo_etl.errors import SourceError, SpecError
from geo_etl.spec import VectorSpec
from geo_etl.spec.rules import ColumnRule
from geo_etl.vector.attributes import Column, plan_columns
from geo_etl.vector.checks import Broken, ColumnCheck, Value, apply_check, shortened
from geo_etl.vector.conversions import SOURCES, SQL_TYPES, UNFIT, convert, kind_of
from geo_etl.vector.names import RESERVED, TAKEN, normalise_names

_ORDERED = ("integer", "number", "date", "timestamp", "timestamptz")
_KINDS = {
    "default": ("text", "boolean", *_ORDERED, "json"),
    "min": _ORDERED,
    "max": _ORDERED,
    "allowed": ("text", "boolean", *_ORDERED),
    "pattern": ("text",),
}
"""Kinds of columns that a key goes with."""
_NO_RULE = ColumnRule()


@dataclass(frozen=True)
class Violation:
    """A row of a batch, from 0, and all the rules that it breaks, in words."""

    row: int
    reason: str


@dataclass(frozen=True)
class UniqueRule:
    """A column (published name) that must not have a value twice."""

    column: str
    on_violation: Literal["quarantine", "stop"]


@dataclass(frozen=True)
class RulePlan:
    """What is published of a source's attributes, and what is asked of them."""

    columns: list[Column]
    unique: list[UniqueRule] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    checks: list[ColumnCheck] = field(default_factory=list)


def plan_rules(schema: pa.Schema, spec: VectorSpec, name: str) -> RulePlan:
    """Match the rules with the columns of a source.

    Args:
        schema: the attributes, as the source names them.
        name: of the source, for messages.

    Raises:
        SourceError: there is no column of a rule's name, or a type has no counterpart in
            PostgreSQL.
        SpecError: a rule does not suit its column, or contradicts itself or another.
    """
    rules = {key: rule for key, rule in spec.attribute_rules.columns.items() if rule is not None}
    if not rules:
        return RulePlan(plan_columns(schema))
    names = normalise_names(schema.names)
    places, warnings = _places(rules, schema.names, names, name)
    columns: list[Column] = []
    unique: list[UniqueRule] = []
    checks: list[ColumnCheck] = []
    for position, source in enumerate(schema):
        key = places.get(position, source.name)
        rule = rules[key] if position in places else _NO_RULE
        if rule.drop:
            continue
        at = _Place(name, key, source, rule)
        published = at.name(names[position])
        columns.append(Column(source.name, published, at.sql_type()))
        if rule.unique:
            unique.append(UniqueRule(published, rule.on_violation))
        check = at.check(len(columns) - 1)
        if check is not None:
            checks.append(check)
    _check_names(columns, name)
    return RulePlan(columns, unique, warnings, checks)


def _check_names(columns: Sequence[Column], source: str) -> None:
    met: dict[str, str] = {}
    for column in columns:
        if column.name in met:
            raise SpecError(
                f"{source}: columns '{met[column.name]}' and '{column.original}'",
                f"both would be published as '{column.name}'",
                "Change their rename in attribute_rules.columns.",
            )
        met[column.name] = column.original


def _places(
    rules: dict[str, ColumnRule], originals: Sequence[str], names: Sequence[str], source: str
) -> tuple[dict[int, str], list[str]]:
    """Position of a column → the key of its rule; and remarks about rules that have none."""
    places: dict[int, str] = {}
    warnings = []
    for key, rule in rules.items():
        among = originals if key in originals else names
        if key not in among:
            if not rule.drop:
                listed = ", ".join(originals) or "none"
                raise SourceError(
                    source,
                    f"it has no column '{key}', for which attribute_rules.columns has a rule",
                    f"Its columns: {listed}. Deliver the column, or correct the rule.",
                )
            warnings.append(f"attribute_rules: the source has no column '{key}' to drop.")
            continue
        position = among.index(key)
        if position in places:
            raise SpecError(
                f"{source}: key 'attribute_rules.columns.{key}'",
                f"'{places[position]}' is a rule for the same column",
                "Put them together.",
            )
        places[position] = key
    return places, warnings


@dataclass(frozen=True)
class _Place:
    """A rule at its column."""

    source: str
    key: str
    field: pa.Field
    rule: ColumnRule

    def name(self, normalised: str) -> str:
        name = self.rule.rename or normalised
        if self.rule.rename is not None and name in RESERVED | TAKEN:
            raise self._error("rename", f"'{name}' has a meaning of its own", f"Try '{name}_'.")
        return name

    def sql_type(self) -> str:
        wanted = self.rule.type
        if wanted is None:
            (column,) = plan_columns(pa.schema([self.field]))
            return column.sql_type
        if kind_of(self.field.type) not in SOURCES[wanted]:
            raise self._error(
                "type",
                f"a column of type {self.field.type} can't become {wanted}",
                f"{wanted} can be made of: {', '.join(sorted(SOURCES[wanted]))}.",
            )
        return SQL_TYPES[wanted]

    def check(self, index: int) -> ColumnCheck | None:
        """What there is to do for each batch, if anything."""
        rule, own = self.rule, kind_of(self.field.type)
        kind = rule.type or own
        # Integers and numbers of every size become the one that the type stands for.
        converts = rule.type is not None and (own != kind or kind in ("integer", "number"))
        check = ColumnCheck(
            index,
            self.field.name,
            self.key,
            kind,
            converts=converts,
            default=self._constant("default", rule.default, kind),
            required=rule.required,
            minimum=self._constant("min", rule.min, kind),
            maximum=self._constant("max", rule.max, kind),
            allowed=self._allowed(kind),
            pattern=self._constant("pattern", rule.pattern, kind),
            stops=rule.on_violation == "stop",
        )
        self._try_default(check)
        idle = ColumnCheck(index, self.field.name, self.key, kind, stops=check.stops)
        return None if check == idle else check

    def _constant(self, what: str, value: Any, kind: str) -> Any:
        if value is None:
            return None
        if kind not in _KINDS[what]:
            raise self._error(
                what,
                f"it does not go with a column of type {self.rule.type or self.field.type}",
                f"It goes with: {', '.join(_KINDS[what])}. Leave it out, or set type.",
            )
        constant = _constant(value, kind)
        if constant is None:
            hint = " Text is put in quotes." if kind == "text" else ""
            raise self._error(
                what,
                f"{shortened(repr(value))} is {UNFIT[kind]}",
                f"The column is of type {kind}.{hint}",
            )
        return constant

    def _allowed(self, kind: str) -> tuple[Value, ...] | None:
        if self.rule.allowed is None:
            return None
        return tuple(self._constant("allowed", value, kind) for value in self.rule.allowed)

    def _try_default(self, check: ColumnCheck) -> None:
        """Apply the rule to a column that has nothing but the default."""
        if check.default is None:
            return
        nothing = pa.nulls(1, self.field.type)
        try:
            _, broken = apply_check(check, nothing)
        except (pa.ArrowInvalid, OverflowError):
            broken = [(0, f"{check.default} does not fit {self.field.type}")]
        if broken:
            raise self._error("default", broken[0][1], "Correct the default, or the rule.")

    def _error(self, what: str, problem: str, remedy: str) -> SpecError:
        key = f"attribute_rules.columns.{self.key}.{what}"
        return SpecError(f"{self.source}: key '{key}'", problem, remedy)


def _constant(value: bool | int | float | str, kind: str) -> Value | None:
    """A value of a spec as one of the column's kind; None when it is none."""
    if kind == "text":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind not in ("integer", "number"):
        # Read as the source's own text would be.
        text = pa.array([value if isinstance(value, str) else None], pa.string())
        constant: Value | None = convert(text, kind)[0].to_pylist()[0]
        return constant
    if isinstance(value, bool | str):
        return None
    try:
        if kind == "number":
            return float(value)
        return int(value) if int(value) == value and -(2**63) <= value < 2**63 else None
    except OverflowError:
        return None


def apply_rules(batch: pa.RecordBatch, plan: RulePlan) -> tuple[pa.RecordBatch, list[Violation]]:
    """Convert, fill and check the attributes of some rows.

    Args:
        batch: the columns of the plan, in its order, under their source names; nothing else.

    Returns:
        The batch with all its rows, and those that break a rule, in order. In place of a value
        that can't be converted there is null, or the default.

    Raises:
        SourceError: a row breaks a rule that stops the job.
    """
    if not plan.checks:
        return batch, []
    arrays = batch.columns
    reasons: dict[int, list[str]] = {}
    for check in plan.checks:
        array, broken = apply_check(check, arrays[check.index])
        arrays[check.index] = array
        if broken and check.stops:
            raise _stop(check, broken, batch.num_rows)
        for row, reason in broken:
            reasons.setdefault(row, []).append(f"{check.column}: {reason}")
    violations = [Violation(row, "; ".join(reasons[row])) for row in sorted(reasons)]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names), violations


def _stop(check: ColumnCheck, broken: Broken, rows: int) -> SourceError:
    count = len({row for row, _ in broken})
    return SourceError(
        f"column '{check.column}'",
        f"{broken[0][1]} ({count} of {rows} rows read together break a rule for it)",
        f"Correct the data, or set attribute_rules.columns.{check.key}.on_violation: quarantine.",
    )
