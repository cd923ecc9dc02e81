"""What every reader gives: tiles of raw rows, and a cursor that says where to go on after each.

Reading has two halves. Finding where a tile begins and ends has to go in order, and is cheap; parsing it is a function
of the bytes found, and may happen in another process.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol, TypeVar

from singlepoint.jobs.errors import InvalidInput, NotFound, NotPermitted, Problem
from singlepoint.jobs.spec.data import MISSING_DEFAULT, Missing
from singlepoint.worker.data.preprocessing import Raw
from singlepoint.worker.data.preprocessing.rows import BadRow, InFile

Cursor = dict[str, int]
"""Plain numbers, fit for JSON: where the next tile begins. `file`, if it is there, is the place of the file among
several; the rest is of that file."""

ALIGNED_ROWS = 64
"""A tile that is cut short because its rows are large has a multiple of this many: a row's bits may depend on its place
in the network's own tile, which must not depend on that."""

PIECE_BYTES = 1 << 26
"""A tile is cut short once it has so many bytes."""

CHECKED_CELLS = 4_000_000
"""How many values a check at submit reads at most: a second or two."""

MOST_ROWS_CHECKED = 200_000


def most_rows(width: int, cells: int = CHECKED_CELLS) -> int:
    """How many rows of so many values a look at a large file takes."""
    return max(1, min(MOST_ROWS_CHECKED, cells // width))


@dataclass(frozen=True)
class Piece:
    """The rows of a tile, found in the file but not parsed.

    cursor: where to go on after them.  content: their bytes; empty where parsing can take them from the file itself.
    parsed: what had to be parsed anyway to find their end; may be lost on the way to `parse`, which is then slower.
    """

    first_row: int
    rows: int
    cursor: Cursor
    content: bytes | memoryview
    parsed: Any = None


@dataclass(frozen=True)
class Wanted:
    """Which columns of a table are read, and how.

    numbers: as float64 (missing: NaN).  words: as stripped text (missing: "").  kept: as they stand in the file.
    missing: which cells of the first two mean "no value".
    """

    numbers: Sequence[str] = ()
    words: Sequence[str] = ()
    kept: Sequence[str] = ()
    missing: Missing = MISSING_DEFAULT

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.numbers, *self.words, *self.kept)))


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used, and why. row: counted from 0 in its tile.  column: "" for the row as a whole."""

    row: int
    column: str
    reason: str
    hint: str = ""
    cell: str = ""


class Kept(Mapping[str, Sequence[str]]):
    """Columns that are made when somebody asks for them. make: one, by its name."""

    def __init__(self, names: Sequence[str], make: Callable[[str], Sequence[str]]) -> None:
        self._names, self._make = tuple(names), make
        self._made: dict[str, Sequence[str]] = {}

    def __getitem__(self, name: str) -> Sequence[str]:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class Tile:
    """Consecutive rows of a file.

    raw: what a preprocessor takes.  kept: columns to be handed through as they stand in the file.  lines: all of
    `kept`, row by row, as a CSV file has them, where that is what stands in the file; None where it is to be made.
    first_row: counted from 0 in the file.  cursor: where to go on after this tile.
    rejects: rows that cannot be used; they keep their places, with "no value" where there was none to read.
    file: the name of the file, for messages, "" where there is but one.  decimal, thousands: the marks in its numbers.
    """

    raw: Raw
    rows: int
    first_row: int
    cursor: Cursor
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    file: str = ""
    lines: Sequence[str] | None = None
    decimal: str = "."
    thousands: str = ""

    def whole(self) -> Tile:
        """This tile. Raises InFile if a row of it cannot be used, with the first trouble of each column."""
        first: dict[str, Reject] = {}
        for reject in self.rejects:
            first.setdefault(reject.column, reject)
        if first:
            order = list(self.raw) if isinstance(self.raw, Mapping) else []
            bad = [self.bad_row(first[name]) for name in ("", *order) if name in first]
            raise InFile([problem for one in bad for problem in one.problems])
        return self

    def bad_row(self, reject: Reject) -> BadRow:
        """The error for a reject, its row counted in the file."""
        row = self.first_row + reject.row
        return BadRow(row, reject.column, reject.reason, reject.hint, reject.cell, file=self.file)


class RowSource(Protocol):
    """A file of rows, read tile by tile: memory is bounded by the tile, whatever the file's size."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that `Tile.kept` will have; empty for arrays."""

    def pieces(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Piece]:
        """Pieces of `tile_rows` rows (the last may be shorter), from the start or from a cursor.

        Pieces begin at the same rows whether reading was interrupted or not. Raises InvalidInput.
        """

    def parse(self, piece: Piece, /) -> Tile:
        """A piece as a model takes it; a function of the piece alone. See `Table.parser`."""

    def tiles(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Tile]:
        """Both halves: the pieces, parsed."""


