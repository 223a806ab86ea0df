"""What to read a DBF as: looked through once, before the first batch.

A column gets the type that its field declares if every cell has it, else the next wider one, at
last text. Text gets the encoding that is declared; where none is, it is UTF-8 if all of it reads
as such (other encodings hardly ever do by chance), else Windows-1252, which is said.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from geo_etl.errors import SourceError
from geo_etl.vector.formats import charset
from geo_etl.vector.formats.dbf import DELETED, Cells, Field, Table
from geo_etl.vector.formats.dbf_cells import EXACT_DIGITS, Column, decode, read_cells
from geo_etl.vector.formats.layer import OWN_COLUMNS

DEFAULT_ENCODING = "cp1252"
MAX_INT32_DIGITS = 9
MEMO_DIGITS = 10
NUMBERS = "NF"
_WORDS = {"N": "numbers", "F": "numbers", "D": "dates", "L": "logical values"}


@dataclass
class PlannedColumn:
    """One column: its name, its bytes, its type, and what went wrong in it so far."""

    name: str
    place: Field
    types: list[pa.DataType]
    misfit: str = ""
    found: Counter[str] = field(default_factory=Counter)
    example: str = ""

    @property
    def type(self) -> pa.DataType:
        """Arrow type: the first that all cells have."""
        return self.types[0]

    def read(self, block: Cells, encoding: str) -> Column:
        """Cells of some records."""
        whole = self.place.kind in NUMBERS and not self.place.decimals
        exact = whole and self.place.width > EXACT_DIGITS
        return read_cells(self.place.cells(block), self.type, encoding, exact=exact)


@dataclass(frozen=True)
class TablePlan:
    """How a table is read.

    Attributes:
        deleted: how many records are marked as deleted.
        remarks: what a person should know already; `outcome` adds to it.
    """

    table: Table
    columns: Sequence[PlannedColumn]
    encoding: str
    deleted: int
    remarks: Sequence[str]

    def read(self, block: Cells) -> list[pa.Array]:
        """Columns of some records."""
        arrays = []
        for column in self.columns:
            cells = column.read(block, self.encoding)
            assert cells.misfit is None, f"{column.name} was written while it was read"
            counts = {"void": cells.void, "cut": cells.cut, "behind": cells.behind}
            column.found.update({**counts, "undecodable": cells.undecodable})
            column.example = column.example or cells.example
            arrays.append(cells.array)
        return arrays

    def outcome(self) -> Iterator[str]:
        """Remarks on what was read."""
        for column in self.columns:
            found, name = column.found, f"column '{column.name}'"
            if found["void"]:
                yield f"{found['void']} cells of {name} hold no number (such as ****): null."
            if found["cut"]:
                yield (
                    f"{found['cut']} texts of {name} are cut off within their last character, "
                    "which was left out."
                )
            if found["behind"]:
                yield f"{found['behind']} texts of {name} end with a NUL; what follows is left out."
            if found["undecodable"]:
                yield (
                    f"{found['undecodable']} texts of {name} are not {self.encoding}, for instance "
                    f"'{column.example}': such bytes stand as \\xNN. Set converter_params.encoding."
                )
            column.found.clear()


def live(block: Cells) -> Cells:
    """Records that are not marked as deleted."""
    deleted = block[:, 0] == DELETED
    return block[~deleted] if deleted.any() else block


def plan_table(table: Table, name: str, declared: str | None, given: str | None) -> TablePlan:
    """Look through a table.

    Args:
        declared: content of the file that declares the encoding (.cpg), where there is one.
        given: encoding that the spec gives.

    Raises:
        SourceError: the encoding of the spec is none that a DBF can have.
    """
    remarks = []
    if table.declared != table.records:
        remarks.append(
            f"The header of the .dbf says {table.declared} records; it has {table.records}, as "
            "many as there are shapes."
        )
    columns = [PlannedColumn("", field_, _types(field_)) for field_ in table.fields]
    texts = _survey(table, columns)
    encoding = _encoding(table, name, declared, given, texts, remarks)
    _name(columns, encoding)
    remarks.extend(_unusual(columns))
    if texts.deleted:
        remarks.append(f"{texts.deleted} records are marked as deleted and were left out.")
    return TablePlan(table, columns, encoding, texts.deleted, remarks)


def _types(field_: Field) -> list[pa.DataType]:
    """Types that a field may have, the one it declares first."""
    if field_.kind in NUMBERS:
        if field_.decimals:
            return [pa.float64(), pa.string()]
        small = field_.width <= MAX_INT32_DIGITS
        return [pa.int32() if small else pa.int64(), pa.float64(), pa.string()]
    if field_.kind == "D":
        return [pa.date32(), pa.string()]
    if field_.kind == "L":
        return [pa.bool_(), pa.string()]
    is_text = field_.kind == "C" or (field_.kind == "M" and field_.width == MEMO_DIGITS)
    return [pa.string() if is_text else pa.binary()]


@dataclass
class _Texts:
    """What the texts of a table are made of."""

    deleted: int = 0
    ascii: bool = True
    utf8: bool = True


def _survey(table: Table, columns: Sequence[PlannedColumn]) -> _Texts:
    """Find each column's type, and what texts are made of."""
    found = _Texts()
    for raw_block in table.blocks():
        block = live(raw_block)
        found.deleted += len(raw_block) - len(block)
        if int(block.max(initial=0)) >= 128:
            _look_at_texts(block, columns, found)
    pending = [column for column in columns if len(column.types) > 1]
    while pending:
        misfits: dict[int, str] = {}
        for block in map(live, table.blocks()):
            for index, column in enumerate(pending):
                misfit = column.read(block, "ascii").misfit if index not in misfits else None
                if misfit is not None:
                    misfits[index] = misfit
        for index, misfit in misfits.items():
            pending[index].types.pop(0)
            pending[index].misfit = misfit
        pending = [pending[i] for i in misfits if len(pending[i].types) > 1]
    return found


