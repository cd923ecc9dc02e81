"""What the OpenAPI document says of predictions: the Open Inference Protocol under /v2, and MLflow's requests. Pure.

Both are others' protocols, so their shapes are written here and not made from records of ours; the binary extension has
no schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .plain import word

Schema = Mapping[str, Any]

NAMES = (
    "BOOL",
    "BYTES",
    "FP16",
    "FP32",
    "FP64",
    *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
)


def _object(required: tuple[str, ...] = (), /, **properties: Schema) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


TEXT: Schema = {"type": "string"}
SHAPE = _list({"type": "integer", "minimum": 0}, minItems=1, maxItems=8)
PARAMETERS: Schema = {"type": "object", "description": "plain values; `timeout` (µs) ends the wait"}
TENSOR = _object(
    ("name", "shape", "datatype", "data"),
    name=TEXT,
    shape=SHAPE,
    datatype={"enum": list(NAMES)},
    parameters=PARAMETERS,
    data={"type": "array", "description": "row after row, nested or not"},
)
WANTED = _object(("name",), name=TEXT, parameters=PARAMETERS)
INFER = _object(
    ("inputs",),
    id={"type": "string", "maxLength": 256},
    parameters=PARAMETERS,
    inputs=_list(TENSOR, minItems=1),
    outputs=_list(WANTED),
)
ANSWER = _object(
    ("model_name", "model_version", "outputs"), model_name=TEXT, model_version=TEXT, id=TEXT, outputs=_list(TENSOR)
)
METADATA = _object(
    ("name", "versions", "platform", "inputs", "outputs"),
    name=TEXT,
    versions=_list(TEXT),
    platform=TEXT,
    inputs=_list({"type": "object"}),
    outputs=_list({"type": "object"}),
)
READY = _object(("name", "ready"), name=TEXT, ready={"type": "boolean"})
ROWS = _list({}, description="rows of numbers, or objects by column")
SPLIT = _object(("data",), columns=_list(TEXT), index=_list({}), data=_list(_list({})))
FORMS: Mapping[str, Schema] = {
    "dataframe_split": SPLIT,
    "dataframe_records": _list({"type": "object"}),
    "instances": ROWS,
    "inputs": {"description": "rows, or columns by name"},
}
INVOCATION: Schema = {
    "oneOf": [_object((name,), **{name: form}, params={"type": "object"}) for name, form in FORMS.items()]
}

PROTOCOL_ERROR = _object(("error",), error=TEXT)
MLFLOW_ERROR = _object(error_code=TEXT, message=TEXT)


def _operation(name: str, summary: str, answer: Schema, error: Schema, body: Schema | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": answer}}},
            "default": {
                "description": "What is wrong, as clients of the protocol read it; of the service's own, a problem.",
                "content": {kind: {"schema": error} for kind in ("application/json", "application/problem+json")},
            },
        },
    }
    if body is not None:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return told


def paths(patterns: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The paths of the document. patterns: what may stand in a path, by its name."""
    found: dict[str, dict[str, Any]] = {
        "/v2": {"get": _operation("v2_server", "What answers.", {"type": "object"}, PROTOCOL_ERROR)},
        "/v2/repository/index": {
            "post": _operation(
                "v2_index",
                "The models, and which are in memory.",
                _list({"type": "object"}),
                PROTOCOL_ERROR,
                _object(ready={"type": "boolean"}),
            )
        },
        "/invocations": {
            "post": _operation(
                "mlflow_invocations",
                "Predict by the one model there is, as MLflow's server does.",
                _object(("predictions",), predictions=_list({})),
                MLFLOW_ERROR,
                INVOCATION,
            )
        },
    }
    for where, suffix, known in (("", "", ["name"]), ("/versions/{version}", "_version", ["name", "version"])):
        model, words = f"/v2/models/{{name}}{where}", [word(one, patterns[one]) for one in known]
        for path, method, told in (
            (model, "get", _operation(f"v2_metadata{suffix}", "What goes in and comes out.", METADATA, PROTOCOL_ERROR)),
            (f"{model}/ready", "get", _operation(f"v2_ready{suffix}", "Whether it answers.", READY, PROTOCOL_ERROR)),
            (f"{model}/infer", "post", _operation(f"v2_infer{suffix}", "Predict.", ANSWER, PROTOCOL_ERROR, INFER)),
        ):
            found[path] = {method: told | {"parameters": words}}
    return found
