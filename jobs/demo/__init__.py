"""`singlepoint demo`: the main promise, shown on real data in about a minute.

Trains one network undisturbed, trains it again and kills its worker in the middle with SIGKILL, compares the
weights bit for bit, predicts rows that neither training saw, and shuts down. Everything happens in a temporary
home, through the same commands a user types; nothing of yours is touched.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import click

from singlepoint.jobs.errors import SinglepointError

SPEC = """\
kind = "train"
name = "wdbc"
checkpoint_interval_s = 1.0

[data]
path = "train.csv"
target = "diagnosis"
validation = 0.2

[preprocessing]
normalise = "standard"

[model]
hidden = [64, 32]
activation = "relu"
dropout = 0.3

[training]
epochs = {epochs}
batch_size = 32
optimiser = {{ type = "adam", learning_rate = 0.0002 }}
seed = 7

[resources]
cpu = 1
memory = "256MiB"
"""


LONGEST_S = 600
"""Seconds for one command; a training takes about ten of them."""


@click.command(epilog="Examples:  singlepoint demo   |   singlepoint demo --keep")
@click.option("--epochs", default=3000, show_default=True, help="How long the trainings are.")
@click.option("--keep", is_flag=True, help="Keep the demo's home, and say where it is.")
def demo(epochs: int, keep: bool) -> None:
    """Train on real data, kill -9 in the middle, resume, compare, predict."""
    directory = tempfile.mkdtemp(prefix="singlepoint-demo-")
    stage = Stage(Path(directory))
    try:
        stage.prepare(epochs)
        play(stage)
    finally:
        stage.run("down", "--now", check=False)
        if keep:
            say(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def say(text: str) -> None:
    click.echo(text)


class DemoFailed(SinglepointError):
    """The demo did not go as it should."""


@dataclass(frozen=True)
class Stage:
    """A directory with a home in it, and the command line to speak to it."""

    directory: Path

    def run(self, *arguments: str, check: bool = True, shown: bool = False) -> str:
        """One `singlepoint` command; its answer. A failure ends the demo with what it said, and so does a command
        that takes longer than any should, `check` or not."""
        line = f"singlepoint {' '.join(arguments)}"
        if shown:
            say(click.style(f"$ {line}", bold=True))
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "singlepoint", "--home", str(self.directory / "home"), *arguments],
                cwd=self.directory,
                capture_output=True,
                text=True,
                check=False,
                env={name: value for name, value in os.environ.items() if name != "SINGLEPOINT_REDIS_URL"},
                timeout=LONGEST_S,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"`{line}` did not end within {LONGEST_S} s; --keep keeps its logs") from None
        if check and done.returncode != 0:
            raise DemoFailed(f"`{line}` ended with {done.returncode}:\n{done.stderr}")
        return done.stdout.strip()

    def show(self, job: str) -> dict[str, Any]:
        return dict(json.loads(self.run("show", job, "--json")))

    def prepare(self, epochs: int) -> None:
        """The spec, and the data: every fifth row is kept back for the prediction."""
        text = resources.files(__package__).joinpath("wdbc.csv").read_text()
        header, *rows = csv.reader(text.splitlines())
        _write(self.directory / "train.csv", header, [row for n, row in enumerate(rows) if n % 5])
        _write(self.directory / "unseen.csv", header, [row for n, row in enumerate(rows) if n % 5 == 0])
        (self.directory / "train.toml").write_text(SPEC.format(epochs=epochs))


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def play(stage: Stage) -> None:
    """The demo itself."""
    stage.run("up", "--detach", shown=True)
    say("one training, undisturbed:")
    undisturbed = stage.run("submit", "train", "train.toml", "--name", "undisturbed", "--wait", "-q", shown=True)
    calm = stage.show(undisturbed)
    took = calm["attempts"][-1]["usage"]["wall_s"]
    say(f"  {undisturbed} succeeded in {took:.1f} s")

    say("the same training, its worker killed with SIGKILL in the middle:")
    disturbed = stage.run("submit", "train", "train.toml", "--name", "disturbed", "-q", shown=True)
    pid = kill_in_the_middle(stage, disturbed)
    say(f"  $ kill -9 {pid}")
    stage.run("wait", disturbed, "--timeout", "300", shown=True)
    report(calm, stage.show(disturbed))

    say("a prediction with the model that was interrupted:")
    stage.run(
        "submit",
        "predict",
        "--model",
        "disturbed",
        "--input",
        "unseen.csv",
        "--output",
        "answers.csv",
        "--wait",
        shown=True,
    )
    say(f"  {accuracy(stage.directory / 'answers.csv')}")
    stage.run("down", shown=True)


def kill_in_the_middle(stage: Stage, job: str) -> int:
    """Send SIGKILL to the worker process that makes this job's attempt, once it is well under way."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        document = stage.show(job)
        if document["state"] == "running" and (document["progress"] or 0) > 0.4:
            pid = int(document["attempts"][-1]["worker"].rsplit("-", 2)[1])
            os.kill(pid, signal.SIGKILL)
            return pid
        if document["state"] in ("succeeded", "failed"):
            raise DemoFailed("the training was over before it could be killed; try a larger --epochs")
    raise DemoFailed("the training did not get going within five minutes")


def report(calm: dict[str, Any], disturbed: dict[str, Any]) -> None:
    """What the kill cost, and whether it changed anything."""
    if disturbed["state"] != "succeeded":
        raise DemoFailed(f"{disturbed['id']} {disturbed['state']}: {disturbed['reason']}")
    killed, *_, last = disturbed["attempts"]
    same = calm["result"]["sha256"] == disturbed["result"]["sha256"]
    again = f"running again after {killed['recovery_s']:.3f} s, from step {last['first_step']}"
    say(f"  died at step {killed['steps']}; {again}; {killed['lost_s']:.2f} s of work to do again")
    say(f"  weights, undisturbed: sha256 {calm['result']['sha256']}")
    say(f"  weights, interrupted: sha256 {disturbed['result']['sha256']}")
    verdict = "bit for bit the same" if same else "DIFFERENT"
    say(f"  {verdict}; validation accuracy {disturbed['metrics']['accuracy']:.3f}")
    if not same:
        raise DemoFailed("the two trainings differ, which must never happen: please report it")


def accuracy(answers: Path) -> str:
    """How many rows that no training saw were answered as the diagnosis in the file says."""
    with open(answers, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["predicted_diagnosis"] == row["diagnosis"] for row in rows)
    return f"{right} of {len(rows)} unseen rows right ({right / len(rows):.1%})"
