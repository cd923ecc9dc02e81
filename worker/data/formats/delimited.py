"""CSV files and their kin: any separator, quotes as in RFC 4180, a header or none. Streamed; any row can be the first.

A cursor holds the byte of the text at which a row begins, so going on in a plain UTF-8 file reads nothing before it.
The cells of a tile are found and parsed by `arrow_csv` or `fields`, many at once; where these are not sure what they
are (a quote in the middle of a cell, a row of another length, lines to be left out), by the csv module, one record at a
time, to the same values.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.spec.data import DialectFields
from singlepoint.worker.data.preprocessing.decimals import Bytes, Places
from singlepoint.worker.nn.arrays import Array

from . import arrow_csv, fields, streams
from .cells import ColumnParser, Marks
from .dialect import SNIFFED_BYTES, Dialect, Learned, no_text, sniffed, sniffed_like
from .tile import ALIGNED_ROWS, PIECE_BYTES, Cursor, Kept, Piece, Reject, Table, Tile, Wanted, unreadable

csv.field_size_limit(streams.LINE_BYTES)

Record = Sequence[str]
_SPACE, _LINE_END = 32, 10
_EXCEL = re.compile(r"sep=.", re.IGNORECASE)  # such a line tells it the separator
_TROUBLE = (csv.Error, streams.LineTooLong, *streams.TROUBLE)


class CsvFile(Table):
    """A CSV file and the names of its columns: those of its header, or "0", "1", … without one.

    said: what is known of the dialect; the rest is sniffed, or as `like`, of a file that is read before this one.
    learned: what a model tells of it.  section: of the spec that says it, for messages.
    """

    def __init__(
        self,
        path: Path,
        *,
        header: bool = True,
        said: DialectFields | None = None,
        like: Mapping[str, str] | None = None,
        learned: Learned | None = None,
        section: str = "data.",
        opener: streams.Opener = streams.plainly,
    ) -> None:
        self.path, self.header, self._section, self._opener = path, header, section, opener
        self.dialect = self._sniffed(said or DialectFields(), like, learned or Learned())
        self._is_wide = True  # a line of spaces is no row, but for a table of one column
        self.names, self.first_offset = self._names()
        self._is_wide = len(self.names) > 1
        self.said = self.dialect.said

    def pieces(self, cursor: Cursor | None, tile_rows: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """Runs of `tile_rows` records, unparsed wherever a line is a record. columns: all are read anyway."""
        at = cursor or {"offset": self.first_offset, "row": 0}
        row, offset = at["row"], at["offset"]
        with self._open() as file:
            try:
                streams.skip_to(file, offset)
                lines = streams.Lines(file)
                while True:
                    content, rows, records = self._next_records(lines, tile_rows)
                    if not rows:
                        return
                    offset += len(content)
                    yield Piece(row, rows, {"offset": offset, "row": row + rows}, content, records)
                    row += rows
            except _TROUBLE as error:
                raise self._trouble(row, error) from None

    def parser(self, wanted: Wanted) -> Callable[[Piece], Tile]:
        """See `Table`."""
        place = {name: i for i, name in enumerate(self.names)}
        marks = Marks(self.dialect.decimal, self.dialect.thousands)
        number_parsers = [ColumnParser(name, wanted.missing, marks) for name in wanted.numbers]
        word_parsers = [ColumnParser(name, wanted.missing, marks) for name in wanted.words]
        numeric, as_lines = [place[name] for name in wanted.numbers], tuple(wanted.kept) == self.names
        texts = {*wanted.words, *(() if as_lines else wanted.kept)} - {*wanted.numbers}
        numbers = dict(zip(numeric, number_parsers, strict=True))
        size_bytes, text_places = self.path.stat().st_size, [place[name] for name in texts]
        by_arrow = arrow_csv.Reader(size_bytes, len(self.names), numbers, text_places, self.dialect)

        def parse(piece: Piece) -> Tile:
            found = None
            if piece.parsed is None:
                found = by_arrow.read(piece.content, piece.rows, lambda: self._cells(piece))
            cells = self._cells(piece) if found is None else found
            try:
                values, rejects = cells.numbers(numeric, number_parsers)
                raw: dict[str, Array] = dict(zip(wanted.numbers, values, strict=True))
                for parser in word_parsers:
                    raw[parser.name] = cells.words(place[parser.name], parser)
            except UnicodeDecodeError as error:
                raise self._trouble(piece.first_row, error) from None
            kept = Kept(wanted.kept, lambda name: tuple(cells.texts(place[name])))
            lines = cells.lines(len(self.names), self.dialect) if as_lines else None
            rejected = (*cells.ragged, *rejects)
            written = {"decimal": marks.decimal, "thousands": marks.thousands}
            return Tile(raw, piece.rows, piece.first_row, piece.cursor, kept, rejected, lines=lines, **written)

        return parse

    # -- finding records -----------------------------------------------------------------------------------------

    def _next_records(self, lines: streams.Lines, most: int) -> tuple[bytes, int, list[Record] | None]:
        """The bytes of the next `most` records, how many there are, and their cells if they had to be parsed."""
        content, ends = lines.many(most, PIECE_BYTES, ALIGNED_ROWS)
        rows = self._lines_that_are_records(content, ends)
        if rows is not None:
            return content, rows, None
        most = min(most, content.count(b"\n") + 1) if len(content) >= PIECE_BYTES else most
        more: list[bytes] = []  # a record takes a line at least, so all of these belong to it, and perhaps more

        def further() -> Iterator[bytes]:
            for line in lines:
                more.append(line)
                yield line

        records = list(islice(self._records(chain(io.BytesIO(content), further())), most))
        return b"".join(chain([content], more)), len(records), records

    def _lines_that_are_records(self, content: bytes, ends: Places) -> int | None:
        """How many lines there are, if each surely is a record: none blank or a comment, none ending inside quotes.
        ends: of the lines, but for the last, which may have none."""
        quote, comment = self.dialect.quote.encode(), self.dialect.comment.encode()
        if len(quote) > 1:
            return None
        if content and not content.endswith(b"\n"):
            ends = np.append(ends, len(content) - 1)
        begins = ends[:-1] + 1
        firsts = np.frombuffer(content, np.uint8).take(begins)
        special = firsts <= _SPACE  # it may be blank
        if comment:
            special |= firsts == comment[0]
        for first in [*[0] * bool(content), *begins[special].tolist()]:
            line = content[first : content.find(b"\n", first) + 1 or len(content)]
            if self._is_blank(line.decode("utf-8", "replace")) or (comment and line.startswith(comment)):
                return None
        if quote and quote in content and not self._quotes_end_in_lines(content, ends, quote[0]):
            return None
        return len(ends)

    def _quotes_end_in_lines(self, content: bytes, ends: Places, quote: int) -> bool:
        """Whether each quote that begins a cell is in one line with that which ends it."""
        for start, end in streams.runs_of_lines(content):
            lines = np.frombuffer(content, np.uint8, end - start, start)
            quotes = np.flatnonzero(lines == quote)
            first, last = np.searchsorted(ends, [start, end]).tolist()
            ends_inside = np.searchsorted(quotes, ends[first:last] - start, "right") & 1
            if ends_inside.any() or not self._begin_cells(lines, quotes[::2]):
                return False
        return True

    def _begin_cells(self, lines: Bytes, quotes: Places) -> bool:
        """Whether each of these begins a cell, or is the second of two within one: an ordinary quote, as after inches,
        opens nothing."""
        may_precede = np.zeros(256, np.bool_)
        may_precede[[_LINE_END, self.dialect.separator.encode()[-1], self.dialect.quote.encode()[0]]] = True
        may_precede[_SPACE] |= self.dialect.padded
        at_start = quotes == 0
        return bool((at_start | may_precede.take(lines.take(quotes - 1, mode="wrap"))).all())

    def _records(self, lines: Iterator[bytes]) -> Iterator[Record]:
        """Record by record, without empty cells after a last separator."""
        return map(self._trimmed, self._told(map(bytes.decode, lines)))

    def _told(self, lines: Iterator[str]) -> Iterator[Record]:
        """Record by record, without blank lines and comments. Lines are those only between two records: where the
        reader asks for another within one, it is inside of quotes."""
        comment, is_between = self.dialect.comment, True

        def telling() -> Iterator[str]:
            nonlocal is_between
            for line in lines:
                if not (is_between and ((comment and line.startswith(comment)) or self._is_blank(line))):
                    is_between = False
                    yield line

        for record in self.dialect.reader(telling()):
            is_between = True
            if record:
                yield record

    def _is_blank(self, line: str) -> bool:
        """Whether a line is no row: empty or, where rows have several cells, of spaces. Two tabs may be three cells."""
        if not self._is_wide:
            return not line.strip("\r\n")
        return line.isspace() and (self.dialect.separator == " " or self.dialect.separator not in line)

    def _trimmed(self, record: Record) -> Record:
        spare = len(record) - len(self.names)
        return record[:-spare] if spare > 0 and not any(cell.strip() for cell in record[-spare:]) else record

    # -- parsing them --------------------------------------------------------------------------------------------

    def _cells(self, piece: Piece) -> fields.Fields | _Records:
        try:
            if piece.parsed is None:
                for width in (len(self.names), len(self.names) + 1):  # each line may end with a separator
                    found = fields.find(piece.content, piece.rows, width, self.dialect)
                    if found is not None and (width == len(self.names) or not any(found.texts(width - 1))):
                        return found
            return self._parsed(piece)
        except _TROUBLE as error:
            raise self._trouble(piece.first_row, error) from None

    def _parsed(self, piece: Piece) -> _Records:
        records = piece.parsed
        if records is None:
            records = list(self._records(io.BytesIO(piece.content)))
        if len(records) != piece.rows:
            raise csv.Error(f"a quote inside an unquoted cell; is it an ordinary character? {self._section}quote = ''")
        width = len(self.names)
        ragged = tuple(self._ragged(row, len(one)) for row, one in enumerate(records) if len(one) != width)
        if ragged:
            records = [one if len(one) == width else [""] * width for one in records]
        return _Records(records, ragged)

    def _ragged(self, row: int, cells: int) -> Reject:
        what = f"has {cells} cells, the {'header' if self.header else 'first row'} has {len(self.names)}"
        return Reject(row, "", what, f"quote cells that contain a separator; or set {self._section}separator")

    def _trouble(self, row: int, error: Exception) -> InvalidInput:
        return unreadable(self.path, f"after row {row}: {self._reason(error)}")

    def _reason(self, error: Exception) -> str:
        if isinstance(error, csv.Error) and "expected after" in str(error):
            return f"{error}; a quote inside a quoted cell is written twice, not after a backslash"
        if not isinstance(error, UnicodeDecodeError):
            return str(error)
        return f"not {error.encoding.upper()} text; set {self._section}encoding, for example to 'latin-1'"

    # -- its beginning -------------------------------------------------------------------------------------------

    def _sniffed(self, said: DialectFields, like: Mapping[str, str] | None, learned: Learned) -> Dialect:
        try:
            with streams.open_bytes(self.path, self._opener) as file:
                start = file.read(SNIFFED_BYTES)
                complete = not file.read(1)
        except _TROUBLE as error:
            raise unreadable(self.path, f"cannot be read as CSV: {error}") from None
        if other := no_text(start, said, self._section):
            raise unreadable(self.path, *other)
        tabs = ".tsv" in self.path.suffixes or ".tab" in self.path.suffixes
        name, section = self.path.name, self._section
        if not like:
            return sniffed(start, said, tabs=tabs, field=section, complete=complete, learned=learned)
        return sniffed_like(like, start, said, tabs=tabs, field=section, complete=complete, learned=learned, file=name)

    def _names(self) -> tuple[tuple[str, ...], int]:
        with self._open() as file:
            try:
                start = streams.mark_bytes(file)
                lines = _Told(streams.Lines(file), start)
                first = next(self._told(lines), None)
            except _TROUBLE as error:
                raise unreadable(self.path, f"cannot be read as CSV: {self._reason(error)}") from None
        if len(first or ()) <= 2 and _EXCEL.fullmatch(self.dialect.separator.join(first or ())):
            raise unreadable(self.path, "begins with a line for Excel, 'sep='", "take that line out")
        if first is None:
            raise unreadable(self.path, "is empty", "give a file with a header and at least one row")
        if not self.header:
            return tuple(map(str, range(len(first)))), start
        filled = len(first)
        while filled > 1 and not first[filled - 1].strip():  # a separator after the last
            filled -= 1
        names = tuple(name.strip() for name in first[:filled])
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            what = f"two columns are named '{twice[0]}'" if twice[0] else "two columns have no name"
            raise unreadable(self.path, what, "rename one; or is header = false?")
        return names, lines.offset

    def _open(self) -> IO[bytes]:
        return streams.open_text(self.path, self.dialect.encoding, self.dialect.newline, self._opener)


@dataclass(frozen=True)
class _Records:
    """The cells of some records, parsed by the csv module. The same questions as to `fields.Fields`.

    ragged: rows that had another number of cells, and now have empty ones.
    """

    records: list[Record]
    ragged: tuple[Reject, ...] = ()

    @cached_property
    def _columns(self) -> list[tuple[str, ...]]:
        return list(zip(*self.records, strict=True))

    def texts(self, column: int) -> tuple[str, ...]:
        return self._columns[column]

    def lines(self, columns: int, dialect: Dialect) -> None:
        """None: they are not a line each, or not surely."""

    def words(self, column: int, parser: ColumnParser) -> Array:
        return parser.words(self.texts(column))

    def numbers(self, columns: Sequence[int], parsers: Sequence[ColumnParser]) -> tuple[list[Array], list[Reject]]:
        values, rejects = [], []
        for column, parser in zip(columns, parsers, strict=True):
            numbers, bad = parser.numbers(self.texts(column))
            values.append(parser.no_value.taken_out(numbers))
            rejects += bad
        spoiled = {reject.row for reject in self.ragged}
        return values, [reject for reject in rejects if reject.row not in spoiled]


class _Told:
    """The lines of a file as text, and the offset after the last one handed out.

    The csv reader asks for one line at a time until its record is complete, so after each record the offset is
    exactly where the next one begins, also when a quoted cell runs over several lines.
    """

    def __init__(self, lines: streams.Lines, offset: int) -> None:
        self._lines, self.offset = iter(lines), offset

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.offset += len(line)
        return line.decode("utf-8")
