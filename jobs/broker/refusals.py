"""A Redis that answers, and takes nothing: it is full, read-only, has too few replicas, or cannot save."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singlepoint.jobs.errors import BrokerRefuses

from . import redis_errors

if TYPE_CHECKING:
    import redis

_REFUSALS = {
    "OOM": ("it is full", "`singlepoint prune` removes ended jobs; or raise its maxmemory"),
    "READONLY": ("it is a read-only replica", "point --redis-url at the primary"),
    "NOREPLICAS": ("it has too few replicas", "start them, or lower its min-replicas-to-write"),
    "MISCONF": ("it cannot save to its disk", "free some space there, and see its log"),
}
"""What Redis answers instead of writing, by its word for it: what that means, and what to do."""


def refusal(error: BaseException) -> BrokerRefuses | None:
    """The error to tell when Redis answered that it takes nothing; None for any other error."""
    if not isinstance(error, redis_errors.ResponseError):
        return None
    word = error.status_code or str(error).partition(" ")[0]
    if word not in _REFUSALS:
        return None
    because, remedy = _REFUSALS[word]
    return BrokerRefuses(f"Redis refuses to be written to: {because}", hint=f"{remedy}; accepted jobs are kept on disk")


def require_writable(connection: redis.Redis) -> None:
    """Raises BrokerRefuses when Redis would not take a write now; writes nothing itself."""
    try:
        connection.setrange("sp:writable", 0, "")  # of no bytes: changes nothing, but is refused as any write is
    except redis_errors.ResponseError as error:
        if (refused := refusal(error)) is not None:
            raise refused from None
