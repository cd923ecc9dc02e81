"""Every route of the service but those of `predictions`, in two tables: the operations of the interface, and what is no
JSON.

The document at /api/v1/openapi.json is made from the first table, so it cannot lag behind. A word in a path is matched
by a pattern and never joined to a path of the disk by a route.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, Router

from singlepoint.jobs.client.entry import is_signed, same, signed
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.follow import log_path
from singlepoint.jobs.clock import now
from singlepoint.jobs.errors import InvalidInput, NotFound, NotNow, Problem
from singlepoint.jobs.host.frames import head_bytes
from singlepoint.jobs.host.service_log import Often
from singlepoint.jobs.lifecycle.summary import summary
from singlepoint.jobs.spec.base import Part

from . import predictions
from .api import jobs, machine, uploads
from .api.openapi import Operation, document
from .api.places import is_below
from .events import Feed, either, message
from .guard import BODY_BYTES, COOKIE_S, ROUTE, Guard, cookie_name
from .metrics import MEDIA_TYPE, Metrics
from .predictions import Predictions
from .problems import Refused
from .security import Refusal, nesting
from .service import Answer, Call, Service, read

# ---- the interface ----------------------------------------------------------------------------------------

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/jobs", jobs.list_jobs, query=jobs.Filter),
    Operation("POST", "/jobs", jobs.submit, query=jobs.Submission, body="spec", status=201),
    Operation("POST", "/jobs/prune", jobs.prune, body=jobs.Prune),
    Operation("GET", "/jobs/{id}", jobs.show),
    Operation("DELETE", "/jobs/{id}", jobs.remove, query=jobs.Removal),
    Operation("POST", "/jobs/{id}/cancel", jobs.cancel),
    Operation("POST", "/jobs/{id}/pause", jobs.pause),
    Operation("POST", "/jobs/{id}/resume", jobs.resume),
    Operation("POST", "/jobs/{id}/retry", jobs.retry, body=jobs.Retry, body_needed=False),
    Operation("PUT", "/jobs/{id}/priority", jobs.prioritise, body=jobs.Priority),
    Operation("GET", "/jobs/{id}/log", jobs.log, query=jobs.Piece),
    Operation("GET", "/jobs/{id}/metrics", jobs.metrics, query=jobs.Curve),
    Operation("GET", "/jobs/{id}/utilisation", machine.utilisation_of_job, query=machine.Span),
    Operation("GET", "/jobs/{id}/checkpoints", jobs.checkpoints, query=jobs.Verification),
    Operation("GET", "/jobs/{id}/explain", jobs.explain),
    Operation("GET", "/jobs/{id}/report", jobs.report),
    Operation("GET", "/models", machine.models),
    Operation("GET", "/models/{name}", machine.model),
    Operation("GET", "/models/{name}/{version}", machine.model),
    Operation("GET", "/machine", machine.machine),
    Operation("GET", "/utilisation", machine.utilisation, query=machine.Span),
    Operation("PUT", "/machine/draining", machine.set_draining, body=machine.Draining),
    Operation("GET", "/report", machine.report),
    Operation("GET", "/doctor", machine.doctor),
    Operation("POST", "/uploads", uploads.announce, body=uploads.Announcement, status=201),
    Operation("DELETE", "/uploads/{upload}", uploads.remove),
)

API = "/api/v1"

PATTERNS = {
    "id": r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?:~[0-9]{1,4})?",
    "name": r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    "version": r"[0-9]{1,9}",
    "upload": r"[a-z0-9]{8}",
    "file": r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
}
"""What may stand in a path, by its name there."""

for _word, _regex in PATTERNS.items():
    register_url_convertor(_word, type(f"Word_{_word}", (StringConvertor,), {"regex": _regex})())


@dataclass(frozen=True)
class Parts:
    """What the routes share besides the service."""

    service: Service
    feed: Feed
    metrics: Metrics
    predictions: Predictions
    answered: Often


def make_app(parts: Parts, hosts: frozenset[str] = frozenset()) -> Guard:
    """The whole application. hosts: names of the address it is bound to."""
    routes = [*(_plain(parts, *row) for row in PLAIN), *(_operation(parts.service, one) for one in OPERATIONS)]
    parts.predictions.others = Router(routes, redirect_slashes=False)
    return Guard(parts.predictions, parts.service, hosts, parts.metrics.observe, parts.answered)


def _pattern(path: str) -> str:
    """`/jobs/{id}` with each word bound to its pattern."""
    for name in PATTERNS:
        path = path.replace(f"{{{name}}}", f"{{{name}:{name}}}")
    return path


def _operation(service: Service, one: Operation) -> BaseRoute:
    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = f"{API}{one.path}"
        call = await _call(service, one, request)
        answer = await run_in_threadpool(one.run, service, call)
        return _json(answer)

    return Route(_pattern(f"{API}{one.path}"), endpoint, methods=[one.method])


async def _call(service: Service, one: Operation, request: Request) -> Call:
    query = read(one.query or Part, _parameters(request))
    document = await _body(service, one, request) if one.body else None
    return Call(request.path_params, query, document, request.headers.get("idempotency-key", "")[:256])


def _parameters(request: Request) -> dict[str, Any]:
    """The query, each name once. A flag may stand without a value."""
    found = dict(request.query_params)
    if len(found) != len(request.query_params.multi_items()):
        raise InvalidInput(Problem("query", "names a parameter twice"))
    return found


async def _body(service: Service, one: Operation, request: Request) -> Any:
    content = await request.body()
    if not content and not one.body_needed:
        return None
    if not nesting(content, service.limits.nesting):
        raise Refused(Refusal(400, "Nested too deeply", f"at most {service.limits.nesting} brackets within brackets"))
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        raise Refused(Refusal(400, "Not JSON", "the body is not valid JSON")) from None
    if not isinstance(parsed, dict):
        raise Refused(Refusal(422, "Invalid", "the body must be a table"))
    if isinstance(one.body, type) and issubclass(one.body, Part):
        return read(one.body, parsed)
    return parsed


def _json(answer: Answer) -> Response:
    body = to_json(answer.document, inf_nan_mode="null")
    return Response(body, answer.status, dict(answer.headers), media_type="application/json")


# ---- what is no JSON --------------------------------------------------------------------------------------


async def page(_parts: Parts, _request: Request) -> Response:
    """The page itself: which view it shows is written behind the # of the address."""
    return _static("index.html")


