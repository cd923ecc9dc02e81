"""The service as a process: it binds its port, tells where it answers, serves, and ends within its grace.

uvicorn serves; what it leaves unbounded is bounded here: the bytes and the time of a request's headers. Asked to end
(SIGTERM, SIGINT), streams are closed at once, requests are finished, and the process exits with 0.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from singlepoint.jobs.client.entry import WEAK_CHARACTERS, publish_address, service_token
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.errors import NotPermitted
from singlepoint.jobs.host.service_log import Often
from singlepoint.jobs.store.durable import make_directory
from singlepoint.jobs.store.settings import Http, read_settings

from . import problems
from .api.uploads import sweep
from .app import Parts, make_app
from .events import Feed, Watch
from .guard import ALWAYS, TOO_SLOW, new_request_id
from .inference import Inference
from .metrics import Metrics
from .place import BACKLOG, bound, parse_place
from .predictions import Predictions, Straight
from .problems import Refused
from .security import LOOPBACK, Limits, Refusal
from .service import Service, Sources

log = logging.getLogger("singlepoint.http")

GRACE_S = 5
"""For requests that are being answered when the service is asked to end."""


def tls(settings: Http) -> ssl.SSLContext | None:
    """What encrypts, of the files in the settings; None without. Raises NotPermitted for files that will not do."""
    if settings.certificate is None and settings.key is None:
        return None
    if settings.certificate is None or settings.key is None:
        raise NotPermitted("[http] has a certificate without a key, or the other way round", hint="set both, or none")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise NotPermitted(f"[http] certificate and key: {error}", hint="give PEM files that belong together") from None
    return context


def serve(session: Session, sources: Sources, place: str) -> None:
    """Serve until asked to end. Raises what makes that impossible before the port is open."""
    host, port = parse_place(place)
    settings = read_settings(session.home).http
    token, context = service_token(session.home), tls(settings)
    make_directory(session.home.outputs)
    sweep(session.home)
    listening = bound(host, port)
    port = listening.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    shown = "localhost" if host in ("0.0.0.0", "::") else name
    url = f"{'https' if context else 'http'}://{shown}:{port}"
    address = publish_address(session.home, url)
    _warn(token, name, encrypted=context is not None)
    service = Service(session, sources, settings, token, address.instance, Limits(upload_bytes=settings.upload))
    log.info("service_started url=%s", url)
    prepared(service, context, frozenset({name.lower()})).run([listening])
    log.info("service_ended")


def _warn(token: str, host: str, *, encrypted: bool) -> None:
    if len(token) < WEAK_CHARACTERS:
        log.warning("token_weak characters=%d least=%d", len(token), WEAK_CHARACTERS)
    if host not in LOOPBACK and not encrypted:
        log.warning("token_in_the_clear host=%s remedy=certificate and key under [http] in settings.toml", host)


def prepared(service: Service, context: ssl.SSLContext | None, hosts: frozenset[str]) -> Server:
    """A server that is ready to run. hosts: names of the address it is bound to."""
    feed = Feed(service.instance)
    metrics = Metrics(service.session)
    sockets = [service.session.home.serving(number)[1] for number in range(service.settings.processes)]
    inference = Inference(sockets, service.limits, metrics.predicted)
    metrics.watch(lambda: inference.waiting)
    answered = Often(log)
    predictions = Predictions(feed.stopping, inference)
    app = make_app(Parts(service, feed, metrics, predictions, answered), hosts)
    connection = {"limits": service.limits, "straight": Straight(app, predictions)}
    config = uvicorn.Config(
        app,
        http=type("Connection", (BoundedProtocol,), connection),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )
    config.load()
    config.ssl = context
    return Server(config, feed, Watch(service.session, feed), answered)


class Server(uvicorn.Server):
    """Closes the streams as soon as it is asked to end: uvicorn waits for them for ever."""

    def __init__(self, config: uvicorn.Config, feed: Feed, watch: Watch, answered: Often) -> None:
        super().__init__(config)
        self._answered = answered
        self._feed = feed
        self._watch = watch
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._watch.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._watch.stop()
        await super().shutdown(sockets)
        self._answered.write()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's handler of signals. The signal is not raised again afterwards: to be ended so is no fault."""
        self.end()

    def end(self) -> None:
        """Ask it to end; from a signal handler or another thread."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._feed.stopping.set)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Headers that are too long, or do not come, end it; so do bodies that pause (see `TOO_SLOW`).

    A request that is there at once, as most are, costs no timer, and a prediction then no task.
    """

    limits = Limits()
    straight: Straight
    _held: tuple[RequestResponseCycle, Any] | None = None
    _reads = False
    _expected: str | None = "headers"
    _unfinished_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.limits.header_s, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expected = None
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._expected
        self._reads = True
        super().data_received(data)
        self._reads = False
        if self._held is not None:
            self._begin(*self._held)
        if self._expected == "headers":
            self._unfinished_bytes += len(data)  # the parser holds them back until the header is whole
            if self._unfinished_bytes > 2 * self.limits.header_bytes and not self.transport.is_closing():
                self.send_400_response("the headers are too long")
            if self._timer is None:
                self._timer = self.loop.call_later(self.limits.header_s, self._give_up)
        elif self._expected == "body":
            self._stop_timer()
            self._timer = self.loop.call_later(self.limits.body_s, self._give_up)
        elif before is not None or self._timer is not None:
            self._stop_timer()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self.straight.takes(cycle):
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body and self._reads:  # by the end of what has come it may be there
            self._held = cycle, app
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._held = None
        usual = partial(super()._start_asgi_task, cycle, app)
        if cycle.more_body:
            usual()
        else:
            self.straight.begin(cycle, usual)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expected, self._unfinished_bytes = "headers", 0

    def on_headers_complete(self) -> None:
        self._expected = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._expected = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or a method that HTTP does not know, never reaches the guard: told as it would tell it."""
        request_id = new_request_id()
        detail = msg[:1].lower() + msg[1:].rstrip(".")
        body = to_json(problems.document(Refused(Refusal(400, "Not HTTP", detail)), "", request_id))
        headers = [
            (b"content-type", problems.MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"x-request-id", request_id.encode()),
            *ALWAYS,
        ]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers), b"", body]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._expected == "body" and not self.cycle.response_started:
            self.scope[TOO_SLOW] = True  # type: ignore[literal-required]
            self.cycle.message_event.set()
        elif not self.transport.is_closing():
            self.transport.close()
