"""The names of the files in a job's directory, each here and nowhere else. Names only: nothing is read or written.

spec.json         what was asked                 log.txt           what its attempts said
environment.json  a command's variables          told/             how a command and we speak while it runs
history.jsonl     all that happened              metrics.jsonl     a training's curves
history.lock      held while a line is added     progress.json     how far it is
lock              held by the running attempt    checkpoints/      what an attempt saved
prepared.safetensors  rows ready to be learned   result/           what is not published yet
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path

SPEC = "spec.json"
HISTORY = "history.jsonl"
HISTORY_LOCK = "history.lock"
LOCK = "lock"
ENVIRONMENT = "environment.json"
MANIFEST = "manifest.jsonl"

DAMAGED = "damaged-"
"""Before the name of a checkpoint that was set aside."""

_CHECKPOINT = re.compile(r"^(\d{12})-(\d{4,})\.safetensors$")


@dataclass(frozen=True)
class JobFiles:
    """The files of one job."""

    directory: Path

    @property
    def spec(self) -> Path:
        return self.directory / SPEC

    @property
    def environment(self) -> Path:
        return self.directory / ENVIRONMENT

    @property
    def told(self) -> Path:
        """How far a command is, why it fails, that it shall stop. Emptied at each attempt."""
        return self.directory / "told"

    @property
    def history(self) -> Path:
        return self.directory / HISTORY

    @property
    def history_lock(self) -> Path:
        return self.directory / HISTORY_LOCK

    @property
    def lock(self) -> Path:
        return self.directory / LOCK

    @property
    def log(self) -> Path:
        return self.directory / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.directory / "metrics.jsonl"

    @property
    def progress(self) -> Path:
        return self.directory / "progress.json"

    @property
    def utilisation(self) -> Path:
        """The rings of what it used of what it was granted."""
        return self.directory / "utilisation"

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"

    @property
    def prepared(self) -> Path:
        """The rows of a training, as its first attempt prepared them."""
        return self.directory / "prepared.safetensors"

    @property
    def result(self) -> Path:
        return self.directory / "result"

    @property
    def parts(self) -> Path:
        """A prediction's finished rows."""
        return self.result / "parts"

    @property
    def manifest(self) -> Path:
        """Which of the parts count."""
        return self.parts / MANIFEST

    def stage(self, attempt: int) -> Path:
        """What an attempt puts together, to be published by one rename."""
        return self.result / f"attempt-{attempt}"

    def stages(self) -> list[Path]:
        """The stages of all attempts."""
        return sorted(self.result.glob("attempt-*"))


@dataclass(frozen=True)
class CheckpointName:
    """What the name of a training's checkpoint tells: after which step, and which attempt wrote it."""

    step: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.step:012d}-{self.attempt:04d}.safetensors"

    @classmethod
    def parse(cls, name: str) -> CheckpointName | None:
        match = _CHECKPOINT.match(name)
        return cls(int(match[1]), int(match[2])) if match else None


def staged_output(output: Path, job_id: str, attempt: int) -> Path:
    """Where an attempt puts its output together: beside it, so that one rename gives it its name."""
    return output.parent / f".{output.name}.{job_id}-{attempt}.tmp"  # `with_name` would raise for /


def staged_outputs(output: Path, job_id: str) -> list[Path]:
    """What attempts of a job have staged beside its output and not renamed."""
    return sorted(output.parent.glob(f".{glob.escape(output.name)}.{job_id}-*.tmp"))
