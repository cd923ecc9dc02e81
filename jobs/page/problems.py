"""Every error as a problem document (RFC 9457), with the words, hints and exit code of the command line. Pure.

What is told is what the command would print, less the paths of the home; of a defect, nothing but the request's id.
"""

from __future__ import annotations

from typing import Any

from singlepoint.jobs import errors

from .security import Refusal

MEDIA_TYPE = "application/problem+json"

STATUS: tuple[tuple[type[errors.SinglepointError], int, str], ...] = (
    (errors.UsageError, 400, "Called wrongly"),
    (errors.InvalidInput, 422, "Invalid"),
    (errors.NotFound, 404, "Not found"),
    (errors.BrokerAway, 503, "Redis is away"),
    (errors.StorageFull, 507, "No space left"),
    (errors.HistoryBusy, 503, "Busy"),
    (errors.NotNow, 409, "Not now"),
    (errors.NotPermitted, 403, "Not permitted"),
    (errors.SinglepointError, 409, "Failed"),
)
"""The first that an error is one of."""

RETRY_AFTER_S = {503: 1}


class Refused(errors.SinglepointError):
    """The request is turned away before anything is asked of the home."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail, hint=refusal.hint or None)
        self.refusal = refusal


def status_of(error: errors.SinglepointError) -> tuple[int, str]:
    """The status of an error, and its title."""
    if isinstance(error, Refused):
        return error.refusal.status, error.refusal.title
    return next((status, title) for kind, status, title in STATUS if isinstance(error, kind))


def document(error: errors.SinglepointError, home: str, request_id: str) -> dict[str, Any]:
    """The document of an error. home: the directory whose name is nobody's business."""
    status, title = status_of(error)
    answer: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": _without(home, error.message),
        "request_id": request_id,
    }
    if error.hint:
        answer["hint"] = _without(home, error.hint)
    if not isinstance(error, Refused):
        answer["exit_code"] = error.exit_code
    if isinstance(error, errors.InvalidInput):
        answer["problems"] = [
            {"field": one.field, "message": _without(home, one.message), "hint": _without(home, one.hint)}
            for one in error.problems
        ]
    return answer


def defect(request_id: str) -> dict[str, Any]:
    """What is told of an error that nobody reckoned with: the log of the service has the rest under this id."""
    return {
        "type": "about:blank",
        "title": "A defect of singlepoint",
        "status": 500,
        "detail": "it is none of yours; the service's log tells more",
        "request_id": request_id,
    }


def _without(home: str, text: str) -> str:
    return text.replace(home, "HOME") if home else text
