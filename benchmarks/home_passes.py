"""What a pass of the scheduler costs in a home of some size, and one more event of a job of many attempts.

The scheduler is ours, in this process, over the real home; Redis is a real server of this home.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from benchmarks.home_maker import TERMS, history, write
from singlepoint.jobs.broker.address import locate
from singlepoint.jobs.broker.connection import connect
from singlepoint.jobs.broker.embedded import answers
from singlepoint.jobs.broker.server_program import command, prepare
from singlepoint.jobs.ledger.entries import Entry
from singlepoint.jobs.lifecycle.records import Resources
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.store.home import Home, open_home
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.runtime.loop import HISTORY_PATIENCE_S, Scheduler
from singlepoint.scheduler.world.world import World

PASSES = 2000
EVENTS = 200
BUDGET = Resources(1000, 2 * 2**30)


@contextmanager
def a_redis(home: Home) -> Iterator[Callable[[], redis.Redis]]:
    """A server for this home, which knows nothing; answers how to connect."""
    server = prepare(home)
    process = subprocess.Popen(command(server, home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not answers(home):
            time.sleep(0.01)
        yield lambda: connect(locate(home, None))
    finally:
        process.terminate()
        process.wait()


def passes(home: Home) -> dict[str, float]:
    """Seconds of processor time: of the start, and of the passes until all duties are done, from an empty Redis."""
    with a_redis(home) as connecting:
        scheduler = Scheduler(JobStore(home, patience_s=HISTORY_PATIENCE_S), connecting, BUDGET, (0,))
        began = time.process_time()
        scheduler.start()
        started = time.process_time()
        took = []
        for _ in range(PASSES):
            before = time.process_time()
            scheduler.look()
            took.append(time.process_time() - before)
            if scheduler.patience_s() > 0.5:
                break
        took.sort()
    return {
        "the scheduler's start (CPU)": started - began,
        "its longest pass (CPU)": took[-1],
        "its second longest (CPU)": took[-2],
        "its passes, all of them (CPU)": sum(took),
    }


def long_job(attempts: int) -> dict[str, float]:
    """Seconds of processor time that each kind of event costs a job that has made so many attempts."""
    with tempfile.TemporaryDirectory() as directory:
        home = open_home(Path(directory) / "home")
        store, world = JobStore(home), World(BUDGET, (0,))
        write(home, "long", history(0, attempts, end=None))
        world.see(store.load("long"))
        world.lock_seen("long", False)
        took: dict[str, list[float]] = {}
        for at in range(EVENTS):
            for event, facts in _one_more(store.load("long").attempt + 1):
                before = time.process_time()
                with store.locked_history("long") as opened:
                    opened.append(event, 1_900_000_000.0 + at, facts)
                written = time.process_time()
                world.see(store.load("long"))
                seen = time.process_time()
                world.lock_seen("long", False)
                took.setdefault(f"{event}, written", []).append(written - before)
                took.setdefault(f"{event}, seen", []).append(seen - written)
        ending = time.process_time()
        Entry.of(store.load("long"))
        end = time.process_time() - ending
    return {name: statistics.median(all_of_it) for name, all_of_it in took.items()} | {"its entry in the ledger": end}


def _one_more(attempt: int) -> Iterator[tuple[Event, dict[str, object]]]:
    yield Event.DISPATCH, {"attempt": attempt, "terms": TERMS}
    yield Event.CLAIM, {"attempt": attempt, "worker": "synthetic", "boot_id": "synthetic"}
    yield Event.LOSE, {"attempt": attempt, "end": "killed", "cause": "its process was killed"}
