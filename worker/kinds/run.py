"""Run any command as a job: start it, listen to it, ask it to stop, publish what it leaves.

It is told where to save and where to write (`programs.variables`), and goes on by itself from what it saved: its
checkpoint directory is the same in every attempt. Exit code 0 is success, unless it was asked to stop: programs save
and return normally then. A restart code says "saved, run me again". Anything else is a failure like any other.
Nothing that it started outlives the attempt.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from singlepoint.jobs.errors import InvalidInput, NotFound, NotPermitted, Problem, StorageFull
from singlepoint.jobs.host.processes import use_cores
from singlepoint.jobs.lifecycle import retry
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.regular_files import regular
from singlepoint.jobs.spec.job import RunSpec
from singlepoint.jobs.spec.run import ALLOWED
from singlepoint.jobs.store.durable import make_directory, remove_if_possible
from singlepoint.jobs.store.job_files import staged_output
from singlepoint.worker.ground import stopping, tree
from singlepoint.worker.ground.job_log import keep_small
from singlepoint.worker.ground.process import oom_kills
from singlepoint.worker.ground.stop_requests import LOOK_S, Stop
from singlepoint.worker.ground.work import Outcome, Stopped, Work
from singlepoint.worker.programs import memory_group
from singlepoint.worker.programs.output_directory import OutputDirectory, summary
from singlepoint.worker.programs.program import Program
from singlepoint.worker.programs.told import ProgressFile, ProgressText, Told, bounded
from singlepoint.worker.programs.variables import error_file, progress_file, stop_file, variables

from .metrics_log import MetricsLog

REASON_BYTES = 2048
SAVES_LOOK_SHARE = 0.02
"""Of its core at most for looking at what the command saves: that takes long where there are many files."""

LOG_STRIDE_BYTES = 2**20
"""Written to the log between two looks at its size."""


def check(spec: RunSpec) -> None:
    """The program is found, the directory and the inputs are there, the output can be published."""
    _require_inputs(spec)
    problems = [*_program_problems(spec), *_output_problems(spec)]
    if problems:
        raise InvalidInput(problems)


def _program_problems(spec: RunSpec) -> Iterator[Problem]:
    if not Path(spec.cwd).is_dir():
        raise NotFound(f"cwd: {spec.cwd} is no directory", hint="choose one that is there: --cwd DIR")
    program = spec.arguments[0]
    given = spec.env.get("PATH")
    path = given.get_secret_value() if given else os.environ.get("PATH") if "PATH" in ALLOWED else None
    found = shutil.which(str(Path(spec.cwd, program)) if os.sep in program else program, path=path)
    if found is None:
        yield Problem("command", f"there is no program {program!r} that may be run", "give its path, or set PATH")


def _require_inputs(spec: RunSpec) -> None:
    if not spec.inputs:
        return
    from singlepoint.worker.data.formats.tile import existing  # here: to hand in a command takes no numpy

    for number, path in enumerate(map(Path, spec.inputs)):
        if not path.is_dir():
            existing(path, f"inputs[{number}]")
        elif not os.access(path, os.R_OK | os.X_OK):
            raise NotPermitted(f"inputs[{number}]: {path} may not be read", hint="mend its permissions")


def _output_problems(spec: RunSpec) -> Iterator[Problem]:
    if spec.output is None:
        return
    output = Path(spec.output)
    if not output.parent.is_dir():
        raise NotFound(f"output: the directory {output.parent} does not exist", hint="make it first")
    if not os.access(output.parent, os.W_OK):
        raise NotPermitted(f"output: {output.parent} may not be written", hint="choose another place")
    if output.is_symlink():  # which no directory can be renamed to
        real = os.path.realpath(output)
        yield Problem("output", f"{output} is a symbolic link, which cannot be replaced", f"name the directory: {real}")
        return
    if os.path.ismount(output):
        yield Problem("output", f"{output} is a mount point, which cannot be replaced", "choose a directory in it")
        return
    if output.is_dir() and any(output.iterdir()):
        yield Problem("output", f"{output} is there, and not empty", "choose another, or move it away first")
    elif output.exists() and not output.is_dir():
        yield Problem("output", f"{output} is a file; what a command leaves is a directory", "choose another place")
    staged = staged_output(output, "12345678", 99999)  # the longest name that it has on its way
    if len(os.fsencode(staged.name)) > os.pathconf(output.parent, "PC_NAME_MAX"):
        yield Problem("output", "its name is too long", "choose a shorter one")


def run(work: Work) -> Outcome:
    """Run the command of one attempt. Raises Stopped when it was asked to stop, and has."""
    command = Command.begin(work)
    if (earlier := command.published_before()) is not None:
        return command.as_published(earlier)
    try:
        command.start()
        command.accompany()
    finally:
        command.end()
    return command.outcome()


@dataclass
class Command:
    """One attempt at a command, under way.

    stop: what it was asked, once it was.  latest: the metrics it told last, in whichever attempt.
    listened: whether it has told of any step in this attempt.  got_on: whether it has told or saved anything in it.
    saved_at: the newest file in its checkpoint directory, as last seen.  next_saves_look_s: when to look there again.
    """

    work: Work
    spec: RunSpec
    output: OutputDirectory
    metrics: MetricsLog
    reports: ProgressFile
    text: ProgressText
    began_s: float
    program: Program | None = None
    stop: Stop | None = None
    total: int = 0
    epoch: int | None = None
    latest: dict[str, float] = field(default_factory=dict)
    listened: bool = False
    got_on: bool = False
    saved_at: float = 0.0
    next_saves_look_s: float = 0.0
    logged_bytes: int = 0
    oom_kills: int = 0

    @classmethod
    def begin(cls, work: Work) -> Command:
        """Make sure that nothing of an earlier attempt lives, and lay out what the command finds."""
        spec, files = work.spec, work.files
        assert isinstance(spec, RunSpec)
        if not tree.end_all(lambda: tree.carrying(work.job.id)):
            raise InvalidInput(Problem("job", "processes of an earlier attempt cannot be ended", "end them by hand"))
        remove_if_possible(files.told)
        files.told.mkdir(mode=0o700)
        _start_afresh(work)
        _make_checkpoints(files.checkpoints)
        command = cls(
            work,
            spec,
            OutputDirectory.of(work, spec.output),
            MetricsLog(files.metrics, work.fence),
            ProgressFile(progress_file(files)),
            ProgressText(),
            began_s=work.place.monotonic(),
            latest={name: value for name, value in _last(files.metrics).items() if name not in _COUNTS},
            saved_at=_newest(files.checkpoints),
            oom_kills=oom_kills(),
        )
        reached = [a.first_step + (a.steps or 0) for a in work.job.attempts[:-1] if a.number > work.job.fresh_after]
        work.first_step = work.step = reached[-1] if reached else 0
        work.settle_on(**{_fact(path): command.digest(path) for path in spec.inputs})
        return command

    def digest(self, path: str) -> str:
        """Of an input. Raises Stopped when asked to stop meanwhile."""
        place, recorded = Path(path).resolve(), self.work.stops.job.facts.get(_fact(path))
        found = str(summary(place, self._give_way, follow=True)["sha256"])
        if recorded not in (None, found) and summary(place, self._give_way)["sha256"] == recorded:
            return str(recorded)  # by a version that did not follow links: that is all it settled on
        return found

    def _give_way(self) -> None:
        stop = self.work.stops.due()
        if self.stop is None and stop is not None and stop is not Stop.PAUSE:  # once stopped, it is being finished
            raise Stopped(stop)

    def _give_up(self) -> None:
        """The command has ended, and well: of all that may be asked now, only a cancel is not met by having it done."""
        if self.stop is None and self.work.stops.due() is Stop.CANCEL:
            raise Stopped(Stop.CANCEL)

    def published_before(self) -> dict[str, Any] | None:
        """What an attempt that died before it could record its success has published. One that failed, or came before
        `retry --fresh`, has not."""
        job = self.work.stops.job
        mark = job.facts.get("finished", {})
        by = next((attempt for attempt in job.attempts if attempt.number == mark.get("attempt")), None)
        if by is None or by.end == "failed" or by.number <= job.fresh_after:
            return None
        return self.output.published(mark, self._give_up)

    def as_published(self, result: dict[str, Any]) -> Outcome:
        self.work.log.info("output_found_published path=%s", result["path"])
        self.latest = dict(self.work.stops.job.facts["finished"]["metrics"])
        return Outcome(Event.SUCCEED, {**self._facts(), "result": result})

    def start(self) -> None:
        work, memory_bytes = self.work, self.work.terms.resources.memory_bytes
        place = memory_group.place()
        self.output.make()
        work.meter.programs = Program.pids
        self.program = Program.start(
            self.spec.arguments,
            Path(self.spec.cwd),
            variables(work, self.output.stage),
            self.take,
            memory_bytes=memory_bytes,
            inherit=(work.lock,),
            group=place.make(work.job.id, memory_bytes) if place and memory_bytes else None,
        )
        work.log.info("command_started pid=%d", self.program.pid)

    def accompany(self) -> None:
        """Listen to it until it has ended, or has been asked to stop and stopped."""
        assert self.program is not None
        while not self.program.wait(LOOK_S):
            self.look()
            stop = self.work.stops.due()
            if stop is Stop.PAUSE:
                self.pause()
            elif stop is not None:
                self.ask_to_stop(stop)
            if self.stop is not None or self.program.lost_for_memory:
                return

    def take(self, content: bytes) -> None:
        """What it printed: to the log, of which beginning and end are kept."""
        with contextlib.suppress(OSError):  # a full disk costs log lines, never the work
            view = memoryview(content)
            while view:
                view = view[os.write(1, view) :]
        self.logged_bytes += len(content)
        if self.logged_bytes >= LOG_STRIDE_BYTES:
            self.logged_bytes = 0
            keep_small(self.work.files.log)
        if self.spec.progress == "stdout":
            self.hear(self.text.feed(content))

    def look(self) -> None:
        """See what it has told and saved, and tell how far it is."""
        if self.spec.progress == "file":
            self.hear(self.reports.news())
        if self.work.place.monotonic() >= self.next_saves_look_s:
            self.look_at_saves()
        more: dict[str, Any] = {} if self.epoch is None else {"epoch": self.epoch}
        self.work.report(self.total, **more)

    def look_at_saves(self) -> None:
        began_s = self.work.place.monotonic()
        saved_at = _newest(self.work.files.checkpoints)
        if saved_at > self.saved_at:
            self.got_on = True
            if not self.listened:
                self.work.step += 1  # it tells of no steps: that it saved is what shows that it gets on
        self.saved_at = max(self.saved_at, saved_at)
        ended_s = self.work.place.monotonic()
        self.next_saves_look_s = ended_s + (ended_s - began_s) / SAVES_LOOK_SHARE

    def hear_last(self) -> None:
        """What it told last, its last line ended or not. What one that was killed was printing is left aside: a number
        that is cut short is another number."""
        assert self.program is not None
        if self.spec.progress == "file":
            self.hear(self.reports.rest())
        elif self.program.status is not None and self.program.status >= 0:
            self.hear(self.text.feed(b"\n"))

    def hear(self, news: Iterable[Told]) -> None:
        for told in news:
            step = self.work.step + 1 if told.step is None else told.step
            if not self.listened:
                self._begin_metrics(step)
            self.work.step = step
            self.total = self.total if told.total is None else told.total
            self.epoch = self.epoch if told.epoch is None else told.epoch
            metrics = bounded(told.metrics, self.latest)
            self.latest |= metrics
            wall_s = round(self.work.place.monotonic() - self.began_s, 6)
            self.metrics.write({"epoch": self.epoch, "step": step, **metrics, "wall_s": wall_s})

    def _begin_metrics(self, step: int) -> None:
        """At its first word: it may go on from further back than the last attempt came."""
        self.listened = self.got_on = True
        self.work.first_step = min(self.work.first_step, max(0, step - 1))
        self.metrics.cut_back_to(step - 1)

    def pause(self) -> None:
        """All of it stands still, with its memory kept, until the pause is taken back."""
        assert self.program is not None
        program = self.program

        def move_to(cores: Collection[int]) -> None:
            use_cores(cores, (0, *program.pids()))

        self.work.log.info("stop_requested why=%s step=%d", Stop.PAUSE, self.work.step)
        try:
            with program.frozen(), self.work.stops.clock_stopped():
                stopping.pause(self.work, move_to)
        except Stopped as stopped:
            self.ask_to_stop(stopped.stop)

    def ask_to_stop(self, stop: Stop) -> None:
        """By the stop file and SIGTERM, to all of it; what has not ended after the grace is killed by `end`."""
        assert self.program is not None
        self.stop = stop
        self.work.log.info("stop_requested why=%s step=%d", stop, self.work.step)
        with contextlib.suppress(OSError), open(stop_file(self.work.files), "x") as file:
            file.write(f"{stop}\n")  # if it cannot be written, or something is there by its name, the signal has to do
        self.program.ask_to_stop()
        until_s = self.work.place.monotonic() + self.work.place.grace_s
        while self.program.lives and self.work.place.monotonic() < until_s:
            if self.program.wait(LOOK_S):  # but something that it started has not ended yet
                time.sleep(LOOK_S)
            with contextlib.suppress(StorageFull):  # it may save all the same
                self.look()

    def end(self) -> None:
        """Nothing of it is left when this returns; and nothing it said is lost."""
        if self.program is None:
            return
        killed = self.program.status is None
        self.program.end()
        if self.program.lost_for_memory:
            self.work.meter.saw(self.work.terms.resources.memory_bytes)
        with contextlib.suppress(Exception):  # the attempt may be over: then nobody listens
            self.hear_last()
            self.look_at_saves()
            self.look()
        # Its steps may begin anew with every epoch: one that told or saved something got on, whatever they come to.
        self.work.step = max(self.work.step, self.work.first_step + self.got_on)
        self.metrics.close()
        self.work.log.info("command_ended status=%s%s", self.program.status, " killed" if killed else "")

    def outcome(self) -> Outcome:
        assert self.program is not None
        at = self.work.place.clock()
        status = -signal.SIGKILL if self.program.status is None else self.program.status
        steps = self.work.step - self.work.first_step
        if self.stop is not None and not (status == 0 and self.output.is_done):
            raise Stopped(self.stop)
        if not self.program.lost_for_memory:  # else it failed, whatever it made of that
            if status == 0:
                return self.success()
            if status in self.spec.restart_exit_codes:
                return Outcome(*retry.after_restart(self.work.stops.job, steps=steps, at=at))
        end, cause = self.diagnosis(status)
        peak_bytes, first_step = self.work.meter.usage().peak_memory_bytes, self.work.first_step
        return Outcome(
            *retry.after_end(
                self.work.stops.job, end, cause, first_step=first_step, steps=steps, at=at, peak_bytes=peak_bytes
            )
        )

    def diagnosis(self, status: int) -> tuple[str, str]:
        assert self.program is not None
        if self.program.lost_for_memory:
            return retry.diagnosis(retry.Death(signal.SIGKILL, killed_for="out_of_memory"))
        if status < 0:
            return retry.diagnosis(retry.Death(-status, by_kernel=oom_kills() > self.oom_kills))
        return "failed", self.said_reason() or f"exit status {status}"

    def said_reason(self) -> str:
        """What it wrote of its failure, on one line."""
        try:
            with open(error_file(self.work.files), "rb", opener=regular) as file:
                return " ".join(file.read(REASON_BYTES).decode(errors="replace").split())
        except OSError:
            return ""

    def success(self) -> Outcome:
        told = self.output.finish(self._give_up)
        mark = {"attempt": self.work.attempt, **self.output.mark(told)}
        self.work.record(finished={**mark, "metrics": self.latest})
        return Outcome(Event.SUCCEED, self._facts(), lambda: self.output.publish(told))

    def _facts(self) -> dict[str, Any]:
        return {"end": "succeeded", "bit_identical": None, "metrics": self.latest or None}


def _fact(path: str) -> str:
    """Under which the digest of an input is recorded."""
    return f"input_sha256[{path}]"


def _start_afresh(work: Work) -> None:
    """Once after `retry --fresh`: what earlier attempts saved is not wanted any more."""
    fresh_after = work.job.fresh_after
    if fresh_after and work.job.facts.get("afresh_after") != fresh_after:
        remove_if_possible(work.files.checkpoints)  # whatever the command has put in its place
        work.files.metrics.unlink(missing_ok=True)
        work.record(afresh_after=fresh_after)


def _make_checkpoints(directory: Path) -> None:
    if os.path.lexists(directory) and not directory.is_dir():
        what = f"{directory} is no directory any more: the command put something else in its place"
        raise InvalidInput(Problem("checkpoints", what, "`singlepoint retry --fresh`, which removes it"))
    make_directory(directory)


_COUNTS = frozenset({"epoch", "step", "wall_s"})


def _last(metrics: Path) -> dict[str, float]:
    """The last whole line of earlier attempts; empty where there is none."""
    try:
        return dict(json.loads(metrics.read_bytes().splitlines()[-1]))
    except (OSError, ValueError, TypeError, IndexError):
        return {}


def _newest(directory: Path) -> float:
    """When the newest file below a directory was written; 0 without any."""
    newest = 0.0
    for path, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                newest = max(newest, os.stat(os.path.join(path, name)).st_mtime)
    return newest