def _look_at_texts(block: Cells, columns: Sequence[PlannedColumn], found: _Texts) -> None:
    for column in columns:
        cells = column.place.cells(block)
        if column.place.kind == "C" and (found.ascii or found.utf8) and int(cells.max()) >= 128:
            found.ascii = False
            found.utf8 = found.utf8 and column.read(block, "utf-8").undecodable == 0


def _encoding(
    table: Table,
    name: str,
    declared: str | None,
    given: str | None,
    texts: _Texts,
    remarks: list[str],
) -> str:
    """The encoding to read texts with; remarks what is uncertain about it."""
    if given is not None:
        encoding = charset.of_text(given)
        if encoding is None:
            raise SourceError(
                name,
                f"the text of a .dbf can't be in '{given}'",
                "Set converter_params.encoding to one like UTF-8, cp1252 or cp852.",
            )
        return encoding
    encoding = charset.of_text(declared) if declared else None
    if declared and encoding is None and declared.strip().lower() != "system" and not texts.ascii:
        said = declared.strip()[:40]
        remarks.append(f"Its .cpg names no encoding that is known ('{said}').")
    encoding = encoding or charset.of_language_driver(table.language)
    set_it = "Set converter_params.encoding if it looks wrong."
    if encoding is not None:
        if not texts.ascii and texts.utf8 and encoding != "utf-8":
            remarks.append(f"Texts declared as {encoding} would also read as UTF-8. {set_it}")
        return encoding
    if texts.ascii:
        return DEFAULT_ENCODING
    if texts.utf8:
        remarks.append(f"Nothing declares UTF-8, but all texts are: read as UTF-8. {set_it}")
        return "utf-8"
    if table.language != charset.ANSI:
        remarks.append(f"Nothing declares the encoding of texts: read as Windows-1252. {set_it}")
    return DEFAULT_ENCODING


def _name(columns: Sequence[PlannedColumn], encoding: str) -> None:
    """Give columns their names; the same one twice gets a number."""
    taken = set(OWN_COLUMNS)
    for number, column in enumerate(columns, 1):
        name = decode(column.place.raw_name, encoding).strip()
        base = name = name or f"field_{number}"
        again = 1
        while name in taken:
            again += 1
            name = f"{base}_{again}"
        taken.add(name)
        column.name = name


def _unusual(columns: Sequence[PlannedColumn]) -> Iterator[str]:
    for column in columns:
        kind, type_ = column.place.kind, column.type
        if kind == "M":
            yield (
                f"Column '{column.name}' refers to a memo file, which is no part of a shapefile: "
                "only the number of the memo is loaded."
            )
        elif pa.types.is_binary(type_):
            yield (
                f"Column '{column.name}' is of type '{kind}', which shapefiles do not have: its "
                "bytes are loaded as they are."
            )
        elif column.misfit:
            declared = _WORDS[kind]
            if kind in NUMBERS and not column.place.decimals:
                declared = "whole numbers"
            read_as = "text" if pa.types.is_string(type_) else "numbers with decimals"
            yield (
                f"Column '{column.name}' is declared as {declared} but holds '{column.misfit}': "
                f"it is loaded as {read_as}."
            )
