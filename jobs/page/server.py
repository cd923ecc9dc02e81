"""The service as a process: it binds its port, tells where it answers, serves, and ends within its grace.

uvicorn serves, over connections of ours (see `connection`). Asked to end (SIGTERM, SIGINT), streams are closed at once,
requests are finished, and the process exits with 0.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from types import FrameType

import uvicorn

from singlepoint.jobs.client.entry import WEAK_CHARACTERS, publish_address, service_token
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.errors import NotPermitted
from singlepoint.jobs.host.service_log import Often
from singlepoint.jobs.store.durable import make_directory
from singlepoint.jobs.store.settings import Http, read_settings

from .api.uploads import sweep
from .app import Parts, make_app
from .connection import Connection
from .events import Feed, Watch
from .inference import Inference
from .metrics import Metrics
from .place import BACKLOG, bound, parse_place
from .predictions import Predictions, Straight
from .security import LOOPBACK, Limits
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
        http=type("OurConnection", (Connection,), connection),
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
