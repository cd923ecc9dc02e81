"""One client's or service's view of a home: its directories at once, Redis when it is first needed.

Importing this costs nothing: what speaks to Redis is loaded by the first use of `connection` or `index`, which raises
BrokerAway when nobody answers. A client that ends after a few words does not even load redis-py (`broker.wire`).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from singlepoint.jobs.errors import BrokerAway
from singlepoint.jobs.host.singleton import holder
from singlepoint.jobs.store.home import Home, open_home
from singlepoint.jobs.store.job_store import JobStore

if TYPE_CHECKING:
    import redis

    from singlepoint.jobs.broker.index import Index
    from singlepoint.jobs.lifecycle.outlook import Outlook
    from singlepoint.jobs.spec.common import Checked
    from singlepoint.jobs.spec.job import Spec

T = TypeVar("T")

HISTORY_PATIENCE_S = 5.0
"""How long a command waits for a job whose history somebody holds locked."""


@dataclass(frozen=True)
class Settings:
    """What the front door knows before any command runs.

    check: what `worker` says of a spec's data and shapes (raises InvalidInput) and settles of it; passed in, since
    `jobs` may not know `worker`.  server: the address of a singlepoint elsewhere, to be spoken to instead.
    foresee: when a job that is about to be handed in should start and end, as `scheduler` sees it at a time.
    require_budget: raises UsageError for words that mean no budget on this machine, as `scheduler` reads them.
    """

    home_path: Path | None = None
    redis_url: str | None = None
    check: Callable[[Spec], Checked | None] | None = None
    server: str | None = None
    foresee: Callable[[Session, Checked, float], Outlook | None] | None = None
    require_budget: Callable[[str], object] | None = None


@dataclass(frozen=True)
class Session:
    """A home with its store, and its Redis once somebody asks. patient: waits for a Redis that is away.

    brief: for a process that says a few words to Redis and ends.
    """

    home: Home
    store: JobStore
    redis_url: str | None = None
    patient: bool = False
    brief: bool = False

    @cached_property
    def connection(self) -> redis.Redis:
        """Raises BrokerAway when Redis does not answer; a patient session waits for it instead."""
        from singlepoint.jobs.broker.address import locate, require_listener
        from singlepoint.jobs.broker.wire import dial

        broker = locate(self.home, self.redis_url)
        if self.brief and not self.patient and (wire := dial(broker)) is not None:
            return cast("redis.Redis", wire)  # as much of one as a command asks of it
        try:
            if not self.patient:
                require_listener(broker)
            from singlepoint.jobs.broker.connection import connect

            return connect(broker, patient=self.patient)
        except BrokerAway as error:
            if broker.ours and broker.halted is None and holder(self.home.lock("supervisor")) is not None:
                error.hint = "it is being started again: try in a moment, or see what `singlepoint doctor` says"
            raise

    @cached_property
    def index(self) -> Index:
        from singlepoint.jobs.broker.index import Index

        return Index(self.connection, self.home.uuid)

    def require_redis(self) -> None:
        """Raises BrokerAway when Redis does not answer now."""
        self._require(lambda connection: connection.ping())  # a session that lives long may have lost it

    def require_writable(self) -> None:
        """As `require_redis`, for what adds to Redis; raises BrokerRefuses when it answers but takes nothing."""
        from singlepoint.jobs.broker.refusals import require_writable

        self._require(require_writable)

    def _require(self, answer: Callable[[redis.Redis], object]) -> None:
        _ = self.index
        try:
            answer(self.connection)
        except Exception as error:
            raise redis_error(error) or error from error


def open_session(settings: Settings, *, patient: bool = False, brief: bool = True) -> Session:
    """The session of this home, created when it is new. Raises NotPermitted; does not touch Redis yet."""
    home = open_home(settings.home_path)
    return Session(home, JobStore(home, patience_s=HISTORY_PATIENCE_S), settings.redis_url, patient, brief)


def asked(session: Session, question: Callable[[Index], T]) -> tuple[T | None, BrokerAway | None]:
    """What the index answers, or None and why Redis is away: for commands that can tell something without it."""
    try:
        return question(session.index), None
    except Exception as error:
        away = error if isinstance(error, BrokerAway) else redis_error(error)
        if away is None:
            raise
        return None, away


@contextlib.contextmanager
def redis_may_be_away() -> Iterator[None]:
    """For telling Redis what is already safe on disk: its absence is no error, it learns of it when it returns."""
    from singlepoint.jobs.broker import redis_errors

    try:
        yield
    except redis_errors.RedisError:
        return


def redis_error(error: BaseException) -> BrokerAway | None:
    """The error to tell when redis gave up on a command, or None for any other error."""
    module = sys.modules.get("redis")
    if module is None or not isinstance(error, module.RedisError):
        return None
    from singlepoint.jobs.broker.refusals import refusal

    return refusal(error) or BrokerAway(
        f"Redis does not answer: {error}",
        hint="`singlepoint doctor` says what is wrong; accepted jobs are kept on disk",
    )
