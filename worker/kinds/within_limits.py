"""A check is held to a time and a memory, so that no file, however it is made, keeps whoever hands it in waiting or
takes the machine's memory from the work. What cannot be told within them is left to the attempt, and said to be
unchecked.

For a process of our own, and its main thread: a signal ends the check, and the limit on memory is the process's. Who
has no such process asks `checking_child`.
Memory is held to where RLIMIT_DATA works (Linux).
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import Spec
from singlepoint.worker.ground.limits import warm_up
from singlepoint.worker.ground.memory_errors import lack_of_memory
from singlepoint.worker.ground.process import data_bytes

from .table import RUNS_PROGRAMS, check

CHECK_S = 20.0
"""Seconds: ten times what a check takes that reads all it may of a sound file."""

CHECK_BYTES = 2**30
"""What a check may take beside what the process has already."""


class TimeUp(BaseException):
    """Not an Exception, so that no reader takes it for trouble with its file."""


def check_within_limits(spec: Spec, seconds: float = CHECK_S, memory_bytes: int = CHECK_BYTES) -> Checked | None:
    """As `check`, or a warning that says why the spec is unchecked."""
    if spec.kind in RUNS_PROGRAMS:  # nothing of it is read, and to hand in a command takes no numpy
        return check(spec)
    try:
        with _memory_limited(memory_bytes), _time_limited(seconds):
            return check(spec)
    except TimeUp:
        return unchecked(spec, f"to look at the data takes more than {seconds:g} s")
    except Exception as error:
        if lack_of_memory(error) is None:
            raise
        return unchecked(spec, f"to look at the data takes more than {format_bytes(memory_bytes)} of memory")


def unchecked(spec: Spec, why: str) -> Checked:
    """A spec whose data nobody looked at to the end, with the warning that says so."""
    line = f"unchecked: {why}; what is wrong with it, the job will say when it runs"
    return Checked(spec, warnings=(line,))


@contextlib.contextmanager
def _time_limited(seconds: float) -> Iterator[None]:
    def up(_number: int, _frame: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again: the first may come where nothing can be raised
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _memory_limited(memory_bytes: int) -> Iterator[None]:
    if not sys.platform.startswith("linux"):
        yield
        return
    warm_up()
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = data_bytes() + memory_bytes
    least = min(one for one in (limit, before, hard) if one != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (least, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
