"""How to speak to Redis. Two kinds of client: a *patient* one (services) rides out a restart of Redis inside any
command; an impatient one (commands) gives up within two seconds and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from singlepoint.jobs.amounts import format_bytes

from .address import Broker, away, require_listener

_PATIENT = {"cap": 2.0, "base": 0.05, "retries": 300}  # ten minutes, then the service is started anew
_IMPATIENT = {"cap": 0.25, "base": 0.02, "retries": 6}  # about a second: a restart of ours takes a tenth of it
_CONNECT_TIMEOUT_S = 1.5
_FLEETING_TIMEOUT_S = 0.5
_PATIENT_ANSWER_TIMEOUT_S = 60.0
_IMPATIENT_ANSWER_TIMEOUT_S = 5.0


def connect(broker: Broker, *, patient: bool = False) -> redis.Redis:
    """A client of `broker`; one that is not patient has been answered once.

    patient: retry every command for up to ten minutes, and do not insist that Redis is there yet.
    Raises BrokerAway when an impatient client gets no answer.
    """
    connection = redis.Redis.from_url(broker.url, **_options(patient=patient))
    if patient:
        return connection
    require_listener(broker)
    try:
        connection.ping()
    except (redis.RedisError, OSError) as error:
        connection.close()
        raise away(broker, error) from None
    return connection


def connect_fleetingly(broker: Broker) -> redis.Redis:
    """A client that tries once and never waits: for telling what is on disk already. Not answered yet."""
    return redis.Redis.from_url(
        broker.url,
        retry=Retry(ExponentialBackoff(cap=0.02, base=0.02), 1, supported_errors=(redis.ConnectionError,)),
        socket_connect_timeout=_FLEETING_TIMEOUT_S,
        socket_timeout=_FLEETING_TIMEOUT_S,
        driver_info=None,
    )


def _options(*, patient: bool) -> dict[str, object]:
    choice = _PATIENT if patient else _IMPATIENT
    # Over TCP a host that does not answer costs a whole timeout a try; an impatient client tries that once.
    errors: tuple[type[Exception], ...] = (redis.ConnectionError,)  # includes "still loading my file"
    return {
        "retry": Retry(
            ExponentialBackoff(cap=choice["cap"], base=choice["base"]),
            int(choice["retries"]),
            supported_errors=(*errors, redis.TimeoutError) if patient else errors,
        ),
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "socket_timeout": _PATIENT_ANSWER_TIMEOUT_S if patient else _IMPATIENT_ANSWER_TIMEOUT_S,
        "driver_info": None,  # the client's name and version: looked up on disk and told, at every connection
    }


def memory_level(connection: redis.Redis) -> str:
    """`, 12 MiB of 256 MiB used`, of what it may hold; `""` when it has no limit, or does not say."""
    try:
        info = connection.info("memory")
        used, most = int(info["used_memory"]), int(info["maxmemory"])
    except (redis.RedisError, KeyError, ValueError):
        return ""
    return f", {format_bytes(used)} of {format_bytes(most)} used" if most else ""


def shortcomings(connection: redis.Redis) -> list[str]:
    """What is unsafe about a Redis that is not ours: it keeps nothing on disk, or may drop keys.

    Jobs survive both, since the directories are the truth; waiting ones are only found again by a rebuild.
    """
    try:
        info = {**connection.info("persistence"), **connection.info("memory")}
    except redis.RedisError as error:
        return [f"its settings cannot be read ({error})"]
    return list(_shortcomings(info))


def _shortcomings(info: dict[str, object]) -> Iterable[str]:
    if not int(str(info.get("aof_enabled", 0))):
        yield "it keeps nothing on disk: set `appendonly yes`"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield f"it may drop keys (maxmemory-policy {policy}): set `maxmemory-policy noeviction`"
