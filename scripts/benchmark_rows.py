"""Rows of a benchmark: in a CSV that survives interruptions, and in a Markdown table."""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from diffquant.console import UsageError
from diffquant.files import write_atomically

Key = TypeVar("Key", bound=tuple[Any, ...])  # what a row is about

Values = dict[str, float]  # what was measured: what is missing in the file is missing here


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns(Generic[Key]):
    """Of a CSV: what a row is about, then numbers. At least one number has a column, and not only of the costs."""

    keys: tuple[str, ...]
    key: Callable[..., Key]
    """Of the texts in these columns; a ValueError says what is wrong with them."""
    names: tuple[str, ...]
    """Of the numbers."""
    costs: tuple[str, ...] = ()
    """Numbers that say nothing by themselves."""
    rare: tuple[str, ...] = ()
    """Numbers that get a column only where a row has them."""
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Numbers' names by what else their columns may be called."""


class Results(Generic[Key]):
    """A CSV of rows: read, brought up to date with today's columns, then appended to.

    A last line without an end was cut short, and is forgotten. Of rows for the same thing the last one counts.

    Raises:
        UsageError: what is there is no such CSV.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, columns: Columns[Key]) -> None:
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        self.rows = read_table(path, whole, columns) if whole else {}
        absent = {name for name in columns.rare if not any(name in values for values in self.rows.values())}
        self._names = [name for name in columns.names if name not in absent]
        header = [*columns.keys, *self._names]
        today = _text([header, *(self._cells(key, values) for key, values in self.rows.items())])
        if today != text:
            write_atomically(path, today.encode())
        self._file: IO[str] = path.open("a", encoding="utf-8", newline="")

    def __enter__(self) -> "Results[Key]":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, key: Key, values: Values) -> None:
        """To the file, at once."""
        self.rows[key] = values
        self._file.write(_text([self._cells(key, values)]))
        self._file.flush()

    def _cells(self, key: Key, values: Values) -> list[str]:
        return [*map(str, key), *(f"{values[name]:.8g}" if name in values else "" for name in self._names)]


def _text(cells: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()


def read_table(path: Path, text: str, columns: Columns[Key]) -> dict[Key, Values]:
    """Rows of a CSV. Columns of unknown names are left out.

    Raises:
        UsageError: a column is missing, or a cell is no number; names the file and the line.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    table: dict[Key, Values] = {}
    try:
        header = reader.fieldnames or ()
        missing = [column for column in columns.keys if column not in header]
        names = {column: name for column in header if (name := columns.aliases.get(column, column)) in columns.names}
        telling = [name for name in columns.names if name not in columns.costs]
        if missing or not set(telling) & set(names.values()):
            found = f"column {', '.join(missing)}" if missing else "metric" if columns.costs else "number"
            wanted = f"{', '.join(columns.keys)} and some of {', '.join(telling)}"
            raise UsageError(f"{path}: found no {found}, expected {wanted}")
        for cells in reader:
            values = {name: float(cells[column]) for column, name in names.items() if cells[column]}
            table[columns.key(*(cells[column] or "" for column in columns.keys))] = values
    except UsageError:
        raise
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}; expected numbers") from None
    return table


def read_file(path: Path, columns: Columns[Key]) -> dict[Key, Values]:
    """Rows of a file of that kind.

    Raises:
        UsageError: it is no such CSV.
        OSError: it cannot be read.
    """
    try:
        return read_table(path, path.read_text(encoding="utf-8"), columns)
    except UnicodeDecodeError:
        raise UsageError(f"{path}: found no text, expected a CSV") from None


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table whose first `left` columns are texts, and the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
