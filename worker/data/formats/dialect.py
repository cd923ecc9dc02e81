"""How a text file of columns is written: separator, quote, decimal mark, thousands, comment, encoding.

`sniffed` finds out from the first bytes what was not said, and refuses what could be read in two ways, naming the field
that settles it. What it finds is told at submit and kept in the job's spec, so that no attempt guesses again.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress, islice
from typing import Literal

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.data import DialectFields

SNIFFED_BYTES = 1 << 18
_SNIFFED_RECORDS = 200
_SEPARATORS = (",", ";", "\t", "|")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NO_TEXT = {
    b"\x1f\x8b": ("packed by gzip", "let its name end in .gz"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "let its name end in .zst"),
    b"PAR1\x15": ("Parquet", "let its name end in .parquet"),
    b"ARROW1\0": ("Arrow", "let its name end in .arrow"),
    b"\x93NUMPY": ("an array of numpy", "let its name end in .npy"),
    b"PK\x03\x04": ("a zip archive, as .xlsx is", "unpack it; of a sheet, save it as CSV (UTF-8)"),
    b"\xd0\xcf\x11\xe0": ("a file of Office, as .xls is", "save the sheet as CSV (UTF-8)"),
}
_UTF16_UNMARKED = ((re.compile(rb"[^\0]\0"), "utf-16-le"), (re.compile(rb"\0[^\0]"), "utf-16-be"))
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_COMMA_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+")
_POINT_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+,[0-9]+")
_POINT_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+")
_POINT_NUMBER = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Dialect:
    """How one file is written. quote, thousands, comment: "" for none.

    separator: one character; a space stands for any run of them.  newline: "\\r" in files of old instruments.
    padded: whether spaces may stand between a separator and a quote; such a cell is quoted all the same.
    """

    separator: str = ","
    quote: str = '"'
    decimal: str = "."
    thousands: str = ""
    comment: str = ""
    encoding: str = "utf-8"
    newline: str = "\n"
    padded: bool = False

    @property
    def said(self) -> dict[str, str]:
        """What of it a spec can say, by field."""
        return {name: getattr(self, name) for name in DialectFields.model_fields}

    def reader(self, lines: Iterable[str]) -> Iterable[list[str]]:
        """The cells of each record, with an empty list for a blank line. Raises csv.Error."""
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE
        spaces = self.separator == " "
        if spaces:
            lines = (line.rstrip(" \r\n") + "\n" for line in lines)
        return csv.reader(
            lines,
            strict=True,
            delimiter=self.separator,
            quotechar=self.quote or None,
            quoting=quoting,
            skipinitialspace=spaces or self.padded,
        )


def no_text(start: bytes, said: DialectFields, field: str) -> tuple[str, str] | None:
    """What a file that begins so is, if it is no text as it is said to be, and what can be done."""
    for mark, (what, hint) in _NO_TEXT.items():
        if start.startswith(mark):
            return f"is {what}, whatever its name says", hint
    if said.encoding in (None, "utf-8", "utf-16"):
        for begin, encoding in _UTF16_UNMARKED:
            if begin.match(start):
                return "is UTF-16 without a mark at its beginning", f"set {field}encoding = '{encoding}'"
    return None


@dataclass(frozen=True)
class Learned:
    """What a model tells of a file that it is to take: the columns it takes, () for all, and the marks of numbers in
    what it learned from, which may come from the same program."""

    columns: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str = ""


_NOTHING_LEARNED = Learned()


def sniffed(
    start: bytes,
    said: DialectFields,
    *,
    tabs: bool,
    field: str,
    complete: bool,
    learned: Learned = _NOTHING_LEARNED,
) -> Dialect:
    """The dialect of a file that begins with these bytes, as far as nobody said it.

    tabs: whether its name promises tabs.  complete: whether `start` is all of it.
    field: the section of the spec that settles it, such as "data.".
    Raises InvalidInput for what can be read in two ways.
    """
    text, encoding = _text(start, said)
    newline = "\r" if "\r" in text and "\n" not in text else "\n"
    lines = text.split(newline, 2 * _SNIFFED_RECORDS)
    if len(lines) > 1 and (not complete or len(lines) > 2 * _SNIFFED_RECORDS):
        lines.pop()  # cut in the middle
    base = Dialect(
        quote='"' if said.quote is None else said.quote,
        thousands=said.thousands or "",
        encoding=encoding,
        newline=newline,
    )
    base = replace(base, comment=_comment(lines, said))
    if base.comment and said.comment is None:
        _check_comments(text.split(newline), base, said, field)
    lines = [line for line in lines if line.strip() and not (base.comment and line.startswith(base.comment))]
    base = replace(base, padded=_is_padded(lines, base.quote, said.separator))
    base = replace(base, separator=said.separator or _separator(lines, base, "\t" if tabs else ",", said))
    return _with_marks(base, said, lines, field, learned)


def sniffed_like(
    first: Mapping[str, str],
    start: bytes,
    said: DialectFields,
    *,
    tabs: bool,
    field: str,
    complete: bool,
    learned: Learned,
    file: str,
) -> Dialect:
    """As `sniffed`, of a further file: it is read as the first one was, by whoever reads both.

    first: of `Dialect.said`.  file: its name. Raises InvalidInput where it begins as if it were written otherwise.
    """
    found = sniffed(start, DialectFields.model_validate(first), tabs=tabs, field=field, complete=complete)
    if found.comment and said.comment is None:
        _check_comments(_text(start, said)[0].splitlines(), found, said, field)
    try:
        own = sniffed(start, said, tabs=tabs, field=field, complete=complete, learned=learned)
    except InvalidInput:  # it could be read in two ways, of which the first file leaves one
        return found
    usual = Dialect().said
    for name, mark in own.said.items():
        if mark != first[name] and (name == "encoding" or mark != usual[name]):
            what = f"{file} has {mark!r}, the first file {first[name] or 'none'!r}"
            hint = f"write all files alike; or set {field}{name}, if all of them are read so"
            raise InvalidInput(Problem(f"{field}{name}", what, hint))
    return found


def _text(start: bytes, said: DialectFields) -> tuple[str, str]:
    """What these bytes say, and by which encoding; whoever reads all of them will say what is no text."""
    encoding = said.encoding or ("utf-16" if start.startswith(_UTF16) else "utf-8")
    return start.decode(encoding, "replace").removeprefix("\ufeff"), encoding


def _comment(lines: Sequence[str], said: DialectFields) -> str:
    """`#` when the file begins with such lines and they are no header: that has as many cells as the rows."""
    if said.comment is not None:
        return said.comment
    there = [line for line in lines if line.strip()]
    first = there[0] if there else ""
    rest = next((line for line in there if not line.startswith("#")), "")
    if not first.startswith("#") or not rest:
        return ""
    marks = [said.separator] if said.separator else _SEPARATORS
    is_header = any(mark in first and first.count(mark) == rest.count(mark) for mark in marks)
    return "" if is_header else "#"


def _check_comments(lines: Iterable[str], dialect: Dialect, said: DialectFields, field: str) -> None:
    """Raises InvalidInput where a line after the first row begins like a comment, and has as many cells as that row."""
    left = (line for line in lines if line.strip())
    row = next((line for line in left if not line.startswith(dialect.comment)), "")
    marks = [said.separator] if said.separator else [mark for mark in _SEPARATORS if mark in row] or [" "]
    for line in left:
        if line.startswith(dialect.comment) and any(
            len(cells) == 2 and len(cells[0]) == len(cells[1])
            for cells in (_records([row, line], replace(dialect, separator=mark)) for mark in marks)
        ):
            what = f"the line {line.strip()[:40]!r} may be a comment, or a row"
            hint = f"set {field}comment = '#' to leave such lines out; else '', without those above the header"
            raise InvalidInput(Problem(f"{field}comment", what, hint))


def _is_padded(lines: Iterable[str], quote: str, separator: str | None) -> bool:
    marks = re.escape(separator or "".join(_SEPARATORS))
    return bool(quote) and re.search(rf"[{marks}] +{re.escape(quote)}", "\n".join(lines)) is not None


def _records(lines: Iterable[str], dialect: Dialect) -> list[list[str]]:
    """The first records, without those that are no CSV: whoever reads them will say so."""
    try:
        return list(islice(filter(None, dialect.reader(f"{line}\n" for line in lines)), _SNIFFED_RECORDS))
    except csv.Error:
        return []


def _separator(lines: Sequence[str], dialect: Dialect, usual: str, said: DialectFields) -> str:
    """The one that gives every record the same number of cells, more than one; the usual one where several do."""
    possible = [mark for mark in _SEPARATORS if mark not in (dialect.quote, dialect.comment)]
    there = [mark for mark in possible if any(mark in line for line in lines)]
    regular = [mark for mark in there if _is_regular(_records(lines, replace(dialect, separator=mark)))]
    # `1,5;2,5`: read by commas it is regular too, but its cells would be `5;2`.
    for mark in regular[1:] if "," in regular and said.decimal != "." else ():
        records = _records(lines, replace(dialect, separator=mark))
        inner = [cell.strip() for record in records[1:] for cell in record if "," in cell]
        if inner and all(_COMMA_NUMBER.fullmatch(cell) or _POINT_GROUPS.fullmatch(cell) for cell in inner):
            return mark
    if usual in regular or not regular:
        spaced = replace(dialect, separator=" ")
        if not regular and _are_numbers(_records(lines, spaced)):
            return " "
        return usual
    return max(regular, key=lambda mark: len(_records(lines, replace(dialect, separator=mark))[0]))


def _is_regular(records: Sequence[Sequence[str]]) -> bool:
    widths = {len(record) - (len(record) > 1 and not record[-1].strip()) for record in records}
    return len(widths) == 1 and widths.pop() > 1


def _are_numbers(records: Sequence[Sequence[str]]) -> bool:
    """Whether these rows, the first perhaps being a header, hold a number in most of their cells."""
    cells = [cell for record in records[1:] for cell in record]
    return _is_regular(records) and bool(cells) and sum(map(_is_point_number, cells)) > len(cells) / 2


def _is_point_number(cell: str) -> bool:
    return cell.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _cells(lines: Sequence[str], dialect: Dialect, columns: Sequence[str]) -> list[str]:
    """The cells of the first rows, in these columns or in all; the first record may be a header."""
    header, *rows = _records(lines, dialect) or [[]]
    if not columns:
        return [cell.strip() for row in rows for cell in row]
    wanted = set(columns)
    chosen = [name.strip() in wanted for name in header]
    return [cell.strip() for row in rows for cell in compress(row, chosen)]


def _with_marks(dialect: Dialect, said: DialectFields, lines: Sequence[str], field: str, learned: Learned) -> Dialect:
    """The decimal mark, and the mark of thousands where a decimal comma leaves no other reading."""
    if said.decimal is not None and said.decimal == said.thousands:  # of a spec that was kept before this was checked
        what = f"is {said.thousands!r}, which is the decimal mark already"
        raise InvalidInput(Problem(f"{field}thousands", what, "submit it again with another, or ''"))
    if said.decimal is not None:
        return replace(dialect, decimal=said.decimal)
    if dialect.thousands == ".":
        return replace(dialect, decimal=",")
    # Quoted commas between commas: the column that holds them says what to do, if it is read as numbers.
    if dialect.thousands == "," or (dialect.separator == "," and any("," in line for line in lines)):
        return dialect
    cells = _cells(lines, dialect, learned.columns)
    commas = [cell for cell in cells if _COMMA_NUMBER.fullmatch(cell) or _POINT_GROUPS.fullmatch(cell)]
    points = [cell for cell in cells if _POINT_NUMBER.fullmatch(cell)]
    if not commas:
        return _as_learned(dialect, said, points, field, learned)
    grouped = any(map(_POINT_GROUPS.fullmatch, commas))
    clear = grouped or not all(map(_COMMA_GROUPS.fullmatch, commas))
    if points and not grouped:
        return dialect
    if not clear:
        what = f"'{commas[0]}' may be a number with a decimal comma, or thousands"
        raise InvalidInput(Problem(f"{field}decimal", what, f"set {field}decimal = ',' or {field}thousands = ','"))
    return replace(dialect, decimal=",", thousands="." if grouped and said.thousands is None else dialect.thousands)


def _as_learned(dialect: Dialect, said: DialectFields, points: Sequence[str], field: str, learned: Learned) -> Dialect:
    """Where no comma tells anything: as in the training's data, if that had decimal commas and no point says else."""
    if learned.decimal != "," or not all(map(_POINT_THOUSANDS.fullmatch, points)):
        return dialect
    if points and said.thousands is not None:
        return dialect
    if points:
        what = f"'{points[0]}' may be thousands, as the training's data had decimal commas, or have a decimal point"
        raise InvalidInput(Problem(f"{field}decimal", what, f"set {field}thousands = '.' or {field}decimal = '.'"))
    if dialect.separator == ",":  # of a single column
        return dialect
    return replace(dialect, decimal=",", thousands=learned.thousands if said.thousands is None else dialect.thousands)
