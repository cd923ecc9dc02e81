"""Named places where a test lets a real process die, or a write fail, just before it happens.

Off unless `SINGLEPOINT_FAILPOINT` is set in the environment of the process, to
`NAME[@COUNT]:ACTION`: at the COUNT-th arrival (1 by default) at the place NAME, `kill` ends the process with
SIGKILL, `stop` suspends it with SIGSTOP, `enospc` raises the error of a full disk from then on.
"""

from __future__ import annotations

import errno
import os
import signal

_PLAN = os.environ.get("SINGLEPOINT_FAILPOINT", "")
_arrivals = 0


def reach(name: str) -> None:
    """Say that the write called `name` comes next. Costs one comparison when no test is at work."""
    if _PLAN:
        _act(name)


def _act(name: str) -> None:
    global _arrivals
    place, _, action = _PLAN.partition(":")
    wanted, _, count = place.partition("@")
    if wanted != name:
        return
    _arrivals += 1
    if action == "enospc" and _arrivals >= int(count or 1):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    if _arrivals != int(count or 1):
        return
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
