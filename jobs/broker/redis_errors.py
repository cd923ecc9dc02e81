"""redis-py's errors, by their names there; redis-py is loaded when the first one is asked for.

It takes 0.2 s to load, longer than all the rest of most commands. What stands in an `except` is only looked at once
something was raised, so a command that speaks over a `wire`, and meets no trouble, does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.exceptions import RedisError, ResponseError

__all__ = ["RedisError", "ResponseError"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import redis.exceptions

    return getattr(redis.exceptions, name)
