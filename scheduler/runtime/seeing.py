"""How the world learns what is on disk: histories are read, locks are tried.

Most of it is told by bells. A bell for a job whose history has not grown since it was read is a notice of death
(from the process above a worker): such a suspect's lock is tried at every look, for two seconds, because the
kernel may need a moment to end the last of its children. All that run are tried once a second besides. While the
worker of a dead attempt lives, the death is the worker's to write down: it knows why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from heapq import nlargest

from singlepoint.jobs.clock import Clock
from singlepoint.jobs.errors import NotFound, SinglepointError
from singlepoint.jobs.host.processes import boot_id, pid_of_worker, started
from singlepoint.jobs.lifecycle.records import Job
from singlepoint.jobs.lifecycle.states import State
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.scheduler.world.learned import arrivals
from singlepoint.scheduler.world.places import Place
from singlepoint.scheduler.world.sharing.usage import REMEMBERED_BYTES
from singlepoint.scheduler.world.world import World

log = logging.getLogger("singlepoint.scheduler")

SUSPECT_FOR_S = 2.0
PROBE_EVERY_S = 1.0
BURIAL_S = 1.0
"""A worker that lives writes down the death of its attempt within this."""

OVERDUE_S = 5.0
"""A dispatched attempt is begun within this, unless it waits in the run queue."""

_UNREADABLE = (SinglepointError, OSError, ValueError, KeyError, TypeError, AssertionError)


class Sight:
    """Reads the jobs of one home into one world. clock: seconds since the epoch; monotonic: for waiting."""

    def __init__(self, store: JobStore, world: World, clock: Clock, monotonic: Clock) -> None:
        self.store = store
        self.world = world
        self.alive_at: dict[str, float] = {}  # when a job's lock was last seen held
        self._clock = clock
        self._monotonic = monotonic
        self._suspects: dict[str, float] = {}
        self._pushed_at: dict[str, float] = {}
        self._unreadable: set[str] = set()
        self._free_since: dict[tuple[str, int], float] = {}
        self._next_probe = 0.0

    def remember(self) -> None:
        """What the ledger tells of the last jobs that ended: how long they took, what their projects have had, and how
        far apart the newest came."""
        entries = self.store.ledger.newest(REMEMBERED_BYTES)
        self.world.experience.learn(entries)
        for entry in entries:
            self.world.books.usage.had(entry.project, entry.account.granted_core_s, entry.ended_at)
        for entry in nlargest(arrivals.REMEMBERED, entries, key=lambda entry: entry.submitted_at):
            job = self.load(entry.id)
            if job is not None:
                self.world.arrivals.came(job)

    def see(self, job_id: str) -> Job | None:
        """The job as it is on disk, seen by the world too, with those it comes after where nobody saw them yet.

        None when it is gone or cannot be read.
        """
        job = self._see_one(job_id)
        unseen = [one.job for one in job.after] if job else []
        while unseen:
            other_id = unseen.pop()
            if not self.world.knows(other_id):
                other = self._see_one(other_id)
                unseen += [one.job for one in other.after] if other else []
        return job

    def _see_one(self, job_id: str) -> Job | None:
        job = self.load(job_id)
        if job is not None:
            self.world.see(job)
        elif self.size(job_id) == 0:
            self.world.forget(job_id, self._had_ended(job_id))
        if job is None or job.is_final:
            self.alive_at.pop(job_id, None)
        return job

    def _had_ended(self, job_id: str) -> State | None:
        """How a job that is gone had ended, as far as anybody noted."""
        try:
            return self.store.fate(job_id)
        except _UNREADABLE as error:
            self._complain(job_id, error)
            return None

    def load(self, job_id: str) -> Job | None:
        """The job as it is on disk. One damaged history must not stop all the others: it is logged, once."""
        try:
            job = self.store.load(job_id)
        except NotFound:
            return None
        except _UNREADABLE as error:
            self._complain(job_id, error)
            return None
        self._unreadable.discard(job_id)
        return job

    def lose(self, job_id: str, error: Exception) -> None:
        """Its history turned out to be damaged when something was to be written there: it stands still.

        As long as somebody works on it, it keeps what it was granted.
        """
        self._complain(job_id, error)
        if not self._is_held(job_id):
            self.world.lose_sight(job_id)

    def _complain(self, job_id: str, error: Exception) -> None:
        if job_id not in self._unreadable:
            log.error("job_unreadable job=%s error=%r", job_id, str(error))
            self._unreadable.add(job_id)

    def see_changed(self, job_ids: Iterable[str]) -> None:
        """Read those whose history is not as long as it was."""
        for job_id in list(job_ids):
            size = self.size(job_id)
            if size is not None and size != self.world.size(job_id):
                self.see(job_id)

    def size(self, job_id: str) -> int | None:
        """Bytes of its history on disk, 0 when it is gone; None when that cannot be told."""
        try:
            return self.store.size(job_id)
        except (OSError, ValueError) as error:
            self._complain(job_id, error)
            return None

    def _is_held(self, job_id: str) -> bool:
        """Whether somebody works on it; so it is said of a lock that cannot be tried, since nobody may guess."""
        try:
            return self.store.is_being_worked_on(job_id)
        except OSError as error:
            self._complain(job_id, error)
            return True

    def probe(self, job_ids: Iterable[str]) -> None:
        """Try their locks. A queued job's is left alone: its worker may be taking it in this instant."""
        for job_id in list(job_ids):
            job = self.world.job(job_id)
            if job is None or job.state is State.QUEUED:
                continue
            held = self._is_held(job_id)
            if held:
                self.alive_at[job_id] = self._clock()
            self.world.lock_seen(job_id, held or self._is_being_buried(job))

    def _is_being_buried(self, job: Job) -> bool:
        """Whether the worker above a dead attempt lives, and is about to write down how that ended."""
        newest = job.newest
        if job.state is not State.RUNNING or newest is None or newest.boot_id != boot_id():
            return False
        present_s = self._monotonic()
        self._free_since = {key: at for key, at in self._free_since.items() if present_s - at < 10 * BURIAL_S}
        pid = pid_of_worker(newest.worker or "")
        if pid is None or started(pid) is None:
            return False
        return present_s - self._free_since.setdefault((job.id, newest.number), present_s) < BURIAL_S

    def suspect(self, job_id: str) -> None:
        """Somebody says that whoever worked on this job is dead."""
        if self.world.place(job_id) in _SUSPICIOUS:
            self._suspects[job_id] = self._monotonic() + SUSPECT_FOR_S

    def probe_in_doubt(self) -> None:
        """Try the locks nobody has looked at, those of suspects and of attempts that end, and at times all."""
        doubtful = {*self.world.unprobed(), *self._suspects, *self.world.lines[Place.ENDING]}
        if self._monotonic() >= self._next_probe:
            self._next_probe = self._monotonic() + PROBE_EVERY_S
            doubtful.update(job.id for job in self.world.holders())
            self.see_changed(doubtful)  # a bell may have been lost
        self.probe(doubtful)
        self._acquit()

    def _acquit(self) -> None:
        present = self._monotonic()
        for job_id, until in list(self._suspects.items()):
            alive = self.world.place(job_id) in _SUSPICIOUS and self.world.may_live(job_id)
            if not alive or present > until:
                del self._suspects[job_id]

    def handed_out(self, job: Job) -> None:
        """If it is queued, its attempt was put into the run queue just now."""
        if job.state is State.QUEUED:
            self._pushed_at[job.id] = self._monotonic()
            self.world.pushed(job.id)

    def overdue(self) -> list[str]:
        """Dispatched attempts that should have begun, or that a dead worker may have had in hand."""
        present = self._monotonic()
        queued = list(self.world.lines[Place.QUEUED])
        for job_id in self._pushed_at.keys() - set(queued):
            del self._pushed_at[job_id]
        late = [j for j in queued if present - self._pushed_at.setdefault(j, present) >= OVERDUE_S]
        accused = [j for j in queued if j in self._suspects]
        return list(dict.fromkeys([*late, *accused]))

    def look_for(self, job_id: str, is_in_queue: bool) -> None:
        """A dispatched attempt was looked for in the run queue."""
        self._suspects.pop(job_id, None)
        self._pushed_at[job_id] = self._monotonic()
        job = self.see(job_id)
        is_waiting = is_in_queue or job is None or job.state is not State.QUEUED
        if not is_waiting and not self._is_held(job_id):
            self.world.missing(job_id)

    @property
    def is_anxious(self) -> bool:
        """Whether something may be dead or gone in a moment, so that the next look should come at once."""
        present = self._clock()
        ending = (job.newest.ended_at for job in self.world.standing(Place.ENDING) if job.newest)
        return bool(self._suspects) or any(at is not None and abs(present - at) < SUSPECT_FOR_S for at in ending)


_SUSPICIOUS = frozenset({Place.RUNNING, Place.RESUMING, Place.QUEUED, Place.ENDING})
