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
from singlepoint.worker.data.frames import named_columns
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
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not valid JSON") from None
    given = [form for form in FORMS if isinstance(document, dict) and form in document]
    if len(given) != 1 or set(document) - {*given, "params"}:
        raise Refused(400, f"the body must have exactly one of {', '.join(FORMS)}")
    return _inputs(FORMS[given[0]](document[given[0]], signature), signature)


Table = Mapping[str, Sequence[Any]] | Array


def _split(value: Any, signature: Signature) -> Table:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise Refused(400, "dataframe_split must have columns and data")
    columns = value.get("columns", list(signature.columns))
    if not isinstance(columns, list) or not all(
        isinstance(row, list) and len(row) == len(columns) for row in value["data"]
    ):
        raise Refused(400, "dataframe_split: every row of data must have as many cells as there are columns")
    return {str(name): [row[place] for row in value["data"]] for place, name in enumerate(columns)}


def _records(value: Any, signature: Signature) -> Table:
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        raise Refused(400, "dataframe_records must be a list of objects")
    return {name: [row.get(name) for row in value] for name in dict.fromkeys(name for row in value for name in row)}


def _instances(value: Any, signature: Signature) -> Table:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return _records(value, signature)
    return _rows(value)


def _columns(value: Any, signature: Signature) -> Table:
    if isinstance(value, dict):
        if not all(isinstance(column, list) for column in value.values()):
            raise Refused(400, "inputs: every column must be a list")
        return {str(name): column for name, column in value.items()}
    return _rows(value)


def _rows(value: Any) -> Array:
    try:
        rows = np.array(value, np.float64) if isinstance(value, list) else None
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
    cells = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    return {
        name: column if name in signature.categorical else [_number(c) for c in column]
        for name, column in cells.items()
    }


def _number(cell: str) -> float | str:
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError:
        return cell


def _inputs(table: Table, signature: Signature) -> Mapping[str, Array]:
    """As the model takes them: by column, or all as one array."""
    if not isinstance(table, Mapping):
        if signature.is_whole:
            return {WHOLE: table}
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
