"""The directories of the jobs: the truth.

A job exists from the rename that puts its directory in place. After that its history only grows: every
move takes the history's lock, is checked against the life cycle, appended and fsynced, before anybody is
told. A second kernel lock, held by an attempt for as long as it or any child of it lives, says that the job
is being worked on; it is never broken.

Nothing here knows Redis.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.errors import (
    HistoryBusy,
    HistoryDamaged,
    ImpossibleMove,
    NotFound,
    NotNow,
    Problem,
    SinglepointError,
    Superseded,
)
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.ledger.catalogue import Listed, key_of
from singlepoint.jobs.ledger.entries import last_end
from singlepoint.jobs.lifecycle.history import Facts, Note, fold, line, step, whole_lines
from singlepoint.jobs.lifecycle.records import Job, is_job_id
from singlepoint.jobs.lifecycle.states import Event, State

from .catalogue import Catalogue
from .durable import (
    append,
    can_sync_filesystem,
    explained,
    is_exhausted,
    move_into_place,
    remove_if_possible,
    sync_directory,
    sync_filesystem,
    write_new,
)
from .folds import Folds
from .going_on import GoingOn
from .home import Home
from .job_files import ENVIRONMENT, HISTORY, HISTORY_LOCK, SPEC
from .ledger import Ledger

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_ID_LENGTH = 8
_UNFINISHED = ".new-"
_DOOMED = ".old-"
_BEGINNING_BYTES = 4096
"""Of a history: far more than its first line holds up to the name."""


def new_id() -> str:
    """Eight characters, the first a letter, none easily mistaken for another."""
    import secrets  # as hashlib with OpenSSL: for few commands

    return secrets.choice(_ALPHABET[:24]) + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH - 1))


def _digest(spec: bytes) -> str:
    from hashlib import sha256

    return sha256(spec).hexdigest()


@dataclass(frozen=True)
class NewJob:
    """What a job is made of. environment: variables of a command, which nobody but the owner may read."""

    id: str
    spec: bytes
    facts: Facts
    environment: Mapping[str, str] | None = None

    def write(self, directory: Path, at: float, *, lasting: bool) -> Job:
        """Its directory, under a name that nobody reads yet. lasting: on the disk when this returns."""
        first = line(Event.ACCEPT, at, {**self.facts, "spec_sha256": _digest(self.spec)})
        with explained(directory):
            reach("submit.mkdir")
            directory.mkdir(mode=0o700)
            write_new(directory / SPEC, self.spec, point="submit.spec", lasting=lasting)
            if self.environment is not None:
                content = json.dumps(dict(self.environment)).encode()
                write_new(directory / ENVIRONMENT, content, point="submit.environment", lasting=lasting)
            write_new(directory / HISTORY, first, point="submit.history", lasting=lasting)
            if lasting:
                sync_directory(directory)
        return fold(self.id, first)


class JobStore:
    """Creates, reads, moves and removes jobs on disk. Safe to use from many processes at once.

    patience_s: how long to wait for the lock of a history, which is held for milliseconds unless its holder was
    stopped; None waits for ever, as an attempt must.
    """

    def __init__(self, home: Home, *, patience_s: float | None = None) -> None:
        self.home = home
        self.patience_s = patience_s
        self.ledger = Ledger(home)
        self.catalogue = Catalogue(home, self.ledger)
        self.going_on = GoingOn(home, self.ledger)
        self.folds = Folds()
        self._jobs = str(home.jobs)  # of 20,000 jobs, paths put together as objects cost more than the reading

    def create(
        self,
        spec: bytes,
        facts: Facts,
        at: float,
        *,
        job_id: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Job:
        """Accept a job: put a directory with its spec and the first line of its history in place.

        environment: variables of a command, which nobody but the owner may read.
        Once this returns, the job survives a power cut. Raises StorageFull or NotPermitted, and then
        nothing is kept.
        """
        return self.create_all([NewJob(job_id or new_id(), spec, facts, environment)], at)[0]

    def create_all(self, wanted: Sequence[NewJob], at: float) -> list[Job]:
        """Accept many jobs: what they need is made durable by one sync of the file system, not by several of each.

        Once this returns, they survive a power cut. Raises StorageFull or NotPermitted, and then nothing is kept,
        unless the disk fails amid the renames.
        """
        at_once = len(wanted) > 1 and can_sync_filesystem()
        places = [(self.home.jobs / f"{_UNFINISHED}{new.id}", self._directory(new.id)) for new in wanted]
        try:
            jobs = [new.write(place, at, lasting=not at_once) for new, (place, _) in zip(wanted, places, strict=True)]
            with explained(self.home.jobs):
                if at_once:
                    reach("submit.sync")
                    sync_filesystem(self.home.jobs)
                self.going_on.add(job.id for job in jobs)
                self.going_on.sync()
                for temporary, final in places:
                    reach("submit.accept")
                    os.rename(temporary, final)
                sync_directory(self.home.jobs)
        except BaseException:
            for temporary, _ in places:
                remove_if_possible(temporary)
            raise
        return jobs

    def ids(self) -> list[str]:
        """Every accepted job, in no order."""
        entries = os.scandir(self.home.jobs)
        return [entry.name for entry in entries if is_job_id(entry.name) and entry.is_dir()]

    def exists(self, job_id: str) -> bool:
        """Whether there is a job of that id."""
        return is_job_id(job_id) and os.path.isdir(f"{self._jobs}/{job_id}")

    def entries(self) -> list[str]:
        """All that stands in `jobs/`, jobs and what is to become one or was: of 100,000, a tenth of a second."""
        return os.listdir(self._jobs)

    def unlisted_ids(self, entries: Collection[str] | None = None) -> list[str]:
        """The jobs that the ledger does not know as ended: all that go on, and any whose end is not noted yet.

        entries: of `jobs/`, read before this; else `going-on/` says which there are.
        """
        return self.unlisted_and_listed(entries)[0]

    def unlisted_and_listed(self, entries: Collection[str] | None = None) -> tuple[list[str], Listed]:
        """All jobs: those, and the list of the others."""
        names = self.going_on.names() if entries is None else entries
        listed = self.catalogue.listed()  # after the names: whoever ends from here on is found in it
        others = listed.others(self.entries() if names is None else names)
        return [name for name in others if self.exists(name)], listed

    def matching(self, word: str, name: str) -> tuple[set[str], list[tuple[str, str]]]:
        """The jobs whose ids begin with a word; and of those that bear a name, when each was submitted, as text that
        sorts like the time, and its id.

        Of those that go on the beginning of the history is read; a damaged one has neither time nor name.
        """
        going_on, listed = self.unlisted_and_listed()
        begun = {*filter(self.exists, listed.beginning_with(word)), *(one for one in going_on if one.startswith(word))}
        beginnings = ((job_id, self.began(job_id)) for job_id in going_on)
        live = [(str(began.get("at", "")), job_id) for job_id, began in beginnings if began.get("name") == name]
        return begun, [*map(key_of, listed.of_name(name)), *live]

    def latest(self, count: int) -> list[tuple[str, str]]:
        """When so many jobs were submitted, and their ids; or all there are, the last to be submitted first."""
        going_on, listed = self.unlisted_and_listed()
        live = [(str(self.began(job_id).get("at", "")), job_id) for job_id in going_on]
        return sorted([*map(key_of, listed.newest(count)), *live], reverse=True)[:count]

    def _beginning(self, job_id: str) -> bytes:
        try:
            descriptor = os.open(self._file(job_id, HISTORY), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""  # removed in this instant, or no job
        try:
            return os.read(descriptor, _BEGINNING_BYTES)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def began(self, job_id: str) -> Mapping[str, Any]:
        """The first line of its history: what was accepted; empty when that cannot be read."""
        beginning = self._beginning(job_id)
        try:
            first = beginning if b"\n" in beginning else self.history(job_id)
            return documents.parse_object(first.partition(b"\n")[0])
        except (Malformed, NotFound, HistoryDamaged):
            return {}

    def sweep_unaccepted(self, older_than: float, entries: Iterable[str] | None = None) -> None:
        """Remove what a submit left behind that died before its job was accepted, and before that time.

        Renamed first: a submit that is still at work either accepts its job before that, and nothing is
        removed, or fails and keeps nothing.

        entries: of `jobs/`, where they are known.
        """
        known = self.entries() if entries is None else entries
        for name in [name for name in known if name.startswith((_UNFINISHED, _DOOMED))]:
            path = self.home.jobs / name
            with contextlib.suppress(FileNotFoundError):
                if name.startswith(_UNFINISHED) and path.stat().st_mtime < older_than:
                    doomed = self.home.jobs / f"{_DOOMED}{name}"
                    os.rename(path, doomed)
                    remove_if_possible(doomed)
            if name.startswith(_DOOMED):
                remove_if_possible(path)

    def spec(self, job_id: str) -> bytes:
        """The spec as it is stored now; see `accepted_spec`."""
        return self._read(job_id, SPEC)

    def accepted_spec(self, job: Job) -> bytes:
        """The stored spec, which is the one that was accepted; raises HistoryDamaged when it is another, or gone."""
        try:
            content = self.spec(job.id)
        except NotFound:
            content = b""
        if not content or (job.spec_sha256 and _digest(content) != job.spec_sha256):
            hint = f"restore it, then `singlepoint retry {job.id}`; or submit anew and `singlepoint rm {job.id}`"
            raise HistoryDamaged(Problem(f"jobs/{job.id}/spec.json", "is not what was accepted", hint))
        return content

    def history(self, job_id: str) -> bytes:
        return whole_lines(self._read(job_id, HISTORY))

    def load(self, job_id: str) -> Job:
        """The job as its history tells it now; raises NotFound."""
        with _unreadable_explained(job_id, HISTORY):
            descriptor = os.open(self._file(job_id, HISTORY), os.O_RDONLY | os.O_CLOEXEC)
            try:
                return self.folds.read(job_id, descriptor)
            finally:
                os.close(descriptor)

    def fate(self, job_id: str) -> State | None:
        """Where a job stands, or had ended before it was removed; None when nobody knows. Raises HistoryDamaged."""
        try:
            return self.load(job_id).state
        except NotFound:
            with self.ledger.opened() as content:
                return last_end(content, job_id) if is_job_id(job_id) else None

    def size(self, job_id: str) -> int:
        """Bytes of history: a cheap way to see that something was written. Zero when the job is gone."""
        try:
            return os.stat(self._file(job_id, HISTORY)).st_size
        except (FileNotFoundError, NotADirectoryError, NotFound):
            return 0

    def move(self, job_id: str, event: Event, at: float, **facts: Any) -> Job:
        """Make a move, durably, and return the job after it.

        facts: those of the event; with `attempt`, only the newest attempt may move.
        Raises ImpossibleMove, Superseded, NotFound, StorageFull.
        """
        with self.locked_history(job_id) as history:
            return history.append(event, at, facts)

    def note(self, job_id: str, note: Note, at: float, **facts: Any) -> Job:
        """Write something down that is not a move; same promises as `move`."""
        with self.locked_history(job_id) as history:
            return history.append(note, at, facts)

    @contextlib.contextmanager
    def locked_history(self, job_id: str) -> Iterator[OpenHistory]:
        """Hold a job's history lock, to check and write as one act (publishing a result, for example).

        Raises NotFound, and HistoryBusy when patience is over.
        """
        with (
            self._history_lock(job_id) as directory,
            explained(directory / HISTORY),
            OpenHistory.open(self, job_id) as history,
        ):
            yield history

    @contextlib.contextmanager
    def _history_lock(self, job_id: str) -> Iterator[Path]:
        """Hold the lock alone; the job's directory. Raises NotFound, HistoryBusy."""
        directory = self._directory(job_id)
        try:
            lock = os.open(directory / HISTORY_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"no job {job_id}") from None
        try:
            self._wait_for(lock, job_id)
            yield directory
        finally:
            os.close(lock)

    def _wait_for(self, lock: int, job_id: str) -> None:
        if self.patience_s is None:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise HistoryBusy(
                        f"the history of {job_id} has been locked for {self.patience_s:g} s",
                        hint="a process that works on it stands still: wake it (kill -CONT) or end it (kill -KILL)",
                    ) from None
                time.sleep(0.002)
            else:
                return

    def lock_path(self, job_id: str) -> Path:
        return self.home.job_files(self._checked(job_id)).lock

    def is_being_worked_on(self, job_id: str) -> bool:
        """Whether an attempt, or a child it left, still holds the job's lock."""
        try:
            descriptor = os.open(self.lock_path(job_id), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who asks must not be taken for an answer
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def note_end(self, job_id: str) -> None:
        """Complete the ledger: a job has ended, and a crash kept whoever wrote that from saying so there."""
        with self.locked_history(job_id) as history:
            if history.job.is_final and not self.ledger.is_noted(history.job):
                self.ledger.note(history.job)

    def remove(self, job_id: str, check: Callable[[Job], object] | None = None, *, is_noted: bool = False) -> None:
        """Delete all that lies in a job's directory. It is gone from the moment of the rename; what it taught stays.

        check: raises when the job, as its history tells it now, may not go; None for one whose history is damaged.
        is_noted: its end is known to stand in the ledger, which need not be searched for it.
        The history's lock is held meanwhile, so that nobody sends the job round again under our hands.
        Raises NotFound, HistoryBusy, and NotNow while an attempt, or a child it left, still lives.
        """
        with self._history_lock(job_id) as directory:
            if check is not None:
                check(self.load(job_id))
            if self.is_being_worked_on(job_id):
                raise NotNow(f"an attempt of job {job_id} is still ending", hint="try again in a moment")
            self.ledger.removed(job_id, None if is_noted else self._as_far_as_known(job_id))
            doomed = self.home.jobs / f"{_DOOMED}{job_id}-{os.getpid()}"
            with explained(directory):
                move_into_place(directory, doomed, point="remove")
        remove_if_possible(doomed)

    def _directory(self, job_id: str) -> Path:
        return self.home.jobs / self._checked(job_id)

    def _as_far_as_known(self, job_id: str) -> Job | None:
        try:
            return self.load(job_id)
        except (SinglepointError, OSError):
            return None

    def _file(self, job_id: str, name: str) -> str:
        return f"{self._jobs}/{self._checked(job_id)}/{name}"

    @staticmethod
    def _checked(job_id: str) -> str:
        """Whoever names a job names a directory: what comes from Redis or a command line must not name any other."""
        if not is_job_id(job_id):
            raise NotFound(f"no job {job_id[:80]!r}")
        return job_id

    def _read(self, job_id: str, name: str) -> bytes:
        with _unreadable_explained(job_id, name), open(self._file(job_id, name), "rb", buffering=0) as file:
            return file.read()


@contextlib.contextmanager
def _unreadable_explained(job_id: str, name: str) -> Iterator[None]:
    """A file that is gone: no such job.  One that cannot be read stops its own job, and must not stop any other."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"no job {job_id}", hint="`singlepoint ps -a` lists all of them") from None
    except OSError as error:
        if is_exhausted(error):
            raise
        hint = f"restore the file, or delete the job with `singlepoint rm --force {job_id}`"
        problem = Problem(f"jobs/{job_id}/{name}", f"cannot be read: {error.strerror}", hint)
        raise HistoryDamaged(problem) from error


class OpenHistory:
    """A history whose lock is held: `job` is what it tells, `append` adds one checked line."""

    def __init__(self, store: JobStore, path: Path, descriptor: int, job: Job) -> None:
        self._ledger = store.ledger
        self._going_on = store.going_on
        self._folds = store.folds
        self._path = path
        self._descriptor = descriptor
        self.job = job

    @classmethod
    @contextlib.contextmanager
    def open(cls, store: JobStore, job_id: str) -> Iterator[OpenHistory]:
        path = store.home.job(job_id) / HISTORY
        with _unreadable_explained(job_id, path.name):
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            job = store.folds.read(job_id, descriptor)
            if os.fstat(descriptor).st_size != job.size:
                os.ftruncate(descriptor, job.size)  # a torn line never happened; the next must not follow it
            yield cls(store, path, descriptor, job)
        finally:
            os.close(descriptor)

    def append(self, event: Event | Note, at: float, facts: Facts) -> Job:
        """One more line, durable when this returns; raises ImpossibleMove with the history that forbids it."""
        new = line(event, at, facts)
        try:
            job = step(self.job.id, self.job, documents.parse_object(new))  # as it will be read
        except ImpossibleMove as error:
            raise type(error)(f"{self.job.id}: {error.message}", hint=f"see `singlepoint show {self.job.id}`") from None
        if event is Event.RETRY:
            self._going_on.add([job.id])
            self._going_on.sync()
            self._ledger.retried(job.id)
        append(self._descriptor, new, path=self._path, point=f"history.{event.value}")
        self.job = replace(job, size=self.job.size + len(new))
        self._folds.appended(self.job, new)
        if self.job.is_final:
            self._ledger.note(self.job)
        return self.job

    def require_newest(self, attempt: int) -> None:
        """Raises Superseded unless `attempt` is the newest: the fence before anything is published."""
        if attempt != self.job.attempt or self.job.newest is None or self.job.newest.ended_at is not None:
            raise Superseded(
                f"attempt {attempt} of {self.job.id} may not write: attempt {self.job.attempt} is the newest"
            )
