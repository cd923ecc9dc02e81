"""A singlepoint on another machine, spoken to through the interface that its `page` serves.

What it refuses is raised as the error that the command there would have ended with, so a script sees the same exit
code, words and hint wherever the machine is. Files that a spec names are uploaded, and the spec says where they are.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from singlepoint.jobs import errors
from singlepoint.jobs.errors import BrokerAway, NotPermitted, Problem, UsageError
from singlepoint.jobs.spec.job import RunSpec, Spec, anchored, outputs
from singlepoint.jobs.store.home import Home, default_path

from .entry import service_token
from .listing import SORTS, Selection, Wanted
from .query import Row
from .session import Settings

TIMEOUT_S = 60.0
API = "/api/v1"
PAGE = 1000
"""Jobs that are asked for at once."""

RAISED: Mapping[int, type[errors.SinglepointError]] = {
    errors.EXIT_USAGE: errors.UsageError,
    errors.EXIT_NOT_FOUND: errors.NotFound,
    errors.EXIT_BROKER_AWAY: errors.BrokerAway,
    errors.EXIT_NOT_NOW: errors.NotNow,
    errors.EXIT_NOT_PERMITTED: errors.NotPermitted,
}
"""What an exit code of a problem document stands for; 65 carries its problems."""


class Server:
    """The service at an address. Raises BrokerAway when it does not answer."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise UsageError(f"--server {url}: is no address", hint="write it like http://lab.example:8080")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._secure = parts.scheme == "https"
        self._place = parts.netloc
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def get(self, path: str) -> dict[str, Any]:
        return self.ask("GET", path)

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> dict[str, Any]:
        """What it answers; raises what it refuses."""
        body = None if document is None else json.dumps(document).encode()
        with closing(self._connection()) as connection:
            return self._answered(connection, method, path, body, {"Content-Type": "application/json", **headers})

    def submit(self, spec: Spec, *, dry_run: bool = False) -> dict[str, Any]:
        """Hand in a job. Its files go up first; should the connection break, the same job is asked for again."""
        document = self._with_files_there(spec)
        if dry_run:
            return self.ask("POST", f"{API}/jobs?dry_run=true", document)
        key = uuid.uuid4().hex
        try:
            return self.ask("POST", f"{API}/jobs", document, **{"Idempotency-Key": key})
        except BrokerAway:
            return self.ask("POST", f"{API}/jobs", document, **{"Idempotency-Key": key})

    def job(self, word: str) -> dict[str, Any]:
        return self.get(f"{API}/jobs/{quote(word, safe='~')}")

    def follow(self, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """A job's log as it grows: `log` with its text, then `end` with its row. A stream that broke is taken up."""
        seen = ""
        while True:
            for event_id, kind, document in self._events(f"{API}/jobs/{job_id}/log/events", seen):
                seen = event_id
                yield kind, document
                if kind == "end":
                    return

    def _events(self, path: str, last: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Server-sent events until the stream ends: id, kind, document."""
        with closing(self._connection()) as connection:
            answer = self._sent(connection, "GET", path, None, {"Last-Event-ID": last})
            facts: dict[str, str] = {}
            for raw in _until_it_breaks(answer):
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name:
                    facts[name] = value
                elif "data" in facts:
                    yield facts.get("id", ""), facts.get("event", ""), json.loads(facts["data"])
                    facts = {}

    def _with_files_there(self, spec: Spec) -> dict[str, Any]:
        """The spec as a document in which every file of this machine is one that was uploaded."""
        document = spec.model_dump(mode="json", exclude_unset=True)
        if isinstance(spec, RunSpec):  # masked in any document; there they are needed
            document["env"] = {name: value.get_secret_value() for name, value in spec.env.items()}
        written = outputs(spec)
        upload = cache(self.upload)  # a file that several fields name goes up once

        def there(path: str) -> str:
            if path in written:
                return os.path.basename(path)
            archive, inside, array = path.partition(".npz[")
            file = f"{archive}.npz" if inside else path
            return upload(Path(file)) + (f"[{array}" if inside else "") if os.path.isfile(file) else path

        document = {**anchored(document, spec.kind, there), "kind": spec.kind}
        if document.get("cwd") == os.getcwd():  # means "here", which is nowhere there; any other is one of theirs
            del document["cwd"]
        return document

    def upload(self, path: Path) -> str:
        """Send a file; answers its path in a spec."""
        there = self.ask("POST", f"{API}/uploads", {"name": path.name})
        with closing(self._connection()) as connection, open(path, "rb") as file:
            headers = {"Content-Length": str(os.fstat(file.fileno()).st_size)}
            return str(self._answered(connection, "PUT", there["url"], file, headers)["path"])

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._place, timeout=TIMEOUT_S, context=ssl.create_default_context())
        return http.client.HTTPConnection(self._place, timeout=TIMEOUT_S)

    def _answered(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        return dict(json.loads(self._sent(connection, method, path, body, headers).read()))

    def _sent(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        try:
            connection.request(method, path, body, {**self._headers, **headers})
            return _raised(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            what = f"{self.url} does not answer: {error}"
            raise BrokerAway(what, hint="is `singlepoint page` running there?") from None


def open_server(settings: Settings) -> Server:
    """The server of `--server`. Raises NotPermitted when there is no token for it."""
    assert settings.server is not None
    if "SINGLEPOINT_TOKEN" not in os.environ and "SINGLEPOINT_TOKEN_FILE" not in os.environ:
        hint = "set $SINGLEPOINT_TOKEN, or $SINGLEPOINT_TOKEN_FILE, to what http.token in the home there holds"
        raise NotPermitted("there is no token for the server", hint=hint)
    return Server(settings.server, service_token(Home(default_path())))


def _raised(answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
    """The answer itself, or the error that it tells of."""
    if answer.status < 400:
        return answer
    try:
        told = dict(json.loads(answer.read()))
    except ValueError:
        told = {}
    message, hint = str(told.get("detail", f"status {answer.status}")), told.get("hint")
    if told.get("exit_code") == errors.EXIT_INVALID:
        problems = [Problem(one["field"], one["message"], one["hint"]) for one in told.get("problems", ())]
        raise errors.InvalidInput(problems or Problem("spec", message), hint=hint)
    known = RAISED.get(told.get("exit_code", 0)) or (NotPermitted if answer.status in (401, 403) else UsageError)
    raise known(message, hint=hint)


def _until_it_breaks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of a stream; one that breaks has ended."""
    with suppress(OSError, http.client.HTTPException):
        yield from iter(answer.readline, b"")


def listed(server: Server, wanted: Wanted) -> Selection:
    """The jobs there that are wanted, by as many pages as that takes; sorted here, so that all are looked at."""
    most = wanted.limit if wanted.sort is None else None
    query: dict[str, Any] = {"name": wanted.name, "project": wanted.project}
    query |= {"status": ",".join(sorted(wanted.statuses)) or None, "ended": None if wanted.takes_ended else "false"}
    rows: list[Row] = []
    while True:
        query["limit"] = PAGE if most is None else min(PAGE, most - len(rows))
        given = urlencode({name: value for name, value in query.items() if value is not None})
        found = server.get(f"{API}/jobs?{given}")
        rows += found["jobs"]
        query["cursor"] = found["next"]
        if found["next"] is None or len(rows) == most:
            break
    if wanted.sort is not None:
        rows.sort(key=SORTS[wanted.sort.removeprefix("-")], reverse=wanted.sort.startswith("-"))
    counts = {state: count for state, count in found["counts"].items() if count}
    return Selection(rows[: wanted.limit], found["total"], counts=counts)
