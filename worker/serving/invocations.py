"""MLflow's scoring interface: exactly one of four forms of a table in JSON, or CSV; predictions back. Pure."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from singlepoint.jobs.errors import InvalidInput
from singlepoint.worker.data.formats.cells import ColumnParser
from singlepoint.worker.data.frames import named_columns
from singlepoint.worker.data.preprocessing.numbers import numbers
from singlepoint.worker.models.predictor import Scores
from singlepoint.worker.nn.arrays import Array

from .signature import WHOLE, Refused, Signature

JSON, CSV = "application/json", "text/csv"


def parse(body: bytes, media_type: str, signature: Signature) -> Mapping[str, Array]:
    """The inputs, by name. Raises Refused; 415 for another media type."""
    if media_type == CSV:
        return _inputs(_of_csv(body, signature), signature)
    if media_type != JSON:
        raise Refused(415, "the media type must be application/json or text/csv")
    try:
        document = json.loads(body)
        if body.count(b":") > _names(document):  # some are in text, or a name was there twice
            json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not valid JSON") from None
    given = [form for form in FORMS if isinstance(document, dict) and form in document]
    if len(given) != 1 or set(document) - {*given, "params"}:
        raise Refused(400, f"the body must have exactly one of {', '.join(FORMS)}")
    return _inputs(FORMS[given[0]](document[given[0]], signature), signature)


Table = Mapping[str, Sequence[Any]] | Array


def _names(value: Any) -> int:
    """How many names the objects have, as far as forms go."""
    if isinstance(value, dict):
        return len(value) + sum(map(_names, value.values()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sum(len(row) for row in value if isinstance(row, dict))
    return 0


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refused(400, "a name occurs twice in one object")
    return found


def _by_name(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Columns of rows that all have as many cells as there are names."""
    if len(set(names)) < len(names):
        raise Refused(400, "two columns have the same name")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _split(value: Any, signature: Signature) -> Table:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise Refused(400, "dataframe_split must have columns and data")
    columns = value.get("columns", list(signature.columns))
    if not isinstance(columns, list) or not all(
        isinstance(row, list) and len(row) == len(columns) for row in value["data"]
    ):
        raise Refused(400, "dataframe_split: every row of data must have as many cells as there are columns")
    return _by_name(list(map(str, columns)), value["data"])


def _records(value: Any, signature: Signature) -> Table:
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        raise Refused(400, "dataframe_records must be a list of objects")
    return {name: [row.get(name) for row in value] for name in dict.fromkeys(name for row in value for name in row)}


def _instances(value: Any, signature: Signature) -> Table:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return _records(value, signature)
    return _rows(value, signature)


def _columns(value: Any, signature: Signature) -> Table:
    if isinstance(value, dict):
        if not all(isinstance(column, list) for column in value.values()):
            raise Refused(400, "inputs: every column must be a list")
        return {str(name): column for name, column in value.items()}
    return _rows(value, signature)


def _rows(value: Any, signature: Signature) -> Array:
    """Floats, or objects where a category may be a truth value or a whole number that a float is not."""
    try:
        rows = np.array(value) if isinstance(value, list) else None
        if rows is not None and rows.dtype.kind not in "biuf":
            plain = rows.dtype == object and not any(isinstance(one, str) for one in rows.flat)
            rows = rows.astype(np.float64) if plain else None
        if rows is not None:
            rows = np.array(value, object) if signature.categorical else rows.astype(np.float64, copy=False)
    except (ValueError, TypeError, OverflowError):
        rows = None
    if rows is None or rows.ndim < 2:
        raise Refused(400, "the rows must be lists of numbers, all of one length")
    return rows


FORMS: Mapping[str, Callable[[Any, Signature], Table]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _columns,
}


def _of_csv(body: bytes, signature: Signature) -> Table:
    try:
        header, *rows = csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True)
    except (ValueError, csv.Error):
        raise Refused(400, "the body is no CSV with a header") from None
    if any(len(row) != len(header) for row in rows):
        raise Refused(400, "every row must have as many cells as the header")
    cells = _by_name(header, rows)
    return {
        name: cells[name] if name in signature.categorical else _numbers(cells[name], name, signature)
        for name in signature.columns
        if name in cells
    }


def _numbers(cells: Sequence[str], name: str, signature: Signature) -> list[float | str]:
    """The numbers in a column of text, as in a file, and as text what is none; an empty cell is JSON's null."""
    found: list[float | str] = []
    try:
        found += numbers([cell if cell.strip() else "nan" for cell in cells]).tolist()
        return found
    except ValueError:
        parser = ColumnParser(name, signature.missing)
    for cell in cells:
        number = parser.number(cell) if cell.strip() else math.nan
        found.append(cell if number is None else number)
    return found


def _inputs(table: Table, signature: Signature) -> Mapping[str, Array]:
    """As the model takes them: by column, or all as one array."""
    if not isinstance(table, Mapping):
        if signature.is_whole:
            return {WHOLE: table}
        if signature.columns and table.shape[1] > len(signature.columns):
            raise Refused(422, f"the rows must have {len(signature.columns)} values")
        table = {name: table[:, place].tolist() for place, name in enumerate(signature.columns[: table.shape[1]])}
    if not signature.columns:
        raise Refused(422, "this model takes arrays: send them as instances or inputs")
    if missing := [name for name in signature.columns if name not in table]:
        raise Refused(422, f"the column '{missing[0]}' is missing")
    try:
        named = named_columns(
            {name: table[name] for name in signature.columns}, categorical=tuple(signature.categorical)
        )
    except InvalidInput as error:
        raise Refused(422, error.without_data) from None
    if not signature.is_whole:
        return named
    if text := [name for name, column in named.items() if column.dtype == object]:
        raise Refused(422, f"the column '{text[0]}' holds text where numbers are needed")
    return {WHOLE: np.stack([column.astype(np.float64) for column in named.values()], axis=1)}


def answer(scores: Scores) -> bytes:
    """Labels, or values; several values a row as lists."""
    if scores.labels is not None:
        predictions: list[Any] = list(scores.labels)
    else:
        assert scores.values is not None
        predictions = scores.values[:, 0].tolist() if scores.values.shape[1] == 1 else scores.values.tolist()
    return json.dumps({"predictions": predictions}, separators=(",", ":")).encode()