async def static(_parts: Parts, request: Request) -> Response:
    return _static(request.path_params["file"])


MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def _static(name: str) -> Response:
    media_type = MEDIA_TYPES.get(name[name.rfind(".") :])
    if media_type is None or name not in STATIC:
        raise NotFound("there is no such file")
    return Response(STATIC[name].read_bytes(), media_type=media_type, headers={"cache-control": "no-cache"})


STATIC = {entry.name: entry for entry in resources.files(__package__).joinpath("static").iterdir()}
"""What may be asked for, by name: nothing that a request says is joined to a path."""


async def openapi(_parts: Parts, _request: Request) -> Response:
    return _json(Answer(document(OPERATIONS, PATTERNS)))


async def live(_parts: Parts, _request: Request) -> Response:
    return _json(Answer({"live": True}))


async def ready(parts: Parts, _request: Request) -> Response:
    """Whether jobs can be accepted: Redis answers, and the service is not about to end."""
    redis = await run_in_threadpool(_redis_answers, parts.service)
    fine = redis and not parts.feed.stopping.is_set()
    return _json(Answer({"ready": fine}, 200 if fine else 503))


def _redis_answers(service: Service) -> bool:
    try:
        return bool(service.session.connection.ping())
    except Exception:  # noqa: BLE001 - whatever it is, it is not ready
        return False


async def metrics(parts: Parts, _request: Request) -> Response:
    return Response(await run_in_threadpool(parts.metrics.text), headers={"content-type": MEDIA_TYPE})


async def enter(parts: Parts, request: Request) -> Response:
    """Let a browser in by a word that opens once; `singlepoint open` makes one."""
    service, word = parts.service, request.query_params.get("once", "")
    if not is_signed(service.token, f"once:{service.instance}", word, now()) or word in _USED:
        raise Refused(Refusal(401, "No token", "this address opens once, for a few minutes", "`singlepoint open`"))
    _USED.add(word)
    return _let_in(service, request)


_USED: set[str] = set()
"""Words that have opened; those of an earlier start of the service open nothing any more."""


async def login(parts: Parts, request: Request) -> Response:
    """Let a browser in by the token, typed into the form of the login page."""
    fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=4)
    if not same(fields.get("token", [""])[0], parts.service.token):
        raise Refused(Refusal(401, "No token", "the token is wrong"))
    return _let_in(parts.service, request)


def _let_in(service: Service, request: Request) -> Response:
    response = RedirectResponse("/", 303)
    response.set_cookie(
        cookie_name(service),
        signed(service.token, "cookie", now() + COOKIE_S),
        max_age=int(COOKIE_S),
        httponly=True,
        samesite="strict",
        secure=request.scope["scheme"] == "https",
    )
    return response


async def upload(parts: Parts, request: Request) -> Response:
    request.scope[BODY_BYTES] = math.inf  # counted as it is written
    words = request.path_params
    stored = await uploads.receive(parts.service, words["upload"], words["file"], request.stream())
    return _json(Answer(stored, 201))


