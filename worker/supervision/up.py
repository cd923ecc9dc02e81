"""What `up` starts: which services, in which order, with which words.

How they are kept alive is told in `supervisor`; how `up` itself begins, in the foreground or detached, in `starting`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from singlepoint.jobs.store.home import Home
from singlepoint.worker.ground.limits import ONE_THREAD

from .supervisor import Child


def services(
    home: Home,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    workers: int,
    redis_is_ours: bool,
    budget: Sequence[str] = (),
    page: Sequence[str] | None = None,
) -> list[Child]:
    """The children of the supervisor, the last of which is stopped first: a scheduler that still ran would dispatch
    what the workers just handed back.

    command: what our own commands begin with.  budget: words for the scheduler.  page: words for the page; None where
    there is to be none, and nobody to answer predictions at once.
    """
    alone = {**environment, **ONE_THREAD}  # the worker's attempts have the threads that their `Terms` grant
    return [
        *([Child("broker", (*command, "broker"))] if redis_is_ours else []),
        Child("worker", (*command, "worker", "--workers", str(workers)), alone, grace_s=60),
        Child("scheduler", (*command, "scheduler", *budget), environment),
        *([] if page is None else [*_serving(home, command), Child("page", (*command, "page", *page), alone)]),
    ]


def _serving(home: Home, command: Sequence[str]) -> list[Child]:
    """As many as the owner set: a request goes to the one that has least to do."""
    from singlepoint.jobs.store.settings import read_settings  # with pydantic: a third of a second, before all services

    numbers = range(read_settings(home).http.processes)
    names = [f"serving-{number}" if number else "serving" for number in numbers]
    words = [("--number", str(number)) if number else () for number in numbers]
    return [Child(name, (*command, "serving", *more), ONE_THREAD) for name, more in zip(names, words, strict=True)]
