"""Named places where a test lets a real process die, or a write fail, just before it happens.

Off unless `SINGLEPOINT_FAILPOINT` is set in the environment of the process, to
`NAME[@COUNT]:ACTION[:TOKEN]`: at the COUNT-th arrival (1 by default) at the place NAME, `kill` ends the process with
SIGKILL, `stop` suspends it with SIGSTOP; `enospc` raises the error of a full disk and `eio` that of a failing one,
from then on. With a TOKEN, a path where no file is yet, that happens in one process only: the first that can create the
file.

`@FILE` instead reads the plan from a file at each arrival, so that it can change while the processes live; without
that file there is none.
"""

from __future__ import annotations

import errno
import os
import signal
import threading

_SETTING = os.environ.get("SINGLEPOINT_FAILPOINT", "")
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO}
_arrivals: dict[str, int] = {}


def reach(name: str) -> None:
    """Say that the write called `name` comes next. Costs one comparison when no test is at work."""
    if _SETTING:
        _act(name, _plan())


def _plan() -> str:
    if not _SETTING.startswith("@"):
        return _SETTING
    try:
        with open(_SETTING[1:], encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _act(name: str, plan: str) -> None:
    place, action, token = [*plan.split(":", 2), "", ""][:3]
    wanted, _, count = place.partition("@")
    if wanted != name:
        return
    _arrivals[plan] = _arrivals.get(plan, 0) + 1
    if (number := _ERRORS.get(action)) is not None and _arrivals[plan] >= int(count or 1):
        raise OSError(number, os.strerror(number), name)
    if action in _SIGNALS and _arrivals[plan] == int(count or 1) and _take(token):
        # To this very thread: of a signal to the process another thread may hear first, while this one writes on.
        signal.pthread_kill(threading.get_ident(), _SIGNALS[action])


def _take(token: str) -> bool:
    if not token:
        return True
    try:
        os.close(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True