class Table(ABC):
    """A file of named columns. Which of them are read, and how, is told with each reading.

    surely_numbers: the columns whose cells are numbers by their type.  rows: how many, None if nothing tells.
    cells_at_once: in a tile of this many, what is made of them stays in the processor's cache.
    """

    path: Path
    names: tuple[str, ...]
    said: Mapping[str, str] = {}
    surely_numbers: frozenset[str] = frozenset()
    rows: int | None = None
    cells_at_once = 1 << 17

    @abstractmethod
    def pieces(self, cursor: Cursor | None, tile_rows: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """As `RowSource.pieces`, of these columns or of all."""

    @abstractmethod
    def parser(self, wanted: Wanted) -> Callable[[Piece], Tile]:
        """What makes tiles of these columns: a function of the piece alone. Raises InvalidInput for a piece that is
        damaged; a row that cannot be used is one of the tile's rejects."""

    def tiles(self, cursor: Cursor | None, tile_rows: int, wanted: Wanted, threads: int = 1) -> Iterator[Tile]:
        """Tiles of these columns, in this process: the pieces, parsed, in so many threads. The same tiles, and the same
        errors after them, however many these are."""
        return parsed([self.parser(wanted) for _ in range(threads)], self.pieces(cursor, tile_rows, wanted.names))


_Found = TypeVar("_Found")


def parsed(parsers: Sequence[Callable[[_Found], Tile]], pieces: Iterator[_Found]) -> Iterator[Tile]:
    """The pieces parsed, in their order; of several parsers each in a thread of its own, while further pieces are
    found."""
    if len(parsers) == 1:
        yield from map(parsers[0], pieces)
        return
    threads = [ThreadPoolExecutor(1, "parse") for _ in parsers]
    waiting: deque[Future[Tile]] = deque()
    try:
        for thread, parse in cycle(zip(threads, parsers, strict=True)):
            try:
                waiting.append(thread.submit(parse, next(pieces)))
            except StopIteration:
                break
            except InvalidInput as trouble:  # the rows before it come first
                waiting.append(Future())
                waiting[-1].set_exception(trouble)
                break
            if len(waiting) > len(parsers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for thread in threads:  # all are told before one is waited for, since a request to stop may come in between
            thread.shutdown(wait=False, cancel_futures=True)
        for thread in threads:
            thread.shutdown()


def ahead(found: Iterator[_Found]) -> Iterator[_Found]:
    """The same, found in a thread of its own, up to two before they are asked for; and the same trouble after them."""
    with ThreadPoolExecutor(1, "find") as thread:
        waiting = deque(thread.submit(next, found, None) for _ in range(2))
        try:
            while (one := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, found, None))
                yield one
        finally:
            thread.shutdown(wait=False, cancel_futures=True)


def existing(path: Path, field: str = "input") -> Path:
    """The path, if there is a file that may be read. Raises NotFound, NotPermitted with the field that named it."""
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "a pipe or a device"
        what = f"is {kind}, not a file" if path.exists() else "does not exist"
        raise NotFound(f"{field}: {path} {what}", hint="paths in a spec are relative to the spec file")
    if not os.access(path, os.R_OK):
        raise NotPermitted(f"{field}: {path} may not be read", hint="mend its permissions, or name another file")
    return path


def unreadable(path: Path, reason: object, hint: str = "") -> InFile:
    """The error for a file whose contents are not what its name promises."""
    return InFile(Problem(path.name, str(reason), hint))


@contextmanager
def in_field(name: str, file: str) -> Iterator[None]:
    """What is wrong inside of a file is told by the field of the spec that names it: `input: new.csv, row 2`.

    file: its name, for a row that does not tell it.
    """
    try:
        yield
    except InFile as error:
        problems = [replace(one, field=f"{name}: {_with_file(one.field, file)}") for one in error.problems]
        raise InvalidInput(problems, hint=error.hint) from None


def _with_file(place: str, file: str) -> str:
    return f"{file}, {place}" if re.match("row [0-9]", place) else place
