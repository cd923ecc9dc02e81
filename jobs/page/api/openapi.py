"""The interface as one OpenAPI 3.1 document, made from the table of operations and the records they read. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from singlepoint.jobs.page.service import Answer, Call, Service
from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.job import KINDS

from . import plain, predictions

SPEC = "spec"
"""A body that is a job's spec, of any kind."""


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked for. query: the record of its parameters.  body: of its body, or `SPEC`.

    body_needed: False where an empty body is as good.  The first line of what `run` says of itself is its summary.
    """

    method: str
    path: str
    run: Callable[[Service, Call], Answer]
    query: type[Part] | None = None
    body: type[Part] | str | None = None
    body_needed: bool = True
    status: int = 200

    @property
    def name(self) -> str:
        """What a generated client calls it: resource and verb."""
        resource = self.run.__module__.rpartition(".")[2]
        return "_".join([resource, self.run.__name__, *re.findall(r"{(version)}", self.path)])


PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "the words of the command line"},
        "hint": {"type": "string", "description": "what to do"},
        "exit_code": {"type": "integer", "description": "of the command, had it been one"},
        "request_id": {"type": "string", "description": "the service's log has it too"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message", "hint"],
                "properties": {name: {"type": "string"} for name in ("field", "message", "hint")},
            },
        },
    },
}

REF = "#/components/schemas/{model}"


def document(operations: Sequence[Operation], patterns: Mapping[str, str]) -> dict[str, Any]:
    """The OpenAPI document. patterns: what may stand in a path, by its name."""
    bodies = [one.body for one in operations if isinstance(one.body, type)]
    records: list[type[Part]] = [*(kind.spec for kind in KINDS.values()), *dict.fromkeys(bodies)]
    _, schemas = models_json_schema([(record, "validation") for record in records], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(f"/api/v1{one.path}", {})[one.method.lower()] = _operation(one, patterns)
    return {
        "openapi": "3.1.0",
        "info": {"title": "singlepoint", "version": "1", "description": "Jobs on one machine; see docs/http.md."},
        "paths": paths | plain.paths(patterns, {"$ref": REF.format(model="Problem")}) | predictions.paths(patterns),
        "components": {
            "schemas": {**schemas["$defs"], "Problem": PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(one: Operation, patterns: Mapping[str, str]) -> dict[str, Any]:
    words = (one.run.__doc__ or "").strip().splitlines()
    answer: dict[str, Any] = {
        "operationId": one.name,
        "summary": words[0],
        "parameters": [*_words(one, patterns), *_parameters(one), *_key(one)],
        "responses": {
            str(one.status): {
                "description": "Done.",
                "content": {"application/json": {"schema": {"type": "object", "required": ["schema"]}}},
            },
            "default": {
                "description": "A problem, in the words of the command line.",
                "content": {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}},
            },
        },
    }
    if one.body is not None:
        answer["requestBody"] = {
            "required": one.body_needed,
            "content": {"application/json": {"schema": _body(one.body)}},
        }
    return answer


def _words(one: Operation, patterns: Mapping[str, str]) -> list[dict[str, Any]]:
    return [plain.word(name, patterns[name]) for name in re.findall(r"{(\w+)}", one.path)]


def _parameters(one: Operation) -> list[dict[str, Any]]:
    if one.query is None:
        return []
    schema = TypeAdapter(one.query).json_schema(ref_template=REF)
    needed = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": _inlined(field, schema.get("$defs", {}))}
        for name, field in schema["properties"].items()
    ]


def _inlined(field: Any, known: Mapping[str, Any]) -> Any:
    """A parameter's schema with what it refers to written out; there it is never more than a list of words."""
    if isinstance(field, dict):
        if "$ref" in field:
            return known[field["$ref"].rpartition("/")[2]]
        return {name: _inlined(value, known) for name, value in field.items()}
    return [_inlined(value, known) for value in field] if isinstance(field, list) else field


def _key(one: Operation) -> list[dict[str, Any]]:
    if one.body != SPEC:
        return []
    return [{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 256}}]


def _body(body: type[Part] | str) -> dict[str, Any]:
    if isinstance(body, str):
        return {"oneOf": [{"$ref": REF.format(model=kind.spec.__name__)} for kind in KINDS.values()]}
    return {"$ref": REF.format(model=body.__name__)}
