"""What the OpenAPI document says of routes whose answer, or body, is no JSON of ours: streams, files, health. Pure.

The page itself (`/`, its files, and how a browser gets in) is for people, and not in the document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TEXT, BYTES, STREAM, JSON = "text/plain", "application/octet-stream", "text/event-stream", "application/json"

LAST_EVENT = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}
LAST = {"name": "last", "in": "query", "schema": {"type": "string"}, "description": "where no header can be set"}

NO_TOKEN: dict[str, Any] = {"security": []}
GOES_ON: dict[str, Any] = {"parameters": [LAST_EVENT]}

# method, path, operation id, summary, status, what it answers, what else the document says
ROUTES: tuple[tuple[str, str, str, str, int, str, Mapping[str, Any]], ...] = (
    ("get", "/api/v1/openapi.json", "openapi", "This document.", 200, JSON, {}),
    (
        "get",
        "/api/v1/events",
        "events",
        "Everything that changes: job, removed, machine, reset.",
        200,
        STREAM,
        {"parameters": [LAST_EVENT, LAST]},
    ),
    ("get", "/api/v1/jobs/{id}/log/events", "jobs_log_events", "A job's log as it grows.", 200, STREAM, GOES_ON),
    ("get", "/api/v1/jobs/{id}/output", "jobs_output", "The answers of a prediction, as a file.", 200, BYTES, {}),
    (
        "put",
        "/api/v1/uploads/{upload}/{file}",
        "uploads_receive",
        "Send a file that was announced, by its ticket or the token.",
        201,
        JSON,
        {"requestBody": {"required": True, "content": {BYTES: {}}}},
    ),
    ("get", "/metrics", "metrics", "Figures for Prometheus.", 200, TEXT, {}),
    ("get", "/ping", "mlflow_ping", "Whether predictions are answered, as MLflow's server says it.", 200, TEXT, {}),
    ("get", "/health", "mlflow_health", "The same as /ping.", 200, TEXT, {}),
    ("get", "/v2/health/live", "v2_live", "Whether the service runs.", 200, JSON, NO_TOKEN),
    ("get", "/v2/health/ready", "v2_health_ready", "Whether jobs can be accepted; 503 if not.", 200, JSON, NO_TOKEN),
)


def paths(patterns: Mapping[str, str], problem: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The paths of the document. patterns: what may stand in a path, by its name.  problem: the schema of a refusal."""
    refused = {"description": "A problem.", "content": {"application/problem+json": {"schema": problem}}}
    found = {}
    for method, path, name, summary, status, media_type, more in ROUTES:
        words = [word(one, patterns[one]) for one in re.findall(r"{(\w+)}", path)]
        responses = {str(status): {"description": "Done.", "content": {media_type: {}}}, "default": refused}
        told = {"operationId": name, "summary": summary, "responses": responses, **more}
        found[path] = {method: {**told, "parameters": [*words, *more.get("parameters", ())]}}
    return found


def word(name: str, pattern: str) -> dict[str, Any]:
    """A word in a path, as a parameter."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{pattern}$"}}
