"""What every route works with: the home's session, what scheduler and worker answer, and how a call looks.

An operation of the interface is a function from a `Call` to an `Answer`: it knows no HTTP beyond status and headers,
and runs in a thread, so it may read files and wait for Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from singlepoint.jobs.client.session import Session
from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.lifecycle.outlook import Outlook
from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import Spec
from singlepoint.jobs.spec.problems import explain
from singlepoint.jobs.store.settings import Http

from .security import Limits

Document = dict[str, Any]


@dataclass(frozen=True)
class Sources:
    """What the front door hands in of packages that may not be imported here.

    check: what the worker says of a spec's data and shapes; raises InvalidInput.  foresee: when one that is
    about to be handed in should start and end.  explanation: why a job waits.
    report: what crashes cost, of one job or of all.  models: every model of the home; model: the one in a directory.
    checkpoints: of a job, read whole when told to.  doctor: what is there, what is missing.
    """

    check: Callable[[Spec], Checked | None]
    foresee: Callable[[Session, Checked, float], Outlook | None]
    explanation: Callable[[Session, str], Document]
    report: Callable[[Session, str | None], Document]
    models: Callable[[Session], list[Document]]
    model: Callable[[str], Document]
    checkpoints: Callable[[Session, str, bool], list[Document]]
    doctor: Callable[[], list[Document]]


@dataclass(frozen=True)
class Service:
    """One running service. token: its secret.  instance: a word for this start of it."""

    session: Session
    sources: Sources
    settings: Http
    token: str
    instance: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Call:
    """A request as an operation sees it.

    words: what stood in the path.  query: the parameters, read by the operation's own record.  document: the body's.
    key: the Idempotency-Key, or "".
    """

    words: Mapping[str, str] = field(default_factory=dict)
    query: Any = None
    document: Any = None
    key: str = ""


@dataclass(frozen=True)
class Answer:
    """What is sent back: JSON, its status, and headers besides the usual."""

    document: Document
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def read(record: type[Part], document: Mapping[str, Any]) -> Any:
    """A record from what was sent; raises InvalidInput with every problem."""
    try:
        return record.model_validate(dict(document))
    except ValidationError as error:
        raise InvalidInput(explain(record, dict(document), error.errors())) from None