async def output(parts: Parts, request: Request) -> Response:
    """The answers of a prediction, as a file: only what lies where a job that came by HTTP may write."""
    service = parts.service
    store = service.session.store
    job = await run_in_threadpool(lambda: store.load(find_job(store, request.path_params["id"])))
    path = str((job.result or {}).get("path", ""))
    if job.kind != "predict" or not path:
        raise NotNow(f"job {job.id} has no answers to send")
    if not is_below(path, [service.session.home.outputs, *map(Path, service.settings.roots)]):
        raise NotFound("its answers lie where nobody may read by HTTP")
    return FileResponse(path, media_type="application/octet-stream", filename=path.rpartition("/")[2])


def _streamed(parts: Parts, stream: AsyncIterator[bytes]) -> Response:
    if parts.feed.readers >= parts.service.limits.streams:
        raise Refused(Refusal(503, "Too many readers", f"at most {parts.service.limits.streams} streams at once"))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def events(parts: Parts, request: Request) -> Response:
    """Everything that changes, as server-sent events; a Last-Event-ID goes on where that one was.

    A page that was hidden opens a new stream, and no browser lets it set a header there: it says `?last=`.
    """
    last = request.headers.get("last-event-id") or request.query_params.get("last", "")
    return _streamed(parts, parts.feed.stream(last))


async def follow(parts: Parts, request: Request) -> Response:
    """A job's log as it grows, then `end` with the job's row. An event's id is the offset to go on from."""
    store = parts.service.session.store
    job_id = await run_in_threadpool(find_job, store, request.path_params["id"])
    last = request.headers.get("last-event-id", "")
    return _streamed(parts, _log_events(parts, job_id, int(last) if last.isdecimal() and len(last) < 16 else 0))


LOOK_S = 0.2


async def _log_events(parts: Parts, job_id: str, offset: int) -> AsyncIterator[bytes]:
    store, stopping = parts.service.session.store, parts.feed.stopping
    path, never, quiet_s = log_path(store, job_id), asyncio.Event(), 0.0
    yield b"retry: 1000\n\n"
    while not stopping.is_set():
        job = await run_in_threadpool(store.load, job_id)
        text, _, end, size = await run_in_threadpool(jobs.log_piece, path, offset, jobs.LOG_BYTES)
        if size < offset:  # it was cut
            offset = 0
            continue
        if text:
            offset, quiet_s = end, 0.0
            yield message(str(offset), "log", {"text": text})
        elif job.is_final:
            yield message(str(offset), "end", summary(job))
            return
        else:
            await either(never, stopping, LOOK_S)
            quiet_s += LOOK_S
            if quiet_s >= 15:
                quiet_s = 0.0
                yield b": ping\n\n"


# ---- predictions at once: what is asked now and then ---------------------------------------------------------


def _predicting(what: str) -> Endpoint:
    """An endpoint that hands a question of the Open Inference Protocol on."""

    async def endpoint(parts: Parts, request: Request) -> Response:
        words = request.path_params
        head = {"what": what, "model": words.get("name"), "version": words.get("version")}
        body = await request.body() if request.method == "POST" else b""
        answer = await parts.predictions.asked(head_bytes(head), body)
        if answer.head["status"] != 200:
            return Response(predictions.error(answer), answer.head["status"], media_type="application/json")
        return Response(answer.body, media_type="application/json")

    return endpoint


async def ping(parts: Parts, _request: Request) -> Response:
    await parts.predictions.asked(head_bytes({"what": "server"}))
    return Response("\n", media_type="text/plain")


Endpoint = Callable[[Parts, Request], Awaitable[Response]]

PLAIN: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/", page),
    ("GET", "/static/{file}", static),
    ("GET", "/open", enter),
    ("POST", "/login", login),
    ("GET", "/metrics", metrics),
    ("GET", "/v2/health/live", live),
    ("GET", "/v2/health/ready", ready),
    ("GET", "/v2", _predicting("server")),
    ("GET", "/v2/models/{name}", _predicting("metadata")),
    ("GET", "/v2/models/{name}/versions/{version}", _predicting("metadata")),
    ("GET", "/v2/models/{name}/ready", _predicting("ready")),
    ("GET", "/v2/models/{name}/versions/{version}/ready", _predicting("ready")),
    ("POST", "/v2/repository/index", _predicting("index")),
    ("GET", "/ping", ping),
    ("GET", "/health", ping),
    ("GET", f"{API}/openapi.json", openapi),
    ("GET", f"{API}/events", events),
    ("GET", f"{API}/jobs/{{id}}/log/events", follow),
    ("GET", f"{API}/jobs/{{id}}/output", output),
    ("PUT", f"{API}/uploads/{{upload}}/{{file}}", upload),
)


def _plain(parts: Parts, method: str, path: str, endpoint: Endpoint) -> BaseRoute:
    async def run(request: Request) -> Response:
        request.scope[ROUTE] = path
        return await endpoint(parts, request)

    return Route(_pattern(path), run, methods=[method])
