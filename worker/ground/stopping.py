"""How work answers a request to stop: it saves, then leaves, or (pause) waits with its memory kept."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Collection, Iterator
from types import FrameType

from singlepoint.jobs.host.processes import use_cores
from singlepoint.jobs.lifecycle.history import Note

from .stop_requests import LOOK_S, Stop
from .work import Stopped, Work


def answer(work: Work, stop: Stop, save: Callable[[], None]) -> None:
    """Save, then stop for `stop`. Returns only from a pause that was taken back; otherwise raises Stopped."""
    work.log.info("stop_requested why=%s step=%d", stop, work.step)
    if stop is not Stop.CANCEL:
        save()
    if stop is not Stop.PAUSE:
        raise Stopped(stop)
    with work.stops.clock_stopped():
        pause(work)


@contextlib.contextmanager
def heard_at_once(work: Work) -> Iterator[None]:
    """In here a request to stop ends the work wherever it is, by raising Stopped: for what has nothing to save.

    Loading, resuming and assembling can take minutes, in code that knows nothing of jobs; a timer looks for them.
    """

    def look(_number: int, _frame: FrameType | None) -> None:
        if (stop := work.stops.due()) is not None:
            work.log.info("stop_requested why=%s step=%d", stop, work.step)
            raise Stopped(stop)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_S, LOOK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pause(work: Work, move_to: Callable[[Collection[int]], None] = use_cores) -> None:
    """Use no core until the pause is taken back; anything more urgent ends the wait by raising Stopped.

    The scheduler takes the cores back when it sees the pause, and grants some again, by new terms, before the
    work goes on. Paused again before that, the attempt gives those back too. move_to: moves the work to cores.
    """
    clock, began_s = work.place.monotonic, work.place.monotonic()
    while (stop := work.stops.due()) is Stop.PAUSE or not work.terms.cores:
        if stop is not None and stop is not Stop.PAUSE:
            raise Stopped(stop)
        if work.terms.cores:
            _note(work, Note.PAUSE)
            work.meter.pauses_s += clock() - began_s
            work.meter.pauses += 1
        time.sleep(LOOK_S)
        began_s = clock()
    move_to(work.terms.cores)
    _note(work, Note.GO_ON)
    work.meter.pauses_s += clock() - began_s
    work.log.info("pause_ended step=%d", work.step)


def _note(work: Work, note: Note) -> None:
    with work.place.store.locked_history(work.job.id) as history:
        history.require_newest(work.attempt)
        job = history.append(note, work.place.clock(), {"attempt": work.attempt})
    work.stops.look()
    work.place.index.tell(job)
