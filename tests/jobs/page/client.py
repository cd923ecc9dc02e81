"""A client of a service under test, over real sockets, and what that service is told of scheduler and worker."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from singlepoint.jobs.client.entry import signed
from singlepoint.jobs.clock import now
from singlepoint.jobs.page.service import Service, Sources
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import Spec

TOKEN = "the-token-of-these-tests"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Speaks to a service as a program does, by Bearer, or as told."""

    port: int
    service: Service
    stop: Callable[[], None]
    headers: dict[str, str] = field(default_factory=lambda: {"authorization": f"Bearer {TOKEN}"})

    def __call__(
        self, method: str, path: str, document: Any = None, *, body: bytes | None = None, **headers: str | None
    ) -> Reply:
        content = json.dumps(document).encode() if document is not None else body
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                method, path, content, {name: value for name, value in sent.items() if value is not None}
            )
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def raw(self, text: bytes) -> bytes:
        """What comes back for bytes that no client library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(text)
            connection.settimeout(30)
            return connection.recv(65536)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cookie(self) -> str:
        """What a browser that was let in sends."""
        word = signed(TOKEN, "cookie", now() + 60)
        return f"singlepoint-{self.service.session.home.uuid[:8]}={word}"


def no_check(spec: Spec) -> Checked:
    """The worker's own checks have tests of their own."""
    return Checked(spec, ("data: as it stands",))


SOURCES = Sources(
    check=no_check,
    foresee=lambda _session, _spec, _at: None,
    explanation=lambda session, job_id: {"schema": 1, "id": job_id, "state": "pending", "reason": "because"},
    report=lambda session, job_id: {"schema": 1},
    models=lambda session: [],
    model=lambda place: {"path": place},
    checkpoints=lambda session, job_id, verify: [],
    doctor=lambda: [{"name": "python", "grade": "ok", "found": "3", "remedy": ""}],
)

Serve = Callable[..., Client]
"""Starts a service: settings, limits."""
