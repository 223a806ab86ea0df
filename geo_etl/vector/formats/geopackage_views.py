"""Views that a GeoPackage registers as layers.

A view is a program that the file brings: it may never end, or make values of any size. One is read
when it does no more than select, join and compute plainly, and when its rows can be counted with
limited work.
"""

import sqlite3
from dataclasses import dataclass

from geo_etl.errors import SourceError
from geo_etl.spec import VectorSpec
from geo_etl.vector.formats.geopackage_columns import quoted
from geo_etl.vector.formats.limits import check_feature_limit

MAX_STEPS = 2_000_000_000
"""Instructions of SQLite's machine for counting a view's rows: about 20 seconds."""
_STEPS_A_CALL = 1_000_000

FUNCTIONS = frozenset(
    "abs avg coalesce count date datetime ifnull iif instr julianday length like lower ltrim max"
    " min nullif round rtrim strftime substr substring sum time total trim typeof upper".split()
)
"""Functions that a view may call: each does work, and makes values, in proportion to its input."""


def check_view(connection: sqlite3.Connection, view: str, name: str, spec: VectorSpec) -> None:
    """Refuse a view that does more than select.

    Args:
        name: the source, for messages.
        spec: its limit of features is as far as the rows are counted.

    Raises:
        SourceError: says what the view does, or that it has too many rows.
    """
    guard = _Guard.of(connection)
    everything = f"SELECT * FROM {quoted(view)} LIMIT"
    try:
        connection.set_authorizer(guard.authorize)
        connection.execute(f"{everything} 0")
        connection.set_authorizer(None)
        connection.set_progress_handler(guard.step, _STEPS_A_CALL)
        (rows,) = connection.execute(
            f"SELECT count(*) FROM ({everything} {spec.limits.max_features + 1})"
        ).fetchone()
    except sqlite3.Error as error:
        why = guard.refused or f"can't be read ({error})"
        raise SourceError(
            name,
            f"its layer '{view}' is a view that {why}",
            "Deliver the layer as a table.",
        ) from None
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
    check_feature_limit(name, rows, spec)


@dataclass
class _Guard:
    """What SQLite asks while it prepares and runs a view.

    Attributes:
        tables: names of the file's own tables and views, in lower case.
        refused: why the view is not read; '' while nothing speaks against it.
    """

    tables: set[str]
    refused: str = ""
    steps: int = 0

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> "_Guard":
        found = connection.execute(
            "SELECT lower(name) FROM sqlite_master"
            " WHERE type = 'view' OR (type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%')"
        )
        return cls({name for (name,) in found})

    def authorize(self, action: int, one: str | None, two: str | None, *_: str | None) -> int:
        why = self._objection(action, str(one or "").lower(), str(two).lower())
        self.refused = self.refused or why
        return sqlite3.SQLITE_DENY if why else sqlite3.SQLITE_OK

    def step(self) -> bool:
        """Whether to stop."""
        self.steps += _STEPS_A_CALL
        if self.steps > MAX_STEPS:
            self.refused = "takes too long"
        return self.steps > MAX_STEPS

    def _objection(self, action: int, one: str, two: str) -> str:
        if action == sqlite3.SQLITE_READ:
            strange = one and one not in self.tables
            return f"reads '{one}', which is no table of the file" if strange else ""
        if action == sqlite3.SQLITE_FUNCTION:
            return "" if two in FUNCTIONS else f"calls the function {two}"
        if action == sqlite3.SQLITE_RECURSIVE:
            return "is recursive"
        return "" if action == sqlite3.SQLITE_SELECT else "does more than select"
