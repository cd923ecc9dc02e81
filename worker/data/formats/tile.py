"""What every reader gives: tiles of raw rows, and a cursor that says where to go on after each.

Reading has two halves. Finding where a tile begins and ends has to go in order, and is cheap; parsing it is a function
of the bytes found, and may happen in another process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from singlepoint.jobs.errors import InvalidInput, NotFound, Problem
from singlepoint.worker.data.preprocessing import Raw

Cursor = dict[str, int]
"""Plain numbers, fit for JSON: where in the file the next tile begins."""


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
class Tile:
    """Consecutive rows of a file.

    raw: what a preprocessor takes.  kept: columns to be handed through as they stand in the file.
    first_row: counted from 0 in the file.  cursor: where to go on after this tile.
    """

    raw: Raw
    rows: int
    first_row: int
    cursor: Cursor
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
        """A piece as a model takes it; a function of the piece alone. Raises InvalidInput."""

    def tiles(self, cursor: Cursor | None, tile_rows: int) -> Iterator[Tile]:
        """Both halves: the pieces, parsed."""


class Table(ABC):
    """A file of named columns. Which of them are read, and how, is told with each reading."""

    path: Path
    names: tuple[str, ...]

    @abstractmethod
    def pieces(self, cursor: Cursor | None, tile_rows: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """As `RowSource.pieces`, of these columns or of all."""

    @abstractmethod
    def parser(
        self,
        *,
        numbers: Sequence[str] = (),
        words: Sequence[str] = (),
        kept: Sequence[str] = (),
        missing: Iterable[str] = (),
    ) -> Callable[[Piece], Tile]:
        """What makes tiles whose `raw` has `numbers` as float64 (missing: NaN) and `words` as stripped text
        (missing: ""). Raises InvalidInput."""

    def tiles(
        self,
        cursor: Cursor | None,
        tile_rows: int,
        *,
        numbers: Sequence[str] = (),
        words: Sequence[str] = (),
        kept: Sequence[str] = (),
        missing: Iterable[str] = (),
    ) -> Iterator[Tile]:
        """Tiles of these columns, in this process: the pieces, parsed."""
        parse = self.parser(numbers=numbers, words=words, kept=kept, missing=missing)
        return map(parse, self.pieces(cursor, tile_rows, (*numbers, *words, *kept)))


def existing(path: Path, field: str = "input") -> Path:
    """The path, if there is a file. Raises NotFound with the field that named it."""
    if not path.is_file():
        what = "is a directory, not a file" if path.is_dir() else "does not exist"
        raise NotFound(f"{field}: {path} {what}", hint="paths in a spec are relative to the spec file")
    return path


def unreadable(path: Path, reason: object, hint: str = "") -> InvalidInput:
    """The error for a file whose contents are not what its name promises."""
    return InvalidInput(Problem(path.name, str(reason), hint))
